"""SQLite files of ours: told from others before they are touched, made whole or not at all, migrated, opened."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from greenroom_hub.store.errors import (
    Damaged,
    NewerVersion,
    NotDurable,
    NotOurs,
    NotWritable,
    OtherHistory,
    ReadFailed,
    StoreError,
)
from greenroom_hub.store.queries import migrations
from greenroom_hub.store.rows import Durability

_MAGIC: Final = b"SQLite format 3\x00"
_HEADER: Final = struct.Struct(">16sH10xI28xI4xI28x")  # Magic, page size, pages, user_version, application_id.
_SYNCHRONOUS: Final = ("OFF", "NORMAL", "FULL", "EXTRA")

PAGE_SIZE: Final = 4096
"""Bytes. A lone row's commit writes two pages; larger pages made it slower and batches no faster."""

BUSY_S: Final = 30.0
"""How long to wait for a person's own tool to let go of the file before that counts as a failure."""

# What a broken file, and a full or broken disk, make SQLite say.
_BROKEN: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_UNWRITABLE: Final = frozenset(
    {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_IOERR}
)


class Kind(NamedTuple):
    """One kind of file of ours."""

    application_id: int
    """Stands in the file's header: what `file` and we tell it by."""
    name: str
    """Of its migrations' folder below `sql/`."""

    @property
    def version(self) -> int:
        """The newest version that this greenroom knows."""
        return len(migrations(self.name))


LOG: Final = Kind(0x47526C67, "log")
OUTPUT: Final = Kind(0x47526F75, "output")


def translate(path: Path, fault: sqlite3.Error) -> StoreError:
    """The error of ours for one of SQLite's."""
    code = getattr(fault, "sqlite_errorcode", 0) & 0xFF
    if code in _BROKEN:
        return Damaged(str(path), str(fault))
    if code in _UNWRITABLE:
        return NotWritable(str(path), str(fault))
    return ReadFailed(str(path), str(fault))


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """SQLite's and the operating system's errors leave as ours."""
    try:
        yield
    except sqlite3.Error as fault:
        raise translate(path, fault) from fault
    except OSError as fault:
        raise NotWritable(str(path), fault.strerror or str(fault)) from fault


def prepare(path: Path, kind: Kind) -> bool:
    """See to it that a file of this kind is at `path`; whether it was made now.

    Raises:
        StoreError: There is something else, something damaged, or nothing can be made there.
    """
    with translated(path):
        if not path.exists():
            _create(path, kind)
            return True
        _examine(path, kind)
        return False


def _examine(path: Path, kind: Kind) -> None:
    """Read the header without SQLite, which would leave its traces beside a file that is not ours."""
    with path.open("rb") as file:
        header = file.read(_HEADER.size)
    size = path.stat().st_size
    if not header:
        raise NotOurs(str(path), "an empty file")
    if len(header) < _HEADER.size or not header.startswith(_MAGIC):
        raise NotOurs(str(path), f"a file of {size} bytes that is no database")
    _, page_size, pages, version, application_id = _HEADER.unpack(header)
    if application_id != kind.application_id:
        raise NotOurs(str(path), f"a database of another program (application_id {application_id:#x})")
    if version > kind.version:
        raise NewerVersion(str(path), version, kind.version)
    wal = path.with_name(path.name + "-wal")
    expected = pages * (page_size if page_size != 1 else 65536)
    if size < expected and not (wal.exists() and wal.stat().st_size):  # A WAL may hold what is missing.
        raise Damaged(str(path), f"it has {size} bytes of {expected}")


def _create(path: Path, kind: Kind) -> None:
    """Make the file under another name first: at `path` there is a whole one, or none."""
    beside = [path.with_name(path.name + end) for end in ("-wal", "-journal")]
    for left in beside:
        if left.exists() and left.stat().st_size:  # It would be played into the new file, and spoil both.
            raise Damaged(str(path), f"it is missing, and {left.name} is there: put both back, or move that away too")
    new = path.with_name(path.name + ".new")
    for end in ("", "-wal", "-shm", "-journal"):
        new.with_name(new.name + end).unlink(missing_ok=True)
    os.close(os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))  # It holds what users send and print.
    connection = sqlite3.connect(new, isolation_level=None)
    try:
        connection.execute(f"PRAGMA page_size = {PAGE_SIZE}")
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # So that what is dropped goes back to the disk.
        connection.execute(f"PRAGMA application_id = {kind.application_id}")
        _migrate(connection, path, kind)
        connection.execute("PRAGMA journal_mode = WAL")
    finally:
        connection.close()
    _sync(new)
    new.rename(path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _migrate(connection: sqlite3.Connection, path: Path, kind: Kind) -> None:
    """Bring the schema up to date, one transaction for each migration."""
    known = migrations(kind.name)
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > kind.version:
        raise NewerVersion(str(path), version, kind.version)
    if version:
        had = dict(connection.execute("SELECT number, checksum FROM migrations WHERE number <= ?", (version,)))
        for migration in known[:version]:
            if had.get(migration.number) != migration.checksum:
                raise OtherHistory(str(path), migration.number, migration.name)
    for migration in known[version:]:
        connection.execute("BEGIN IMMEDIATE")
        try:
            if migration.number == 1:
                connection.execute(
                    "CREATE TABLE migrations (number INTEGER NOT NULL PRIMARY KEY, name TEXT NOT NULL, "
                    "checksum TEXT NOT NULL, at_ms INTEGER NOT NULL) STRICT"
                )
            for statement in migration.statements():
                connection.execute(statement)
            row = (migration.number, migration.name, migration.checksum, int(time.time() * 1000))
            connection.execute("INSERT INTO migrations (number, name, checksum, at_ms) VALUES (?, ?, ?, ?)", row)
            connection.execute(f"PRAGMA user_version = {migration.number}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def connect_writer(path: Path, kind: Kind, synchronous: str, checkpoint_pages: int) -> sqlite3.Connection:
    """Open a file that `prepare` has seen to, for the one thread that writes.

    Args:
        path: The file.
        kind: What it must be.
        synchronous: `FULL`: a commit is on disk when it returns. `NORMAL`: the file stays whole, the last may be lost.
        checkpoint_pages: Pages in the WAL from which a commit also moves them to the file, so that it stays bounded.

    Raises:
        StoreError: It cannot be opened, brought up to date, or made durable.
    """
    with translated(path):
        connection = _connect(path, "rw")
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA synchronous = {synchronous}")
            connection.execute("PRAGMA fullfsync = 1")  # macOS: fsync alone leaves it in the drive's cache.
            connection.execute("PRAGMA checkpoint_fullfsync = 1")
            connection.execute(f"PRAGMA wal_autocheckpoint = {checkpoint_pages}")
            connection.execute(f"PRAGMA journal_size_limit = {8 * checkpoint_pages * PAGE_SIZE}")
            connection.execute("PRAGMA cache_size = -16384")
            connection.execute("PRAGMA secure_delete = FAST")  # What is dropped is wiped where that costs no write.
            _migrate(connection, path, kind)
        except BaseException:
            connection.close()
            raise
    found = durability(connection)
    if (found.synchronous, found.journal) != (synchronous, "wal"):
        connection.close()
        raise NotDurable(str(path), f"synchronous {synchronous} with a WAL", f"{found.synchronous}, {found.journal}")
    return connection


def durability(connection: sqlite3.Connection) -> Durability:
    """What commits of a connection mean, as SQLite says it."""

    def ask(pragma: str) -> object:
        return connection.execute(f"PRAGMA {pragma}").fetchone()[0]

    level, pages = ask("synchronous"), ask("page_size")
    assert isinstance(level, int) and isinstance(pages, int)
    return Durability(_SYNCHRONOUS[level], str(ask("journal_mode")), pages, f"SQLite {sqlite3.sqlite_version}")


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    connection = sqlite3.connect(uri, uri=True, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    # No mmap: it saves few microseconds a read, and turns a file cut short into a SIGBUS that ends the hub.
    connection.execute("PRAGMA mmap_size = 0")
    connection.execute("PRAGMA trusted_schema = OFF")
    return connection


class Readers:
    """Connections that only read: one for each read at a time, kept for the next. For any thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._idle: list[sqlite3.Connection] = []
        self._open = True

    def all(self, sql: str, params: tuple[object, ...] | dict[str, object] = ()) -> list[tuple[object, ...]]:
        """All rows of one query, of one state of the database: the newest.

        Raises:
            StoreError: It is damaged, or cannot be read now.
        """
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._new()
        try:
            return connection.execute(sql, params).fetchall()
        except sqlite3.Error as fault:
            raise translate(self._path, fault) from fault
        finally:
            self._idle.append(connection)
            if not self._open:
                self.close()

    def _new(self) -> sqlite3.Connection:
        with translated(self._path):
            connection = _connect(self._path, "rw")  # A WAL's index cannot be read through `ro` by the first to open.
            connection.execute("PRAGMA query_only = ON")
            connection.execute("PRAGMA cache_size = -4096")
            return connection

    def close(self) -> None:
        """Close all; one that is reading right now is closed when it has read."""
        self._open = False
        while self._idle:
            try:
                self._idle.pop().close()
            except IndexError:  # Another thread was faster.
                return
