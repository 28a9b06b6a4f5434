"""Calls that running calls make: their nodes join the execution, and the call hears what they gave.

Who has asked lends its slot: what it waits for may run on its own replica. So a pool of one replica never deadlocks.
"""

from __future__ import annotations

from typing import Final

from greenroom_core import asking
from greenroom_core.facts import AskWaived, CallAsked
from greenroom_core.failure import Cause, Failure
from greenroom_core.values import ValueFault
from greenroom_core.wire import WireFault
from greenroom_hub.core.commands import SendAnswer
from greenroom_hub.core.replica import Replica
from greenroom_hub.core.run import Run
from greenroom_hub.core.state import State
from greenroom_hub.core.submissions import advance
from greenroom_protocol.calls import Status
from greenroom_protocol.frames import Ask, Waive

MOST_LENT: Final = 60
"""Calls of one replica that may wait for calls of theirs: each is a process there."""


def on_asked(state: State, replica: Replica, ask: Ask) -> None:
    """A call calls others; or asks again after a cut, or in another attempt."""
    run = state.runs.get(ask.execution)
    node = run.execution.nodes.get(ask.node) if run is not None else None
    if run is None or node is None or node.items is None or not node.items.runs(ask.item, ask.attempt):
        return  # That attempt was given up, and is being told so.
    if not _lend(state, run, replica, ask):
        _refuse(state, replica, ask, _too_many(replica))
        return
    known = run.execution.asks.find(ask.node, ask.item, ask.key)
    if known is not None and asking.failed_already(run.execution, known) and known.attempt != ask.attempt:
        known = None  # An earlier attempt's call failed: it is made again.
    if known is None:
        try:
            name = asking.name_for(run.execution, node, ask.item, ask.body)
            fact = CallAsked(ask.node, ask.item, ask.attempt, ask.key, name, ask.body)
            asking.read(run.execution, fact)
        except (ValueFault, WireFault) as fault:
            _refuse(state, replica, ask, Failure(Cause.INPUT, "AskError", f"what {ask.node} calls: {fault}"))
            return
        state.record(run, fact)
        known = run.execution.asks.by_name[name]
    run.asking[known.name] = (replica.id, ask)
    if not known.open:
        run.execution.asks.answered.append(known.name)
    advance(state, run)


def on_waived(state: State, replica: Replica, waive: Waive) -> None:
    """A call does not want an answer any more."""
    run = state.runs.get(waive.execution)
    if run is None:
        return
    for name, (_, ask) in list(run.asking.items()):
        if (ask.node, ask.item, ask.attempt, ask.number) == waive[1:]:
            del run.asking[name]
            if run.execution.asks.by_name[name].open:
                state.record(run, AskWaived(name))
                advance(state, run)
            return


def _lend(state: State, run: Run, replica: Replica, ask: Ask) -> bool:
    """Another call may have the slot of the one that asks; False if too many have asked there."""
    key = (ask.execution, ask.node)
    if ask.item not in replica.held.get(key, ()) or (key, ask.item) in replica.lent:
        return True
    if len(replica.lent) >= MOST_LENT:
        return False
    replica.lend(key, ask.item)
    pool = state.pools.get(replica.pool)
    if pool is not None:
        pool.note_idle(replica)
        state.touch(pool.key, replica.id)
    return True


def _refuse(state: State, replica: Replica, ask: Ask, failure: Failure) -> None:
    state.tell(SendAnswer(replica.id, ask, Status.FAILED, failure.pack()))


def _too_many(replica: Replica) -> Failure:
    message = (
        f"{len(replica.lent)} calls of replica {replica.name} wait for calls of theirs, and it bears no more: "
        "call less deeply, or raise replica_count"
    )
    return Failure(Cause.INFRASTRUCTURE, "NestedTooDeeply", message)
