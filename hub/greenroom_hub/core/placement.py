"""Which replica a call goes to, and how many go with it.

Idle replicas first, all of them before any is sent work ahead; then deeper only where calls were measured to be short.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from greenroom_core.noderun import NodeRun
from greenroom_hub.core.commands import SendCalls, SendRevoke
from greenroom_hub.core.definitions import define, wanted_of
from greenroom_hub.core.pool import Pool
from greenroom_hub.core.replica import Replica
from greenroom_hub.core.run import Run
from greenroom_hub.core.state import State
from greenroom_hub.core.timing import DEEPEST, LONG_US, SHORT_US, Timing


def schedule(state: State, pool: Pool, touched: Iterable[str]) -> None:
    """Place what waits in a pool on the replicas that have room.

    Args:
        state: The machine's.
        pool: Where to look.
        touched: Replicas whose load has changed in this turn; others are looked at only when they are idle.
    """
    if state.expected or state.draining:
        return
    candidates = [state.replicas[name] for name in touched if name in state.replicas]
    progress = True
    while progress and pool.queue:
        progress = False
        for execution, node in pool.sources():
            run = state.runs.get(execution)
            if run is None or not _place_some(state, pool, run, run.execution.nodes[node], candidates):
                continue
            progress = True
            pool.turn(execution)
            break
    if not pool.queue and pool.idle:
        _call_back(state, pool)


def _place_some(state: State, pool: Pool, run: Run, node: NodeRun, candidates: list[Replica]) -> bool:
    """Place one batch of a node; whether one was."""
    if node.items is None or node.ended or node.items.room <= 0:
        pool.dequeue(run.id, node.id)
        return False
    timing = state.timing(pool.key, node.task.name if node.task else "")
    for replica in _choices(state, pool, run, candidates):
        count = _room_of(state, pool, run, node, replica, timing)
        if count > 0:
            return _send(state, pool, run, node, replica, count)
    return False


def _choices(state: State, pool: Pool, run: Run, candidates: list[Replica]) -> Iterator[Replica]:
    """Replicas that a call of `run` may go to, the best first."""
    most = run_limit(pool, run)
    usage = run.usage.get(pool.key, Counter())
    full = len(usage) >= most
    for name in reversed(pool.idle):
        if not full or name in usage:
            yield state.replicas[name]
    for replica in candidates:
        if replica.takes_calls and replica.in_flight and (not full or replica.id in usage):
            yield replica


def run_limit(pool: Pool, run: Run) -> int:
    """Replicas of a pool that one execution may use: what its own definition says."""
    wish = pool.wishes.get(run.id)
    return wish.count if wish is not None else pool.limit


def _room_of(state: State, pool: Pool, run: Run, node: NodeRun, replica: Replica, timing: Timing) -> int:
    """Calls of a node to send to a replica now; 0 for none."""
    assert node.items is not None
    width = max(1, replica.slots)
    load = _load(state, pool, replica)
    if timing.short:
        ahead = state.settings.ahead_us * width
        if load.us * 2 > ahead:
            return 0  # Topped up from half on: fewer, fuller frames.
        own = len(replica.held.get((run.id, node.id), ()))
        ramp = min(replica.ramp.get((run.id, node.id), width), DEEPEST * width)
        allowed = min(max(width, int((ahead - load.us) / max(timing.mean_us, 1.0))), ramp - own)
    else:
        allowed = timing.beside(width) - load.calls
    room = node.items.room
    share = -(-room // max(1, pool.ready()))  # What is left is spread over all, so that they end together.
    return min(allowed, max(share, width), room)


class _Load(NamedTuple):
    """What a replica has before it."""

    us: float
    """Microseconds of work, by what was measured; calls that nobody measured count as long."""
    calls: int
    """Calls, many short ones counting as one."""


def _load(state: State, pool: Pool, replica: Replica) -> _Load:
    us = calls = 0.0
    for (execution, name), held in replica.held.items():
        run = state.runs.get(execution)
        task = run.execution.nodes[name].task if run is not None else None
        timing = state.timing(pool.key, task.name if task is not None else "")
        mean = timing.mean_us if timing.count else LONG_US
        us += len(held) * mean
        calls += len(held) * min(1.0, mean / SHORT_US)
    return _Load(us, int(calls))


def _send(state: State, pool: Pool, run: Run, node: NodeRun, replica: Replica, count: int) -> bool:
    assert node.items is not None
    assert node.inputs is not None
    items = node.items.take(count)
    taken = len(items)
    if not taken:
        pool.dequeue(run.id, node.id)
        return False
    wanted = wanted_of(run, node)
    if wanted not in replica.knows:
        replica.knows.add(wanted)
        state.do(define(run, node, replica.id))
    first = items[0]
    numbers = [node.items.attempts[item] for item in items] if node.items.trouble else node.items.attempts[first]
    idle = replica.in_flight == 0
    replica.place((run.id, node.id), items, taken, state.now.wall_ms * 1000, "idle" if idle else "next in its queue")
    run.note(pool.key, replica.id, taken)
    pool.note_idle(replica)
    pool.idle_since_ms = None
    state.do(
        SendCalls(
            replica.id,
            wanted,
            run.id,
            node.id,
            items,
            numbers,
            node.inputs.single,
            node.inputs.lists,
            {"name": run.execution.program.entity, "project": run.execution.program.project},
            run.needs.get(node.id, 0),
        )
    )
    if node.items.room <= 0:
        pool.dequeue(run.id, node.id)
    return True


def _call_back(state: State, pool: Pool) -> None:
    """Replicas are idle and nothing waits: calls queued behind a slow one elsewhere come back."""
    now = state.now.mono_ms
    for replica in pool.replicas.values():
        if not replica.takes_calls or replica.in_flight <= replica.slots or now - replica.revoked_ms < 100:
            continue
        if now - replica.used_ms < 50:
            continue  # It still delivers.
        replica.revoked_ms = now
        for (execution, node), held in replica.held.items():
            if len(held) > 1 or len(replica.held) > 1:
                state.do(SendRevoke(replica.id, execution, node, ()))


def stealable(state: State, pool: Pool) -> bool:
    """Whether idle replicas could take over calls that wait behind a slow one: worth another look soon."""
    return bool(pool.idle) and any(one.takes_calls and one.in_flight > one.slots for one in pool.replicas.values())


def deepen(replica: Replica, key: tuple[str, str], mean_us: float) -> None:
    """A result has come: the replica's queue for this node may be twice as deep, if its calls are short."""
    width = max(1, replica.slots)
    now = replica.ramp.get(key, width)
    replica.ramp[key] = min(now * 2, 1 << 16) if mean_us < SHORT_US * 20 else width
