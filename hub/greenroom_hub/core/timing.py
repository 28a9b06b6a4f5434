"""How long calls take, as measured, and how much work that allows to send ahead."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

LONG_US: Final = 100_000
"""From here on nothing is sent ahead: another replica may be free before this one."""

SHORT_US: Final = 5_000
"""Below this a call is shorter than a few round trips: several travel together."""

DEEPEST: Final = 1024
"""Calls in flight at most, per slot."""


@dataclass(slots=True)
class Timing:
    """A moving mean of one task's calls in one pool."""

    mean_us: float = 0.0
    count: int = 0

    def add(self, total_us: float, count: int) -> None:
        """Learn from a batch: its calls' time in all, loads of the actor cache not counted."""
        mean = max(total_us, 0.0) / count
        self.mean_us = mean if not self.count else 0.7 * self.mean_us + 0.3 * mean
        self.count += count

    def depth(self, width: int, ahead_us: int) -> int:
        """Calls that a replica may hold, for `width` that run at a time and `ahead_us` of work sent ahead."""
        if not self.count or self.mean_us >= LONG_US:
            return width
        if self.mean_us >= SHORT_US:
            return 2 * width
        return width * min(DEEPEST, 1 + int(ahead_us / max(self.mean_us, 1.0)))
