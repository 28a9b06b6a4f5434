"""Replicas' sessions: hello, resume, grace and loss. Who holds what after a cut, a restart, a death."""

from __future__ import annotations

from greenroom_core.facts import CallsLost
from greenroom_core.failure import Cause, Failure
from greenroom_core.mapping import HELD, READY
from greenroom_hub.core.commands import SendCancel, StopReplica, Welcome
from greenroom_hub.core.events import Adopted, LaunchFailed, LinkLost, ReplicaConnected, ReplicaExited
from greenroom_hub.core.joined import environment_of, home_of, tell_other_python, too_small
from greenroom_hub.core.pool import Pool
from greenroom_hub.core.pools import one_call_each
from greenroom_hub.core.prewarming import prewarm
from greenroom_hub.core.replica import Entry, Replica, ReplicaState
from greenroom_hub.core.state import State
from greenroom_hub.core.submissions import advance
from greenroom_protocol.frames import Hello
from greenroom_protocol.version import refusal


def on_adopted(state: State, event: Adopted) -> None:
    """A restarted hub hears which replicas still live; nothing is placed until each has said what it holds."""
    state.adopting = False
    for name, generation in event.replicas:
        replica = state.replicas.get(name)
        if replica is None or replica.generation != generation or replica.awaited:  # Else it was quicker than we.
            state.expected[name] = generation
    state.expected_until = state.now.mono_ms + state.settings.grace_ms
    if not state.expected:
        _all_pools(state)


def give_up_expected(state: State) -> None:
    """Replicas of an earlier hub have not come back in time: what they held runs elsewhere."""
    for name, generation in state.expected.items():
        if name not in state.replicas:  # One that is there only owes results that it announced.
            state.do(StopReplica(name, generation, "it did not come back after the hub's restart"))
    state.expected.clear()
    _all_pools(state)


def on_connected(state: State, event: ReplicaConnected) -> None:
    """A replica says hello: for the first time, after a cut, or to a hub that has been restarted."""
    hello = event.hello
    why = refusal(hello.protocol, "replica") or _unwelcome(state, hello)
    if why is not None:
        state.tell(Welcome(hello.replica, event.link, 0, why))
        state.say("replica refused", replica=hello.replica, why=why)
        return
    replica = state.replicas.get(hello.replica)
    if replica is not None and replica.generation < hello.generation:
        lose(state, replica, "it was started anew")
        replica = None
    if replica is None:
        pool = home_of(state, hello)
        if pool is None:
            state.lobby[hello.replica] = event
            state.say("replica waits for its environment", replica=hello.replica, environment=environment_of(hello))
            return
        replica = _known_from_before(state, hello, pool)
    if replica.state is ReplicaState.STARTING:
        replica.start_s = (state.now.mono_ms - replica.launched_ms) / 1000
        replica.ready_ms = state.now.mono_ms
        replica.used_ms = state.now.mono_ms
    if replica.state is not ReplicaState.DRAINING:
        replica.state = ReplicaState.READY
    replica.link, replica.deadline_ms, replica.facts = event.link, None, hello.facts
    replica.knows.clear()  # A definition may have been on its way when the link broke; saying it twice is harmless.
    _take_entries(state.pools[replica.pool], replica, hello)
    state.tell(Welcome(replica.id, event.link, replica.recorded))
    state.say("replica connected", replica=replica.id, generation=hello.generation, held=len(hello.held))
    replica.awaited = {seq for seq in hello.unacked if seq > replica.recorded}
    _reconcile(state, replica, hello)
    settle_awaited(state, replica)
    _next_may_start(state)
    tell_other_python(state, state.pools[replica.pool], replica)
    prewarm(state, state.pools[replica.pool], replica)
    state.pools[replica.pool].note_idle(replica)
    state.touch(replica.pool, replica.id)


def _unwelcome(state: State, hello: Hello) -> str | None:
    known = state.replicas.get(hello.replica)
    if known is not None and known.generation > hello.generation:
        return f"replica {hello.replica} was replaced: generation {hello.generation}, now {known.generation}"
    if known is None and hello.facts.get("external"):
        return too_small(state, hello)
    if known is None and str(hello.facts.get("pool", "")) not in state.pools:
        return f"no pool {hello.facts.get('pool')!r} is known here; the environment is gone"
    return None


def admit_waiting(state: State) -> None:
    """Welcome those who joined for an environment that nothing had defined."""
    for event in list(state.lobby.values()):
        if home_of(state, event.hello) is not None:
            del state.lobby[event.hello.replica]
            on_connected(state, event)


def _known_from_before(state: State, hello: Hello, pool: Pool) -> Replica:
    """A replica that an earlier hub launched, or that was launched by hand."""
    index = hello.facts.get("index")
    taken = {one.index for one in pool.replicas.values()}
    external = bool(hello.facts.get("external"))
    number = index if isinstance(index, int) and index not in taken and not external else pool.free_index()
    slots = int(hello.facts.get("slots") or 1) if external and pool.environment.regular else pool.slots
    replica = Replica(hello.replica, pool.key, number, hello.generation, slots)
    replica.state, replica.ready_ms = ReplicaState.READY, state.now.mono_ms
    replica.used_ms = state.now.mono_ms
    replica.external = external
    pool.replicas[replica.id] = state.replicas[replica.id] = replica
    if not replica.external:
        told = str(hello.facts.get("gpus") or "")
        state.ledger.take(replica.id, pool.asks, tuple(filter(None, told.split(","))))
    replica.recorded = state.recorded.get((hello.replica, hello.generation), 0)
    replica.once = one_call_each(state, pool.environment) and not external
    replica.spent = replica.once and replica.recorded > 0
    return replica


def _take_entries(pool: Pool, replica: Replica, hello: Hello) -> None:
    pool.drop_entries(replica)
    for told in hello.entries:
        name = (str(told.get("loader", "")), str(told.get("key", "")))
        entry = Entry(
            *name,
            preview=str(told.get("preview") or ""),
            bytes=int(told.get("bytes") or 0),
            gpu_bytes=int(told.get("gpu_bytes") or 0),
            load_ms=float(told.get("load_ms") or 0.0),
            hits=int(told.get("hits") or 0),
            loaded_by=str(told.get("loaded_by") or ""),
            depends=tuple(str(name) for name in told.get("depends") or ()),
        )
        pool.note_entry(replica, entry)


def _reconcile(state: State, replica: Replica, hello: Hello) -> None:
    """Make the hub's picture of what the replica holds the replica's own."""
    told: dict[tuple[str, str], dict[int, int]] = {}
    for execution, node, item, attempt in hello.held:
        told.setdefault((execution, node), {})[item] = attempt
    for key, items in told.items():
        unknown = [item for item, attempt in items.items() if not _claim(state, replica, key, item, attempt)]
        if unknown:
            why = "superseded: another attempt counts"
            state.do(SendCancel(replica.id, *key, tuple(unknown), why))
    for key in list(replica.held):
        missing = replica.held[key] - told.get(key, {}).keys()
        if missing:
            replica.missing.setdefault(key, set()).update(missing)


def _claim(state: State, replica: Replica, key: tuple[str, str], item: int, attempt: int) -> bool:
    """Whether the replica may go on with a call that it says it holds; then it counts as held there."""
    run = state.runs.get(key[0])
    node = run.execution.nodes.get(key[1]) if run is not None else None
    if run is None or node is None or node.items is None or not 0 <= item < node.items.n:
        return False
    if node.items.attempts[item] != attempt or node.ended:
        return False
    if item in replica.held.get(key, ()):
        return True
    if node.items.states[item] != READY:
        return False
    node.items.hold(item)
    replica.place(key, (item,), state.now.wall_ms * 1000, ((1, "held since before the hub's restart"),))
    run.note(replica.pool, replica.id, 1)
    return True


def settle_awaited(state: State, replica: Replica) -> None:
    """Once announced results have come: calls that the replica neither holds nor has answered never reached it.

    After a restart of the hub, what it has not said yet might be what would be placed: only then is it not expected.
    """
    if replica.awaited:
        return
    if state.expected.pop(replica.id, None) is not None and not state.expected:
        _all_pools(state)
    if not replica.missing:
        return
    missing, replica.missing = replica.missing, {}
    for key, items in missing.items():
        gone = sorted(items & replica.held.get(key, set()))
        freed = replica.release(key, gone)
        replica.placements(key, freed)
        run = state.runs.get(key[0])
        if run is None:
            continue
        run.note(replica.pool, replica.id, -freed)
        node = run.execution.nodes[key[1]]
        if node.items is not None and gone:
            node.items.give_back(gone)
            state.pools[replica.pool].enqueue(*key)
            run.execution.look_at(node.id)
            advance(state, run)


# Leaving --------------------------------------------------------------------------------------------------------------


def on_link_lost(state: State, event: LinkLost) -> None:
    """A connection is gone: the replica has the grace to come back."""
    waiting = state.lobby.get(event.replica)
    if waiting is not None and waiting.link == event.link:
        del state.lobby[event.replica]
    replica = state.replicas.get(event.replica)
    if replica is None or replica.link != event.link or replica.state is ReplicaState.GONE:
        return
    state.say("replica disconnected", replica=replica.id, why=event.reason, grace_ms=state.settings.grace_ms)
    replica.link = 0
    if replica.state is not ReplicaState.DRAINING:
        replica.state = ReplicaState.DISCONNECTED
    replica.deadline_ms = state.now.mono_ms + state.settings.grace_ms
    state.pools[replica.pool].note_idle(replica)


def on_exited(state: State, event: ReplicaExited) -> None:
    """A replica's process or container has ended: what it held is lost at once."""
    replica = state.replicas.get(event.replica)
    if state.expected.get(event.replica) == event.generation:
        del state.expected[event.replica]
        if not state.expected:
            _all_pools(state)
    if replica is not None and replica.generation == event.generation:
        starting = replica.state is ReplicaState.STARTING
        if starting:
            _launch_failed(state, replica, f"its process ended before it connected: {event.reason}")
        lose(state, replica, event.reason)


def on_launch_failed(state: State, event: LaunchFailed) -> None:
    """A launcher could not start a replica."""
    replica = state.replicas.get(event.replica)
    if replica is not None and replica.generation == event.generation:
        _launch_failed(state, replica, event.reason, event.final)
        lose(state, replica, event.reason)


def _next_may_start(state: State) -> None:
    """One replica less is starting."""
    paced, state.paced = state.paced, {}
    for key in paced:
        state.touch(key)


def _launch_failed(state: State, replica: Replica, reason: str, final: bool = False) -> None:
    pool = state.pools[replica.pool]
    if replica.external:
        return  # Nobody here launched it, nor will.
    if final:
        pool.failures = state.settings.launch_tries
    elif replica.launched_ms >= pool.failed_ms:
        pool.failures += 1
    pool.failed_ms = state.now.mono_ms
    pool.failure_text = reason
    if pool.failures > 1:  # Once may be chance; from then on it is tried less and less often.
        pool.retry_ms = state.now.mono_ms + min(10_000, 50 * 2**pool.failures)
    state.say("replica failed to start", replica=replica.id, why=reason, failures=pool.failures)


def on_bye(state: State, replica: Replica, reason: str) -> None:
    """A replica leaves on purpose."""
    lose(state, replica, reason or "it left")


def lose(state: State, replica: Replica, reason: str) -> None:
    """A replica is gone for good: its calls go back to their nodes, one attempt later."""
    pool = state.pools[replica.pool]
    if not replica.calls and replica.state in (ReplicaState.READY, ReplicaState.DISCONNECTED):
        _launch_failed(state, replica, reason)  # It came, and went before it had finished a single call.
    replica.state, replica.link = ReplicaState.GONE, 0
    pool.drop_entries(replica)
    for name in [name for name, loading in pool.loading.items() if loading.replica == replica.id]:
        del pool.loading[name]
    pool.replicas.pop(replica.id, None)
    pool.idle.pop(replica.id, None)
    state.replicas.pop(replica.id, None)
    state.ledger.give_back(replica.id)
    state.say("replica gone", replica=replica.id, why=reason, held=replica.in_flight)
    for (execution, node), items in replica.forget_calls():
        _give_up(state, replica, execution, node, items, reason)
    for other in state.pools:
        state.touch(other)  # What it was promised is free for any of them.


def _give_up(state: State, replica: Replica, execution: str, node: str, items: list[int], reason: str) -> None:
    run = state.runs.get(execution)
    if run is None:
        return
    if replica.pool in run.usage:
        run.usage[replica.pool].pop(replica.id, None)
    target = run.execution.nodes[node].items
    if target is None:
        return
    held = [item for item in items if target.states[item] == HELD]
    attempts = tuple(target.attempts[item] for item in held)
    why = Failure(Cause.LOST, "ReplicaLost", f"replica {replica.id} was lost: {reason}")
    fact = CallsLost(node, tuple(held), attempts, replica.id, True, why.to_wire())
    state.count("calls_lost", len(held))
    if held:
        state.record(run, fact)
        advance(state, run)


def on_deadline(state: State, replica: Replica) -> None:
    """A replica did not start, or did not come back, in time."""
    if replica.state is ReplicaState.STARTING:
        reason = f"it did not connect within {(state.now.mono_ms - replica.launched_ms) / 1000:.0f} s of its launch"
        _launch_failed(state, replica, reason)
    else:
        reason = f"it was without a connection for {state.settings.grace_ms / 1000:g} s"
    state.do(StopReplica(replica.id, replica.generation, reason))
    lose(state, replica, reason)


def _all_pools(state: State) -> None:
    for key, pool in state.pools.items():
        for name in pool.replicas:
            state.touch(key, name)
        state.touch(key)
