"""Which call is running, which entries it uses, and where the arguments of a load came from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from itertools import count
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from greenroom.caching.entry import Entry
    from greenroom.caching.telemetry import Failed

MAX_PARTS: Final = 256
"""Parts of one input that arguments are compared with."""


class Call:
    """One call of a task, from `begin_call` to `end_call`. The entries that it touched are in use as long."""

    __slots__ = ("address", "evicted", "failed", "inputs", "touched")

    def __init__(self, address: str = "", inputs: Mapping[str, Any] | None = None) -> None:
        self.address = address
        self.inputs = inputs
        """The task's decoded inputs; may be set once they are known."""
        self.touched: dict[Entry, str] = {}
        """`hit`, `miss` or `wait`: how the call first got each entry."""
        self.evicted: list[tuple[str, str, str]] = []
        """Loader, key digest and reason of each entry that went meanwhile."""
        self.failed: list[Failed] = []


CALL: ContextVar[Call | None] = ContextVar("greenroom_call", default=None)
"""The call that runs in this context. A thread that the user's code started has none: see `Store.call`."""

next_tick = count(1).__next__


def provenance(arguments: Mapping[str, Any], inputs: Mapping[str, Any]) -> list[list[Any]]:
    """From which inputs a loader's arguments came: `[parameter, candidates, sure]` of each that was passed.

    A candidate is an input's name, or a path into it: `state`, `config.model`, `batch[0]`. An argument made on the way
    (a string put together) has none. Small numbers and short texts are one object everywhere: their candidates are all
    that hold it, and not sure.
    """
    homes: dict[int, list[str]] = {}
    alive = []
    for name, value in inputs.items():
        for path, part in _parts(name, value):
            homes.setdefault(id(part), []).append(path)
            alive.append(part)  # A part made by looking, such as a property's value, must not give its identity away.
    found = []
    for name, value in arguments.items():
        candidates = homes.get(id(value), [])
        found.append([name, candidates, len(candidates) == 1 and not _is_shared(value)])
    return found


def _parts(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """An input and what is directly in it."""
    yield name, value
    if isinstance(value, dict):
        items = [
            (f"{name}[{key!r}]", part) for key, part in list(value.items())[:MAX_PARTS] if isinstance(key, str | int)
        ]
    elif isinstance(value, list | tuple):
        items = [(f"{name}[{place}]", part) for place, part in enumerate(value[:MAX_PARTS])]
        fields = getattr(value, "_fields", None)
        if fields is not None:
            items = [(f"{name}.{field}", part) for field, part in zip(fields, value, strict=False)]
    else:
        attributes = getattr(value, "__dict__", None)
        items = [(f"{name}.{key}", part) for key, part in list(attributes.items())[:MAX_PARTS]] if attributes else []
    yield from items


def _is_shared(value: Any) -> bool:
    """Whether Python may use one object for all such values, so that identity says little."""
    if value is None or isinstance(value, bool) or (type(value) is tuple and not value):
        return True
    if type(value) is int:
        return -5 <= value <= 256
    return type(value) in (str, bytes) and (len(value) <= 1 or (type(value) is str and value.isidentifier()))
