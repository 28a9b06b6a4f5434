"""What a reset cannot look into, said once per bundle with the remedy."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable
from typing import Any, NamedTuple

from greenroom_replica.reset.report import size_text
from greenroom_replica.reset.usercode import is_ours

LARGEST = 64 * 1024
"""Bytes; a bigger array is not compared after every call."""

MOST_NODES = 50_000
"""Objects behind one global that are compared after every call: with more, the reset would cost what a fork does."""

_REMEDY = "load it with @actor_cache, or run with isolation='fork'"

_HARMLESS = frozenset(
    [
        "abc",
        "annotationlib",
        "ast",
        "builtins",
        "click",
        "concurrent",
        "contextvars",
        "_contextvars",
        "dataclasses",
        "datetime",
        "decimal",
        "_decimal",
        "email",
        "enum",
        "fractions",
        "functools",
        "_functools",
        "hmac",
        "hashlib",
        "http",
        "importlib",
        "inspect",
        "ipaddress",
        "json",
        "keyword",
        "locale",
        "logging",
        "math",
        "numbers",
        "operator",
        "_operator",
        "pathlib",
        "platform",
        "re",
        "_sre",
        "string",
        "struct",
        "_struct",
        "textwrap",
        "threading",
        "_thread",
        "time",
        "token",
        "types",
        "typing",
        "typing_extensions",
        "unittest",
        "urllib",
        "uuid",
        "warnings",
        "weakref",
        "zoneinfo",
        "random",
    ]
)
"""Packages whose objects are immutable, restored by a row of their own, or hold what no call means to change."""


class Opaque(NamedTuple):
    """A global that is kept as it is."""

    name: str
    kind: str
    why: str
    """``large``, ``many``, ``iterator``, ``file``, ``unreadable`` or ``library``."""
    size: int = 0
    """Bytes for ``large``, objects for ``many``."""
    error: str = ""
    """What it raised, for ``unreadable``."""


def judge(name: str, value: Any) -> Opaque | None:
    """Say why a library's object in a global is not checked; None where there is nothing to say."""
    kind = type(value)
    module = kind.__module__ if type(kind.__module__) is str else ""
    text = f"{module}.{kind.__qualname__}" if module != "builtins" else kind.__qualname__
    numpy = sys.modules.get("numpy")
    if numpy is not None and kind is getattr(numpy, "ndarray", None) and not value.flags.writeable:
        return None
    size = size_of_buffer(value)
    if size:
        return Opaque(name, text, "large", size) if size > LARGEST else Opaque(name, text, "library")
    if issubclass(kind, io.IOBase):
        return Opaque(name, text, "file")
    if _is_iterator(kind):
        return Opaque(name, text, "iterator")
    top = module.partition(".")[0]
    if top in _HARMLESS or is_ours(module) or not _is_mutable(kind):
        return None
    return Opaque(name, text, "library")


def size_of_buffer(value: object) -> int:
    """Measure an array or a table in bytes; 0 for what is neither."""
    numpy, pandas = sys.modules.get("numpy"), sys.modules.get("pandas")
    try:
        if numpy is not None and isinstance(value, numpy.ndarray):
            return int(value.nbytes) if value.flags.writeable else 0
        if pandas is not None and isinstance(value, (pandas.DataFrame, pandas.Series, pandas.Index)):
            usage = value.memory_usage(index=True)
            return int(usage if isinstance(value, pandas.Series) else usage.sum())
        tensor = getattr(sys.modules.get("torch"), "Tensor", None)
        if tensor is not None and isinstance(value, tensor):
            return int(value.element_size() * value.nelement())
    except Exception:
        return 0
    return 0


def _is_iterator(kind: type) -> bool:
    return any("__next__" in vars(base) or "__anext__" in vars(base) for base in kind.__mro__)


def _is_mutable(kind: type) -> bool:
    """Tell whether objects of a library's class can hold state: those that are hashed by value hardly do."""
    return getattr(kind, "__hash__", None) in (None, object.__hash__)


def sentences(found: Iterable[Opaque]) -> list[str]:
    """Say what is not checked: one sentence for each big one, one for all library objects together."""
    said: list[str] = []
    libraries: list[Opaque] = []
    for item in found:
        if item.why == "large":
            said.append(
                f"{item.name} ({item.kind}, {size_text(item.size)}) is above 64 KiB and not checked between calls: "
                f"what a call writes into it stays; make it read-only, {_REMEDY}"
            )
        elif item.why == "many":
            said.append(
                f"{item.name} ({item.kind}) holds more than {item.size:,} objects and is not checked between calls: "
                f"what a call changes in it stays; {_REMEDY}"
            )
        elif item.why == "iterator":
            said.append(
                f"{item.name} ({item.kind}) cannot be rewound between calls: "
                f"what one call takes from it the next does not get; "
                f"make it inside the task, or run with isolation='fork'"
            )
        elif item.why == "file":
            said.append(
                f"{item.name} ({item.kind}) is an open file, which calls share with its position; "
                f"open it inside the task, or {_REMEDY}"
            )
        elif item.why == "unreadable":
            said.append(
                f"{item.name} ({item.kind}) cannot be looked into ({item.error}) and is not checked between calls; "
                f"make it inside the task, or run with isolation='fork'"
            )
        else:
            libraries.append(item)
    if libraries:
        said.append(_library_sentence(libraries))
    return said


def _library_sentence(items: list[Opaque]) -> str:
    shown = ", ".join(f"{item.name} ({item.kind})" for item in items[:5])
    more = f" and {len(items) - 5} more" if len(items) > 5 else ""
    one = len(items) == 1
    return (
        f"{shown}{more} {'is an object' if one else 'are objects'} of a library and not looked into: "
        f"what a call changes in {'it' if one else 'them'} stays; make it inside the task, {_REMEDY}"
    )


def too_many(name: str, value: Any) -> Opaque:
    """Say that a global reaches more objects than are worth comparing."""
    return Opaque(name, type(value).__qualname__, "many", MOST_NODES)


def unreadable(name: str, value: object, error: Exception) -> Opaque:
    """Say that an object could not be copied."""
    return Opaque(name, type(value).__qualname__, "unreadable", error=type(error).__name__)
