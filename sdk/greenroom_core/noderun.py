"""One node of one execution: what it waits for, its calls, its outputs, and what of it failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from math import ceil
from typing import Any

from greenroom_core.bindings import Binding
from greenroom_core.facts import Outcome
from greenroom_core.failure import Failure
from greenroom_core.graph import Node, NodeKind
from greenroom_core.lists import ListSource
from greenroom_core.mapping import Items
from greenroom_core.program import Task
from greenroom_core.retry import Retry
from greenroom_core.values import Value, split

KEPT_FAILURES = 100
"""Failures of a node that are kept whole; further ones are counted by kind, their text stays in the log."""


class NodeState(IntEnum):
    """Where a node is."""

    WAITING = 0
    """Something that it needs has not ended."""
    STARTED = 1
    """Its calls may be placed; its branch has chosen; its child or its gate is asked for."""
    ENDED = 2
    """It has its outcome."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """What the calls of a started node get."""

    bound: Mapping[str, Value]
    """The same for all calls (the inputs of a map that are no lists)."""
    params: tuple[str, ...]
    """What differs from call to call, in the order of a call's payload."""
    single: bytes = b""
    """A plain task's payload: its inputs' values, one after the other."""
    lists: tuple[ListSource, ...] = ()
    """A map's lists, one for each of `params`."""


class NodeRun:
    """The state of one node."""

    __slots__ = (
        "broken",
        "cancelling",
        "case",
        "child",
        "failed_item",
        "failure",
        "failures",
        "fragment",
        "id",
        "inputs",
        "items",
        "kinds",
        "members",
        "outcome",
        "owner",
        "spec",
        "started_ms",
        "state",
        "task",
        "upstream",
        "values",
        "waiting",
    )

    def __init__(self, spec: Node, task: Task | None, upstream: tuple[str, ...], owner: str = "") -> None:
        self.id = spec.id
        self.spec = spec
        self.task = task
        self.upstream = upstream
        """Nodes that it waits for."""
        self.waiting = len(upstream)
        """Nodes that must end before this one can start."""
        self.owner = owner
        """The dynamic node that made this one; empty for a node of the program."""
        self.state = NodeState.WAITING
        self.started_ms = 0
        """When it started, wall clock; a hub's log knows, a run in this process does not."""
        self.outcome: Outcome | None = None
        self.items: Items | None = None
        self.inputs: Inputs | None = None
        self.values: dict[str, Value] = {}
        self.case: int | None = None
        self.child: str | None = None
        self.members = 0
        """Nodes of its case (a branch) or its fragment (a dynamic node) that have not ended."""
        self.fragment: Mapping[str, Binding] | None = None
        """Where a dynamic node's outputs come from, once its graph is known."""
        self.cancelling = False
        """Its held calls have been cancelled, because it can only fail."""
        self.broken: Failure | None = None
        """Why it can only fail although no call of it did: its inputs, or what it yielded, cannot be read."""
        self.failure: Mapping[str, Any] | None = None
        """Why it ended badly."""
        self.failures: dict[int, Failure] = {}
        self.kinds: Counter[str] = Counter()
        self.failed_item: int | None = None

    @property
    def ended(self) -> bool:
        """Whether it has its outcome."""
        return self.state is NodeState.ENDED

    @property
    def retry(self) -> Retry:
        """The budget of further attempts that holds at this place."""
        if self.spec.overrides.retries is not None:
            return self.spec.overrides.retries
        return self.task.retry if self.task is not None else Retry()

    @property
    def needed(self) -> int:
        """Calls that must succeed."""
        n = self.items.n if self.items is not None else 0
        if self.spec.kind is not NodeKind.MAP:
            return n
        if self.spec.min_successes is not None:
            return min(n, self.spec.min_successes)
        return min(n, ceil(n * self.spec.min_success_ratio - 1e-9))

    @property
    def hopeless(self) -> bool:
        """Whether too many calls have failed for the node to succeed."""
        items = self.items
        return items is not None and items.n - items.failed - items.aborted < self.needed

    def note_failure(self, item: int, failure: Failure) -> None:
        """Remember why an item failed for good."""
        if self.failed_item is None:
            self.failed_item = item
        if len(self.failures) < KEPT_FAILURES:
            self.failures[item] = failure
        self.kinds[f"{failure.type} at {failure.where}" if failure.where else failure.type] += 1


def inputs_of_call(inputs: Inputs, item: int) -> dict[str, Value]:
    """The encoded inputs of one call of a node."""
    values = dict(inputs.bound)
    if inputs.lists:
        for name, source in zip(inputs.params, inputs.lists, strict=True):
            values[name] = source.slice(item, item + 1).payload
    else:
        values.update(zip(inputs.params, split(inputs.single, len(inputs.params)), strict=True))
    return values
