"""What calls print: kept beside the log, and handed to whoever watches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from greenroom_hub.store.logs import LogStore
from greenroom_protocol.frames import Log


class Outputs:
    """Keeps output and tells the feed. Output is no fact: nothing waits for its way to disk."""

    def __init__(self, store: LogStore) -> None:
        self._store = store
        self.tell: Callable[[str, dict[str, Any]], None] = lambda execution, event: None

    def take(self, message: Log) -> None:
        """A piece of a call's output has come."""
        self._store.append(
            message.execution,
            message.node,
            message.item,
            message.attempt,
            message.stream,
            message.offset,
            message.data,
        )
        event = {
            "kind": "log",
            "node": message.node,
            "item": message.item,
            "attempt": message.attempt,
            "stream": message.stream,
            "offset": message.offset,
            "text": message.data.decode("utf-8", "replace"),
        }
        self.tell(message.execution, event)
