"""What an append gives: completes once its batch is on disk, or cannot be."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Ticket:
    """The promise that a batch gets on disk. Tickets of a store complete in the order of the appends."""

    __slots__ = ("_callbacks", "_lock", "done", "error", "position")

    def __init__(self, position: int) -> None:
        self.position = position
        """Of the batch's last row: once done without error, all rows up to here are on disk."""
        self.done = False
        self.error: Exception | None = None
        """Why the batch is not on disk; None if it is, or if that is not known yet."""
        self._callbacks: list[Callable[[Ticket], None]] = []
        self._lock = threading.Lock()

    def add_done_callback(self, callback: Callable[[Ticket], None]) -> None:
        """Have `callback(ticket)` called in the thread that completes it; at once if it is done already."""
        with self._lock:
            if not self.done:
                self._callbacks.append(callback)
                return
        callback(self)

    def complete(self, error: Exception | None = None) -> None:
        """Called once, by the store."""
        with self._lock:
            self.error = error
            self.done = True
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback(self)

    def wait(self, timeout: float | None = None) -> bool:
        """Block until it is done, at most `timeout` seconds; whether it is. For tools and tests, never on a loop."""
        waiter = threading.Event()
        self.add_done_callback(lambda _: waiter.set())
        return waiter.wait(timeout)

    def __repr__(self) -> str:
        state = "waits" if not self.done else "on disk" if self.error is None else f"failed: {self.error}"
        return f"<Ticket {self.position} {state}>"
