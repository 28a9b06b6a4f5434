"""What waits on a replica and what its runners hold: batches, the spans of them that were handed out, and pace."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, NamedTuple

from greenroom_protocol.frames import Assign

MOST_AHEAD: Final = 512
"""Calls that a runner may hold, however short they are."""


class Held(NamedTuple):
    """One call, by the names that the hub knows it under."""

    execution: str
    node: str
    item: int
    attempt: int


class Batch:
    """The calls of one `Assign`, in its columns. Nothing here is decoded: a span of it is a slice of each column."""

    __slots__ = ("assign", "ends", "gone", "next", "size", "spec")

    def __init__(self, assign: Assign, spec: Any = None) -> None:
        self.assign = assign
        self.spec = spec
        """What the owner knows of the batch's definition."""
        self.ends = memoryview(assign.ends).cast("Q")
        self.size = len(self.ends)
        self.next = 0
        """The first call that was not handed out."""
        self.gone: set[int] = set()
        """Positions at or behind `next` that will not run here: revoked, or cancelled while they waited."""

    def item(self, position: int) -> int:
        """The item at `position`."""
        items = self.assign.items
        return items + position if isinstance(items, int) else items[position]

    def attempt(self, position: int) -> int:
        """The attempt's number at `position`."""
        attempts = self.assign.attempts
        return attempts if isinstance(attempts, int) else attempts[position]

    def held(self, position: int) -> Held:
        """The call at `position`."""
        assign = self.assign
        return Held(assign.execution, assign.node, self.item(position), self.attempt(position))

    def positions_of(self, items: Iterable[int], start: int = 0) -> list[int]:
        """Where `items` stand in the batch, those from `start` on; an empty collection means all."""
        wanted = set(items)
        first = self.assign.items
        if not wanted:
            return list(range(start, self.size))
        if isinstance(first, int):
            return sorted(item - first for item in wanted if start <= item - first < self.size)
        return [position for position in range(start, self.size) if first[position] in wanted]

    def waiting(self) -> Iterator[int]:
        """Positions that wait to be handed out."""
        return (position for position in range(self.next, self.size) if position not in self.gone)


class Span(NamedTuple):
    """Neighbouring calls of a batch that one runner holds, under serials from `first` on."""

    first: int
    batch: Batch
    start: int
    stop: int

    @property
    def last(self) -> int:
        """The serial of its last call."""
        return self.first + self.stop - self.start - 1

    def position(self, serial: int) -> int:
        """Where in the batch the call with this serial stands."""
        return self.start + serial - self.first


def check(assign: Assign) -> str | None:
    """What is wrong with an assignment's columns; None if they agree."""
    if not assign.ends or len(assign.ends) % 8:
        return f"ends of {len(assign.ends)} bytes"
    ends = memoryview(assign.ends).cast("Q")
    for name, column in (("items", assign.items), ("attempts", assign.attempts)):
        if not isinstance(column, int) and len(column) != len(ends):
            return f"{name} holds {len(column)} of {len(ends)} calls"
    if ends[-1] - assign.base != len(assign.payload):
        return f"a payload of {len(assign.payload)} bytes ends at {ends[-1] - assign.base}"
    return None


class Queue:
    """Calls that wait, first come first served."""

    def __init__(self) -> None:
        self._batches: deque[Batch] = deque()

    def __bool__(self) -> bool:
        self._drop_empty()
        return bool(self._batches)

    def __len__(self) -> int:
        return sum(batch.size - batch.next - len(batch.gone) for batch in self._batches)

    def __iter__(self) -> Iterator[Batch]:
        return iter(self._batches)

    def add(self, batch: Batch) -> None:
        """Put a batch behind what waits."""
        self._batches.append(batch)

    def head(self) -> Batch | None:
        """The batch whose calls are next."""
        self._drop_empty()
        return self._batches[0] if self._batches else None

    def take(self, most: int) -> tuple[Batch, int, int] | None:
        """Take up to `most` neighbouring calls off the front: their batch, the first position and the one behind."""
        batch = self.head()
        if batch is None or most < 1:
            return None
        start = batch.next
        if not batch.gone:
            stop = min(batch.size, start + most)
        else:
            stop = start + 1
            while stop < batch.size and stop - start < most and stop not in batch.gone:
                stop += 1
        batch.next = stop
        return batch, start, stop

    def put_back(self, spans: Iterable[tuple[Batch, int, int]]) -> None:
        """Put calls that no runner has begun at the front again, in the order in which they were taken."""
        for batch, start, stop in reversed(list(spans)):
            if batch.next == stop and self._batches and self._batches[0] is batch:
                batch.next = start
            else:
                self._batches.appendleft(_part(batch, start, stop))

    def drop(self, execution: str, node: str, items: Iterable[int]) -> list[tuple[Batch, int]]:
        """Take out what waits of these calls, wherever it stands; an empty node or list means all."""
        wanted = list(items)
        dropped = []
        for batch in self._batches:
            assign = batch.assign
            if assign.execution != execution or (node and assign.node != node):
                continue
            for position in batch.positions_of(wanted, batch.next):
                if position not in batch.gone:
                    batch.gone.add(position)
                    dropped.append((batch, position))
        return dropped

    def drop_all(self) -> list[tuple[Batch, int]]:
        """Take out everything."""
        dropped = [(batch, position) for batch in self._batches for position in batch.waiting()]
        self._batches.clear()
        return dropped

    def _drop_empty(self) -> None:
        batches = self._batches
        while batches:
            batch = batches[0]
            while batch.next in batch.gone:
                batch.gone.discard(batch.next)
                batch.next += 1
            if batch.next < batch.size:
                return
            batches.popleft()


def _part(batch: Batch, start: int, stop: int) -> Batch:
    """A batch of its own for calls that return to the queue behind others'."""
    assign = batch.assign
    base = batch.ends[start - 1] if start else assign.base
    part = assign._replace(
        items=assign.items + start if isinstance(assign.items, int) else assign.items[start:stop],
        attempts=assign.attempts if isinstance(assign.attempts, int) else assign.attempts[start:stop],
        base=base,
        ends=assign.ends[8 * start : 8 * stop],
        payload=assign.payload[base - assign.base : batch.ends[stop - 1] - assign.base],
    )
    return Batch(part, batch.spec)


class Pace:
    """How long the calls of a definition take here, and so how many a runner may hold: more only where they are short.

    In time, not in calls: two milliseconds of work keep a runner busy over a round trip, and no call waits behind a
    long one for a reason of ours.
    """

    __slots__ = ("cost", "granted")

    def __init__(self) -> None:
        self.cost: float | None = None
        """Seconds a call, reset included; None before the first was measured."""
        self.granted = 1

    def room(self, seconds: float) -> int:
        """Calls that fit in `seconds`, at least one; twice the last grant at most."""
        if self.cost is None:
            return 1
        fits = int(seconds / max(self.cost, 1e-7))
        self.granted = max(1, min(fits, 2 * self.granted, MOST_AHEAD))
        return self.granted

    def measured(self, calls: int, seconds: float) -> None:
        """Learn from calls that ran one after the other."""
        if calls < 1:
            return
        each = seconds / calls
        if self.cost is None or each > 4 * self.cost:
            self.cost = each  # A jump upwards counts at once: calls that wait behind long ones are the worse mistake.
        else:
            weight = min(0.5, 0.1 + 0.01 * calls)
            self.cost += weight * (each - self.cost)

    def reset(self) -> None:
        """Forget: a runner died under such a call, so that they go one by one again."""
        self.cost, self.granted = None, 1


class Hand:
    """What one runner holds: spans in the order in which they were handed over, and which of their calls ended."""

    def __init__(self) -> None:
        self.next_serial = 1
        self._spans: list[Span] = []
        self._firsts: list[int] = []
        self._ended: set[int] = set()
        """Serials that ended out of order; empty where calls run one at a time."""
        self._done = 0
        """All serials up to this one have ended."""

    def __len__(self) -> int:
        return self.next_serial - 1 - self._done - len(self._ended)

    @property
    def last_ended(self) -> int:
        """The highest serial that has ended."""
        return max(self._ended, default=self._done)

    def give(self, batch: Batch, start: int, stop: int) -> Span:
        """Note that these calls go to the runner."""
        span = Span(self.next_serial, batch, start, stop)
        self.next_serial += stop - start
        self._spans.append(span)
        self._firsts.append(span.first)
        return span

    def span_of(self, serial: int) -> Span | None:
        """The span that holds a call; None if the serial is no open call's."""
        index = bisect_right(self._firsts, serial) - 1
        if index < 0 or serial > self._spans[index].last:
            return None
        return self._spans[index]

    def is_open(self, serial: int) -> bool:
        """Whether a call was given and has not ended."""
        return self._done < serial < self.next_serial and serial not in self._ended

    def ended(self, serial: int) -> bool:
        """Note the end of a call; False if it had ended before, or is none."""
        if serial <= self._done or serial >= self.next_serial or serial in self._ended:
            return False
        if serial == self._done + 1:
            self._done = serial
            while self._ended and self._done + 1 in self._ended:
                self._done += 1
                self._ended.discard(self._done)
        else:
            self._ended.add(serial)
        while self._spans and self._spans[0].last <= self._done:
            self._spans.pop(0)
            self._firsts.pop(0)
        return True

    def ended_through(self, first: int, last: int) -> bool:
        """Note the ends of neighbours at once; False if they are not exactly the next ones."""
        if self._ended or first != self._done + 1 or last >= self.next_serial:
            return False
        self._done = last
        while self._spans and self._spans[0].last <= last:
            self._spans.pop(0)
            self._firsts.pop(0)
        return True

    def open_serials(self) -> list[int]:
        """Serials of the calls that have not ended, in order."""
        return [serial for serial in range(self._done + 1, self.next_serial) if serial not in self._ended]

    def take_back(self, after: int) -> list[tuple[Batch, int, int]]:
        """Take the calls with serials above `after`, which the runner will not begin, out of its hand.

        Their serials are never used again: the runner may still have them in its own queue.
        """
        taken = []
        while self._spans and self._spans[-1].last > after:
            span = self._spans.pop()
            self._firsts.pop()
            cut = max(span.first, after + 1)
            taken.append((span.batch, span.position(cut), span.stop))
            if cut > span.first:
                kept = span._replace(stop=span.position(cut))
                self._spans.append(kept)
                self._firsts.append(kept.first)
        void = range(max(after, self._done) + 1, self.next_serial)
        if void and void.start == self._done + 1:
            self._done = void.stop - 1
        else:
            self._ended.update(void)
        return taken[::-1]

    def find(self, matches: Callable[[Batch, int], bool]) -> list[int]:
        """Serials of open calls that match."""
        found = []
        for serial in self.open_serials():
            span = self.span_of(serial)
            if span is not None and matches(span.batch, span.position(serial)):
                found.append(serial)
        return found

    def ahead(self, cost: Callable[[Batch], float]) -> float:
        """Seconds of work that the runner holds, by what calls of each batch's definition cost."""
        total = 0.0
        for span in self._spans:
            open_calls = span.last - max(span.first - 1, self._done)
            total += open_calls * cost(span.batch)
        return total
