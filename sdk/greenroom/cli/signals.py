"""What Ctrl-C, SIGTERM and SIGHUP mean while somebody watches an execution."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType
from typing import Any


class Leave(BaseException):
    """The person wants to go, now; the execution goes on."""


class Signals:
    """Turns signals into wishes that the watching loop reads between two events.

    The first Ctrl-C or SIGTERM asks for the execution's end, a second one leaves that to the hub, SIGHUP detaches.
    """

    def __init__(self) -> None:
        self.cancel = ""
        """Why the execution should be cancelled; empty as long as it should not."""
        self.interrupted = False
        self.detached = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        self._take(signal.SIGINT, self._on_interrupt)
        self._take(signal.SIGTERM, self._on_terminate)
        self._take(signal.SIGHUP, self._on_hangup)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _take(self, number: int, handler: Callable[[int, FrameType | None], None]) -> None:
        before = signal.getsignal(number)
        if number == signal.SIGHUP and before == signal.SIG_IGN:
            return  # Under nohup the person has said that a hangup does not matter.
        self._before[number] = before
        signal.signal(number, handler)

    def _on_interrupt(self, number: int, frame: FrameType | None) -> None:
        self._ask("interrupted")
        self.interrupted = True

    def _on_terminate(self, number: int, frame: FrameType | None) -> None:
        self._ask("terminated")

    def _ask(self, reason: str) -> None:
        if self.cancel:
            raise Leave
        self.cancel = reason

    def _on_hangup(self, number: int, frame: FrameType | None) -> None:
        self.detached = True
