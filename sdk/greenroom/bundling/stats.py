"""What files held when they were last read, so that an unchanged project is bundled without reading it.

One small file for each project in the user's cache folder. A remembered hash counts only while size, inode, mtime and
ctime are the same, and only if the file was at rest when it was read: a change within the clock's grain of a reading
could otherwise go unseen.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeAlias

import msgpack

from greenroom.bundling.errors import FileChanged
from greenroom.bundling.imports import Imports
from greenroom.bundling.snapshot import write_atomically

_VERSION: Final = 1

Row: TypeAlias = "tuple[tuple[int, int, int, int], bytes, Any]"
"""A file's (size, inode, mtime, ctime), its sha256, and, once they were asked for, its imports as plain data."""

RESTING_NS: Final = 2_000_000_000
"""Nanoseconds that a file must not have been touched before what was read of it is trusted later."""


def cache_folder() -> Path:
    """The user's cache folder for Greenroom (`XDG_CACHE_HOME`)."""
    base = os.environ.get("XDG_CACHE_HOME") or ("~/Library/Caches" if os.uname().sysname == "Darwin" else "~/.cache")
    return Path(base).expanduser() / "greenroom"


class StatCache:
    """Hashes and imports of a project's files, remembered by what `stat` says of them."""

    def __init__(self, root: Path, folder: Path | None = None, *, clock_ns: Callable[[], int] = time.time_ns) -> None:
        name = hashlib.sha256(os.fsencode(root)).hexdigest()[:32]
        self.file: Final = (cache_folder() if folder is None else Path(folder)) / "bundles" / name
        self._clock_ns = clock_ns
        self._rows: dict[str, Row] = {}
        self._used: dict[str, Row] = {}
        self._dirty = False
        self.reached: Any = None
        """What `make` found by following imports, and under which conditions; for it alone."""
        self.read = 0
        """Files that had to be read."""

    def load(self) -> None:
        """Read what was remembered; before the first question."""
        try:
            version, rows, self.reached = msgpack.unpackb(
                self.file.read_bytes(), use_list=False, unicode_errors="surrogatepass"
            )
        except (OSError, ValueError, TypeError, msgpack.UnpackException):
            return  # None yet, or written by somebody else: all is read again.
        if version == _VERSION and isinstance(rows, dict):
            self._rows = rows

    def digest(self, source: str, status: os.stat_result) -> str:
        """sha256 of the file `source`, in hex.

        Raises:
            FileChanged: It is gone, or grows while it is read.
        """
        return self._row(source, status)[1].hex()

    def imports(self, source: str, status: os.stat_result) -> Imports:
        """The imports of the module `source`."""
        row = self._row(source, status)
        if row[2] is None:
            from greenroom.bundling.scanning import scan_source

            row = self._used[source] = (row[0], row[1], tuple(scan_source(_content(source, status), source)))
            self._dirty = True
        return Imports(*row[2])

    def _row(self, source: str, status: os.stat_result) -> Row:
        stamp = (status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns)
        row = self._used.get(source)
        if row is not None and row[0] == stamp:
            return row
        row = self._rows.get(source)
        if row is None or row[0] != stamp:
            self.read += 1
            row = (stamp, hashlib.sha256(_content(source, status)).digest(), None)
            self._dirty = True
        self._used[source] = row
        return row

    def remember(self, reached: Any) -> None:
        """Keep `reached` for the next time."""
        if reached != self.reached:
            self.reached, self._dirty = reached, True

    def resting_ns(self) -> int:
        """What has not been touched since this time can be trusted to change its mtime when it changes."""
        return self._clock_ns() - RESTING_NS

    def save(self) -> None:
        """Keep what is worth keeping for the next time; a cache folder that cannot be written is no error."""
        if not self._dirty and len(self._used) == len(self._rows):
            return
        resting = self.resting_ns()
        rows = {name: row for name, row in self._used.items() if max(row[0][2], row[0][3]) < resting}
        packed = msgpack.packb((_VERSION, rows, self.reached), unicode_errors="surrogatepass")
        write_atomically(self.file, packed)


def _content(source: str, status: os.stat_result) -> bytes:
    try:
        with open(source, "rb", buffering=0) as file:
            content = file.read()
    except OSError as fault:
        raise FileChanged(source) from fault
    if len(content) != status.st_size:
        raise FileChanged(source)
    return content
