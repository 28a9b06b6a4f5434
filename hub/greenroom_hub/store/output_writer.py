"""The writing side of the calls' output: used by one thread, which may fail and begin again."""

from __future__ import annotations

import contextlib
import sqlite3
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any, Final, NamedTuple, TypeAlias

from greenroom_hub.store.keeping import Changes, Kept, Piece
from greenroom_hub.store.queries import queries

Call: TypeAlias = tuple[str, str, int, int]
"""Execution, node, item, attempt."""

Entry: TypeAlias = tuple[Call, int, int, bytes]
"""Call, stream, where it begins in the stream, output."""

_KNOWN_CALLS: Final = 20_000
"""Calls whose bookkeeping stays in memory; that of others is read again when they print again."""

_ROW: Final = 64
"""Bytes that a piece takes beside its data, about."""

_LESS: Final = 0.95
"""Share of what may be kept that is left when the oldest had to go."""

_SLICE: Final = 500
_Q: Final = queries("output")


class Limits(NamedTuple):
    """How much is kept, bytes."""

    head: int
    tail: int
    total: int


class OutputStats:
    """What a store of output has done since it was opened."""

    __slots__ = ("bytes", "commits", "dropped", "failures", "pieces")

    def __init__(self) -> None:
        self.commits = 0
        self.pieces = 0
        self.bytes = 0
        """Taken, whether kept or not."""
        self.dropped = 0
        """Bytes that came faster than they could be written, or could not be written."""
        self.failures = 0


class _Place:
    """One node of one execution."""

    __slots__ = ("execution", "fresh", "key")

    def __init__(self, execution: int, key: int, fresh: bool) -> None:
        self.execution, self.key = execution, key
        self.fresh = fresh
        """Whether everything that is stored of its calls is known here, so that nothing has to be looked up."""


class OutputWriter:
    """The writing side, used by one thread."""

    def __init__(self, connection: sqlite3.Connection, limits: Limits, stats: OutputStats) -> None:
        self._db, self._limits, self._stats = connection, limits, stats
        self._executions: dict[str, int] = {}
        self._places: dict[tuple[str, str], _Place] = {}
        self._calls: OrderedDict[Call, Kept] = OrderedDict()
        self.forget()

    def forget(self) -> None:
        """Begin again from what is stored, after a failure."""
        if self._db.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
        self._executions.clear()
        self._places.clear()
        self._calls.clear()
        try:
            last = self._db.execute(_Q["last_keys"]).fetchall()[0]
        except sqlite3.Error:
            return  # Writing goes on failing until this can be read again.
        self._last_execution, self._last_place, self._last_piece = last

    def close(self) -> None:
        """Leave one file."""
        with contextlib.suppress(sqlite3.Error):
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        self._db.close()

    def write(self, entries: Sequence[Entry | str]) -> None:
        """Write what came, in one transaction; drops in transactions of their own, a slice each."""
        for is_drop, group in groupby(entries, lambda entry: isinstance(entry, str)):
            if is_drop:
                for execution in group:
                    self._drop(str(execution))
            else:
                self._add([entry for entry in group if not isinstance(entry, str)])
        if self._used() > self._limits.total:
            self._drop_oldest()

    def _used(self) -> int:
        """Bytes of the file that hold something."""
        pages, free, size = (
            self._db.execute(f"PRAGMA {name}").fetchall()[0][0]
            for name in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * size)

    def _add(self, entries: Sequence[Entry]) -> None:
        self._db.execute("BEGIN IMMEDIATE")
        changes, owners = Changes(), {}
        next_id = self._last_piece + 1
        for call, stream, offset, data in _joined(entries):
            first = next_id
            next_id = self._kept(call).take(stream, offset, data, first, changes)
            for id in range(first, next_id):
                owners[id] = call
        rows = [self._row(owners[id], piece, data) for id, (piece, data) in changes.added.items()]
        self._db.executemany(_Q["insert_piece"], rows)
        self._db.executemany(_Q["delete_piece"], ((piece.id,) for piece in changes.gone))
        self._db.executemany(_Q["set_missed"], ((missed, id) for id, missed in changes.missed.items()))
        self._db.execute("COMMIT")
        self._last_piece = next_id - 1
        self._stats.commits += 1
        self._stats.pieces += len(rows)

    def _row(self, call: Call, piece: Piece, data: bytes | memoryview) -> tuple[Any, ...]:
        place = self._place(call[0], call[1])
        return (piece.id, place.execution, place.key, call[2], call[3], piece.stream, piece.start, piece.missed, data)

    def _kept(self, call: Call) -> Kept:
        kept = self._calls.get(call)
        if kept is not None:
            self._calls.move_to_end(call)
            return kept
        place = self._place(call[0], call[1])
        kept = self._calls[call] = Kept(self._limits.head, self._limits.tail)
        if not place.fresh:
            found = self._db.execute(_Q["kept"], (place.key, call[2], call[3])).fetchall()
            kept.restore(Piece(id, stream, start, missed, size) for id, stream, start, size, missed in found)
        if len(self._calls) > _KNOWN_CALLS:
            old, _ = self._calls.popitem(last=False)
            if (evicted := self._places.get(old[:2])) is not None:
                evicted.fresh = False
        return kept

    def _place(self, execution: str, node: str) -> _Place:
        place = self._places.get((execution, node))
        if place is None:
            key = self._execution(execution)
            found = self._db.execute(_Q["place_key"], (key, node)).fetchone()
            if found is None:
                self._last_place += 1
                self._db.execute(_Q["insert_place"], (self._last_place, key, node))
            place = _Place(key, found[0] if found else self._last_place, found is None)
            self._places[execution, node] = place
        return place

    def _execution(self, name: str) -> int:
        key = self._executions.get(name)
        if key is None:
            found = self._db.execute(_Q["execution_key"], (name,)).fetchone()
            if found is None:
                self._last_execution += 1
                self._db.execute(_Q["insert_execution"], (self._last_execution, name))
            key = self._executions[name] = found[0] if found else self._last_execution
        return key

    def _drop(self, execution: str) -> None:
        found = self._db.execute(_Q["execution_key"], (execution,)).fetchone()
        if found is None:
            return
        while pieces := self._db.execute(_Q["some_of"], (found[0], _SLICE)).fetchall():
            self._db.execute(_Q["delete_some_of"], (found[0], pieces[-1][0]))
        self._db.execute("BEGIN IMMEDIATE")
        self._db.execute(_Q["delete_places"], found)
        self._db.execute(_Q["delete_execution"], found)
        self._db.execute("COMMIT")
        self._db.executescript("PRAGMA incremental_vacuum")  # `execute` gives back a single page.
        self._executions.pop(execution, None)
        for place in [place for place in self._places if place[0] == execution]:
            del self._places[place]
        for call in [call for call in self._calls if call[0] == execution]:
            del self._calls[call]

    def _drop_oldest(self) -> None:
        """Make room: a little more than is needed, so that it is not needed again at once."""
        wanted = self._used() - self._limits.total * _LESS
        while wanted > 0 and (pieces := self._db.execute(_Q["oldest"], (_SLICE,)).fetchall()):
            gone = 0
            while gone < len(pieces) and wanted > 0:
                wanted -= pieces[gone][1] + _ROW
                gone += 1
            self._db.execute(_Q["delete_up_to"], (pieces[gone - 1][0],))


def _joined(entries: Sequence[Entry]) -> Iterable[Entry]:
    """Neighbouring pieces of one stream as one: a print a row would make ten times the rows."""
    at: tuple[Call, int, int] | None = None
    parts: list[bytes] = []
    size = 0
    for call, stream, offset, data in entries:
        if at is not None and (call, stream, offset) == (at[0], at[1], at[2] + size):
            parts.append(data)
            size += len(data)
            continue
        if at is not None:
            yield *at, b"".join(parts)
        at, parts, size = (call, stream, offset), [data], len(data)
    if at is not None:
        yield *at, b"".join(parts)
