"""Where the files that a call downloads or makes are put: its workspace, or a folder of this process."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextvars import ContextVar, Token
from itertools import count

from greenroom.copying import StrPath

FOLDER = ".greenroom"
"""The folder in a workspace that is ours: a workspace may be a call's working directory, full of the user's files."""

_workspace: ContextVar[str | None] = ContextVar("workspace", default=None)
_latest: str | None = None  # For threads of the user's: they see no context variables of the call that started them.
_own: tuple[int, str] | None = None
_numbers = count()


def set_workspace(path: StrPath | None) -> Token[str | None]:
    """From now on, the files of this context are put below `path`; who sets it removes it. `reset_workspace` undoes.

    Args:
        path: A folder; None for the folder of this process, which is removed when the process ends.
    """
    global _latest
    _latest = None if path is None else os.path.abspath(path)
    return _workspace.set(_latest)


def reset_workspace(token: Token[str | None]) -> None:
    """Go back to the workspace before."""
    global _latest
    _workspace.reset(token)
    _latest = _workspace.get()


@contextlib.contextmanager
def workspace(path: StrPath) -> Iterator[str]:
    """Put the files of this block below `path`."""
    token = set_workspace(path)
    try:
        yield os.path.abspath(path)
    finally:
        reset_workspace(token)


def current_workspace() -> str:
    """The folder that files are put below."""
    return _workspace.get() or _latest or _process_folder()


def passes_away(path: str) -> bool:
    """Whether something is at `path`, and in the current workspace, so that it is gone when the call has ended."""
    base = _workspace.get() or _latest or (_own[1] if _own is not None else None)
    return (
        base is not None and os.path.exists(path) and os.path.realpath(path).startswith(os.path.realpath(base) + os.sep)
    )


def new_place(folder: str, name: str) -> str:
    """A path in a workspace that nobody else has, ending in `name`; its folder is made."""
    place = os.path.join(folder, FOLDER, f"{os.getpid():x}-{next(_numbers)}")
    os.makedirs(place, mode=0o700, exist_ok=True)
    return os.path.join(place, name)


def _process_folder() -> str:
    global _own
    pid = os.getpid()
    if _own is None or _own[0] != pid:  # A forked child must not use, or remove, its parent's.
        import atexit
        import tempfile

        _own = pid, tempfile.mkdtemp(prefix="greenroom-")
        atexit.register(_remove_own, pid, _own[1])
    return _own[1]


def _remove_own(pid: int, folder: str) -> None:
    if pid == os.getpid():
        import shutil

        shutil.rmtree(folder, ignore_errors=True)
