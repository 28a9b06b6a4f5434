"""Writes a log in tests: gives positions and sequence numbers as the hub does."""

from __future__ import annotations

from collections.abc import Iterable

from greenroom_hub.store.rows import Batch, CachedResult, ExecutionRow, Row
from greenroom_hub.store.store import Store
from greenroom_hub.store.ticket import Ticket

NOW = 1_700_000_000_000


class Pen:
    """The hub's part of writing: dense positions, dense numbers in each stream, a batch at a time."""

    def __init__(self, store: Store, position: int = 0, heads: dict[str, int] | None = None) -> None:
        self.store = store
        self.position = position
        self.seqs = dict(heads or {})
        self.rows: list[Row] = []
        """Everything that was written, in order."""

    def row(self, stream: str, data: bytes = b"fact", kind: int = 4) -> Row:
        """The next row of a stream."""
        self.position += 1
        self.seqs[stream] = self.seqs.get(stream, 0) + 1
        row = Row(self.position, stream, self.seqs[stream], NOW + self.position, kind, data)
        self.rows.append(row)
        return row

    def append(self, *streams: str, executions: Iterable[ExecutionRow] = (), **rest: list) -> Ticket:
        """Append one batch with a row for each of `streams`; does not wait."""
        return self.store.append(Batch([self.row(stream) for stream in streams], list(executions), **rest))

    def write(self, *streams: str, executions: Iterable[ExecutionRow] = (), **rest: list) -> list[Row]:
        """Append one batch and wait until it is on disk; its rows."""
        ticket = self.append(*streams, executions=executions, **rest)
        settle(ticket)
        return self.rows[len(self.rows) - len(streams) :]

    def execution(self, id: str, state: str = "running", **fields) -> ExecutionRow:
        """An execution with its first row, on disk."""
        execution = an_execution(id, state, **fields)
        self.write(id, executions=[execution])
        return execution


def an_execution(id: str, state: str = "running", **fields) -> ExecutionRow:
    """An execution as the hub lists it; ended unless it is running."""
    ended = None if state == "running" else NOW + 5
    return ExecutionRow(id, "flow.wf", "shop", state, "ada", NOW, **{"ended_ms": ended, **fields})


def a_result(key: int, execution: str, position: int, **fields) -> CachedResult:
    """A cached result of an execution's row."""
    return CachedResult(
        f"{key:032x}", execution, **{"node": "n", "item": 0, "position": position, "at_ms": NOW, **fields}
    )


def settle(*tickets: Ticket) -> None:
    """Wait until batches are on disk."""
    for ticket in tickets:
        assert ticket.wait(20), f"{ticket!r} did not complete within 20 s"
        assert ticket.error is None, ticket.error
