"""`conditional`: comparisons, ways, what belongs to them, what they give."""

from __future__ import annotations

import datetime as dt
from enum import Enum

import pytest

from greenroom.conditions import conditional
from greenroom.definition_errors import PromiseMisuse, WrongOutputs, WrongPlace
from greenroom.dynamic import dynamic
from greenroom.task import task
from greenroom.workflow import workflow

calls: list[str] = []


@pytest.fixture(autouse=True)
def _no_calls():
    calls.clear()


@task
def small(n: int) -> str:
    calls.append("small")
    return "small"


@task
def large(n: int) -> str:
    calls.append("large")
    return "large"


@task
def inc(n: int) -> int:
    calls.append("inc")
    return n + 1


@task
def void(n: int) -> None:
    calls.append("void")


@task
def two(n: int) -> tuple[int, str]:
    return n, str(n)


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class TestWays:
    def test_one_of_them_runs(self):
        """
        The first way whose condition holds is taken; nothing of the others runs.
        """

        @workflow
        def wf(n: int) -> str:
            return (
                conditional("size")
                .if_(n < 10)
                .then(small(n=n))
                .elif_((n >= 10) & (n < 20))
                .then(large(n=n))
                .else_()
                .fail("too large")
            )

        assert (wf(n=3), calls) == ("small", ["small"])
        assert wf(n=15) == "large"
        with pytest.raises(ValueError, match="too large"):
            wf(n=20)

    def test_nodes_called_for_a_way_belong_to_it(self):
        """
        Whatever is called between a condition and its `then` runs only on that way.
        """

        @workflow
        def wf(n: int) -> int:
            return conditional("way").if_(n > 0).then(inc(n=inc(n=n))).else_().then(inc(n=n))

        within = {node.id: node.within for node in wf.compiled.graph.nodes}

        assert within == {"way": None, "inc": ("way", 0), "inc-2": ("way", 0), "inc-3": ("way", 1)}
        assert (wf(n=1), wf(n=-1), len(calls)) == (3, 0, 3)

    def test_what_was_called_before_runs_anyway(self):
        """
        A call made before the branch may be a way's output.
        """

        @workflow
        def wf(n: int) -> int:
            before = inc(n=n)
            return conditional("way").if_(before > 1).then(before).else_().then(n)

        assert (wf(n=1), wf(n=0)) == (2, 0)
        assert None is wf.compiled.graph.nodes[0].within

    def test_branches_within_branches(self):
        """
        A way may be a branch itself.
        """

        @workflow
        def wf(n: int) -> str:
            return (
                conditional("outer")
                .if_(n > 0)
                .then(conditional("inner").if_(n > 10).then(large(n=n)).else_().then(small(n=n)))
                .else_()
                .fail("negative")
            )

        assert (wf(n=11), wf(n=1)) == ("large", "small")
        with pytest.raises(ValueError, match="negative"):
            wf(n=0)

    def test_a_branch_without_else_is_a_statement(self):
        """
        If no condition holds nothing happens, and the rest goes on.
        """

        @workflow
        def wf(n: int) -> int:
            conditional("maybe").if_(n > 0).then(void(n=n))
            return inc(n=n)

        assert wf(n=-1) == 0 and calls == ["inc"]
        assert wf(n=1) == 2 and sorted(calls[1:]) == ["inc", "void"]

    def test_a_sub_workflow_is_a_way(self):
        """
        All nodes of a sub-workflow belong to the way that it is called in.
        """

        @workflow
        def sub(n: int) -> int:
            return conditional("inside").if_(n > 5).then(inc(n=inc(n=n))).else_().then(inc(n=n))

        @workflow
        def wf(n: int) -> int:
            return conditional("way").if_(n > 0).then(sub(n=n)).else_().then(inc(n=n))

        assert (wf(n=7), wf(n=1), wf(n=-1)) == (9, 2, 0)

    def test_who_needs_a_way_not_taken_is_not_run(self):
        """
        Nodes behind the branch use the branch, and run whichever way was taken.
        """

        @workflow
        def wf(n: int) -> int:
            got = conditional("way").if_(n > 0).then(inc(n=n)).else_().then(inc(n=0))
            return inc(n=got)

        assert (wf(n=1), wf(n=-1)) == (3, 2)

    def test_order_behind_a_branch(self):
        """
        A branch has a place in the order, as any node.
        """

        @workflow
        def wf(n: int) -> None:
            last = void(n=n)
            conditional("way").if_(n > 0).then(inc(n=n)).else_().then(inc(n=0)) >> last

        wf(n=1)

        assert calls == ["inc", "void"]


class TestOutputs:
    def test_several(self):
        """
        Ways may have several outputs; those that all have are the branch's.
        """

        @workflow
        def wf(n: int) -> tuple[int, str]:
            a, b = conditional("way").if_(n > 0).then(two(n=n)).else_().then((inc(n=n), small(n=n)))
            return a, b

        assert (wf(n=1), wf(n=-1)) == ((1, "1"), (0, "small"))

    def test_constants(self):
        """
        A way may give a constant.
        """

        @workflow
        def wf(n: int) -> int:
            return conditional("way").if_(n > 0).then(inc(n=n)).else_().then(7)

        assert (wf(n=1), wf(n=0)) == (2, 7)

    def test_without_anything_in_common(self):
        """
        If one way gives nothing, neither does the branch.
        """
        with pytest.raises(WrongOutputs, match="no output"):

            @workflow
            def wf(n: int) -> int:
                return conditional("way").if_(n > 0).then(inc(n=n)).else_().then(void(n=n))

    def test_unfinished(self):
        """
        A branch that could end without any way has no output; the error says how to end it.
        """
        with pytest.raises(WrongOutputs, match=r"end it with .else_"):

            @workflow
            def wf(n: int) -> int:
                return conditional("way").if_(n > 0).then(inc(n=n))

    def test_a_type_that_all_ways_share_is_checked(self):
        """
        The branch's promise has the type of its ways.
        """
        with pytest.raises(TypeError, match="expected int"):

            @workflow
            def wf(n: int) -> int:
                return inc(n=conditional("way").if_(n > 0).then(small(n=n)).else_().then(large(n=n)))


class TestConditions:
    @pytest.mark.parametrize(
        ("condition", "holds"),
        [
            (lambda n, s: n == 5, True),
            (lambda n, s: n != 5, False),
            (lambda n, s: n >= 5, True),
            (lambda n, s: n > 5, False),
            (lambda n, s: (n > 5) | (s == "a"), True),
            (lambda n, s: ((n > 5) | (s == "a")) & (n < 3), False),
            (lambda n, s: s < "b", True),
            (lambda n, s: n == n, True),
            (lambda n, s: n > 4.5, True),
        ],
    )
    def test_comparisons(self, condition, holds):
        """
        Comparisons are joined by & and |, of promises and constants on either side.
        """

        @workflow
        def wf(n: int, s: str) -> int:
            return conditional("way").if_(condition(n, s)).then(1).else_().then(0)

        assert int(holds) == wf(n=5, s="a")

    def test_truths_and_nothing(self):
        """
        `is_true`, `is_false` and `is_none` ask what they say.
        """

        @workflow
        def wf(flag: bool, maybe: int | None) -> int:
            return (
                conditional("way")
                .if_(flag.is_true())
                .then(1)
                .elif_(flag.is_false() & maybe.is_none())
                .then(2)
                .else_()
                .then(3)
            )

        assert (wf(flag=True, maybe=1), wf(flag=False, maybe=None), wf(flag=False, maybe=1)) == (1, 2, 3)

    def test_other_plain_types(self):
        """
        Enums, times and parts of values are compared too.
        """

        @workflow
        def wf(colour: Colour, when: dt.datetime, table: dict[str, int]) -> int:
            return (
                conditional("way")
                .if_((colour == Colour.RED) & (when < dt.datetime(2030, 1, 1)) & (table["k"] > 1))
                .then(1)
                .else_()
                .then(0)
            )

        given = {"when": dt.datetime(2026, 1, 1), "table": {"k": 2}}
        assert (wf(colour=Colour.RED, **given), wf(colour=Colour.BLUE, **given)) == (1, 0)

    @pytest.mark.parametrize(
        ("expression", "remedy"),
        [
            (lambda n: n, r"is_true"),
            (lambda n: True, "plain if"),
            (lambda n: (n > 1) & True, "join conditions"),
            (lambda n: (n > 1) | n, "join conditions"),
        ],
    )
    def test_what_is_no_condition(self, expression, remedy):
        """
        A promise, a truth or a mix of both is refused with what to write.
        """
        with pytest.raises(WrongPlace, match=remedy):

            @workflow
            def wf(n: int) -> int:
                return conditional("way").if_(expression(n)).then(1).else_().then(0)

    def test_and_or_not(self):
        """
        Python's own words cannot join conditions.
        """
        with pytest.raises(PromiseMisuse, match="join conditions with & and |"):

            @workflow
            def wf(n: int) -> int:
                return conditional("way").if_(n > 1 and n < 3).then(1).else_().then(0)

    def test_outside_of_a_workflow(self):
        """
        Where values are there, a plain if does.
        """
        with pytest.raises(WrongPlace, match="outside of a workflow"):
            conditional("way")

    def test_in_a_dynamic_task(self):
        """
        A dynamic task's own graph may branch on what is not known yet.
        """

        @dynamic
        def body(n: int) -> str:
            got = inc(n=n)
            return conditional("way").if_(got > 5).then(large(n=got)).else_().then(small(n=got))

        @workflow
        def wf(n: int) -> str:
            return body(n=n)

        assert (wf(n=5), wf(n=1)) == ("large", "small")
