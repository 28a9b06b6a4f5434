"""How many replicas a pool should have: growing at once, giving way when the machine is full, going when unused."""

from __future__ import annotations

from typing import Final

from greenroom_core.failure import Cause, Failure
from greenroom_hub.core.commands import SendDrain, StartReplica, StopReplica
from greenroom_hub.core.pool import Pool
from greenroom_hub.core.pools import EXTERNAL, launcher_of, one_call_each
from greenroom_hub.core.replica import Replica, ReplicaState
from greenroom_hub.core.state import State
from greenroom_hub.core.submissions import fail_waiting, notice

_BESIDE_MS: Final = 2_000
"""What a start may take longer for each other one beside it."""

_AFTER_GIVING_UP_MS: Final = 10_000
"""Pause before replicas that are kept warm are tried again; who submits anew does not wait for it."""


def scale(state: State, pool: Pool) -> None:
    """Start what the pool lacks; note when it fell idle."""
    if pool.replaces or pool.successor:
        _hand_over(state, pool)
    if len(pool.replicas) >= pool.limit and pool.idle_since_ms is None and len(pool.idle) < len(pool.replicas):
        return  # As large as it may be, and at work.
    demand = _demand(state, pool)
    _note_idleness(state, pool, demand + sum(len(one.lent) for one in pool.replicas.values()))
    if state.draining or state.awaits_replicas:
        return  # Who is expected back counts, and may have the number that a new one would get.
    width = max(1, pool.slots)
    want = max(min(pool.limit, -(-demand // width)), pool.minimum)
    lacking = want - len(pool.alive())
    if lacking <= 0:
        pool.waits = ""
        return
    _call_joined(state, pool)
    if launcher_of(state, pool.environment) == EXTERNAL:
        _wait_for(state, pool, "" if pool.alive() else _join_words(pool))
        return
    if pool.failures >= state.settings.launch_tries and not pool.ready():
        _give_up(state, pool)
        return
    if pool.retry_ms > state.now.mono_ms:
        _wait_for(state, pool, f"its replicas fail to start ({pool.failure_text}); next try soon")
        return
    for _ in range(lacking):
        if not _start(state, pool):
            break


def _demand(state: State, pool: Pool) -> int:
    """Calls that wait or run, each execution's counted up to what its own definition may occupy."""
    waiting = 0
    for execution, name in pool.sources():
        run = state.runs.get(execution)
        node = run.execution.nodes.get(name) if run is not None else None
        if node is not None and node.items is not None and not node.ended:
            waiting += node.items.room
    return waiting + pool.in_flight()


def _note_idleness(state: State, pool: Pool, demand: int) -> None:
    if demand:
        pool.idle_since_ms = None
    elif pool.idle_since_ms is None:
        pool.idle_since_ms = state.now.mono_ms


def _wait_for(state: State, pool: Pool, why: str) -> None:
    """Note why a pool has fewer replicas than it wants; empty for no reason."""
    if why and not pool.waits:
        pool.waits_since_ms = state.now.mono_ms
    pool.waits = why


def _join_words(pool: Pool) -> str:
    return f"waits for a replica to join it: greenroom replica join --environment {pool.environment.name}"


def _call_joined(state: State, pool: Pool) -> None:
    """Have a replica that joined by hand, and idles with another definition of the environment, join this one."""
    for other in state.pools.values():
        if other is pool or other.environment.name != pool.environment.name or other.queue:
            continue
        for one in other.replicas.values():
            fits = str(one.facts.get("project") or "") in ("", pool.project)
            if one.external and fits and one.state is ReplicaState.READY and one.rests:
                drain(state, one, f"{pool.environment.name} has work under another definition")
                return


def _hand_over(state: State, pool: Pool) -> None:
    """Replicas of an environment's earlier definition leave once one of the newer definition's can work."""
    if pool.ready():
        for key in pool.replaces:
            state.touch(key)
    newer = state.pools.get(pool.successor)
    if newer is None or pool.wishes or not newer.ready():
        return
    for one in pool.alive():
        if not one.external and one.rests:
            drain(state, one, f"{pool.environment.name} was defined anew")
    newer.replaces.discard(pool.key)


def _start(state: State, pool: Pool) -> bool:
    """Start one replica; False if the machine has no room for it now."""
    starting = sum(1 for one in state.replicas.values() if one.state is ReplicaState.STARTING)
    if starting >= state.settings.most_starting:
        state.paced[pool.key] = None
        _wait_for(state, pool, f"starts its replicas when others have: {starting} are starting")
        return False
    lacking = state.ledger.lacking(pool.asks)
    if lacking is not None:
        _make_way(state, pool, lacking)
        _wait_for(state, pool, f"needs {lacking}{_in_use_by(state, pool, lacking)}")
        return False
    pool.waits = ""
    state.starts += 1
    index = pool.free_index()
    generation = (state.epoch << 20) + state.starts
    replica = Replica(f"{pool.key}-r{index + 1}", pool.key, index, generation, pool.slots)
    replica.once = one_call_each(state, pool.environment)
    replica.launched_ms = state.now.mono_ms
    replica.deadline_ms = state.now.mono_ms + state.settings.launch_ms + starting * _BESIDE_MS
    pool.replicas[replica.id] = state.replicas[replica.id] = replica
    gpus = state.ledger.take(replica.id, pool.asks)
    state.do(
        StartReplica(
            replica.id,
            generation,
            index,
            pool.environment,
            pool.interpreter,
            pool.project,
            pool.slots,
            pool.asks.cpu or max(1.0, state.ledger.capacity.cpu // max(1, pool.limit)),
            _cache_memory(state, pool),
            gpus,
            launcher_of(state, pool.environment),
        )
    )
    _tell_gone(state, pool)
    return True


def _cache_memory(state: State, pool: Pool) -> int | None:
    """Bytes that a replica's actor cache may use."""
    environment = pool.environment
    if environment.cache_memory is not None:
        return environment.cache_memory
    if pool.asks.memory:
        return pool.asks.memory * 3 // 4
    shared = state.settings.cache_memory
    return None if shared is None else shared // max(1, pool.limit)


def _tell_gone(state: State, pool: Pool) -> None:
    """A cold start that a time to live caused is said to who waits for it."""
    if pool.gone:
        for execution, _ in pool.sources():
            run = state.runs.get(execution)
            if run is not None:
                notice(state, run, f"{pool.environment.name} was gone ({pool.gone})")
        pool.gone = ""


def _in_use_by(state: State, pool: Pool, lacking: str) -> str:
    names: list[str] = []
    for holder in state.ledger.holders(lacking):
        replica = state.replicas.get(holder)
        if replica is not None:
            names.extend(execution for execution, _ in replica.held)
    users = ", ".join(list(dict.fromkeys(names))[:3])
    return f", in use by {users}" if users else ", in use by replicas that are leaving"


def _make_way(state: State, pool: Pool, lacking: str) -> None:
    """Let the idle replica go whose reload costs least per second of idleness, for a pool that has work."""
    if any(one.state is ReplicaState.DRAINING and one.rests for one in state.replicas.values()):
        return  # One is leaving already; look again when it has gone.
    idle = [
        one for name in state.ledger.holders(lacking) if (one := state.replicas.get(name)) and _may_go(state, pool, one)
    ]
    if idle:
        going = min(idle, key=lambda one: (one.pool not in pool.replaces, _reload_rate(state, one)))
        drain(state, going, f"gives way to {pool.environment.name}")


def _may_go(state: State, pool: Pool, one: Replica) -> bool:
    other = state.pools[one.pool]
    kept = len(other.alive()) <= other.minimum and one.pool not in pool.replaces
    return one.state is ReplicaState.READY and one.rests and other is not pool and not kept


def _reload_rate(state: State, one: Replica) -> float:
    """Seconds that it would take to make it as warm again, per second that it has been idle."""
    cost = one.start_s + sum(entry.load_ms for entry in one.entries.values()) / 1000
    idle = (state.now.mono_ms - one.used_ms) / 1000
    return cost / max(idle, 0.001)


def drain(state: State, one: Replica, why: str) -> None:
    """Have a replica leave when its calls have ended."""
    if one.state in (ReplicaState.DRAINING, ReplicaState.GONE):
        return
    connected = one.state is ReplicaState.READY
    one.state, one.drain_why = ReplicaState.DRAINING, why
    one.deadline_ms = None
    state.pools[one.pool].idle.pop(one.id, None)
    state.say("replica drains", replica=one.id, why=why)
    if connected:
        state.do(SendDrain(one.id, why))
    else:
        state.do(StopReplica(one.id, one.generation, why))


def retire_idle(state: State, pool: Pool) -> None:
    """Let replicas go that their time to live is over for."""
    now = state.now.mono_ms
    ttl = pool.ttl(state.settings.ttl_s)
    if pool.idle_since_ms is not None and now - pool.idle_since_ms >= ttl * 1000:
        own = [one for one in pool.alive() if not one.external]
        going = [one for one in own if one.rests][: max(0, len(own) - pool.minimum)]
        for one in going:
            drain(state, one, f"unused for {ttl:g} s (ttl_seconds)")
        if going:
            pool.gone_ms = now
            pool.gone = f"ttl_seconds={ttl:g}, idle {span((now - pool.idle_since_ms) / 1000)}"
        return
    single = pool.scaledown_ttl
    if single is not None:
        for name in list(pool.idle):
            one = pool.replicas[name]
            overdue = now - one.used_ms >= single * 1000 and not one.external
            if overdue and len(pool.alive()) > max(1, pool.minimum):
                drain(state, one, f"idle for {single:g} s (scaledown_ttl)")


def may_retire(pool: Pool) -> list[Replica]:
    """Replicas that go once the environment's time is over; not those that are kept warm, or leave already."""
    own = [one for one in pool.alive() if not one.external]
    return [one for one in own if one.in_flight == 0][: max(0, len(own) - pool.minimum)]


def span(seconds: float) -> str:
    """`245` as `4 min`."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"


def _give_up(state: State, pool: Pool) -> None:
    """No replica can be started: the waiting calls fail with the launcher's words."""
    text = f"no replica of {pool.environment.name} could be started ({pool.failures} tries): {pool.failure_text}"
    for execution, name in list(pool.sources()):
        run = state.runs.get(execution)
        if run is not None and not run.execution.nodes[name].ended:
            failure = Failure(Cause.INFRASTRUCTURE, "LaunchFailed", text)
            fail_waiting(state, run, run.execution.nodes[name], failure)
    pool.failures = 0
    pool.retry_ms = state.now.mono_ms + _AFTER_GIVING_UP_MS
