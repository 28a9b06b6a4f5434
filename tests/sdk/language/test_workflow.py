"""Workflows: what a body says with promises, and the graph that comes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import pytest

from greenroom.building import find_circle
from greenroom.conditions import conditional
from greenroom.definition_errors import CycleFound
from greenroom.errors import GreenroomWarning, NoSuchPart
from greenroom.nodes import create_node
from greenroom.task import task
from greenroom.workflow import Workflow, WorkflowFailurePolicy, workflow
from greenroom_core.bindings import Gathered, Promise, Record
from greenroom_core.graph import FailurePolicy


@dataclass
class Point:
    x: int
    y: int


class Pair(NamedTuple):
    left: int
    right: str


class Single(NamedTuple):
    only: int


@task
def inc(n: int) -> int:
    return n + 1


@task
def add(a: int, b: int = 10) -> int:
    return a + b


@task
def pair(n: int) -> Pair:
    return Pair(n, str(n))


@task
def two(n: int) -> tuple[int, str]:
    return n, str(n)


@task
def point(n: int) -> Point:
    return Point(n, n + 1)


@task
def total(ns: list[int]) -> int:
    return sum(ns)


@task
def size_of(table: dict[str, int]) -> int:
    return len(table)


@task
def nothing(n: int = 0) -> None:
    pass


def ids(wf: Workflow) -> list[str]:
    return [node.id for node in wf.compiled.graph.nodes]


class TestGraph:
    def test_nodes_are_called_as_their_tasks(self):
        """
        A node has its task's name, numbered from the second use on.
        """

        @workflow
        def wf(n: int) -> int:
            return inc(n=inc(n=add(a=inc(n=n))))

        assert ids(wf) == ["inc", "add", "inc-2", "inc-3"]

    def test_names_that_look_numbered_do_not_clash(self):
        """
        A node of the user's own name keeps it.
        """

        @workflow
        def wf(n: int) -> int:
            first = inc(n=n).with_overrides(node_name="inc-2")
            return inc(n=inc(n=first))

        assert len(set(ids(wf))) == 3 and ids(wf)[0] == "inc-2"

    def test_inputs_come_from_inputs_nodes_and_constants(self):
        """
        Each input of a node is bound to where it comes from.
        """

        @workflow
        def wf(n: int) -> int:
            return add(a=inc(n=n), b=5)

        first, second = wf.compiled.graph.nodes

        assert {"n": Promise("", "n")} == first.inputs
        assert Promise("inc", "o0") == second.inputs["a"]
        assert {"o0": Promise("add", "o0")} == wf.compiled.graph.outputs

    def test_a_task_is_called_by_position_too(self):
        """
        Positional arguments follow the function's order, defaults are kept.
        """

        @workflow
        def wf(n: int) -> int:
            return add(inc(n), 1)

        assert 3 == wf(1) == wf(n=1)

    def test_lists_and_dicts_of_promises(self):
        """
        Promises may stand in lists and dicts, beside constants.
        """

        @workflow
        def wf(n: int) -> tuple[int, int]:
            a = inc(n=n)
            return total(ns=[a, n, 100]), size_of(table={"a": a, "b": 1})

        _, gathered, record = wf.compiled.graph.nodes

        assert isinstance(gathered.inputs["ns"], Gathered) and isinstance(record.inputs["table"], Record)
        assert wf(n=1) == (103, 2)

    def test_a_dataclass_of_promises(self):
        """
        A record may be put together from promises.
        """

        @task
        def norm(p: Point) -> int:
            return p.x + p.y

        @workflow
        def wf(n: int) -> int:
            return norm(p=Point(inc(n=n), 5))

        assert wf(n=1) == 7

    def test_parts_of_promises(self):
        """
        Fields, keys and places of a promised value are promises themselves.
        """

        @task
        def nested(n: int) -> dict[str, list[Point]]:
            return {"a": [Point(n, 2), Point(3, 4)]}

        @workflow
        def wf(n: int) -> tuple[int, int, int]:
            p = point(n=n)
            deep = nested(n=n)
            return p.x, p.y, deep["a"][1].y

        assert wf(n=1) == (1, 2, 4)

    def test_parts_of_inputs(self):
        """
        A workflow's input has parts too.
        """

        @workflow
        def wf(points: list[Point], table: dict[str, int]) -> int:
            return add(a=points[0].y, b=table["k"])

        assert wf(points=[Point(1, 2)], table={"k": 7}) == 9

    def test_outputs_may_be_constants_and_lists(self):
        """
        What a workflow returns may be a constant, a list or dict of promises, or an input.
        """

        @workflow
        def wf(n: int) -> tuple[int, list[int], dict[str, int], str]:
            return n, [inc(n=n), 3], {"k": inc(n=n)}, "text"

        assert wf(n=1) == (1, [2, 3], {"k": 2}, "text")

    def test_tuple_outputs_unpack(self):
        """
        A call with several outputs gives as many promises, by place and by name.
        """

        @workflow
        def wf(n: int) -> tuple[int, str, str]:
            a, b = two(n=n)
            out = pair(n=a)
            return out.left, out.right, b

        assert wf(n=3) == (3, "3", "3")

    def test_named_outputs(self):
        """
        A workflow's NamedTuple keeps its name and its fields.
        """

        @workflow
        def wf(n: int) -> Pair:
            left, right = pair(n=n)
            return Pair(left=left, right=right)

        assert Pair(2, "2") == wf(n=2) and isinstance(wf(n=2), Pair)
        assert "left" in wf.compiled.graph.outputs

    def test_a_single_named_output_is_a_tuple(self):
        """
        A NamedTuple of one field is still reached by its field.
        """

        @task
        def one(n: int) -> Single:
            return Single(n)

        @workflow
        def wf(n: int) -> int:
            return inc(n=one(n=n).only)

        assert wf(n=5) == 6
        assert Single(5) == one(5)

    def test_outputs_called_as_a_tuples_own_attributes(self):
        """
        An output may be called `count` or `index`.
        """

        class Stats(NamedTuple):
            count: int
            index: str

        @task
        def stats(n: int) -> Stats:
            return Stats(n, str(n))

        @workflow
        def wf(n: int) -> tuple[int, str]:
            got = stats(n=n)
            return got.count, got.index

        assert wf(n=2) == (2, "2")

    def test_several_outputs_by_name_in_a_run(self):
        """
        A tuple of outputs is a named tuple, o0, o1, ...
        """

        @workflow
        def wf(n: int) -> tuple[int, str]:
            return two(n=n)

        assert wf(n=2) == (2, "2") and wf(n=2).o1 == "2"

    def test_no_output(self):
        """
        A workflow without outputs gives None; a promise that its body returns all the same is dropped, and told.
        """
        with pytest.warns(GreenroomWarning, match="returns <promise inc.o0> and drops it"):

            @workflow
            def wf(n: int = 1):
                return inc(n=n)

        assert None is wf()

    def test_default_inputs(self):
        """
        Defaults of a workflow are used in runs and in calls.
        """

        @workflow
        def inner(n: int = 5) -> int:
            return inc(n=n)

        @workflow
        def outer(m: int | None = None) -> int:
            return inner()

        assert 6 == inner() == outer()

    def test_a_loop_in_the_body_runs_once(self):
        """
        Plain Python in a body lays out the graph.
        """

        @workflow
        def wf() -> list[int]:
            return [inc(n=i) for i in range(3)]

        assert ids(wf) == ["inc", "inc-2", "inc-3"]
        assert wf() == [1, 2, 3]

    def test_policy_and_interruptible(self):
        """
        A workflow's wishes are its graph's and its nodes'.
        """

        @workflow(failure_policy=WorkflowFailurePolicy.FAIL_AFTER_EXECUTABLE_NODES_COMPLETE, interruptible=True)
        def wf(n: int) -> int:
            return inc(n=inc(n=n).with_overrides(interruptible=False))

        assert wf.compiled.graph.policy == FailurePolicy.FAIL_AFTER_EXECUTABLE_NODES_COMPLETE
        assert [node.overrides.interruptible for node in wf.compiled.graph.nodes] == [False, True]

    def test_a_nodes_line_is_the_users(self):
        """
        Each node knows the line of the call that made it.
        """

        @workflow
        def wf(n: int) -> int:
            return inc(n=n)

        assert "test_workflow.py:" in wf.compiled.graph.nodes[0].line

    def test_decorated_workflows(self):
        """
        Decorators below @workflow run when it is defined.
        """
        import functools

        def around(function):
            @functools.wraps(function)
            def wrapper(*args, **kwargs):
                before = nothing(n=1)
                result = function(*args, **kwargs)
                before >> result
                return result

            return wrapper

        @workflow
        @around
        def wf(n: int) -> int:
            return inc(n=n)

        assert ids(wf) == ["nothing", "inc"] and wf(n=1) == 2


class TestOrder:
    def test_shifts_order_nodes(self):
        """
        `a >> b >> c` makes each wait for the one before.
        """

        @workflow
        def wf() -> None:
            a, b, c = nothing(), inc(n=1), nothing()
            c >> b >> a

        by_id = {node.id: node.after for node in wf.compiled.graph.nodes}

        assert by_id == {"nothing": ("inc",), "inc": ("nothing-2",), "nothing-2": ()}

    def test_created_nodes(self):
        """
        `create_node` gives the node, with its outputs by name.
        """

        @workflow
        def wf(n: int) -> tuple[int, int, str]:
            first = create_node(inc, n=n)
            second = create_node(pair, n=first.o0)
            third = create_node(nothing)
            third >> first
            first.runs_before(second)
            return first.outputs["o0"], second.left, second.right

        assert wf(n=1) == (2, 2, "2")
        assert wf.compiled.graph.nodes[0].after == ("nothing",)

    def test_a_sub_workflow_waits_as_a_whole(self):
        """
        Every first node of a sub-workflow waits, and who waits for it waits for all its nodes.
        """

        @workflow
        def sub(n: int) -> int:
            nothing()
            return inc(n=inc(n=n))

        @workflow
        def wf() -> None:
            before, whole, after = nothing(), sub(n=1), nothing()
            before >> whole >> after

        nodes = {node.id: node for node in wf.compiled.graph.nodes}

        assert ("nothing",) == nodes["sub.nothing"].after == nodes["sub.inc"].after
        assert nodes["sub.inc-2"].after == ()
        assert {"nothing", "sub.nothing", "sub.inc", "sub.inc-2"} == set(nodes["sub"].after)
        assert nodes["nothing-2"].after == ("sub",)

    def test_a_circle_is_found(self):
        """
        Nodes that wait for each other are told, in order, at the line of the first one.
        """
        with pytest.raises(CycleFound, match=r"inc waits for nothing waits for inc") as caught:

            @workflow
            def wf() -> None:
                a = inc(n=1)
                b = nothing(n=a)
                b >> a

        assert "test_workflow.py:" in str(caught.value)

    def test_circles(self):
        """
        The search finds a circle anywhere, and none in a diamond.
        """
        assert find_circle({"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c")}) == []
        assert {"b", "c"} == set(find_circle({"a": (), "b": ("a", "c"), "c": ("b",), "d": ("c",)}))


class TestSubWorkflows:
    def test_nodes_stand_behind_their_workflow(self):
        """
        A sub-workflow's nodes are `child.node`, its own id stands for its end.
        """

        @workflow
        def child(n: int) -> int:
            return inc(n=n)

        @workflow
        def parent(n: int) -> int:
            return add(a=child(n=n), b=child(n=child(n=3)))

        assert ids(parent) == ["child.inc", "child", "child-2.inc", "child-2", "child-3.inc", "child-3", "add"]
        assert parent(n=1) == 1 + 1 + 3 + 1 + 1

    def test_inputs_reach_through(self):
        """
        Parts of a child's inputs are found in what the parent gives: constants, lists, promises.
        """

        @workflow
        def child(points: list[Point], flag: bool) -> int:
            branch = conditional("way").if_(flag.is_true()).then(inc(n=points[1].x)).else_().then(inc(n=100))
            return branch

        @workflow
        def parent(n: int) -> tuple[int, int, int]:
            return (
                child(points=[point(n=1), point(n=n)], flag=True),
                child(points=[Point(0, 0), Point(7, 0)], flag=True),
                child(points=[Point(0, 0)] * 2, flag=False),
            )

        assert parent(n=5) == (5 + 1, 8, 101)

    def test_a_part_that_a_constant_lacks_is_said_when_it_is_compiled(self):
        """
        What a parent's constant cannot give its child fails before anything runs.
        """

        @workflow
        def child(ns: list[int]) -> int:
            return inc(n=ns[3])

        @workflow
        def parent() -> int:
            return child(ns=[1, 2])

        with pytest.raises(NoSuchPart, match=r"\[1, 2\], given to a sub-workflow"):
            parent()

    def test_two_hundred_levels(self):
        """
        Nesting is not bounded by Python's recursion, and names its nodes all the way.
        """

        @workflow
        def level(n: int) -> int:
            return inc(n=n)

        def around(inner: Workflow) -> Workflow:
            @workflow
            def level(n: int) -> int:
                return inner(n=n)

            return level

        wf = level
        for _ in range(199):
            wf = around(wf)

        assert len(wf.compiled.graph.nodes) == 200
        assert wf(n=3) == 4

    def test_overrides_reach_the_nodes_within(self):
        """
        Overrides of a sub-workflow hold for its calls, unless those say otherwise.
        """

        @workflow
        def child(n: int) -> int:
            return inc(n=inc(n=n).with_overrides(retries=1))

        @workflow
        def parent(n: int) -> int:
            return child(n=n).with_overrides(retries=5, timeout=3)

        first, second, _ = parent.compiled.graph.nodes

        assert (
            first.overrides.retries.times,
            first.overrides.timeout,
            second.overrides.retries.times,
            second.overrides.timeout,
        ) == (1, 3.0, 5, 3.0)
