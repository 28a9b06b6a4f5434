"""What a cache entry's loader made: kept, and put back, for as long as the entry lives."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterable
from typing import Any

from greenroom_replica.reset.rows.endings import Callback


class Owner:
    """One entry's belongings. Threads cannot be ended from outside: after `release` they are strays like any others."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.threads: set[int] = set()
        self.children: set[int] = set()
        self.descriptors = 0
        """How many more descriptors were open after the load."""
        self.files: list[str] = []
        """What the load put into the replica's private folders."""
        self.exits: list[Callback] = []
        """Callbacks for ``atexit``, run at the release."""
        self.loops: list[Any] = []

    def __repr__(self) -> str:
        counts = f"{len(self.threads)} threads, {len(self.children)} processes, {len(self.files)} files"
        return f"Owner({self.name!r}, {counts})"


def list_folders(folders: Iterable[str]) -> set[str]:
    """List what is directly in these folders."""
    found: set[str] = set()
    for folder in folders:
        try:
            found.update(os.path.join(folder, name) for name in os.listdir(folder))
        except OSError:
            continue
    return found


def remove(paths: Iterable[str]) -> None:
    """Remove files and folders, those that are gone already included."""
    for path in paths:
        try:
            if stat.S_ISDIR(os.lstat(path).st_mode):
                shutil.rmtree(path, ignore_errors=True)
            else:
                os.unlink(path)
        except OSError:
            continue
