"""`File`: a path whose content travels with a value, uploaded once and downloaded when it is needed."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import IO, TYPE_CHECKING, Any, ClassVar, Final, TypeVar

from greenroom.copying import StrPath, copy_file
from greenroom.errors import MissingFile, NotReadable, TransferFailed
from greenroom.workspaces import current_workspace, new_place, reset_workspace, set_workspace, workspace

if TYPE_CHECKING:
    from greenroom.blobs import BlobStore
    from greenroom.directories import Directory as Directory

__all__ = ["Content", "File", "current_workspace", "reset_workspace", "set_workspace", "use_store", "workspace"]

_C = TypeVar("_C", bound="Content")
_F = TypeVar("_F", bound="File")

Stamp = tuple[int, int, int]
"""Size, time of change and inode of a local file: other ones mean that it was written to."""

BLOB: Final = "blob:"
"""How the address of a blob begins: `blob:SHA256/NAME`."""

_EXECUTE: Final = 0o111

_store: BlobStore | None = None

pickling: ContextVar[tuple[BlobStore, list[str]] | None] = ContextVar("pickling", default=None)
"""While an object is pickled as a value: where the files in it go, and the blobs that they become."""


def use_store(store: BlobStore | None) -> BlobStore | None:
    """Say where files that come out of a pickle are read from; answers what was used before."""
    global _store
    before, _store = _store, store
    return before


def known_store() -> BlobStore:
    """The store that `use_store` named."""
    if _store is None:
        raise NotReadable("file", "no blob store is connected in this process")
    return _store


class Content(os.PathLike[str]):
    """What `File` and `Directory` share: where the content comes from, and the local path that it gets."""

    _formats: ClassVar[dict[tuple[type, str], type]] = {}
    _format: ClassVar[str] = ""

    def __init__(
        self, path: StrPath | None, downloader: Callable[[], Any] | None, metadata: Mapping[str, Any] | None
    ) -> None:
        self._given = "" if path is None else os.fspath(path)
        self._downloader, self.metadata = downloader, metadata
        self._uri = self._given if "://" in self._given else None
        self._local = None if self._uri else self._given
        self._downloaded = False
        self._arrived = False
        """Whether it came with a value: then its path is one of ours, even before anything is there."""
        self._workspace: str | None = None
        self._store: BlobStore | None = None
        self._name = ""

    def __class_getitem__(cls: type[_C], item: Any) -> type[_C]:
        """The same type with a format: `File["csv"]`."""
        name = item if isinstance(item, str) else getattr(item, "__name__", "" if item is None else str(item))
        name = name.strip().lstrip("~").lstrip(".")
        if not name:
            return cls
        made: type[_C] | None = cls._formats.get((cls, name))
        if made is None:
            made = type(cls.__name__, (cls,), {"_format": name, "__module__": cls.__module__, "__doc__": cls.__doc__})
            # The module finds it again by this name, so that pickles refer to it; a dot would mean an attribute.
            made.__qualname__ = f"{cls.__qualname__}[{name.replace('.', ':')}]"
            cls._formats[cls, name] = made
        return made

    @classmethod
    def extension(cls) -> str:
        """The format that the type was given, without a dot; empty for none."""
        return cls._format

    @property
    def path(self) -> str:
        """The local path. What was uploaded is downloaded for it; what has a foreign address only when it is opened."""
        if self._store is not None:
            return self.__fspath__()
        return self._target() if self._arrived or self._downloaded else self._given

    @property
    def downloaded(self) -> bool:
        """Whether the content was brought to the local path."""
        return self._downloaded

    @property
    def remote_source(self) -> str | None:
        """Where the content comes from: a foreign address or `blob:SHA256/NAME`; None for a path of this host."""
        return self._uri

    def download(self) -> str:
        """Bring the content here if that has not happened yet; answers its local path."""
        return self.__fspath__()

    def __fspath__(self) -> str:
        if not self._downloaded:
            if self._downloader is not None:
                self._downloader()
            elif self._store is not None or self._uri is not None:
                self._bring(self._target())
            self._downloaded = True
        return self._target()

    def _bring(self, target: str) -> None:
        raise NotImplementedError

    def _target(self) -> str:
        """The local path, whether or not the content is there yet; a private place for what comes from elsewhere."""
        if self._local is None:
            from greenroom.transfer import name_of

            name = self._name or name_of(self._uri or self._given)
            self._local = new_place(self._workspace or current_workspace(), name)
        return self._local

    def _identity(self) -> str:
        return self.remote_source or self._given or self._target()

    def __str__(self) -> str:
        return self._target() if self._store is not None or self._arrived else self._given or self._target()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._given or self.remote_source or self._local!r})"

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Content):
            return self._identity() == other._identity()
        if isinstance(other, (str, os.PathLike)):
            return os.fspath(other) in (self._given or None, self._local)
        return NotImplemented

    def __hash__(self) -> int:
        return hash(self._identity())

    def __copy__(self: _C) -> _C:
        twin = type(self).__new__(type(self))
        twin.__dict__.update(self.__dict__)
        return twin

    def __deepcopy__(self: _C, memo: dict[int, Any]) -> _C:
        return self.__copy__()

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Pickle what it refers to; inside a value the content goes to the blob store first."""
        from greenroom.contents import reduced

        return reduced(self)

    def __greenroom_key__(self) -> str:
        """What changes when the content does, for keys of caches."""
        from greenroom.contents import content_key

        return content_key(self)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """Let pydantic models hold it, made from itself, a path, an address, or `{"path": ...}`."""
        from greenroom.contents import pydantic_schema

        return pydantic_schema(cls)


class File(Content):
    """A file: what a task returns is uploaded, what a task is given is downloaded when it is opened.

    ```python
    @task
    def head(table: File["csv"]) -> File:
        with table.open() as rows, open("head.csv", "w") as out:
            out.writelines(itertools.islice(rows, 10))
        return File("head.csv")
    ```

    The local copy is private: writing to it changes neither the blob nor anybody's original.
    """

    def __init__(
        self,
        path: StrPath | None = None,
        downloader: Callable[[], Any] | None = None,
        remote_path: str | bool | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """Name a file.

        Args:
            path: A path of this host, or an address (`https://`, `s3://`, `gs://`, `file://`, ...), which is passed on
                as it is and read by who opens it.
            downloader: Called once, before the file at `path` is first used.
            remote_path: Where the content goes when the file is returned: an address, None for the blob store, False
                for nowhere (the path itself is passed on), True for the blob store even from an address.
            metadata: Kept as it is, for the program's own use; does not travel.
        """
        super().__init__(path, downloader, metadata)
        self._remote_path = remote_path
        self._blob: str | None = None
        self._size: int | None = None
        self._stamp: Stamp | None = None
        self._executable = False
        if self._given.startswith(BLOB):
            self._blob, _, name = self._given[len(BLOB) :].partition("/")
            self._name, self._store, self._local = name or self._blob[:12], known_store(), None

    @classmethod
    def of_blob(cls: type[_F], store: BlobStore, blob: str, size: int, name: str, executable: bool = False) -> _F:
        """A file whose content is a blob, read from `store` when it is opened."""
        file = cls()
        file._store, file._blob, file._size, file._name = store, blob, size, os.path.basename(name) or "file"
        file._executable, file._local, file._arrived = executable, None, True
        file._workspace = current_workspace()
        return file

    @classmethod
    def of_address(cls: type[_F], uri: str, size: int | None = None) -> _F:
        """A file at a foreign address that came with a value."""
        file = cls(uri)
        file._size = size
        if file._uri is not None:
            file._arrived, file._workspace = True, current_workspace()
        else:
            file._remote_path = False  # A path that was passed on as such, and is again.
        return file

    @classmethod
    def new_remote_file(cls: type[_F], name: str | None = None, alt: str | None = None) -> _F:
        """A file to be written by `open("w")` and returned; nobody else has its path.

        Args:
            name: Its name, or an address that it is written to.
            alt: An address to put it below.
        """
        name = name or os.urandom(8).hex()
        if "://" in name or alt:
            return cls(name if "://" in name else f"{alt}/{name}")
        return cls(new_place(current_workspace(), os.path.basename(name)))

    @classmethod
    def from_source(cls: type[_F], source: StrPath) -> _F:
        """The file at a path or an address."""
        return cls(source)

    @property
    def remote_path(self) -> str | bool | None:
        """Where the content goes when the file is returned; see the constructor."""
        return self._remote_path

    @property
    def remote_source(self) -> str | None:
        """Where the content comes from: a foreign address or `blob:SHA256/NAME`; None for a path of this host."""
        return f"{BLOB}{self._blob}/{self._name}" if self._blob else self._uri

    @property
    def name(self) -> str:
        """The file's name, without folders."""
        from greenroom.transfer import name_of

        return self._name or name_of(self._given)

    @property
    def size(self) -> int | None:
        """Bytes; None where only a download would tell."""
        if (self._uri is not None or self._blob is not None) and not self._downloaded:
            return self._size
        stamp = stamp_of(self._target())
        return None if stamp is None else stamp[0]

    def open(
        self,
        mode: str = "r",
        cache_type: str | None = None,
        cache_options: Mapping[str, Any] | None = None,
        *,
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> IO[Any]:
        """Open the content. Reading a blob of this host makes no copy; writing goes to a private one.

        Args:
            mode: As for the builtin `open`.
            cache_type: Accepted for programs that say how a remote stream is buffered; not needed here.
            cache_options: As `cache_type`.
            buffering: As for the builtin `open`, like what follows.
            encoding: Text only.
            errors: Text only.
            newline: Text only.
        """
        path = self._path_for(mode)
        opened: IO[Any] = open(path, mode, buffering, encoding, errors, newline)  # noqa: SIM115
        if self._uri is not None and not self._arrived and any(letter in mode for letter in "wax+"):
            from greenroom.contents import sent_when_closed

            return sent_when_closed(opened, self, self._uri)
        return opened

    def _identity(self) -> str:
        return f"{BLOB}{self._blob}" if self._blob else super()._identity()

    def _path_for(self, mode: str) -> str:
        if "r" in mode and "+" not in mode:
            if self._blob is not None and self._store is not None and not self._downloaded:
                return os.fspath(self._store.path(self._blob))
            return self.__fspath__()
        if "a" in mode or "r" in mode:
            if self._blob is not None or self._uri is not None:
                self.__fspath__()
        elif self._blob is not None or self._uri is not None:
            self._downloaded = True  # What is there is replaced: no need to fetch it.
        os.makedirs(os.path.dirname(self._target()) or ".", exist_ok=True)
        return self._target()

    def _bring(self, target: str) -> None:
        if self._blob is not None and self._store is not None:
            copy_file(self._store.path(self._blob), target)
            os.chmod(target, 0o600 | (0o100 if self._executable else 0))
            self._stamp = stamp_of(target)
        elif self._uri is not None:
            from greenroom.transfer import fetch_into

            fetch_into(self._uri, target)
            self._stamp = stamp_of(target)

    def _written(self) -> bool:
        """Whether the private copy was written to, so that it is not what was downloaded any more."""
        return self._downloaded and self._local is not None and self._stamp != stamp_of(self._local)


def stamp_of(path: str) -> Stamp | None:
    """What tells whether a file was written to; None if it is not there."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    return status.st_size, status.st_mtime_ns, status.st_ino


def is_executable(path: str) -> bool:
    """Whether somebody may execute the file."""
    return bool(os.stat(path).st_mode & _EXECUTE)


# On the wire --------------------------------------------------------------------------------------------------------


def file_to_wire(file: File, store: BlobStore) -> dict[str, Any]:
    """Upload a file unless it is where it should be; answers what stands for it in a value.

    Raises:
        MissingFile: There is nothing at its path.
        TypeMismatch: It is a folder, a pipe or a device.
        TransferFailed: Its content cannot be brought to where `remote_path` says.
    """
    if file._blob is not None and file._store is not None and not file._written():
        if file._store is not store and not store.has(file._blob):
            store.put_file(file._store.path(file._blob))
        return _wire(file._name, file._size, file, blob=file._blob, executable=file._executable)
    if file._uri is not None and not file._remote_path and not file._written():
        return _wire(file.name, file._size, file, uri=file._uri)
    path = file.__fspath__()
    if file._remote_path is False:
        return _wire(os.path.basename(path), file.size, file, uri=os.path.abspath(path))
    if isinstance(file._remote_path, str):
        return _send(file, path, file._remote_path)
    sha256, size = store.put_file(path)
    file._size = size
    return _wire(file._name or os.path.basename(path), size, file, blob=sha256, executable=is_executable(path))


def _send(file: File, path: str, address: str) -> dict[str, Any]:
    from greenroom.copying import hash_file, open_regular
    from greenroom.transfer import name_of, place_of

    try:
        with open(path, "rb", buffering=0, opener=open_regular) as opened:
            sha256, size = hash_file(opened.fileno())
    except FileNotFoundError:
        raise MissingFile(path, os.getcwd()) from None
    place_of(address).send(path)
    return {**_wire(name_of(address), size, file, uri=address), "etag": sha256}


def _wire(
    name: str,
    size: int | None,
    file: File,
    *,
    blob: str | None = None,
    uri: str | None = None,
    executable: bool = False,
) -> dict[str, Any]:
    content: dict[str, Any] = {"name": name, "size": size}
    if blob is not None:
        content["blob"] = blob
    else:
        content["uri"] = uri
    if file._format:
        content["format"] = file._format
    if executable:
        content["exec"] = True
    return content


def file_from_wire(kind: type[_F], content: Mapping[str, Any], store: BlobStore) -> _F:
    """The file that stands in a value; nothing is fetched before it is opened."""
    blob, size = content.get("blob"), content.get("size")
    if blob is not None:
        return kind.of_blob(store, blob, size or 0, content.get("name") or "file", bool(content.get("exec")))
    uri = content.get("uri")
    if not uri:
        raise TransferFailed(str(content.get("name")), "the value says neither blob nor address")
    return kind.of_address(uri, size)


def __getattr__(name: str) -> Any:
    """`Directory`, which most programs do without, and the formats of `File`, which pickles refer to by name."""
    if name == "Directory":
        from greenroom.directories import Directory

        return Directory
    if name.startswith("File[") and name.endswith("]"):
        return File.__class_getitem__(name[5:-1].replace(":", "."))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
