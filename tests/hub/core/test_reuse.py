"""Executions that repeat an earlier one: what they take over of it, and what they run."""

from __future__ import annotations

from typing import Any

import pytest

from greenroom_core.bindings import Promise
from greenroom_core.facts import CallsCached, ExecutionEnded, Outcome
from greenroom_core.fragments import Fragment
from greenroom_core.graph import GateKind, Graph, Node, NodeKind
from greenroom_core.program import Environment, Mode, Plan, Program, Reuse, Task
from greenroom_core.retry import Retry
from greenroom_core.values import pack
from greenroom_hub.core import events as e
from tests.hub.core.driver import HubDriver, chain_program, map_program, xs

RECOVER = {"rerun_of": "wf-1", "reuse": Reuse.SUCCEEDED}
FAILED = {"rerun_of": "wf-1", "reuse": Reuse.UNFAILED}


def repeat(hub: HubDriver, program: Program, options: dict[str, Any], **inputs: bytes) -> None:
    """The same program again, as `rerun` and `recover` submit it; what it looks for is found."""
    hub.submit(program, "wf-2", options=options, **inputs)
    while hub.asked:
        hub.look_up()


def calls(hub: HubDriver) -> list[tuple[str, list[int]]]:
    """What is sent to replicas now."""
    return [(sent.node, sent.items) for sent in hub.sent]


def taken(hub: HubDriver, execution: str = "wf-2") -> dict[str, list[int]]:
    """Items that an execution did not run, by node."""
    found: dict[str, list[int]] = {}
    for recorded in hub._recorded():
        if recorded.stream == execution and isinstance(recorded.fact, CallsCached):
            assert "wf-1" == recorded.fact.source
            found.setdefault(recorded.fact.node, []).extend(recorded.fact.outcomes.item_list())
    return found


def ended(hub: HubDriver, execution: str = "wf-2") -> ExecutionEnded:
    return next(r.fact for r in hub._recorded() if r.stream == execution and isinstance(r.fact, ExecutionEnded))


def chain_that_failed(hub: HubDriver) -> Program:
    """`a` gave 10, `b` failed, `c` was not run."""
    program = chain_program("a", "b", "c")
    hub.submit(program)
    hub.connect()
    hub.answer(value=10)
    hub.answer(fails=True)
    return program


@pytest.mark.parametrize("options", [RECOVER, FAILED])
def test_what_succeeded_is_not_run_again(options: dict[str, Any]) -> None:
    """
    Of a chain whose second task failed, the first one's output is taken over; the others run.
    """
    hub = HubDriver()
    program = chain_that_failed(hub)

    repeat(hub, program, options)
    assert [("b", [0])] == calls(hub)
    hub.answer_all(value=11)

    assert {"a": [0]} == taken(hub)
    assert {"o0": pack(11)} == ended(hub).outputs


def test_a_rerun_of_all_takes_nothing() -> None:
    """
    Without a wish to reuse, everything runs again.
    """
    hub = HubDriver()
    program = chain_that_failed(hub)

    repeat(hub, program, {"rerun_of": "wf-1"})

    assert [("a", [0])] == calls(hub)
    assert {} == taken(hub)


def test_other_inputs_take_nothing() -> None:
    """
    A call with another input is another call, whatever the submission wishes.
    """
    hub = HubDriver()
    program = chain_that_failed(hub)

    repeat(hub, program, RECOVER, x=pack(2))

    assert [("a", [0])] == calls(hub)


def failed_map(hub: HubDriver) -> Program:
    """Items 0, 2 and 3 of a map gave their own number, item 1 failed."""
    program = map_program(count=4)
    hub.submit(program, xs=xs(4))
    hub.connect()
    for sent in sorted([hub.take() for _ in range(4)], key=lambda sent: 1 in sent.items):
        hub.answer(sent, fails=1 in sent.items)
    return program


def test_of_a_failed_map_only_the_failed_items_run() -> None:
    """
    Three results of four are kept; one call is made; the output is whole, in order.
    """
    hub = HubDriver()
    program = failed_map(hub)

    repeat(hub, program, FAILED, xs=xs(4))
    assert [("m", [1])] == calls(hub)
    hub.answer_all(value=100)

    results = hub.ended["wf-2"].results("m", "o0")
    assert [pack(0), pack(100), pack(2), pack(3)] == list(results.slice(0, 4).items())
    assert {"m": [0, 2, 3]} == taken(hub)


def partial_program() -> Program:
    """A map that may lose half of its items, and a task that takes its result."""
    nodes = (
        Node(
            "m",
            NodeKind.MAP,
            target="t",
            inputs={"x": Promise("", "xs")},
            over=("x",),
            outputs=("o0",),
            min_success_ratio=0.5,
        ),
        Node("sum", NodeKind.TASK, target="t", inputs={"x": Promise("m", "o0")}, outputs=("o0",)),
    )
    task = Task("f.t", "e", inputs=("x",), outputs=("o0",), retry=Retry(2))
    return Program("f.wf", "p", Graph(nodes, {"o0": Promise("sum", "o0")}, ("xs",)), {"t": task}, ENVIRONMENTS)


ENVIRONMENTS = {"e": Environment("e")}


def partial_map(hub: HubDriver, succeeds: bool = False) -> Program:
    """Item 1 of a map failed in all of its attempts, the map succeeded, what came after it failed (unless told)."""
    program = partial_program()
    hub.submit(program, xs=xs(2))
    hub.connect()
    while hub.sent:
        sent = hub.take()
        hub.answer(sent, fails=1 in sent.items or (sent.node == "sum" and not succeeds))
    assert (Outcome.SUCCEEDED if succeeds else Outcome.FAILED) is hub.ended["wf-1"].outcome
    return program


def test_recover_keeps_a_map_that_succeeded_although_items_failed() -> None:
    """
    A node that succeeded is not run again, not even in part; its failures are final there as well.
    """
    hub = HubDriver()
    program = partial_map(hub)

    repeat(hub, program, RECOVER, xs=xs(2))

    assert [("sum", [0])] == calls(hub)
    assert {"m": [0, 1]} == taken(hub)
    assert 1 == hub.state.runs["wf-2"].execution.nodes["m"].items.failed


def test_failed_runs_items_that_a_map_could_do_without() -> None:
    """
    `--failed` means every failed item, and what takes the map's result when that has changed.
    """
    hub = HubDriver()
    program = partial_map(hub)

    repeat(hub, program, FAILED, xs=xs(2))

    assert [("m", [1])] == calls(hub)


def test_what_follows_from_something_new_is_run() -> None:
    """
    A task that succeeded downstream of an item that is run again, and now gives something else, runs again too.
    """
    hub = HubDriver()
    program = partial_map(hub, succeeds=True)

    repeat(hub, program, FAILED, xs=xs(2))
    hub.answer(value=100)
    hub.look_up()

    assert [("sum", [0])] == calls(hub)
    assert {"m": [0]} == taken(hub)


def test_a_dynamic_task_that_laid_out_its_graph_keeps_it() -> None:
    """
    The body of a dynamic task is not run again; of its graph only what failed is.
    """
    nodes = (Node("a", NodeKind.TASK, target="t", outputs=("o0",)), Node("b", NodeKind.TASK, "t", outputs=("o0",)))
    value = Fragment(nodes, {"o0": Promise("b", "o0")}).to_value()
    graph = Graph((Node("d", NodeKind.TASK, "d", outputs=("o0",)),), {"o0": Promise("d", "o0")})
    tasks = {"d": Task("f.d", "e", outputs=("o0",), mode=Mode.DYNAMIC), "t": Task("f.t", "e", outputs=("o0",))}
    program = Program("f.wf", "p", graph, tasks, ENVIRONMENTS)
    hub = HubDriver()
    hub.submit(program)
    hub.connect()
    hub.answer_raw(value)
    for _ in range(2):
        sent = hub.take()
        hub.answer(sent, fails=sent.node == "d.b", value=1)

    repeat(hub, program, RECOVER)

    assert [("d.b", [0])] == calls(hub)
    assert {"d": [0], "d.a": [0]} == taken(hub)


def plan_program() -> Program:
    """A launch plan of two tasks, called twice."""
    inner = (
        Node("a", NodeKind.TASK, "t", {"x": Promise("", "x")}, ("o0",)),
        Node("b", NodeKind.TASK, "t", {"x": Promise("a", "o0")}, ("o0",)),
    )
    plan = Plan("f.lp", Graph(inner, {"o0": Promise("b", "o0")}, ("x",)))
    nodes = (
        Node("c", NodeKind.CHILD, "lp", {"x": Promise("", "x")}, ("o0",)),
        Node("d", NodeKind.CHILD, "lp", {"x": Promise("c", "o0")}, ("o0",)),
    )
    task = Task("f.t", "e", inputs=("x",), outputs=("o0",))
    graph = Graph(nodes, {"o0": Promise("d", "o0")}, ("x",))
    return Program("f.wf", "p", graph, {"t": task}, ENVIRONMENTS, {"lp": plan})


def test_a_child_that_failed_is_repeated_by_a_child_that_takes_over() -> None:
    """
    A launch plan's call that succeeded is not started again; one that failed goes on from what it had.
    """
    hub = HubDriver()
    program = plan_program()
    hub.submit(program)
    hub.connect()
    for value in (2, 3, 4):
        hub.answer(value=value)
    hub.answer(fails=True)

    hub.submit(program, "wf-2", options=RECOVER)
    (child,) = [name for name in hub.state.runs if name != "wf-2"]
    while hub.asked:
        hub.look_up()
    assert [("b", [0])] == calls(hub)
    hub.answer(value=5)

    assert {"o0": pack(5)} == ended(hub).outputs
    facts = [r.fact for r in hub._recorded() if r.stream == child and isinstance(r.fact, CallsCached)]
    assert [hub.ended["wf-1"].nodes["d"].child] == [fact.source for fact in facts]


def test_a_gate_that_was_opened_is_not_asked_again() -> None:
    """
    What a person approved once holds for who goes on from there.
    """
    nodes = (
        Node("g", NodeKind.GATE, outputs=("o0",), gate=GateKind.INPUT),
        Node("a", NodeKind.TASK, "t", {"x": Promise("g", "o0")}, ("o0",)),
    )
    task = Task("f.t", "e", inputs=("x",), outputs=("o0",))
    program = Program("f.wf", "p", Graph(nodes, {"o0": Promise("a", "o0")}, ()), {"t": task}, ENVIRONMENTS)
    hub = HubDriver()
    hub.submit(program)
    hub.when(e.GateAnswered(9, "wf-1", "g", pack("yes"), True, "ann"))
    hub.connect()
    hub.answer(fails=True)

    repeat(hub, program, RECOVER)

    assert pack("yes") == hub.state.runs["wf-2"].execution.nodes["g"].values["o0"]
    assert [("a", [0])] == calls(hub)


def test_a_restart_in_between_takes_over_the_rest() -> None:
    """
    A hub that dies after the first outcomes were taken over looks for the others, and runs none of them.
    """
    hub = HubDriver()
    program = chain_that_failed(hub)
    hub.submit(program, "wf-2", options=RECOVER)
    asked = list(hub.asked)

    hub.asked.clear()
    hub.restart()
    while hub.asked:
        hub.look_up()
    hub.connect()

    assert asked
    assert [("b", [0])] == calls(hub)


def test_an_earlier_execution_that_is_gone_is_no_obstacle() -> None:
    """
    Where the earlier execution was cleaned away meanwhile, everything runs.
    """
    hub = HubDriver()
    program = chain_that_failed(hub)
    hub.ended.clear()

    repeat(hub, program, RECOVER)

    assert [("a", [0])] == calls(hub)
