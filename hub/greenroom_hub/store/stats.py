"""Plain counters of a store; read by metrics, never reset."""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

BOUNDS_US: Final = (
    100,
    200,
    300,
    500,
    750,
    1000,
    1500,
    2500,
    5000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    1_000_000,
)
"""Upper bounds of the histogram's buckets, microseconds; one more bucket holds what took longer."""


class Stats:
    """What a store has done since it was opened. Written by its writer alone; reading needs no lock."""

    __slots__ = ("batches", "buckets", "bytes", "checkpoints", "commit_us", "commits", "failures", "reaped", "rows")

    def __init__(self) -> None:
        self.commits = 0
        """Transactions: under load one holds many batches."""
        self.batches = 0
        self.rows = 0
        self.bytes = 0
        """Of the rows' data."""
        self.commit_us = 0
        """Microseconds that all commits took together."""
        self.buckets = [0] * (len(BOUNDS_US) + 1)
        """Commits by how long they took, see `BOUNDS_US`; from the first statement to the disk's answer."""
        self.checkpoints = 0
        self.reaped = 0
        """Rows of dropped streams that were deleted."""
        self.failures = 0

    def committed(self, batches: int, rows: int, size: int, us: int) -> None:
        """Count one transaction."""
        self.commits += 1
        self.batches += batches
        self.rows += rows
        self.bytes += size
        self.commit_us += us
        self.buckets[bisect_left(BOUNDS_US, us)] += 1

    def quantile_us(self, share: float) -> int:
        """The bound below which `share` of the commits took; 0 without commits."""
        below = 0
        for bound, count in zip((*BOUNDS_US, 2 * BOUNDS_US[-1]), self.buckets, strict=True):
            below += count
            if below and below >= share * self.commits:
                return bound
        return 0
