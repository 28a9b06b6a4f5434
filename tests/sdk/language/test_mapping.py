"""`map`: one call for each item, over tasks and everything else that can be called."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import pytest

from greenroom.definition_errors import BadArgument, UnknownArgument
from greenroom.dynamic import dynamic
from greenroom.eager import eager
from greenroom.environment import ActorEnvironment
from greenroom.errors import TypeMismatch, WorkflowFailed
from greenroom.launch_plan import LaunchPlan
from greenroom.mapping import MapTask, map_task
from greenroom.mapping import map as gmap
from greenroom.task import task
from greenroom.workflow import workflow
from greenroom_core.graph import NodeKind

actor = ActorEnvironment("mapped")


class Halves(NamedTuple):
    low: int
    high: int


@task
def inc(n: int) -> int:
    return n + 1


@actor.task
def scale(n: int, factor: int = 10, offset: int = 0) -> int:
    return n * factor + offset


@task
def numbers(count: int) -> list[int]:
    return list(range(count))


@task
def halves(n: int) -> Halves:
    return Halves(n // 2, n - n // 2)


@task
def two(n: int) -> tuple[int, str]:
    return n, str(n)


@task
def joined(words: list[str], sep: str) -> str:
    return sep.join(words)


@task
def void(n: int) -> None: ...


@task
def odd(n: int) -> int:
    if n % 2 == 0:
        raise ValueError(f"{n} is even")
    return n


@task
def odd_or_none(n: int) -> int | None:
    return n if n % 2 else None


class TestGraph:
    def test_is_one_node(self):
        """
        A map is one node with the task's name, which knows its lists.
        """

        @workflow
        def wf(ns: list[int]) -> list[int]:
            return gmap(partial(scale, offset=1), concurrency=3, min_success_ratio=0.5)(n=ns, factor=[1, 2])

        (node,) = wf.compiled.graph.nodes

        assert (
            node.id,
            node.kind,
            node.over,
            node.concurrency,
            node.min_success_ratio,
        ) == ("scale", NodeKind.MAP, ("n", "factor"), 3, 0.5)
        assert {"n", "factor", "offset"} == set(node.inputs)

    def test_its_result_is_a_list(self):
        """
        The promise of a map has parts, and a type.
        """

        @workflow
        def wf(ns: list[int]) -> int:
            return inc(n=gmap(inc)(n=ns)[1])

        assert wf(ns=[10, 20]) == 22
        with pytest.raises(TypeMismatch, match="expected str"):

            @workflow
            def bad(ns: list[int]) -> str:
                return gmap(inc)(n=ns)[0]

    def test_overrides(self):
        """
        A map's items can be treated otherwise, before or after the call.
        """

        @workflow
        def wf(ns: list[int]) -> tuple[list[int], list[int]]:
            return map_task(inc).with_overrides(retries=2)(n=ns), map_task(inc)(n=ns).with_overrides(timeout=3)

        first, second = wf.compiled.graph.nodes

        assert (first.overrides.retries.times, second.overrides.timeout) == (2, 3.0)


class TestRuns:
    def test_in_order(self):
        """
        Results stand in the order of the items.
        """
        assert gmap(inc)(n=[0, 1, 2]) == [1, 2, 3]

    def test_empty(self):
        """
        Nothing in, nothing out, at once.
        """

        @workflow
        def wf(ns: list[int]) -> list[int]:
            return gmap(inc)(n=ns)

        assert [] == gmap(inc)(n=[]) == wf(ns=[])

    def test_several_lists(self):
        """
        Lists are taken side by side; what is not given keeps its default.
        """
        assert gmap(scale)(n=[1, 2], factor=[2, 3]) == [2, 6]
        assert gmap(scale)(n=[1, 2]) == [10, 20]

    def test_bound_inputs(self):
        """
        `partial` and `bound_inputs` hold for all items: constants, promises and lists.
        """

        @workflow
        def wf(ns: list[int], factor: int) -> tuple[list[int], list[str]]:
            words = gmap(partial(joined, ["a", "b"]))(sep=["-", "+"])
            return gmap(partial(scale, factor=factor, offset=inc(n=0)))(n=ns), words

        assert wf(ns=[1, 2], factor=3) == ([4, 7], ["a-b", "a+b"])
        assert gmap(scale, bound_inputs={"factor": 5})(n=[1, 2]) == [5, 10]

    def test_of_promised_length(self):
        """
        How many items there are is known when the map starts.
        """

        @workflow
        def wf(count: int) -> list[int]:
            return gmap(inc)(n=numbers(count=count))

        assert (list(range(1, 151)), []) == (wf(count=150), wf(count=0))

    def test_tuples_become_tuples_of_lists(self):
        """
        Each output of the task is a list of its own.
        """

        @workflow
        def wf(ns: list[int]) -> tuple[list[int], list[str]]:
            numbers_, words = gmap(two)(n=ns)
            return numbers_, words

        assert wf(ns=[1, 2]) == ([1, 2], ["1", "2"])
        assert gmap(halves)(n=[1, 2]) == ([0, 1], [1, 1])
        assert gmap(halves)(n=[1, 2]).low == [0, 1]

    def test_no_output(self):
        """
        A map over what returns nothing returns nothing.
        """
        assert None is gmap(void)(n=[1, 2])

    def test_none_is_a_result(self):
        """
        None of an Optional stays in its place.
        """
        assert gmap(odd_or_none)(n=[0, 1, 2]) == [None, 1, None]

    def test_a_map_of_a_map(self):
        """
        A downstream map reads the one before item by item.
        """

        @workflow
        def wf(count: int) -> list[int]:
            return gmap(inc)(n=gmap(inc)(n=numbers(count=count)))

        assert list(range(2, 102)) == wf(count=100)

    def test_different_lengths(self):
        """
        Lists of different lengths are refused with both numbers, wherever that is known.
        """
        with pytest.raises(BadArgument, match="n has 2, factor has 1"):

            @workflow
            def early() -> list[int]:
                return gmap(scale)(n=[1, 2], factor=[1])

        @workflow
        def late(count: int) -> list[int]:
            return gmap(scale)(n=numbers(count=count), factor=[1])

        with pytest.raises(WorkflowFailed, match="n has 3, factor has 1"):
            late(count=3)


class TestFailures:
    def test_all_must_succeed(self):
        """
        The first failure is the map's, as the user's own error with the item named.
        """
        with pytest.raises(ValueError, match="0 is even") as caught:
            gmap(odd)(n=[1, 0, 3])

        assert "node odd/1" in caught.value.__notes__[0]

    def test_some_may_fail(self):
        """
        With a ratio, failed items are None in their places.
        """
        assert gmap(odd, min_success_ratio=0.6)(n=[1, 2, 3]) == [1, None, 3]
        assert gmap(odd, min_successes=2)(n=[1, 2, 3]) == [1, None, 3]
        with pytest.raises(ValueError, match="even"):
            gmap(odd, min_success_ratio=0.7)(n=[1, 2, 3])

    def test_the_type_says_that_items_may_be_missing(self):
        """
        Who takes the results of such a map takes None.
        """

        @task
        def present(ns: list[int | None]) -> int:
            return len([n for n in ns if n is not None])

        @workflow
        def wf(ns: list[int]) -> int:
            return present(ns=gmap(odd, min_success_ratio=0.1)(n=ns))

        assert wf(ns=[1, 2, 3]) == 2


class TestOtherTargets:
    def test_workflows(self):
        """
        A workflow is mapped as a task is.
        """

        @workflow
        def sub(n: int, m: int = 5) -> int:
            return scale(n=inc(n=n), factor=m)

        @workflow
        def wf(ns: list[int]) -> list[int]:
            return gmap(partial(sub, m=2))(n=ns)

        assert wf(ns=[1, 2]) == [4, 6] and wf(ns=[]) == []

    def test_launch_plans(self):
        """
        A launch plan's items are executions of their own.
        """

        @workflow
        def sub(n: int, m: int) -> int:
            return scale(n=n, factor=m)

        plan = LaunchPlan.get_or_create(sub, "test_mapping.plan", fixed_inputs={"m": 3})

        @workflow
        def wf(ns: list[int]) -> list[int]:
            return gmap(plan, concurrency=1)(n=ns)

        assert wf(ns=[1, 2, 3]) == [3, 6, 9]

    def test_dynamic_tasks(self):
        """
        Each item of a dynamic task lays out a graph of its own.
        """

        @dynamic
        def fan(n: int) -> list[int]:
            return [inc(n=i) for i in range(n)]

        @workflow
        def wf(ns: list[int]) -> list[list[int]]:
            return gmap(fan)(n=ns)

        assert wf(ns=[0, 1, 2]) == [[], [1], [1, 2]]

    def test_several_outputs(self):
        """
        A mapped workflow's outputs are lists, one for each.
        """

        @workflow
        def sub(n: int) -> tuple[int, str]:
            return two(n=n)

        @workflow
        def wf(ns: list[int]) -> tuple[list[int], list[str]]:
            a, b = gmap(sub)(n=ns)
            return a, b

        assert wf(ns=[1, 2]) == ([1, 2], ["1", "2"])

    def test_within_a_map(self):
        """
        A workflow that maps can be mapped.
        """

        @workflow
        def inner(ns: list[int]) -> list[int]:
            return gmap(inc)(n=ns)

        @workflow
        def outer(table: list[list[int]]) -> list[list[int]]:
            return gmap(inner)(ns=table)

        assert outer(table=[[1], [], [2, 3]]) == [[2], [], [3, 4]]

    def test_bear_failures_too(self):
        """
        Items of a mapped workflow that fail are None in their places, as long as enough succeed.
        """

        @workflow
        def sub(n: int) -> int:
            return inc(n=odd(n=n))

        assert gmap(sub, min_success_ratio=0.5)(n=[1, 2, 3]) == [2, None, 4]
        with pytest.raises(ValueError, match="2 is even"):
            gmap(sub, min_success_ratio=0.9)(n=[1, 2, 3])


class TestRefused:
    @pytest.mark.parametrize("target", [len, lambda n: n, 3, gmap(inc)])
    def test_targets(self, target):
        """
        Only what can be called in a workflow can be mapped.
        """
        with pytest.raises(ValueError, match="the target takes"):
            gmap(target)

    def test_eager_tasks(self):
        """
        Eager calls are gathered, not mapped.
        """

        @eager
        async def body(n: int) -> int:
            return n

        with pytest.raises(BadArgument, match="gather"):
            gmap(body)

    @pytest.mark.parametrize(
        "figures",
        [
            {"concurrency": -1},
            {"concurrency": 1.5},
            {"min_successes": -1},
            {"min_success_ratio": 2},
            {"min_success_ratio": "all"},
        ],
    )
    def test_figures(self, figures):
        """
        Figures are checked where they are written.
        """
        with pytest.raises(ValueError):
            gmap(inc, **figures)

    @pytest.mark.parametrize("call", [{"m": [1]}, {}])
    def test_inputs(self, call):
        """
        Inputs are those of the target, and at least one is a list.
        """
        with pytest.raises((UnknownArgument, TypeError)):
            gmap(inc)(**call)

    def test_bound_inputs_are_not_given_again(self):
        """
        What partial has bound is not an input any more.
        """
        with pytest.raises(UnknownArgument, match="bound by partial"):
            gmap(partial(scale, factor=1))(n=[1], factor=[2])
        with pytest.raises(UnknownArgument):
            gmap(partial(inc, m=1))

    def test_items_of_another_type(self):
        """
        Items are checked against the parameter's type.
        """
        with pytest.raises(TypeMismatch, match=r"expected int, got 'a'"):
            gmap(inc)(n=[1, "a"])
        with pytest.raises(TypeMismatch, match=r"expected list\[int\]"):
            gmap(inc)(n=3)

    def test_unsupported_flag(self):
        """
        What has no meaning here is refused with what does the same.
        """
        with pytest.raises(BadArgument, match="min_success_ratio=0"):
            map_task(inc, run_all_sub_nodes=True)


def test_names():
    """
    A map is called after what it maps.
    """
    assert f"{__name__}.map_inc" == MapTask(inc, {}).name
