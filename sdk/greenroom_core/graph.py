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
    """Refuse a graph that cannot run: unknown names, a promise to nothing, a figure out of range, a cycle.

    Raises:
        WireFault: With the node and the name in question.
    """
    nodes = {node.id: node for node in graph.nodes}
    every = [*graph.nodes, *([graph.on_failure] if graph.on_failure is not None else [])]
    if len({node.id for node in every}) != len(every):
        raise WireFault("two nodes have one id")
    known = {NodeKind.TASK: set(tasks), NodeKind.MAP: set(tasks), NodeKind.CHILD: set(plans)}
    for node in every:
        if not node.id or "/" in node.id:
            raise WireFault(f"node {node.id!r}: an id is neither empty nor has a slash, which parts addresses")
        if node.kind in known and node.target not in known[node.kind]:
            raise WireFault(f"node {node.id!r} calls {node.target!r}, which the program does not define")
        for name in node.upstream():
            if name not in nodes:
                raise WireFault(f"node {node.id!r} waits for {name!r}, which is no node")
        for promise in node.promises():
            _check_promise(promise, nodes, graph, f"node {node.id!r}")
        _check_figures(node)
        _check_kind(node, nodes, graph)
    for binding in graph.outputs.values():
        for promise in promises_of(binding):
            _check_promise(promise, nodes, graph, "an output")
    order(graph)


def _check_promise(promise: Promise, nodes: Mapping[str, Node], graph: Graph, who: str) -> None:
    if promise.node == "":
        if promise.output not in graph.inputs:
            raise WireFault(f"{who} refers to input {promise.output!r}, which the workflow does not have")
    elif promise.node not in nodes:
        raise WireFault(f"{who} refers to node {promise.node!r}, which is none")
    elif promise.output not in nodes[promise.node].outputs:
        raise WireFault(f"{who} refers to output {promise.output!r} of {promise.node!r}, which does not give it")


def _check_kind(node: Node, nodes: Mapping[str, Node], graph: Graph) -> None:
    """What only nodes of one kind need; where a node stands."""
    if set(node.over) - set(node.inputs):
        raise WireFault(f"node {node.id!r} maps over an input that it does not have")
    if node.kind is NodeKind.MAP and not node.over:
        raise WireFault(f"node {node.id!r} is a map over nothing")
    if node.kind is NodeKind.GATE and node.gate is None:
        raise WireFault(f"node {node.id!r} is a gate that waits for nothing")
    if node.kind is NodeKind.GROUP and set(node.outputs) - set(node.inputs):
        raise WireFault(f"node {node.id!r} gives an output that nothing in it does")
    if node.kind is NodeKind.BRANCH and not node.cases:
        raise WireFault(f"node {node.id!r} is a branch without a case")
    for case in node.cases:
        if case.fail is None and set(node.outputs) - set(case.outputs):
            raise WireFault(f"a case of {node.id!r} lacks one of its outputs {', '.join(node.outputs)}")
        for binding in case.outputs.values():
            for promise in promises_of(binding):
                _check_promise(promise, nodes, graph, f"a case of {node.id!r}")
    if node.within is not None:
        branch = nodes[node.within[0]]
        if branch.kind is not NodeKind.BRANCH or not 0 <= node.within[1] < len(branch.cases):
            raise WireFault(f"node {node.id!r} belongs to case {node.within[1]} of {branch.id!r}, which has none such")


def _check_figures(node: Node) -> None:
    if (node.concurrency or 0) < 0 or (node.min_successes or 0) < 0 or not 0 <= node.min_success_ratio <= 1:
        told = f"concurrency {node.concurrency}, min_successes {node.min_successes}, ratio {node.min_success_ratio}"
        raise WireFault(f"node {node.id!r} has {told}: counts are not negative, a ratio is from 0 to 1")
    for seconds in (node.overrides.timeout, node.overrides.queue_timeout):
        if seconds is not None and seconds <= 0:
            raise WireFault(f"node {node.id!r} has a timeout of {seconds} s: it must be above 0")


def order(graph: Graph) -> list[str]:
    """Node ids, each after those that it waits for; otherwise in the order in which the workflow calls them.

    Who waits for a branch waits for all that stands in it.

    Raises:
        WireFault: Some nodes wait for each other.
    """
    inside = _insides(graph)
    waits: dict[str, set[str]] = {}
    for node in graph.nodes:
        waits[node.id] = set(node.upstream())
        for name in list(waits[node.id]):
            if node.id not in inside.get(name, ()):
                waits[node.id] |= inside.get(name, set())
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


def _insides(graph: Graph) -> dict[str, set[str]]:
    """By branch: the nodes of its cases, those of branches inside them included."""
    parents = {node.id: node.within[0] for node in graph.nodes if node.within is not None}
    inside: dict[str, set[str]] = {}
    for name in parents:
        branch, seen = parents.get(name), {name}
        while branch is not None and branch not in seen:
            inside.setdefault(branch, set()).add(name)
            seen.add(branch)
            branch = parents.get(branch)
    return inside
