"""given / when / then over one execution: calls that answer as the test says, a log that is folded again.

    play = Play(task("a", x=5), task("b", x=out("a")), outputs={"o0": out("b")})
    play.succeeds("a", 7)
    assert play.ready() == {"b": [0]}

Every fact is packed and unpacked on its way into the log, as on a disk; `play.replay()` folds the log into a new
execution and holds what is durable of both against each other.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from greenroom_core.bindings import Binding, Constant, Promise
from greenroom_core.execution import Execution
from greenroom_core.facts import (
    CallsFinished,
    CallsLost,
    CancelRequested,
    ChildStarted,
    ExecutionSubmitted,
    Fact,
    GateOpened,
    NodeEnded,
    Outcome,
    pack_fact,
    unpack_fact,
)
from greenroom_core.failure import Cause, Failure
from greenroom_core.graph import FailurePolicy, Graph, Node, NodeKind
from greenroom_core.lists import ListSource
from greenroom_core.mapping import DELAYED, HELD, READY, ItemState
from greenroom_core.noderun import NodeRun
from greenroom_core.program import Environment, Plan, Program, Submission, Task
from greenroom_core.show import to_json
from greenroom_core.values import ValueFault, pack, pack_list, split, unpack
from greenroom_protocol.calls import Outcomes, Status

# Programs -------------------------------------------------------------------------------------------------------------


def value(obj: Any) -> bytes:
    """A plain object, encoded as the SDK does: long lists carry their offsets."""
    return pack_list([value(item) for item in obj]) if isinstance(obj, (list, tuple)) else pack(obj)


def given(name: str, *path: str | int) -> Promise:
    """An input of the workflow."""
    return Promise("", name, path)


def out(node: str, *path: str | int, output: str = "o0") -> Promise:
    """An output of a node, or a part of it."""
    return Promise(node, output, path)


def _bindings(inputs: Mapping[str, Any]) -> dict[str, Binding]:
    kinds = Binding.__args__  # type: ignore[attr-defined]
    return {name: one if isinstance(one, kinds) else Constant(value(one)) for name, one in inputs.items()}


def task(
    id: str, target: str = "t", *, outputs: Sequence[str] = ("o0",), spec: Mapping[str, Any] = {}, **inputs
) -> Node:
    """A task node; plain objects among its inputs are constants."""
    return Node(id, NodeKind.TASK, target, _bindings(inputs), tuple(outputs), **spec)


def mapped(id: str, over: Any, target: str = "t", *, outputs: Sequence[str] = ("o0",), **spec) -> Node:
    """A map node over one list, its task's input `x`."""
    return Node(id, NodeKind.MAP, target, _bindings({"x": over}), tuple(outputs), over=("x",), **spec)


def program(
    *nodes: Node,
    outputs: Mapping[str, Binding] | None = None,
    inputs: Sequence[str] = (),
    tasks: Mapping[str, Task] | None = None,
    plans: Mapping[str, Plan] | None = None,
    policy: FailurePolicy = FailurePolicy.FAIL_IMMEDIATELY,
    on_failure: Node | None = None,
) -> Program:
    """A program in which every unknown target is a plain task that takes whatever its nodes give it."""
    graph = Graph(tuple(nodes), dict(outputs or {}), tuple(inputs), policy, on_failure)
    every = [*nodes, *([on_failure] if on_failure is not None else [])]
    made = dict(tasks or {})
    for node in every:
        if node.kind in (NodeKind.TASK, NodeKind.MAP) and node.target not in made:
            made[node.target] = Task(f"m.{node.target}", "e", outputs=("o0",))
    return Program.unpack(Program("m.wf", "p", graph, made, {"e": Environment("e")}, dict(plans or {})).pack())


# Outcomes -------------------------------------------------------------------------------------------------------------


def columns(
    items: Sequence[int], attempts: Sequence[int], statuses: Sequence[Status], payloads: Sequence[bytes]
) -> Outcomes:
    """A batch as a replica sends it."""
    ends, end = [], 0
    for payload in payloads:
        end += len(payload)
        ends.append(end)
    n = len(items)
    neighbours = list(items) == list(range(items[0], items[0] + n))
    return Outcomes(
        items[0] if neighbours else list(items),
        attempts[0] if len(set(attempts)) == 1 else list(attempts),
        bytes(statuses[:1]) if len(set(statuses)) == 1 else bytes(statuses),
        struct.pack(f"<{n}I", *ends),
        b"".join(payloads),
        1_700_000_000_000_000,
        bytes(4 * n),
        bytes(4 * n),
        {},
        [],
    )


def bad(message: str = "bad pixel", cause: Cause = Cause.USER, **fields: Any) -> Failure:
    """A failure as a call's replica tells it."""
    return Failure(cause, fields.pop("type", "ValueError"), message, **fields)


# Playing --------------------------------------------------------------------------------------------------------------


class Play:
    """One execution, driven by hand.

    Args:
        *nodes: Of its graph.
        given: The workflow's inputs, plain.
        **program: See `program`.
    """

    def __init__(
        self, *nodes: Node, given: Mapping[str, Any] | None = None, compiled: Program | None = None, **rest: Any
    ) -> None:
        inputs = {name: value(one) for name, one in (given or {}).items()}
        self.program = compiled or program(*nodes, inputs=tuple(inputs), **rest)
        self.submitted = ExecutionSubmitted("wf-1", Submission("digest", inputs))
        self.blobs: dict[str, bytes] = {}
        self.log: list[tuple[int, Fact, int]] = []
        """(row, fact, milliseconds) of everything that happened."""
        self.rows: dict[int, Outcomes] = {}
        self.now = 1000
        self.execution = Execution(self.submitted, self.program, self)
        self.heard: list[Fact] = []
        """What followed from the last event."""
        self.advance()

    # Reader, for the execution ----------------------------------------------------------------------------------------

    def outcomes(self, row: int) -> Outcomes:
        return self.rows[row]

    def blob(self, sha256: str) -> bytes:
        if sha256 not in self.blobs:
            raise ValueFault(f"blob {sha256} is not here")
        return self.blobs[sha256]

    def manifest(self, execution: str, node: str, output: str) -> ListSource:
        assert execution == self.execution.id
        return self.execution.results(node, output)

    # Events -----------------------------------------------------------------------------------------------------------

    def when(self, fact: Fact) -> list[Fact]:
        """Something happened; what follows from it."""
        row = len(self.log) + 1
        fact = unpack_fact(fact.KIND, pack_fact(fact))
        if isinstance(fact, CallsFinished):
            self.rows[row] = fact.outcomes
        self.log.append((row, fact, self.now))
        self.execution.apply(fact, row, self.now)
        return self.advance()

    def advance(self) -> list[Fact]:
        """Record what follows."""
        self.heard = self.execution.advance()
        for fact in self.heard:
            self.log.append((len(self.log) + 1, unpack_fact(fact.KIND, pack_fact(fact)), self.now))
        return self.heard

    def take(self, node: str, most: int = 1000) -> list[int]:
        """A replica takes calls."""
        return list(self.items(node).take(most))

    def answer(
        self, node: str, items: Sequence[int], results: Iterable[Any], attempts: Sequence[int] | None = None
    ) -> list[Fact]:
        """Outcomes of calls: a `Failure`, encoded values as a tuple of bytes, or a plain object each."""
        known = self.items(node)
        attempts = [known.attempts[item] for item in items] if attempts is None else attempts
        statuses, payloads = [], []
        for result in results:
            if isinstance(result, Failure):
                statuses.append(Status.CANCELLED if result.cause is Cause.CANCELLED else Status.FAILED)
                payloads.append(result.pack())
            else:
                statuses.append(Status.SUCCEEDED)
                payloads.append(result if isinstance(result, bytes) else value(result))
        batch = columns(items, attempts, statuses, payloads)
        return self.when(CallsFinished(node, "r", batch.pack(), known.stale(batch)))

    def succeeds(self, node: str, *results: Any) -> list[Fact]:
        """A replica takes as many calls as there are results, and they succeed, or fail with the failures."""
        items = self.take(node, len(results))
        assert len(items) == len(results), f"{node} has {len(items)} calls to hand out, not {len(results)}"
        return self.answer(node, items, results)

    def fails(self, node: str, failure: Failure | None = None) -> list[Fact]:
        """A replica takes one call, and it fails."""
        return self.succeeds(node, failure or bad())

    def loses(self, node: str, *items: int, charged: bool = True) -> list[Fact]:
        """The replica that holds these calls is gone."""
        attempts = tuple(self.items(node).attempts[item] for item in items)
        return self.when(
            CallsLost(node, items, attempts, "r", charged, bad("gone", Cause.LOST, type="ReplicaLost").to_wire())
        )

    def cancel(self, timed_out: bool = False) -> list[Fact]:
        """Somebody wants it to end."""
        return self.when(CancelRequested("me", "enough", timed_out))

    def child_starts(self, node: str, execution: str = "child-1") -> list[Fact]:
        """The driver submits what a launch plan's node asks for."""
        self.execution.children = [child for child in self.execution.children if child[0] != node]
        return self.when(ChildStarted(node, execution))

    def child_ends(self, node: str, outcome: Outcome = Outcome.SUCCEEDED, **outputs: Any) -> list[Fact]:
        """The execution that the node asked for has ended."""
        failure = None if outcome is Outcome.SUCCEEDED else bad("in the child").to_wire()
        return self.when(NodeEnded(node, outcome, failure, outputs={name: value(one) for name, one in outputs.items()}))

    def opens(self, node: str, answer: Any = None, approved: bool = True) -> list[Fact]:
        """Somebody answers a gate."""
        return self.when(GateOpened(node, value(answer), approved))

    # Looking ----------------------------------------------------------------------------------------------------------

    def items(self, node: str):
        """The calls of a node that has started."""
        items = self.execution.nodes[node].items
        assert items is not None, f"{node} has not started"
        return items

    def node(self, name: str) -> NodeRun:
        return self.execution.nodes[name]

    def ready(self) -> dict[str, list[int]]:
        """By node: the items that could be handed out now."""
        found = {}
        for node in self.execution.nodes.values():
            if node.items is not None and node.items.room and not node.ended:
                found[node.id] = [item for item, state in enumerate(node.items.states) if state == READY]
        return found

    def calls(self, node: str) -> list[Any]:
        """What each call of a started node gets: a list of plain inputs each, or the input itself if there is one."""
        inputs = self.node(node).inputs
        assert inputs is not None
        if inputs.lists:
            told = [[unpack(one) for one in source.slice(0, source.n).items()] for source in inputs.lists]
            return [list(row) if len(row) > 1 else row[0] for row in zip(*told, strict=True)]
        got = [unpack(one) for one in split(inputs.single, len(inputs.params))]
        return [got[0] if len(got) == 1 else got]

    def outcomes_by_node(self) -> dict[str, str | None]:
        """How each node has ended."""
        return {name: None if run.outcome is None else str(run.outcome) for name, run in self.execution.nodes.items()}

    @property
    def outcome(self) -> Outcome | None:
        """How the execution has ended."""
        return self.execution.outcome

    @property
    def failure(self) -> Failure:
        """Why it failed."""
        assert self.execution.ended is not None
        return Failure.from_wire(self.execution.ended.failure or {})

    def result(self) -> dict[str, Any]:
        """The execution's outputs, plain; a map's results as the list that they are."""
        assert self.execution.ended is not None, f"it has not ended: {self.outcomes_by_node()}"
        return {name: self.plain(one) for name, one in self.execution.ended.outputs.items()}

    def plain(self, one: bytes) -> Any:
        """A value as plain data, manifests read through."""
        shown = to_json(one)
        if isinstance(shown, dict) and shown.get("type") == "manifest":
            _, node, output, n = unpack(unpack(one).data)
            return [unpack(item) for item in self.execution.results(node, output).slice(0, n).items()]
        return shown

    # Holding it to its word -------------------------------------------------------------------------------------------

    def replay(self) -> Execution:
        """Fold the log again; what is durable must be the same."""
        again = self.fold()
        assert durable(again) == durable(self.execution)
        return again

    def fold(self) -> Execution:
        """A new execution from the log alone, as after a restart."""
        live = self.execution
        self.execution = again = Execution(self.submitted, self.program, self)
        for row, fact, at_ms in self.log:
            again.apply(fact, row, at_ms)
        self.execution = live
        return again

    def check(self) -> None:
        """What holds at every moment."""
        for node in self.execution.nodes.values():
            if node.items is not None:
                check_items(node)
        ends = [fact.node for _, fact, _ in self.log if isinstance(fact, NodeEnded)]
        assert len(ends) == len(set(ends)), f"two outcomes of one node: {ends}"
        if self.execution.ended is not None:
            assert all(node.ended for node in self.execution.nodes.values()), self.outcomes_by_node()


def check_items(node: NodeRun) -> None:
    """Counts agree with states; nothing of an ended node is open."""
    items = node.items
    counted = [items.states.count(int(state)) for state in (ItemState.SUCCEEDED, ItemState.FAILED, ItemState.ABORTED)]
    assert counted == [items.succeeded, items.failed, items.aborted], node.id
    assert items.states.count(HELD) == items.held, node.id
    assert 0 <= items.open <= items.n
    assert not items.closed or items.room == 0
    ready = items.states.count(READY)
    assert items.closed or items.room == (
        ready if items.limit is None else max(0, min(ready, items.limit - items.held))
    )
    assert not node.ended or (items.open, items.held, items.room) == (0, 0, 0), node.id


_VOLATILE = bytes(READY if state in (HELD, DELAYED) else state for state in range(256))


def durable(execution: Execution) -> dict[str, Any]:
    """What of an execution survives a restart: everything but what replicas hold and what waits for a clock."""
    return {
        "outcome": execution.outcome,
        "ended": execution.ended,
        "stopping": execution.stopping,
        "cancel": execution.cancel,
        "failure": execution.failure,
        "tasks": sorted(execution.tasks),
        "nodes": {name: _durable_node(node) for name, node in execution.nodes.items()},
    }


def _durable_node(node: NodeRun) -> dict[str, Any]:
    told: dict[str, Any] = {
        name: getattr(node, name)
        for name in (
            "state",
            "outcome",
            "waiting",
            "owner",
            "values",
            "case",
            "child",
            "members",
            "failure",
            "failed_item",
        )
    }
    told["failures"], told["kinds"] = node.failures, dict(node.kinds)
    if node.items is not None:
        items = node.items
        told["items"] = (items.n, items.closed, items.states.translate(_VOLATILE), items.attempts, items.places)
        told["trouble"] = {item: (one.failures, one.losses) for item, one in items.trouble.items()}
    return told
