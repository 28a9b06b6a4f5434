"""Which call a replica gets, and how many with it.

Idle replicas first, all of them before any is sent work ahead; then deeper only where calls were measured to be short.
Where calls are known to want entries of the actor cache, a replica gets those whose entries it holds; it loads what it
lacks only where nobody has it, or where waiting for who has it would take longer than loading. The cost model is in
`docs/decisions/0023-placement-by-warmth.md`.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from greenroom_core import asking
from greenroom_core.noderun import NodeRun
from greenroom_hub.core import queueing
from greenroom_hub.core.commands import SendCalls, SendRevoke
from greenroom_hub.core.definitions import define, wanted_of
from greenroom_hub.core.lanes import Lane, NodeLanes
from greenroom_hub.core.loading import holds_words, overdue, worth_loading
from greenroom_hub.core.pool import Pool
from greenroom_hub.core.replica import Loading, Replica
from greenroom_hub.core.room import depth_for, first_ramp, load_of, room_for
from greenroom_hub.core.run import Run
from greenroom_hub.core.state import State
from greenroom_hub.core.timing import SHORT_US, Timing

_LOOKED_AT: Final = 256
"""Executions that one placement looks at: they take turns, so each comes into view."""

MOST_OUTER: Final = 4
"""Calls that wait for calls of theirs, on one replica, from which on it takes only what somebody waits for."""

_UNMEASURED_US: Final = 10_000.0
"""What a call is taken to last, where fairness is concerned, as long as nobody has measured one."""


class Source(NamedTuple):
    """A node that has calls to place."""

    run: Run
    node: NodeRun
    timing: Timing
    lanes: NodeLanes | None
    """Its calls, sorted by what they want; None where they want nothing that is known of."""
    late: bool = False
    """Whether it is time to look for lanes that have waited too long for who is warm."""


class Choice(NamedTuple):
    """What to send."""

    source: Source
    calls: int
    lanes: Sequence[Lane]
    """In whose order they are taken; none where nothing is sorted."""
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
    if state.awaits_replicas or state.draining:
        return
    pool.sharing = 0
    if pool.queue:
        _place(state, pool, touched)
    if not pool.queue and pool.idle:
        _call_back(state, pool)


def _place(state: State, pool: Pool, touched: Iterable[str]) -> None:
    filled = set()
    for name in reversed(list(pool.idle)):  # The most recently used first: the others may age out.
        if not pool.queue:
            return
        filled.add(name)
        _fill(state, pool, state.replicas[name])
    for name in dict.fromkeys((*touched, *pool.replicas)) if pool.slots > 1 else touched:
        if name not in filled and name in state.replicas and pool.queue:
            _fill(state, pool, state.replicas[name])
    if pool.idle and pool.lanes and pool.queue:
        _load_on_idle(state, pool)


def _sources(state: State, pool: Pool, full: Container[str] = ()) -> Iterator[Source]:
    """What waits, in the order of turns, each node's calls sorted where there is something to sort them by.

    Calls of tasks that are `full` are left out: a replica has enough of those.
    """
    for execution, name in pool.queue.sources(_LOOKED_AT):
        run = state.runs.get(execution)
        node = run.execution.nodes[name] if run is not None else None
        if node is not None and node.task is not None and node.task.name in full:
            continue
        if run is None or node is None or node.items is None or node.ended or node.items.room <= 0:
            pool.dequeue(execution, name)
            continue
        assert node.task is not None
        timing = state.timing(pool.key, node.task.name)
        lanes = _lanes_of(state, pool, run, node)
        yield Source(run, node, timing, lanes, lanes is not None and lanes.look_for_late(state.now.mono_ms))


def _lanes_of(state: State, pool: Pool, run: Run, node: NodeRun) -> NodeLanes | None:
    """A node's calls, sorted by what they want; anew when the rules have changed."""
    assert node.task is not None
    if not pool.affinity.version and not node.task.options.get("affinity"):
        return None
    lanes = pool.lanes.get((run.id, node.id))
    if lanes is None or lanes.version != pool.affinity.version:
        if lanes is not None:
            lanes.close()
        lanes = NodeLanes(node, node.task, pool.affinity, pool.holdings, state.now.mono_ms)
        pool.lanes[run.id, node.id] = lanes
    if not lanes.rules:
        return None
    lanes.fill(state.now.mono_ms)
    return lanes


def _fill(state: State, pool: Pool, replica: Replica) -> None:
    """Give a replica work until it has enough."""
    while replica.takes_calls:
        choice = _choose(state, pool, replica)
        if choice is None:
            return
        sent = _send(state, pool, replica, choice)
        _next_turn(pool, choice)
        if choice.load_ms:
            return  # One call loads; the others follow when it is there.
        items = choice.source.node.items
        if sent == choice.calls and items is not None and items.room:
            return  # As many as it may have, not as many as there were.


def _next_turn(pool: Pool, choice: Choice) -> None:
    """Charge an execution for what it got: another one may be next."""
    run, node, timing, *_ = choice.source
    mean_us = timing.mean_us if timing.count else _UNMEASURED_US
    pool.queue.charge(run.id, choice.calls * mean_us + choice.load_ms * 1000, run.priority)
    if node.items is None or node.items.room <= 0:
        pool.dequeue(run.id, node.id)


def _choose(state: State, pool: Pool, replica: Replica) -> Choice | None:
    """What a replica gets next: of the first execution that has something for it."""
    load, full = None, set[str]()
    for source in _sources(state, pool, full):
        run, node, timing, lanes, late = source
        warm = lanes.warm.get(replica.id) if lanes is not None else None
        if lanes is not None and not warm and not late:
            continue
        load = load or load_of(state, pool, replica)
        if depth_for(state, replica, timing, load) <= 0:
            assert node.task is not None
            full.add(node.task.name)  # Whoever waits with it: the replica has enough for such calls.
            continue
        count = room_for(state, pool, run, node, replica, timing, load) if _may_use(pool, run, node, replica) else 0
        if count <= 0:
            continue
        if lanes is None:
            why = "idle" if replica.in_flight == 0 else "next in its queue"
            return Choice(source, count, (), why, 0.0)
        found = overdue(state, lanes, replica) if late else None
        if found is not None:
            return Choice(source, 1, (found.lane,), found.why, found.cost_ms)
        if warm:
            return Choice(source, count, _enough(warm, count), "", 0.0)
    return None


def _enough(warm: Iterable[Lane], count: int) -> list[Lane]:
    """Lanes in which so many calls wait."""
    chosen = []
    for lane in warm:
        chosen.append(lane)
        count -= count if lane.items is None else len(lane.items)
        if count <= 0:
            break
    return chosen


def _may_use(pool: Pool, run: Run, node: NodeRun, replica: Replica) -> bool:
    """Whether an execution may occupy this replica: no more of them than its own definition says."""
    if len(replica.lent) >= MOST_OUTER and asking.of(run.execution, node) is None:
        return False  # Its callers wait: what they wait for comes first.
    usage = run.usage.get(pool.key, ())
    if replica.id in usage:
        return True
    wish = pool.wishes.get(run.id)
    return len(usage) < (wish.count if wish is not None else pool.limit)


def _load_on_idle(state: State, pool: Pool) -> None:
    """Give replicas that nothing warm waits for what is worth a load; who never had to evict has room, and is first."""
    free = sorted((state.replicas[name] for name in reversed(pool.idle)), key=lambda one: one.evicts_ms)
    for source in list(_sources(state, pool)):
        run, node, timing, lanes, _ = source
        while lanes is not None and free and lanes.room > 0:
            allowed = [replica for replica in free if _may_use(pool, run, node, replica)]
            found = worth_loading(state, pool, node, lanes, timing, allowed) if allowed else None
            if found is None:
                break
            choice = Choice(source, 1, (found.lane,), found.why, found.cost_ms)
            free.remove(found.replica)
            _send(state, pool, found.replica, choice)
            _next_turn(pool, choice)


# Sending --------------------------------------------------------------------------------------------------------------


def _send(state: State, pool: Pool, replica: Replica, choice: Choice) -> int:
    """Send what was chosen; how many calls that were."""
    run, node, _, lanes, _ = choice.source
    assert node.items is not None
    assert node.inputs is not None
    if lanes is None:
        items = node.items.take(choice.calls)
        if items:
            replica.place((run.id, node.id), items, state.now.wall_ms * 1000, ((len(items), choice.why),))
    else:
        items = _take(state, pool, replica, choice, lanes)
    if not items:
        return 0
    wanted = wanted_of(run, node)
    if wanted not in replica.knows:
        replica.knows.add(wanted)
        pool.code = define(run, node, replica.id)
        state.do(pool.code)
    numbers = [node.items.attempts[item] for item in items] if node.items.trouble else node.items.attempts[items[0]]
    run.note(pool.key, replica.id, len(items))
    queueing.note(state, run, node.id)
    pool.note_idle(replica)
    pool.idle_since_ms = None
    context: dict[str, Any] = {"name": run.execution.program.entity, "project": run.execution.program.project}
    if node.items.trouble and node.items.any_crashed(items):
        context["alone"] = True  # One of them has killed its process: it is not to take what is warm along again.
    needs = run.needs.get(node.id, 0)
    single, lists = node.inputs.single, node.inputs.lists
    state.do(SendCalls(replica.id, wanted, run.id, node.id, items, numbers, single, lists, context, needs))
    return len(items)


def _take(state: State, pool: Pool, replica: Replica, choice: Choice, lanes: NodeLanes) -> list[int] | range:
    """Calls out of their lanes, each lane's with its own reason."""
    run, node, now_ms = choice.source.run, choice.source.node, state.now.mono_ms
    if choice.load_ms and node.task is not None:
        (lane,) = choice.lanes
        pool.loading[node.task.name, lane.told] = Loading(replica.id, now_ms + choice.load_ms, (run.id, node.id))
    if lanes.asked:
        for lane in choice.lanes:
            pool.mark(replica, lane.keys[0])
    items, counts = lanes.take(choice.lanes, choice.calls, now_ms)
    if items:
        reasons = [(count, choice.why or lane.holds or holds_words(replica, lane)) for lane, count in counts]
        replica.place((run.id, node.id), items, state.now.wall_ms * 1000, reasons)
    return items


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


def deepen(replica: Replica, key: tuple[str, str], timing: Timing) -> None:
    """A result has come: the replica's queue for this node may be twice as deep, if its calls are short."""
    width = max(1, replica.slots)
    now = replica.ramp.get(key) or first_ramp(timing, width)
    replica.ramp[key] = min(now * 2, 1 << 16) if timing.mean_us < SHORT_US * 20 else width
