"""Sentences about values that work, but not as their author may expect."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar, Token

_listener: ContextVar[Callable[[str], None] | None] = ContextVar("listener", default=None)


def advise(sentence: str) -> None:
    """Tell whoever encodes for this call; without one, warn as Python does."""
    listener = _listener.get()
    if listener is not None:
        listener(sentence)
        return
    import warnings

    from greenroom.errors import GreenroomWarning

    warnings.warn(sentence, GreenroomWarning, stacklevel=3)


def listen(listener: Callable[[str], None] | None) -> Token[Callable[[str], None] | None]:
    """Hear what is advised in this context, until `stop_listening`."""
    return _listener.set(listener)


def stop_listening(token: Token[Callable[[str], None] | None]) -> None:
    """Undo `listen`."""
    _listener.reset(token)
