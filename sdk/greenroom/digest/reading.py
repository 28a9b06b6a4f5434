"""Reads of our own, which a recorder of the files that user code opens must not count."""

from __future__ import annotations

import threading


class _Quiet(threading.local):
    depth = 0


quiet = _Quiet()
"""`quiet.depth` is above 0 while this thread reads source files for a digest or a key."""


class Unrecorded:
    """Marks what this thread opens meanwhile as ours."""

    def __enter__(self) -> None:
        quiet.depth += 1

    def __exit__(self, *_: object) -> None:
        quiet.depth -= 1
