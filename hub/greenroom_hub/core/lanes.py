"""The calls of one node, sorted by the entries that they want: a lane for each combination of deciding values.

A node whose calls all want the same has one lane, and nothing is sorted. Of other maps a window of the next calls is
sorted, so that a million items cost no more than a few thousand.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Mapping
from typing import Final

from greenroom_core.noderun import NodeRun
from greenroom_core.program import Task
from greenroom_core.values import Value, split
from greenroom_hub.core.affinity import Affinity, EntryKey, Rule, Told
from greenroom_hub.core.replica import Replica

WINDOW: Final = 4096
"""Calls of one node that are sorted ahead."""


class Lane:
    """Calls that want the same entries."""

    __slots__ = ("items", "since_ms", "told", "wants")

    def __init__(self, told: tuple[Told, ...], wants: tuple[tuple[str, str | None, float], ...], since_ms: int) -> None:
        self.told = told
        self.wants = wants
        """`(loader, key or None while nobody knows it, load time in ms)` of each."""
        self.items: deque[int] | None = None
        """Which calls; None for all of the node."""
        self.since_ms = since_ms
        """Since when something of it waits, monotonic."""

    def missing_ms(self, replica: Replica) -> float:
        """What a replica would have to load first."""
        has = replica.has
        return sum(ms for loader, key, ms in self.wants if key is None or not has((loader, key)))

    def known(self) -> list[EntryKey]:
        """Entries that are known to be wanted."""
        return [(loader, key) for loader, key, _ in self.wants if key is not None]

    @property
    def unknown(self) -> bool:
        """Whether nobody has seen what these calls want."""
        return any(key is None for _, key, _ in self.wants)


class NodeLanes:
    """The lanes of one node, by the rules as they are now."""

    def __init__(self, node: NodeRun, task: Task, affinity: Affinity, now_ms: int) -> None:
        self.version = affinity.version
        self._node, self._task, self._affinity = node, task.name, affinity
        self._rules: list[tuple[str, Rule]] = list(affinity.rules(task).items())
        self._scan = 0
        self._sorted = 0
        self.lanes: OrderedDict[tuple[Told, ...], Lane] = OrderedDict()
        assert node.inputs is not None
        varying = set(node.inputs.params) if node.inputs.lists else set()
        self.uniform = not any(path.name in varying for _, rule in self._rules for path in rule.paths)
        """Whether all calls want the same."""
        if self.uniform:
            self._lane(self._tell(self._fixed()), now_ms)

    def _fixed(self) -> Mapping[str, Value]:
        inputs = self._node.inputs
        assert inputs is not None
        if inputs.lists:
            return inputs.bound
        return {**inputs.bound, **dict(zip(inputs.params, split(inputs.single, len(inputs.params)), strict=True))}

    def _tell(self, inputs: Mapping[str, Value]) -> tuple[Told, ...]:
        return tuple(rule.told(inputs) for _, rule in self._rules)

    def _lane(self, told: tuple[Told, ...], now_ms: int) -> Lane:
        lane = self.lanes.get(told)
        if lane is None:
            wants = tuple(
                (loader, self._affinity.key_of(self._task, loader, part), rule.load_ms)
                for (loader, rule), part in zip(self._rules, told, strict=True)
            )
            lane = self.lanes[told] = Lane(told, wants, now_ms)
        return lane

    def refresh(self, lane: Lane) -> None:
        """Look up again what a lane wants: an entry that nobody knew may have been loaded meanwhile."""
        if lane.unknown:
            lane.wants = tuple(
                (loader, self._affinity.key_of(self._task, loader, part), rule.load_ms)
                for (loader, rule), part in zip(self._rules, lane.told, strict=True)
            )

    def fill(self, now_ms: int) -> None:
        """Sort the next calls into their lanes, up to the window."""
        items, inputs = self._node.items, self._node.inputs
        if self.uniform or items is None or inputs is None:
            return
        for item in items.came_back():
            self._put(item, now_ms)
        if self._sorted > WINDOW // 2:
            return
        found = items.ready_from(self._scan, WINDOW - self._sorted)
        if found:
            self._scan = found[-1] + 1
        for item in found:
            self._put(item, now_ms)

    def _put(self, item: int, now_ms: int) -> None:
        inputs = self._node.inputs
        assert inputs is not None
        values = dict(inputs.bound)
        for name, source in zip(inputs.params, inputs.lists, strict=True):
            values[name] = source.slice(item, item + 1).payload
        lane = self._lane(self._tell(values), now_ms)
        if lane.items is None:
            lane.items = deque()
        lane.items.append(item)
        self._sorted += 1

    def waiting(self, lane: Lane) -> int:
        """Calls of a lane that wait."""
        room = self._node.items.room if self._node.items is not None else 0
        return room if lane.items is None else min(room, len(lane.items))

    def take(self, lane: Lane, most: int, now_ms: int) -> list[int] | range:
        """Hand out up to `most` calls of a lane."""
        items = self._node.items
        assert items is not None
        if lane.items is None:
            return items.take(most)
        chosen: list[int] = []
        while lane.items and len(chosen) < most:
            chosen.append(lane.items.popleft())
        self._sorted -= len(chosen)
        lane.since_ms = now_ms
        if not lane.items:
            del self.lanes[lane.told]
        return items.take_these(chosen)
