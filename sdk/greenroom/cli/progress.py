"""What an execution looks like so far: a fold of its events. No clock, no terminal; `report` turns it into text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

Event = Mapping[str, Any]
"""One event of the hub's API, as `docs/api.md` lists them."""

QUIET: Final = frozenset({"branch", "group"})
"""Nodes that only hold others together; nobody waits for them."""

MAX_WARNINGS: Final = 20
"""Different warnings that are kept for the last lines."""


MAX_FATES: Final = 1000
"""Failed calls of a node whose attempts are remembered."""


class NodeView:
    """One node as a person sees it."""

    __slots__ = (
        "attempts",
        "cached",
        "cached_from",
        "cancelled",
        "child",
        "ended",
        "environment",
        "failed",
        "failure",
        "fates",
        "hits",
        "id",
        "kinds",
        "load_ms",
        "loads",
        "outcome",
        "replicas",
        "started",
        "succeeded",
        "total",
        "wait",
        "waited",
        "what",
    )

    def __init__(self, id: str) -> None:
        self.id = id
        self.what = "task"
        self.total = 1
        """Calls that it makes."""
        self.environment = ""
        self.succeeded = self.failed = self.cancelled = self.cached = 0
        self.hits = self.loads = 0
        self.load_ms = 0.0
        """Of all its loads together."""
        self.replicas: set[str] = set()
        self.started: float | None = None
        self.ended: float | None = None
        self.outcome = ""
        self.failure: Mapping[str, Any] | None = None
        self.kinds: Counter[str] = Counter()
        """Failed calls by `TYPE at FILE:LINE`."""
        self.wait = ""
        self.waited = 0.0
        """Seconds that it has waited for that."""
        self.child = ""
        self.cached_from = ""
        self.attempts = 1
        """That each of its calls may have."""
        self.fates: dict[int, tuple[int, float | None]] = {}
        """Of failed calls, the first ones: the attempt, and how many seconds it took."""

    @property
    def done(self) -> int:
        """Calls that have ended."""
        return self.succeeded + self.failed + self.cancelled + self.cached

    @property
    def is_map(self) -> bool:
        """Whether it makes a call for each item of a list."""
        return self.what == "map"

    @property
    def seconds(self) -> float:
        """How long it took, once it has ended."""
        return max(0.0, (self.ended or 0.0) - (self.started if self.started is not None else self.ended or 0.0))


class Progress:
    """All that is known of an execution."""

    def __init__(self, execution: str) -> None:
        self.execution = execution
        self.entity = ""
        self.inputs: Mapping[str, Any] = {}
        self.nodes: dict[str, NodeView] = {}
        self.replicas: Mapping[str, Mapping[str, int]] = {}
        """By environment: how many are `ready`, `starting`."""
        self.seen_status = False
        self.warnings: Counter[tuple[str, str]] = Counter()
        """By (node, text)."""
        self.notices: list[str] = []
        self.cancelled_by = ""
        self.end: Event | None = None
        """The `execution_ended` event, once it has come."""
        self.cursor = 0
        """The last event's number."""

    def fold(self, event: Event) -> None:
        """Take one event; unknown kinds are news from a newer hub, and no harm."""
        if event.get("seq") is not None:
            self.cursor = event["seq"]
        reader = _READERS.get(event.get("kind", ""))
        if reader is not None:
            reader(self, event)

    def node(self, id: str) -> NodeView:
        """The node called so; made if it is new."""
        view = self.nodes.get(id)
        if view is None:
            view = self.nodes[id] = NodeView(id)
        return view

    @property
    def warm(self) -> int:
        """Replicas that stand ready."""
        return sum(counts.get("ready", 0) for counts in self.replicas.values())

    @property
    def running(self) -> list[NodeView]:
        """Nodes that have begun and not ended."""
        return [node for node in self.nodes.values() if not node.outcome and node.what not in QUIET]

    # One reader for each kind of event

    def _submitted(self, event: Event) -> None:
        self.entity = event.get("entity", "")
        self.inputs = event.get("inputs") or {}
        self.notices.extend(event.get("notes") or ())

    def _node_started(self, event: Event) -> None:
        node = self.node(event["node"])
        node.what = event.get("what", "task")
        total = event.get("total")
        node.total = 1 if total is None else total
        node.environment = event.get("environment") or ""
        node.attempts = event.get("attempts") or 1
        node.started = event.get("at")

    def _calls_finished(self, event: Event) -> None:
        node = self.node(event["node"])
        failures = [failure for failure in event.get("failures") or () if not _is_retried(failure, node)]
        retried = len(event.get("failures") or ()) - len(failures)
        node.succeeded += event.get("succeeded", 0)
        node.failed += max(0, event.get("failed", 0) - retried)
        node.cancelled += event.get("cancelled", 0)
        if event.get("replica"):
            node.replicas.add(event["replica"])
        node.wait = ""
        for entry in event.get("cache") or ():
            node.hits += entry.get("hits", 0)
            node.loads += entry.get("misses", 0)
            node.load_ms += entry.get("load_ms") or 0.0
        for failure in failures:
            _note_failure(node, failure)
        for warning in event.get("warnings") or ():
            if len(self.warnings) < MAX_WARNINGS or (node.id, warning["text"]) in self.warnings:
                self.warnings[node.id, warning["text"]] += 1

    def _calls_started(self, event: Event) -> None:
        node = self.node(event["node"])
        if event.get("replica"):
            node.replicas.add(event["replica"])
        node.wait = ""

    def _calls_cached(self, event: Event) -> None:
        node = self.node(event["node"])
        source = event.get("from") or ""
        node.cached_from = source if node.cached_from in ("", source) else "several executions"
        failed = int(event.get("failed") or 0)  # Failures that are final are taken over too.
        node.cached += (event.get("count") or len(event.get("items") or (0,))) - failed
        node.failed += failed

    def _node_ended(self, event: Event) -> None:
        node = self.node(event["node"])
        node.ended, node.outcome = event.get("at"), event.get("outcome", "")
        node.failure, node.wait = event.get("failure"), ""
        if event.get("succeeded") is not None and node.is_map:
            node.succeeded = max(0, event["succeeded"] - node.cached)
            node.failed = event.get("failed", node.failed)
            node.kinds = Counter(event.get("kinds") or node.kinds)

    def _child_started(self, event: Event) -> None:
        self.node(event["node"]).child = event.get("execution", "")

    def _cancelled(self, event: Event) -> None:
        self.cancelled_by = event.get("reason") or event.get("by") or "asked"

    def _notice(self, event: Event) -> None:
        self.notices.append(event.get("text", ""))

    def _status(self, event: Event) -> None:
        self.seen_status = True
        self.replicas = event.get("replicas") or {}
        waits: Iterable[Mapping[str, Any]] = event.get("waits") or ()
        for node in self.nodes.values():
            node.wait = ""
        for wait in waits:
            node = self.node(wait["node"])
            if not node.outcome:
                node.wait, node.waited = wait.get("why", ""), wait.get("seconds") or 0.0

    def _ended(self, event: Event) -> None:
        self.end = event


def _is_retried(failure: Mapping[str, Any], node: NodeView) -> bool:
    """Whether a call that failed is tried again, as far as an event tells; the node's end puts the counts right."""
    return failure.get("attempt", 1) < node.attempts and failure.get("recoverable") is not False


def _note_failure(node: NodeView, failure: Mapping[str, Any]) -> None:
    kind, where = failure.get("type", "Error"), failure.get("where", "")
    node.kinds[f"{kind} at {where}" if where else kind] += 1
    if len(node.fates) < MAX_FATES:
        took = failure.get("duration_ms")
        node.fates[failure.get("item", 0)] = failure.get("attempt", 1), None if took is None else took / 1000


_READERS: Final = {
    "execution_submitted": Progress._submitted,
    "node_started": Progress._node_started,
    "calls_started": Progress._calls_started,
    "calls_finished": Progress._calls_finished,
    "calls_cached": Progress._calls_cached,
    "node_ended": Progress._node_ended,
    "child_started": Progress._child_started,
    "execution_cancelled": Progress._cancelled,
    "notice": Progress._notice,
    "status": Progress._status,
    "execution_ended": Progress._ended,
}
