"""What calls printed: a second SQLite file, written behind, bounded for each call and in all.

It is apart from the log because it promises less: a crash of the machine may take the last moments of output with it,
a full disk makes gaps, and neither ever stops the hub.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple

from greenroom_hub.store.database import OUTPUT, Readers, connect_writer, prepare, translated
from greenroom_hub.store.errors import Closed, Damaged
from greenroom_hub.store.lock import FileLock
from greenroom_hub.store.output_writer import Entry, Limits, OutputStats, OutputWriter
from greenroom_hub.store.queries import queries, repeated

log = logging.getLogger("greenroom.store")

HEAD: Final = 256 * 1024
"""Bytes kept of the beginning of a call's output."""

TAIL: Final = 64 * 1024
"""Bytes kept of its end: where the reason of a failure stands."""

TOTAL: Final = 1 << 30
"""Bytes of the file that may hold something; the oldest output goes first."""

_LINGER_S: Final = 0.05
"""How long the writer waits for more after the first piece: one transaction for many prints."""

_MOST_WAITING: Final = 32 << 20
"""Bytes that may wait to be written; what comes on top is not kept, and counted."""

_CHECKPOINT_PAGES: Final = 4096
_Q: Final = queries("output")


class Output(NamedTuple):
    """A piece of what a call printed."""

    cursor: int
    """Readers resume after it."""
    execution: str
    node: str
    item: int
    attempt: int
    stream: int
    """1 stdout, 2 stderr."""
    offset: int
    """Where `data` starts in the call's output on that stream, bytes."""
    data: bytes
    missed: int
    """Bytes of the stream right before this piece that were not kept."""


class LogStore:
    """The output of calls.

    Args:
        path: The file; made if it is not there, in a folder that is.
        head: Bytes kept of the beginning of a call's output.
        tail: Bytes kept of its end, at least.
        total: Bytes kept of all calls together, with what the file itself needs.
    """

    def __init__(self, path: str | Path, head: int = HEAD, tail: int = TAIL, total: int = TOTAL) -> None:
        self.path = Path(path)
        self.stats = OutputStats()
        self._limits = Limits(head, max(1, tail), total)
        self._lock = FileLock(self.path)
        self._readers = Readers(self.path)
        self._changed = threading.Condition()
        self._waiting: list[Entry | str] = []
        self._waiting_bytes = 0
        self._taken = self._settled = 0
        self._hurry = self._ending = False
        self._thread: threading.Thread | None = None

    # For the hub ------------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Take the file for this process alone.

        A damaged one is set aside: output is no reason not to start.

        Raises:
            StoreError: It is not ours, newer, in use or cannot be written.
        """
        self._lock.acquire()
        try:
            try:
                connection = self._connect()
            except Damaged as fault:
                log.warning("the calls' output begins anew: %s", fault)
                self._set_aside()
                connection = self._connect()
        except BaseException:
            self._lock.release()
            raise
        self._readers = Readers(self.path)
        self._ending = False
        self._writer = OutputWriter(connection, self._limits, self.stats)
        self._thread = threading.Thread(target=self._run, name="greenroom-output", daemon=True)
        self._thread.start()

    def _connect(self) -> sqlite3.Connection:
        prepare(self.path, OUTPUT)
        connection = connect_writer(self.path, OUTPUT, "NORMAL", _CHECKPOINT_PAGES)
        try:
            with translated(self.path):
                connection.execute(_Q["last_keys"]).fetchall()
        except BaseException:
            connection.close()
            raise
        return connection

    def _set_aside(self) -> None:
        aside = self.path.with_name(self.path.name + ".damaged")
        for end in ("", "-wal", "-shm"):
            part = self.path.with_name(self.path.name + end)
            if part.exists():
                part.replace(aside.with_name(aside.name + end))

    def close(self) -> None:
        """Write what waits, then let go of the file. Does nothing if it is not open."""
        thread, self._thread = self._thread, None
        if thread is not None:
            with self._changed:
                self._ending = True
                self._changed.notify_all()
            thread.join()
        self._readers.close()
        self._lock.release()

    def append(self, execution: str, node: str, item: int, attempt: int, stream: int, offset: int, data: bytes) -> None:
        """Take output of a call; does not wait. What was taken before (the same offset) is left out."""
        self._check_open()
        with self._changed:
            self.stats.bytes += len(data)
            if self._waiting_bytes + len(data) > _MOST_WAITING:
                self.stats.dropped += len(data)
                return
            self._waiting_bytes += len(data)
            self._put(((execution, node, item, attempt), stream, offset, data))

    def drop(self, execution: str) -> None:
        """Delete an execution's output; does not wait."""
        self._check_open()
        with self._changed:
            self._put(execution)

    def _put(self, entry: Entry | str) -> None:
        self._waiting.append(entry)
        self._taken += 1
        if len(self._waiting) == 1:
            self._changed.notify_all()

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until everything that was taken is written, at most `timeout` seconds; whether it is."""
        with self._changed:
            wanted = self._taken
            if self._settled < wanted:
                self._hurry = True
                self._changed.notify_all()
            self._changed.wait_for(lambda: self._settled >= wanted or self._thread is None, timeout)
            return self._settled >= wanted

    def _check_open(self) -> None:
        if self._thread is None:
            raise Closed(str(self.path))

    # Reading ----------------------------------------------------------------------------------------------------------

    def read(
        self,
        execution: str,
        node: str | None = None,
        item: int | None = None,
        attempt: int | None = None,
        after: int | None = None,
        limit: int = 1000,
    ) -> list[Output]:
        """Output in the order in which it came, with everything that was taken before the read.

        May wait for a moment for the writer: best called from a worker thread.

        Args:
            execution: Whose.
            node: Only this node's.
            item: Only this item's (of a node).
            attempt: Only this attempt's (of an item).
            after: Only what comes behind this cursor.
            limit: Pieces at most.
        """
        query = "of_execution"
        if node is not None:
            query = "of_node" if item is None else "of_item" if attempt is None else "of_attempt"
        return self._ask(query, execution, node, item, attempt, after or 0, limit)

    def tail(self, execution: str, node: str, item: int, attempt: int | None = None, size: int = 4096) -> bytes:
        """The last `size` bytes of a call's output, both streams as they came; of its last attempt by default."""
        missing = size
        parts: list[bytes] = []
        for piece in self._ask("ends_of", execution, node, item, attempt, 0, 2 + size // 64):
            parts.append(piece.data)
            missing -= len(piece.data)
            if missing <= 0:
                break
        text = b"".join(reversed(parts))
        return text[max(0, len(text) - size) :]

    def weights(self, executions: Iterable[str]) -> dict[str, int]:
        """Bytes of output of each execution."""
        self._check_open()
        self.flush()
        names = list(executions)
        return dict(self._all(repeated(_Q["weights"], len(names)), tuple(names))) if names else {}

    def _ask(
        self,
        query: str,
        execution: str,
        node: str | None,
        item: int | None,
        attempt: int | None,
        after: int,
        limit: int,
    ) -> list[Output]:
        self._check_open()
        self.flush()
        params = {"execution": execution, "node": node, "item": item, "attempt": attempt}
        rows = self._all(_Q[query], {**params, "after": after, "limit": limit})
        return [
            Output(id, execution, place, of, number, stream, start, data, missed)
            for id, place, of, number, stream, start, missed, data in rows
        ]

    def _all(self, query: str, params: tuple[object, ...] | dict[str, object]) -> list[Any]:
        return self._readers.all(query, params)

    # The thread -------------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._ending)
                self._changed.wait_for(lambda: self._hurry or self._ending, _LINGER_S)
                entries, self._waiting, self._waiting_bytes = self._waiting, [], 0
                ending, self._hurry = self._ending, False
            self._write(entries)
            with self._changed:
                self._settled += len(entries)
                self._changed.notify_all()
                if ending and not self._waiting:
                    break
        self._writer.close()

    def _write(self, entries: list[Entry | str]) -> None:
        try:
            self._writer.write(entries)
        except Exception as fault:  # A full disk, or a fault of ours: there are gaps, and the hub goes on.
            self.stats.failures += 1
            self.stats.dropped += sum(len(entry[3]) for entry in entries if not isinstance(entry, str))
            log.warning("output of calls was not kept: %s: %s", type(fault).__name__, fault)
            self._writer.forget()
