"""Keeps two hubs from one file."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from greenroom_hub.store.errors import InUse, NotWritable


class FileLock:
    """An advisory lock beside the file that it guards; ends with the process that holds it, however that ends."""

    def __init__(self, guarded: Path) -> None:
        self._guarded = guarded
        self._path = guarded.with_name(guarded.name + ".lock")
        self._fd: int | None = None

    def acquire(self) -> None:
        """Take the lock; nothing happens if it is held by this object already.

        Raises:
            InUse: Somebody else holds it.
            NotWritable: The lock's file cannot be made.
        """
        if self._fd is not None:
            return
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as fault:
            raise NotWritable(str(self._guarded), fault.strerror or str(fault)) from fault
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        except BlockingIOError:
            holder = os.pread(fd, 32, 0).strip()
            os.close(fd)
            raise InUse(str(self._guarded), int(holder) if holder.isdigit() else None) from None
        except OSError as fault:
            os.close(fd)
            raise NotWritable(str(self._guarded), fault.strerror or str(fault)) from fault
        self._fd = fd

    def release(self) -> None:
        """Let go of it. The lock's file stays: removing it could part two later holders."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
