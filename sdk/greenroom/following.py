"""Events of an execution as they happen, from any cursor, across broken connections and restarts of the hub."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any, Final

from greenroom.link import Link
from greenroom.operations import path_to
from greenroom.websocket import WebSocket

Event = dict[str, Any]

_PAUSE: Final = 0.1  # Seconds before a stream that gave nothing is opened again.


class Follower:
    """Reads an execution's events in batches. Each fact comes once and in order; the cursor says where it stands."""

    def __init__(self, link: Link, execution: str, *, after: int = 0, logs: bool = False) -> None:
        self._link, self._execution, self._logs = link, execution, logs
        self.cursor = after
        """Number of the last fact that was read."""
        self.ended = False
        """Whether the execution's last event was read."""
        self._stream: WebSocket | None = None
        self._silent = False
        """Whether the stream has given nothing since it was opened."""

    def read(self, timeout: float | None = None) -> list[Event]:
        """Events as soon as there are any; none when the time is over or the execution has ended.

        Raises:
            HubError: The hub stays away, or does not know the execution.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self.ended:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            messages = self._open().read(left)
            if messages is None:
                self._cut()
                continue
            self._silent = self._silent and not messages
            events = [event for message in messages for event in json.loads(message) if self._is_new(event)]
            if events or left == 0.0:
                return events
        return []

    def _cut(self) -> None:
        """The next turn connects again, behind what was read; not in a whirl where streams end before they begin."""
        self.close()
        if self._silent:
            time.sleep(_PAUSE)

    def _open(self) -> WebSocket:
        if self._stream is None:
            logs = "&logs=1" if self._logs else ""
            self._stream = self._link.websocket(f"{path_to(self._execution, 'events')}?after={self.cursor}{logs}")
            self._silent = True
        return self._stream

    def _is_new(self, event: Event) -> bool:
        number = event.get("seq")
        if number is None:
            return True
        if number <= self.cursor:
            return False
        self.cursor = number
        self.ended = self.ended or event.get("kind") == "execution_ended"
        return True

    def fileno(self) -> int:
        """The descriptor to wait for, beside others; it changes when the connection is made again."""
        return self._open().fileno()

    def __iter__(self) -> Iterator[Event]:
        """Every event from here to the last one; the connection is closed behind it."""
        try:
            while not self.ended:
                yield from self.read()
        finally:
            self.close()

    def close(self) -> None:
        """Stop reading."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None
