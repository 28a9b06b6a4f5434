"""What calls printed: written behind, bounded, and never a reason to stop."""

from __future__ import annotations

import os
import sqlite3
import threading
from itertools import pairwise
from pathlib import Path

import pytest

from greenroom_hub.store import logs as module
from greenroom_hub.store import output_writer
from greenroom_hub.store.errors import Closed, InUse, NotOurs
from greenroom_hub.store.logs import LogStore, Output
from greenroom_hub.store.sqlite import SqliteStore


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "logs.sqlite"


@pytest.fixture
def logs(path):
    logs = LogStore(path, head=1000, tail=500)
    logs.open()
    yield logs
    logs.close()


def say(logs: LogStore, *words: str, execution="wf", node="n", item=0, attempt=1, stream=1, at: int = 0) -> int:
    """Print words, a line each; where the stream stands then."""
    for word in words:
        line = f"{word}\n".encode()
        logs.append(execution, node, item, attempt, stream, at, line)
        at += len(line)
    return at


def text(pieces: list[Output]) -> str:
    return b"".join(piece.data for piece in pieces).decode()


class TestReading:
    """Output is read by execution, node, item and attempt, from a cursor."""

    def test_what_was_taken_is_read_at_once(self, logs):
        """
        A read sees everything that was appended before it.
        """
        logs.append("wf", "n", 3, 2, 2, 0, b"oh no\n")

        assert [Output(1, "wf", "n", 3, 2, 2, 0, b"oh no\n", 0)] == logs.read("wf")

    def test_reads_narrow_step_by_step(self, logs):
        """
        An execution's output is all of it; a node, an item, an attempt narrow it; others' is never among it.
        """
        say(logs, "a0", node="a", item=0)
        say(logs, "a1", node="a", item=1)
        say(logs, "b0", node="b")
        say(logs, "a1 again", node="a", item=1, attempt=2)
        say(logs, "other", execution="wf2", node="a")

        assert text(logs.read("wf")) == "a0\na1\nb0\na1 again\n"
        assert text(logs.read("wf", "a")) == "a0\na1\na1 again\n"
        assert text(logs.read("wf", "a", 1)) == "a1\na1 again\n"
        assert text(logs.read("wf", "a", 1, 1)) == "a1\n"
        assert [] == logs.read("nobody") == logs.read("wf", "c") == logs.read("wf", "a", 9)

    @pytest.mark.parametrize("address", [("wf",), ("wf", "n"), ("wf", "n", 0), ("wf", "n", 0, 1)])
    def test_a_reader_resumes_after_its_cursor(self, logs, address):
        """
        Pages follow each other without loss or repeats, whatever is asked for.
        """
        at = 0
        for number in range(25):
            at = say(logs, f"line {number}", at=at)
            say(logs, "beside", node="m", item=number)
            logs.flush()

        pages, cursor = [], 0
        while page := logs.read(*address, after=cursor, limit=4):
            pages += page
            cursor = page[-1].cursor

        mine = [piece for piece in pages if piece.node == "n"]
        assert "".join(f"line {number}\n" for number in range(25)) == text(mine)
        assert all(a.cursor < b.cursor for a, b in pairwise(pages))

    def test_neighbouring_prints_become_one_piece(self, logs):
        """
        Many small prints of a call that come together are one row.
        """
        say(logs, *["x"] * 300)

        pieces = logs.read("wf")

        assert text(pieces) == "x\n" * 300
        assert len(pieces) < 30

    def test_the_end_of_a_call_is_found_fast(self, logs):
        """
        The last bytes of a call, both streams as they came, of its last attempt unless another is named.
        """
        at = say(logs, "first", "second")
        say(logs, "warning", stream=2)
        logs.flush()
        say(logs, "third", at=at)
        say(logs, "last try", attempt=2)

        assert logs.tail("wf", "n", 0) == b"last try\n"
        assert logs.tail("wf", "n", 0, 1) == b"first\nsecond\nwarning\nthird\n"
        assert logs.tail("wf", "n", 0, 1, size=5) == b"hird\n"
        assert logs.tail("wf", "n", 7) == b""

    def test_weights_are_bytes_of_each_execution(self, logs):
        """
        The store says how much output dropping an execution gives back.
        """
        say(logs, "12345", execution="a")
        say(logs, "1", execution="b")

        assert logs.weights(["a", "b", "c"]) == {"a": 6, "b": 2}
        assert logs.weights([]) == {}


class TestBounds:
    """However much is printed, little is kept."""

    def test_a_call_keeps_its_beginning_and_its_end(self, logs):
        """
        Of a call that prints without end the first and the last bytes stay, and a mark says how many are missing.
        """
        line = b"%07d\n"
        for number in range(20_000):
            logs.append("wf", "n", 0, 1, 1, 8 * number, line % number)
            if number % 700 == 0:
                logs.flush()

        pieces = logs.read("wf")

        kept = text(pieces)
        assert kept.startswith("0000000\n0000001\n") and kept.endswith("0019999\n")
        assert 1500 <= len(kept) <= 1500 + 16 * 1024
        marked = [piece for piece in pieces if piece.missed]
        assert len(marked) == 1
        assert len(kept) + marked[0].missed == 160_000
        assert marked[0].offset == marked[0].missed + 1000

    def test_bounds_hold_over_restarts(self, path):
        """
        A store that is opened again goes on where the call stood: nothing twice, nothing too much.
        """
        for round in range(6):
            logs = LogStore(path, head=100, tail=100)
            logs.open()
            logs.append("wf", "n", 0, 1, 1, 80 * round, b"%079d\n" % round)
            logs.append("wf", "n", 0, 1, 1, 80 * round, b"%079d\n" % round)
            logs.close()
        logs = LogStore(path)
        logs.open()

        pieces = logs.read("wf")
        logs.close()

        assert sum(len(piece.data) + piece.missed for piece in pieces) == 480
        assert text(pieces).endswith(f"{5:079d}\n")
        assert sum(piece.missed > 0 for piece in pieces) == 1

    def test_many_calls_do_not_fill_the_memory(self, logs, monkeypatch):
        """
        The bookkeeping of few calls stays in memory; that of others is read again when they print again.
        """
        monkeypatch.setattr(output_writer, "_KNOWN_CALLS", 10)
        for item in range(100):
            say(logs, "one", item=item)
        logs.flush()

        for item in range(100):
            say(logs, "one", "two", item=item)

        assert all(text(logs.read("wf", "n", item)) == "one\ntwo\n" for item in range(100))
        assert len(logs._writer._calls) <= 10

    def test_the_oldest_output_goes_when_all_is_too_much(self, path):
        """
        In all no more is kept than was allowed; what goes is the oldest.
        """
        logs = LogStore(path, total=1 << 20)
        logs.open()
        for number in range(400):
            logs.append(f"wf-{number}", "n", 0, 1, 1, 0, os.urandom(10_000))
            if number % 20 == 0:
                logs.flush()
        logs.flush()

        present = [number for number in range(400) if logs.read(f"wf-{number}")]
        logs.close()

        assert present and present[-1] == 399
        assert list(range(present[0], 400)) == present
        assert path.stat().st_size <= 3 << 20

    def test_a_flood_is_dropped_rather_than_kept_in_memory(self, logs, monkeypatch):
        """
        What comes faster than it can be written is counted and missing; the rest is as it was.
        """
        monkeypatch.setattr(module, "_MOST_WAITING", 100)

        for number in range(3):
            logs.append("wf", "n", 0, 1, 1, 60 * number, b"x" * 60)
        logs.flush()
        logs.append("wf", "n", 0, 1, 1, 180, b"end")

        assert logs.stats.dropped == 120
        assert [(piece.missed, len(piece.data)) for piece in logs.read("wf")] == [(0, 60), (120, 3)]


class TestDropping:
    """An execution's output goes with it."""

    def test_a_dropped_execution_has_no_output(self, logs):
        """
        What was printed is gone, and the same name may print again.
        """
        say(logs, "old", "older")
        say(logs, "kept", execution="other")

        logs.drop("wf")
        logs.drop("nobody")
        say(logs, "new")

        assert text(logs.read("wf")) == "new\n"
        assert text(logs.read("other")) == "kept\n"

    def test_dropping_gives_the_bytes_back(self, path):
        """
        The file gets smaller when much of it is dropped.
        """
        logs = LogStore(path, head=4 << 20)
        logs.open()
        logs.append("wf", "n", 0, 1, 1, 0, os.urandom(4 << 20))
        logs.close()
        assert path.stat().st_size > 4 << 20
        logs.open()

        logs.drop("wf")
        logs.close()

        assert path.stat().st_size < 1 << 20


class TestFile:
    """The file, its neighbours, and what can befall it."""

    def test_output_survives_a_restart(self, path, logs):
        """
        What was taken before the close is there after the next opening.
        """
        say(logs, "hello")
        logs.close()

        logs.open()

        assert text(logs.read("wf")) == "hello\n"

    def test_a_closed_store_says_so(self, logs):
        """
        After the close nothing is taken, and a second close does no harm.
        """
        logs.close()
        logs.close()

        with pytest.raises(Closed):
            say(logs, "hello")
        with pytest.raises(Closed):
            logs.read("wf")

    def test_two_hubs_do_not_share_it(self, path, logs):
        """
        A second opening of the file names the first one's process.
        """
        with pytest.raises(InUse, match=str(os.getpid())):
            LogStore(path).open()

    def test_another_file_is_left_alone(self, path):
        """
        A file that is not ours is named; the log of a hub is one of those.
        """
        store = SqliteStore(path)
        store.open()
        store.close()

        with pytest.raises(NotOurs):
            LogStore(path).open()

    def test_a_damaged_file_is_set_aside(self, path, logs, caplog):
        """
        Output is no reason not to start: a damaged file is kept beside, and a new one begun.
        """
        say(logs, *["hello"] * 200)
        logs.close()
        size = path.stat().st_size
        os.truncate(path, size // 2)

        logs.open()
        say(logs, "new")

        assert text(logs.read("wf")) == "new\n"
        assert size // 2 == path.with_name("logs.sqlite.damaged").stat().st_size
        assert "begins anew" in caplog.text

    def test_output_that_cannot_be_written_makes_a_gap(self, logs, caplog):
        """
        A full disk costs output, and is said; the store goes on when there is room again.
        """
        at = say(logs, "one")
        logs.flush()
        logs._writer._db.execute("PRAGMA query_only = ON")
        at = say(logs, "two", at=at)
        logs.flush()
        logs._writer._db.execute("PRAGMA query_only = OFF")

        say(logs, "three", at=at)

        assert [(p.data.decode(), p.missed) for p in logs.read("wf")] == [("one\n", 0), ("three\n", 4)]
        assert (logs.stats.failures, logs.stats.dropped) == (1, 4)
        assert "output of calls was not kept" in caplog.text

    def test_the_file_is_the_users_alone(self, path, logs):
        """
        What calls print is nobody else's business.
        """
        assert path.stat().st_mode & 0o777 == 0o600

    def test_commits_do_not_wait_for_the_disk(self, logs):
        """
        Output is not worth an fsync for each commit: NORMAL keeps the file whole all the same.
        """
        assert logs._writer._db.execute("PRAGMA synchronous").fetchone() == (1,)

    def test_many_threads_may_append_and_read(self, logs):
        """
        Appends and reads from several threads at a time lose nothing.
        """

        def work(item: int) -> None:
            at = 0
            for number in range(50):
                at = say(logs, f"{number}", item=item, at=at)
                if number % 20 == 0:
                    logs.read("wf", "n", item)

        threads = [threading.Thread(target=work, args=(item,)) for item in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        expected = "".join(f"{number}\n" for number in range(50))
        assert [expected] * 5 == [text(logs.read("wf", "n", item)) for item in range(5)]


def test_queries_page_without_sorting(path, logs):
    """
    Reads walk an index in the order of cursors: a page of a million rows costs a page.
    """
    say(logs, "hello")
    logs.flush()
    params = {"execution": "wf", "node": "n", "item": 0, "attempt": 1, "after": 0, "limit": 9}
    connection = sqlite3.connect(path)

    for name in ("of_execution", "of_node", "of_attempt"):
        plan = connection.execute(f"EXPLAIN QUERY PLAN {module._Q[name]}", params).fetchall()
        assert not [step for step in plan if "TEMP B-TREE" in step[3] or "SCAN" in step[3]], (name, plan)
    connection.close()
