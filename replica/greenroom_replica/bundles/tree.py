"""A bundle's files in a folder of their own: where `__file__` points and where calls stand.

The folder belongs to one runner. It keeps its path from bundle to bundle, since programs keep paths that they derived
from `__file__` when they were imported. What calls write there is kept between calls, as on any actor; when the bundle
changes, files that differ between the two bundles become the new one's, whatever calls did to them, and all others stay
as calls left them. `restore` brings back the exact bundle, for regular tasks.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeAlias

import msgpack

from greenroom_protocol.bundle import BadManifest, BundleFile, Manifest, add_folders
from greenroom_replica.bundles.blobs import Blobs

Stamp: TypeAlias = "tuple[int, int, int, int]"
"""Size, inode, mtime and ctime: changes whenever a file does."""


class Tree:
    """Lays out bundles in `folder`, one at a time. Nobody else may do so there meanwhile."""

    def __init__(self, folder: Path, blobs: Blobs) -> None:
        self.folder = Path(os.path.realpath(folder))
        """Its real path: no link lies in it, so that names can be compared."""
        self._blobs = blobs
        self._state = self.folder.with_name(f"{self.folder.name}.bundle")
        self._held: Manifest | None = None
        self._hash: str | None = None
        self._stamps: dict[str, Stamp] = {}
        self._load()

    def _load(self) -> None:
        """Learn what lies here from an earlier runner; without its word, nothing that lies here is trusted."""
        try:
            self._hash, self._stamps, encoded = msgpack.unpackb(self._state.read_bytes(), use_list=False)
            self._encoded: bytes = encoded
        except (OSError, ValueError, TypeError, msgpack.UnpackException):
            self._hash, self._stamps, self._encoded = None, {}, b""

    @property
    def held(self) -> str | None:
        """The hash of the bundle that lies here."""
        return self._hash

    def _manifest(self) -> Manifest | None:
        """The bundle that lies here; read when it is first needed, since most runners find the right one."""
        if self._held is None and self._hash is not None:
            try:
                self._held = Manifest.decode(self._encoded, self._hash)
            except BadManifest:
                self._hash = None
        return self._held

    def switch(self, manifest: Manifest) -> int:
        """Make the folder hold this bundle's files; the number that had to be written. Cheap if it does already."""
        there = self.folder.is_dir()  # A call may have removed all of it.
        if there and self._hash == manifest.hash:
            return 0
        held = self._manifest() if there else None
        self._forget()
        if held is None:
            self._empty()
        old = held.by_path if held is not None else {}
        for path in old:
            if path not in manifest.by_path:
                self._remove(path)
        changed = [file for file in manifest.files if not _same(old.get(file.path), file)]
        self._write(changed, fresh=held is None)
        self._stamps = {path: stamp for path, stamp in self._stamps.items() if path in manifest.by_path}
        self._keep(manifest)
        return len(changed)

    def restore(self) -> int:
        """Bring back the exact bundle: changed and missing files are written, all else goes; how many that were."""
        manifest = self._manifest()
        if manifest is None:
            return 0
        folders: set[str] = set()
        for path in manifest.by_path:
            add_folders(path, folders)
        intact: set[str] = set()
        strange = list(self._strange(folders, intact))
        missing = [file for file in manifest.files if file.path not in intact]
        if strange or missing:
            self._forget()
            for path in strange:
                _delete(f"{self.folder}/{path}")
            self._write(missing, fresh=False)
            self._keep(manifest)
        return len(strange) + len(missing)

    def _strange(self, folders: set[str], intact: set[str]) -> Iterator[str]:
        """What is not the bundle's, or not any more; `intact` gets what is."""
        pending = [""]
        while pending:
            at = pending.pop()
            for entry in _scan(f"{self.folder}/{at}"):
                path = f"{at}/{entry.name}" if at else entry.name
                if entry.is_dir(follow_symlinks=False):
                    if path in folders:
                        pending.append(path)
                    else:
                        yield path
                elif self._stamps.get(path) == _stamp(entry.stat(follow_symlinks=False)):
                    intact.add(path)
                else:
                    yield path

    def _write(self, files: Iterable[BundleFile], *, fresh: bool) -> None:
        made: set[str] = set()
        for path, digest, _, executable in files:
            folder = path.rpartition("/")[0]
            if folder not in made:
                self._make_folder(folder, made)
            target = f"{self.folder}/{path}"
            if not fresh:
                _delete(target)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(target, flags, 0o755 if executable else 0o644)
            try:
                content = memoryview(self._blobs.open_blob(digest))
                while content:
                    content = content[os.write(descriptor, content) :]
                self._stamps[path] = _stamp(os.fstat(descriptor))
            finally:
                os.close(descriptor)

    def _make_folder(self, folder: str, made: set[str]) -> None:
        """Make a folder and all above it; a link or a file that a call put in its place goes."""
        at = str(self.folder)
        os.makedirs(at, exist_ok=True)
        done = ""
        for part in folder.split("/") if folder else ():
            at, done = f"{at}/{part}", f"{done}/{part}".lstrip("/")
            if done in made:
                continue
            try:
                if not stat.S_ISDIR(os.lstat(at).st_mode):
                    _delete(at)
                    os.mkdir(at)
                elif not os.access(at, os.W_OK | os.X_OK):
                    os.chmod(at, 0o755)
            except FileNotFoundError:
                os.mkdir(at)
            made.add(done)
        made.add(folder)

    def _remove(self, path: str) -> None:
        """Take away a file that the bundle no longer has, and the folders that it leaves empty."""
        self._stamps.pop(path, None)
        folder = path.rpartition("/")[0]
        if not self._is_real(folder):
            return  # A call put a link there: what lies behind it is not ours.
        _delete(f"{self.folder}/{path}")
        while folder:
            try:
                os.rmdir(f"{self.folder}/{folder}")
            except OSError:
                return
            folder = folder.rpartition("/")[0]

    def _is_real(self, folder: str) -> bool:
        here = f"{self.folder}/{folder}" if folder else str(self.folder)
        return os.path.realpath(here) == here

    def _empty(self) -> None:
        os.makedirs(self.folder, exist_ok=True)
        for entry in _scan(str(self.folder)):
            _delete(entry.path)

    def _forget(self) -> None:
        """From here on, until `_keep`, a crash leaves a folder that nobody trusts."""
        self._held = self._hash = None
        self._state.unlink(missing_ok=True)

    def _keep(self, manifest: Manifest) -> None:
        self._held, self._hash = manifest, manifest.hash
        spare = self._state.with_name(f"{self._state.name}.new")
        spare.write_bytes(msgpack.packb((manifest.hash, self._stamps, manifest.encode())))
        spare.replace(self._state)


def materialise(manifest: Manifest, folder: Path, blobs: Blobs) -> Tree:
    """Lay out a bundle in `folder`; the second time it costs next to nothing, and a change costs what has changed."""
    tree = Tree(folder, blobs)
    tree.switch(manifest)
    return tree


def _same(old: BundleFile | None, new: BundleFile) -> bool:
    return old is not None and old.digest == new.digest and old.executable == new.executable


def _stamp(status: os.stat_result) -> Stamp:
    return status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns


def _scan(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except PermissionError:
        os.chmod(folder, 0o755)
        with os.scandir(folder) as entries:
            return list(entries)


def _delete(path: str) -> None:
    """Remove whatever is there, if anything is."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
    except NotADirectoryError:
        return
    except (IsADirectoryError, PermissionError):
        _delete_folder(path)


def _delete_folder(path: str) -> None:
    os.chmod(os.path.dirname(path), 0o755)
    if not stat.S_ISDIR(os.lstat(path).st_mode):
        os.unlink(path)
        return
    for entry in _scan(path):
        _delete(entry.path)
    os.rmdir(path)
