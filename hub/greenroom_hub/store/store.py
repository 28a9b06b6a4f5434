"""The contract that every store keeps; `tests/hub/store/contract.py` is its other half."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from greenroom_hub.store.rows import Batch, CachedResult, Durability, ExecutionRow, Head, ResultGroup, Row, Size
from greenroom_hub.store.stats import Stats
from greenroom_hub.store.ticket import Ticket


class Store(Protocol):
    """The durable log.

    One hub appends; anybody in its process reads, from any thread, and sees a row once the ticket of its batch has
    completed. Readers never see a part of a batch, and never skip a row that commits late: rows become visible in the
    order of their positions.
    """

    stats: Stats

    def open(self) -> Head:
        """Take the store for this process alone, bring it up to date, raise its epoch.

        Raises:
            StoreError: It is not ours, newer, damaged, in use or cannot be written; it is left as it is.
        """
        ...

    def reopen(self) -> Head:
        """After a failed commit: forget what did not get on disk, and begin again as `open` does."""
        ...

    def close(self) -> None:
        """Commit what waits, then let go of the store. Does nothing if it is not open."""
        ...

    def append(self, batch: Batch) -> Ticket:
        """Have a batch committed; does not wait. Batches that wait together share one transaction.

        Raises:
            OutOfOrder: Its rows are not the next ones.
            CommitFailed: An earlier commit has failed.
            Closed: The store is not open.
        """
        ...

    def durability(self) -> Durability:
        """What a commit means here, read back from the database."""
        ...

    def heads(self) -> dict[str, int]:
        """The last sequence number of each live stream: pools, the hub, executions that have not ended."""
        ...

    def live(self) -> Iterator[Row]:
        """All rows of live streams, by position: what recovery folds."""
        ...

    def read(self, stream: str, after: int = 0, limit: int = 1000) -> list[Row]:
        """Rows of a stream with a sequence number above `after`, in order."""
        ...

    def row(self, position: int) -> Row | None:
        """The row at a position; None if there is none (any more)."""
        ...

    def rows(self, positions: Iterable[int]) -> dict[int, Row]:
        """The rows at these positions, as far as there are any."""
        ...

    def program(self, digest: str) -> bytes | None:
        """A packed program."""
        ...

    def unused_programs(self) -> list[str]:
        """Digests of programs that no execution refers to: candidates for `Batch.forgotten`."""
        ...

    def execution(self, id: str) -> ExecutionRow | None:
        """One execution."""
        ...

    def execution_by_key(self, key: str) -> ExecutionRow | None:
        """The first execution that was submitted with this idempotency key."""
        ...

    def executions(
        self, limit: int = 50, before: str | None = None, state: str | None = None, prefix: str = ""
    ) -> list[ExecutionRow]:
        """Executions, newest first.

        Args:
            limit: How many at most.
            before: Only those submitted before this one (an id; the last of the page before).
            state: Only those in this state.
            prefix: Only those whose id starts like this.
        """
        ...

    def cached(self, keys: Iterable[str]) -> dict[str, CachedResult]:
        """The cached results of these keys, as far as there are any."""
        ...

    def results(self, limit: int = 100) -> list[ResultGroup]:
        """Cached results by the nodes that they come from, the newest nodes first."""
        ...

    def weights(self, executions: Iterable[str]) -> dict[str, int]:
        """Bytes of the rows of each execution: what dropping it gives back."""
        ...

    def size(self) -> Size:
        """Bytes by kind. Reads much of the store: for `clean`, not for every minute."""
        ...

    def check(self) -> list[str]:
        """Look for damage in all of it; what was found, for people. Reads everything."""
        ...
