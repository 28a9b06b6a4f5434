"""What a person sees of an execution while it runs: which lines, when, on which screen."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from greenroom.cli.progress import QUIET, Event, NodeView, Progress
from greenroom.cli.report import header, last_line, node_line, warning_lines
from greenroom.cli.screen import PlainScreen
from greenroom.cli.tap import Tap
from greenroom.cli.words import many

WAIT_SHOWN: Final = 1.0
"""Seconds of waiting above which the reason is told."""

_FIRST_SIGN: Final = 5.0  # Seconds until a plain screen hears of a map that is still under way; then twice as late.
_LATEST_SIGN: Final = 60.0
_HEADER_DELAY: Final = 0.15  # Seconds that the header waits for the hub to say how many replicas are warm.
_FAILURE_HELD: Final = 0.5  # Seconds in which an execution ends after the failure that ends it.
_NOT_RUN: Final = frozenset({"skipped", "aborted"})
_SHOWN: Final = 12
"""Lines of nodes in a live region; what ends scrolls up and stays."""


class View:
    """Shows one execution on a screen."""

    def __init__(
        self,
        progress: Progress,
        screen: PlainScreen,
        *,
        hub: str,
        url: str,
        call: str,
        clock: Callable[[], float],
    ) -> None:
        self.progress, self._screen, self._clock = progress, screen, clock
        self._place = (hub, url, call)
        self._headed = False
        self._tap = Tap(progress.execution, color=screen.color)
        self._begun = clock()
        self._notices = 0
        self._failed: dict[str, float] = {}
        """Failed nodes whose line is held back, and since when."""
        self._told_waits: set[tuple[str, str]] = set()
        self._signs: dict[str, float] = {}
        self._status_at = self._begun

    def on(self, events: Iterable[Event]) -> None:
        """Take events and show what they change."""
        lines: list[str] = []
        for event in events:
            self.progress.fold(event)
            kind = event.get("kind")
            if kind == "log":
                lines.extend(self._tap.take(event, self._address(event), self._clock()))
            elif kind == "node_ended":
                lines.extend(self._ended(self.progress.node(event["node"])))
            elif kind == "status":
                self._status_at = self._clock()
        lines = self._fresh_notices() + lines
        if lines or self.progress.seen_status:
            lines = self._header() + lines
        self._draw(lines)

    def tick(self) -> None:
        """Show what is due because time has passed."""
        self._draw([])

    def _draw(self, lines: list[str]) -> None:
        now = self._clock()
        lines = lines + self._tap.tick(now) + self._overdue(now)
        if not self._headed and now - self._begun > _HEADER_DELAY:
            lines = self._header() + lines
        running = self.progress.running
        if self._screen.live:
            self._screen.show(lines, self._region(running, now))
        else:
            self._screen.write(lines + self._signs_of(running, now))

    def caught_up(self) -> None:
        """All output from before is told; from now on it comes once."""
        self._tap.caught_up()

    def note(self, text: str) -> None:
        """Show a line of the client's own."""
        self._screen.write([*self._header(), text])

    def _ended(self, node: NodeView) -> list[str]:
        """A node's last line: at once if it succeeded; a failure is told with the execution's, unless that goes on."""
        if node.what in QUIET or node.outcome in _NOT_RUN:
            return []
        if node.outcome == "failed":
            self._failed[node.id] = self._clock()
            return []
        return [node_line(node)]

    def _overdue(self, now: float) -> list[str]:
        """Failures that the execution has survived for a moment."""
        due = [id for id, since in self._failed.items() if now - since > _FAILURE_HELD]
        for id in due:
            del self._failed[id]
        return [node_line(self.progress.nodes[id]) for id in due]

    def _last_nodes(self) -> list[str]:
        """Failures that the end's own report does not tell, and how many nodes never had their turn."""
        end = self.progress.end or {}
        told = end.get("failed_node") if end.get("failure") else None
        lines = [node_line(self.progress.nodes[id]) for id in self._failed if id != told]
        self._failed.clear()
        left = [
            node.id for node in self.progress.nodes.values() if node.outcome == "aborted" and node.what not in QUIET
        ]
        if left:
            names = ", ".join(left[:3]) + (", ..." if len(left) > 3 else "")
            lines.append(f" --  {many(len(left), 'node')} not run: {names}")
        return lines

    def finish(self, more: Iterable[str] = ()) -> None:
        """Show the last lines: what was held back, warnings, `more`, and how it ended."""
        lines = self._header() + self._fresh_notices() + self._tap.finish() + self._last_nodes()
        self._screen.close()
        self._screen.write([*lines, *warning_lines(self.progress), *more, last_line(self.progress)])

    def leave(self, text: str) -> None:
        """Leave an execution that goes on."""
        self._screen.close()
        self._screen.write([*self._header(), *self._tap.finish(), text])

    def _header(self) -> list[str]:
        if self._headed:
            return []
        self._headed = True
        return [header(self.progress, *self._place)]

    def _fresh_notices(self) -> list[str]:
        fresh = self.progress.notices[self._notices :]
        self._notices = len(self.progress.notices)
        return [f"     {text}" for text in fresh]

    def _address(self, event: Event) -> str:
        node = self.progress.node(event["node"])
        return f"{node.id}/{event['item']}" if node.is_map and event.get("item") is not None else node.id

    def _waited(self, node: NodeView, now: float) -> float | None:
        """How long a node has waited, once that is worth telling."""
        if not node.wait:
            return None
        waited = node.waited + max(0.0, now - self._status_at)
        return waited if waited >= WAIT_SHOWN else None

    def _region(self, running: list[NodeView], now: float) -> list[str]:
        width = self._screen.width
        lines = [node_line(node, width, self._waited(node, now)) for node in running[:_SHOWN]]
        if len(running) > _SHOWN:
            lines.append(f"     ... {len(running) - _SHOWN} more nodes")
        return lines

    def _signs_of(self, running: list[NodeView], now: float) -> list[str]:
        """Signs of life for a plain screen: each reason to wait once, a map's counts ever more seldom."""
        lines = []
        for node in running:
            waited = self._waited(node, now)
            if waited is not None and (node.id, node.wait) not in self._told_waits:
                self._told_waits.add((node.id, node.wait))
                lines.append(node_line(node, waited=waited))
            elif node.is_map and now >= self._signs.setdefault(node.id, now + _FIRST_SIGN):
                self._signs[node.id] = now + min(_LATEST_SIGN, 2 * max(_FIRST_SIGN, now - self._begun))
                lines.append(node_line(node))
        return lines
