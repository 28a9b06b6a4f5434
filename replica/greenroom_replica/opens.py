"""Which files this process opens and which folders it lists, while somebody wants to know.

What a module reads while it is imported, or a loader while it loads, is part of what it depends on. Python's audit
events would tell it too, but an audit hook stays for the life of the process and makes every `id()` and `open()` of the
user's calls several times as slow. So the functions that open files are wrapped, and unwrapped again afterwards. Files
that a library opens from C alone are not seen.
"""

from __future__ import annotations

import builtins
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from types import ModuleType
from typing import Any, Final, TypeAlias

Watcher: TypeAlias = Callable[[str, bool], None]
"""Gets an absolute path, and whether it was listed (a folder) rather than opened to be read."""

_watchers: list[Watcher] = []
_paused = 0


def _tell(path: Any, listed: bool) -> None:
    if _paused or isinstance(path, int):
        return  # A descriptor was told of when it was opened.
    try:
        name = os.path.abspath(os.fsdecode(path if path is not None else os.curdir))
    except (TypeError, OSError):
        return  # Not a path, or the working directory has gone: opening it will say so.
    for watcher in tuple(_watchers):
        watcher(name, listed)


def _opening(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def open(file: Any, mode: Any = "r", *args: Any, **options: Any) -> Any:
        if _watchers and not (isinstance(mode, str) and mode[:1] in ("w", "a", "x") and "+" not in mode):
            _tell(file, False)
        return original(file, mode, *args, **options)

    return open


def _opening_low(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def open(path: Any, flags: int, *args: Any, **options: Any) -> Any:
        if _watchers and flags & os.O_ACCMODE != os.O_WRONLY:
            _tell(path, False)
        return original(path, flags, *args, **options)

    return open


def _listing(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def listing(path: Any = None) -> Any:
        if _watchers:
            _tell(path, True)
        return original() if path is None else original(path)

    return listing


_WRAPPERS: Final[tuple[tuple[ModuleType, str, Callable[..., Any]], ...]] = (
    (builtins, "open", _opening(builtins.open)),
    (io, "open", _opening(io.open)),
    (os, "open", _opening_low(os.open)),
    (os, "listdir", _listing(os.listdir)),
    (os, "scandir", _listing(os.scandir)),
)


def _wrap() -> None:
    for module, name, wrapper in _WRAPPERS:
        if getattr(module, name) is wrapper.__wrapped__:  # type: ignore[attr-defined]
            setattr(module, name, wrapper)


def _unwrap() -> None:
    for module, name, wrapper in _WRAPPERS:
        if getattr(module, name) is wrapper:  # Else a program has put its own around ours: that works on.
            setattr(module, name, wrapper.__wrapped__)


def watch(watcher: Watcher) -> Callable[[], None]:
    """Tell `watcher` of every file that is opened to be read and every folder that is listed, by any thread.

    Returns:
        Ends it.
    """
    if not _watchers:
        _wrap()
    _watchers.append(watcher)

    def end() -> None:
        _watchers.remove(watcher)
        if not _watchers:
            _unwrap()

    return end


@contextmanager
def unwatched() -> Iterator[None]:
    """Tell nobody while this lasts: what the runtime reads for itself is nobody's dependency."""
    global _paused
    _paused += 1
    try:
        yield
    finally:
        _paused -= 1
