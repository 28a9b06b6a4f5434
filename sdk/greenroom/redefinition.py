"""Names that are defined again: cells are run twice, files define `noop` twice. The last definition wins."""

from __future__ import annotations

from typing import Any
from weakref import WeakValueDictionary

_known: WeakValueDictionary[str, Any] = WeakValueDictionary()
_generation = 0


def define(name: str, function: Any) -> None:
    """A task or workflow of this name is being defined; functions within functions come and go, and don't count."""
    global _generation
    if "<locals>" in getattr(function, "__qualname__", "<locals>"):
        return
    if _known.get(name, function) is not function:
        _generation += 1
    try:
        _known[name] = function
    except TypeError:  # A builtin, or an object that cannot be referred to weakly.
        _generation += 1


def generation() -> int:
    """Grows whenever something is defined again: graphs that were made before may hold what is no longer meant."""
    return _generation


def touch() -> None:
    """Graphs that were made before may hold what is no longer meant: make them again."""
    global _generation
    _generation += 1
