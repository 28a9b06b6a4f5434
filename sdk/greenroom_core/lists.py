"""Lists that a map runs over, whatever they are kept in: sliced by range, never held whole."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import Protocol

from greenroom_core.mapping import FAILED, SUCCEEDED, Items, row_and_position
from greenroom_core.refs import read_ref
from greenroom_core.values import (
    NIL,
    Ext,
    ListView,
    Slice,
    Value,
    ValueFault,
    ext_bounds,
    kind_of,
    split,
    unpack,
    untag,
)
from greenroom_protocol.calls import Outcomes


class ListSource(Protocol):
    """A list of encoded items."""

    n: int

    def slice(self, start: int, stop: int) -> Slice:
        """Items `start` to `stop` (not included)."""
        ...


class Reader(Protocol):
    """What the pure parts may read beside their own state. Everything behind it is immutable."""

    def outcomes(self, row: int) -> Outcomes:
        """The columns of a row of the log."""
        ...

    def blob(self, sha256: str) -> bytes | memoryview:
        """A blob's bytes, best mapped into memory."""
        ...

    def manifest(self, execution: str, node: str, output: str) -> ListSource:
        """The results of a map, of this or another execution."""
        ...


def open_list(value: Value, reader: Reader) -> ListSource:
    """The list that a value is, wherever its items are.

    Raises:
        ValueFault: The value is no list.
    """
    value = untag(value)
    bounds = ext_bounds(value)
    if bounds is None or bounds[0] == Ext.LIST:
        return ListView(value)
    content = value[bounds[1] : bounds[1] + bounds[2]]
    if bounds[0] == Ext.BLOB:
        return ListView(reader.blob(read_ref(content).sha256))
    if bounds[0] == Ext.MANIFEST:
        told = unpack(content)
        if not isinstance(told, list) or list(map(type, told)) != [str, str, str, int]:
            raise ValueFault("a manifest must be [execution, node, output, n]")
        return reader.manifest(told[0], told[1], told[2])
    raise ValueFault(f"a map needs a list, not a value of kind {kind_of(value)}")


class MapResults:
    """One output of a map, read through the places of its items' outcomes. A failed item is null."""

    def __init__(self, items: Items, reader: Reader, output: int, outputs: int) -> None:
        self.n = items.n
        self._items, self._reader = items, reader
        self._output, self._outputs = output, outputs

    def slice(self, start: int, stop: int) -> Slice:
        """Items `start` to `stop` (not included)."""
        ends, end, parts = array("Q"), 0, []
        for part in self._values(start, stop):
            end += len(part)
            ends.append(end)
            parts.append(part)
        return Slice(stop - start, 0, ends.tobytes(), b"".join(parts))

    def _values(self, start: int, stop: int) -> Iterator[Value]:
        row, outcomes, ends = -1, None, memoryview(b"").cast("I")
        for item in range(start, stop):
            if self._items.states[item] != SUCCEEDED:
                yield NIL
                continue
            at, position = row_and_position(self._items.places[item])
            if at != row or outcomes is None:
                row, outcomes = at, self._reader.outcomes(at)
                ends = memoryview(outcomes.ends).cast("I")
            payload = outcomes.payload[ends[position - 1] if position else 0 : ends[position]]
            yield payload if self._outputs == 1 else split(payload, self._outputs)[self._output]


def failed_items(items: Items) -> Iterator[int]:
    """The items that have failed for good, in order."""
    start = items.states.find(FAILED)
    while start >= 0:
        yield start
        start = items.states.find(FAILED, start + 1)
