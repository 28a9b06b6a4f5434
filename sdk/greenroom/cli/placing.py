"""Give a blob's file a name of its own, without letting anybody who writes to it reach the blob."""

from __future__ import annotations

import os
import shutil
from typing import Final

from greenroom.copying import clone

_LINKED: Final = 256 * 1024 * 1024
"""Bytes above which a file is linked rather than copied where it cannot be cloned: blobs are read-only, and a model of
10 GB twice on the disk is worse than the risk that root writes to it."""


def place_file(source: str, target: str) -> None:
    """Make `target` a file with the content of `source`, in one step; what was there is replaced."""
    os.makedirs(os.path.dirname(target), exist_ok=True)
    part = f"{target}.{os.getpid()}.part"
    try:
        _fill(source, part)
        os.replace(part, target)
    except BaseException:
        if os.path.lexists(part):
            os.unlink(part)
        raise


def _fill(source: str, part: str) -> None:
    with open(source, "rb") as here, open(part, "wb") as there:
        if clone(here.fileno(), there.fileno()):
            return
        if os.fstat(here.fileno()).st_size <= _LINKED:
            shutil.copyfileobj(here, there, 1 << 20)
            return
    os.unlink(part)
    try:
        os.link(source, part)
    except OSError:
        shutil.copyfile(source, part)  # Another disk.
