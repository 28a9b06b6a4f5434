"""Where unix sockets lie: their paths may have 107 bytes, state folders may be longer."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from pathlib import Path

_LONGEST = 107
_LONGEST_NAME = len("zygotes/0123456789abcdef.sock")


class UnsafeFolder(RuntimeError):
    """The folder for sockets exists and is not this user's alone."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path

    def __str__(self) -> str:
        return f"{self.path} belongs to somebody else or is open to others: remove it, or set XDG_RUNTIME_DIR"


def socket_folder(state: Path) -> Path:
    """The folder for a hub's sockets: its state folder, or a private short one that its path always leads to."""
    if _fits(state):
        return state
    name = f"greenroom-{os.getuid()}-{hashlib.sha256(os.fsencode(state)).hexdigest()[:12]}"
    bases = (os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir(), "/tmp")  # TMPDIR may be long itself.
    folder = next(Path(base, name) for base in bases if base and (_fits(Path(base, name)) or base == "/tmp"))
    folder.mkdir(mode=0o700, exist_ok=True)
    info = folder.lstat()
    if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.getuid() or info.st_mode & 0o077:
        raise UnsafeFolder(str(folder))
    return folder


def _fits(folder: Path) -> bool:
    return len(os.fsencode(folder)) + 1 + _LONGEST_NAME <= _LONGEST
