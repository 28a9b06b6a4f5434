"""Conditions of branches: comparisons of promises and constants, joined by and / or. Read, never run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from operator import eq, ge, gt, le, lt, ne
from typing import Any, Final, TypeAlias, Union

import msgpack

from greenroom_core.bindings import Binding, Lookup, Promise, promises_of, resolve
from greenroom_core.values import Ext, ValueFault, kind_of, reading, unpack, untag
from greenroom_core.wire import tagged


class Operator(StrEnum):
    """What a comparison asks."""

    EQ = "=="
    NE = "!="
    LT = "<"
    LE = "<="
    GT = ">"
    GE = ">="


class Join(StrEnum):
    """How two conditions are joined."""

    AND = "and"
    OR = "or"


@tagged("compare")
@dataclass(frozen=True, slots=True)
class Compare:
    """`left operator right`."""

    left: Binding
    operator: Operator
    right: Binding


@tagged("both")
@dataclass(frozen=True, slots=True)
class Both:
    """Two conditions, joined."""

    left: Condition
    join: Join
    right: Condition


Condition: TypeAlias = Union[Compare, Both]  # noqa: UP007  (a forward reference inside)

_OPERATORS: Final[Mapping[Operator, Callable[[Any, Any], bool]]] = {
    Operator.EQ: eq,
    Operator.NE: ne,
    Operator.LT: lt,
    Operator.LE: le,
    Operator.GT: gt,
    Operator.GE: ge,
}


def promises_in(condition: Condition) -> Iterator[Promise]:
    """Every promise that a condition reads."""
    if isinstance(condition, Both):
        yield from promises_in(condition.left)
        yield from promises_in(condition.right)
    else:
        yield from promises_of(condition.left)
        yield from promises_of(condition.right)


def holds(condition: Condition, lookup: Lookup) -> bool:
    """Whether a condition is true of the values that `lookup` gives.

    Raises:
        ValueFault: A side is opaque, or the two cannot be ordered.
    """
    if isinstance(condition, Both):
        left = holds(condition.left, lookup)
        if condition.join is Join.AND:
            return left and holds(condition.right, lookup)
        return left or holds(condition.right, lookup)
    left_side, right_side = _read(condition.left, lookup), _read(condition.right, lookup)
    try:
        return bool(_OPERATORS[condition.operator](left_side, right_side))
    except TypeError as fault:
        raise ValueFault(f"cannot compare {left_side!r} {condition.operator} {right_side!r}") from fault


def _read(binding: Binding, lookup: Lookup) -> Any:
    value = untag(resolve(binding, lookup))
    obj = unpack(value)
    if not isinstance(obj, msgpack.ExtType):
        return obj
    if obj.code == Ext.BIGINT:
        return _big(obj.data)
    if obj.code == Ext.TIME:
        return _time(obj.data)
    raise ValueFault(f"a condition cannot read a value of kind {kind_of(value)}; compare a plain part of it")


@reading
def _big(content: bytes) -> int:
    """An int beyond 64 bits, as `Ext.BIGINT` writes it."""
    return int(content, 16) if content.lstrip(b"-").startswith(b"0x") else int(content)


@reading
def _time(content: bytes) -> Any:
    """A moment or a span as what it means: two texts of one moment may differ, and do not sort."""
    import datetime as dt  # Here: few programs compare times.

    kind, text, *_ = unpack(content)
    if kind == "timedelta":
        return dt.timedelta(microseconds=int(text))
    read = {"datetime": dt.datetime.fromisoformat, "date": dt.date.fromisoformat, "time": dt.time.fromisoformat}[kind]
    return read(text)
