"""The hub's machine: events in, facts and commands out.

No time, no randomness, no I/O: the same events always lead to the same turn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from greenroom_hub.core import plans, registering, submissions, webhooks
from greenroom_hub.core.caching import key_of
from greenroom_hub.core.commands import LookAgain
from greenroom_hub.core.events import (
    Adopted,
    CancelWanted,
    Draining,
    Event,
    GateAnswered,
    Heard,
    LaunchFailed,
    LinkLost,
    LookedAgain,
    LookedUp,
    Moment,
    NoticeSettled,
    PlanChecked,
    PlanStopped,
    PlanWanted,
    PrewarmWanted,
    Registered,
    ReplicaConnected,
    ReplicaExited,
    ResultsCame,
    Submitted,
    Tick,
    Unsendable,
)
from greenroom_hub.core.placement import look_soon, schedule
from greenroom_hub.core.prewarming import on_prewarm_wanted
from greenroom_hub.core.results import on_heard, on_results, on_unsendable
from greenroom_hub.core.scaling import may_retire, retire_idle, scale
from greenroom_hub.core.sessions import (
    admit_waiting,
    give_up_expected,
    on_adopted,
    on_connected,
    on_deadline,
    on_exited,
    on_launch_failed,
    on_link_lost,
)
from greenroom_hub.core.state import State, Turn


class Machine:
    """The one door to the state: nothing else changes it."""

    def __init__(self, state: State) -> None:
        self.state = state

    def apply(self, events: Iterable[Event], now: Moment) -> Turn:
        """One turn: all events that came together, and what follows from them."""
        state = self.state
        state.now, state.turn = now, Turn()
        for event in events:
            _HANDLERS[type(event)](state, event)
        if state.lobby:
            admit_waiting(state)
        if state.look_at_plans:
            state.look_at_plans = False
            plans.look_at_plans(state)
        _look_at_pools(state)
        _look_again(state)
        return state.turn

    def next_due(self) -> int | None:
        """When the machine wants a `Tick`, monotonic milliseconds; None if nothing is waited for."""
        state = self.state
        times = [state.expected_until] if state.expected else []
        times += [one.deadline_ms for one in state.replicas.values() if one.deadline_ms is not None]
        for pool in state.pools.values():
            if pool.idle_since_ms is not None and may_retire(pool):
                times.append(pool.idle_since_ms + int(pool.ttl(state.settings.ttl_s) * 1000))
            single = pool.scaledown_ttl
            if single is not None and len(pool.alive()) > max(1, pool.minimum):
                idle = [one for name in pool.idle if not (one := pool.replicas[name]).external]
                times.extend(one.used_ms + int(single * 1000) for one in idle)
            if pool.retry_ms > state.now.mono_ms:
                times.append(pool.retry_ms)
            if pool.waits or look_soon(state, pool):
                times.append(state.now.mono_ms + 100)
        ahead = state.now.mono_ms - state.now.wall_ms
        times.extend(due + ahead for run in state.timed.values() for due in run.due.values())
        look = plans.next_look(state)
        if look is not None:
            times.append(look + ahead)
        return min(times, default=None)


def _on_tick(state: State, event: Tick) -> None:
    now = state.now.mono_ms
    for replica in list(state.replicas.values()):
        if replica.deadline_ms is not None and replica.deadline_ms <= now:
            on_deadline(state, replica)
    if state.expected and state.expected_until <= now:
        give_up_expected(state)
    for run in list(state.timed.values()):
        if run.due and min(run.due.values()) <= state.now.wall_ms:
            submissions.on_due(state, run)
    plans.look_at_plans(state)
    for key, pool in list(state.pools.items()):
        retire_idle(state, pool)
        if pool.queue or pool.waits or pool.idle:
            state.touch(key)
        if not pool.replicas and not pool.wishes and not pool.queue and pool.gone_ms + 3_600_000 < now:
            state.pools.pop(key)
            state.touched.pop(key, None)


def _on_draining(state: State, event: Draining) -> None:
    state.draining = True


def _look_at_pools(state: State) -> None:
    """Place and scale, until nothing more follows (a node that fails for want of a replica may end an execution)."""
    while state.touched:
        key, replicas = state.touched.popitem()
        pool = state.pools.get(key)
        if pool is not None:
            schedule(state, pool, replicas)
            scale(state, pool)


def _look_again(state: State) -> None:
    """Calls whose leader has ended look for its outputs, once those are on disk."""
    calls = []
    for execution, name, item in state.again:
        run = state.runs.get(execution)
        node = run.execution.nodes.get(name) if run is not None else None
        if run is not None and node is not None and not node.ended:
            calls.append((execution, name, item, key_of(run, node, item)))
    state.again = []
    if calls:
        state.tell(LookAgain(tuple(calls)))


_HANDLERS: Final[dict[type[Any], Callable[[State, Any], None]]] = {
    Submitted: submissions.on_submitted,
    CancelWanted: submissions.on_cancel_wanted,
    PrewarmWanted: on_prewarm_wanted,
    GateAnswered: submissions.on_gate_answered,
    Registered: registering.on_registered,
    PlanWanted: plans.on_plan_wanted,
    PlanStopped: plans.on_plan_stopped,
    PlanChecked: plans.on_plan_checked,
    NoticeSettled: webhooks.on_settled,
    ReplicaConnected: on_connected,
    LinkLost: on_link_lost,
    ResultsCame: on_results,
    Heard: on_heard,
    ReplicaExited: on_exited,
    LaunchFailed: on_launch_failed,
    LookedUp: submissions.on_looked_up,
    LookedAgain: submissions.on_looked_again,
    Unsendable: on_unsendable,
    Adopted: on_adopted,
    Draining: _on_draining,
    Tick: _on_tick,
}
