"""From what a page held to what the hub keeps: outcomes of one node, in columns."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from typing import Any, Final, NamedTuple

import msgpack

from greenroom_core.failure import Failure
from greenroom_protocol.calls import Outcomes, Status
from greenroom_replica.core.page import Harvest
from greenroom_replica.core.slots import Batch, Hand, Held, Span

_MOST_US: Final = (1 << 32) - 1


class Part(NamedTuple):
    """Neighbours of one span among a harvest's outcomes."""

    span: Span
    start: int
    """Position in the harvest."""
    stop: int


class Printed(NamedTuple):
    """Which bytes of its runner's output a call wrote."""

    call: Held
    position: int
    """The call's place in the batch of outcomes."""
    bounds: tuple[int, int, int, int]
    """Where its stdout starts and ends, then its stderr."""
    segments: list[list[int]] | None = None
    """`[stream, start, end]`, for a coroutine, whose output stands among others'."""


class Built(NamedTuple):
    """A batch of outcomes, ready to be sent."""

    execution: str
    node: str
    body: bytes
    printed: list[Printed]
    cache: list[Mapping[str, Any]]
    """What the calls did with the actor cache; it is in the body too."""


def parts_of(harvest: Harvest, hand: Hand) -> Iterator[Part]:
    """Cut a harvest where one span ends and another begins; outcomes of calls that had ended before are left out."""
    serials = harvest.serials
    start, n = 0, len(serials)
    while start < n:
        span = hand.span_of(serials[start])
        if span is None or not hand.is_open(serials[start]):
            start += 1
            continue
        stop, last = start + 1, serials[start]
        while stop < n and serials[stop] == last + 1 <= span.last and hand.is_open(last + 1):
            last += 1
            stop += 1
        yield Part(span, start, stop)
        start = stop


def by_node(parts: Iterable[Part]) -> Iterator[list[Part]]:
    """Parts of the same node together, in the order in which the nodes came."""
    nodes: dict[tuple[str, str], list[Part]] = {}
    for part in parts:
        assign = part.span.batch.assign
        nodes.setdefault((assign.execution, assign.node), []).append(part)
    yield from nodes.values()


def build(harvest: Harvest, parts: list[Part]) -> Built:
    """Pack the outcomes of one node."""
    assign = parts[0].span.batch.assign
    if len(parts) == 1:
        whole = slice(parts[0].start, parts[0].stop)
        started, durations = harvest.started[whole], harvest.durations[whole]
        statuses, sizes = harvest.statuses[whole], harvest.sizes[whole]
    else:
        started = [moment for part in parts for moment in harvest.started[part.start : part.stop]]
        durations = [us for part in parts for us in harvest.durations[part.start : part.stop]]
        statuses = b"".join([harvest.statuses[part.start : part.stop] for part in parts])
        sizes = [size for part in parts for size in harvest.sizes[part.start : part.stop]]
    extras, cache, printed = _extras(harvest, parts)
    if max(durations) > _MOST_US:
        for position, duration in enumerate(durations):
            if duration > _MOST_US:
                extras.setdefault(position, {})["duration_us"] = duration
                durations[position] = _MOST_US
    base = min(started)
    outcomes = Outcomes(
        items=_items(harvest, parts),
        attempts=_attempts(harvest, parts),
        statuses=_statuses(statuses),
        ends=array("I", accumulate(sizes)).tobytes(),
        payload=_payload(harvest, parts),
        base_us=base,
        started=array("I", [min(moment - base, _MOST_US) for moment in started]).tobytes(),
        durations=array("I", durations).tobytes(),
        extras=extras,
        cache=cache,
    )
    return Built(assign.execution, assign.node, outcomes.pack(), printed, cache)


def _positions(harvest: Harvest, part: Part) -> tuple[int, int]:
    """Where in its batch a part starts and ends."""
    start = part.span.position(harvest.serials[part.start])
    return start, start + part.stop - part.start


def _items(harvest: Harvest, parts: list[Part]) -> int | list[int]:
    items: list[int] = []
    for part in parts:
        start, stop = _positions(harvest, part)
        column = part.span.batch.assign.items
        if isinstance(column, int):
            if len(parts) == 1:
                return column + start
            items.extend(range(column + start, column + stop))
        else:
            items.extend(column[start:stop])
    return _compact(items)


def _attempts(harvest: Harvest, parts: list[Part]) -> int | list[int]:
    attempts: list[int] = []
    for part in parts:
        start, stop = _positions(harvest, part)
        column = part.span.batch.assign.attempts
        if isinstance(column, int):
            if len(parts) == 1:
                return column
            attempts.extend([column] * (stop - start))
        else:
            attempts.extend(column[start:stop])
    return _same(attempts)


def failed(batch: Batch, positions: list[int], failure: Failure, status: Status, now_us: int, run_us: int = 0) -> Built:
    """Outcomes that no runner wrote: calls that were cancelled, or ended from outside, after `run_us` microseconds."""
    packed = failure.pack()
    n = len(positions)
    outcomes = Outcomes(
        items=_compact([batch.item(position) for position in positions]),
        attempts=_same([batch.attempt(position) for position in positions]),
        statuses=bytes([status]),
        ends=array("I", [len(packed) * count for count in range(1, n + 1)]).tobytes(),
        payload=packed * n,
        base_us=max(0, now_us - run_us),
        started=bytes(4 * n),
        durations=array("I", [min(run_us, _MOST_US)] * n).tobytes(),
        extras={},
        cache=[],
    )
    return Built(batch.assign.execution, batch.assign.node, outcomes.pack(), [], [])


def _payload(harvest: Harvest, parts: list[Part]) -> bytes:
    if len(parts) == 1 and parts[0].start == 0 and parts[0].stop == len(harvest.serials):
        return harvest.payload
    ends = [0, *accumulate(harvest.sizes)]
    return b"".join(harvest.payload[ends[part.start] : ends[part.stop]] for part in parts)


def _extras(
    harvest: Harvest, parts: list[Part]
) -> tuple[dict[int, dict[str, Any]], list[Mapping[str, Any]], list[Printed]]:
    extras: dict[int, dict[str, Any]] = {}
    cache: list[Mapping[str, Any]] = []
    printed: list[Printed] = []
    if not harvest.extras:
        return extras, cache, printed
    position = -1
    for part in parts:
        for place in range(part.start, part.stop):
            position += 1
            packed = harvest.extras.get(place)
            if packed is None:
                continue
            own = msgpack.unpackb(packed, strict_map_key=False, unicode_errors="surrogatepass")
            cache.extend(own.pop("cache", ()))
            if "log" in own:
                call = part.span.batch.held(part.span.position(harvest.serials[place]))
                printed.append(_printed(call, position, own))
            if own:
                extras[position] = own
    return extras, cache, printed


def _printed(call: Held, position: int, own: dict[str, Any]) -> Printed:
    """Take a call's output out of its extras, where only its size is of interest."""
    log = own["log"]
    if isinstance(log, dict):
        own["log"] = {"out": log["out"], "err": log["err"]}
        return Printed(call, position, (0, 0, 0, 0), log["segments"])
    out, out_end, err, err_end = log
    own["log"] = {"out": out_end - out, "err": err_end - err}
    return Printed(call, position, (out, out_end, err, err_end))


def _compact(numbers: list[int]) -> int | list[int]:
    first = numbers[0]
    if numbers[-1] - first == len(numbers) - 1 and numbers == list(range(first, first + len(numbers))):
        return first
    return numbers


def _same(numbers: list[int]) -> int | list[int]:
    return numbers[0] if numbers.count(numbers[0]) == len(numbers) else numbers


def _statuses(statuses: bytes) -> bytes:
    return statuses[:1] if statuses.count(statuses[0]) == len(statuses) else statuses
