"""The calls of one node, sorted by the entries that they want: a lane for each combination of deciding values.

A node whose calls all want the same has one lane, and nothing is sorted. Of other maps a window of the next calls is
sorted, so that a million items cost no more than a few thousand. Which replica may serve which lane is kept up to date
as entries come and go, so that placing a call looks at nothing that has not changed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Final

from greenroom_core.lists import ListSource
from greenroom_core.noderun import Inputs, NodeRun
from greenroom_core.program import Task
from greenroom_core.values import Value, split
from greenroom_hub.core.affinity import ASKED, SHORT, Affinity, EntryKey, Rule, Told, as_told
from greenroom_hub.core.holdings import Holdings, Part
from greenroom_hub.core.replica import Replica

WINDOW: Final = 4096
"""Calls of one node that are sorted ahead."""

KEPT: Final = 4 * WINDOW
"""Lanes of one node that are kept, empty ones too: values that come back find theirs."""

_LATE_MS: Final = 100

_LOOKED_AT: Final = (64, 8)
"""Lanes that one look for something to load sees, nobody's and somebody's; the next one goes on behind them."""


class Lane:
    """Calls that want the same entries. Compared and hashed by identity."""

    __slots__ = ("holders", "holds", "home", "items", "keys", "since_ms", "told", "unknown")

    def __init__(self, home: NodeLanes, told: tuple[Told, ...], since_ms: int) -> None:
        self.home, self.told = home, told
        self.keys: tuple[EntryKey, ...] = ()
        """Entries that are known to be wanted."""
        self.unknown = True
        """Whether nobody has seen what some of these calls' loaders give for them."""
        self.holders: dict[str, None] = {}
        """Replicas that hold all that is wanted."""
        self.holds = ""
        """Why its calls go to a holder, in words, once anybody has asked."""
        self.items: deque[int] | None = None
        """Which calls; None for all of the node."""
        self.since_ms = since_ms
        """Since when something of it waits, monotonic."""

    @property
    def waiting(self) -> int:
        """Calls that wait."""
        room = self.home.room
        return room if self.items is None else min(room, len(self.items))

    @property
    def loads(self) -> Iterator[tuple[str, Rule]]:
        """Loaders whose entries it wants, with what is known of them."""
        return iter(self.home.rules)

    @property
    def load_ms(self) -> float:
        """What loading all of it takes."""
        return sum(rule.load_ms for _, rule in self.home.rules)

    def missing_ms(self, replica: Replica) -> float:
        """What a replica would have to load first."""
        if not self.unknown:
            wanted = zip(self.home.rules, self.keys, strict=True)
            return sum(rule.load_ms for (_, rule), key in wanted if not replica.has(key))
        held = {key[0] for key in self.keys if replica.has(key)}
        return sum(rule.load_ms for loader, rule in self.home.rules if loader not in held)

    def parts(self) -> list[Part]:
        """The values that decide, loader by loader."""
        task = self.home.task
        return [(task, loader, part) for (loader, _), part in zip(self.home.rules, self.told, strict=True)]

    def look_up(self) -> None:
        """See what it wants, by what is known now."""
        home = self.home
        home.rest(self)
        home.holdings.unwatch(self, self.keys, ())
        found = [(loader, home.affinity.key_of(task, loader, part)) for task, loader, part in self.parts()]
        self.keys = tuple((loader, key) for loader, key in found if key is not None)
        self.unknown = len(self.keys) < len(found)
        self.holders = {} if self.unknown else home.holdings.all_of(self.keys)
        self.holds = ""
        home.holdings.watch(self, self.keys, ())
        if self.items is None or self.items:
            home.wait(self)

    def gained(self, replica: str, holdings: Holdings) -> None:
        """A replica holds one of its entries from now on."""
        if self.unknown or replica in self.holders:
            return
        if all(replica in holdings.holders(key) for key in self.keys):
            waits = self.home.rest(self)
            self.holders[replica] = None
            if waits:
                self.home.wait(self)

    def lost(self, replica: str) -> None:
        """A replica holds one of them no more."""
        if replica in self.holders:
            waits = self.home.rest(self)
            del self.holders[replica]
            if waits:
                self.home.wait(self)


class NodeLanes:
    """The lanes of one node, by the rules as they are now."""

    def __init__(self, node: NodeRun, task: Task, affinity: Affinity, holdings: Holdings, now_ms: int) -> None:
        self.version = affinity.version
        self.task, self.affinity, self.holdings = task.name, affinity, holdings
        self.rules: list[tuple[str, Rule]] = list(affinity.rules(task).items())
        self.asked = any(loader == ASKED for loader, _ in self.rules)
        """Whether the task itself says which calls belong together."""
        self.lanes: dict[tuple[Told, ...], Lane] = {}
        self.warm: dict[str, dict[Lane, None]] = {}
        """Lanes that wait, by the replicas that hold what they want."""
        self._cold: dict[Lane, object] = {}
        """Lanes that wait for entries that no replica holds, the one that waits longest first."""
        self._held: dict[Lane, object] = {}
        """Lanes that wait for entries that some replica holds."""
        self._looked_ms = now_ms - 1
        self._node = node
        self._scan = 0
        self._sorted = 0
        assert node.inputs is not None
        varying = set(node.inputs.params) if node.inputs.lists else set()
        self.uniform = not any(path.name in varying for _, rule in self.rules for path in rule.paths)
        """Whether all calls want the same."""
        if self.uniform:
            self.wait(self._lane(self._tell(_fixed(node.inputs)), now_ms))

    @property
    def room(self) -> int:
        """Calls of the node that may be placed now."""
        return self._node.items.room if self._node.items is not None else 0

    def close(self) -> None:
        """Its lanes want nothing any more."""
        for lane in self.lanes.values():
            self.holdings.unwatch(lane, lane.keys, lane.parts())

    # Which lane may go where ------------------------------------------------------------------------------------------

    def wait(self, lane: Lane) -> None:
        """Something of a lane waits from now on."""
        if not lane.holders:
            self._cold[lane] = None
            return
        self._held[lane] = None
        warm = self.warm
        for replica in lane.holders:
            if replica in warm:
                warm[replica][lane] = None
            else:
                warm[replica] = {lane: None}

    def rest(self, lane: Lane) -> bool:
        """Nothing of it waits any more; whether something did."""
        if self._held.pop(lane, self) is self:
            return self._cold.pop(lane, self) is None
        for replica in lane.holders:
            lanes = self.warm[replica]
            del lanes[lane]
            if not lanes:
                del self.warm[replica]
        return True

    def to_load(self) -> Iterator[Lane]:
        """Lanes that may be worth a load, those that nobody holds first. Who is passed over is seen later again."""
        for lanes, most in zip((self._cold, self._held), _LOOKED_AT, strict=True):
            for lane in list(islice(lanes, most)):
                if lane in lanes:
                    yield lane
                if lane in lanes and len(lanes) > most:
                    del lanes[lane]
                    lanes[lane] = None

    def look_for_late(self, now_ms: int) -> bool:
        """Whether it is time to see if a lane has waited too long for who is warm: ten times a second."""
        if now_ms - self._looked_ms >= _LATE_MS:
            self._looked_ms = now_ms
        return now_ms == self._looked_ms and bool(self._cold or self._held)

    # Sorting ----------------------------------------------------------------------------------------------------------

    def fill(self, now_ms: int) -> None:
        """Sort the next calls into their lanes, up to the window."""
        items, inputs = self._node.items, self._node.inputs
        if self.uniform or items is None or inputs is None:
            return
        back = items.came_back()
        if back:
            self._put(back, inputs, now_ms)
        if self._sorted > WINDOW // 2:
            return
        found = items.ready_from(self._scan, WINDOW - self._sorted)
        if found:
            self._scan = found[-1] + 1
            self._put(found, inputs, now_ms)
            if len(self.lanes) > KEPT:
                self._forget_empty()

    def _put(self, items: Sequence[int], inputs: Inputs, now_ms: int) -> None:
        lanes, wait = self.lanes, self.wait
        for item, told in zip(items, self._told(items, inputs), strict=True):
            lane = lanes.get(told) or self._lane(told, now_ms)
            waiting = lane.items
            if waiting is None:
                waiting = lane.items = deque()
            waiting.append(item)
            if len(waiting) == 1:
                lane.since_ms = now_ms
                wait(lane)
        self._sorted += len(items)

    def _told(self, items: Sequence[int], inputs: Inputs) -> Iterable[tuple[Told, ...]]:
        """The deciding values of each call."""
        columns = [list(_column(source, items)) for source in inputs.lists]
        paths = self.rules[0][1].paths if len(self.rules) == 1 else ()
        if len(paths) == 1 and not paths[0].path and paths[0].name in inputs.params:
            values = columns[inputs.params.index(paths[0].name)]
            return [(value if len(value) <= SHORT else as_told(value),) for value in values]
        return self._told_anyhow(columns, inputs)

    def _told_anyhow(self, columns: list[list[Value]], inputs: Inputs) -> Iterator[tuple[Told, ...]]:
        values = dict(inputs.bound)
        for row in zip(*columns, strict=True):
            values.update(zip(inputs.params, row, strict=True))
            yield self._tell(values)

    def _tell(self, inputs: Mapping[str, Value]) -> tuple[Told, ...]:
        return tuple(rule.told(inputs) for _, rule in self.rules)

    def _lane(self, told: tuple[Told, ...], now_ms: int) -> Lane:
        lane = self.lanes[told] = Lane(self, told, now_ms)
        lane.items = deque()
        self.holdings.watch(lane, (), lane.parts())
        lane.look_up()
        if self.uniform:
            lane.items = None
        return lane

    def _forget_empty(self) -> None:
        for told, lane in list(self.lanes.items()):
            if not lane.items:
                self.holdings.unwatch(lane, lane.keys, lane.parts())
                del self.lanes[told]

    # Handing out ------------------------------------------------------------------------------------------------------

    def take(self, lanes: Sequence[Lane], most: int, now_ms: int) -> tuple[list[int] | range, list[tuple[Lane, int]]]:
        """Hand out up to `most` calls of these lanes, in their order; and how many of them are each lane's."""
        items = self._node.items
        assert items is not None
        if self.uniform:
            (lane,) = lanes
            lane.since_ms = now_ms
            taken = items.take(most)
            return taken, [(lane, len(taken))]
        chosen: list[int] = []
        counts = []
        for lane in lanes:
            before, waiting = len(chosen), lane.items
            lane.since_ms = now_ms
            if not waiting:
                continue
            if len(waiting) <= most - before:
                chosen += waiting
                waiting.clear()
                self.rest(lane)
            else:
                chosen += [waiting.popleft() for _ in range(most - before)]
            counts.append((lane, len(chosen) - before))
        self._sorted -= len(chosen)
        taken = items.take_these(chosen)
        if len(taken) == len(chosen):
            return taken, counts
        return taken, [(lanes[0], len(taken))]  # Some were set aside or ended meanwhile: one reason for all.


def _fixed(inputs: Inputs) -> Mapping[str, Value]:
    """The inputs that all calls of a node have in common."""
    if inputs.lists:
        return inputs.bound
    return {**inputs.bound, **dict(zip(inputs.params, split(inputs.single, len(inputs.params)), strict=True))}


def _column(source: ListSource, items: Sequence[int]) -> Iterator[bytes]:
    """One list's values for some calls, in their order."""
    first, last = items[0], items[-1]
    if last - first + 1 == len(items):
        yield from source.slice(first, last + 1).items()
    else:
        for item in items:
            yield source.slice(item, item + 1).payload
