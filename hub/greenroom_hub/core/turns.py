"""Whose turn it is: executions share a pool by the replica time that each was given, weighted by its priority.

An execution's *mark* is the time that it was given, divided by its weight; the one with the lowest mark comes first.
One that comes anew starts at the lowest mark of those that wait, so that it neither waits for what others had before it
came nor makes up for it: three calls are placed at once beside a map of 100,000. A step of priority doubles the
weight: what matters more comes sooner, and nothing waits for ever.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterator
from typing import Final

_STEPS: Final = 16
"""Steps of priority, up or down, that count; more would be for ever."""


class Turns:
    """Nodes that have calls to place, by execution, in the order in which executions get their turn."""

    __slots__ = ("_at", "_count", "_marks", "_nodes", "_order")

    def __init__(self) -> None:
        self._nodes: dict[str, deque[str]] = {}
        self._marks: dict[str, float] = {}
        """Weighted microseconds that were given to each execution that lives."""
        self._at: dict[str, tuple[float, int, str]] = {}
        """Where each execution that waits stands in `_order`."""
        self._order: list[tuple[float, int, str]] = []
        self._count = 0

    def __bool__(self) -> bool:
        return bool(self._nodes)

    def __len__(self) -> int:
        """Nodes that wait."""
        return sum(map(len, self._nodes.values()))

    def __contains__(self, execution: object) -> bool:
        return execution in self._nodes

    def executions(self, most: int | None = None) -> list[str]:
        """Executions that wait, the next one first."""
        return [execution for _, _, execution in self._order[:most]]

    def sources(self, most: int | None = None) -> Iterator[tuple[str, str]]:
        """What waits, `(execution, node)`; nodes of one execution in their order. It may be changed meanwhile."""
        waiting = self._nodes
        for _, _, execution in self._order[:most]:
            for node in tuple(waiting[execution]) if execution in waiting else ():
                yield execution, node

    def enqueue(self, execution: str, node: str) -> None:
        """A node has calls to place."""
        nodes = self._nodes.get(execution)
        if nodes is None:
            nodes = self._nodes[execution] = deque()
            floor = self._order[0][0] if self._order else 0.0
            self._stand(execution, max(self._marks.get(execution, floor), floor))
        if node not in nodes:
            nodes.append(node)

    def dequeue(self, execution: str, node: str) -> None:
        """A node has no calls to place any more."""
        nodes = self._nodes.get(execution)
        if nodes is None:
            return
        if node in nodes:
            nodes.remove(node)
        if not nodes:
            del self._nodes[execution]
            self._step_out(execution)

    def forget(self, execution: str) -> None:
        """An execution has ended."""
        if self._nodes.pop(execution, None) is not None:
            self._step_out(execution)
        self._marks.pop(execution, None)

    def charge(self, execution: str, us: float, priority: int = 0) -> None:
        """An execution was given replica time."""
        if execution not in self._nodes:
            return
        mark = self._marks[execution] + us / 2.0 ** max(-_STEPS, min(_STEPS, priority))
        if len(self._order) == 1:
            self._marks[execution] = mark
            self._at[execution] = self._order[0] = (mark, self._at[execution][1], execution)
            return
        self._step_out(execution)
        self._stand(execution, mark)

    def _stand(self, execution: str, mark: float) -> None:
        self._count += 1
        self._marks[execution] = mark
        place = self._at[execution] = (mark, self._count, execution)
        insort(self._order, place)

    def _step_out(self, execution: str) -> None:
        del self._order[bisect_left(self._order, self._at.pop(execution))]
