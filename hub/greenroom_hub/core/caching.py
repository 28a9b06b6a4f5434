"""Cached results: calls whose outputs an earlier execution has computed already.

The shell computes keys and looks them up (both may touch a million items); the machine decides what that means. With
`serialize`, one of equal concurrent calls runs and the others are set aside until it has ended, whatever becomes of it.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from itertools import accumulate

from greenroom_core.facts import CallsCached
from greenroom_core.mapping import Items
from greenroom_core.noderun import NodeRun
from greenroom_core.program import Cached, CachedResults
from greenroom_hub.core.commands import LookUp
from greenroom_hub.core.events import LookedUp
from greenroom_hub.core.reuse import earlier
from greenroom_hub.core.run import Run
from greenroom_hub.core.state import Kept, State
from greenroom_protocol.calls import Outcomes, Status

KEY = 16
"""Bytes of a key."""

NO_KEY = bytes(KEY)
"""Of a call whose inputs cannot be read: it shares its outputs with no other, and fails where it is sent."""


def cached_wish(node: NodeRun) -> Cached | None:
    """How a node's calls are reused, where its task and its place in the graph want that."""
    if node.task is None or node.spec.overrides.cached is False:
        return None
    return node.task.cached


def look_up(state: State, run: Run, node: NodeRun) -> bool:
    """Ask for a starting node's cached results; whether its calls must wait for the answer."""
    how = run.execution.submitted.submission.cached_results
    wish = cached_wish(node) if how is not CachedResults.OFF else None
    was = earlier(run, node)
    if node.id in run.looked or (wish is None and was is None) or node.items is None or node.inputs is None:
        return node.id in run.looking
    run.looked.add(node.id)
    if wish is not None:
        run.keys[node.id] = bytearray(KEY * node.items.n)
    run.looking[node.id] = node.items.n
    version = node.spec.overrides.cache_version
    hits = how is CachedResults.USE
    assert node.task is not None
    project = run.execution.program.project
    state.do(LookUp(run.id, node.id, project, node.task, wish, version, node.inputs, node.items.n, hits, was))
    return True


def on_looked_up(state: State, event: LookedUp) -> tuple[Run, NodeRun] | None:
    """Keys of some calls of a node, and what of them is known; the node whose calls may be placed now, if so."""
    run = state.runs.get(event.execution)
    node = run.execution.nodes.get(event.node) if run is not None else None
    if run is None or node is None or node.ended or node.items is None:
        return None
    keys = run.keys.get(event.node)
    if keys is not None and event.keys:
        keys[KEY * event.first : KEY * event.first + len(event.keys)] = event.keys
    for source, items, body in event.hits:
        outcomes = _fresh(node.items, Outcomes.unpack(body))
        if outcomes is not None:
            state.record(run, CallsCached(node.id, outcomes.pack() if outcomes.size < len(items) else body, source))
            state.count("calls_cached", outcomes.size)
    wish = cached_wish(node)
    if keys is not None and wish is not None and wish.serialize:
        _set_aside(state, run, node, range(event.first, event.first + event.count))
    run.looking[event.node] -= event.count
    if run.looking[event.node] > 0:
        return None
    del run.looking[event.node]
    return run, node


def _fresh(items: Items, outcomes: Outcomes) -> Outcomes | None:
    """Those of calls that have not ended meanwhile (before a restart); None if all have."""
    stale = frozenset(items.stale(outcomes))
    if not stale:
        return outcomes
    kept = [place for place in range(outcomes.size) if place not in stale]
    if not kept:
        return None
    numbers, attempts, statuses = outcomes.item_list(), outcomes.attempt_list(), outcomes.status_list()
    payloads = [outcomes.payload_of(place) for place in kept]
    return outcomes._replace(
        items=[numbers[place] for place in kept],
        attempts=[attempts[place] for place in kept],
        statuses=bytes(statuses[place] for place in kept),
        ends=array("I", accumulate(map(len, payloads))).tobytes(),
        payload=b"".join(payloads),
        started=bytes(4 * len(kept)),
        durations=bytes(4 * len(kept)),
    )


def _set_aside(state: State, run: Run, node: NodeRun, items: Sequence[int]) -> None:
    """Calls that another one computes already wait for it."""
    assert node.items is not None
    for item in items:
        if node.items.states[item]:
            continue
        key, who = key_of(run, node, item), (run.id, node.id, item)
        if key == NO_KEY:
            continue
        leader = state.computing.setdefault(key, who)
        if leader != who:
            node.items.set_aside(item)
            state.following.setdefault(key, []).append(who)


def key_of(run: Run, node: NodeRun, item: int) -> bytes:
    """The key of one call, once it was looked up."""
    keys = run.keys[node.id]
    return bytes(keys[KEY * item : KEY * (item + 1)])


def keep(state: State, run: Run, node: NodeRun, outcomes: Outcomes, refused: Sequence[int], position: int) -> None:
    """Outputs of calls that have just succeeded are found by later executions."""
    if node.id not in run.keys:
        return
    statuses = outcomes.status_list()
    for place, item in enumerate(outcomes.item_list()):
        if place in refused:
            continue
        key = key_of(run, node, item)
        if statuses[place] == Status.SUCCEEDED and key != NO_KEY:
            state.turn.results.append(Kept(key.hex(), run.id, node.id, item, position))
        if key in state.computing:
            _release(state, key, (run.id, node.id, item))


def _release(state: State, key: bytes, leader: tuple[str, str, int]) -> None:
    """The call that others wait for has ended: they look again, and one of them runs if it failed."""
    if state.computing.get(key) != leader:
        return
    del state.computing[key]
    state.again.extend(state.following.pop(key, ()))


def abandon(state: State, run: Run) -> None:
    """An execution has ended: what others waited for from it is theirs to compute."""
    for node in run.execution.nodes.values():
        wish = cached_wish(node)
        if wish is not None and wish.serialize and node.id in run.keys and node.items is not None:
            for item in range(node.items.n):
                _release(state, key_of(run, node, item), (run.id, node.id, item))
