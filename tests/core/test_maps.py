"""Map nodes: one call for each item, results read where they lie, some failures borne."""

from __future__ import annotations

from dataclasses import replace

import pytest

from greenroom_core.facts import NodeEnded, NodeStarted, Outcome
from greenroom_core.failure import Cause
from greenroom_core.program import Task
from greenroom_core.refs import BlobRef
from greenroom_core.retry import Retry
from tests.driver import Play, bad, columns, given, mapped, out, task, value


def a_map(n: int, **spec) -> Play:
    """A map over the numbers below n, whose results are the workflow's output."""
    return Play(mapped("m", given("xs"), **spec), given={"xs": list(range(n))}, outputs={"o0": out("m")})


class TestItems:
    """One call for each item."""

    def test_an_empty_map_ends_at_once(self):
        """
        A map over nothing gives an empty list without any call.
        """
        play = a_map(0)

        assert play.heard[:2] == [NodeStarted("m", 0), NodeEnded("m", Outcome.SUCCEEDED)]
        assert play.result() == {"o0": []}
        play.replay()

    @pytest.mark.parametrize("n", [1, 3, 64, 65, 300])
    def test_each_item_gets_its_own_input(self, n):
        """
        Short lists and long ones alike are cut into items; results come in the order of the items.
        """
        play = a_map(n)

        assert play.calls("m") == list(range(n))
        items = play.take("m")
        play.answer("m", items, [10 * item for item in items])

        assert play.result() == {"o0": [10 * item for item in range(n)]}

    def test_outcomes_may_come_in_any_order(self):
        """
        Batches and single outcomes end up where they belong.
        """
        play = a_map(6)
        play.take("m")

        play.answer("m", [4, 1], ["e", "b"])
        play.answer("m", [5], ["f"])
        play.answer("m", [2, 3], ["c", "d"])
        play.answer("m", [0], ["a"])

        assert play.result() == {"o0": ["a", "b", "c", "d", "e", "f"]}
        play.check()
        play.replay()

    def test_two_lists_are_walked_together(self):
        """
        A map over two lists gives each call one item of each, and the bound input is the same for all.
        """
        node = replace(
            mapped("m", given("xs")), inputs={"x": given("xs"), "y": given("ys"), "k": given("k")}, over=("x", "y")
        )
        play = Play(node, given={"xs": [1, 2], "ys": ["a", "b"], "k": 9})

        assert play.calls("m") == [[1, "a"], [2, "b"]]
        assert play.node("m").inputs.bound == {"k": value(9)}

    def test_lists_of_different_lengths_are_refused(self):
        """
        The lengths are told.
        """
        node = replace(mapped("m", given("xs")), inputs={"x": given("xs"), "y": given("ys")}, over=("x", "y"))
        play = Play(node, given={"xs": [1, 2], "ys": [1]})

        assert "different lengths: x has 2, y has 1" in play.failure.message

    def test_only_a_list_can_be_mapped(self):
        """
        A map over something else says what it got.
        """
        play = Play(mapped("m", given("xs")), given={"xs": 5})

        assert play.failure.message == "node m: not a list"

    def test_a_list_kept_as_blob_is_sliced_there(self):
        """
        A large list is never held whole: calls get their items from the blob.
        """
        play = Play(task("a"), mapped("m", out("a")), outputs={"o0": out("m", 99)})
        play.blobs["ab" * 32] = value([n * n for n in range(100)])

        play.answer("a", play.take("a"), [BlobRef("ab" * 32, 999, "list", 100, "[...]").to_value()])
        assert play.calls("m")[7] == 49
        play.answer("m", play.take("m"), [-n for n in range(100)])

        assert play.result() == {"o0": -99}

    def test_a_map_of_a_map_reads_its_results_in_place(self):
        """
        Results of a map are a list for the next one without being put together.
        """
        play = Play(mapped("m", given("xs")), mapped("n", out("m")), given={"xs": [1, 2, 3]}, outputs={"o0": out("n")})

        play.take("m")
        for item in (2, 0, 1):
            play.answer("m", [item], [f"m{item}"])
        assert play.calls("n") == ["m0", "m1", "m2"]
        play.answer("n", play.take("n"), "abc")

        assert play.result() == {"o0": ["a", "b", "c"]}
        play.replay()

    def test_parts_of_results_are_read(self):
        """
        An item of a map, or a part of it, is an input like any other; negative numbers count from the end.
        """
        play = Play(
            mapped("m", given("xs")), task("t", x=out("m", 1, "k"), y=out("m", -1, "k")), given={"xs": [1, 2, 3]}
        )

        play.answer("m", play.take("m"), [{"k": n} for n in range(3)])

        assert play.calls("t") == [[1, 2]]

    def test_an_item_that_is_not_there_is_named(self):
        """
        An index beyond the map fails who asks for it.
        """
        play = Play(mapped("m", given("xs")), task("t", x=out("m", 3)), given={"xs": [1, 2, 3]})

        play.answer("m", play.take("m"), [1, 2, 3])

        assert "a list of 3 has no item 3" in play.failure.message

    def test_several_outputs_are_lists_of_their_own(self):
        """
        A map of a task with two outputs gives two lists.
        """
        play = Play(
            mapped("m", given("xs"), outputs=("a", "b")),
            given={"xs": [1, 2]},
            outputs={"a": out("m", output="a"), "b": out("m", 1, output="b")},
        )

        play.answer("m", play.take("m"), [value(1) + value("x"), value(2) + value("y")])

        assert play.result() == {"a": [1, 2], "b": "y"}


class TestBounds:
    """How many at a time."""

    def test_concurrency_bounds_what_is_held(self):
        """
        No more calls than `concurrency` are handed out at a time.
        """
        play = a_map(5, concurrency=2)

        first = play.take("m")
        assert (first, play.take("m")) == ([0, 1], [])
        play.answer("m", [0], [0])

        assert play.take("m") == [2]
        play.check()

    def test_no_item_is_handed_out_twice(self):
        """
        What a replica holds is not given to another one; what came back is.
        """
        play = a_map(4)

        held = play.take("m", 3)
        play.items("m").give_back([1])

        assert held == [0, 1, 2]
        assert (play.take("m"), play.take("m"), play.take("m")) == ([1], [3], [])


class TestFailures:
    """Some failures are borne, if the map says so."""

    def test_one_failure_fails_the_map(self):
        """
        Without a wish to bear failures the first one is the map's, with its item.
        """
        play = a_map(3)

        play.answer("m", play.take("m"), [0, bad("bad pixel"), 2])

        ended = play.execution.ended
        assert (play.outcome, ended.node, ended.item) == (Outcome.FAILED, "m", 1)
        assert play.failure.line() == "ValueError: bad pixel"
        play.replay()

    def test_a_hopeless_map_lets_nothing_more_begin(self):
        """
        After the failure nothing is handed out; what runs is cancelled, then the map has failed.
        """
        play = a_map(4)
        held = play.take("m", 3)

        play.answer("m", [held[0]], [bad()])

        assert (play.ready(), play.execution.cancelled) == ({}, ["m"])
        assert play.outcome is None
        play.answer("m", [held[1]], [bad(cause=Cause.CANCELLED)])
        assert play.outcome is None
        play.answer("m", [held[2]], [2])
        assert play.outcome is Outcome.FAILED
        play.check()
        play.replay()

    @pytest.mark.parametrize("spec", [{"min_success_ratio": 0.5}, {"min_successes": 2}])
    def test_failures_are_borne_up_to_a_bound(self, spec):
        """
        With enough successes the map succeeds; what failed is null among its results.
        """
        play = a_map(4, **spec)

        play.answer("m", play.take("m"), [0, bad(), bad(), 3])

        assert play.result() == {"o0": [0, None, None, 3]}
        assert play.node("m").kinds == {"ValueError": 2}
        play.replay()

    @pytest.mark.parametrize("spec", [{"min_success_ratio": 0.6}, {"min_successes": 3}])
    def test_too_many_failures_fail_the_map(self, spec):
        """
        As soon as the bound cannot be reached any more, the map gives up.
        """
        play = a_map(4, **spec)
        held = play.take("m")

        play.answer("m", held[:2], [bad("first"), bad("second")])

        assert play.execution.cancelled == ["m"]
        play.loses("m", *held[2:])
        assert play.failure.message == "first"
        play.check()
        play.replay()

    def test_a_ratio_counts_as_written(self):
        """
        A third of three is one, whatever floats make of it.
        """
        for ratio, needed in ((1 / 3, 1), (0.1 + 0.2, 1), (0.34, 2), (0.0, 0), (1.0, 3)):
            assert a_map(3, min_success_ratio=ratio).node("m").needed == needed

    def test_all_may_fail_if_none_is_needed(self):
        """
        A ratio of zero bears everything.
        """
        play = a_map(2, min_success_ratio=0.0)

        play.answer("m", play.take("m"), [bad(), bad()])

        assert play.result() == {"o0": [None, None]}

    def test_failures_are_kept_by_kind(self):
        """
        Only so many failures are kept whole; all are counted by kind and place.
        """
        play = a_map(150, min_success_ratio=0.0)

        play.answer("m", play.take("m"), [bad(where=f"f.py:{n % 2}") for n in range(150)])

        assert len(play.node("m").failures) == 100
        assert play.node("m").kinds == {"ValueError at f.py:0": 75, "ValueError at f.py:1": 75}
        play.replay()

    def test_an_item_is_tried_again_while_others_run(self):
        """
        A retry takes one item back to the start, with a new attempt; its outcome is what counts.
        """
        tasks = {"t": Task("m.t", "e", outputs=("o0",), retry=Retry(1))}
        play = Play(mapped("m", given("xs")), given={"xs": [0, 1, 2]}, outputs={"o0": out("m")}, tasks=tasks)

        play.answer("m", play.take("m"), [0, bad(), 2])
        assert (play.ready(), play.items("m").attempts[1]) == ({"m": [1]}, 2)
        play.answer("m", play.take("m"), ["again"])

        assert play.result() == {"o0": [0, "again", 2]}
        play.replay()


class TestLateOutcomes:
    """Each item has one outcome."""

    def test_a_superseded_attempt_is_refused(self):
        """
        After a loss the old attempt's outcome is refused; the new one counts.
        """
        play = a_map(2)
        play.take("m")
        play.loses("m", 0)

        play.answer("m", [0, 1], ["late", "fine"], attempts=[1, 1])
        assert play.ready() == {"m": [0]}
        play.answer("m", play.take("m"), ["new"])

        assert play.result() == {"o0": ["new", "fine"]}
        play.check()
        play.replay()

    def test_a_repeated_outcome_is_refused(self):
        """
        The same batch sent twice is counted once.
        """
        play = a_map(3)
        play.take("m")

        play.answer("m", [0, 1], ["a", "b"])
        play.answer("m", [0, 1], ["x", "y"], attempts=[1, 1])
        play.answer("m", [2], ["c"])

        assert play.result() == {"o0": ["a", "b", "c"]}
        play.replay()

    def test_an_outcome_of_no_item_is_refused(self):
        """
        Items that the map does not have are refused by position, whatever they claim.
        """
        play = a_map(2)
        play.take("m")

        for items in ([5], [2], [0, 7], [2**40]):
            batch = columns(items, [1] * len(items), [0] * len(items), [value(0)] * len(items))
            refused = play.items("m").stale(batch)
            assert [items[position] for position in refused] == [item for item in items if item > 1]
