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

    @property
    def short(self) -> bool:
        """Whether calls were measured to be shorter than a few round trips."""
        return self.count > 0 and self.mean_us < SHORT_US

    def beside(self, width: int) -> int:
        """Calls of this kind that a replica may hold, of which `width` run at a time.

        One more where that hides the way to the hub and back, none where another replica may well be free first.
        """
        return 2 * width if self.count and self.mean_us < LONG_US else width
