"""The ground that calls stand on: their folders, and room for descriptors."""

from __future__ import annotations

import os
import resource
from collections.abc import Sequence

TOUCHES = 20e-6
"""Seconds; a call below has not removed a folder nor opened many files: each takes some microseconds."""

_open, _close, _stat = os.dup, os.close, os.stat


class Ground:
    """What must be there for the next call.

    Args:
        folders: Private folders of the replica.
    """

    def __init__(self, folders: Sequence[str]) -> None:
        self._folders = tuple(folders)
        self._half = resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2

    def lost(self) -> str:
        """Say what is gone; empty if nothing is."""
        try:
            if not _stat(".").st_nlink:
                return "the working folder was deleted"
            for folder in self._folders:
                _stat(folder)
            free = _open(0)
            _close(free)
        except OSError as error:
            return f"{error.filename} was deleted" if error.filename else f"descriptors: {error.strerror}"
        return f"{free} descriptors are open, half of what is allowed" if free >= self._half else ""
