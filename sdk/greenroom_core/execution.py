"""The one interpreter of workflows: a fold of facts that says what follows from them.

The hub drives it with replicas, `greenroom.local` with an inline executor. `apply` folds one fact, live and after a
restart alike; `advance` returns (applied already) the facts that follow from what is known: nodes that start or end,
branches that choose, the end of it all. What must be done about them is left in `started`, `cancelled` and `children`,
for the driver to take.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from greenroom_core import asking
from greenroom_core import facts as f
from greenroom_core.bindings import Binding, resolve
from greenroom_core.facts import Fact, Outcome
from greenroom_core.failure import Cause, Failure
from greenroom_core.following import UNREADABLE, end_of, examine
from greenroom_core.fragments import Fragment
from greenroom_core.graph import FailurePolicy, Graph, Node, NodeKind
from greenroom_core.lists import ListSource, MapResults, Reader, open_list
from greenroom_core.mapping import Items, ItemState, all_succeeded, place_of
from greenroom_core.noderun import Inputs, NodeRun, NodeState
from greenroom_core.program import Environment, Mode, Plan, Program, Task
from greenroom_core.refs import blob_ref
from greenroom_core.retry import ENDS_PROCESS, MAX_LOSSES, quarantined
from greenroom_core.values import Ext, Path, Value, ValueFault, access, ext, ext_code, pack, split, untag
from greenroom_core.wire import WireFault
from greenroom_protocol.calls import Outcomes, Status


class Execution:
    """One run of a program (or of one of its plans)."""

    def __init__(self, submitted: f.ExecutionSubmitted, program: Program, reader: Reader) -> None:
        self.id = submitted.execution
        self.submitted = submitted
        self.program = program
        self.reader = reader
        self.graph: Graph = program.plans[submitted.plan].graph if submitted.plan else program.graph
        self.inputs = dict(submitted.submission.inputs)
        self.nodes: dict[str, NodeRun] = {}
        self.outcome: Outcome | None = None
        self.ended: f.ExecutionEnded | None = None
        self.stopping: Outcome | None = None
        """Set once the rest is not run any more: what unended nodes become, and the execution."""
        self.failure: f.NodeEnded | None = None
        self.cancel: f.CancelRequested | None = None
        self.started: list[str] = []
        """Nodes whose calls became ready: the driver takes them."""
        self.cancelled: list[str] = []
        """Nodes whose held calls are to be cancelled: the driver takes them."""
        self.children: list[tuple[str, str, dict[str, Value]]] = []
        """(node, plan, inputs) of launch plans to submit: the driver takes them and answers with `ChildStarted`."""
        self.gates: list[str] = []
        """Gates that wait from now on: the driver takes them and answers with `GateOpened`."""
        self.asks = asking.Asks()
        """What running calls have asked."""
        self.owned: dict[str, list[str]] = {}
        """By dynamic node, or by question of a call: the nodes that it made."""
        self._feeds: dict[str, list[str]] = {}
        self._look: deque[str] = deque()
        self._open = 0
        self.tasks: Mapping[str, Task] = program.tasks
        self.environments: Mapping[str, Environment] = program.environments
        self.plans: Mapping[str, Plan] = program.plans
        self.join(self.graph.nodes, "")

    # Building -----------------------------------------------------------------------------------------------------

    def join(self, nodes: Iterable[Node], owner: str) -> None:
        """Nodes join: those of the program, or what one of them (or a question of a call) has brought."""
        for spec in nodes:
            upstream = tuple(spec.upstream())
            task = self.tasks.get(spec.target) if spec.kind in (NodeKind.TASK, NodeKind.MAP) else None
            self.nodes[spec.id] = NodeRun(spec, task, upstream, owner)
            if owner:
                self.owned.setdefault(owner, []).append(spec.id)
            for name in upstream:
                self._feeds.setdefault(name, []).append(spec.id)
            if not upstream:
                self._look.append(spec.id)
            self._open += 1

    # Folding ------------------------------------------------------------------------------------------------------

    def apply(self, fact: Fact, row: int = 0, at_ms: int = 0) -> None:
        """Fold one fact.

        Args:
            fact: What happened.
            row: Position of its row in the log; places of outcomes are made of it.
            at_ms: When it happened, wall clock, milliseconds; delays before further attempts count from it.
        """
        handler = _APPLY.get(type(fact))
        if handler is not None:
            handler(self, fact, row, at_ms)

    def _node(self, name: str) -> NodeRun:
        """A node by its id; the handler of a failure joins when it is first spoken of."""
        handler = self.graph.on_failure
        if name not in self.nodes and handler is not None and handler.id == name and self.failure is not None:
            self._add_handler(handler, self.failure)
        return self.nodes[name]

    def _node_started(self, fact: f.NodeStarted, row: int, at_ms: int) -> None:
        node = self._node(fact.node)
        if node.state is not NodeState.WAITING:
            return
        node.state, node.started_ms = NodeState.STARTED, at_ms
        if node.spec.kind in (NodeKind.TASK, NodeKind.MAP):
            node.items = Items(fact.total, node.spec.concurrency or None)
            self._read_inputs(node)
            self.started.append(node.id)
        elif node.spec.kind is NodeKind.CHILD:
            self._ask_for_child(node)
        elif node.spec.kind is NodeKind.GATE:
            self.gates.append(node.id)
        if not node.items or not node.items.n:
            self._look.append(node.id)

    def _read_inputs(self, node: NodeRun) -> None:
        """Inputs could be read when the node started; after a restart a blob may be gone that they lie in."""
        try:
            node.inputs = node.inputs or self.inputs_of(node)
        except UNREADABLE as fault:
            node.broken = Failure(Cause.INPUT, "InputError", f"node {node.id}: {fault}", where=node.spec.line)
            if node.items is not None:
                node.items.close()
            self._look.append(node.id)

    def _ask_for_child(self, node: NodeRun) -> None:
        try:
            self.children.append((node.id, node.spec.target, self.child_inputs(node)))
        except UNREADABLE as fault:
            node.broken = Failure(Cause.INPUT, "InputError", f"node {node.id}: {fault}", where=node.spec.line)

    def _calls_finished(self, fact: f.CallsFinished | f.CallsCached, row: int, at_ms: int) -> None:
        node = self.nodes[fact.node]
        items, outcomes = node.items, fact.outcomes
        assert items is not None
        refused = fact.refused if isinstance(fact, f.CallsFinished) else ()
        if not refused and all_succeeded(outcomes):
            items.succeed(outcomes, row)
            if node.spec.kind is NodeKind.TASK:
                self._keep_outputs(node, outcomes.payload)
        else:
            self._finish_each(node, outcomes, frozenset(refused), row, at_ms)
        self._settle_items(node)

    def _settle_items(self, node: NodeRun) -> None:
        """After outcomes or losses: what cannot change the node's outcome any more is not run."""
        items = node.items
        assert items is not None
        if node.hopeless:
            items.close()
        if node.id in self.asks.of_node:
            asking.settle(self, node)
        if items.closed or not items.open or items.aborted:
            self._look.append(node.id)

    def _finish_each(self, node: NodeRun, outcomes: Outcomes, refused: frozenset[int], row: int, at_ms: int) -> None:
        assert node.items is not None
        statuses = outcomes.status_list()
        for position, item in enumerate(outcomes.item_list()):
            if position in refused:
                continue
            if statuses[position] == Status.SUCCEEDED:
                node.items.end(item, ItemState.SUCCEEDED, place_of(row, position))
                if node.spec.kind is NodeKind.TASK:
                    self._keep_outputs(node, outcomes.payload_of(position))
            else:
                failure = Failure.unpack(outcomes.payload_of(position))
                self._failed(node, item, failure, place_of(row, position), at_ms)

    def _failed(self, node: NodeRun, item: int, failure: Failure, place: int, at_ms: int) -> None:
        assert node.items is not None
        if failure.cause is Cause.CANCELLED:
            node.items.end(item, ItemState.ABORTED, place)
            return
        trouble = node.items.troubled(item)
        trouble.failures += 1
        tried_again = not node.items.closed and not node.items.exhausted(item)
        if tried_again and node.retry.allows(failure, trouble.failures):
            delay = node.retry.delay(trouble.failures, self._chance(node.id, item, trouble.failures))
            node.items.again(item, at_ms + int(delay * 1000) if delay else 0)
            self.started.append(node.id)
            return
        node.items.end(item, ItemState.FAILED, place)
        node.note_failure(item, failure)

    def _chance(self, *parts: object) -> float:
        """A share from 0 to 1 that differs from call to call and is the same in every replay."""
        return zlib.crc32(repr((self.id, *parts)).encode()) / 0xFFFFFFFF

    def _keep_outputs(self, node: NodeRun, payload: bytes) -> None:
        """What a task yielded becomes its node's outputs; what cannot be read fails the node, never the hub."""
        outputs = node.spec.outputs
        dynamic = node.task is not None and node.task.mode is Mode.DYNAMIC
        try:
            if dynamic and payload and ext_code(payload) is Ext.GRAPH:
                self._graft(node, payload)
            else:
                node.values = dict(zip(outputs, split(payload, len(outputs)), strict=True))
        except (ValueFault, WireFault) as fault:
            node.broken = Failure(Cause.RESULT, "OutputError", f"what {node.id} yielded: {fault}", where=node.spec.line)

    def _graft(self, node: NodeRun, value: Value) -> None:
        """A dynamic task's result is a graph: its nodes join, and the dynamic node waits for them."""
        fragment = Fragment.read(value).within(node.id).beside(self.environments)
        tasks = {**self.tasks, **fragment.tasks}
        environments = {**self.environments, **fragment.environments}
        plans = {**self.plans, **fragment.plans}
        fragment.check(tasks, environments, plans, node.spec.outputs)
        for taken in (spec.id for spec in fragment.nodes if spec.id in self.nodes):
            raise WireFault(f"two nodes are called {taken!r}")
        self.tasks, self.environments, self.plans = tasks, environments, plans
        node.fragment, node.members = fragment.outputs, len(fragment.nodes)
        self.join(fragment.nodes, node.id)

    def _calls_lost(self, fact: f.CallsLost, row: int, at_ms: int) -> None:
        node = self.nodes[fact.node]
        items = node.items
        assert items is not None
        reason = Failure.from_wire(fact.reason)
        crashed = fact.charged and reason.cause in ENDS_PROCESS
        for position, (item, attempt) in enumerate(zip(fact.items, fact.attempts, strict=True)):
            if not items.runs(item, attempt):
                continue
            trouble = items.troubled(item)
            trouble.losses += fact.charged
            trouble.crashes += crashed
            if self.stopped(node) is not None:
                items.end(item, ItemState.ABORTED, place_of(row, position))
            elif trouble.losses > MAX_LOSSES or items.exhausted(item):
                items.end(item, ItemState.FAILED, place_of(row, position))
                node.note_failure(item, quarantined(reason, trouble.crashes))
            else:
                items.again(item)
        self.started.append(node.id)
        self._settle_items(node)
        self._look.append(node.id)

    def _branch_chosen(self, fact: f.BranchChosen, row: int, at_ms: int) -> None:
        node = self.nodes[fact.node]
        node.state, node.case = NodeState.STARTED, -1 if fact.case is None else fact.case
        members = [other for other in self._feeds.get(node.id, ()) if self._belongs(other, node.id)]
        node.members = 0
        for member in members:
            run = self.nodes[member]
            run.waiting -= 1
            if run.spec.within == (node.id, node.case):
                node.members += 1
            if run.waiting == 0:
                self._look.append(member)
        self._look.append(node.id)

    def _belongs(self, member: str, branch: str) -> bool:
        within = self.nodes[member].spec.within
        return within is not None and within[0] == branch

    def _child_started(self, fact: f.ChildStarted, row: int, at_ms: int) -> None:
        node = self.nodes[fact.node]
        self._forget_asked(node)
        if not node.ended:
            node.state, node.child = NodeState.STARTED, fact.execution

    def _gate_opened(self, fact: f.GateOpened, row: int, at_ms: int) -> None:
        node = self.nodes[fact.node]
        self._forget_asked(node)
        if node.ended:
            return
        if fact.value is not None:
            node.values = dict.fromkeys(node.spec.outputs, fact.value)
        node.case = 1 if fact.approved else 0
        self._look.append(node.id)

    def _forget_asked(self, node: NodeRun) -> None:
        """What was asked of the driver is done, or not wanted any more."""
        if node.spec.kind is NodeKind.CHILD:
            self.children = [child for child in self.children if child[0] != node.id]
        elif node.spec.kind is NodeKind.GATE:
            self.gates = [gate for gate in self.gates if gate != node.id]

    def _node_ended(self, fact: f.NodeEnded, row: int, at_ms: int) -> None:
        node = self._node(fact.node)
        if node.ended:
            return
        self._forget_asked(node)
        if node.items is not None:
            node.items.abort_rest()
        node.state, node.outcome, node.failure, node.inputs = NodeState.ENDED, fact.outcome, fact.failure, None
        if fact.outputs:
            node.values = dict(fact.outputs)
        self._open -= 1
        for name in self._feeds.get(node.id, ()):
            after = self.nodes[name]
            # Members of a branch were let go when it chose; of one that never came to choose they wait still.
            if node.spec.kind is not NodeKind.BRANCH or node.case is None or not self._belongs(name, node.id):
                after.waiting -= 1
            if after.waiting == 0 and after.state is NodeState.WAITING:
                self._look.append(name)
        self._tell_owners(node)
        if node.id in self.asks.of_node:
            asking.settle(self, node)
        if fact.outcome in (Outcome.FAILED, Outcome.TIMED_OUT, Outcome.ABORTED):
            ask = asking.of(self, node) if node.owner else None
            if ask is not None:
                asking.failed(self, ask, fact)
            else:
                self._note_failed(fact)

    def _tell_owners(self, node: NodeRun) -> None:
        """A branch or a dynamic node goes on when the last of its members has ended."""
        within = node.spec.within
        owners = [node.owner] if node.owner else []
        if within is not None and self.nodes[within[0]].case == within[1]:
            owners.append(within[0])
        for owner in owners:
            ask = self.asks.by_owner.get(owner)
            if ask is not None:
                asking.member_ended(self, ask)
                continue
            self.nodes[owner].members -= 1
            if self.nodes[owner].members == 0:
                self._look.append(owner)

    def _note_failed(self, fact: f.NodeEnded) -> None:
        if self.cancel is not None or (fact.outcome is Outcome.ABORTED and self.stopping is not None):
            return
        if self.failure is None:
            self.failure = fact
        if self.graph.policy is FailurePolicy.FAIL_IMMEDIATELY and self.stopping is None:
            self._stop(Outcome.FAILED)

    def _cancel_requested(self, fact: f.CancelRequested, row: int, at_ms: int) -> None:
        if self.ended is None and self.cancel is None:
            self.cancel = fact
            self._stop(Outcome.TIMED_OUT if fact.timed_out else Outcome.ABORTED)

    def _stop(self, outcome: Outcome) -> None:
        self.stopping = outcome
        self.stop_nodes(self.nodes.values())

    def stopped(self, node: NodeRun) -> Outcome | None:
        """What a node becomes that has not ended, if it is not run any more; None if it is."""
        if self.stopping is not None or not node.owner:
            return self.stopping
        ask = asking.of(self, node)
        while ask is not None and ask.stopping is None:
            ask = asking.of(self, self.nodes[ask.node])
        return ask.stopping if ask is not None else None

    def stop_nodes(self, nodes: Iterable[NodeRun]) -> None:
        """These nodes are not run any more; what replicas hold of them is cancelled."""
        for node in nodes:
            if node.ended:
                continue
            if node.items is not None:
                node.items.close()
                if node.items.held and not node.cancelling:
                    node.cancelling = True
                    self.cancelled.append(node.id)
            elif node.child is not None:
                self.cancelled.append(node.id)
            self._look.append(node.id)

    def _ended(self, fact: f.ExecutionEnded, row: int, at_ms: int) -> None:
        self.ended, self.outcome = fact, fact.outcome

    # What follows ---------------------------------------------------------------------------------------------------

    def advance(self) -> list[Fact]:
        """All facts that follow from what is known; each is applied already."""
        following: list[Fact] = []
        while self._look or (self._open == 0 and self.ended is None):
            if not self._look:
                self._close(following)
                continue
            for fact in examine(self, self.nodes[self._look.popleft()]):
                self.apply(fact)
                following.append(fact)
        return following

    def look_at(self, node: str) -> None:
        """Examine a node at the next `advance`: something volatile about it has changed."""
        self._look.append(node)

    def _close(self, following: list[Fact]) -> None:
        """Every node has ended: so does the execution, or its failure is handled first."""
        handler = self.graph.on_failure
        if self.failure is not None and handler is not None and handler.id not in self.nodes and self.cancel is None:
            self._add_handler(handler, self.failure)
            return
        following.append(end_of(self))
        self.apply(following[-1])

    def _add_handler(self, handler: Node, failed: f.NodeEnded) -> None:
        self.stopping = None
        self.join([handler], "")
        self.nodes[handler.id].values = {"err": pack(_error_value(failed))}

    # Values -----------------------------------------------------------------------------------------------------------

    def resolve(self, binding: Binding) -> Value:
        """The value of a binding, once everything that it refers to has ended."""
        return resolve(binding, self.lookup)

    def lookup(self, node: str, output: str, path: Path = ()) -> Value:
        """The value of one output of a node (of an input of the workflow, for node `""`), or of a part of it."""
        if node == "":
            if output not in self.inputs:
                raise ValueFault(f"input {output!r} was not given")
            return self._part(self.inputs[output], path)
        run = self.nodes[node]
        if run.spec.kind is not NodeKind.MAP or run.outcome is not Outcome.SUCCEEDED or run.items is None:
            if output not in run.values:
                raise ValueFault(f"{node} has no output {output!r}: it {run.outcome or 'has not ended'}")
            return self._part(run.values[output], path)
        if not path:
            return pack(ext(Ext.MANIFEST, [self.id, node, output, run.items.n]))
        return self._part(_item(self.results(node, output), path[0]), path[1:])

    def results(self, node: str, output: str) -> ListSource:
        """One output of a map, as a list."""
        run = self.nodes[node]
        assert run.items is not None
        return MapResults(run.items, self.reader, run.spec.outputs.index(output), len(run.spec.outputs))

    def _part(self, value: Value, path: Path) -> Value:
        if not path:
            return value
        value = untag(value)
        if ext_code(value) is Ext.MANIFEST:
            return self._part(_item(open_list(value, self.reader), path[0]), path[1:])
        ref = blob_ref(value)
        return access(bytes(self.reader.blob(ref.sha256)) if ref is not None else value, path)

    def input_of(self, node: NodeRun, name: str) -> Value:
        """The value of one input of a node."""
        return self.resolve(node.spec.inputs[name])

    def child_inputs(self, node: NodeRun) -> dict[str, Value]:
        """What a launch plan is called with, beside its own defaults."""
        return {name: self.input_of(node, name) for name in node.spec.inputs}

    def inputs_of(self, node: NodeRun) -> Inputs:
        """What the calls of a node get, once everything that it waits for has ended."""
        spec = node.spec
        names = [name for name in _parameters(node) if name in spec.inputs]
        if spec.kind is NodeKind.MAP:
            over = tuple(name for name in names if name in spec.over)
            bound = {name: self.input_of(node, name) for name in names if name not in spec.over}
            return Inputs(bound, over, lists=tuple(open_list(self.input_of(node, name), self.reader) for name in over))
        values = [self.input_of(node, name) for name in names]
        if "err" in node.values and "err" in _parameters(node):  # The handler of a failure.
            names, values = [*names, "err"], [*values, node.values["err"]]
        return Inputs({}, tuple(names), b"".join(values))


def _parameters(node: NodeRun) -> tuple[str, ...]:
    task: Task | None = node.task
    return task.inputs if task is not None and task.inputs else tuple(node.spec.inputs)


def _item(source: ListSource, index: str | int) -> Value:
    if not isinstance(index, int) or not -source.n <= index < source.n:
        raise ValueFault(f"a list of {source.n} has no item {index!r}")
    index %= source.n
    return next(source.slice(index, index + 1).items())


def _error_value(failed: f.NodeEnded) -> dict[str, Any]:
    failure = Failure.from_wire(failed.failure or {})
    return {"failed_node_id": failed.node, "message": failure.line()}


_APPLY: Final[dict[type[Any], Callable[[Execution, Any, int, int], None]]] = {
    f.NodeStarted: Execution._node_started,
    f.CallsFinished: Execution._calls_finished,
    f.CallsCached: Execution._calls_finished,
    f.CallsLost: Execution._calls_lost,
    f.BranchChosen: Execution._branch_chosen,
    f.ChildStarted: Execution._child_started,
    f.GateOpened: Execution._gate_opened,
    f.CallAsked: lambda run, fact, row, at_ms: asking.fold(run, fact),
    f.AskWaived: lambda run, fact, row, at_ms: asking.stop(run, run.asks.by_name[fact.name], Outcome.ABORTED),
    f.NodeEnded: Execution._node_ended,
    f.CancelRequested: Execution._cancel_requested,
    f.ExecutionEnded: Execution._ended,
}
