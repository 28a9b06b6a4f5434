"""Nodes that ask the driver: launch plans become executions of their own, gates wait for people."""

from __future__ import annotations

import pytest

from greenroom_core.facts import ChildStarted, NodeStarted, Outcome
from greenroom_core.failure import Cause
from greenroom_core.graph import GateKind, Graph, Node, NodeKind
from greenroom_core.program import Plan
from tests.driver import Play, given, out, task, value

PLANS = {"lp": Plan("m.lp", Graph(()))}
CHILD = Node("c", NodeKind.CHILD, "lp", {"x": given("n")}, ("o0",))
GATE = Node("g", NodeKind.GATE, outputs=("o0",), gate=GateKind.INPUT)


class TestChildren:
    """A launch plan's call."""

    def play(self, *more) -> Play:
        return Play(CHILD, *more, given={"n": 5}, plans=PLANS, outputs={"o0": out("c")})

    def test_the_driver_is_asked_for_it(self):
        """
        When its inputs are known, a child is wanted with these.
        """
        play = self.play()

        assert play.heard == [NodeStarted("c")]
        assert play.execution.children == [("c", "lp", {"x": value(5)})]

    def test_its_outputs_are_the_nodes(self):
        """
        The child's end is the node's, with its outputs.
        """
        play = self.play(task("a", x=out("c")))

        play.child_starts("c")
        play.child_ends("c", o0=7)

        assert play.calls("a") == [7]
        play.replay()

    def test_its_failure_is_the_nodes(self):
        """
        A child that fails fails its node, and the execution.
        """
        play = self.play(task("a", x=out("c")))
        play.child_starts("c")

        play.child_ends("c", Outcome.FAILED)

        assert (play.outcome, play.execution.ended.node, play.failure.message) == (Outcome.FAILED, "c", "in the child")
        play.replay()

    def test_a_child_that_was_cancelled_by_itself_aborts_its_parent(self):
        """
        Somebody who cancels the child has not made the parent succeed.
        """
        play = self.play(task("a", x=out("c")))
        play.child_starts("c")

        play.child_ends("c", Outcome.ABORTED)

        assert play.outcomes_by_node() == {"c": "aborted", "a": "aborted"}
        assert (play.outcome, play.execution.ended.node) == (Outcome.ABORTED, "c")
        play.replay()

    def test_an_only_child_ends_the_execution(self):
        """
        The execution ends with the last node, also when that is a child.
        """
        play = self.play()
        play.child_starts("c")

        play.child_ends("c", o0=7)

        assert play.result() == {"o0": 7}

    def test_a_second_end_changes_nothing(self):
        """
        A node has one outcome: an end that is told again is not another one.
        """
        play = self.play(task("a", x=out("c")), task("b"))
        play.child_starts("c")
        play.child_ends("c", o0=7)

        play.child_ends("c", Outcome.FAILED)
        play.succeeds("a", 1)
        assert play.outcome is None
        play.succeeds("b", 1)

        assert play.outcomes_by_node() == {"c": "succeeded", "a": "succeeded", "b": "succeeded"}
        play.replay()

    def test_a_cancel_reaches_a_child_that_runs(self):
        """
        The child is to be cancelled, and the parent waits for its end.
        """
        play = self.play()
        play.child_starts("c")

        play.cancel()
        assert (play.execution.cancelled, play.outcome) == (["c"], None)
        play.child_ends("c", Outcome.ABORTED)

        assert (play.outcome, play.failure.message) == (Outcome.ABORTED, "enough")
        play.replay()

    def test_a_child_that_was_not_started_is_not_wanted_any_more(self):
        """
        When the execution ends first, nobody starts the child, and a late start changes nothing.
        """
        play = self.play()

        play.cancel()

        assert play.execution.children == []
        assert play.outcome is Outcome.ABORTED
        play.when(ChildStarted("c", "late"))
        assert play.outcomes_by_node() == {"c": "aborted"}
        play.check()

    def test_a_restart_asks_for_it_again(self):
        """
        A child that was wanted and not started is wanted after a replay; one that was started is not.
        """
        play = self.play()

        assert play.replay().children == [("c", "lp", {"x": value(5)})]
        play.child_starts("c")
        assert play.replay().children == []


class TestGates:
    """Approvals, inputs, sleeps."""

    def play(self) -> Play:
        return Play(task("a"), GATE, task("b", x=out("g"), y=out("a")))

    def test_what_comes_behind_waits(self):
        """
        A gate holds up what needs it, and nothing else.
        """
        play = self.play()

        assert play.execution.gates == ["g"]
        assert play.ready() == {"a": [0]}

    def test_its_answer_is_its_output(self):
        """
        The value that a person gives is the gate's output.
        """
        play = self.play()
        play.succeeds("a", 1)

        play.opens("g", "yes please")

        assert play.calls("b") == [["yes please", 1]]
        play.replay()

    def test_a_rejection_fails_it(self):
        """
        Without approval the execution fails at the gate.
        """
        play = self.play()

        play.opens("g", approved=False)

        assert (play.failure.type, play.execution.ended.node) == ("NotApproved", "g")
        assert play.outcome is Outcome.FAILED
        play.replay()

    def test_only_the_first_answer_counts(self):
        """
        A second answer is too late.
        """
        play = self.play()

        play.opens("g", "first")
        play.opens("g", "second", approved=False)
        play.succeeds("a", 1)

        assert play.calls("b") == [["first", 1]]
        play.replay()

    def test_a_cancel_ends_it(self):
        """
        Nobody waits at the gate of a cancelled execution.
        """
        play = self.play()

        play.cancel()

        assert set(play.outcomes_by_node().values()) == {"aborted"}
        assert play.execution.gates == []

    @pytest.mark.parametrize("opened", [False, True])
    def test_a_restart_waits_again_where_nobody_answered(self, opened):
        """
        After a replay the driver is told of the gates that wait still.
        """
        play = self.play()
        if opened:
            play.opens("g", 1)

        assert play.replay().gates == ([] if opened else ["g"])


def test_a_child_whose_inputs_cannot_be_read_fails():
    """
    A launch plan's input that is not there fails its node, as any.
    """
    child = Node("c", NodeKind.CHILD, "lp", {"x": given("n", "k")}, ("o0",))

    play = Play(child, given={"n": 5}, plans=PLANS)

    assert play.failure.cause is Cause.INPUT
    assert play.execution.children == []
