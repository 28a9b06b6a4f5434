"""How a call is stopped: told, then interrupted, then killed; each step with its deadline."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Why(IntEnum):
    """Why a call is stopped, as the page's `CANCEL_WHY` says it."""

    CANCELLED = 1
    TIMED_OUT = 2


class Step(IntEnum):
    """What is due."""

    WAIT = 0
    INTERRUPT = 1
    """SIGTERM, whose handler raises in the main thread: entries and runner stay."""
    KILL = 2
    """SIGKILL, which costs the runner."""


@dataclass(slots=True)
class Stopping:
    """One call on its way to its end."""

    serial: int
    why: Why
    reason: str
    """For people: who cancelled, or which limit was reached."""
    since: float
    """Monotonic seconds, like all moments here."""
    interrupted: float | None = None

    def due(self, now: float, asked: bool, term_after: float, kill_after: float) -> tuple[Step, float]:
        """What to do now, and when to look again.

        Args:
            now: The moment.
            asked: Whether the call has read `cancelled`, so that it is likely to stop by itself.
            term_after: Seconds that such a call gets before it is interrupted.
            kill_after: Seconds from the interruption to the kill.
        """
        if self.interrupted is None:
            at = self.since + (term_after if asked else 0.0)
            if now < at:
                return Step.WAIT, at
            self.interrupted = now
            return Step.INTERRUPT, now + kill_after
        at = self.interrupted + kill_after
        return (Step.KILL, at) if now >= at else (Step.WAIT, at)
