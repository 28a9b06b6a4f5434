"""The log in one SQLite file: group commit by a thread of its own, reads from any thread."""

from __future__ import annotations

import sqlite3
import threading
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeVar

from greenroom_hub.store.database import LOG, Readers, connect_writer, durability, prepare, translated
from greenroom_hub.store.errors import Closed, CommitFailed, Damaged, OutOfOrder
from greenroom_hub.store.lock import FileLock
from greenroom_hub.store.queries import queries, repeated
from greenroom_hub.store.rows import Batch, CachedResult, Durability, ExecutionRow, Head, ResultGroup, Row, Size
from greenroom_hub.store.stats import Stats
from greenroom_hub.store.ticket import Ticket
from greenroom_hub.store.writer import CHECKPOINT_PAGES, Writer

T = TypeVar("T")

_Q: Final = queries("log")
_ONE_ROW: Final = _Q["rows"]
_ASK: Final = 256
"""Members of an `IN (...)`: one statement serves all batches of lookups, filled up with nulls."""

_NEWEST: Final = 2**63 - 1


class SqliteStore:
    """Keeps the `Store` contract in a file.

    Args:
        path: The file; made if it is not there, in a folder that is. Beside it lie its WAL and its lock.
        notify: Called with each ticket once it is complete, in the writer's thread: hand it to the loop from there.
    """

    def __init__(self, path: str | Path, notify: Callable[[Ticket], None] | None = None) -> None:
        self.path = Path(path)
        self.stats = Stats()
        self._notify = notify
        self._lock = FileLock(self.path)
        self._appending = threading.Lock()
        self._writer: Writer | None = None
        self._readers = Readers(self.path)
        self._durability: Durability | None = None
        self._next = 0

    # Opening ----------------------------------------------------------------------------------------------------------

    def open(self) -> Head:
        """See `Store.open`."""
        self._lock.acquire()
        try:
            created = prepare(self.path, LOG)
            connection = connect_writer(self.path, LOG, "FULL", CHECKPOINT_PAGES)
            try:
                epoch, position = self._begin(connection)
                with translated(self.path):
                    self._durability = durability(connection)
                    self._writer = Writer(str(self.path), connection, self._notify, self.stats)
            except BaseException:
                connection.close()
                raise
        except BaseException:
            self._lock.release()
            raise
        self._readers = Readers(self.path)
        self._next = position + 1
        return Head(position, epoch, created)

    def _begin(self, connection: sqlite3.Connection) -> tuple[int, int]:
        """Raise the epoch, so that nobody takes this hub for an earlier one; epoch and last position."""
        with translated(self.path):
            connection.execute("BEGIN IMMEDIATE")
            (epoch,) = connection.execute(_Q["raise_epoch"]).fetchall()[0]
            connection.execute("COMMIT")
            (position,) = connection.execute(_Q["head"]).fetchall()[0]
            connection.execute(_ONE_ROW, (position,)).fetchall()  # The end is what a file cut short lacks.
        return epoch, position

    def reopen(self) -> Head:
        """See `Store.reopen`."""
        self._stop()
        return self.open()

    def close(self) -> None:
        """See `Store.close`."""
        self._stop()
        self._lock.release()

    def _stop(self) -> None:
        with self._appending:
            writer, self._writer = self._writer, None
        self._readers.close()  # Before the writer: the last connection to close takes the WAL away.
        if writer is not None:
            writer.stop()

    # Writing ----------------------------------------------------------------------------------------------------------

    def append(self, batch: Batch) -> Ticket:
        """See `Store.append`."""
        with self._appending:
            writer = self._opened()
            if writer.fault is not None:
                raise CommitFailed(*writer.fault.args) from writer.fault
            rows = batch.rows
            if rows:
                for expected, row in ((self._next, rows[0]), (self._next + len(rows) - 1, rows[-1])):
                    if row.position != expected:
                        raise OutOfOrder(expected, row.position)
                self._next += len(rows)
            ticket = Ticket(self._next - 1)
            writer.put(batch, ticket)
            return ticket

    def _opened(self) -> Writer:
        if self._writer is None:
            raise Closed(str(self.path))
        return self._writer

    def durability(self) -> Durability:
        """See `Store.durability`."""
        if self._durability is None:
            raise Closed(str(self.path))
        return self._durability

    # Reading ----------------------------------------------------------------------------------------------------------

    def _all(self, query: str, params: Sequence[object] | dict[str, object] = ()) -> list[Any]:
        self._opened()
        return self._readers.all(query, params if isinstance(params, dict) else tuple(params))

    def _chunks(self, query: str, wanted: Iterable[T], known: Callable[[T], object] = lambda one: one) -> Iterator[Any]:
        """What `query` gives for many members of its `IN (?)`, a few hundred at a time."""
        members = iter(wanted)
        while chunk := [known(one) for one in islice(members, _ASK)]:
            width = 1 if len(chunk) == 1 else _ASK
            chunk += [None] * (width - len(chunk))
            yield from self._all(repeated(_Q[query], width), chunk)

    def heads(self) -> dict[str, int]:
        """See `Store.heads`."""
        return dict(self._all(_Q["heads"]))

    def live(self) -> Iterator[Row]:
        """See `Store.live`."""
        positions = array("q", (position for (position,) in self._all(_Q["live_positions"])))
        for columns in self._chunks("rows", positions):
            yield Row._make(columns)

    def read(self, stream: str, after: int = 0, limit: int = 1000) -> list[Row]:
        """See `Store.read`."""
        return [Row._make(columns) for columns in self._all(_Q["read"], (stream, after, limit))]

    def row(self, position: int) -> Row | None:
        """See `Store.row`."""
        for columns in self._all(_ONE_ROW, (position,)):
            return Row._make(columns)
        return None

    def rows(self, positions: Iterable[int]) -> dict[int, Row]:
        """See `Store.rows`."""
        return {columns[0]: Row._make(columns) for columns in self._chunks("rows", positions)}

    def program(self, digest: str) -> bytes | None:
        """See `Store.program`."""
        for (packed,) in self._all(_Q["program"], (digest,)):
            found: bytes = packed
            return found
        return None

    def unused_programs(self) -> list[str]:
        """See `Store.unused_programs`."""
        return [digest for (digest,) in self._all(_Q["unused_programs"])]

    def execution(self, id: str) -> ExecutionRow | None:
        """See `Store.execution`."""
        for columns in self._all(_Q["execution"], (id,)):
            return ExecutionRow._make(columns)
        return None

    def execution_by_key(self, key: str) -> ExecutionRow | None:
        """See `Store.execution_by_key`."""
        for columns in self._all(_Q["execution_by_key"], (key,)):
            return ExecutionRow._make(columns)
        return None

    def executions(
        self, limit: int = 50, before: str | None = None, state: str | None = None, prefix: str = ""
    ) -> list[ExecutionRow]:
        """See `Store.executions`."""
        bound = _NEWEST
        if before is not None:
            found = self._all(_Q["key_of"], (before,))
            if not found:
                return []
            bound = found[0][0]
        query = "executions_in_state" if state is not None else "executions_like" if prefix else "executions"
        params: dict[str, object] = {"limit": limit, "before": bound, "state": state, "prefix": prefix}
        return [ExecutionRow._make(columns) for columns in self._all(_Q[query], params)]

    def cached(self, keys: Iterable[str]) -> dict[str, CachedResult]:
        """See `Store.cached`."""
        found = (CachedResult(key.hex(), *rest) for key, *rest in self._chunks("cached", keys, bytes.fromhex))
        return {result.key: result for result in found}

    def results(self, limit: int = 100) -> list[ResultGroup]:
        """Cached results by the nodes that they come from."""
        return [ResultGroup._make(columns) for columns in self._all(_Q["results"], (limit,))]

    def weights(self, executions: Iterable[str]) -> dict[str, int]:
        """See `Store.weights`."""
        return dict(self._chunks("weights", executions))

    def size(self) -> Size:
        """See `Store.size`."""
        ((events, programs, results),) = self._all(_Q["sizes"])
        files = (self.path.with_name(self.path.name + end) for end in ("", "-wal", "-shm"))
        return Size(events, programs, results, sum(file.stat().st_size for file in files if file.exists()))

    def check(self) -> list[str]:
        """See `Store.check`."""
        try:
            found = [str(line) for (line,) in self._all("PRAGMA integrity_check") if line != "ok"]
            for stream, count, first, last in self._all(_Q["gaps"]):
                found.append(f"stream {stream!r} has {count} rows numbered {first} to {last}")
        except Damaged as fault:
            found = [str(fault)]
        return found
