"""The small parts of the store: tickets, counters, the reader of SQL."""

from __future__ import annotations

import pytest

from greenroom_hub.store import queries
from greenroom_hub.store.stats import BOUNDS_US, Stats
from greenroom_hub.store.ticket import Ticket


class TestTicket:
    """The promise that a batch gets on disk."""

    def test_callbacks_hear_of_the_end_once(self):
        """
        Callbacks are called in the order in which they were added, each once, with the ticket.
        """
        ticket, heard = Ticket(7), []
        ticket.add_done_callback(lambda done: heard.append(("first", done)))
        ticket.add_done_callback(lambda done: heard.append(("second", done)))

        ticket.complete()

        assert [("first", ticket), ("second", ticket)] == heard
        assert ticket.done and ticket.error is None

    def test_a_late_callback_is_called_at_once(self):
        """
        Who asks after the end is answered at once, also about a failure.
        """
        ticket, heard = Ticket(7), []
        ticket.complete(OSError("full"))

        ticket.add_done_callback(heard.append)

        assert [ticket] == heard
        assert str(ticket.error) == "full"

    def test_waiting_ends_with_the_time(self):
        """
        A wait without an end says that it was not reached.
        """
        ticket = Ticket(1)

        assert not ticket.wait(0.001)
        ticket.complete()
        assert ticket.wait(0.001)

    def test_it_shows_what_became_of_it(self):
        """
        Its text says whether it waits, is on disk or failed.
        """
        waiting, done, failed = Ticket(1), Ticket(2), Ticket(3)
        done.complete()
        failed.complete(OSError("full"))

        texts = [repr(waiting), repr(done), repr(failed)]

        assert texts == ["<Ticket 1 waits>", "<Ticket 2 on disk>", "<Ticket 3 failed: full>"]


class TestStats:
    """Plain counters."""

    def test_each_commit_falls_into_one_bucket(self):
        """
        A bucket holds what took at most its bound; the last one what took longer than all.
        """
        stats = Stats()

        for us in (1, 100, 101, BOUNDS_US[-1], BOUNDS_US[-1] + 1):
            stats.committed(1, 2, 3, us)

        assert (stats.commits, stats.batches, stats.rows, stats.bytes) == (5, 5, 10, 15)
        assert (stats.buckets[0], stats.buckets[1], stats.buckets[-2], stats.buckets[-1]) == (2, 1, 1, 1)
        assert len(BOUNDS_US) + 1 == len(stats.buckets)

    def test_quantiles_are_bounds_of_buckets(self):
        """
        A quantile is the bound below which that share of the commits took.
        """
        stats = Stats()
        assert stats.quantile_us(0.99) == 0

        for us in [150] * 90 + [4000] * 10:
            stats.committed(1, 1, 1, us)

        assert tuple(stats.quantile_us(share) for share in (0, 0.9, 0.91, 1)) == (200, 200, 5000, 5000)


class TestQueries:
    """SQL in the open."""

    def test_queries_are_found_by_name(self):
        """
        A query begins at its name and ends before the next; comments and the last semicolon are left out.
        """
        found = queries.queries("log")

        assert found["program"] == "SELECT packed FROM programs WHERE digest = ?"
        assert not any("--" in query or query.endswith(";") for query in found.values())

    def test_a_query_is_widened_for_many_rows(self):
        """
        What stands behind VALUES, or in an IN, is repeated; nothing else is.
        """
        insert = queries.repeated("INSERT INTO t (a, b) VALUES (?, ?)", 3)
        lookup = queries.repeated("SELECT f(?) FROM t WHERE a IN (?)", 2)

        assert insert == "INSERT INTO t (a, b) VALUES (?, ?), (?, ?), (?, ?)"
        assert lookup == "SELECT f(?) FROM t WHERE a IN (?, ?)"
        with pytest.raises(ValueError, match="nothing to repeat"):
            queries.repeated("SELECT 1", 2)

    @pytest.mark.parametrize("name", ["log", "output"])
    def test_migrations_are_numbered_without_gaps(self, name):
        """
        The files below a folder of migrations count from 1.
        """
        found = queries.migrations(name)

        assert list(range(1, len(found) + 1)) == [migration.number for migration in found]
        assert len(found) == len({migration.checksum for migration in found})

    def test_a_gap_in_the_migrations_is_refused(self, tmp_path, monkeypatch):
        """
        A folder whose numbers skip one is a mistake of the build.
        """
        (tmp_path / "odd").mkdir()
        (tmp_path / "odd" / "0002_late.sql").write_text("SELECT 1;")
        monkeypatch.setattr(queries, "FOLDER", tmp_path)

        with pytest.raises(ValueError, match="0002_late.sql: expected number 1"):
            queries.migrations("odd")

    def test_a_checksum_is_of_the_statements_alone(self, tmp_path, monkeypatch):
        """
        Comments and layout of a migration may be mended after its release; its statements may not.
        """
        texts = {
            "a": "CREATE TABLE t (a);\n",
            "b": "-- why\nCREATE TABLE\n    t (a);\n",
            "c": "CREATE TABLE t (b);\n",
        }
        for folder, text in texts.items():
            (tmp_path / folder).mkdir()
            (tmp_path / folder / "0001_x.sql").write_text(text)
        monkeypatch.setattr(queries, "FOLDER", tmp_path)

        sums = [queries.migrations(folder)[0].checksum for folder in texts]

        assert sums[0] == sums[1] != sums[2]

    def test_statements_of_a_migration_come_one_by_one(self):
        """
        Semicolons inside texts and triggers do not cut a statement.
        """
        text = (
            "CREATE TABLE t (a TEXT DEFAULT ';');\n"
            "CREATE TRIGGER g AFTER INSERT ON t BEGIN\n  DELETE FROM t;\n  DELETE FROM t;\nEND;\n"
        )

        statements = list(queries.Migration(1, "", text, "").statements())

        assert len(statements) == 2
        assert statements[1].endswith("END;")
