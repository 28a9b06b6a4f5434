"""What webhooks are told: due as a fact together with what it tells of, and gone once it was delivered or given up."""

from __future__ import annotations

import hashlib
from typing import Any

from greenroom_core.entities import Webhook
from greenroom_hub.core.catalog import Version
from greenroom_hub.core.commands import Notify
from greenroom_hub.core.events import NoticeSettled
from greenroom_hub.core.plan_facts import NoticeDue, notice_stream
from greenroom_hub.core.run import Run
from greenroom_hub.core.state import State


def tell_of_end(state: State, run: Run) -> None:
    """An execution has ended: whoever wanted to hear of it is told."""
    ended, submission = run.execution.ended, run.execution.submitted.submission
    if ended is None or not submission.webhooks or run.parent is not None:
        return
    registered = submission.registered
    told: dict[str, Any] = {
        "execution": run.id,
        "entity": run.execution.program.entity,
        "project": run.execution.program.project,
        "launch_plan": registered.name if registered is not None else None,
        "version": registered.version if registered is not None else None,
        "scheduled_at": submission.nominal_ms / 1000 if submission.nominal_ms is not None else None,
        "outcome": str(ended.outcome),
        "submitted_at": run.submitted_ms / 1000,
        "seconds": ended.seconds,
        "failure": _shown(ended.failure),
        "failed_node": ended.node,
        "by": submission.by,
        "labels": dict(submission.labels),
    }
    for hook in submission.webhooks:
        if str(ended.outcome) in hook.outcomes:
            _tell(state, hook, run.id, told)


def tell_of_no_start(state: State, version: Version, nominal_ms: int, why: str) -> None:
    """A launch plan could not be run for one time of its schedule."""
    registration = version.registration
    told: dict[str, Any] = {
        "execution": None,
        "entity": registration.name,
        "project": version.project,
        "launch_plan": registration.name,
        "version": registration.version,
        "scheduled_at": nominal_ms / 1000,
        "outcome": "failed",
        "failure": {"type": "NotStarted", "message": why},
    }
    for hook in registration.webhooks:
        if "failed" in hook.outcomes:
            _tell(state, hook, f"{version.reference}@{nominal_ms}", told)


def _shown(failure: Any) -> dict[str, Any] | None:
    if failure is None:
        return None
    return {name: failure[name] for name in ("type", "message", "cause", "where") if failure.get(name) is not None}


def _tell(state: State, hook: Webhook, about: str, told: dict[str, Any]) -> None:
    id = hashlib.sha256(f"{about} {hook.url}".encode()).hexdigest()[:20]
    if id in state.notices:
        return
    due = NoticeDue(id, hook.url, str(told.get("execution") or ""), {"id": id, **told}, state.now.wall_ms)
    state.notices[id] = due
    state.record_hub(notice_stream(id), due)
    state.tell(Notify(id, due.url, due.told, due.at_ms))


def tell_again(state: State) -> None:
    """After a restart: what was not delivered is told again, perhaps for the second time."""
    for due in state.notices.values():
        state.tell(Notify(due.id, due.url, due.told, due.at_ms))


def on_settled(state: State, event: NoticeSettled) -> None:
    """A webhook was told, or given up: nothing of it is kept."""
    due = state.notices.pop(event.id, None)
    if due is None:
        return
    state.drop(notice_stream(event.id))
    state.count("webhooks_given_up" if event.problem else "webhooks_told")
    if event.problem:
        state.say("webhook given up", webhook=event.id, execution=due.execution, why=event.problem)
