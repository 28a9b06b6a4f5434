"""What a dynamic task's graph brings along: pools of its own environments, launch plans that become executions."""

from __future__ import annotations

from typing import Any

from greenroom_core.bindings import Binding, Constant, Promise
from greenroom_core.facts import ChildStarted, ExecutionEnded, ExecutionSubmitted, NodeEnded, Noticed, Outcome
from greenroom_core.fragments import Fragment
from greenroom_core.graph import Graph, Node, NodeKind
from greenroom_core.program import Environment, Mode, Plan, Program, Resources, Task
from greenroom_core.values import pack
from greenroom_hub.core import commands as c
from greenroom_hub.core.ledger import Capacity
from tests.hub.core.driver import HubDriver

FIVE = Constant(pack(5))
CALLED = Task("f.called", "e", inputs=("x",), outputs=("o0",))


def node(name: str, target: str, x: Binding) -> Node:
    return Node(name, NodeKind.TASK, target=target, inputs={"x": x}, outputs=("o0",))


def dynamic_program() -> Program:
    """A dynamic task `d` in environment `e`; what it lays out, the program does not know."""
    graph = Graph((node("d", "d", Promise("", "x")),), {"o0": Promise("d", "o0")}, ("x",))
    task = Task("f.d", "e", inputs=("x",), outputs=("o0",), mode=Mode.DYNAMIC)
    return Program("f.wf", "p", graph, {"d": task}, {"e": Environment("e")})


def fragment(*nodes: Node, **parts: Any) -> Any:
    made = Fragment(nodes, {"o0": Promise(nodes[-1].id, "o0")}, **parts)
    return made.to_value()


def plan_fragment(environment: Environment | None = None) -> bytes:
    """A call of the plan `lp`, which calls `called` twice."""
    environment = environment or Environment("late")
    graph = Graph(
        (node("a", "called", Promise("", "x")), node("b", "called", Promise("a", "o0"))),
        {"o0": Promise("b", "o0")},
        ("x",),
    )
    task = Task("f.called", environment.name, inputs=("x",), outputs=("o0",))
    child = Node("c", NodeKind.CHILD, target="lp", inputs={}, outputs=("o0",))
    return fragment(
        child,
        tasks={"called": task},
        environments={environment.name: environment},
        plans={"lp": Plan("f.lp", graph, inputs={"x": pack(5)})},
    )


def lay_out(hub: HubDriver, value: bytes) -> None:
    """The dynamic task answers with a graph."""
    hub.submit(dynamic_program())
    hub.connect()
    hub.answer_raw(value)


def test_an_environment_that_only_the_graph_brings_gets_a_pool() -> None:
    """
    Calls of a dynamic task's graph run in an environment that the program never named.
    """
    hub = HubDriver()
    late = Task("f.called", "late", inputs=("x",), outputs=("o0",))

    lay_out(
        hub,
        fragment(node("a", "t", FIVE), tasks={"t": late}, environments={"late": Environment("late")}),
    )
    assert ["late"] == [started.environment.name for started in hub.does(c.StartReplica)]
    hub.connect()
    hub.answer(value=7)

    assert {"o0": pack(7)} == hub.facts(ExecutionEnded)[0].outputs
    assert all(not pool.wishes for pool in hub.state.pools.values())


def test_an_environment_of_the_same_name_and_other_contents_is_another_one() -> None:
    """
    A graph's environment that is called like one of the program's, with other variables, gets a pool of its own.
    """
    hub = HubDriver()
    other = Environment("e", env={"A": "1"})
    task = Task("f.called", "e", inputs=("x",), outputs=("o0",))

    lay_out(hub, fragment(node("a", "t", FIVE), tasks={"t": task}, environments={"e": other}))

    assert [{}, {"A": "1"}] == [dict(started.environment.env) for started in hub.started]
    assert 2 == len(hub.state.runs["wf-1"].pools)


def test_it_gets_it_after_a_restart_as_well() -> None:
    """
    A hub that starts again folds the graph, and joins the pools that the graph needs.
    """
    hub = HubDriver()
    late = Task("f.called", "late", inputs=("x",), outputs=("o0",))
    lay_out(
        hub,
        fragment(node("a", "t", FIVE), tasks={"t": late}, environments={"late": Environment("late")}),
    )
    hub.connect()

    hub.restart()
    hub.connect()
    hub.answer(value=7)

    assert {"o0": pack(7)} == hub.facts(ExecutionEnded)[0].outputs


def test_an_environment_that_never_fits_fails_its_node() -> None:
    """
    A graph that asks for a gpu where none is fails with the sentence that a program would get.
    """
    hub = HubDriver(Capacity(cpu=4, memory=2**30, gpu=0))
    late = Task("f.called", "late", inputs=("x",), outputs=("o0",))
    large = Environment("late", requests=Resources(gpu=1))

    lay_out(hub, fragment(node("a", "t", FIVE), tasks={"t": late}, environments={"late": large}))

    ended = hub.facts(ExecutionEnded)[0]
    assert Outcome.FAILED is ended.outcome
    assert "late" in hub.facts(NodeEnded)[0].failure["message"]
    assert "gpu=1" in hub.facts(NodeEnded)[0].failure["message"]


def test_a_local_hub_cuts_it_and_says_so() -> None:
    """
    A person's own hub runs the graph with what there is, and says that once.
    """
    hub = HubDriver(Capacity(cpu=4, memory=2**30, gpu=0), local=True)
    late = Task("f.called", "late", inputs=("x",), outputs=("o0",))
    large = Environment("late", requests=Resources(gpu=1))

    lay_out(hub, fragment(node("a", "t", FIVE), tasks={"t": late}, environments={"late": large}))

    assert ["late asks gpu=1: running with no gpu"] == [fact.text for fact in hub.facts(Noticed)]


def test_a_plan_that_only_the_graph_brings_is_an_execution_of_its_own() -> None:
    """
    The child runs the plan with the tasks and environments that the graph brought; its end is the node's.
    """
    hub = HubDriver()

    lay_out(hub, plan_fragment())
    (child,) = [fact.execution for fact in hub.facts(ChildStarted)]
    hub.connect()
    hub.answer(value=6)
    hub.answer(value=7)

    assert [{"o0": pack(7)}] * 2 == [fact.outputs for fact in hub.facts(ExecutionEnded)]
    assert child.startswith("lp-")
    assert not hub.state.runs


def test_such_a_child_lives_through_a_restart() -> None:
    """
    The child's program is in the store under a name of its own: its log is read without its parent's.
    """
    hub = HubDriver()
    lay_out(hub, plan_fragment())
    hub.connect()
    hub.answer(value=6)

    hub.restart()
    hub.connect()
    hub.answer(value=7)

    assert 2 == len(hub.facts(ExecutionEnded))
    assert {"o0": pack(7)} == hub.facts(ExecutionEnded)[-1].outputs


def test_two_calls_of_such_a_plan_share_one_program() -> None:
    """
    What a dynamic task calls a hundred times is kept once.
    """
    hub = HubDriver()
    first = Fragment.read(plan_fragment())
    nodes = tuple(Node(f"c{i}", NodeKind.CHILD, target="lp", outputs=("o0",)) for i in range(100))

    lay_out(
        hub,
        fragment(*nodes, tasks=first.tasks, environments=first.environments, plans=first.plans),
    )

    submitted = {fact.submission.program for fact in hub.facts(ExecutionSubmitted)}
    assert 1 == len(submitted)
    assert [next(iter(submitted))] == [digest for digest, _ in hub.turn.programs]


def test_calls_of_a_graph_wait_for_the_row_that_brought_it() -> None:
    """
    A graph's first nodes wait for nothing in it, yet depend on the outcome that laid them out.
    """
    hub = HubDriver()

    lay_out(hub, fragment(node("a", "called", FIVE), tasks={"called": CALLED}))

    assert hub.take().needs > 0
