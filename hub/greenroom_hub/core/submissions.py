"""Executions from their submission to their end: what the interpreter asks for, turned into work for pools."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from greenroom_core import asking
from greenroom_core.execution import Execution
from greenroom_core.facts import (
    CallsCached,
    CancelRequested,
    ChildStarted,
    ExecutionEnded,
    ExecutionSubmitted,
    Fact,
    GateOpened,
    NodeEnded,
    Noticed,
    Outcome,
)
from greenroom_core.failure import Cause, Failure
from greenroom_core.graph import GateKind, NodeKind
from greenroom_core.noderun import NodeRun
from greenroom_core.program import Program, Reuse, Submission
from greenroom_core.values import NIL, ValueFault, unpack
from greenroom_hub.core import artifacts, caching, plans, queueing, webhooks
from greenroom_hub.core import gates as gating
from greenroom_hub.core.caching import look_up
from greenroom_hub.core.children import child_id, join_late, program_of_child, registered_call
from greenroom_hub.core.commands import Ended, Refusal, Reply, SendAnswer, SendCancel
from greenroom_hub.core.events import CancelWanted, GateAnswered, LookedAgain, LookedUp, Submitted
from greenroom_hub.core.pools import CannotServe, changes, check_environments, join_pools
from greenroom_hub.core.reuse import child_outputs, gate_answer, source_of
from greenroom_hub.core.run import Run
from greenroom_hub.core.state import State
from greenroom_protocol.calls import Outcomes


def on_submitted(state: State, event: Submitted) -> None:
    """A client's submission becomes an execution, or is refused whole."""
    if state.draining:
        refusal = Refusal("stopping", "the hub is stopping and takes no new executions")
        state.tell(Reply(event.request, error=refusal))
        return
    known = state.by_key.get(event.submission.key)
    if known is not None:
        state.tell(Reply(event.request, known))  # The same wish, sent twice: it becomes one execution.
        return
    why = plans.full(state, event.submission.registered)
    if why is not None:
        state.tell(Reply(event.request, error=Refusal("conflict", why)))
        return
    try:
        cuts = check_environments(state, event.program.environments.values(), event.submission.strict)
    except CannotServe as fault:
        state.tell(Reply(event.request, error=Refusal("never_fits", str(fault))))
        return
    notes = (*event.notes, *cuts, *changes(state, event.program))
    pools = join_pools(state, event.execution, event.program)
    if event.packed is not None:
        state.turn.programs.append((event.submission.program, event.packed))
    state.programs.setdefault(event.submission.program, event.program)
    submitted = ExecutionSubmitted(event.execution, event.submission, event.sealed, plan=event.plan, notes=notes)
    _begin(state, submitted, event.program, pools)
    state.tell(Reply(event.request, event.execution, notes))


def begin_scheduled(
    state: State, execution: str, submission: Submission, sealed: bytes, record: Callable[[], None]
) -> str:
    """Run a launch plan by its schedule; why it cannot be run, if so.

    Args:
        state: The machine's.
        execution: The id.
        submission: With the plan's inputs.
        sealed: Environment variables and secrets.
        record: Puts the fact into the log that this time is run; called once it is certain.
    """
    program = state.find_program(submission.program)
    if program is None:
        return f"program {submission.program} is not here any more: register the plan again"
    try:
        notes = check_environments(state, program.environments.values(), submission.strict)
    except CannotServe as fault:
        return str(fault)
    state.programs.setdefault(submission.program, program)
    record()
    pools = join_pools(state, execution, program)
    _begin(state, ExecutionSubmitted(execution, submission, sealed, notes=notes), program, pools)
    return ""


def _begin(state: State, submitted: ExecutionSubmitted, program: Program, pools: dict[str, str]) -> Run:
    run = Run(
        Execution(submitted, program, state.reader), state.now.wall_ms, state.now.mono_ms, parent=submitted.parent
    )
    run.pools, run.source = pools, source_of(state, submitted.submission)
    state.runs[run.id] = run
    if submitted.submission.key and submitted.parent is None:
        state.by_key[submitted.submission.key] = run.id
    state.record(run, submitted)
    if submitted.submission.deadline is not None:
        state.wait_until(run, "#deadline", state.now.wall_ms + int(submitted.submission.deadline * 1000))
    plans.started(state, run.plan, run.id)
    state.count("executions_submitted")
    state.say("execution submitted", execution=run.id, entity=program.entity, parent=submitted.parent)
    advance(state, run)
    return run


def advance(state: State, run: Run) -> None:
    """Record what follows from an execution's state, and set in motion what that asks for."""
    execution = run.execution
    while True:
        following = [_enriched(state, run, fact) for fact in execution.advance()]
        state.record_folded(run, following)
        for fact in following:
            if isinstance(fact, NodeEnded) and fact.outcome is Outcome.SUCCEEDED:
                artifacts.keep(state, run, execution.nodes[fact.node])
        asked = bool(execution.started or execution.children or execution.gates or execution.cancelled)
        _start_nodes(state, run)
        _start_children(state, run)
        _start_gates(state, run)
        _cancel_nodes(state, run)
        _answer_calls(state, run)
        if not following and not asked:
            break
    if execution.ended is not None and run.id in state.runs:
        finish(state, run)


def _answer_calls(state: State, run: Run) -> None:
    """Tell running calls what became of the calls that they made, once that is on disk."""
    asks = run.execution.asks
    answered, asks.answered = asks.answered, []
    for name in answered:
        waiting = run.asking.pop(name, None)
        if waiting is not None:
            replica, ask = waiting
            state.tell(SendAnswer(replica, ask, *asking.answer(run.execution, asks.by_name[name])))


def _enriched(state: State, run: Run, fact: Fact) -> Fact:
    """The end of an execution tells what only the hub knows: how long it took, what warm replicas spared."""
    if not isinstance(fact, ExecutionEnded):
        return fact
    saved = {name: round(seconds, 3) for name, seconds in run.saved.items() if seconds}
    seconds = (state.now.wall_ms - run.submitted_ms) / 1000
    run.execution.ended = replace(fact, saved=saved, seconds=seconds)
    return run.execution.ended


# What the interpreter asks for ----------------------------------------------------------------------------------------


def _start_nodes(state: State, run: Run) -> None:
    started, run.execution.started = run.execution.started, []
    refused = _join_late(state, run)
    for name in started:
        node = run.execution.nodes[name]
        if node.ended or node.items is None:
            continue
        if node.upstream or node.owner or run.parent or node.items.trouble:
            run.needs[name] = state.position  # What its calls depend on goes to disk with this turn.
        if refused and node.task is not None and node.task.environment not in run.pools:
            _fail_node(state, run, node, replace(refused, where=node.spec.line))
            continue
        missing = [secret for secret in node.task.secrets if secret not in _secrets(run)] if node.task else []
        if missing:
            _fail_node(state, run, node, _missing_secret(node, missing[0]))
            continue
        due = node.items.waiting_until()
        if due is not None:
            state.wait_until(run, name, due)
        queueing.watch(state, run, node)
        if not look_up(state, run, node):
            enqueue(state, run, node)


def _join_late(state: State, run: Run) -> Failure | None:
    """Pools for what a dynamic task's graph has brought; why there are none, if so."""
    try:
        for cut in join_late(state, run):
            notice(state, run, cut)
    except CannotServe as fault:
        return Failure(Cause.INPUT, type(fault).__name__, str(fault))
    return None


def enqueue(state: State, run: Run, node: NodeRun) -> None:
    """A node's calls may be placed, as far as there are any to place."""
    pool = state.pool_of(run, node.id)
    if pool is not None and node.items is not None and node.items.room > 0 and not node.ended:
        pool.enqueue(run.id, node.id)
        state.touch(pool.key)


def on_looked_up(state: State, event: LookedUp) -> None:
    """Cached results of a node are known: what remains is placed."""
    found = caching.on_looked_up(state, event)
    run = state.runs.get(event.execution)
    if found is not None:
        enqueue(state, *found)
    if run is not None:
        run.execution.look_at(event.node)
        advance(state, run)


def on_looked_again(state: State, event: LookedAgain) -> None:
    """Calls that were set aside get the outputs of the one they waited for, or run themselves."""
    for execution, name, item, key, source, body in event.calls:
        run = state.runs.get(execution)
        node = run.execution.nodes.get(name) if run is not None else None
        if run is None or node is None or node.items is None or node.ended:
            continue
        if body is not None and not node.items.stale(Outcomes.unpack(body)):
            state.record(run, CallsCached(name, body, source))
        elif state.computing.setdefault(key, (execution, name, item)) == (execution, name, item):
            node.items.take_up(item)
            enqueue(state, run, node)
        else:
            state.following.setdefault(key, []).append((execution, name, item))
        run.execution.look_at(name)
        advance(state, run)


def _secrets(run: Run) -> frozenset[str]:
    return frozenset(run.execution.submitted.submission.secrets)


def _missing_secret(node: NodeRun, name: str) -> Failure:
    message = (
        f"task {node.task.name if node.task else node.id} asks for secret {name!r}, which was not found where the "
        f"program was submitted: set the environment variable {name} there, or provide the file"
    )
    return Failure(Cause.INPUT, "MissingSecret", message, where=node.spec.line)


def _fail_node(state: State, run: Run, node: NodeRun, failure: Failure) -> None:
    """A node fails before (or without) any call of its own saying so."""
    pool = state.pool_of(run, node.id)
    if pool is not None:
        pool.dequeue(run.id, node.id)
    state.record(run, NodeEnded(node.id, Outcome.FAILED, failure.to_wire()))


def fail_waiting(state: State, run: Run, node: NodeRun, failure: Failure) -> None:
    """A node whose calls can never be placed fails, and the execution goes on from there."""
    _fail_node(state, run, node, failure)
    advance(state, run)


def _start_children(state: State, run: Run) -> None:
    children, run.execution.children = run.execution.children, []
    for name, plan_key, inputs in children:
        node, plan = run.execution.nodes[name], run.execution.plans[plan_key]
        parent = run.execution.submitted
        try:
            digest, program, registered = program_of_child(state, run, plan_key)
        except LookupError as fault:
            _fail_node(state, run, node, Failure(Cause.INPUT, type(fault).__name__, str(fault), where=node.spec.line))
            continue
        outputs = child_outputs(run, node, inputs, state.reader)
        if outputs is not None:
            state.record(run, NodeEnded(name, Outcome.SUCCEEDED, outputs=outputs))
            continue
        late = {} if program is run.execution.program else program.environments
        try:
            notes = check_environments(state, late.values(), parent.submission.strict)
        except CannotServe as fault:
            _fail_node(state, run, node, Failure(Cause.INPUT, type(fault).__name__, str(fault), where=node.spec.line))
            continue
        child = child_id(state, run, name, plan.name)
        values = {**plan.inputs, **inputs, **plan.fixed}
        submission = replace(
            parent.submission,
            program=digest,
            inputs=values,
            name=None,
            deadline=None,
            key="",
            registered=None,
            nominal_ms=None,
            webhooks=(),
            queries={},
            **_repeated(run, name),
        )
        sealed = parent.sealed
        if registered is not None:
            submission, sealed = registered_call(submission, registered, sealed)
        state.record(run, ChildStarted(name, child))
        key = plan_key if registered is None else ""
        submitted = ExecutionSubmitted(child, submission, sealed, (run.id, name), key, notes)
        pools = join_pools(state, child, program)
        _begin(state, submitted, program, pools)


def _repeated(run: Run, node: str) -> dict[str, Any]:
    """Which execution a launch plan's call takes over from: the one that this call was earlier."""
    was = run.source.nodes.get(node) if run.source is not None else None
    if was is None or was.child is None:
        return {"rerun_of": "", "reuse": Reuse.NOTHING}
    return {"rerun_of": was.child}


def _start_gates(state: State, run: Run) -> None:
    gates, run.execution.gates = run.execution.gates, []
    for name in gates:
        node = run.execution.nodes[name]
        answer = gate_answer(run, node, state.reader)
        if answer is not None and not node.ended:
            state.record(run, GateOpened(name, answer[0], by=f"taken over from {run.source.id if run.source else ''}"))
            continue
        if node.ended:
            continue
        if node.spec.gate is not GateKind.SLEEP:
            if node.spec.overrides.timeout is not None:
                timeout_ms = int(node.spec.overrides.timeout * 1000)
                state.wait_until(run, name, gating.began(run, node, state) + timeout_ms)
            continue
        try:
            seconds = _seconds(run, node)
        except (ValueFault, KeyError, TypeError, ValueError) as fault:
            failure = Failure(Cause.INPUT, "InputError", f"sleep {name}: {fault}", where=node.spec.line)
            _fail_node(state, run, node, failure)
            continue
        state.wait_until(run, name, gating.began(run, node, state) + int(seconds * 1000))


def _seconds(run: Run, node: NodeRun) -> float:
    value = run.execution.input_of(node, "duration")
    obj = unpack(value)
    if isinstance(obj, (int, float)):
        return float(obj)
    kind, text = unpack(obj.data)
    if kind != "timedelta":
        raise ValueError(f"a duration is a number of seconds or a timedelta, not a {kind}")
    return float(text) / 1e6


def _cancel_nodes(state: State, run: Run) -> None:
    cancelled, run.execution.cancelled = run.execution.cancelled, []
    reason = run.execution.cancel.reason if run.execution.cancel else "another call of the execution failed"
    for name in dict.fromkeys(cancelled):
        node = run.execution.nodes[name]
        pool = state.pool_of(run, name)
        if node.child is not None:
            child = state.runs.get(node.child)
            if child is not None:
                cancel(state, child, "hub", reason)
        elif pool is not None:
            pool.dequeue(run.id, name)
            for replica in pool.replicas.values():
                if (run.id, name) in replica.held:
                    state.do(SendCancel(replica.id, run.id, name, (), reason))


# Cancelling, gates, ends ----------------------------------------------------------------------------------------------


def on_cancel_wanted(state: State, event: CancelWanted) -> None:
    """A person (or a client that was interrupted) wants an execution to end."""
    run = state.runs.get(event.execution)
    if run is not None:
        cancel(state, run, event.by, event.reason)
    state.tell(Reply(event.request, event.execution))


def cancel(state: State, run: Run, by: str, reason: str, timed_out: bool = False) -> None:
    """End an execution: what waits is dropped, what runs is cancelled."""
    if run.execution.cancel is None and run.execution.ended is None:
        state.record(run, CancelRequested(by, reason, timed_out))
        advance(state, run)


def on_gate_answered(state: State, event: GateAnswered) -> None:
    """A person answered a gate."""
    run = state.runs.get(event.execution)
    node = run.execution.nodes.get(event.node) if run is not None else None
    if run is None or node is None or not gating.waits(node):
        refusal = Refusal("unknown_gate", gating.why_not(event.execution, event.node, node))
        state.tell(Reply(event.request, error=refusal))
        return
    why = gating.misfit(run, node, event)
    if why is not None:
        state.tell(Reply(event.request, error=Refusal("invalid", f"{event.execution}/{event.node} {why}")))
        return
    run.due.pop(node.id, None)
    state.record(run, GateOpened(event.node, gating.value_of(run, node, event), event.approved, event.by))
    state.tell(Reply(event.request, event.execution))
    advance(state, run)


def on_due(state: State, run: Run) -> None:
    """A time that the execution waits for has come: a delay before an attempt, a sleep, its deadline."""
    now = state.now.wall_ms
    for name in [name for name, due in run.due.items() if due <= now]:
        del run.due[name]
        if name == "#deadline":
            cancel(state, run, "hub", "its deadline has passed", timed_out=True)
            continue
        if name.startswith(queueing.MARK):
            late = name.removeprefix(queueing.MARK)
            failure = queueing.overdue(state, run, late)
            if failure is not None:
                _fail_node(state, run, run.execution.nodes[late], failure)
            continue
        node = run.execution.nodes[name]
        if node.spec.kind is NodeKind.GATE and node.spec.gate is not GateKind.SLEEP:
            state.record(run, NodeEnded(name, Outcome.FAILED, gating.timed_out(node).to_wire()))
        elif node.spec.kind is NodeKind.GATE:
            state.record(run, GateOpened(name, NIL))
        elif node.items is not None and node.items.wake(now):
            run.execution.started.append(name)
        elif node.items is not None and (due := node.items.waiting_until()) is not None:
            state.wait_until(run, name, due)
    if not run.due:
        state.timed.pop(run.id, None)
    if run.id in state.runs:
        advance(state, run)


def notice(state: State, run: Run, text: str, node: str | None = None) -> None:
    """Tell the person who ran it, once."""
    if text not in run.noticed:
        run.noticed.add(text)
        state.record(run, Noticed(text, node))


def finish(state: State, run: Run) -> None:
    """An execution has ended: its pools forget it, its parent goes on."""
    ended = run.execution.ended
    assert ended is not None
    caching.abandon(state, run)
    del state.runs[run.id]
    state.timed.pop(run.id, None)
    state.by_key.pop(run.execution.submitted.submission.key, None)
    state.turn.ended.append(run)
    plans.ended(state, run.plan, run.id)
    webhooks.tell_of_end(state, run)
    for key in run.pools.values():
        pool = state.pools.get(key)
        if pool is not None:
            pool.drop_wish(run.id)
            pool.forget(run.id)
            state.touch(key)
    state.count("executions_ended")
    state.tell(Ended(run.id))
    state.say("execution ended", execution=run.id, outcome=str(ended.outcome))
    parent = state.runs.get(run.parent[0]) if run.parent else None
    if parent is not None and run.parent is not None:
        node = parent.execution.nodes[run.parent[1]]
        values = list(ended.outputs.values())
        outputs = dict(zip(node.spec.outputs, values, strict=False))
        outcome = ended.outcome if ended.outcome is not Outcome.TIMED_OUT else Outcome.FAILED
        state.record(parent, NodeEnded(node.id, outcome, ended.failure, outputs=outputs))
        advance(state, parent)
