"""A project as it was bundled the last time, so that an unchanged one costs one look at each file and no more."""

from __future__ import annotations

import hashlib
import os
from array import array
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgpack

from greenroom.bundling.listing import LeftOut

_VERSION: Final = 1


class Snapshot(NamedTuple):
    """What a bundle was made of and under which conditions that still holds."""

    conditions: bytes
    """Digest of what decides which files are looked at, as `conditions_of` makes it."""
    folders: Sequence[tuple[str, int]]
    """Folders in which modules were looked for, and their mtimes."""
    left_out: Sequence[LeftOut]
    paths: Sequence[str]
    stamps: bytes
    """Size, inode, mtime and ctime of each path, as 64-bit numbers."""
    manifest: bytes
    """The encoded manifest."""

    def holds(self, root: Path, conditions: bytes) -> bool:
        """Whether making the bundle again would give the same one."""
        if conditions != self.conditions:
            return False
        base = f"{root}/"
        if any(mtime_of(base + folder) != mtime for folder, mtime in self.folders):
            return False
        try:
            if any(size and os.lstat(base + path).st_size != size for path, _, size in self.left_out):
                return False
            return stamps_of(base, self.paths) == self.stamps
        except OSError:
            return False

    def save(self, file: Path) -> None:
        """Write it; a cache folder that cannot be written is no error."""
        write_atomically(file, msgpack.packb((_VERSION, *self)))

    @classmethod
    def load(cls, file: Path) -> Snapshot | None:
        """Read what `save` wrote; None if there is none."""
        try:
            version, *fields = msgpack.unpackb(file.read_bytes(), use_list=False)
        except (OSError, ValueError, TypeError, msgpack.UnpackException):
            return None
        return cls(*fields) if version == _VERSION and len(fields) == len(cls._fields) else None


def conditions_of(names: bytes, *others: Any) -> bytes:
    """One digest for the names that a project lists and all else that decides what is taken."""
    digest = hashlib.sha256(names)
    digest.update(repr(others).encode("utf-8", "surrogatepass"))
    return digest.digest()


def stamp_of(status: os.stat_result) -> bytes:
    """What tells whether a file has changed."""
    return array("q", (status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns)).tobytes()


def stamps_of(base: str, paths: Iterable[str]) -> bytes:
    """The stamps of many files; raises OSError for one that has gone."""
    stamps = array("q")
    lstat, add = os.lstat, stamps.extend
    for path in paths:
        status = lstat(base + path)
        add((status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns))
    return stamps.tobytes()


def newest(stamps: bytes) -> int:
    """The latest mtime or ctime among stamps, in nanoseconds."""
    numbers = array("q", stamps)
    return max([*numbers[2::4], *numbers[3::4]], default=0)


def mtime_of(folder: str) -> int:
    """When something was last added to or removed from a folder; 0 if it is not there."""
    try:
        return os.stat(folder).st_mtime_ns
    except OSError:
        return 0


def write_atomically(file: Path, content: bytes) -> None:
    """Replace `file` as a whole, or leave it as it is: a cache that cannot be written is no error."""
    spare = file.with_name(f"{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            spare.write_bytes(content)
            spare.replace(file)
        except OSError:
            spare.unlink(missing_ok=True)
    except OSError:
        pass
