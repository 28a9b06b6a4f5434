"""What every store does: one suite, run on each of them. A store's tests derive from `StoreContract`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from greenroom_hub.store.errors import Closed, CommitFailed, OutOfOrder, StoreError
from greenroom_hub.store.rows import Batch, ResultGroup, Row, Voided
from greenroom_hub.store.store import Store
from greenroom_hub.store.ticket import Ticket
from tests.hub.store.pen import NOW, Pen, a_result, an_execution, settle


@dataclass
class Shelf:
    """Where a store's data lies, so that a test can open it again."""

    make: Callable[[Callable[[Ticket], None] | None], Store]
    """A store on this data, not opened."""
    break_commits: Callable[[Store], None]
    """Have the next commit fail as if the disk were full."""
    mend: Callable[[Store], None]
    """Let commits succeed again."""


_NAMES = st.sampled_from("abcd")
TURNS = st.tuples(st.lists(_NAMES, max_size=6), st.lists(_NAMES, max_size=1), st.booleans())
"""A batch's streams, what it drops, and whether the store is opened again after it."""


class StoreContract:
    """Derive, and give the fixture `shelf`."""

    @pytest.fixture
    def shelf(self) -> Shelf:
        raise NotImplementedError

    @pytest.fixture
    def store(self, shelf: Shelf) -> Iterator[Store]:
        store = shelf.make(None)
        store.open()
        yield store
        store.close()

    @pytest.fixture
    def pen(self, store: Store) -> Pen:
        return Pen(store)

    # Opening ----------------------------------------------------------------------------------------------------------

    def test_a_new_store_is_empty(self, shelf):
        """
        A store that was not there before begins at position 0 in epoch 1, and says that it is new.
        """
        store = shelf.make(None)

        head = store.open()

        assert head == (0, 1, True)
        assert (store.heads(), list(store.live()), store.executions()) == ({}, [], [])
        store.close()

    def test_each_opening_raises_the_epoch(self, shelf):
        """
        The epoch tells hubs apart: it rises by one at every opening, and stays raised.
        """
        epochs = []
        for _ in range(3):
            store = shelf.make(None)
            epochs.append(store.open().epoch)
            store.close()

        assert epochs == [1, 2, 3]

    def test_what_was_written_is_there_after_a_restart(self, shelf, store, pen):
        """
        Rows, executions, programs and cached results outlive the process that wrote them.
        """
        execution = an_execution("wf-1", labels=b"\x81\xa1a\xa1b", key="once", parent="wf-0", program="d1")
        pen.write("wf-1", "hub", "wf-1", executions=[execution], programs=[("d1", b"packed")])
        result = a_result(7, "wf-1", 3)
        pen.write(results=[result])
        store.close()

        again = shelf.make(None)
        head = again.open()

        assert (head.position, head.created) == (3, False)
        assert pen.rows == list(again.live())
        assert execution == again.execution("wf-1")
        assert again.program("d1") == b"packed"
        assert {result.key: result} == again.cached([result.key])
        again.close()

    def test_a_closed_store_says_so(self, store):
        """
        A store that was closed takes and gives nothing, and closing it twice does no harm.
        """
        store.close()
        store.close()

        with pytest.raises(Closed):
            store.append(Batch())
        with pytest.raises(Closed):
            store.row(1)

    def test_closing_commits_what_waits(self, shelf, store, pen):
        """
        Batches that were appended before the close are on disk after it.
        """
        tickets = [pen.append("wf-1") for _ in range(50)]

        store.close()

        assert all(ticket.done and ticket.error is None for ticket in tickets)
        again = shelf.make(None)
        assert again.open().position == 50
        again.close()

    # Appending --------------------------------------------------------------------------------------------------------

    def test_a_row_is_seen_once_its_ticket_completes(self, store, pen):
        """
        From the ticket's callback on, every reader sees the batch.
        """
        seen = []
        ticket = pen.append("wf-1")

        ticket.add_done_callback(lambda done: seen.append(store.row(done.position)))
        settle(ticket)

        assert [pen.rows[0]] == seen

    def test_tickets_complete_in_the_order_of_appends(self, shelf):
        """
        The listener hears of every ticket, in order, when the batch is on disk.
        """
        heard: list[Ticket] = []
        store = shelf.make(heard.append)
        store.open()
        pen = Pen(store)

        tickets = [pen.append("wf-1", "wf-2") for _ in range(100)]
        settle(*tickets)
        store.close()

        assert tickets == heard
        assert list(range(2, 202, 2)) == [ticket.position for ticket in heard]

    def test_a_listener_that_raises_harms_nobody(self, shelf, caplog):
        """
        What a listener raises is its own affair: the next batches are committed and told.
        """

        def fails(ticket: Ticket) -> None:
            raise RuntimeError("loop is closed")

        store = shelf.make(fails)
        store.open()
        pen = Pen(store)

        settle(pen.append("a"), pen.append("a"))

        assert len(store.read("a")) == 2
        store.close()

    def test_an_empty_batch_is_a_barrier(self, store, pen):
        """
        A batch without anything completes after those before it.
        """
        first = pen.append("a")

        barrier = store.append(Batch())
        settle(barrier)

        assert first.done
        assert barrier.position == 1

    def test_rows_must_be_the_next_ones(self, store, pen):
        """
        A batch that would leave a gap, or write a position twice, is refused; the log is as it was.
        """
        pen.write("a")

        for position in (1, 3):
            with pytest.raises(OutOfOrder, match=rf"has position 2, got {position}"):
                store.append(Batch([Row(position, "a", 2, NOW, 1, b"")]))
        with pytest.raises(OutOfOrder, match="has position 3, got 4"):
            store.append(Batch([Row(2, "a", 2, NOW, 1, b""), Row(4, "a", 3, NOW, 1, b"")]))

        assert pen.write("a")[0].position == 2

    @pytest.mark.parametrize("seq", [1, 3, 0])
    def test_a_gap_in_a_stream_does_not_get_on_disk(self, store, pen, seq):
        """
        A row that is not its stream's next one fails its commit: better no hub than a log that skips.
        """
        pen.write("a")

        ticket = store.append(Batch([Row(2, "a", seq, NOW, 1, b"")]))
        ticket.wait(20)

        assert isinstance(ticket.error, CommitFailed)
        assert "stream 'a' is at 1" in str(ticket.error)
        assert len(store.read("a")) == 1

    @pytest.mark.parametrize("data", [b"", b"\x00" * 100, bytes(range(256)) * 4000])
    def test_data_comes_back_as_it_was(self, store, data):
        """
        A row's bytes are any bytes, of any length.
        """
        row = Row(1, "wf-ä/1", 1, -5, 2**31, data)

        settle(store.append(Batch([row])))

        assert row == store.row(1)

    def test_many_rows_in_one_batch(self, store, pen):
        """
        A batch may hold thousands of rows of many streams.
        """
        streams = [f"wf-{number % 37}" for number in range(5000)]

        pen.write(*streams)

        assert pen.rows == list(store.live())
        assert {name: streams.count(name) for name in set(streams)} == store.heads()

    # Failing ----------------------------------------------------------------------------------------------------------

    def test_a_failed_commit_stops_the_store(self, shelf, store, pen):
        """
        When a commit fails, its ticket and all later ones say so, and nothing more is taken.
        """
        pen.write("a")
        shelf.break_commits(store)

        failed = pen.append("a")
        failed.wait(20)

        assert isinstance(failed.error, CommitFailed)
        with pytest.raises(CommitFailed, match="until it is opened again"):
            pen.append("a")
        assert store.stats.failures == 1
        assert [row.position for row in store.read("a")] == [1]

    def test_opening_again_after_a_failure(self, shelf, store, pen):
        """
        Once the cause is gone, the store goes on from what is on disk, in a new epoch.
        """
        before = pen.write("a")
        shelf.break_commits(store)
        pen.append("a").wait(20)
        shelf.mend(store)

        head = store.reopen()

        assert (head.position, head.epoch, head.created) == (1, 2, False)
        pen = Pen(store, head.position, store.heads())
        assert [*before, *pen.write("a")] == store.read("a")

    def test_opening_again_while_the_cause_lasts(self, shelf, store, pen):
        """
        An opening that fails says why, loses nothing, and may be tried again.
        """
        pen.write("a")
        shelf.break_commits(store)
        pen.append("a").wait(20)

        with pytest.raises(StoreError):
            store.reopen()
        shelf.mend(store)

        assert store.reopen().position == 1

    # Streams ----------------------------------------------------------------------------------------------------------

    def test_a_stream_is_read_from_a_cursor(self, store, pen):
        """
        A reader gets a stream's rows in order, after the number it names, as many as it asks for.
        """
        pen.write("a", "b", "a", "a", "b", "a")

        assert [row.seq for row in store.read("a")] == [1, 2, 3, 4]
        assert [row.seq for row in store.read("a", after=2)] == [3, 4]
        assert [row.seq for row in store.read("a", after=1, limit=2)] == [2, 3]
        assert store.read("a", after=4) == []
        assert store.read("nobody") == []

    def test_a_reader_that_follows_never_skips(self, store, pen):
        """
        While batches are committed, readers that resume after their last row see each row once, in order.
        """
        seen: list[int] = []
        done = threading.Event()

        def follow() -> None:
            while not done.is_set() or store.read("a", len(seen), 1):
                seen.extend(row.seq for row in store.read("a", len(seen), 7))

        reader = threading.Thread(target=follow)
        reader.start()
        settle(*[pen.append("a", "b", "a") for _ in range(300)])
        done.set()
        reader.join()

        assert list(range(1, 601)) == seen

    def test_rows_by_position(self, store, pen):
        """
        Rows are found by position, one or many, in any order; what is not there is left out.
        """
        pen.write(*["a"] * 700)

        assert pen.rows[41] == store.row(42)
        assert None is store.row(701) and None is store.row(0)
        wanted = [700, 3, 999, 3, *range(100, 400)]
        assert {position: pen.rows[position - 1] for position in wanted if position <= 700} == store.rows(wanted)
        assert store.rows([]) == {}

    def test_live_streams_are_those_that_recovery_folds(self, store, pen):
        """
        Pools, the hub and executions that have not ended are live: their rows, by position, and where they stand.
        """
        pen.execution("old", "succeeded")
        pen.execution("new")
        pen.write("pool:k", "new", "hub", "old")

        assert store.heads() == {"new": 2, "pool:k": 1, "hub": 1}
        assert [row for row in pen.rows if row.stream != "old"] == list(store.live())

    def test_an_execution_that_ends_is_live_no_more(self, store, pen):
        """
        With its end an execution leaves recovery; its rows stay to be read, and late ones may follow.
        """
        pen.execution("wf")

        pen.write("wf", executions=[an_execution("wf", "failed")])
        pen.write("wf")

        assert (store.heads(), list(store.live())) == ({}, [])
        assert [row.seq for row in store.read("wf")] == [1, 2, 3]

    # Executions -------------------------------------------------------------------------------------------------------

    def test_an_execution_is_what_was_last_said(self, store, pen):
        """
        A later row for an execution takes the place of the earlier one, whole.
        """
        pen.execution("wf", key="k", labels=b"\x80")

        later = an_execution("wf", "succeeded", key="k", labels=b"\x81\x01\x02")
        pen.write(executions=[later])

        assert later == store.execution("wf")
        assert [later] == store.executions()
        assert None is store.execution("other")

    def test_executions_are_listed_newest_first_by_page(self, store, pen):
        """
        A list goes from the newest to the oldest; the last of a page leads to the next one.
        """
        for number in range(5):
            pen.execution(f"wf-{number}")

        first = store.executions(limit=2)
        second = store.executions(limit=2, before=first[-1].id)

        assert [row.id for row in first] == ["wf-4", "wf-3"]
        assert [row.id for row in second] == ["wf-2", "wf-1"]
        assert [] == store.executions(before="wf-0") == store.executions(before="nobody")

    def test_executions_are_found_by_state_and_by_the_start_of_their_id(self, store, pen):
        """
        Lists narrow by state and by prefix, and by both; characters that patterns know are only characters.
        """
        for id, state in (
            ("a-1", "running"),
            ("a-2", "failed"),
            ("b-1", "running"),
            ("a%", "failed"),
            ("a_", "failed"),
        ):
            pen.execution(id, state)

        def found(**query):
            return [row.id for row in store.executions(**query)]

        assert found(state="running") == ["b-1", "a-1"]
        assert found(prefix="a-") == ["a-2", "a-1"]
        assert found(prefix="a", state="failed") == ["a_", "a%", "a-2"]
        assert found(prefix="a%") == ["a%"]
        assert found(prefix="a", before="a-2") == ["a-1"]
        assert found(state="failed", limit=1, before="a%") == ["a-2"]
        assert [] == found(prefix="A") == found(state="aborted")

    def test_an_execution_is_found_by_its_idempotency_key(self, store, pen):
        """
        A key leads to the first execution that was submitted with it; without a key nothing is found.
        """
        pen.execution("wf-1", key="nightly")
        pen.execution("wf-2")
        pen.execution("wf-3", key="nightly")

        assert store.execution_by_key("nightly").id == "wf-1"
        assert None is store.execution_by_key("weekly") is store.execution_by_key("")

    # Programs and cached results --------------------------------------------------------------------------------------

    def test_a_program_is_kept_once(self, store, pen):
        """
        A program stays as it first came; unknown ones are None.
        """
        pen.write(programs=[("d1", b"one"), ("d2", b"two")])
        pen.write(programs=[("d1", b"other")])

        assert (store.program("d1"), store.program("d2"), store.program("d3")) == (b"one", b"two", None)

    def test_programs_that_nobody_refers_to_can_be_forgotten(self, store, pen):
        """
        The store names the programs that no execution refers to; the hub decides which of them go.
        """
        pen.write(
            "wf", executions=[an_execution("wf", program="d1")], programs=[("d1", b"1"), ("d2", b"2"), ("d3", b"3")]
        )

        unused = store.unused_programs()
        pen.write(forgotten=["d2", "d9"])

        assert sorted(unused) == ["d2", "d3"]
        assert [store.program(digest) for digest in ("d1", "d2", "d3")] == [b"1", None, b"3"]

    def test_the_last_cached_result_of_a_key_wins(self, store, pen):
        """
        Results are looked up many keys at a time; a later result takes an earlier one's place.
        """
        pen.write("a", "b")
        first = [a_result(key, "a", 1, item=key) for key in range(600)]
        pen.write(results=first)

        later = a_result(5, "b", 2, node="m", item=9)
        pen.write(results=[a_result(5, "a", 1), later])

        found = store.cached([result.key for result in first] + ["f" * 32])
        assert len(found) == 600
        assert (later, first[6]) == (found[later.key], found[first[6].key])
        assert {} == store.cached([]) == store.cached(["e" * 32])

    def test_cached_results_are_listed_by_their_nodes(self, store, pen):
        """
        Whoever lists them sees one line for each node, the newest first, and as many as were asked for.
        """
        pen.write("a", "b")
        pen.write(results=[a_result(1, "a", 1), a_result(2, "a", 1, item=1), a_result(3, "b", 2, at_ms=NOW + 1)])

        assert [ResultGroup("b", "n", 1, NOW + 1), ResultGroup("a", "n", 2, NOW)] == store.results()
        assert [ResultGroup("b", "n", 1, NOW + 1)] == store.results(1)

    def test_cached_results_can_be_voided(self, store, pen):
        """
        Those of one call, of a node, of an execution; what is unknown is no obstacle, all else stays.
        """
        pen.write("a", "b")
        results = [a_result(1, "a", 1), a_result(2, "a", 1, item=1), a_result(3, "a", 1, node="m"), a_result(4, "b", 2)]
        pen.write(results=results)
        keys = [result.key for result in results]

        pen.write(voided=[Voided("a", "n", 1), Voided("nobody")])
        left = [set(store.cached(keys))]
        pen.write(voided=[Voided("a", "n")])
        left.append(set(store.cached(keys)))
        pen.write(voided=[Voided("a")])
        left.append(set(store.cached(keys)))

        assert [{keys[0], keys[2], keys[3]}, {keys[2], keys[3]}, {keys[3]}] == left

    # Dropping ---------------------------------------------------------------------------------------------------------

    def test_a_dropped_execution_is_gone_at_once(self, store, pen):
        """
        What is dropped is seen by nobody any more: rows, the execution, its cached results; all else stays.
        """
        kept = pen.write("keep", executions=[an_execution("keep", "failed")])
        pen.write("wf", "wf", executions=[an_execution("wf", "failed", key="k")], results=[a_result(1, "wf", 2)])

        pen.write("keep", dropped=["wf", "nobody"])

        assert [] == store.read("wf") == list(store.live())
        assert None is store.row(2) is store.execution("wf") is store.execution_by_key("k")
        assert {} == store.rows([2, 3]) == store.cached([a_result(1, "wf", 2).key])
        assert [row.id for row in store.executions()] == ["keep"]
        assert kept[0] == store.row(1)
        assert len(store.read("keep")) == 2

    def test_positions_are_never_given_twice(self, shelf, store, pen):
        """
        Dropping the end of the log does not take the log back: positions stay dense from where they were.
        """
        pen.write("a", "b", "b", executions=[an_execution("b", "failed")])
        pen.write(dropped=["b"])
        store.close()

        again = shelf.make(None)
        head = again.open()

        assert head.position == 3
        settle(again.append(Batch([Row(4, "a", 2, NOW, 1, b"")])))
        assert [row.position for row in again.read("a")] == [1, 4]
        again.close()

    def test_a_name_may_be_used_again(self, store, pen):
        """
        A stream that was dropped may begin anew, from number 1, and shows nothing of its past.
        """
        pen.write("wf", "wf", executions=[an_execution("wf", "failed")])

        del pen.seqs["wf"]
        tickets = [pen.append(dropped=["wf"]), pen.append("wf", executions=[an_execution("wf")])]
        settle(*tickets)

        assert [(row.seq, row.position) for row in store.read("wf")] == [(1, 3)]
        assert store.heads() == {"wf": 1}

    def test_dropping_comes_last_in_a_batch(self, store, pen):
        """
        A batch that writes to a stream and drops it leaves nothing of it.
        """
        pen.write("wf", executions=[an_execution("wf")], dropped=["wf"])

        assert (store.read("wf"), store.execution("wf"), store.heads()) == ([], None, {})

    def test_a_late_result_of_a_dropped_execution_is_left_out(self, store, pen):
        """
        A cached result that arrives after its execution was dropped leads nowhere, and is not kept.
        """
        pen.write("wf", executions=[an_execution("wf", "failed")])
        pen.write(dropped=["wf"])

        pen.write(results=[a_result(1, "wf", 1)])

        assert store.cached([a_result(1, "wf", 1).key]) == {}
        assert store.heads() == {}

    # Figures ----------------------------------------------------------------------------------------------------------

    def test_weights_and_sizes(self, store):
        """
        The store says how many bytes an execution's rows have, and how many it holds by kind.
        """
        rows = [Row(1, "a", 1, NOW, 1, b"x" * 100), Row(2, "b", 1, NOW, 1, b"x" * 7), Row(3, "a", 2, NOW, 1, b"x")]
        settle(store.append(Batch(rows, programs=[("d", b"y" * 50)])))

        assert store.weights(["a", "b", "nobody"]) == {"a": 101, "b": 7}
        size = store.size()
        assert (size.events, size.programs, size.results) == (108, 50, 0)

    def test_what_was_done_is_counted(self, store, pen):
        """
        Commits, batches, rows and bytes are counted, and each commit falls into one bucket of the histogram.
        """
        for _ in range(3):
            pen.write("a", "b")

        stats = store.stats
        assert (stats.batches, stats.rows, stats.bytes) == (3, 6, 24)
        assert 1 <= stats.commits <= 3
        assert stats.commits == sum(stats.buckets)
        assert stats.quantile_us(0.5) > 0

    def test_a_sound_store_has_nothing_to_report(self, store, pen):
        """
        A check of a store that was written to and dropped from finds nothing.
        """
        pen.write("a", "b", "a", executions=[an_execution("b", "failed")])
        pen.write(dropped=["b"])

        assert store.check() == []

    def test_durability_is_read_back(self, store):
        """
        The store says what a commit means, in the database's own words.
        """
        durability = store.durability()

        assert durability.synchronous and durability.journal and durability.library

    # Histories --------------------------------------------------------------------------------------------------------

    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    @given(history=st.lists(TURNS, max_size=12))
    def test_whatever_is_written_is_what_is_read(self, shelf, history):
        """
        After any history of batches, drops and restarts, readers see what a plain model says.
        """
        store = shelf.make(None)
        began = store.open().position
        pen = Pen(store, began)
        model: dict[str, list[Row]] = {}
        try:
            for streams, dropped, restart in history:
                batch = Batch(
                    [pen.row(f"{name}{began}") for name in streams], dropped=[f"{name}{began}" for name in dropped]
                )
                for row in batch.rows:
                    model.setdefault(row.stream, []).append(row)
                store.append(batch)
                for name in batch.dropped:
                    model.pop(name, None)
                    pen.seqs.pop(name, None)
                if restart:
                    store.close()
                    assert pen.position == store.open().position
            settle(store.append(Batch()))

            names = [f"{name}{began}" for name in "abcd"]  # Of this example alone: the shelf serves all of them.
            assert model == {name: rows for name in names if (rows := store.read(name))}
            expected = sorted(row for rows in model.values() for row in rows)
            assert expected == [row for row in store.live() if row.stream in names]
            assert expected == sorted(store.rows(range(began + 1, pen.position + 1)).values())
        finally:
            store.close()
