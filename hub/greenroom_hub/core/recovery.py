"""After a restart: the log is folded into the state that it was written from."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from greenroom_core.execution import Execution
from greenroom_core.facts import CallsFinished, ExecutionSubmitted, Fact
from greenroom_core.mapping import DELAYED
from greenroom_core.program import Program
from greenroom_hub.core import plans, webhooks
from greenroom_hub.core.artifacts import key_of
from greenroom_hub.core.catalog import Version
from greenroom_hub.core.events import Moment
from greenroom_hub.core.hub_facts import HUB_FACTS, HUB_STREAM, HubFact, HubStarted, PoolDefined
from greenroom_hub.core.plan_facts import ArtifactKept, EntityRegistered, NoticeDue
from greenroom_hub.core.pool import Pool
from greenroom_hub.core.pools import join_pools
from greenroom_hub.core.reuse import source_of
from greenroom_hub.core.run import Run
from greenroom_hub.core.state import Recorded, State, Turn
from greenroom_hub.core.submissions import advance


def fold(state: State, rows: Iterable[Recorded], programs: Callable[[str], Program]) -> None:
    """Fold the rows of all live streams, in the order of the log."""
    for row in rows:
        fact = row.fact
        if isinstance(fact, HUB_FACTS):
            state.seqs[row.stream] = row.seq
            _fold_hub_fact(state, fact, row.at_ms)
        else:
            _fold_fact(state, row, fact, programs)


def _fold_hub_fact(state: State, fact: HubFact, at_ms: int) -> None:
    if isinstance(fact, PoolDefined):
        _fold_pool(state, fact)
    elif isinstance(fact, EntityRegistered):
        state.catalog.add(Version(fact.project, fact.registration, at_ms, fact.sealed))
    elif isinstance(fact, ArtifactKept):
        state.artifacts[key_of(fact.project, fact.name, fact.partitions)] = fact
    elif isinstance(fact, NoticeDue):
        state.notices[fact.id] = fact
    elif not isinstance(fact, HubStarted):
        key = fact.project, fact.name
        state.plans.setdefault(key, plans.Plan(*key)).apply(fact, at_ms)


def _fold_pool(state: State, fact: PoolDefined) -> None:
    pool = state.pools.get(fact.key)
    if pool is None:
        pool = Pool(fact.key, fact.project, fact.environment, fact.interpreter, fact.asks, fact.slots)
        state.pools[fact.key] = pool
    pool.environment, pool.last_wish = fact.environment, fact.wish


def _fold_fact(state: State, row: Recorded, fact: Fact, programs: Callable[[str], Program]) -> None:
    if isinstance(fact, ExecutionSubmitted):
        program = programs(fact.submission.program)
        state.programs[fact.submission.program] = program
        execution = Execution(fact, program, state.reader)
        if fact.submission.key and fact.parent is None:
            state.by_key[fact.submission.key] = row.stream
        state.runs[row.stream] = Run(execution, row.at_ms, 0, parent=fact.parent)
    run = state.runs.get(row.stream)
    if run is None:
        return
    run.seq = row.seq
    run.execution.apply(fact, row.position, row.at_ms)
    if isinstance(fact, CallsFinished):
        key = (fact.replica, fact.generation)
        state.recorded[key] = max(state.recorded.get(key, 0), fact.seq)


def begin(state: State, now: Moment, version: str) -> Turn:
    """The first turn after a restart: what the crash cut off is recorded, what is open waits for its pools."""
    state.now, state.turn = now, Turn()
    state.record_hub(HUB_STREAM, HubStarted(state.epoch, version))
    for run in list(state.runs.values()):
        if run.id not in state.runs:
            continue
        run.submitted_mono = now.mono_ms - max(0, now.wall_ms - run.submitted_ms)
        try:
            run.source = source_of(state, run.execution.submitted.submission)
            run.pools = join_pools(state, run.id, run.execution.program, run.execution.environments)
            _rearm(state, run)
            advance(state, run)
        except Exception as fault:  # A fault of ours about one execution must not keep the hub from starting.
            _set_aside(state, run, fault)
    for plan in state.plans.values():
        plan.running = plans.running_of(state, plan)
    webhooks.tell_again(state)
    plans.look_at_plans(state)
    state.touched.clear()
    state.adopting = True
    return state.turn


def _set_aside(state: State, run: Run, fault: Exception) -> None:
    """An execution that this version cannot go on with stays in the log, for the next one."""
    state.runs.pop(run.id, None)
    state.timed.pop(run.id, None)
    for key in run.pools.values():
        if key in state.pools:
            state.pools[key].forget(run.id)
            state.pools[key].drop_wish(run.id)
    state.say("execution set aside: a fault of the hub", execution=run.id, fault=f"{type(fault).__name__}: {fault}")


def _rearm(state: State, run: Run) -> None:
    execution = run.execution
    execution.started = [
        node.id for node in execution.nodes.values() if node.items is not None and not node.ended and node.items.open
    ]
    execution.cancelled.clear()
    deadline = execution.submitted.submission.deadline
    if deadline is not None:
        state.wait_until(run, "#deadline", run.submitted_ms + int(deadline * 1000))
    for name in execution.started:
        items = execution.nodes[name].items
        if items is not None and DELAYED in items.states:
            state.wait_until(run, name, items.waiting_until() or state.now.wall_ms)
    if execution.submitted.parent is not None:
        run.parent = execution.submitted.parent
