"""What replicas say about calls: outcomes, losses, calls given back, telemetry of the actor cache."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from greenroom_core.facts import CallsFinished, CallsLost, CallsStarted
from greenroom_core.failure import Cause, Failure
from greenroom_core.mapping import HELD
from greenroom_core.noderun import NodeRun, inputs_of_call
from greenroom_hub.core import queueing
from greenroom_hub.core.asking import on_asked, on_waived
from greenroom_hub.core.caching import keep
from greenroom_hub.core.commands import Ack
from greenroom_hub.core.events import Heard, ResultsCame, Unsendable
from greenroom_hub.core.placement import deepen
from greenroom_hub.core.pool import Pool
from greenroom_hub.core.replica import Entry, Replica
from greenroom_hub.core.run import Run
from greenroom_hub.core.scaling import drain
from greenroom_hub.core.sessions import on_bye, settle_awaited
from greenroom_hub.core.state import State
from greenroom_hub.core.submissions import advance, enqueue, fail_waiting
from greenroom_protocol.calls import Outcomes
from greenroom_protocol.frames import Ask, Bye, Cache, Lost, Returned, Started, Stats, Waive


def on_results(state: State, event: ResultsCame) -> None:
    """A batch of outcomes: recorded once, whatever was sent twice; late ones of superseded attempts are refused."""
    replica = state.replicas.get(event.replica)
    if replica is None or replica.link != event.link:
        return  # An older connection's; the replica sends it again on its newest.
    result, outcomes = event.result, event.outcomes
    replica.awaited.discard(result.seq)
    state.tell(Ack(replica.id, result.seq))
    if result.seq <= replica.recorded:
        state.count("results_repeated")
    else:
        replica.recorded = result.seq
        run = state.runs.get(result.execution)
        node = run.execution.nodes.get(result.node) if run is not None else None
        if run is None or node is None or node.items is None:
            state.count("results_late", outcomes.size)
            replica.release((result.execution, result.node), outcomes.item_list())
        else:
            _record(state, run, node, replica, event)
    settle_awaited(state, replica)
    _after_load_change(state, replica)


def _record(state: State, run: Run, node: NodeRun, replica: Replica, event: ResultsCame) -> None:
    assert node.items is not None
    outcomes, key = event.outcomes, (run.id, node.id)
    refused = node.items.stale(outcomes)
    if refused:
        state.count("results_refused", len(refused))
        state.say("late results refused", execution=run.id, node=node.id, replica=replica.id, calls=len(refused))
    freed = replica.release(key, outcomes.item_list())
    run.note(replica.pool, replica.id, -freed)
    queueing.note(state, run, node.id)
    replica.used_ms = state.now.mono_ms
    replica.calls += outcomes.size
    state.pools[replica.pool].failures = 0
    placed = replica.placements(key, outcomes.size)
    _learn(state, run, node, replica, outcomes)
    fact = CallsFinished(node.id, replica.id, event.result.body, refused, placed, replica.generation, event.result.seq)
    fact.__dict__["outcomes"] = outcomes  # Decoded at the edge already.
    position = state.record(run, fact)
    keep(state, run, node, outcomes, refused, position)
    state.count("calls_finished", outcomes.size)
    enqueue(state, run, node)
    advance(state, run)


def _learn(state: State, run: Run, node: NodeRun, replica: Replica, outcomes: Outcomes) -> None:
    """What a batch teaches: how long such calls take, what the replica's cache holds, what being warm spared."""
    total = float(sum(memoryview(outcomes.durations).cast("I")))
    loads_us = 0.0
    for told in outcomes.cache:
        loads_us += _note_entry(state, run, replica, told)
        if told.get("misses"):
            _teach(state, run, node, replica, told)
    state.pools[replica.pool].loaded(replica, (run.id, node.id))
    timing = state.timing(replica.pool, node.task.name if node.task else "")
    timing.add(total - loads_us, outcomes.size)
    deepen(replica, (run.id, node.id), timing)
    if replica.id not in run.used:
        run.used.add(replica.id)
        if replica.ready_ms and replica.ready_ms < run.submitted_mono:
            run.saved["starts"] += replica.start_s
    for extra in outcomes.extras.values():
        spared = extra.get("import_spared_ms")
        if isinstance(spared, (int, float)):
            run.saved["imports"] += spared / 1000


def _teach(state: State, run: Run, node: NodeRun, replica: Replica, told: Mapping[str, Any]) -> None:
    """A load tells which of its call's inputs decide about the entry."""
    address = str(told.get("loaded_by") or "").split("/")
    if node.task is None or node.inputs is None or address[:2] != [run.id, node.id]:
        return
    item = int(address[2]) if len(address) > 2 and address[2].isdigit() else 0
    inputs = inputs_of_call(node.inputs, item)
    state.pools[replica.pool].learn(node.task.name, inputs, told)


def _note_entry(state: State, run: Run, replica: Replica, told: Mapping[str, Any]) -> float:
    """Keep one loader's telemetry; microseconds that its loads took in this batch."""
    name = (str(told.get("loader", "")), str(told.get("key", "")))
    mark = (replica.id, *name)
    entry = replica.entries.get(name)
    load_ms = float(told.get("load_ms") or 0.0)
    misses, hits = int(told.get("misses") or 0), int(told.get("hits") or 0)
    pool = state.pools[replica.pool]
    if entry is None:
        entry = Entry(*name)
        pool.note_entry(replica, entry)
    entry.preview = str(told.get("preview") or entry.preview)
    entry.bytes = int(told.get("bytes") or entry.bytes)
    entry.gpu_bytes = int(told.get("gpu_bytes") or entry.gpu_bytes)
    entry.hits += hits
    entry.last_used_ms = state.now.wall_ms
    if misses:
        entry.load_ms = load_ms
        entry.loaded_by = str(told.get("loaded_by") or run.id)
        entry.depends = tuple(str(name) for name in told.get("depends") or ())
        entry.changed = tuple(str(text) for text in told.get("changed") or ())
        _keep_recipe(pool, told)
        run.loaded.add(mark)
    elif hits and mark not in run.loaded and mark not in run.hits:
        run.hits.add(mark)
        run.saved["loads"] += entry.load_ms / 1000
    state.count_cache(
        pool.environment.name,
        hits=hits,
        misses=misses,
        waits=int(told.get("waits") or 0),
        load_seconds=load_ms / 1000 if misses else 0.0,
        evictions=sum(gone[2:] != ["not kept"] for gone in told.get("evicted") or ()),
    )
    for gone in told.get("evicted") or ():
        pool.drop_entry(replica, (str(gone[0]), str(gone[1])), state.now.mono_ms)
    return load_ms * 1000 if misses else 0.0


def _keep_recipe(pool: Pool, told: Mapping[str, Any]) -> None:
    recipe = told.get("recipe")
    if isinstance(recipe, Mapping):
        pool.recipes[str(told.get("loader", "")), str(told.get("key", ""))] = recipe


def _after_load_change(state: State, replica: Replica) -> None:
    if replica.spent and replica.rests:
        drain(state, replica, "it was there for one call")
    pool = state.pools.get(replica.pool)
    if pool is not None:
        pool.note_idle(replica)
        state.touch(pool.key, replica.id)


def on_heard(state: State, event: Heard) -> None:
    """Anything that a replica says beside outcomes."""
    replica = state.replicas.get(event.replica)
    if replica is None or replica.link != event.link:
        return
    message = event.message
    if isinstance(message, Lost):
        _on_lost(state, replica, message)
    elif isinstance(message, Returned):
        _on_returned(state, replica, message)
    elif isinstance(message, Started):
        _on_started(state, replica, message)
    elif isinstance(message, Cache):
        _on_cache(state, replica, message)
    elif isinstance(message, Stats):
        replica.figures = message.figures
    elif isinstance(message, Ask):
        on_asked(state, replica, message)
    elif isinstance(message, Waive):
        on_waived(state, replica, message)
    elif isinstance(message, Bye):
        on_bye(state, replica, message.reason)


def on_unsendable(state: State, event: Unsendable) -> None:
    """Inputs that cannot be read any more: the node fails, instead of waiting for ever."""
    replica, run = state.replicas.get(event.replica), state.runs.get(event.execution)
    key = (event.execution, event.node)
    if replica is not None:
        replica.placements(key, replica.release(key, event.items))
        _after_load_change(state, replica)
    if run is None:
        return
    node = run.execution.nodes[event.node]
    if node.items is not None:
        node.items.give_back(event.items)
    if not node.ended:
        failure = Failure(Cause.INPUT, "InputError", f"the inputs of {event.node} cannot be read: {event.why}")
        fail_waiting(state, run, node, failure)


def _on_lost(state: State, replica: Replica, message: Lost) -> None:
    """Calls whose runner died under them, or beside them."""
    key = (message.execution, message.node)
    freed = replica.release(key, message.items)
    replica.placements(key, freed)
    run = state.runs.get(message.execution)
    node = run.execution.nodes.get(message.node) if run is not None else None
    if run is not None and node is not None and node.items is not None:
        run.note(replica.pool, replica.id, -freed)
        fact = CallsLost(
            node.id, tuple(message.items), tuple(message.attempts), replica.id, message.charged, message.reason
        )
        state.record(run, fact)
        advance(state, run)
    _after_load_change(state, replica)


def _on_returned(state: State, replica: Replica, message: Returned) -> None:
    """Calls that were asked back and had not begun: the same attempt, placed elsewhere."""
    key = (message.execution, message.node)
    held = replica.held.get(key, set())
    items = [item for item in message.items if item in held]
    freed = replica.release(key, items)
    replica.placements(key, freed)
    run = state.runs.get(message.execution)
    node = run.execution.nodes.get(message.node) if run is not None else None
    if run is not None and node is not None and node.items is not None:
        run.note(replica.pool, replica.id, -freed)
        node.items.give_back(items)
        if node.items.room > 0 and not node.ended:
            state.pools[replica.pool].enqueue(run.id, node.id)
        run.execution.look_at(node.id)
        advance(state, run)
    _after_load_change(state, replica)


def _on_started(state: State, replica: Replica, message: Started) -> None:
    run = state.runs.get(message.execution)
    node = run.execution.nodes.get(message.node) if run is not None else None
    if run is None or node is None or node.items is None or not 0 <= message.item < node.items.n:
        return
    if node.items.states[message.item] == HELD and node.items.attempts[message.item] == message.attempt:
        fact = CallsStarted(node.id, (message.item,), (message.attempt,), replica.id, message.started_us)
        state.record(run, fact)


def _on_cache(state: State, replica: Replica, message: Cache) -> None:
    pool = state.pools[replica.pool]
    for told in message.loaded:
        entry = Entry(str(told.get("loader", "")), str(told.get("key", "")))
        pool.note_entry(replica, entry)
        entry.preview = str(told.get("preview") or "")
        entry.bytes = int(told.get("bytes") or 0)
        entry.gpu_bytes = int(told.get("gpu_bytes") or 0)
        entry.load_ms = float(told.get("load_ms") or 0.0)
        entry.loaded_by = str(told.get("loaded_by") or "prewarm")
        entry.last_used_ms = state.now.wall_ms
        entry.depends = tuple(str(name) for name in told.get("depends") or ())
        _keep_recipe(pool, told)
        state.count_cache(pool.environment.name, misses=1, load_seconds=entry.load_ms / 1000)
    if message.gone:
        state.count_cache(pool.environment.name, evictions=len(message.gone))
    for loader, key, *_ in message.gone:
        pool.drop_entry(replica, (loader, key), state.now.mono_ms)
