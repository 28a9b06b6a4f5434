"""Which files this process opens and which folders it lists, told by Python itself (audit events).

What a module or a loader reads is part of what it depends on. An audit hook cannot be taken out again, so there is one,
it is put in when somebody first wants to know, and it does next to nothing while nobody does.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

Watcher: TypeAlias = Callable[[str, bool], None]
"""Gets an absolute path, and whether it was listed (a folder) rather than opened to be read."""

_watchers: list[Watcher] = []
_paused = 0
_installed = False


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if not _watchers or _paused:
        return
    if event == "open":
        path, _, flags = args
        if isinstance(flags, int) and flags & os.O_ACCMODE == os.O_WRONLY:
            return
        _tell(path, False)
    elif event in ("os.listdir", "os.scandir"):
        _tell(args[0] if args[0] is not None else ".", True)


def _tell(path: Any, listed: bool) -> None:
    if isinstance(path, int):
        return  # A descriptor: it was told when it was opened.
    try:
        name = os.path.abspath(os.fsdecode(path))
    except (TypeError, OSError):
        return  # Not a path, or the working directory has gone: opening it will say so.
    for watcher in tuple(_watchers):
        watcher(name, listed)


def watch(watcher: Watcher) -> Callable[[], None]:
    """Tell `watcher` of every file that is opened to be read and every folder that is listed, by any thread.

    Returns:
        Ends it.
    """
    global _installed
    if not _installed:
        sys.addaudithook(_hook)
        _installed = True
    _watchers.append(watcher)
    return lambda: _watchers.remove(watcher)


@contextmanager
def unwatched() -> Iterator[None]:
    """Tell nobody while this lasts: what the runtime reads for itself is nobody's dependency."""
    global _paused
    _paused += 1
    try:
        yield
    finally:
        _paused -= 1
