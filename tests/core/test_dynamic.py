"""Dynamic tasks: their result is a graph, which runs in their place."""

from __future__ import annotations

import pytest

from greenroom_core.bindings import Constant
from greenroom_core.conditions import Compare, Operator
from greenroom_core.facts import Outcome
from greenroom_core.failure import Cause
from greenroom_core.fragments import Fragment
from greenroom_core.graph import Case, FailurePolicy, Graph, Node, NodeKind
from greenroom_core.program import Environment, Mode, Plan, Task
from greenroom_core.values import Ext, ext, pack
from tests.driver import Play, bad, mapped, out, task, value

TASKS = {
    "d": Task("m.d", "e", outputs=("o0",), mode=Mode.DYNAMIC),
    "t": Task("m.t", "e", outputs=("o0",)),
}


def dynamic(*more: Node, **rest) -> Play:
    """A dynamic node `d`, and what comes behind it."""
    return Play(task("d", "d"), *more, tasks=TASKS, outputs={"o0": out("d")}, **rest)


def yields(play: Play, *nodes: Node, node: str = "d", **fragment) -> None:
    """The dynamic task has laid out its graph."""
    fragment.setdefault("outputs", {"o0": out(nodes[-1].id)} if nodes else {"o0": Constant(value("nothing"))})
    play.answer(node, play.take(node), [Fragment(nodes, **fragment).to_value()])


class TestRunning:
    """The graph runs in its place."""

    def test_its_nodes_join_behind_its_name(self):
        """
        The nodes of the graph have ids behind the dynamic node's, and run as any.
        """
        play = dynamic(task("last", x=out("d")))

        yields(play, task("a", x=5), task("b", x=out("a")))
        assert play.ready() == {"d.a": [0]}
        play.succeeds("d.a", 6)
        play.succeeds("d.b", 7)

        assert play.calls("last") == [7]
        play.replay()

    def test_an_empty_graph_gives_its_outputs_at_once(self):
        """
        A dynamic task that calls nothing hands on what it returns.
        """
        play = dynamic()

        yields(play)

        assert play.result() == {"o0": "nothing"}
        play.replay()

    def test_a_plain_result_is_its_output(self):
        """
        A dynamic task that returned no graph is a task.
        """
        play = dynamic()

        play.succeeds("d", 5)

        assert play.result() == {"o0": 5}

    def test_it_may_have_no_outputs(self):
        """
        A graph that is run for its effects alone is waited for.
        """
        tasks = {**TASKS, "d": Task("m.d", "e", mode=Mode.DYNAMIC)}
        play = Play(task("d", "d", outputs=()), task("b", spec={"after": ("d",)}), tasks=tasks)

        yields(play, task("a"), outputs={})
        assert play.ready() == {"d.a": [0]}
        play.succeeds("d.a", 1)

        assert play.ready() == {"b": [0]}

    def test_maps_and_branches_run_inside(self):
        """
        A graph may hold everything that a workflow may.
        """
        node = Node(
            "b",
            NodeKind.BRANCH,
            outputs=("o0",),
            cases=(
                Case(Compare(out("m", 1), Operator.GT, Constant(value(1))), {"o0": out("yes")}),
                Case(None, {"o0": Constant(value("no"))}),
            ),
        )
        play = dynamic()

        yields(play, mapped("m", Constant(value([1, 2]))), task("yes", spec={"within": ("b", 0)}), node)
        play.answer("d.m", play.take("d.m"), [1, 2])
        play.succeeds("d.yes", "yes")

        assert play.result() == {"o0": "yes"}
        play.check()
        play.replay()

    def test_dynamic_tasks_nest(self):
        """
        A graph may hold a dynamic task, whose graph runs within.
        """
        play = dynamic()

        yields(play, task("d", "d"))
        yields(play, task("a"), node="d.d")
        play.succeeds("d.d.a", "deep")

        assert play.result() == {"o0": "deep"}
        play.replay()

    def test_it_brings_what_it_needs(self):
        """
        Tasks, environments and plans that the program does not have come with the graph.
        """
        play = dynamic()

        yields(
            play,
            task("a", "new"),
            Node("c", NodeKind.CHILD, "lp", {}, ("o0",)),
            tasks={"new": Task("m.new", "f", outputs=("o0",))},
            environments={"f": Environment("f")},
            plans={"lp": Plan("m.lp", Graph(()))},
        )

        assert play.node("d.a").task.name == "m.new"
        assert play.execution.environments.keys() == {"e", "f"}
        assert play.execution.children == [("d.c", "lp", {})]
        play.replay()


class TestFailing:
    """What fails inside, and what is no graph."""

    @pytest.mark.parametrize("policy", list(FailurePolicy))
    def test_a_failure_inside_fails_the_dynamic_node(self, policy):
        """
        The failure is the inner node's; the dynamic node and what needs it do not succeed.
        """
        play = dynamic(task("last", x=out("d")), policy=policy)
        yields(play, task("a"), task("b"))

        play.fails("d.a", bad("inside"))
        if policy is not FailurePolicy.FAIL_IMMEDIATELY:
            play.succeeds("d.b", 1)

        assert (play.execution.ended.node, play.failure.message) == ("d.a", "inside")
        assert play.outcomes_by_node()["d"] in ("failed", "aborted")
        assert play.outcomes_by_node()["last"] in ("skipped", "aborted")
        play.check()
        play.replay()

    def test_the_task_itself_may_be_tried_again(self):
        """
        A dynamic task that raises has laid out nothing; its retry may.
        """
        play = dynamic()
        play.take("d")
        play.loses("d", 0)

        yields(play, task("a"))
        play.succeeds("d.a", 1)

        assert play.result() == {"o0": 1}

    @pytest.mark.parametrize(
        ("nodes", "fragment", "reason"),
        [
            ([task("a", x=out("b")), task("b", x=out("a"))], {}, "wait for each other: d.a, d.b"),
            ([task("a", x=out("nobody"))], {}, "waits for 'd.nobody', which is no node"),
            ([task("a", "unknown")], {}, "calls 'unknown', which the program does not define"),
            ([task("a"), task("a")], {}, "two nodes have one id"),
            ([task("a")], {"outputs": {}}, "does not give output 'o0'"),
            ([task("a")], {"outputs": {"o0": out("a", output="o7")}}, "output 'o7' of 'd.a'"),
            (
                [task("a", "new")],
                {"tasks": {"new": Task("m.new", "nowhere", outputs=("o0",))}},
                "runs in 'nowhere', which nobody defines",
            ),
        ],
    )
    def test_a_graph_that_cannot_run_fails_its_node(self, nodes, fragment, reason):
        """
        A graph is checked before it joins: what is wrong with it is the node's failure, not the hub's.
        """
        play = dynamic()

        yields(play, *nodes, **fragment)

        assert play.outcomes_by_node() == {"d": "failed"}
        assert play.failure.cause is Cause.RESULT
        assert reason in play.failure.message
        play.replay()

    def test_what_claims_to_be_a_graph_is_read_with_care(self):
        """
        Bytes that are no graph fail the node that yielded them.
        """
        for content in (5, {"nodes": 5}, {"nodes": [{"id": "a"}]}, [1, 2]):
            play = dynamic()

            play.answer("d", play.take("d"), [pack(ext(Ext.GRAPH, content))])

            assert play.outcomes_by_node() == {"d": "failed"}
            play.replay()

    def test_an_id_that_is_taken_is_refused(self):
        """
        A graph cannot take the place of nodes that exist.
        """
        play = dynamic(task("d.a"))

        yields(play, task("a"))

        assert "two nodes are called 'd.a'" in play.failure.message

    def test_a_cancel_ends_what_it_laid_out(self):
        """
        Held calls inside are cancelled; then the dynamic node is aborted with them.
        """
        play = dynamic()
        yields(play, task("a"), task("b", x=out("a")))
        held = play.take("d.a")

        play.cancel()
        assert play.execution.cancelled == ["d.a"]
        play.answer("d.a", held, [bad(cause=Cause.CANCELLED)])

        assert set(play.outcomes_by_node().values()) == {"aborted"}
        assert play.outcome is Outcome.ABORTED
        play.check()
        play.replay()
