"""Follow an execution to its end, show it, and pass on what the person wants meanwhile."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode

from greenroom.cli.exits import CANCELLED, HUB, INTERRUPTED, USAGE
from greenroom.cli.progress import NodeView, Progress
from greenroom.cli.report import exit_code, failure_block
from greenroom.cli.screen import PlainScreen
from greenroom.cli.signals import Leave, Signals
from greenroom.cli.view import View
from greenroom.following import Follower
from greenroom.http import Request
from greenroom.hub_errors import HubError, HubGone, Refused
from greenroom.link import Link
from greenroom.operations import cancel, get, path_to

_TICK: Final = 0.1
"""Seconds after which a live region is drawn again, and signals are noticed."""


_LAST_WORDS: Final = 30.0
"""Seconds that a SIGTERM waits for the execution's end: calls get 10 s to notice, then 10 s more."""


class Watch:
    """One execution being watched."""

    def __init__(
        self, link: Link, execution: str, screen: PlainScreen, *, url: str, call: str = "", logs: str = "all"
    ) -> None:
        self._link, self._execution, self._logs = link, execution, logs
        self.progress = Progress(execution)
        self.view = View(self.progress, screen, hub=link.hub.name, url=url, call=call, clock=time.monotonic)
        link.say = lambda line: self.view.note(f"     {line}")
        self._follower = Follower(link, execution, logs=logs == "all")
        self._cancelled_at = 0.0
        self._behind = logs == "all"
        """Whether output may have come before the stream of events was opened."""

    def run(self, signals: Signals) -> int:
        """Watch until the execution ends, or the person leaves; gives the exit code.

        Args:
            signals: In force, since before the execution was submitted if it is ours.

        Raises:
            HubError: The hub stays away, or does not know the execution.
        """
        try:
            self._follow(signals)
        except Leave:
            self.view.leave(f"{self._execution} is left to the hub: greenroom watch {self._execution}")
            return INTERRUPTED if signals.interrupted else CANCELLED
        except HubGone as gone:
            raise HubGone(self._execution) from gone
        finally:
            self._follower.close()
        return self._finish(self.progress.end, signals) if self.progress.end is not None else INTERRUPTED

    def _follow(self, signals: Signals) -> None:
        while not self._follower.ended:
            events = self._follower.read(_TICK)
            if self._behind and (not events or self._follower.ended):
                self._catch_up()
            if signals.detached:
                return
            if signals.cancel and not self._cancelled_at:
                self._cancelled_at = time.monotonic()
                self.view.note(f"cancelling {self._execution}; Ctrl-C again leaves it to the hub")
                self._link.drive(cancel(self._execution, signals.cancel))
            if signals.cancel and not signals.interrupted and time.monotonic() - self._cancelled_at > _LAST_WORDS:
                raise Leave  # Whoever sent SIGTERM is about to send SIGKILL.
            if events:
                self.view.on(events)
            else:
                self.view.tick()

    def _catch_up(self) -> None:
        """Show what was printed before the stream was opened; a short execution has printed all by then."""
        self._behind = False
        path = f"{path_to(self._execution, 'logs')}?follow=0"
        lines = b"".join(self._link.stream(Request("GET", path))).splitlines()
        self.view.on([{"kind": "log", **json.loads(line)} for line in lines])
        self.view.caught_up()

    def _finish(self, end: Mapping[str, Any], signals: Signals) -> int:
        code = exit_code(end)
        if code == CANCELLED and signals.interrupted:
            code = INTERRUPTED
        self.view.finish(self._failure(end) if end.get("failure") and end.get("outcome") == "failed" else ())
        return code

    def _failure(self, end: Mapping[str, Any]) -> list[str]:
        """The block that tells what failed, as fully as it can be had."""
        node, item = end.get("failed_node"), end.get("failed_item")
        call = self._call(node, item)
        view = self.progress.nodes.get(node) if node else None
        parts = [self._execution, node, str(item) if item is not None and view is not None and view.is_map else None]
        address = "/".join(part for part in parts if part)
        output = self._output(node, item, address.partition("/")[2]) if self._logs == "errors" else []
        hints = what_next(self._execution, address, view, call)
        block = failure_block(end["failure"], address, node=view, item=item, call=call, hints=hints, cwd=os.getcwd())
        return [*output, *block]

    def _call(self, node: str | None, item: int | None) -> Mapping[str, Any] | None:
        if not node:
            return None
        try:
            call = self._link.drive(get(path_to(self._execution, "nodes", node, "items", str(item or 0))))
        except HubError:
            return None  # The failure itself is known; what surrounds it is a courtesy.
        return call if isinstance(call, dict) else None

    def _output(self, node: str | None, item: int | None, place: str) -> list[str]:
        """The last lines that the failed call printed."""
        from greenroom.cli.words import tame

        if not node:
            return []
        path = f"{path_to(self._execution, 'logs')}?{urlencode({'node': node, 'item': item or 0, 'raw': 1})}"
        try:
            text = self._link.request(Request("GET", path)).body.decode("utf-8", "replace")
        except HubError:
            return []
        lines = [tame(line, color=False) for line in text.splitlines()[-50:]]
        return [f"{place} | {line}" for line in lines]


def what_next(
    execution: str, address: str, node: NodeView | None, call: Mapping[str, Any] | None
) -> list[tuple[str, str]]:
    """What a person may do about a failure: pairs of (what for, command)."""
    if call is None:
        return []
    hints = [("here, in pdb", f"greenroom debug {address}")]
    if node is not None and node.is_map:
        hints.append(("only these", f"greenroom rerun {execution} --failed"))
    else:
        hints.append(("from there on", f"greenroom recover {execution}"))
    return hints


def code_of(error: HubError) -> int:
    """The exit code for an error of the hub: 2 where the person asked for something that is not there."""
    return USAGE if isinstance(error, Refused) and error.status in (400, 404, 409, 422) else HUB
