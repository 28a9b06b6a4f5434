"""The typed graph that a workflow compiles to: nodes, and where their inputs come from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from greenroom_core.bindings import Binding, Promise, promises_of
from greenroom_core.conditions import Condition, promises_in
from greenroom_core.retry import Retry
from greenroom_core.wire import WireFault


class NodeKind(StrEnum):
    """What a node does when its turn comes."""

    TASK = "task"
    """One call."""
    MAP = "map"
    """One call for each item of one or several lists."""
    CHILD = "child"
    """An execution of its own (a launch plan)."""
    BRANCH = "branch"
    """Chooses one of its cases; the nodes of the others are skipped."""
    GATE = "gate"
    """Waits for a person, an input or a time."""
    GROUP = "group"
    """The end of an inlined sub-workflow: its outputs under one name."""


class FailurePolicy(StrEnum):
    """What becomes of the other nodes when one fails."""

    FAIL_IMMEDIATELY = "fail_immediately"
    FAIL_AFTER_EXECUTABLE_NODES_COMPLETE = "fail_after_executable_nodes_complete"


class GateKind(StrEnum):
    """What a gate waits for."""

    APPROVE = "approve"
    INPUT = "input"
    SLEEP = "sleep"


@dataclass(frozen=True, slots=True)
class Case:
    """One way through a branch."""

    when: Condition | None
    """None: otherwise."""
    outputs: Mapping[str, Binding] = field(default_factory=dict)
    fail: str | None = None
    """The message to fail with, for a case that only fails."""


@dataclass(frozen=True, slots=True)
class Overrides:
    """What one place in a graph wants otherwise than its task says; None keeps the task's."""

    retries: Retry | None = None
    timeout: float | None = None
    queue_timeout: float | None = None
    interruptible: bool | None = None
    cached: bool | None = None
    cache_version: str | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Node:
    """One place in a graph."""

    id: str
    """Unique in the graph; the task's name, numbered from the second use on, behind the sub-workflows that it is in."""
    kind: NodeKind
    target: str = ""
    """TASK and MAP: key of a task; CHILD: key of a plan."""
    inputs: Mapping[str, Binding] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    """Nodes that must have ended before, without handing anything on."""
    over: tuple[str, ...] = ()
    """MAP: the inputs that are lists, one item a call; all others are the same for each call."""
    concurrency: int | None = None
    """MAP: calls at a time; None for as many as replicas take."""
    min_successes: int | None = None
    min_success_ratio: float = 1.0
    cases: tuple[Case, ...] = ()
    within: tuple[str, int] | None = None
    """The branch and the number of its case that this node belongs to."""
    gate: GateKind | None = None
    overrides: Overrides = Overrides()
    line: str = ""
    """`file:line` of the call that made it, for errors."""

    def promises(self) -> Iterator[Promise]:
        """Every value that it reads: by its inputs, and by the conditions of its cases."""
        for binding in self.inputs.values():
            yield from promises_of(binding)
        for case in self.cases:
            if case.when is not None:
                yield from promises_in(case.when)

    def upstream(self) -> Iterator[str]:
        """Ids of the nodes that must end before this one starts (its own branch included)."""
        seen: dict[str, None] = dict.fromkeys(self.after)
        for promise in self.promises():
            seen.setdefault(promise.node)
        if self.within is not None:
            seen.setdefault(self.within[0])
        seen.pop("", None)
        return iter(seen)


InputsOf: TypeAlias = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Graph:
    """A workflow, compiled. `Promise("", name)` stands for its input `name`."""

    nodes: tuple[Node, ...]
    outputs: Mapping[str, Binding] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    policy: FailurePolicy = FailurePolicy.FAIL_IMMEDIATELY
    on_failure: Node | None = None
    """Runs after a failure, with the workflow's inputs; its input `err` (bound to nothing) gets the failure."""


def check(graph: Graph, tasks: Iterable[str] = (), plans: Iterable[str] = ()) -> None:
    """Refuse a graph that cannot run: unknown names, a promise to nothing, a cycle.

    Raises:
        WireFault: With the node and the name in question.
    """
    nodes = {node.id: node for node in graph.nodes}
    if len(nodes) != len(graph.nodes):
        raise WireFault("two nodes have one id")
    known = {NodeKind.TASK: set(tasks), NodeKind.MAP: set(tasks), NodeKind.CHILD: set(plans)}
    for node in [*graph.nodes, *([graph.on_failure] if graph.on_failure else [])]:
        if node.kind in known and node.target not in known[node.kind]:
            raise WireFault(f"node {node.id!r} calls {node.target!r}, which the program does not define")
        for name in node.upstream():
            if name not in nodes:
                raise WireFault(f"node {node.id!r} waits for {name!r}, which is no node")
        if set(node.over) - set(node.inputs):
            raise WireFault(f"node {node.id!r} maps over an input that it does not have")
    for binding in graph.outputs.values():
        for promise in promises_of(binding):
            _check_promise(promise, nodes, graph)
    order(graph)


def _check_promise(promise: Promise, nodes: Mapping[str, Node], graph: Graph) -> None:
    if promise.node == "":
        if promise.output not in graph.inputs:
            raise WireFault(f"an output refers to input {promise.output!r}, which the workflow does not have")
    elif promise.node not in nodes:
        raise WireFault(f"an output refers to node {promise.node!r}, which is none")


def order(graph: Graph) -> list[str]:
    """Node ids, each after those that it waits for; otherwise in the order in which the workflow calls them.

    Raises:
        WireFault: Some nodes wait for each other.
    """
    waits = {node.id: set(node.upstream()) for node in graph.nodes}
    feeds: dict[str, list[str]] = {name: [] for name in waits}
    for name, upstream in waits.items():
        for before in upstream:
            feeds[before].append(name)
    free = [name for name, upstream in waits.items() if not upstream]
    done: list[str] = []
    for name in free:  # Grows while it is read: a node joins when the last one that it waits for is done.
        done.append(name)
        for after in feeds[name]:
            waits[after].discard(name)
            if not waits[after]:
                free.append(after)
    if len(done) != len(waits):
        stuck = sorted(name for name, upstream in waits.items() if upstream)
        raise WireFault(f"these nodes wait for each other: {', '.join(stuck[:8])}")
    return done
