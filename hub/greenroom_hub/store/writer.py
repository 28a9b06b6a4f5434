"""The one thread that writes the log: takes all batches that wait into one transaction, tidies up when none do."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Final, TypeAlias

from greenroom_hub.store.errors import CommitFailed
from greenroom_hub.store.queries import queries, repeated
from greenroom_hub.store.rows import Batch, CachedResult, ExecutionRow, Row, Voided
from greenroom_hub.store.stats import Stats
from greenroom_hub.store.ticket import Ticket

log = logging.getLogger("greenroom.store")

CHECKPOINT_PAGES: Final = 4096
"""Pages (of 4 KiB) in the WAL from which a commit moves them to the file although work waits: about 25 ms."""

_TIDY_BYTES: Final = 1 << 20
"""Bytes committed since the last checkpoint from which a short pause is used for one."""

_PAUSE_S: Final = 0.02
"""How long nothing must come for a short pause; for a long one `_REST_S`. Then the thread sleeps until woken."""

_REST_S: Final = 1.0

_GROUP_BYTES: Final = 16 << 20
"""Bytes from which a transaction is not made longer, however much waits."""

_WAL_BYTES: Final = 8 << 20
"""Length that the WAL is given ahead of need: a commit into blocks that exist takes half the time of one that makes
the file longer (195 us to 400 us, measured), since the file system then has nothing of its own to record."""

_WAL_STEP: Final = 1 << 20
"""Bytes by which it is lengthened at a time: about 5 ms, which a batch that comes meanwhile waits."""

_WAL_EVERY: Final = 16
"""Commits after which a step is made although no pause comes."""

_SLICE: Final = 500
"""Rows of dropped streams deleted, or pages given back, in one transaction: a batch that comes meanwhile waits."""

_CHUNKS: Final = (64, 8, 1)
"""Rows inserted by one statement: half the time of one by one, and the GIL changes hands less often."""

_Q: Final = queries("log")
_INSERTS: Final = tuple((size, repeated(_Q["insert_events"], size)) for size in _CHUNKS)

Entry: TypeAlias = "tuple[Batch, Ticket] | None"


class Gap(ValueError):
    """Rows of a stream that are not its next ones: a fault of the hub, which must not get into the log."""


class Writer:
    """Owns the writing connection, from a thread of its own.

    Args:
        path: The file, for errors.
        connection: Open, durable, migrated; closed at the end by `stop`.
        notify: Called with each ticket once it is complete, in the writer's thread.
        stats: Counted in.
    """

    def __init__(
        self, path: str, connection: sqlite3.Connection, notify: Callable[[Ticket], None] | None, stats: Stats
    ) -> None:
        self._path, self._db, self._notify, self._stats = path, connection, notify, stats
        self._queue: SimpleQueue[Entry] = SimpleQueue()
        self._streams: dict[str, list[int]] = {}
        """Key and last sequence number of the streams that are written to."""
        self._next_stream: int = connection.execute(_Q["last_stream"]).fetchone()[0] + 1
        self._unsettled = 0
        """Bytes committed since the last checkpoint."""
        self._long_enough = False
        """Whether the WAL has its length."""
        self._reaping: int | None = self._one("next_reaping")
        self.fault: CommitFailed | None = None
        """Why nothing is taken any more."""
        self._thread = threading.Thread(target=self._run, name="greenroom-store", daemon=True)
        self._thread.start()

    def put(self, batch: Batch, ticket: Ticket) -> None:
        """Have a batch committed after those before it."""
        self._queue.put((batch, ticket))

    def stop(self) -> None:
        """Commit what waits, tidy up, close the connection, end the thread."""
        self._queue.put(None)
        self._thread.join()

    # The thread -------------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        pause: float | None = _PAUSE_S
        stopping = False
        while not stopping:
            try:
                entry = self._queue.get(timeout=pause)
            except Empty:
                pause = self._tidy(long=pause == _REST_S)
                continue
            group: list[tuple[Batch, Ticket]] = []
            stopping = self._gather(entry, group)
            if group:
                self._commit(group)
                if not self._long_enough and self._stats.commits % _WAL_EVERY == 0:
                    self._long_enough = not self._lengthen()
            pause = _PAUSE_S
        if self.fault is None:
            self._settle()
        self._db.close()

    def _gather(self, entry: Entry, group: list[tuple[Batch, Ticket]]) -> bool:
        """Take what waits; whether the end was among it."""
        size = 0
        while entry is not None:
            group.append(entry)
            size += sum(len(row.data) for row in entry[0].rows)
            if size > _GROUP_BYTES:
                return False
            try:
                entry = self._queue.get_nowait()
            except Empty:
                return False
        return True

    def _commit(self, group: Sequence[tuple[Batch, Ticket]]) -> None:
        if self.fault is None:
            began = time.perf_counter_ns()
            try:
                rows, size = self._write(group)
            except Exception as fault:  # Whatever it was: what is not on disk did not happen.
                self._fail(fault)
            else:
                us = (time.perf_counter_ns() - began) // 1000
                self._stats.committed(len(group), rows, size, us)
                self._unsettled += size
        for _, ticket in group:
            self._complete(ticket)

    def _fail(self, fault: Exception) -> None:
        self._stats.failures += 1
        self.fault = CommitFailed(self._path, f"{type(fault).__name__}: {fault}")
        self.fault.__cause__ = fault
        if self._db.in_transaction:
            with contextlib.suppress(sqlite3.Error):  # Closing the connection rolls back too.
                self._db.execute("ROLLBACK")

    def _complete(self, ticket: Ticket) -> None:
        """Tell; whatever a listener raises is its own affair, and must not end this thread."""
        try:
            ticket.complete(self.fault)
            if self._notify is not None:
                self._notify(ticket)
        except Exception:
            log.exception("a listener of a commit failed")

    # One transaction --------------------------------------------------------------------------------------------------

    def _write(self, group: Sequence[tuple[Batch, Ticket]]) -> tuple[int, int]:
        """Write batches in one transaction; how many rows and bytes they were."""
        self._db.execute("BEGIN IMMEDIATE")
        params: list[object] = []
        rows = size = 0
        for batch, _ in group:
            rows += len(batch.rows)
            size += self._bind(batch.rows, params)
            if batch.executions or batch.dropped:  # They look at the rows before them.
                self._insert(params)
            size += self._write_rest(batch)
        self._insert(params)
        self._db.execute("COMMIT")
        return rows, size

    def _write_rest(self, batch: Batch) -> int:
        """Write what a batch has beside its rows; the bytes of its programs."""
        execute, size = self._db.execute, 0
        for execution in batch.executions:
            self._upsert_execution(execution)
        for digest, packed in batch.programs:
            execute(_Q["insert_program"], (digest, packed))
            size += len(packed)
        for result in batch.results:
            self._upsert_result(result)
        for voided in batch.voided:
            self._void(voided)
        for digest in batch.forgotten:
            execute(_Q["delete_program"], (digest,))
        for stream in batch.dropped:
            self._drop(stream)
        return size

    def _bind(self, rows: Sequence[Row], params: list[object]) -> int:
        """Put the columns of rows behind each other; the bytes of their data."""
        size = 0
        name, stream = "", [0, 0]
        for row in rows:
            if row.stream != name:  # Rows of one stream come together.
                name, stream = row.stream, self._stream(row.stream)
            stream[1] += 1
            if row.seq != stream[1]:
                raise Gap(f"stream {name!r} is at {stream[1] - 1}, and its next row has number {row.seq}")
            size += len(row.data)
            params += (row.position, stream[0], row.seq, row.at_ms, row.kind, row.data)
        return size

    def _insert(self, params: list[object]) -> None:
        """Insert what was bound, and empty `params`."""
        start = 0
        for rows, statement in _INSERTS:
            step = 6 * rows
            while len(params) - start >= step:
                self._db.execute(statement, params[start : start + step])
                start += step
        params.clear()

    def _stream(self, name: str) -> list[int]:
        """Key and last number of a stream, which begins now if it is not known."""
        stream = self._streams.get(name)
        if stream is None:
            stream = self._known(name)
            if stream is None:
                stream = [self._next_stream, 0]
                self._next_stream += 1
                self._db.execute(_Q["insert_stream"], (stream[0], name))
            self._streams[name] = stream
        return stream

    def _known(self, name: str) -> list[int] | None:
        found = self._streams.get(name)
        if found is None:
            row = self._db.execute(_Q["stream_of"], (name,)).fetchone()
            found = list(row) if row is not None else None
        return found

    def _upsert_execution(self, row: ExecutionRow) -> None:
        key = self._stream(row.id)[0]
        self._db.execute(_Q["upsert_execution"], (key, *row[1:]))
        self._db.execute(_Q["set_live"], (row.ended_ms is None, key))
        if row.ended_ms is not None:
            self._streams.pop(row.id, None)  # Little more will come; it is looked up then.

    def _upsert_result(self, result: CachedResult) -> None:
        stream = self._known(result.execution)
        if stream is not None:  # Else it was dropped, and the result with it.
            row = (bytes.fromhex(result.key), stream[0], result.node, result.item, result.position, result.at_ms)
            self._db.execute(_Q["upsert_result"], row)

    def _void(self, voided: Voided) -> None:
        stream = self._known(voided.execution)
        if stream is not None:
            self._db.execute(_Q["void_results"], (stream[0], voided.node, voided.item))

    def _drop(self, name: str) -> None:
        """Make a stream invisible at once, with everything of it; its rows are deleted when there is time."""
        stream = self._known(name)
        if stream is None:
            return
        self._db.execute(_Q["raise_floor"])
        for statement in ("drop_stream", "drop_execution", "mark_reaping"):
            self._db.execute(_Q[statement], (stream[0],))
        self._streams.pop(name, None)
        self._reaping = stream[0]

    # Tidying ----------------------------------------------------------------------------------------------------------

    def _tidy(self, long: bool) -> float | None:
        """Nothing came for a while: do what can wait, a little at a time.

        Returns:
            How long to wait for the next batch before more of it is done; None if nothing is left to do.
        """
        if self.fault is not None:
            return None
        try:
            return self._tidy_some(long)
        except sqlite3.Error as fault:  # A full disk, say. Harms nothing; it is tried again after the next commit.
            log.warning("tidying the store failed: %s", fault)
            if self._db.in_transaction:
                with contextlib.suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")
            return None

    def _tidy_some(self, long: bool) -> float | None:
        if self._unsettled and (long or self._unsettled >= _TIDY_BYTES):
            # A WAL that was moved to the file is written again from its start: cheaper than making it longer.
            self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            self._unsettled = 0
            self._stats.checkpoints += 1
        if not self._long_enough:
            self._long_enough = not self._lengthen()
            return 0.0
        if self._reaping is not None:
            self._reap(self._reaping)
            return 0.0
        if self._one("PRAGMA freelist_count"):
            self._db.executescript(f"PRAGMA incremental_vacuum({_SLICE})")  # `execute` gives back a single page.
            self._unsettled += 1
            return 0.0
        return _REST_S if self._unsettled else None

    def _lengthen(self) -> bool:
        """Write zeros behind the WAL's frames: SQLite takes no zeros for a frame, and writes over them.

        Returns:
            Whether it was shorter than it should be.
        """
        with contextlib.suppress(OSError), open(f"{self._path}-wal", "r+b") as wal:
            missing = _WAL_BYTES - wal.seek(0, os.SEEK_END)
            if missing > 0:
                wal.write(bytes(min(missing, _WAL_STEP)))
                wal.flush()
                os.fsync(wal.fileno())
                return True
        return False

    def _reap(self, stream: int) -> None:
        """Delete some rows of a dropped stream."""
        self._db.execute("BEGIN IMMEDIATE")
        rows = self._db.execute(_Q["reap_events"], (stream, _SLICE)).rowcount
        results = self._db.execute(_Q["reap_results"], (stream, _SLICE)).rowcount
        if not rows and not results:
            self._db.execute(_Q["reaped"], (stream,))
        following = self._one("next_reaping")
        self._db.execute("COMMIT")
        self._reaping = following
        self._stats.reaped += rows
        self._unsettled += 1

    def _settle(self) -> None:
        """Leave one file, so that the next start has nothing to do."""
        with contextlib.suppress(sqlite3.Error):
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def _one(self, query: str) -> int | None:
        row = self._db.execute(_Q.get(query, query)).fetchone()
        value: int | None = row[0] if row is not None else None
        return value
