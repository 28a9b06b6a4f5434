"""The machine's state for people: executions, what they wait for, replicas, the actor cache."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from greenroom_core.execution import Execution
from greenroom_core.graph import GateKind
from greenroom_core.lists import open_list
from greenroom_core.mapping import HELD, row_and_position
from greenroom_core.noderun import NodeRun, NodeState, inputs_of_call
from greenroom_core.show import preview, to_json
from greenroom_core.values import Ext, Value, ValueFault, ext_code, pack_list
from greenroom_hub.core import gates
from greenroom_hub.core.pool import Pool
from greenroom_hub.core.replica import Replica, ReplicaState
from greenroom_hub.core.scaling import span
from greenroom_hub.core.state import State
from greenroom_hub.edge.words import failure_of
from greenroom_hub.store.rows import ExecutionRow

_SHOWN_ITEMS = 100_000
"""Items of a map's output that the JSON form of an execution shows; clients read all of them in chunks."""


def summary(row: ExecutionRow) -> dict[str, Any]:
    """One line of the list of executions."""
    return {
        "id": row.id,
        "entity": row.entity,
        "project": row.project,
        "state": row.state,
        "by": row.by,
        "submitted": row.submitted_ms / 1000,
        "ended": row.ended_ms / 1000 if row.ended_ms is not None else None,
        "parent": row.parent,
    }


def detail(state: State, row: ExecutionRow, execution: Execution) -> dict[str, Any]:
    """One execution, whole."""
    ended = execution.ended
    failed = execution.failure
    return {
        **summary(row),
        "inputs": {name: preview(value) for name, value in execution.inputs.items()},
        "notes": list(execution.submitted.notes),
        "nodes": [node_view(node) for node in execution.nodes.values()],
        "waits": list(waits(state, execution.id)),
        "outputs": {name: shown(execution, value) for name, value in ended.outputs.items()} if ended else None,
        "failure": failure_of(ended.failure) if ended else failure_of(failed.failure) if failed else None,
        "failed_node": ended.node if ended else failed.node if failed else None,
        "failed_item": ended.item if ended else failed.item if failed else None,
        "saved_s": round(sum(ended.saved.values()), 3) if ended else None,
        "saved": dict(ended.saved) if ended else None,
        "seconds": ended.seconds if ended else None,
    }


def shown(execution: Execution, value: Value) -> Any:
    """An output as JSON; a map's results are read through their manifest."""
    if ext_code(value) is not Ext.MANIFEST:
        return to_json(value)
    source = open_list(value, execution.reader)
    part = source.slice(0, min(source.n, _SHOWN_ITEMS))
    items = to_json(pack_list(list(part.items())))
    return items if source.n <= _SHOWN_ITEMS else {"type": "list", "items": items, "length": source.n}


def node_view(node: NodeRun) -> dict[str, Any]:
    """One node's progress."""
    items = node.items
    words = {NodeState.WAITING: "waiting", NodeState.STARTED: "running"}
    view: dict[str, Any] = {
        "id": node.id,
        "what": str(node.spec.kind),
        "task": node.task.name if node.task else None,
        "state": str(node.outcome) if node.outcome is not None else words.get(node.state, "ended"),
        "after": list(node.upstream),
        "child": node.child,
        "failure": failure_of(node.failure),
    }
    if items is not None:
        view.update(
            total=items.n, succeeded=items.succeeded, failed=items.failed, aborted=items.aborted, running=items.held
        )
        if node.kinds:
            view["failures"] = dict(node.kinds.most_common(8))
    return view


# Waiting --------------------------------------------------------------------------------------------------------------


def waits(state: State, execution: str) -> Iterator[dict[str, Any]]:
    """What nodes of a live execution wait for, where it is more than their turn."""
    run = state.runs.get(execution)
    if run is None:
        return
    for name, node in run.execution.nodes.items():
        if gates.waits(node):
            yield {"node": name, "why": _asks(execution, node), "seconds": _since(state, node)}
        if node.ended or node.items is None or node.items.held or not node.items.open:
            continue
        pool = state.pool_of(run, name)
        why = _why(state, pool) if pool is not None else "its environment is gone"
        yield {"node": name, "why": why, "seconds": _waiting_s(state, pool)}


def _asks(execution: str, node: NodeRun) -> str:
    """What somebody can do about a gate."""
    if node.spec.gate is GateKind.APPROVE:
        return f"approval: greenroom approve {execution}/{node.id}"
    return f"input: greenroom set-input {execution}/{node.id} VALUE"


def _since(state: State, node: NodeRun) -> float:
    return max(0.0, (state.now.wall_ms - node.started_ms) / 1000) if node.started_ms else 0.0


def _why(state: State, pool: Pool) -> str:
    name = pool.environment.name
    if pool.waits:
        return f"{name} {pool.waits}"
    if state.expected:
        return f"{len(state.expected)} replicas have not come back after the hub's restart"
    if not pool.ready():
        return f"{name} starts {len(pool.alive())} replicas" if pool.alive() else f"{name} has no replica yet"
    return f"all {pool.ready()} replicas of {name} are busy"


def _waiting_s(state: State, pool: Pool | None) -> float:
    since = pool.waits_since_ms if pool is not None and pool.waits else state.now.mono_ms
    return max(0.0, (state.now.mono_ms - since) / 1000)


def status(state: State, execution: str) -> dict[str, Any] | None:
    """What the feed tells beside facts: an execution's replicas and waits."""
    run = state.runs.get(execution)
    if run is None:
        return None
    replicas = {}
    for key in run.pools.values():
        pool = state.pools.get(key)
        if pool is not None:
            starting = sum(1 for one in pool.replicas.values() if one.state is ReplicaState.STARTING)
            replicas[pool.environment.name] = {"ready": pool.ready(), "starting": starting}
    return {"replicas": replicas, "waits": list(waits(state, execution))}


# Replicas and entries -------------------------------------------------------------------------------------------------


def replicas(state: State) -> list[dict[str, Any]]:
    """Every environment with its replicas, as `greenroom replicas` shows them."""
    return [_pool(state, pool) for pool in state.pools.values() if pool.replicas or pool.queue or pool.waits]


def _pool(state: State, pool: Pool) -> dict[str, Any]:
    return {
        "environment": pool.environment.name,
        "pool": pool.key,
        "project": pool.project,
        "regular": pool.environment.regular,
        "limit": pool.limit,
        "limits_by": {execution: wish.count for execution, wish in pool.wishes.items()},
        "ttl": pool.ttl(state.settings.ttl_s),
        "queued": len(pool.queue),
        "waits": pool.waits or None,
        "replicas": [_replica(state, pool, one) for one in sorted(pool.replicas.values(), key=lambda one: one.index)],
    }


def _replica(state: State, pool: Pool, one: Replica) -> dict[str, Any]:
    return {
        "id": one.id,
        "name": one.name,
        "state": str(one.state),
        "generation": one.generation,
        "now": [f"{execution}/{node}/{min(items)}" for (execution, node), items in list(one.held.items())[:4]],
        "in_flight": one.in_flight,
        "calls": one.calls,
        "rss": one.figures.get("rss"),
        "figures": dict(one.figures),
        "entries": len(one.entries),
        "entry_bytes": sum(entry.bytes for entry in one.entries.values()),
        "ends": _ends(state, pool, one),
        "ends_in_s": _ends_in(state, pool, one),
        "python": one.facts.get("python"),
        "pid": one.facts.get("pid"),
    }


def _ends_in(state: State, pool: Pool, one: Replica) -> float | None:
    if pool.idle_since_ms is None or not one.rests or len(pool.alive()) <= pool.minimum:
        return None
    return max(0.0, pool.ttl(state.settings.ttl_s) - (state.now.mono_ms - pool.idle_since_ms) / 1000)


def _ends(state: State, pool: Pool, one: Replica) -> str | None:
    left = _ends_in(state, pool, one)
    if one.drain_why:
        return one.drain_why
    return None if left is None else f"in {span(left)} (ttl {span(pool.ttl(state.settings.ttl_s))})"


def cache(state: State) -> list[dict[str, Any]]:
    """Entries of the actor cache over all replicas, equal ones together."""
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    for one in state.replicas.values():
        pool = state.pools[one.pool]
        for entry in one.entries.values():
            key = (pool.key, entry.loader, entry.key)
            line = found.setdefault(
                key,
                {
                    "environment": pool.environment.name,
                    "loader": entry.loader,
                    "key": entry.preview,
                    "digest": entry.key,
                    "on": [],
                    "bytes": entry.bytes,
                    "gpu_bytes": entry.gpu_bytes or None,
                    "load_ms": entry.load_ms,
                    "hits": 0,
                    "saved_s": 0.0,
                    "used": 0.0,
                    "loaded_by": entry.loaded_by,
                    "depends": list(entry.depends),
                },
            )
            line["on"].append(one.name)
            line["hits"] += entry.hits
            line["saved_s"] += entry.hits * entry.load_ms / 1000
            line["used"] = max(line["used"], entry.last_used_ms / 1000)
    return list(found.values())


def deck_of(execution: Execution, node: NodeRun, item: int) -> str | None:
    """The blob that holds a call's report; None if it has none."""
    if node.items is None:
        return None
    row, position = row_and_position(node.items.places[item])
    if not row:
        return None
    found = execution.reader.outcomes(row).extras.get(position, {}).get("deck")
    return found if isinstance(found, str) else None


# Calls ----------------------------------------------------------------------------------------------------------------


def call_view(state: State, execution: Execution, node: NodeRun, item: int) -> dict[str, Any]:
    """One call: its inputs, how it stands, how it failed."""
    items = node.items
    if items is None or not 0 <= item < items.n:
        raise ValueFault(f"{execution.id}/{node.id} has no item {item}: it makes {items.n if items else 0} calls")
    words = ("ready", "held", "succeeded", "failed", "aborted", "delayed")
    failure = node.failures.get(item)
    row, position = row_and_position(items.places[item])
    view: dict[str, Any] = {
        "execution": execution.id,
        "node": node.id,
        "item": item,
        "state": words[items.states[item]],
        "attempt": items.attempts[item],
        "row": row or None,
        "position": position if row else None,
        "failure": failure_of(failure.to_wire()) if failure else None,
        "inputs": {
            name: preview(value)
            for name, value in inputs_of_call(node.inputs or execution.inputs_of(node), item).items()
        },
        "on": [one.id for one in state.replicas.values() if item in one.held.get((execution.id, node.id), ())],
    }
    page = f"/api/executions/{execution.id}/nodes/{node.id}/items/{item}/deck"
    view["report"] = page if deck_of(execution, node, item) else None
    if items.states[item] == HELD:
        view["why"] = "it waits or runs on the replica named in `on`"
    return view
