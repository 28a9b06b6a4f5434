"""Which call a replica gets, and how many with it.

Idle replicas first, all of them before any is sent work ahead; then deeper only where calls were measured to be short.
Where calls are known to want entries of the actor cache, a replica gets those whose entries it holds; it loads what it
lacks only where nobody has it, or where waiting for who has it would take longer than loading. The cost model is in
`docs/decisions/0023-placement-by-warmth.md`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Final, NamedTuple

from greenroom_core import asking
from greenroom_core.noderun import NodeRun
from greenroom_hub.core import queueing
from greenroom_hub.core.affinity import ASKED
from greenroom_hub.core.commands import SendCalls, SendRevoke
from greenroom_hub.core.definitions import define, wanted_of
from greenroom_hub.core.lanes import Lane, NodeLanes
from greenroom_hub.core.pool import Pool
from greenroom_hub.core.replica import Loading, Replica
from greenroom_hub.core.run import Run
from greenroom_hub.core.state import State
from greenroom_hub.core.timing import DEEPEST, LONG_US, SHORT_US, Timing

_LOOKED_AT: Final = 256
"""Nodes that one placement looks at: executions take turns, so each comes into view."""

_PATIENCE_MS: Final = 2_000
"""How long a lane may wait for who is warm, beside four times what its load takes; then anybody may load."""


MOST_OUTER: Final = 4
"""Calls that wait for calls of theirs, on one replica, from which on it takes only what somebody waits for."""


class Choice(NamedTuple):
    """What to send."""

    run: Run
    node: NodeRun
    calls: int
    lane: Lane | None
    lanes: NodeLanes | None
    why: str
    load_ms: float
    """What the replica must load for it."""


def schedule(state: State, pool: Pool, touched: Iterable[str]) -> None:
    """Place what waits in a pool on the replicas that have room.

    Args:
        state: The machine's.
        pool: Where to look.
        touched: Replicas whose load has changed in this turn; others are looked at only when they have a slot free.
    """
    if state.awaits_replicas or state.draining or not pool.queue:
        return
    pool.sharing = 0
    names = dict.fromkeys((*touched, *pool.replicas)) if pool.slots > 1 else touched  # Idle is who holds nothing.
    for name in dict.fromkeys((*reversed(pool.idle), *names)):  # The most recently used first: others may age out.
        replica = state.replicas.get(name)
        if replica is not None and pool.queue:
            _fill(state, pool, replica, cold=False)
    if pool.queue and pool.lanes:
        for replica in sorted(_idle(state, pool), key=lambda one: one.evicts_ms):
            _fill(state, pool, replica, cold=True)
    if not pool.queue and pool.idle:
        _call_back(state, pool)


def _idle(state: State, pool: Pool) -> Iterator[Replica]:
    for name in reversed(list(pool.idle)):  # The most recently used first: the others may age out.
        if not pool.queue:
            return
        yield state.replicas[name]


def _fill(state: State, pool: Pool, replica: Replica, cold: bool) -> None:
    """Give a replica work until it has enough."""
    while pool.queue and replica.takes_calls:
        choice = _choose(state, pool, replica, cold)
        if choice is None or not _send(state, pool, replica, choice):
            return
        if choice.load_ms:
            return  # One call loads; the others follow when it is there.


def _choose(state: State, pool: Pool, replica: Replica, cold: bool) -> Choice | None:
    """The best that a replica can do now."""
    load = _load(state, pool, replica)
    choice, over, full = None, [], set[str]()
    for execution, name in islice(pool.sources(), _LOOKED_AT):
        run = state.runs.get(execution)
        node = run.execution.nodes[name] if run is not None else None
        if node is not None and node.task is not None and node.task.name in full:
            continue
        if run is None or node is None or node.items is None or node.ended or node.items.room <= 0:
            over.append((execution, name))
            continue
        if len(replica.lent) >= MOST_OUTER and asking.of(run.execution, node) is None:
            continue  # Its callers wait: what they wait for comes first.
        usage = run.usage.get(pool.key, ())
        if len(usage) >= run_limit(pool, run) and replica.id not in usage:
            continue
        assert node.task is not None
        if _depth(state, replica, state.timing(pool.key, node.task.name), load) <= 0:
            full.add(node.task.name)  # Whoever waits with it: the replica has enough for such calls.
            continue
        choice = _choose_of(state, pool, replica, run, node, load, cold)
        if choice is not None:
            break
    for execution, name in over:
        pool.dequeue(execution, name)
    return choice


def run_limit(pool: Pool, run: Run) -> int:
    """Replicas of a pool that one execution may use: what its own definition says."""
    wish = pool.wishes.get(run.id)
    return wish.count if wish is not None else pool.limit


class Load(NamedTuple):
    """What a replica has before it."""

    us: float
    """Microseconds of work, by what was measured; calls that nobody measured count as long."""
    calls: int
    """Calls, many short ones counting as one."""
    taken: int
    """Slots that long calls hold: the work before another call is that of the other slots alone."""
    shared_us: float
    """Microseconds of work in those."""


def _load(state: State, pool: Pool, replica: Replica) -> Load:
    us = calls = shared = 0.0
    taken = 0
    for (execution, name), held in replica.held.items():
        run = state.runs.get(execution)
        task = run.execution.nodes[name].task if run is not None else None
        timing = state.timing(pool.key, task.name if task is not None else "")
        mean = timing.mean_us if timing.count else LONG_US
        count = len(held)
        if replica.lent:
            count -= sum(key == (execution, name) for key, _ in replica.lent)
        us += count * mean
        calls += count * min(1.0, mean / SHORT_US)
        if mean >= LONG_US:
            taken += count
        else:
            shared += count * mean
    return Load(us, int(calls), taken, shared)


def _choose_of(
    state: State, pool: Pool, replica: Replica, run: Run, node: NodeRun, load: Load, cold: bool
) -> Choice | None:
    assert node.task is not None
    timing = state.timing(pool.key, node.task.name)
    if not pool.affinity.rules(node.task):
        count = _room_of(state, pool, run, node, replica, timing, load)
        why = "idle" if replica.in_flight == 0 else "next in its queue"
        return Choice(run, node, count, None, None, why, 0.0) if count > 0 else None
    lanes = lanes_of(state, pool, run, node)
    if not cold:
        return _warm_choice(state, pool, replica, run, node, lanes, timing, load)
    return _cold_choice(state, pool, replica, run, node, lanes, timing) if replica.in_flight == 0 else None


def _depth(state: State, replica: Replica, timing: Timing, load: Load) -> int:
    """Calls of a task to send to a replica, by what it has before it alone; none (0 or less) if that is enough."""
    width = max(1, replica.slots)
    if replica.once:
        return 1
    if not timing.short:
        return timing.beside(width) - load.calls
    width -= load.taken
    ahead = state.settings.ahead_us * width
    if width <= 0 or load.shared_us * 2 > ahead:
        return 0  # Topped up from half on: fewer, fuller frames.
    return max(width, int((ahead - load.shared_us) / max(timing.mean_us, 1.0)))


def _room_of(state: State, pool: Pool, run: Run, node: NodeRun, replica: Replica, timing: Timing, load: Load) -> int:
    """Calls of a node to send to a replica now; 0 (or less) for none."""
    assert node.items is not None
    room, width = node.items.room, max(1, replica.slots)
    allowed = _depth(state, replica, timing, load)
    if replica.once:
        return min(allowed, room)
    if timing.short and allowed > 0:
        width -= load.taken
        own = len(replica.held.get((run.id, node.id), ()))
        allowed = min(allowed, min(replica.ramp.get((run.id, node.id), width), DEEPEST * width) - own)
    if room >= allowed * len(pool.replicas):
        return allowed  # Enough for all: nobody needs to be counted.
    if not pool.sharing:
        pool.sharing = max(1, pool.ready())
    share = -(-room // pool.sharing)  # What is left is spread over all, so that they end together.
    return min(allowed, max(share, width), room)


# Going where it is warm -----------------------------------------------------------------------------------------------


def lanes_of(state: State, pool: Pool, run: Run, node: NodeRun) -> NodeLanes:
    """A node's calls, sorted by what they want; anew when the rules have changed."""
    assert node.task is not None
    lanes = pool.lanes.get((run.id, node.id))
    if lanes is None or lanes.version != pool.affinity.version:
        lanes = pool.lanes[run.id, node.id] = NodeLanes(node, node.task, pool.affinity, state.now.mono_ms)
    lanes.fill(state.now.mono_ms)
    return lanes


def _warm_choice(
    state: State,
    pool: Pool,
    replica: Replica,
    run: Run,
    node: NodeRun,
    lanes: NodeLanes,
    timing: Timing,
    load: Load,
) -> Choice | None:
    """Calls whose entries the replica holds."""
    for lane in lanes.lanes.values():
        lanes.refresh(lane)
        if not lanes.waiting(lane) or lane.unknown or lane.missing_ms(replica):
            continue
        room = _room_of(state, pool, run, node, replica, timing, load)
        count = min(room, lanes.waiting(lane))
        if count > 0:
            return Choice(run, node, count, lane, lanes, _holds(replica, lane), 0.0)
        return None
    return None


def _cold_choice(
    state: State, pool: Pool, replica: Replica, run: Run, node: NodeRun, lanes: NodeLanes, timing: Timing
) -> Choice | None:
    """Calls that are worth a load on this replica: nobody has the entry, or who has it takes longer than the load."""
    for lane in lanes.lanes.values():
        waiting = lanes.waiting(lane)
        if not waiting:
            continue
        cost = lane.missing_ms(replica)
        elsewhere = _wait_elsewhere(state, pool, replica, lane, node, waiting, timing)
        overdue = state.now.mono_ms - lane.since_ms > 4 * cost + _PATIENCE_MS
        if elsewhere is None or elsewhere > cost or overdue:
            return Choice(run, node, 1, lane, lanes, _loads(lane, cost, elsewhere, overdue), cost)
    return None


def _wait_elsewhere(
    state: State, pool: Pool, replica: Replica, lane: Lane, node: NodeRun, waiting: int, timing: Timing
) -> float | None:
    """Milliseconds until replicas that hold (or load) what a lane wants would have run it; None if there are none."""
    assert node.task is not None
    mean_ms = (timing.mean_us if timing.count else LONG_US) / 1000
    times = []
    loading = pool.loading.get((node.task.name, lane.told))
    if loading is not None and loading.replica in state.replicas and loading.replica != replica.id:
        times.append(max(0.0, loading.until_ms - state.now.mono_ms))
    for name in _holders(pool, lane):
        other = state.replicas.get(name)
        if other is not None and other is not replica and other.takes_calls:
            times.append(_load(state, pool, other).us / 1000)
    if not times:
        return None
    return min(times) + waiting * mean_ms / len(times)


def _holders(pool: Pool, lane: Lane) -> Iterable[str]:
    """Replicas that hold all that a lane wants."""
    keys = lane.known()
    if lane.unknown or not keys:
        return ()
    found = set(pool.holders.get(keys[0], ()))
    for key in keys[1:]:
        found &= set(pool.holders.get(key, ()))
    return found


def _name(loader: str) -> str:
    return loader.rsplit(":", 1)[-1].rsplit(".", 1)[-1]


def _holds(replica: Replica, lane: Lane) -> str:
    keys = [key for key in lane.known() if key in replica.entries]
    if not keys:
        return "served such calls before (affinity=)"
    names = [f"{_name(key[0])}({replica.entries[key].preview})" for key in keys]
    return f"holds {', '.join(names)}, saves {sum(ms for _, _, ms in lane.wants) / 1000:.2g} s"


def _loads(lane: Lane, cost: float, elsewhere: float | None, overdue: bool) -> str:
    if any(loader == ASKED for loader, _, _ in lane.wants):
        return "first of such calls (affinity=)" if elsewhere is None else "who served such calls is busy (affinity=)"
    names = ", ".join(_name(loader) for loader, _, _ in lane.wants)
    if elsewhere is None:
        return f"loads {names} ({cost / 1000:.2g} s): no replica has it"
    if overdue and elsewhere <= cost:
        return f"loads {names} ({cost / 1000:.2g} s): has waited long enough for who has it"
    return f"loads {names} ({cost / 1000:.2g} s): waiting for who has it takes {elsewhere / 1000:.2g} s"


# Sending --------------------------------------------------------------------------------------------------------------


def _send(state: State, pool: Pool, replica: Replica, choice: Choice) -> bool:
    run, node, lane = choice.run, choice.node, choice.lane
    assert node.items is not None
    assert node.inputs is not None
    if lane is None or choice.lanes is None:
        items = node.items.take(choice.calls)
    else:
        items = choice.lanes.take(lane, choice.calls, state.now.mono_ms)
        for key in lane.known():
            if key[0] == ASKED:
                pool.mark(replica, key)
        if choice.load_ms and node.task is not None:
            until = state.now.mono_ms + choice.load_ms
            pool.loading[node.task.name, lane.told] = Loading(replica.id, until, (run.id, node.id))
    if not items:
        if lane is None:
            pool.dequeue(run.id, node.id)
        return False
    wanted = wanted_of(run, node)
    if wanted not in replica.knows:
        replica.knows.add(wanted)
        state.do(define(run, node, replica.id))
    first = items[0]
    numbers = [node.items.attempts[item] for item in items] if node.items.trouble else node.items.attempts[first]
    replica.place((run.id, node.id), items, len(items), state.now.wall_ms * 1000, choice.why)
    run.note(pool.key, replica.id, len(items))
    queueing.note(state, run, node.id)
    pool.note_idle(replica)
    pool.idle_since_ms = None
    context: dict[str, Any] = {"name": run.execution.program.entity, "project": run.execution.program.project}
    if node.items.trouble and node.items.any_crashed(items):
        context["alone"] = True  # One of them has killed its process: it is not to take what is warm along again.
    inputs, needs = node.inputs, run.needs.get(node.id, 0)
    together = items if isinstance(items, range) else list(items)
    state.do(
        SendCalls(replica.id, wanted, run.id, node.id, together, numbers, inputs.single, inputs.lists, context, needs)
    )
    if node.items.room <= 0:
        pool.dequeue(run.id, node.id)
    pool.turn(run.id)
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


def look_soon(state: State, pool: Pool) -> bool:
    """Whether time alone may change what is placed: idle replicas while calls wait elsewhere, or for who is warm."""
    if not pool.idle:
        return False
    return bool(pool.queue) or any(one.takes_calls and one.in_flight > one.slots for one in pool.replicas.values())


def deepen(replica: Replica, key: tuple[str, str], mean_us: float) -> None:
    """A result has come: the replica's queue for this node may be twice as deep, if its calls are short."""
    width = max(1, replica.slots)
    now = replica.ramp.get(key, width)
    replica.ramp[key] = min(now * 2, 1 << 16) if mean_us < SHORT_US * 20 else width
