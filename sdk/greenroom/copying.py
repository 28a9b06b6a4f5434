"""Bytes from one file to another: shared where the file system can, copied by the kernel, hashed, flushed."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections.abc import Iterable
from typing import Final, TypeAlias

from greenroom.errors import TypeMismatch

Bytes: TypeAlias = "bytes | bytearray | memoryview"
StrPath: TypeAlias = "str | os.PathLike[str]"

_CHUNK: Final = 1 << 20


def copy_file(source: StrPath, target: StrPath) -> None:
    """Make `target` a private copy of `source`, which must not be there yet; its bytes do not pass through us."""
    with open(source, "rb", buffering=0) as reader, open(target, "xb", buffering=0) as writer:
        if not clone(reader.fileno(), writer.fileno()) and not _send(reader.fileno(), writer.fileno()):
            copy_hashing(reader.fileno(), writer.fileno())


def _send(source: int, target: int) -> bool:
    """Copy inside the kernel; False, with nothing written, where it cannot."""
    done = 0
    while True:
        try:
            sent = os.copy_file_range(source, target, 1 << 30)
        except (OSError, AttributeError):  # Not on this system, not between these file systems.
            if done:
                raise
            return False
        if not sent:
            return done > 0 or os.fstat(source).st_size == 0
        done += sent


_FICLONE: Final = 0x40049409
_NO_CLONE: Final = frozenset(
    {errno.EOPNOTSUPP, errno.ENOTTY, errno.EXDEV, errno.EINVAL, errno.EPERM, errno.ENOSYS, errno.EISDIR}
)


def clone(source: int, target: int) -> bool:
    """Share the source's blocks with the target, copy on write (btrfs, xfs); False where that is not to be had."""
    try:
        from fcntl import ioctl

        ioctl(target, _FICLONE, source)
        return True
    except ImportError:
        return False
    except OSError as fault:
        if fault.errno not in _NO_CLONE:
            raise
        return False


def open_regular(path: str, flags: int) -> int:
    """Open without waiting for the other end of a pipe, and refuse what is no regular file.

    Raises:
        TypeMismatch: A folder, pipe, socket or device.
    """
    import stat

    try:
        descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as fault:
        if fault.errno == errno.ENXIO:
            raise TypeMismatch("a file", f"{path!r}, a socket") from None
        raise
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return descriptor
    os.close(descriptor)
    if stat.S_ISDIR(mode):
        raise TypeMismatch("a file", f"the folder {path!r}", "annotate folders as Directory")
    raise TypeMismatch("a file", f"{path!r}, a pipe, socket or device")


def hash_file(descriptor: int) -> tuple[str, int]:
    """The sha256 and the size of an open file, read from its start."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    state, size = hashlib.sha256(), 0
    while data := os.read(descriptor, _CHUNK):
        state.update(data)
        size += len(data)
    return state.hexdigest(), size


def copy_hashing(source: int, target: int) -> tuple[str, int]:
    """Copy an open file from its start; answers the sha256 and the size of what was copied."""
    os.lseek(source, 0, os.SEEK_SET)
    state, size = hashlib.sha256(), 0
    while data := os.read(source, _CHUNK):
        state.update(data)
        write_all(target, data)
        size += len(data)
    return state.hexdigest(), size


def write_all(descriptor: int, data: Bytes) -> None:
    """Write all of `data`."""
    view = memoryview(data).cast("B")
    while len(view):
        view = view[os.write(descriptor, view) :]


def rename(source: str, target: str) -> bool:
    """Move a file; False if it cannot be moved there, as between file systems."""
    try:
        os.replace(source, target)
        return True
    except OSError:
        return False


def remove(path: str) -> None:
    """Remove a file if it is there."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


class Discarded:
    """Removes a temporary file at the end of the block, unless it has got another name by then."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __enter__(self) -> None:
        """Begin the block."""

    def __exit__(self, *_: object) -> None:
        remove(self.path)


def names_in(folder: str) -> list[str]:
    """What a folder holds; nothing if it is not there."""
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []


def sync_path(path: str) -> None:
    """Flush a file or a folder's entries to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


_WORTH_ONE_SYNC: Final = 8
"""Files from which one `syncfs` costs less than an fsync for each."""


def sync_paths(paths: Iterable[str]) -> None:
    """Flush many files of one file system to disk."""
    names = list(paths)
    if len(names) >= _WORTH_ONE_SYNC and _sync_file_system(names[0]):
        return
    for name in names:
        sync_path(name)


def _sync_file_system(path: str) -> bool:
    """Flush the file system that holds `path` (Linux); False where that cannot be asked for."""
    try:
        import ctypes

        syncfs = ctypes.CDLL(None, use_errno=True).syncfs
    except (ImportError, OSError, AttributeError):
        return False
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return bool(syncfs(descriptor) == 0)
    finally:
        os.close(descriptor)
