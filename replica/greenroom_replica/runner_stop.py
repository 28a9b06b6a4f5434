"""How a running call is told to stop: by a word that it may read, then by an exception in the main thread."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any, Final

from greenroom.context import CallCancelled
from greenroom_replica.core.page import ASKED, CANCEL, CANCEL_WHY, CURRENT, PHASE, STOPPABLE

CANCELLED: Final = "cancelled"
TIMED_OUT: Final = "timed out"
REASONS: Final = {1: CANCELLED, 2: TIMED_OUT}


class Stopper:
    """SIGTERM's handler, and what the context's `cancelled` asks.

    Args:
        words: The page's words.
    """

    def __init__(self, words: memoryview) -> None:
        self._words = words
        self._pid = os.getpid()
        self.raised_for = 0
        """Serial of the call that was interrupted."""
        self.owner: Callable[[], bool] = lambda: os.getpid() == self._pid
        """Whether this process is the one that runs calls: user code forks, and its children die of a SIGTERM."""

    def install(self) -> None:
        """Handle SIGTERM."""
        signal.signal(signal.SIGTERM, self._on_term)

    def adopt(self) -> None:
        """This process runs the call now: it was forked for it."""
        self._pid = os.getpid()

    def _on_term(self, number: int, frame: Any) -> None:
        if not self.owner():
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)
            return
        words = self._words
        serial = words[CURRENT]
        if serial and words[CANCEL] == serial and words[PHASE] in STOPPABLE and self.raised_for != serial:
            self.raised_for = serial
            raise CallCancelled(REASONS.get(words[CANCEL_WHY], CANCELLED))

    def asked(self, serial: int) -> bool:
        """Whether the call shall stop; notes that it asks, and so wants to stop by itself."""
        words = self._words
        words[ASKED] = serial
        return bool(words[CANCEL] == serial)

    @property
    def stopping(self) -> int:
        """Serial of the call that was told to stop last; 0 if none was."""
        return int(self._words[CANCEL])

    def stopped(self, serial: int) -> str | None:
        """Why a call that has ended counts as stopped: it was interrupted, or it asked and was told to stop."""
        words = self._words
        if words[CANCEL] != serial:
            return None
        if self.raised_for == serial or words[ASKED] == serial:
            return REASONS.get(words[CANCEL_WHY], CANCELLED)
        return None


@contextlib.contextmanager
def no_interruption() -> Iterator[None]:
    """SIGTERM waits until the block has ended."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
