"""Where a node's input comes from: a constant, a promise, or a list or dict of such."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias, Union

from greenroom_core.values import Path, Value, access, pack_dict, pack_list
from greenroom_core.wire import tagged


@tagged("promise")
@dataclass(frozen=True, slots=True)
class Promise:
    """An output of a node (or an input of the workflow, for node `""`), or a part of it."""

    node: str
    output: str
    path: tuple[str | int, ...] = ()


@tagged("value")
@dataclass(frozen=True, slots=True)
class Constant:
    """A value that is known when the workflow is compiled."""

    value: bytes


@tagged("list")
@dataclass(frozen=True, slots=True)
class Gathered:
    """A list whose items come from elsewhere."""

    items: tuple[Binding, ...] = ()


@tagged("dict")
@dataclass(frozen=True, slots=True)
class Record:
    """A dict whose items come from elsewhere."""

    items: Mapping[str, Binding] = field(default_factory=dict)


Binding: TypeAlias = Union[Promise, Constant, Gathered, Record]  # noqa: UP007  (a forward reference inside)

Lookup: TypeAlias = Callable[[str, str, Path], Value]
"""Gives the value of (node, output, path)."""


def promises_of(binding: Binding) -> Iterator[Promise]:
    """Every promise in a binding."""
    if isinstance(binding, Promise):
        yield binding
    elif isinstance(binding, Gathered):
        for item in binding.items:
            yield from promises_of(item)
    elif isinstance(binding, Record):
        for item in binding.items.values():
            yield from promises_of(item)


def resolve(binding: Binding, lookup: Lookup) -> Value:
    """The value of a binding, once everything that it refers to has ended."""
    if isinstance(binding, Constant):
        return binding.value
    if isinstance(binding, Promise):
        return lookup(binding.node, binding.output, binding.path)
    if isinstance(binding, Gathered):
        return pack_list([resolve(item, lookup) for item in binding.items])
    return pack_dict((name, resolve(item, lookup)) for name, item in binding.items.items())


def from_values(values: Mapping[str, Value]) -> Lookup:
    """A lookup over the inputs of a workflow alone."""

    def lookup(node: str, output: str, path: Path) -> Value:
        return access(values[output], path)

    return lookup
