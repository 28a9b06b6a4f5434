"""Why a call ran where it ran, waited as long as it waited, and found its cache cold: sentences from the log."""

from __future__ import annotations

import time
from collections.abc import Iterator

from greenroom_core.execution import Execution
from greenroom_core.facts import CallsCached, CallsFinished, CallsLost, NodeStarted, unpack_fact
from greenroom_core.mapping import row_and_position
from greenroom_core.noderun import NodeRun
from greenroom_hub.core.state import State
from greenroom_hub.edge.views import waits
from greenroom_hub.store.store import Store

_PAGE = 1000
_NOTABLE_S = 0.001


def why(state: State, store: Store, execution: Execution, node: NodeRun, item: int) -> list[str]:
    """What can be said about one call, the most telling first."""
    if node.items is None:
        told = node.failure.get("message") if node.failure else None
        return [f"{node.id} makes no calls of its own: {told or 'it waits for others'}"]
    row, position = row_and_position(node.items.places[item])
    lines = (
        list(_ended(store, execution, node, item, row, position)) if row else list(_open(state, execution, node, item))
    )
    lines += _losses(store, execution, node, item)
    return lines or ["nothing is known about it yet"]


def _open(state: State, execution: Execution, node: NodeRun, item: int) -> Iterator[str]:
    """Of a call that has not ended."""
    for replica in state.replicas.values():
        if item in replica.held.get((execution.id, node.id), ()):
            batches = replica.batches.get((execution.id, node.id))
            because = batches[-1].why if batches else "it was placed there"
            yield f"waits or runs on {replica.name}: {because}"
            return
    for wait in waits(state, execution.id):
        if wait["node"] == node.id:
            yield f"waits: {wait['why']}"
            return
    if node.items is not None and node.items.held:
        yield f"waits: {node.items.held} calls of {node.id} are under way, {node.items.room} wait beside it"


def _ended(store: Store, execution: Execution, node: NodeRun, item: int, row: int, position: int) -> Iterator[str]:
    stored = store.row(row)
    fact = unpack_fact(stored.kind, stored.data) if stored is not None else None
    if isinstance(fact, CallsCached):
        yield f"was not run: its outputs are those of an equal call in {fact.source}"
    elif isinstance(fact, CallsFinished):
        outcomes = fact.outcomes
        started = (outcomes.base_us + memoryview(outcomes.started).cast("I")[position]) / 1e6
        placed, because = _placement(fact, position)
        yield f"ran on {fact.replica.rsplit('-', 1)[-1]}: {because or 'placed before the hub restarted'}"
        begun = _node_started(store, execution, node)
        if placed and begun and placed - begun > _NOTABLE_S:
            yield f"queued {placed - begun:.2f} s: every replica that it could go to was busy"
        if placed and started - placed > _NOTABLE_S:
            yield f"{(started - placed) * 1000:.1f} ms from its placement to its start: the way there, work before it"
        took = memoryview(outcomes.durations).cast("I")[position] / 1e6
        yield f"ran for {took:.3g} s, from {_clock(started)}"
        for told in outcomes.cache:
            for change in told.get("changed") or ():
                loader = str(told.get("loader", "")).rpartition(":")[2].rpartition(".")[2]
                yield f"cold at {_clock(started)}: {loader} changed: {change}"


def _placement(fact: CallsFinished, position: int) -> tuple[float, str]:
    """When, and why, the call at a position of the batch was placed."""
    for count, placed_us, because in fact.placed:
        if position < count:
            return placed_us / 1e6, because
        position -= count
    return 0.0, ""


def _node_started(store: Store, execution: Execution, node: NodeRun) -> float:
    after = 0
    while rows := store.read(execution.id, after, _PAGE):
        for row in rows:
            if row.kind == NodeStarted.KIND:
                fact = unpack_fact(row.kind, row.data)
                if isinstance(fact, NodeStarted) and fact.node == node.id:
                    return row.at_ms / 1000
        after = rows[-1].seq
    return 0.0


def _losses(store: Store, execution: Execution, node: NodeRun, item: int) -> Iterator[str]:
    if node.items is None or item not in node.items.trouble:
        return
    after = 0
    while rows := store.read(execution.id, after, _PAGE):
        for row in rows:
            fact = unpack_fact(row.kind, row.data) if row.kind == CallsLost.KIND else None
            if isinstance(fact, CallsLost) and fact.node == node.id and item in fact.items:
                attempt = fact.attempts[fact.items.index(item)]
                charge = "" if fact.charged else " (not charged)"
                yield f"attempt {attempt} was lost{charge}: {fact.reason.get('message', '')}"
        after = rows[-1].seq


def _clock(at: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at))
