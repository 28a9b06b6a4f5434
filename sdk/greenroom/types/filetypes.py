"""Files, folders and paths as parameters and outputs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from greenroom.errors import TypeMismatch
from greenroom.files import Content, File, file_from_wire, file_to_wire
from greenroom.types.codec import Codec, ExtType, extension, given
from greenroom.types.spec import TypeSpec
from greenroom.workspaces import passes_away
from greenroom_core.values import Ext, Plain, unpack

if TYPE_CHECKING:
    from greenroom.blobs import BlobStore
    from greenroom.directories import Directory


class FileCodec(Codec):
    """`File`, `File["csv"]` and `os.PathLike`; a path or an address given for one is taken as that file."""

    natives = frozenset({int(Ext.FILE)})
    uploads = True

    def __init__(self, of: type[File], name: str | None = None) -> None:
        self._of = of
        self.name = name or (f'File["{of.extension()}"]' if of.extension() else "File")
        self.classes = (of,)

    def to_plain(self, obj: Any, store: BlobStore) -> Plain:
        """Upload the file; what stands for it holds name, size and hash."""
        if not isinstance(obj, File):
            if isinstance(obj, Content) or not isinstance(obj, (str, os.PathLike)):
                raise TypeMismatch(self.name, given(obj))
            obj = self._of(obj)
        wire = file_to_wire(obj, store)
        if self._of.extension():
            wire["format"] = self._of.extension()
        return extension(Ext.FILE, wire)

    def from_plain(self, plain: Plain, store: BlobStore) -> Any:
        """The file, not fetched yet."""
        if type(plain) is ExtType and plain.code == Ext.FILE:
            return file_from_wire(self._of, unpack(plain.data), store)
        if isinstance(plain, str):
            return self._of.of_address(plain)
        return self.otherwise(plain, store)

    def describe(self) -> TypeSpec:
        """The type as plain data, with its format."""
        return TypeSpec("file", self.name, options={"format": self._of.extension()})

    def from_json(self, json: Any) -> Any:
        """A path, an address, or an object with `path` or `uri`."""
        return self.from_text(_address_in(self, json))

    def from_text(self, text: str) -> Any:
        """A path of this host, which must be there, or an address."""
        if "://" not in text and not os.path.isfile(text):
            raise TypeMismatch(self.name, repr(text), "no such file" if not os.path.exists(text) else "it is no file")
        return self._of(text)


class DirectoryCodec(Codec):
    """`Directory` and `Directory["csv"]`; a path or an address given for one is taken as that folder."""

    natives = frozenset({int(Ext.DIRECTORY)})
    uploads = True

    def __init__(self, of: type[Directory]) -> None:
        self._of = of
        self.name = f'Directory["{of.extension()}"]' if of.extension() else "Directory"
        self.classes = (of,)

    def to_plain(self, obj: Any, store: BlobStore) -> Plain:
        """Upload the files; what stands for the folder lists them."""
        from greenroom.directories import Directory, directory_to_wire

        if not isinstance(obj, Directory):
            if isinstance(obj, Content) or not isinstance(obj, (str, os.PathLike)):
                raise TypeMismatch(self.name, given(obj))
            obj = self._of(obj)
        wire = directory_to_wire(obj, store)
        if self._of.extension():
            wire["format"] = self._of.extension()
        return extension(Ext.DIRECTORY, wire)

    def from_plain(self, plain: Plain, store: BlobStore) -> Any:
        """The folder, not fetched yet."""
        from greenroom.directories import directory_from_wire

        if type(plain) is ExtType and plain.code == Ext.DIRECTORY:
            return directory_from_wire(self._of, unpack(plain.data), store)
        if isinstance(plain, str):
            return self._of.of_address(plain)
        return self.otherwise(plain, store)

    def describe(self) -> TypeSpec:
        """The type as plain data, with its format."""
        return TypeSpec("directory", self.name, options={"format": self._of.extension()})

    def from_json(self, json: Any) -> Any:
        """A path, an address, or an object with `path` or `uri`."""
        return self.from_text(_address_in(self, json))

    def from_text(self, text: str) -> Any:
        """A folder of this host, which must be there, or an address."""
        if "://" not in text and not os.path.isdir(text):
            raise TypeMismatch(
                self.name, repr(text), "no such folder" if not os.path.exists(text) else "it is no folder"
            )
        return self._of(text)


def _address_in(codec: Codec, json: Any) -> str:
    address = json.get("path") or json.get("uri") if isinstance(json, dict) else json
    if not isinstance(address, str):
        raise TypeMismatch(codec.name, given(json))
    return address


class PathCodec(Codec):
    """`pathlib.Path`: the path as text, unless it lies in the call's own workspace, which is gone after the call.

    There, what is at the path travels as a file or folder does, and arrives as the path of a private copy (ADR 0042).
    """

    natives = frozenset({str, int(Ext.FILE), int(Ext.DIRECTORY)})
    uploads = True

    def __init__(self, of: type[os.PathLike[str]]) -> None:
        self._of: Any = of
        self.name = "Path"

    def to_plain(self, obj: Any, store: BlobStore) -> Plain:
        """Text, or the content of what would be lost."""
        if not isinstance(obj, os.PathLike) or isinstance(obj, Content):
            raise TypeMismatch(self.name, given(obj))
        path = os.fspath(obj)
        if isinstance(path, bytes):
            raise TypeMismatch(self.name, given(obj))
        if not passes_away(path):
            return path
        if os.path.isdir(path):
            from greenroom.directories import Directory, directory_to_wire

            return extension(Ext.DIRECTORY, directory_to_wire(Directory(path), store))
        return extension(Ext.FILE, file_to_wire(File(path), store))

    def from_plain(self, plain: Plain, store: BlobStore) -> Any:
        """The path, or that of a private copy."""
        if isinstance(plain, str):
            return self._of(plain)
        if type(plain) is ExtType and plain.code in (Ext.FILE, Ext.DIRECTORY):
            return self._of(os.fspath(content_from_plain(plain, store)))
        return self.otherwise(plain, store)

    def describe(self) -> TypeSpec:
        """The type as plain data."""
        return TypeSpec("text", self.name)

    def from_json(self, json: Any) -> Any:
        """A JSON string."""
        if not isinstance(json, str):
            raise TypeMismatch(self.name, given(json))
        return self.from_text(json)

    def from_text(self, text: str) -> Any:
        """The path; one that leads to something from here is made absolute, since tasks run elsewhere."""
        return self._of(os.path.abspath(text) if os.path.exists(text) else text)


def content_to_plain(content: Content, store: Any) -> Plain:
    """What stands for a file or folder in a value of no declared type."""
    from greenroom.contents import to_wire

    code = Ext.FILE if isinstance(content, File) else Ext.DIRECTORY
    return extension(code, to_wire(content, store))


def content_from_plain(plain: Any, store: Any) -> Content:
    """The file or folder that stands in a value of no declared type."""
    wire = unpack(plain.data)
    if plain.code == Ext.FILE:
        return file_from_wire(File.__class_getitem__(wire.get("format") or ""), wire, store)
    from greenroom.directories import Directory, directory_from_wire

    return directory_from_wire(Directory.__class_getitem__(wire.get("format") or ""), wire, store)
