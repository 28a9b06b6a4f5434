"""Facts as events for people: JSON objects, as `docs/api.md` lists them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from greenroom_core import facts as f
from greenroom_core.execution import Execution
from greenroom_core.failure import Failure
from greenroom_core.graph import NodeKind
from greenroom_core.show import preview
from greenroom_protocol.calls import Outcomes, Status

_FEW = 64
"""Items that an event lists one by one; of more it tells the first and how many."""


def event_of(fact: f.Fact, seq: int, at_ms: int, execution: Execution | None) -> dict[str, Any]:
    """One fact as an event.

    Args:
        fact: As the log has it.
        seq: Its place in the execution's stream: the cursor.
        at_ms: When, wall clock.
        execution: For names that the fact leaves out; None if it cannot be had.
    """
    event: dict[str, Any] = {"seq": seq, "at": at_ms / 1000, "kind": fact.KIND.name.lower()}
    if fact.KIND in _NAMES:
        event["kind"] = _NAMES[fact.KIND]
    event.update(_TELL[type(fact)](fact, execution))
    return event


def failure_of(wire: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """A failure for people: without the pickle."""
    if wire is None:
        return None
    return {key: item for key, item in wire.items() if key != "pickle"}


def _submitted(fact: f.ExecutionSubmitted, execution: Execution | None) -> dict[str, Any]:
    told = fact.submission
    return {
        "id": fact.execution,
        "entity": execution.program.entity if execution else "",
        "by": told.by,
        "inputs": {name: preview(value) for name, value in told.inputs.items()},
        "program": told.program,
        "notes": list(fact.notes),
        "parent": "/".join(fact.parent) if fact.parent else None,
        "labels": dict(told.labels),
    }


def _node_started(fact: f.NodeStarted, execution: Execution | None) -> dict[str, Any]:
    node = execution.nodes.get(fact.node) if execution else None
    task = node.task if node else None
    return {
        "node": fact.node,
        "what": str(node.spec.kind) if node else "task",
        "total": fact.total,
        "environment": execution.environments[task.environment].name if execution and task else None,
        "task": task.name if task else None,
        "attempts": task.retry.times + 1 if task else None,
    }


def _calls_started(fact: f.CallsStarted, execution: Execution | None) -> dict[str, Any]:
    return {"node": fact.node, "items": list(fact.items), "replica": fact.replica, "started": fact.started_us / 1e6}


def _which(outcomes: Outcomes) -> dict[str, Any]:
    if isinstance(outcomes.items, int):
        return {"first": outcomes.items}
    return {"items": list(outcomes.items)} if outcomes.size <= _FEW else {"first": outcomes.items[0]}


def _calls_finished(fact: f.CallsFinished, execution: Execution | None) -> dict[str, Any]:
    outcomes = fact.outcomes
    statuses = outcomes.status_list()
    durations = memoryview(outcomes.durations).cast("I")
    event = {
        "node": fact.node,
        "replica": fact.replica,
        **_which(outcomes),
        "count": outcomes.size - len(fact.refused),
        "succeeded": statuses.count(Status.SUCCEEDED),
        "failed": statuses.count(Status.FAILED),
        "cancelled": statuses.count(Status.CANCELLED),
        "started": (outcomes.base_us + min(memoryview(outcomes.started).cast("I"))) / 1e6,
        "duration_ms": sum(durations) / len(durations) / 1000,
        "why": fact.placed[0][2] if fact.placed else "",
        "placed": fact.placed[0][1] / 1e6 if fact.placed else None,
        "cache": [_cache(told) for told in outcomes.cache],
    }
    if fact.refused:
        event["refused"] = len(fact.refused)
    warnings = [
        {"item": item, "text": text}
        for position, item in _notable(outcomes)
        for text in outcomes.extras[position].get("warnings", ())
    ]
    if warnings:
        event["warnings"] = warnings
    leaks = [extra["leaks"] for extra in outcomes.extras.values() if extra.get("leaks")]
    if leaks:
        event["leaks"] = leaks
    reports = [item for position, item in _notable(outcomes) if outcomes.extras[position].get("deck")]
    if reports:
        event["reports"] = reports[:_FEW]
    if event["failed"]:
        event["failures"] = list(_failures(outcomes, fact.refused))
    return event


_CACHE_FIELDS = ("loader", "key", "preview", "hits", "misses", "waits", "load_ms", "bytes", "changed")


def _cache(told: Mapping[str, Any]) -> dict[str, Any]:
    return {name: told[name] for name in _CACHE_FIELDS if name in told}


def _notable(outcomes: Outcomes) -> Iterator[tuple[int, int]]:
    items = outcomes.item_list()
    for position in outcomes.extras:
        yield position, items[position]


def _failures(outcomes: Outcomes, refused: tuple[int, ...]) -> Iterator[dict[str, Any]]:
    statuses, attempts = outcomes.status_list(), outcomes.attempt_list()
    durations = memoryview(outcomes.durations).cast("I")
    shown = 0
    for position, item in enumerate(outcomes.item_list()):
        if statuses[position] != Status.FAILED or position in refused:
            continue
        failure = Failure.unpack(outcomes.payload_of(position))
        told = {
            "item": item,
            "attempt": attempts[position],
            "duration_ms": durations[position] / 1000,
            **(failure_of(failure.to_wire()) or {}),
        }
        extra = outcomes.extras.get(position, {})
        if extra.get("last_output"):
            told["last_output"] = extra["last_output"]
        if shown >= 3:
            told.pop("traceback", None)  # The same kind of failure, most often; the log has them all.
        shown += 1
        yield told


def _calls_lost(fact: f.CallsLost, execution: Execution | None) -> dict[str, Any]:
    return {
        "node": fact.node,
        "items": list(fact.items[:_FEW]),
        "count": len(fact.items),
        "replica": fact.replica,
        "charged": fact.charged,
        "reason": Failure.from_wire(fact.reason).message,
    }


def _calls_cached(fact: f.CallsCached, execution: Execution | None) -> dict[str, Any]:
    failed = fact.outcomes.size - fact.outcomes.status_list().count(Status.SUCCEEDED)
    told = {"node": fact.node, **_which(fact.outcomes), "count": fact.outcomes.size, "from": fact.source}
    return {**told, "failed": failed} if failed else told


def _branch_chosen(fact: f.BranchChosen, execution: Execution | None) -> dict[str, Any]:
    return {"node": fact.node, "case": fact.case}


def _child_started(fact: f.ChildStarted, execution: Execution | None) -> dict[str, Any]:
    return {"node": fact.node, "execution": fact.execution}


def _asked(fact: f.CallAsked, execution: Execution | None) -> dict[str, Any]:
    return {"node": fact.node, "item": fact.item, "attempt": fact.attempt, "name": fact.name}


def _waived(fact: f.AskWaived, execution: Execution | None) -> dict[str, Any]:
    return {"name": fact.name}


def _gate_opened(fact: f.GateOpened, execution: Execution | None) -> dict[str, Any]:
    return {"node": fact.node, "approved": fact.approved, "by": fact.by}


def _node_ended(fact: f.NodeEnded, execution: Execution | None) -> dict[str, Any]:
    event: dict[str, Any] = {"node": fact.node, "outcome": str(fact.outcome)}
    node = execution.nodes.get(fact.node) if execution else None
    if node is not None and node.items is not None:
        event.update(succeeded=node.items.succeeded, failed=node.items.failed)
        if node.kinds and node.spec.kind is NodeKind.MAP:
            event["kinds"] = dict(node.kinds.most_common(8))
    if fact.failure is not None:
        event["failure"] = failure_of(fact.failure)
    if fact.item is not None:
        event["item"] = fact.item
    return event


def _cancel_requested(fact: f.CancelRequested, execution: Execution | None) -> dict[str, Any]:
    return {"by": fact.by, "reason": fact.reason, "timed_out": fact.timed_out}


def _noticed(fact: f.Noticed, execution: Execution | None) -> dict[str, Any]:
    return {"node": fact.node, "text": fact.text}


def _ended(fact: f.ExecutionEnded, execution: Execution | None) -> dict[str, Any]:
    return {
        "outcome": str(fact.outcome),
        "failure": failure_of(fact.failure),
        "failed_node": fact.node,
        "failed_item": fact.item,
        "outputs": {name: preview(value) for name, value in fact.outputs.items()},
        "saved": dict(fact.saved),
        "saved_s": round(sum(fact.saved.values()), 3),
        "seconds": fact.seconds,
    }


_NAMES: Final = {
    f.FactKind.SUBMITTED: "execution_submitted",
    f.FactKind.CANCEL_REQUESTED: "execution_cancelled",
    f.FactKind.NOTICED: "notice",
    f.FactKind.ASKED: "calls_asked",
    f.FactKind.WAIVED: "calls_waived",
    f.FactKind.ENDED: "execution_ended",
}

_TELL: Final[dict[type[Any], Callable[[Any, Execution | None], dict[str, Any]]]] = {
    f.ExecutionSubmitted: _submitted,
    f.NodeStarted: _node_started,
    f.CallsStarted: _calls_started,
    f.CallsFinished: _calls_finished,
    f.CallsLost: _calls_lost,
    f.CallsCached: _calls_cached,
    f.BranchChosen: _branch_chosen,
    f.ChildStarted: _child_started,
    f.GateOpened: _gate_opened,
    f.CallAsked: _asked,
    f.AskWaived: _waived,
    f.NodeEnded: _node_ended,
    f.CancelRequested: _cancel_requested,
    f.Noticed: _noticed,
    f.ExecutionEnded: _ended,
}
