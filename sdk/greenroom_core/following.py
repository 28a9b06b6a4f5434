"""What follows from the state of an execution: which nodes start, choose, end, and how it all ends.

Pure questions to an `Execution`; its `advance` applies the answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from greenroom_core import facts as f
from greenroom_core.bindings import Binding
from greenroom_core.conditions import holds
from greenroom_core.facts import Fact, Outcome
from greenroom_core.failure import Cause, Failure
from greenroom_core.graph import NodeKind
from greenroom_core.lists import open_list
from greenroom_core.noderun import NodeRun, NodeState
from greenroom_core.values import ValueFault

if TYPE_CHECKING:
    from greenroom_core.execution import Execution

_BAD = (Outcome.FAILED, Outcome.ABORTED, Outcome.TIMED_OUT)

UNREADABLE = (ValueFault, LookupError, OSError)
"""What reading a value may raise: the value is not one, or what it lies in is gone."""


def examine(run: Execution, node: NodeRun) -> Iterator[Fact]:
    """The facts that follow for one node."""
    if node.ended:
        return
    if node.state is NodeState.WAITING:
        if run.stopped(node) is not None:
            yield f.NodeEnded(node.id, Outcome.ABORTED)
        elif node.waiting == 0:
            yield _begin(run, node)
    else:
        yield from _SETTLE[node.spec.kind](run, node)


# Starting -------------------------------------------------------------------------------------------------------------


def _begin(run: Execution, node: NodeRun) -> Fact:
    """Everything that the node waits for has ended: it starts, or never will."""
    within = node.spec.within
    if within is not None and run.nodes[within[0]].case != within[1]:
        return f.NodeEnded(node.id, Outcome.SKIPPED)  # The way was not taken.
    unmet = _unmet(run, node)
    if unmet is not None:
        return f.NodeEnded(node.id, Outcome.SKIPPED, _because(unmet))
    try:
        return _start(run, node)
    except UNREADABLE as fault:
        failure = Failure(Cause.INPUT, "InputError", f"node {node.id}: {fault}", where=node.spec.line)
        return f.NodeEnded(node.id, Outcome.FAILED, failure.to_wire())


def _unmet(run: Execution, node: NodeRun) -> str | None:
    """A node whose end keeps this one from starting."""
    within = node.spec.within
    for name in node.upstream:
        before = run.nodes[name]
        if before.outcome is Outcome.SUCCEEDED or (within is not None and name == within[0]):
            continue
        skipped = before.outcome is Outcome.SKIPPED and before.failure is None
        if not skipped or any(promise.node == name for promise in node.spec.promises()):
            return name  # One that was merely to come before, on a way not taken, does not keep it.
    return None


def _start(run: Execution, node: NodeRun) -> Fact:
    spec = node.spec
    if spec.kind in (NodeKind.TASK, NodeKind.MAP):
        total = _length(run, node) if spec.kind is NodeKind.MAP else 1
        node.inputs = run.inputs_of(node)  # Before the fact: what cannot be read must not become one.
        return f.NodeStarted(node.id, total)
    if spec.kind is NodeKind.BRANCH:
        return f.BranchChosen(node.id, _choose(run, node))
    if spec.kind is NodeKind.GROUP:
        outputs = {name: run.input_of(node, name) for name in spec.outputs}
        return f.NodeEnded(node.id, Outcome.SUCCEEDED, outputs=outputs)
    if spec.kind is NodeKind.CHILD:
        run.child_inputs(node)  # As above; the driver is asked for it once the fact is folded.
    return f.NodeStarted(node.id)


def _length(run: Execution, node: NodeRun) -> int:
    lengths = {name: open_list(run.input_of(node, name), run.reader).n for name in node.spec.over}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} has {n}" for name, n in lengths.items())
        raise ValueFault(f"the lists that it maps over have different lengths: {told}")
    return next(iter(lengths.values()), 0)


def _choose(run: Execution, node: NodeRun) -> int | None:
    for number, case in enumerate(node.spec.cases):
        if case.when is None or holds(case.when, run.lookup):
            return number
    return None


# Ending ---------------------------------------------------------------------------------------------------------------


def _settle_calls(run: Execution, node: NodeRun) -> Iterator[Fact]:
    items = node.items
    assert items is not None
    cut_short = run.stopped(node) is not None and items.aborted > 0
    complete = items.open == 0 and not node.hopeless and not cut_short
    if node.broken is not None:
        yield from _give_up(run, node)
    elif complete and node.fragment is not None:
        if node.members == 0:
            members = [member for member in run.nodes.values() if member.owner == node.id]
            yield _gather(run, node, node.fragment, members)
    elif complete:
        yield f.NodeEnded(node.id, Outcome.SUCCEEDED)
    elif node.hopeless:
        yield from _give_up(run, node)
    elif run.stopped(node) is not None and items.held == 0:
        yield f.NodeEnded(node.id, Outcome.ABORTED)


def _give_up(run: Execution, node: NodeRun) -> Iterator[Fact]:
    """The node can only fail: what runs is cancelled, then it has failed."""
    items = node.items
    assert items is not None
    if items.held:
        if not node.cancelling:
            node.cancelling = True
            run.cancelled.append(node.id)
        return
    item = node.failed_item
    if node.broken is not None:
        yield f.NodeEnded(node.id, Outcome.FAILED, node.broken.to_wire())
    elif item is None:
        cancelled = Failure(Cause.CANCELLED, "Cancelled", f"calls of {node.id} were cancelled", where=node.spec.line)
        yield f.NodeEnded(node.id, Outcome.ABORTED, cancelled.to_wire())
    else:
        of_map = item if node.spec.kind is NodeKind.MAP else None
        yield f.NodeEnded(node.id, Outcome.FAILED, node.failures[item].to_wire(), of_map)


def _settle_branch(run: Execution, node: NodeRun) -> Iterator[Fact]:
    chosen = node.case
    case = node.spec.cases[chosen] if chosen is not None and chosen >= 0 else None
    if case is None or case.fail is not None:
        message = case.fail if case is not None and case.fail else "no case of the condition holds"
        failure = Failure(Cause.USER, "ValueError", message, where=node.spec.line)
        yield f.NodeEnded(node.id, Outcome.FAILED, failure.to_wire())
    elif node.members <= 0:
        members = [member for member in run.nodes.values() if member.spec.within == (node.id, chosen)]
        yield _gather(run, node, case.outputs, members)


def _gather(run: Execution, node: NodeRun, outputs: Mapping[str, Binding], members: Iterable[NodeRun]) -> Fact:
    """A node whose members have all ended takes its outputs from theirs, or ends as they did."""
    for member in members:
        if member.outcome in _BAD or (member.outcome is Outcome.SKIPPED and member.failure is not None):
            outcome = Outcome.ABORTED if run.stopped(node) else Outcome.FAILED
            return f.NodeEnded(node.id, outcome, _because(member.id))
    try:
        values = {name: run.resolve(binding) for name, binding in outputs.items()}
    except UNREADABLE as fault:
        failure = Failure(Cause.RESULT, "OutputError", f"an output of {node.id}: {fault}", where=node.spec.line)
        return f.NodeEnded(node.id, Outcome.FAILED, failure.to_wire())
    return f.NodeEnded(node.id, Outcome.SUCCEEDED, outputs=values)


def _settle_gate(run: Execution, node: NodeRun) -> Iterator[Fact]:
    if node.case == 1:
        yield f.NodeEnded(node.id, Outcome.SUCCEEDED)
    elif run.stopped(node) is not None:
        yield f.NodeEnded(node.id, Outcome.ABORTED)
    elif node.case == 0:
        failure = Failure(Cause.USER, "NotApproved", f"gate {node.id} was rejected", where=node.spec.line)
        yield f.NodeEnded(node.id, Outcome.FAILED, failure.to_wire())


def _settle_child(run: Execution, node: NodeRun) -> Iterator[Fact]:
    """The child's own end is what ends it; without a child there is nothing to wait for."""
    if node.child is not None:
        return
    if node.broken is not None:
        yield f.NodeEnded(node.id, Outcome.FAILED, node.broken.to_wire())
    elif run.stopped(node) is not None:
        yield f.NodeEnded(node.id, Outcome.ABORTED)


def _settle_group(run: Execution, node: NodeRun) -> Iterator[Fact]:
    yield from ()


_SETTLE = {
    NodeKind.TASK: _settle_calls,
    NodeKind.MAP: _settle_calls,
    NodeKind.BRANCH: _settle_branch,
    NodeKind.GATE: _settle_gate,
    NodeKind.CHILD: _settle_child,
    NodeKind.GROUP: _settle_group,
}


def end_of(run: Execution) -> Fact:
    """How an execution ends whose nodes have all ended."""
    failed = run.failure
    if failed is not None:
        outcome = Outcome.ABORTED if failed.outcome is Outcome.ABORTED else Outcome.FAILED
        return f.ExecutionEnded(outcome, failed.failure, failed.node, failed.item)
    if run.stopping is not None:
        reason = run.cancel.reason if run.cancel else "cancelled"
        cause = Cause.TIMEOUT if run.stopping is Outcome.TIMED_OUT else Cause.CANCELLED
        return f.ExecutionEnded(run.stopping, Failure(cause, "Cancelled", reason).to_wire())
    try:
        outputs = {name: run.resolve(binding) for name, binding in run.graph.outputs.items()}
    except UNREADABLE as fault:
        failure = Failure(Cause.RESULT, "OutputError", f"an output of {run.program.entity}: {fault}")
        return f.ExecutionEnded(Outcome.FAILED, failure.to_wire())
    return f.ExecutionEnded(Outcome.SUCCEEDED, outputs=outputs)


def _because(name: str) -> dict[str, Any]:
    return Failure(Cause.DEPENDENCY, "Skipped", f"{name}, which it needs, did not succeed").to_wire()
