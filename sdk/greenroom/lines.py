"""Which line of the user's code is speaking: errors of definitions and nodes of graphs carry it."""

from __future__ import annotations

import os
import sys
from types import CodeType, FrameType
from typing import Any, Final

_OWN: Final = os.path.dirname(os.path.abspath(__file__)) + os.sep
_PASSED: Final = (_OWN, os.path.dirname(os.__file__) + os.sep + "functools.py", "<frozen")


def caller() -> str:
    """`file:line` of the innermost frame outside of Greenroom; empty where there is none."""
    frame = _users_frame()
    return f"{shown(frame.f_code.co_filename)}:{frame.f_lineno}" if frame is not None else ""


def caller_module() -> str:
    """Name of the module of the innermost frame outside of Greenroom."""
    frame = _users_frame()
    return str(frame.f_globals.get("__name__", "")) if frame is not None else ""


def _users_frame() -> FrameType | None:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and _is_passed(frame.f_code):
        frame = frame.f_back
    return frame


def _is_passed(code: CodeType) -> bool:
    # A dataclass's constructor is compiled from text, as what `python -c` is given.
    generated = code.co_filename == "<string>" and code.co_name == "__init__"
    return generated or code.co_filename.startswith(_PASSED)


def defined(function: Any) -> str:
    """`file:line` at which a function is defined; empty where that is unknown."""
    while hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    code = getattr(function, "__code__", None)
    return f"{shown(code.co_filename)}:{code.co_firstlineno}" if code is not None else ""


def shown(path: str) -> str:
    """A path as people name it: from the current folder on, where it lies below."""
    try:
        here = os.getcwd() + os.sep
    except OSError:  # The current folder is gone.
        return path
    return path[len(here) :] if path.startswith(here) else path
