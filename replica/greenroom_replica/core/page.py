"""The memory that a runner shares with its supervisor: what runs now, and the outcomes that nobody has read yet.

Both sides map the same bytes. The runner writes what it does with plain stores, so that a call needs no message to
be timed, charged with a crash, or asked to stop; and an outcome that stands here survives whatever happens to the
runner next. Stores are published by one word (`HEAD`), written last.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, NamedTuple

# Words: eight bytes each, one writer for each. A name is an index; plain ints, for these stand in the hottest loop.
CURRENT: Final = 0
"""Serial of the call that runs, 0 for none. In a concurrent runner: of the coroutine that steps. By the runner."""
STARTED: Final = 1
"""When it started, monotonic ns."""
PHASE: Final = 2
"""A `Phase`."""
OUT_AT: Final = 3
"""Where its stdout starts in the runner's stdout file."""
ERR_AT: Final = 4
ASKED: Final = 5
"""Serial of the last call that has read `cancelled`: it wants to stop by itself."""
HEAD: Final = 6
"""Outcomes written so far."""
CHILD: Final = 7
"""Pid of the forked child that runs the call, 0 for none."""
BEAT: Final = 8
"""When the runner's event loop last turned, monotonic ns; 0 while it has nothing to run."""
DONE: Final = 9
"""Calls ended so far."""
BEGUN: Final = 10
"""Highest serial begun, where calls run at once; elsewhere `CURRENT` says it."""
LIMIT: Final = 16
"""The highest serial that the runner may start. By the supervisor, like all that follow."""
CANCEL: Final = 17
"""Serial of the call that shall stop."""
CANCEL_WHY: Final = 18
"""1 cancelled, 2 timed out."""
TAIL: Final = 19
"""Outcomes read so far."""
OUT_SHIPPED: Final = 20
"""Bytes of stdout that were read: the runner's prints wait when they are far ahead of it."""
ERR_SHIPPED: Final = 21

WORDS: Final = 64

CAPACITY: Final = 1024
"""Outcomes that may wait; far more than a flush ever holds."""

AREA: Final = 1 << 20
"""Bytes of payload and extras that may wait; pages never touched cost nothing."""

LARGEST: Final = AREA // 2
"""An outcome above this goes through the socket instead."""

_COLUMNS: Final = WORDS * 8
_SIZE_OF_ENTRY: Final = 8 + 8 + 8 + 4 + 4 + 4 + 4
_AREA_AT: Final = -(-(_COLUMNS + CAPACITY * _SIZE_OF_ENTRY) // 4096) * 4096
SIZE: Final = _AREA_AT + AREA
"""Bytes of the whole page."""


class Phase(IntEnum):
    """What a runner is at, for the call in `CURRENT`."""

    IDLE = 0
    IMPORTING = 1
    """The bundle is fetched or its modules are imported."""
    INPUTS = 2
    FORKED = 3
    """A child was made and has not come to the user's code yet."""
    USER = 4
    ENCODING = 5
    RESETTING = 6
    """The outcome is written, but not yet counted in `HEAD`."""
    LOADING = 7
    """No call: entries are loaded by recipe."""


def phase_of(word: int) -> Phase:
    """Read a `PHASE` word. User code that writes past its memory may have been here: what is none counts as its own."""
    return Phase(word) if 0 <= word <= Phase.LOADING else Phase.USER


STOPPABLE: Final = frozenset({Phase.IMPORTING, Phase.INPUTS, Phase.USER})
"""Phases in which SIGTERM raises `CallCancelled`: elsewhere the call is as good as over."""


class Garbled(Exception):
    """What a runner wrote or said cannot be read: user code has changed what it stands on."""


class Harvest(NamedTuple):
    """Outcomes that were taken from a page, in the order in which they were written."""

    serials: list[int]
    started: list[int]
    """Wall clock, microseconds since the epoch."""
    durations: list[int]
    """Microseconds."""
    statuses: bytes
    sizes: list[int]
    """Bytes of each one's payload."""
    payload: bytes
    """All payloads, one after the other."""
    extras: dict[int, bytes]
    """By position: packed extras, where there are any."""


class Page:
    """One runner's shared memory, seen through a writable buffer of `SIZE` bytes."""

    __slots__ = (
        "_place",
        "_sizes",
        "area",
        "duration",
        "extra",
        "place",
        "serial",
        "size",
        "started",
        "status",
        "words",
    )

    def __init__(self, buffer: memoryview) -> None:
        self.words = buffer[:_COLUMNS].cast("Q")
        at = _COLUMNS
        self.serial, at = buffer[at : at + 8 * CAPACITY].cast("Q"), at + 8 * CAPACITY
        self.started, at = buffer[at : at + 8 * CAPACITY].cast("Q"), at + 8 * CAPACITY
        self.duration, at = buffer[at : at + 8 * CAPACITY].cast("Q"), at + 8 * CAPACITY
        self.place, at = buffer[at : at + 4 * CAPACITY].cast("I"), at + 4 * CAPACITY
        self.size, at = buffer[at : at + 4 * CAPACITY].cast("I"), at + 4 * CAPACITY
        self.extra, at = buffer[at : at + 4 * CAPACITY].cast("I"), at + 4 * CAPACITY
        self.status = buffer[at : at + CAPACITY]
        self.area = buffer[_AREA_AT:]
        self._place = 0

    def release(self) -> None:
        """Let go of the buffer, so that its memory can be unmapped."""
        for name in ("words", "serial", "started", "duration", "place", "size", "extra", "status", "area"):
            getattr(self, name).release()

    # The runner's side ----------------------------------------------------------------------------------------------

    def put(self, serial: int, started: int, duration: int, status: int, payload: bytes) -> bool:
        """Write an outcome without counting it, which raising `HEAD` does. False if there is no room for it now."""
        words = self.words
        head, tail = words[HEAD], words[TAIL]
        need = len(payload)
        place = self._room(head, tail, need)
        if place < 0:
            return False
        at = head % CAPACITY
        self.serial[at] = serial
        self.started[at] = started
        self.duration[at] = duration
        self.status[at] = status
        self.place[at] = place
        self.size[at] = need
        self.extra[at] = 0
        self._place = end = place + need
        self.area[place:end] = payload
        return True

    def amend(self, extras: bytes) -> bool:
        """Add extras to the outcome that `put` wrote last; False if there is no room for them now."""
        words = self.words
        head, tail = words[HEAD], words[TAIL]
        at = head % CAPACITY
        before, size = self._place, self.size[at]
        self._place = start = self.place[at]
        place = self._room(head, tail, size + len(extras))
        if place < 0:
            self._place = before
            return False
        if place != start:
            self.area[place : place + size] = bytes(self.area[start : start + size])
            self.place[at] = place
        self.area[place + size : place + size + len(extras)] = extras
        self.extra[at] = len(extras)
        self._place = place + size + len(extras)
        return True

    def left(self, serial: int) -> bytes:
        """What a forked child has left here for its parent under a call's serial; empty if it has not."""
        at = self.words[HEAD] % CAPACITY
        if self.serial[at] != serial:
            return b""
        return bytes(self.area[self.place[at] : self.place[at] + self.size[at]])

    def _room(self, head: int, tail: int, need: int) -> int:
        if head == tail:
            return 0 if need <= AREA else -1
        if head - tail == CAPACITY:
            return -1
        place, oldest = self._place, self.place[tail % CAPACITY]
        if place >= oldest:  # The bytes in use are one stretch; what is free lies behind and before it.
            if place + need <= AREA:
                return place
            return 0 if need < oldest else -1
        return place if place + need < oldest else -1

    # The supervisor's side ------------------------------------------------------------------------------------------

    def take(self, unpublished: bool = False) -> Harvest | None:
        """Read what has gathered, and make room; None if there is nothing.

        Args:
            unpublished: Count the entry at the head too: the runner died between writing it and publishing it.
        """
        words = self.words
        head, tail = words[HEAD] + unpublished, words[TAIL]
        if head == tail:
            return None
        if not 0 < head - tail <= CAPACITY:
            raise Garbled(f"its page tells of {head - tail} outcomes, of {CAPACITY} at most")
        serials = _column(self.serial, tail, head)
        places = _column(self.place, tail, head)
        sizes = _column(self.size, tail, head)
        extra_sizes = _column(self.extra, tail, head)
        a, b = tail % CAPACITY, head % CAPACITY
        harvest = Harvest(
            serials,
            _column(self.started, tail, head),
            _column(self.duration, tail, head),
            bytes(self.status[a:b]) if a < b else bytes(self.status[a:]) + bytes(self.status[:b]),
            sizes,
            self._payload(places, sizes, extra_sizes),
            self._extras(places, sizes, extra_sizes),
        )
        words[TAIL] = head
        return harvest

    def _payload(self, places: list[int], sizes: list[int], extras: list[int]) -> bytes:
        start, end = places[0], places[-1] + sizes[-1]
        if end - start == sum(sizes):  # One stretch, as nearly always.
            return bytes(self.area[start:end])
        return b"".join([bytes(self.area[place : place + size]) for place, size in zip(places, sizes, strict=True)])

    def _extras(self, places: list[int], sizes: list[int], extras: list[int]) -> dict[int, bytes]:
        if not any(extras):
            return {}
        area = self.area
        return {
            position: bytes(area[places[position] + sizes[position] : places[position] + sizes[position] + length])
            for position, length in enumerate(extras)
            if length
        }


def _column(column: memoryview, tail: int, head: int) -> list[int]:
    a, b = tail % CAPACITY, head % CAPACITY
    return column[a:b].tolist() if a < b else column[a:].tolist() + column[:b].tolist()
