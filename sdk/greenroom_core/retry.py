"""When a failed call is tried again, and when."""

from __future__ import annotations

from dataclasses import dataclass, replace

from greenroom_core.failure import RETRIED_BY_USER, Cause, Failure

_LONGEST = 366 * 86_400.0
_DOUBLINGS = 64  # Further ones leave any delay at its largest, and would leave the range of floats.

MAX_LOSSES = 3
"""Attempts that a call may lose to replicas that went away, beside its own retries."""

ENDS_PROCESS = frozenset({Cause.CRASH, Cause.EXIT, Cause.MEMORY})
"""Causes of losses that are the call's own doing."""


def quarantined(reason: Failure, crashes: int) -> Failure:
    """The failure of a call that has used up its losses: what ended its process the last time, and how often it did."""
    if crashes < 2:
        return reason
    told = f"{reason.message}; it ended its process {crashes} times, and is not tried again"
    return replace(reason, message=told, details={**reason.details, "crashes": crashes})


@dataclass(frozen=True, slots=True)
class Retry:
    """A task's own budget of further attempts."""

    times: int = 0
    backoff: float = 0.0
    """Seconds before the second attempt; doubles with each further one."""
    max_backoff: float = 60.0
    jitter: float = 0.0
    """Largest share of the delay that is added by chance (0 to 1), spread over items so that they do not meet."""
    on: tuple[str, ...] = ()
    """Names of the exception classes (or of a base) that are retried; empty for any."""
    recoverable_only: bool = False
    """Only errors that ask for it are retried, as programs written for Flyte expect."""

    def allows(self, failure: Failure, failures: int) -> bool:
        """Whether another attempt follows, after `failures` failures (this one counted)."""
        if failures > self.times or failure.cause not in RETRIED_BY_USER or failure.recoverable is False:
            return False
        if failure.recoverable or failure.cause is Cause.RECOVERABLE:
            return True
        if self.recoverable_only and failure.cause is Cause.USER:
            return False
        if self.on and failure.cause is Cause.USER:
            bases = failure.details.get("bases")
            return any(name in self.on for name in (failure.type, *(bases if isinstance(bases, (list, tuple)) else ())))
        return True

    def delay(self, failures: int, share: float) -> float:
        """Seconds to wait before the next attempt.

        Args:
            failures: Failures so far, from 1.
            share: 0 to 1, the caller's chance (derived from the call, so that replays agree).
        """
        base = min(self.backoff * 2.0 ** min(failures - 1, _DOUBLINGS), self.max_backoff, _LONGEST)
        return base * (1 + self.jitter * share)
