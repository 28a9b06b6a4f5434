"""An error of the user's code as Python would print it, without the frames of whoever ran that code."""

from __future__ import annotations

import importlib
import os
import traceback
from types import TracebackType
from typing import Final

_OURS: Final = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_MACHINERY: Final = (
    "<frozen importlib",
    "<frozen runpy",
    os.path.dirname(importlib.__file__ or "<importlib>") + os.sep,
)


def own_traceback(fault: BaseException) -> str:
    """The traceback from the user's first frame on; all that it was caused by included."""
    seen: set[int] = set()
    part: BaseException | None = fault
    while part is not None and id(part) not in seen:
        seen.add(id(part))
        part.__traceback__ = _own(part.__traceback__)
        part = part.__cause__ or part.__context__
    return "".join(traceback.format_exception(fault))


def _own(trace: TracebackType | None) -> TracebackType | None:
    """Skip our frames at the beginning, and the import system's wherever they are between the user's."""
    kept = trace
    while kept is not None and _is_foreign(kept):
        kept = kept.tb_next
    at = kept
    while at is not None and at.tb_next is not None:
        while at.tb_next is not None and _is_machinery(at.tb_next):
            at.tb_next = at.tb_next.tb_next
        at = at.tb_next
    return kept


def _is_foreign(trace: TracebackType) -> bool:
    return trace.tb_frame.f_code.co_filename.startswith(_OURS) or _is_machinery(trace)


def _is_machinery(trace: TracebackType) -> bool:
    return trace.tb_frame.f_code.co_filename.startswith(_MACHINERY)
