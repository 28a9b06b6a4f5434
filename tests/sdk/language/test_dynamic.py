"""Dynamic tasks: a body with real values lays out the graph that runs in its place."""

from __future__ import annotations

import pytest

from greenroom.compile import fragment_of
from greenroom.definition_errors import PromiseMisuse, WrongOutputs
from greenroom.dynamic import dynamic, lay_out
from greenroom.environment import ActorEnvironment
from greenroom.errors import TypeMismatch
from greenroom.launch_plan import LaunchPlan
from greenroom.local import store
from greenroom.mapping import map as gmap
from greenroom.task import DynamicTask, task
from greenroom.workflow import workflow
from greenroom_core.fragments import Fragment
from greenroom_core.program import Mode

actor = ActorEnvironment("dynamic-actor")
calls: list[str] = []


@task
def inc(n: int) -> int:
    calls.append("inc")
    return n + 1


@actor.task
def add(a: int, b: int) -> int:
    return a + b


@workflow
def plus_two(n: int) -> int:
    return inc(n=inc(n=n))


plan = LaunchPlan.get_or_create(plus_two, "test_dynamic.plus_two")


@dynamic
def chain(times: int, n: int) -> int:
    """Loops and conditions on inputs are plain Python."""
    for _ in range(times):
        n = inc(n=n)
    return n if times != 3 else add(a=n, b=100)


class TestRuns:
    def test_alone(self):
        """
        Called outside of a workflow, its graph runs here.
        """
        assert (chain(times=4, n=1), chain(times=0, n=1), chain(3, 0)) == (5, 1, 103)

    def test_in_a_workflow(self):
        """
        As a node, it is one in whose place others run.
        """

        @workflow
        def wf(times: int) -> int:
            return inc(n=chain(times=times, n=0))

        assert wf(times=5) == 6 and len(wf.compiled.graph.nodes) - 1 == 1

    def test_calls_everything(self):
        """
        Tasks, maps, workflows and launch plans may be called in a body.
        """

        @dynamic
        def body(n: int) -> tuple[int, list[int], int]:
            values = gmap(inc)(n=list(range(n)))
            return plus_two(n=values[0]), values, plan(n=n)

        @workflow
        def wf(n: int) -> tuple[int, list[int], int]:
            return body(n=n)

        assert wf(n=2) == (3, [1, 2], 4)

    def test_gives_constants_and_nothing(self):
        """
        Outputs need not come from calls; a body may have none.
        """

        @dynamic
        def constant(n: int) -> tuple[int, str]:
            return n, "x"

        @dynamic
        def quiet(n: int) -> None:
            inc(n=n)

        calls.clear()

        assert constant(2) == (2, "x") and None is quiet(1) and calls == ["inc"]

    def test_recursion(self):
        """
        A body may call its own task, fifty levels deep.
        """

        @dynamic
        def down(n: int) -> int:
            return inc(n=down(n=n - 1)) if n else 0  # noqa: F821

        @workflow
        def wf(n: int) -> int:
            return down(n=n)

        assert wf(n=50) == 50

    def test_recursion_through_a_workflow(self):
        """
        A body may call the workflow that it stands in.
        """
        assert _doubling(n=3) == 8

    def test_errors_name_the_inner_node(self):
        """
        What fails in the graph that was laid out is named behind the dynamic node.
        """

        @task
        def fails(n: int) -> int:
            raise ValueError("inside")

        @dynamic
        def body(n: int) -> int:
            return fails(n=n)

        @workflow
        def wf(n: int) -> int:
            return body(n=n)

        with pytest.raises(ValueError, match="inside") as caught:
            wf(n=1)

        assert "(node body.fails)" in caught.value.__notes__[0]

    def test_misuse_of_promises_fails_the_node(self):
        """
        Results of calls are promises in a body, as in a workflow.
        """

        @dynamic
        def body(n: int) -> int:
            return inc(n=n) + 1

        with pytest.raises(PromiseMisuse, match=r"\+ cannot be done"):
            body(1)

    def test_outputs_are_checked(self):
        """
        What a body returns fits its annotation.
        """

        @dynamic
        def words(n: int) -> str:
            return inc(n=n)

        @dynamic
        def pair(n: int) -> tuple[int, int]:
            return inc(n=n)

        with pytest.raises(TypeMismatch, match="expected str"):
            words(1)
        with pytest.raises(WrongOutputs, match="2 outputs"):
            pair(1)

    def test_retries(self):
        """
        A body that fails is tried again.
        """
        tries: list[int] = []

        @dynamic(retries=1)
        def flaky(n: int) -> int:
            tries.append(n)
            if len(tries) == 1:
                raise ValueError
            return inc(n=n)

        assert flaky(1) == 2 and tries == [1, 1]


@workflow
def _doubling(n: int) -> int:
    return _double(n=n, value=1)


@dynamic
def _double(n: int, value: int) -> int:
    return add(a=value, b=value) if n == 1 else _again(n=n - 1, value=add(a=value, b=value))


@workflow
def _again(n: int, value: int) -> int:
    return _double(n=n, value=value)


class TestFragments:
    def test_what_a_replica_sends(self):
        """
        A fragment holds the nodes with what they call, functions by their names.
        """
        compiled = lay_out(chain, {"times": 3, "n": 1})

        fragment = Fragment.read(fragment_of(compiled, store()))

        assert [node.id for node in fragment.nodes] == ["inc", "inc-2", "inc-3", "add"]
        assert (__name__, "inc") == ((made := fragment.tasks[inc.key]).module, made.qualname)
        assert {"regular", "dynamic-actor"} == set(fragment.environments)

    def test_is_a_task(self):
        """
        A dynamic task is a task with a mode, made by either decorator, on an actor too.
        """

        @task(execution_mode="dynamic")
        def other(n: int) -> int:
            return inc(n=n)

        @actor.dynamic
        def on_actor(n: int) -> int:
            return inc(n=n)

        assert all(isinstance(made, DynamicTask) and made.mode is Mode.DYNAMIC for made in (chain, other, on_actor))
        assert (2, 2, actor) == (other(1), on_actor(1), on_actor.environment)
