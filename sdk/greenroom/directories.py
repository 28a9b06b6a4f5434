"""`Directory`: a folder whose files travel with a value, each uploaded once and downloaded when it is needed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from greenroom.copying import StrPath, copy_file
from greenroom.errors import MissingFile, TransferFailed, TypeMismatch, UnsafePath
from greenroom.files import Content, File, Stamp, is_executable, stamp_of
from greenroom.transfer import check_path, fetch_folder, name_of, place_of, scheme_of, send_folder
from greenroom.workspaces import FOLDER, current_workspace, new_place

if TYPE_CHECKING:
    from greenroom.blobs import BlobStore

_D = TypeVar("_D", bound="Directory")


class Entry(NamedTuple):
    """One file of a folder, or an empty folder in it."""

    path: str
    """Relative, with slashes; an empty folder's ends in one."""
    blob: str | None
    size: int
    executable: bool = False


class Directory(Content):
    """A folder: what a task returns is uploaded file by file, what a task is given is downloaded when it is used.

    Listing and opening single files fetch no more than these. The local copy is private, as with `File`.
    """

    sep: Final = os.sep

    def __init__(
        self,
        path: StrPath | None = None,
        downloader: Callable[[], Any] | None = None,
        remote_directory: str | bool | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """Name a folder.

        Args:
            path: A path of this host, or an address (`s3://`, `gs://`, ...), which is passed on as it is.
            downloader: Called once, before the folder at `path` is first used.
            remote_directory: Where the files go when the folder is returned: an address, None for the blob store,
                False for nowhere (the path itself is passed on).
            metadata: Kept as it is, for the program's own use; does not travel.
        """
        super().__init__(path, downloader, metadata)
        self._remote_directory = remote_directory
        self._entries: tuple[Entry, ...] | None = None
        self._stamps: dict[str, Stamp | None] = {}
        """Of a private copy: what its files looked like when they were fetched."""

    @classmethod
    def of_entries(cls: type[_D], store: BlobStore, entries: tuple[Entry, ...], name: str) -> _D:
        """A folder whose files are blobs, read from `store` when they are used."""
        directory = cls()
        directory._store, directory._entries, directory._name = store, entries, os.path.basename(name) or "directory"
        directory._local, directory._arrived, directory._workspace = None, True, current_workspace()
        return directory

    @classmethod
    def of_address(cls: type[_D], uri: str) -> _D:
        """A folder at a foreign address that came with a value."""
        directory = cls(uri)
        if directory._uri is not None:
            directory._arrived, directory._workspace = True, current_workspace()
        else:
            directory._remote_directory = False
        return directory

    @classmethod
    def new_remote(cls: type[_D], stem: str | None = None, alt: str | None = None) -> _D:
        """A folder to be filled and returned; nobody else has its path.

        Args:
            stem: Its name.
            alt: An address to put it below.
        """
        name = stem or os.urandom(8).hex()
        if alt:
            return cls(f"{alt.rstrip('/')}/{name}")
        path = new_place(current_workspace(), os.path.basename(name))
        os.mkdir(path)
        return cls(path)

    @classmethod
    def from_source(cls: type[_D], source: StrPath) -> _D:
        """The folder at a path or an address."""
        return cls(source)

    @property
    def remote_directory(self) -> str | bool | None:
        """Where the files go when the folder is returned; see the constructor."""
        return self._remote_directory

    @property
    def name(self) -> str:
        """The folder's name, without those above it."""
        return self._name or name_of(self._given)

    @property
    def size(self) -> int | None:
        """Bytes of all files; None where only a download would tell."""
        if self._entries is not None and not self._downloaded:
            return sum(entry.size for entry in self._entries)
        if self._uri is not None and not self._downloaded:
            return None
        return sum(stamp[0] for stamp in _stamps(self._target()).values() if stamp is not None)

    # What is in it

    def listdir(self) -> list[File | Directory]:
        """The files and folders directly in it, as themselves: none is fetched before it is used."""
        if self._entries is not None and not self._downloaded:
            return _children(self, self._entries)
        if self._uri is not None and not self._downloaded:
            return _foreign_children(self._uri)
        base = self.__fspath__()
        paths = [os.path.join(base, name) for name in sorted(os.listdir(base)) if name != FOLDER]
        return [Directory(path) if os.path.isdir(path) else File(path) for path in paths]

    def __iter__(self) -> Iterator[File | Directory]:
        return iter(self.listdir())

    def crawl(
        self, maxdepth: int | None = None, topdown: bool = True, *, detail: bool = False, **_: Any
    ) -> Iterator[tuple[str, Any]]:
        """All files in it and below: pairs of the folder's path and the file's path in it.

        Args:
            maxdepth: How many levels to go down; None for all.
            topdown: Whether files come before those of the folders beside them.
            detail: Give `{path: {"name", "size", "type"}}` in the place of the path.
        """
        if self._uri is not None and not self._downloaded:
            base, found = self._uri, list(place_of(self._uri).files())
        else:
            base = self.__fspath__()
            found = [(path, stamp[0]) for path, stamp in _stamps(base).items() if stamp is not None]
        for path, size in sorted(found, reverse=not topdown):
            if maxdepth is None or path.count(os.sep) < maxdepth:
                about = {"name": os.path.join(base, path), "size": size, "type": "file"}
                yield base, {path: about} if detail else path

    def new_file(self, name: str | None = None) -> File:
        """A file in it, to be written."""
        return File(self._inside(name))

    def new_dir(self, name: str | None = None) -> Directory:
        """A folder in it, to be filled."""
        path = self._inside(name)
        if "://" not in path:
            os.makedirs(path, exist_ok=True)
        return Directory(path)

    def _inside(self, name: str | None) -> str:
        name = check_path(name or os.urandom(8).hex())
        if self._uri is not None and not self._arrived:
            return f"{self._uri.rstrip('/')}/{name}"
        path = os.path.join(self.__fspath__(), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return path

    def _identity(self) -> str:
        return repr(self._entries) if self._entries is not None else super()._identity()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._given or self._name or self._local!r})"

    def _bring(self, target: str) -> None:
        if self._entries is None or self._store is None:
            fetch_folder(self._uri or "", target)
            self._stamps = _stamps(target)
            return
        os.makedirs(target, mode=0o700)
        for entry in self._entries:
            path = os.path.join(target, check_path(entry.path))
            os.makedirs(path if entry.blob is None else os.path.dirname(path), exist_ok=True)
            if entry.blob is not None:
                copy_file(self._store.path(entry.blob), path)
                os.chmod(path, 0o700 if entry.executable else 0o600)
            self._stamps[entry.path] = None if entry.blob is None else stamp_of(path)

    def _written(self) -> bool:
        """Whether the private copy is not what was downloaded any more."""
        return self._downloaded and self._local is not None and self._stamps != _stamps(self._local)


# Listing ------------------------------------------------------------------------------------------------------------


def _stamps(root: str) -> dict[str, Stamp | None]:
    """All files below a folder, with their stamps; empty folders, with a slash at their end and None."""
    return {path: None if path.endswith("/") else stamp_of(os.path.join(root, path)) for path in _walk(root)}


def _walk(root: str) -> Iterator[str]:
    """Paths of all files below a folder, relative to it; of empty folders too, with a slash at their end.

    Links are followed: what they lead to belongs to the folder. One that leads back to a folder above it would never
    end, and is left out.
    """
    status = os.stat(root)
    yield from _walk_below(root, "", ((status.st_dev, status.st_ino),))


def _walk_below(root: str, prefix: str, above: tuple[tuple[int, int], ...]) -> Iterator[str]:
    with os.scandir(os.path.join(root, prefix)) as listing:
        found = sorted(listing, key=lambda entry: entry.name)
    empty = True
    for entry in found:
        if entry.name == FOLDER and not prefix and os.path.abspath(root) == current_workspace():
            continue  # Ours: what this call has downloaded.
        empty = False
        if not entry.is_dir():
            yield prefix + entry.name
            continue
        status = entry.stat()
        place = (status.st_dev, status.st_ino)
        if place not in above:
            yield from _walk_below(root, f"{prefix}{entry.name}/", (*above, place))
    if empty and prefix:
        yield prefix


def _children(directory: Directory, entries: tuple[Entry, ...]) -> list[File | Directory]:
    assert directory._store is not None
    below: dict[str, list[Entry]] = {}
    files: dict[str, File | Directory] = {}
    for entry in entries:
        first, slash, rest = entry.path.partition("/")
        if slash:
            below.setdefault(first, []).extend([entry._replace(path=rest)] if rest else [])
        elif entry.blob is not None:
            files[first] = File.of_blob(directory._store, entry.blob, entry.size, first, entry.executable)
    for name, inside in below.items():
        files[name] = Directory.of_entries(directory._store, tuple(inside), name)
    return [files[name] for name in sorted(files)]


def _foreign_children(uri: str) -> list[File | Directory]:
    names: dict[str, tuple[bool, int | None]] = {}
    for path, size in place_of(uri).files():
        first, slash, _ = path.partition("/")
        names[first] = (bool(slash), size)
    base = uri.rstrip("/")
    return [
        Directory.of_address(f"{base}/{name}") if folder else File.of_address(f"{base}/{name}", size)
        for name, (folder, size) in sorted(names.items())
    ]


# On the wire --------------------------------------------------------------------------------------------------------


def directory_to_wire(directory: Directory, store: BlobStore) -> dict[str, Any]:
    """Upload what a folder holds unless it is where it should be; answers what stands for it in a value.

    Raises:
        MissingFile: There is nothing at its path, or at a link in it.
        TypeMismatch: It is no folder, or holds what is no file.
    """
    if directory._entries is not None and directory._store is not None and not directory._written():
        _bring_over(directory._entries, directory._store, store)
        return _wire(directory, directory._name, directory._entries)
    if directory._uri is not None and not directory._remote_directory and not directory._written():
        return _wire(directory, directory.name, uri=directory._uri)
    path = directory.__fspath__()
    if directory._remote_directory is not False:
        _check_folder(path)
    if directory._remote_directory is False:
        return _wire(directory, os.path.basename(path), uri=os.path.abspath(path))
    if isinstance(directory._remote_directory, str):
        address = directory._remote_directory
        send_folder(path, address)
        return _wire(directory, name_of(address), uri=address if scheme_of(address) else os.path.abspath(address))
    name = directory._name or os.path.basename(os.path.abspath(path))
    return _wire(directory, name, _upload(directory, path, store))


def _check_folder(path: str) -> None:
    if not os.path.exists(path):
        raise MissingFile(path, os.getcwd())
    if not os.path.isdir(path):
        raise TypeMismatch("a folder", f"the file {path!r}", "annotate files as File")


def _bring_over(entries: tuple[Entry, ...], source: BlobStore, target: BlobStore) -> None:
    if source is target:
        return
    with target.batch():
        for entry in entries:
            if entry.blob is not None and not target.has(entry.blob):
                target.put_file(source.path(entry.blob))


def _upload(directory: Directory, root: str, store: BlobStore) -> tuple[Entry, ...]:
    """Upload all files; those that were downloaded and not written to are known already."""
    known = {entry.path: entry for entry in directory._entries or () if directory._store is store}
    entries = []
    with store.batch():
        for path in _walk(root):
            place, before = os.path.join(root, path), known.get(path)
            if path.endswith("/"):
                entries.append(Entry(path, None, 0))
            elif before is not None and directory._stamps.get(path) == stamp_of(place):
                entries.append(before)
            else:
                blob, size = store.put_file(place)
                entries.append(Entry(path, blob, size, is_executable(place)))
    return tuple(entries)


def _wire(
    directory: Directory, name: str, entries: tuple[Entry, ...] | None = None, uri: str | None = None
) -> dict[str, Any]:
    content: dict[str, Any] = {"name": name, "size": None if entries is None else sum(entry.size for entry in entries)}
    if entries is not None:
        content["entries"] = [list(entry if entry.executable else entry[:3]) for entry in entries]
    else:
        content["uri"] = uri
    if directory._format:
        content["format"] = directory._format
    return content


def directory_from_wire(kind: type[_D], content: Mapping[str, Any], store: BlobStore) -> _D:
    """The folder that stands in a value; nothing is fetched before it is used.

    Raises:
        UnsafePath: An entry would lie outside of the folder, or inside of a file.
    """
    listed = content.get("entries")
    if listed is not None:
        entries = tuple(Entry(*entry) for entry in listed)
        _check_entries(entries)
        return kind.of_entries(store, entries, content.get("name") or "directory")
    uri = content.get("uri")
    if not uri:
        raise TransferFailed(str(content.get("name")), "the value says neither entries nor address")
    return kind.of_address(uri)


def _check_entries(entries: tuple[Entry, ...]) -> None:
    files = {check_path(entry.path) for entry in entries if entry.blob is not None}
    for entry in entries:
        parts = check_path(entry.path).split("/")
        for depth in range(1, len(parts)):
            if "/".join(parts[:depth]) in files:
                raise UnsafePath(entry.path, "it leads through a file")


def directory_key(directory: Directory) -> str:
    """What changes when something in the folder does, for keys of caches."""
    import hashlib

    if directory._uri is not None and not directory._written():
        listing = repr(sorted(place_of(directory._uri).files()))
        return f"uri:{directory._uri} {hashlib.sha256(listing.encode()).hexdigest()}"
    entries = directory._entries
    if entries is None or directory._written():
        entries = tuple(_hashed(directory.__fspath__()))
    return f"sha256:{hashlib.sha256(repr([tuple(entry) for entry in entries]).encode()).hexdigest()}"


def _hashed(root: str) -> Iterator[Entry]:
    from greenroom.copying import hash_file, open_regular

    for path in _walk(root):
        place = os.path.join(root, path)
        if path.endswith("/"):
            yield Entry(path, None, 0)
            continue
        with open(place, "rb", buffering=0, opener=open_regular) as opened:
            blob, size = hash_file(opened.fileno())
        yield Entry(path, blob, size, is_executable(place))


def __getattr__(name: str) -> Any:
    """The formats of `Directory`, which pickles refer to by name."""
    if name.startswith("Directory[") and name.endswith("]"):
        return Directory.__class_getitem__(name[10:-1].replace(":", "."))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
