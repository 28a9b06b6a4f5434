"""The calls of one node, as compact columns: a byte, a number and a place for each, a dict only for the exceptional.

A million items take about 12 MB. A plain task is a node of one item; nothing here is special to maps. Which items are
held by a replica is volatile (it is never in the log); all else folds from facts.
"""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from greenroom_protocol.calls import Outcomes, Status


class ItemState(IntEnum):
    """Where one call is."""

    READY = 0
    """It may be handed to a replica."""
    HELD = 1
    """A replica has it: waiting there, or running."""
    SUCCEEDED = 2
    FAILED = 3
    ABORTED = 4
    DELAYED = 5
    """Waits out the delay before its next attempt, or for a call that computes the same."""


READY, HELD, SUCCEEDED, FAILED, ABORTED, DELAYED = (int(state) for state in ItemState)

_FINAL: Final = frozenset({SUCCEEDED, FAILED, ABORTED})

_ABORT: Final = bytes(ABORTED if state in (READY, HELD, DELAYED) else state for state in range(256))

LAST_ATTEMPT: Final = 0xFFFF
"""The largest number that an attempt can have; an item that gets there is not tried again."""

PLACE_BITS: Final = 20
"""Low bits of a place that hold the position in its row; a batch holds fewer than 2**20 calls."""


def place_of(row: int, position: int) -> int:
    """Where an outcome lies: a row of the log and a position in its columns."""
    return row << PLACE_BITS | position


def row_and_position(place: int) -> tuple[int, int]:
    """What `place_of` joined."""
    return place >> PLACE_BITS, place & ((1 << PLACE_BITS) - 1)


@dataclass(slots=True)
class Trouble:
    """What happened to an item that did not just succeed."""

    failures: int = 0
    """Attempts that failed in the user's own code, or by its limits."""
    losses: int = 0
    """Attempts lost with a replica or a runner that count against the budget of losses."""
    crashes: int = 0
    """Those of them that ended their own process: a further attempt runs in a process for itself."""


class Items:
    """The calls of one node.

    Attributes:
        n: How many there are.
        held: How many replicas hold now.
        succeeded, failed, aborted: How many have ended so.
        limit: Most calls that may be held at a time; None for no limit.
    """

    __slots__ = (
        "_aside",
        "_back",
        "_cursor",
        "_delayed",
        "_due",
        "aborted",
        "attempts",
        "closed",
        "failed",
        "held",
        "limit",
        "n",
        "places",
        "states",
        "succeeded",
        "trouble",
    )

    def __init__(self, n: int, limit: int | None = None) -> None:
        self.n = n
        self.limit = limit
        self.states = bytearray(n)
        self.attempts = array("H", (1,)) * n
        """The number of each item's current attempt, from 1."""
        self.places = array("Q", bytes(8 * n))
        self.trouble: dict[int, Trouble] = {}
        self.held = self.succeeded = self.failed = self.aborted = 0
        self._cursor = 0
        self._back: list[int] = []
        self._delayed: list[tuple[int, int]] = []
        """When, and which: a heap, which may still name items that wait no more."""
        self._due: dict[int, int] = {}
        """When each item is due that waits out a delay."""
        self._aside: set[int] = set()
        self.closed = False
        """Nothing is handed out any more: what no replica holds stays as it is until the node ends."""

    # Reading ------------------------------------------------------------------------------------------------------

    @property
    def open(self) -> int:
        """Items that have not ended."""
        return self.n - self.succeeded - self.failed - self.aborted

    @property
    def room(self) -> int:
        """Items that could be handed out now, by count and by the node's limit; delayed ones are not counted."""
        if self.closed:
            return 0
        waiting = self.open - self.held - len(self._due) - len(self._aside)
        return waiting if self.limit is None else max(0, min(waiting, self.limit - self.held))

    def stale(self, outcomes: Outcomes) -> tuple[int, ...]:
        """Positions of outcomes that come from superseded attempts, or for items that have ended."""
        first, count = outcomes.items, outcomes.size
        if isinstance(first, int) and isinstance(outcomes.attempts, int):
            states = self.states[first : first + count]
            attempts = self.attempts[first : first + count]
            alive = not any(state in states for state in _FINAL)
            if alive and len(states) == count and attempts.count(outcomes.attempts) == count:
                return ()
        return tuple(self._stale_ones(outcomes.item_list(), outcomes.attempt_list()))

    def _stale_ones(self, items: Sequence[int], attempts: Sequence[int]) -> Iterator[int]:
        for position, (item, attempt) in enumerate(zip(items, attempts, strict=True)):
            if not self.runs(item, attempt):
                yield position

    def waiting_until(self) -> int | None:
        """When the first delayed item is due, milliseconds; None if none is delayed, or none is run any more."""
        if self.closed:
            return None
        while self._delayed and self._due.get(self._delayed[0][1]) != self._delayed[0][0]:
            heapq.heappop(self._delayed)
        return self._delayed[0][0] if self._delayed else None

    def runs(self, item: int, attempt: int) -> bool:
        """Whether this is the current attempt of an item that has not ended."""
        return 0 <= item < self.n and self.states[item] not in _FINAL and self.attempts[item] == attempt

    def exhausted(self, item: int) -> bool:
        """Whether an item has had as many attempts as can be numbered."""
        return self.attempts[item] >= LAST_ATTEMPT

    # Handing out (volatile) -----------------------------------------------------------------------------------------

    def take(self, most: int) -> range | list[int]:
        """Hand out up to `most` items: neighbours from the cursor, or some that came back."""
        most = min(most, self.room)
        if most <= 0:
            return range(0)
        if self._back:
            return self._take_back(most)
        start = self.states.find(READY, self._cursor)
        if start < 0:
            start = self.states.find(READY)  # One that `came_back` told somebody about, who has let go of it.
            if start < 0:
                return range(0)
        stop = min(start + most, self.n)
        run = self.states[start:stop]
        taken = next((offset for offset, state in enumerate(run) if state != READY), len(run)) if any(run) else len(run)
        stop = start + taken
        self.states[start:stop] = bytes((HELD,)) * taken
        self._cursor = stop
        self.held += taken
        return range(start, stop)

    def take_these(self, items: Sequence[int]) -> list[int]:
        """Hand out chosen items, as far as they are ready."""
        taken = [item for item in items if self.states[item] == READY]
        for item in taken:
            self.states[item] = HELD
        self.held += len(taken)
        return taken

    def ready_from(self, start: int, most: int) -> list[int]:
        """Up to `most` ready items from `start` on, in order; they stay ready."""
        found: list[int] = []
        item = self.states.find(READY, start)
        while item >= 0 and len(found) < most:
            found.append(item)
            item = self.states.find(READY, item + 1)
        return found

    def came_back(self) -> list[int]:
        """Ready items that were handed out before; who asks takes over finding them."""
        found = [item for item in self._back if self.states[item] == READY]
        self._back.clear()
        return found

    def _take_back(self, most: int) -> list[int]:
        taken: list[int] = []
        while self._back and len(taken) < most:
            item = heapq.heappop(self._back)
            if self.states[item] == READY:
                self.states[item] = HELD
                taken.append(item)
        self.held += len(taken)
        return taken or list(self.take(most))

    def hold(self, item: int) -> None:
        """A replica says that it has this item, which the hub did not know (after a restart)."""
        if self.states[item] in (READY, DELAYED):
            self._leave(item)
            self.states[item] = HELD
            self.held += 1

    def set_aside(self, item: int) -> None:
        """A ready item waits for something else than a replica (another call that computes the same)."""
        if self.states[item] == READY:
            self.states[item] = DELAYED
            self._aside.add(item)

    def take_up(self, item: int) -> None:
        """An item that was set aside is ready again."""
        if item in self._aside and self.states[item] == DELAYED:
            self._aside.discard(item)
            self.states[item] = READY
            heapq.heappush(self._back, item)

    def give_back(self, items: Iterable[int]) -> None:
        """Items that a replica held and has not begun are ready again, in the same attempt."""
        for item in items:
            if self.states[item] == HELD:
                self.states[item] = READY
                self.held -= 1
                heapq.heappush(self._back, item)

    def wake(self, now_ms: int) -> bool:
        """Make the delayed items ready that are due; whether there were any."""
        woken = False
        while self._delayed and self._delayed[0][0] <= now_ms:
            due, item = heapq.heappop(self._delayed)
            if self._due.get(item) == due:
                self._leave(item)
                self.states[item] = READY
                heapq.heappush(self._back, item)
                woken = True
        return woken

    # Folding facts ----------------------------------------------------------------------------------------------------

    def succeed(self, outcomes: Outcomes, row: int) -> None:
        """A batch in which every call succeeded and none is refused."""
        items, count = outcomes.items, outcomes.size
        if isinstance(items, int):
            stop = items + count
            if self._due or self._aside:
                for item in range(items, stop):
                    self._leave(item)
            else:
                self.held -= self.states.count(HELD, items, stop)
            self.states[items:stop] = bytes((SUCCEEDED,)) * count
            first = place_of(row, 0)
            self.places[items:stop] = array("Q", range(first, first + count))
        else:
            for position, item in enumerate(items):
                self._leave(item)
                self.states[item] = SUCCEEDED
                self.places[item] = place_of(row, position)
        self.succeeded += count

    def end(self, item: int, state: ItemState, place: int) -> None:
        """One item has ended."""
        self._leave(item)
        self.states[item] = int(state)
        self.places[item] = place
        self.succeeded += state is ItemState.SUCCEEDED
        self.failed += state is ItemState.FAILED
        self.aborted += state is ItemState.ABORTED

    def again(self, item: int, due_ms: int = 0) -> None:
        """One item gets a further attempt, from `due_ms` on (0: at once)."""
        self._leave(item)
        self.attempts[item] += 1
        if due_ms:
            self._due[item] = due_ms
            self.states[item] = DELAYED
            heapq.heappush(self._delayed, (due_ms, item))
        else:
            self.states[item] = READY
            heapq.heappush(self._back, item)

    def close(self) -> None:
        """Hand nothing out any more. What a replica holds may still end as it will.

        What waits is not aborted yet: whether a replica holds an item is not in the log, and a replay must agree.
        """
        self.closed = True

    def abort_rest(self) -> None:
        """The node has ended: what has not is aborted, and late outcomes are refused."""
        self.closed = True
        self.aborted = self.n - self.succeeded - self.failed
        self.held = 0
        self.states = self.states.translate(_ABORT)
        self._back.clear()
        self._delayed.clear()
        self._due.clear()
        self._aside.clear()

    def _leave(self, item: int) -> None:
        """Count an item out of the state that it is in, before it gets another."""
        state = self.states[item]
        if state == HELD:
            self.held -= 1
        elif state == DELAYED:
            self._aside.discard(item)
            self._due.pop(item, None)

    def any_crashed(self, items: Iterable[int]) -> bool:
        """Whether one of these has ended its process in an attempt before."""
        trouble = self.trouble
        return any(item in trouble and trouble[item].crashes for item in items)

    def troubled(self, item: int) -> Trouble:
        """The item's record of trouble, made on first need."""
        return self.trouble.setdefault(item, Trouble())


def all_succeeded(outcomes: Outcomes) -> bool:
    """Whether every call of a batch succeeded."""
    statuses = outcomes.statuses
    return statuses.count(Status.SUCCEEDED) == len(statuses)
