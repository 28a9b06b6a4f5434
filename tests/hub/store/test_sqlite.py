"""The log in SQLite: the contract, and what only a file can show."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from greenroom_hub.store import writer
from greenroom_hub.store.database import LOG
from greenroom_hub.store.errors import Damaged, InUse, NewerVersion, NotOurs, NotWritable, OtherHistory
from greenroom_hub.store.rows import Batch, Row
from greenroom_hub.store.sqlite import SqliteStore
from tests.hub.store.contract import Shelf, StoreContract
from tests.hub.store.pen import NOW, Pen, an_execution, settle


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "log.sqlite"


@pytest.fixture
def store(path):
    store = SqliteStore(path)
    store.open()
    yield store
    store.close()


def break_commits(store: SqliteStore) -> None:
    """Have the file refuse writes from now on, without a real full disk."""
    store._writer._db.execute("PRAGMA query_only = ON")


class TestSqliteStore(StoreContract):
    """The contract, kept in a file."""

    @pytest.fixture
    def shelf(self, path, monkeypatch) -> Shelf:
        from greenroom_hub.store import sqlite

        broken = []
        begin = SqliteStore._begin

        def fails_while_broken(self, connection):
            if broken:
                connection.execute("PRAGMA query_only = ON")
            return begin(self, connection)

        monkeypatch.setattr(sqlite.SqliteStore, "_begin", fails_while_broken)

        def breaks(store):
            broken.append(True)
            break_commits(store)

        return Shelf(lambda notify: SqliteStore(path, notify), breaks, lambda _: broken.clear())


# What may lie at the path ---------------------------------------------------------------------------------------------


def traces(path: Path) -> set[str]:
    """Files beside `path`, its lock left out."""
    return {file.name for file in path.parent.iterdir()} - {path.name + ".lock"}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "an empty file"),
        (b"GIF89a", "a file of 6 bytes that is no database"),
        (b"SQLite format 3\x00", "a file of 16 bytes that is no database"),
        (b"x" * 5000, "a file of 5000 bytes that is no database"),
    ],
)
def test_a_file_that_is_no_database_is_left_alone(path, content, words):
    """
    Whatever else lies at the path is named and not touched.
    """
    path.write_bytes(content)

    with pytest.raises(NotOurs, match=words):
        SqliteStore(path).open()

    assert content == path.read_bytes()
    assert {path.name} == traces(path)


def test_another_programs_database_is_left_alone(path):
    """
    A database of another program is told by its application id, before SQLite touches it.
    """
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE photos (id)")
    other.close()
    before = path.read_bytes()

    with pytest.raises(NotOurs, match=r"another program \(application_id 0x0\): move it away|another program"):
        SqliteStore(path).open()

    assert before == path.read_bytes()
    assert {path.name} == traces(path)


def test_the_output_of_calls_is_no_log(path, tmp_path):
    """
    Our two kinds of files are not taken for each other.
    """
    from greenroom_hub.store.logs import LogStore

    logs = LogStore(path)
    logs.open()
    logs.close()

    with pytest.raises(NotOurs):
        SqliteStore(path).open()


def alter(path: Path, *statements: str) -> None:
    """Change a store's file behind its back."""
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def made(path: Path, rows: int = 3) -> None:
    """A store with some rows, closed."""
    store = SqliteStore(path)
    store.open()
    Pen(store).write(*["a"] * rows)
    store.close()


def test_a_newer_version_is_refused(path):
    """
    A file that a newer greenroom has migrated says which version it has and which are known, and is not opened.
    """
    made(path)
    alter(path, f"PRAGMA user_version = {LOG.version + 1}")

    with pytest.raises(NewerVersion, match=f"has version {LOG.version + 1}, .* up to {LOG.version}: upgrade"):
        SqliteStore(path).open()


def test_a_newer_version_is_refused_when_only_its_wal_says_so(path):
    """
    An upgrade that was killed before its first checkpoint is seen too.
    """
    made(path)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute("PRAGMA user_version = 99")
    copies = {end: path.with_name(path.name + end).read_bytes() for end in ("", "-wal")}
    connection.close()
    for end, content in copies.items():
        path.with_name(path.name + end).write_bytes(content)

    with pytest.raises(NewerVersion, match="99"):
        SqliteStore(path).open()


def test_another_history_is_refused(path):
    """
    A file whose migration differs from ours of the same number was written by no release.
    """
    made(path)
    alter(path, "UPDATE migrations SET checksum = 'other'")

    with pytest.raises(OtherHistory, match="another migration 1 than this greenroom's 0001_log.sql"):
        SqliteStore(path).open()


def test_a_file_cut_short_is_damaged(path):
    """
    A file that lost its end is refused with both sizes, and left as it is.
    """
    made(path, rows=3000)
    size = path.stat().st_size
    os.truncate(path, size // 2)

    with pytest.raises(Damaged, match=f"it has {size // 2} bytes of {size}"):
        SqliteStore(path).open()

    assert size // 2 == path.stat().st_size


@pytest.mark.parametrize("page", [1, 2, -1])
def test_a_file_with_a_spoilt_page_is_damaged(path, page):
    """
    A page full of noise is found at the opening where it is needed then, else by the first read or check.
    """
    made(path, rows=3000)
    pages = path.stat().st_size // 4096
    with path.open("r+b") as file:
        file.seek(4096 * (page % pages) + (200 if page == 0 else 0))
        file.write(b"\xa5" * 3800)
    store = SqliteStore(path)

    try:
        store.open()
        found = store.check()
    except Damaged as fault:
        found = [str(fault)]
    finally:
        store.close()

    assert found


def test_a_missing_file_beside_its_wal_is_not_made_anew(path):
    """
    A WAL without its file would be played into the new one and spoil both: it is named instead.
    """
    path.with_name(path.name + "-wal").write_bytes(b"frames")

    with pytest.raises(Damaged, match="it is missing, and log.sqlite-wal is there"):
        SqliteStore(path).open()

    assert not path.exists()


def test_a_making_that_was_cut_short_is_begun_again(path):
    """
    A file is made under another name: what an interrupted making left is no obstacle.
    """
    path.with_name(path.name + ".new").write_bytes(b"half")
    path.with_name(path.name + ".new-journal").write_bytes(b"half")

    made(path)

    assert {path.name} == traces(path)


@pytest.mark.parametrize("where", ["missing/log.sqlite", "file/log.sqlite"])
def test_a_folder_that_cannot_hold_it_is_named(tmp_path, where):
    """
    A folder that is not there, or is none, gives one sentence with the reason.
    """
    (tmp_path / "file").write_text("")

    with pytest.raises(NotWritable, match="cannot be written"):
        SqliteStore(tmp_path / where).open()


def test_a_folder_without_permission_is_named():
    """
    Where not even root may write, the error says so.
    """
    with pytest.raises(NotWritable, match=r"/proc/log.sqlite cannot be written \("):
        SqliteStore("/proc/log.sqlite").open()


def test_the_file_is_the_users_alone(path, store):
    """
    It holds inputs and sealed secrets: nobody else may read it, its WAL or its index.
    """
    Pen(store).write("a")

    files = [path.with_name(path.name + end) for end in ("", "-wal", "-shm", ".lock")]
    assert {0o600} == {file.stat().st_mode & 0o777 for file in files}


def test_a_path_with_odd_characters(tmp_path):
    """
    Spaces, question marks, percent signs and umlauts in a path are only a path.
    """
    folder = tmp_path / "a b?c=d%41#ü"
    folder.mkdir()

    made(folder / "log.sqlite")

    assert {"log.sqlite"} == traces(folder / "log.sqlite")


# Who may open it ------------------------------------------------------------------------------------------------------


def test_a_second_hub_is_told_who_has_the_store(path, store):
    """
    Two hubs on one file are told apart: the second hears the pid of the first, and nothing happens to the store.
    """
    with pytest.raises(InUse, match=f"in use by the hub with pid {os.getpid()}: stop that one first"):
        SqliteStore(path).open()

    Pen(store).write("a")
    assert len(store.read("a")) == 1


def test_the_lock_ends_with_its_process(path):
    """
    A hub that was killed leaves no lock behind.
    """
    code = (
        f"from greenroom_hub.store.sqlite import SqliteStore\n"
        f"store = SqliteStore({str(path)!r})\nstore.open()\nprint(1, flush=True)\ninput()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as hub:
        hub.stdout.readline()
        with pytest.raises(InUse, match=f"pid {hub.pid}"):
            SqliteStore(path).open()
        hub.kill()
        hub.wait()

    made(path)


def test_a_failed_opening_gives_the_lock_back(path):
    """
    Who could not open the store does not keep others from it.
    """
    path.write_bytes(b"noise")
    store = SqliteStore(path)
    with pytest.raises(NotOurs):
        store.open()
    path.unlink()

    made(path)

    store.open()
    store.close()


# How it commits -------------------------------------------------------------------------------------------------------


def test_every_commit_is_on_disk(store):
    """
    SQLite itself says that commits are synchronous, and that they go to a WAL.
    """
    durability = store.durability()

    assert durability[:3] == ("FULL", "wal", 4096)
    assert f"SQLite {sqlite3.sqlite_version}" == durability.library


def test_batches_that_wait_share_a_commit(store, monkeypatch):
    """
    While a commit runs, batches gather; the next commit takes them all.
    """
    pen = Pen(store)
    entered, go = threading.Event(), threading.Event()
    write = store._writer._write

    def slow(group):
        entered.set()
        go.wait(20)
        return write(group)

    monkeypatch.setattr(store._writer, "_write", slow)
    first = pen.append("a")
    entered.wait(20)

    rest = [pen.append("a", "b") for _ in range(40)]
    go.set()
    settle(first, *rest)

    assert (store.stats.commits, store.stats.batches) == (2, 41)


def test_a_transaction_does_not_grow_without_end(store, monkeypatch):
    """
    From a size on, batches that wait are left for the next commit.
    """
    monkeypatch.setattr(writer, "_GROUP_BYTES", 1000)
    pen = Pen(store)
    groups = []
    write = store._writer._write
    monkeypatch.setattr(store._writer, "_write", lambda group: (groups.append(len(group)), write(group))[1])

    settle(*[store.append(Batch([pen.row("a", b"x" * 400)])) for _ in range(30)])

    assert max(groups) <= 3


def test_readers_work_from_many_threads(store):
    """
    Reads from several threads at a time, while batches are committed, all see whole rows.
    """
    pen = Pen(store)
    pen.write(*["a"] * 200)
    wrong: list[object] = []

    def read(start: int) -> None:
        for position in range(start, 200, 7):
            if store.row(position) != pen.rows[position - 1]:
                wrong.append(position)

    threads = [threading.Thread(target=read, args=(start,)) for start in range(1, 8)]
    for thread in threads:
        thread.start()
    settle(*[pen.append("b") for _ in range(50)])
    for thread in threads:
        thread.join()

    assert wrong == []
    assert len(store._readers._idle) <= 8


def test_large_batches_go_through_every_size_of_statement(store):
    """
    Rows are inserted many at a time; counts around the sizes of the statements all arrive.
    """
    pen = Pen(store)

    for count in (1, 7, 8, 9, 63, 64, 65, 137, 200):
        pen.write(*["a"] * count)

    assert pen.rows == store.read("a", limit=1000)


# Tidying --------------------------------------------------------------------------------------------------------------


def until(true, seconds: float = 20.0) -> None:
    """Wait until something holds that a thread of the store brings about."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "did not come about in time"
        time.sleep(0.005)


def test_a_pause_is_used_for_a_checkpoint(path, monkeypatch):
    """
    When nothing comes for a while, the WAL is moved to the file, so that it is written again from its start.
    """
    monkeypatch.setattr(writer, "_WAL_BYTES", 0)
    store = SqliteStore(path)
    store.open()
    pen = Pen(store)
    settle(store.append(Batch([pen.row("a", os.urandom(3 << 20))])))

    until(lambda: store.stats.checkpoints)

    wal = path.with_name(path.name + "-wal")
    size = wal.stat().st_size
    settle(store.append(Batch([pen.row("a", os.urandom(1 << 20))])))
    assert size == wal.stat().st_size
    store.close()


def test_the_wal_is_lengthened_ahead_of_need(path, store):
    """
    Before there is work the WAL gets its length, so that commits write into blocks that exist; nothing is lost by it.
    """
    wal = path.with_name(path.name + "-wal")

    until(lambda: wal.stat().st_size == writer._WAL_BYTES)
    pen = Pen(store)
    pen.write("a", "b")

    assert wal.stat().st_size == writer._WAL_BYTES
    assert pen.rows == list(store.live())


def test_a_wal_stays_bounded_under_load(path, monkeypatch):
    """
    Although work never pauses, the WAL does not grow beyond a few times its bound.
    """
    from greenroom_hub.store import sqlite

    monkeypatch.setattr(sqlite, "CHECKPOINT_PAGES", 128)
    monkeypatch.setattr(writer, "_GROUP_BYTES", 128 * 4096)
    monkeypatch.setattr(writer, "_WAL_BYTES", 0)
    store = SqliteStore(path)
    store.open()
    pen = Pen(store)
    data = os.urandom(100_000)

    settle(*[store.append(Batch([pen.row("a", data)])) for _ in range(150)])

    assert store.stats.checkpoints == 0  # None of them in a pause.
    assert path.with_name(path.name + "-wal").stat().st_size < 4 * 128 * 4096
    store.close()


def test_dropped_rows_are_deleted_and_their_bytes_given_back(path, store, monkeypatch):
    """
    What was dropped is deleted a little at a time when nothing else is to do, and the file gets smaller.
    """
    monkeypatch.setattr(writer, "_REST_S", 0.03)
    pen = Pen(store)
    data = os.urandom(20_000)
    pen.write("keep")
    settle(store.append(Batch([pen.row("wf", data) for _ in range(1200)], [an_execution("wf", "failed")])))
    until(lambda: path.stat().st_size > 20_000_000)

    pen.write(dropped=["wf"])
    until(lambda: path.stat().st_size < 1_000_000)

    assert store.stats.reaped == 1200
    assert [row.position for row in store.live()] == [1]
    assert store.check() == []


def test_deleting_goes_on_after_a_restart(path, store):
    """
    A hub that ends between the drop and the deletion leaves the rest of it to the next one.
    """
    pen = Pen(store)
    pen.write(*["wf"] * 3000, executions=[an_execution("wf", "failed")])
    pen.write(dropped=["wf"])
    store.close()
    reaped = store.stats.reaped

    again = SqliteStore(path)
    again.open()
    until(lambda: again.stats.reaped == 3000 - reaped)

    again.close()
    assert 0 == sqlite3_count(path, "events") == sqlite3_count(path, "reaping")


def sqlite3_count(path: Path, table: str) -> int:
    """Rows of a table, asked behind the store's back."""
    with closing(sqlite3.connect(path)) as connection:
        (count,) = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
    return count


def test_an_idle_store_sleeps(path, monkeypatch):
    """
    With nothing left to tidy, the writer's thread waits without waking up (looked at for 0.1 s).
    """
    monkeypatch.setattr(writer, "_REST_S", 0.03)
    store = SqliteStore(path)
    store.open()
    Pen(store).write("a")
    until(lambda: store.stats.checkpoints == 1)
    time.sleep(0.05)
    thread = Path(f"/proc/self/task/{store._writer._thread.native_id}/status")

    def switches() -> str:
        return "".join(line for line in thread.read_text().splitlines() if "voluntary" in line)

    before = switches()
    time.sleep(0.1)

    assert before == switches()
    store.close()


def test_a_checkpoint_that_fails_harms_nothing(store, monkeypatch, caplog):
    """
    Tidying may fail, on a full disk say: the rows are safe in the WAL, and the store goes on.
    """
    pen = Pen(store)

    def fails(stream: int) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(store._writer, "_reap", fails)
    pen.write("wf", executions=[an_execution("wf", "failed")])
    pen.write(dropped=["wf"])
    until(lambda: "tidying the store failed" in caplog.text)

    pen.write("a")

    assert len(store.read("a")) == 1


# Migrating ------------------------------------------------------------------------------------------------------------


def test_an_older_file_is_brought_up_to_date(path, monkeypatch):
    """
    Migrations that are new run at the opening, each in its own transaction, and are noted with their checksum.
    """
    from greenroom_hub.store import database, queries

    made(path)
    extra = queries.Migration(2, "0002_more.sql", "-- why\nCREATE TABLE more (a TEXT) STRICT;\n", "sum")
    monkeypatch.setattr(database, "migrations", lambda name: (*queries.migrations(name), extra))

    store = SqliteStore(path)
    head = store.open()
    store.close()

    assert head.position == 3
    assert sqlite3_count(path, "more") == 0
    assert sqlite3_count(path, "migrations") == 2


def test_a_migration_that_fails_changes_nothing(path, monkeypatch):
    """
    A migration is applied whole or not at all.
    """
    from greenroom_hub.store import database, queries
    from greenroom_hub.store.errors import StoreError

    made(path)
    text = "CREATE TABLE more (a TEXT) STRICT;\nINSERT INTO nowhere VALUES (1);\n"
    extra = queries.Migration(2, "0002_more.sql", text, "sum")
    with monkeypatch.context() as patch:
        patch.setattr(database, "migrations", lambda name: (*queries.migrations(name), extra))
        with pytest.raises(StoreError, match="nowhere"):
            SqliteStore(path).open()

    store = SqliteStore(path)
    assert store.open().position == 3
    store.close()
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        sqlite3_count(path, "more")


def test_large_rows_are_read_a_few_hundred_at_a_time(store):
    """
    Recovery reads all live rows in order, however many chunks that takes.
    """
    pen = Pen(store)
    settle(*[pen.append(*[f"s{number % 5}"] * (number % 90)) for number in range(60)])

    assert pen.rows == list(store.live())
    assert pen.rows[0].at_ms > NOW and isinstance(pen.rows[0], Row)
