"""Calls that running calls make: nodes of the same execution, whose end the caller hears of once it is on disk."""

from __future__ import annotations

import pytest

from greenroom_core.bindings import Constant, Promise
from greenroom_core.facts import CallAsked, ExecutionEnded, NodeEnded, Outcome
from greenroom_core.failure import Failure
from greenroom_core.fragments import Fragment
from greenroom_core.graph import Node, NodeKind
from greenroom_core.program import Task
from greenroom_core.values import pack, unpack
from greenroom_hub.core import commands as c
from greenroom_hub.core.asking import MOST_LENT
from greenroom_hub.core.events import CancelWanted
from greenroom_protocol.calls import Status
from greenroom_protocol.frames import Ask, Lost, Waive
from tests.hub.core.driver import HubDriver, Sent, map_program, task_program, xs

INNER = Task("f.inner", "e", inputs=("x",), outputs=("o0",))


def graph(*names: str, x: int = 5) -> bytes:
    """Calls of `inner`, each with what the one before gave."""
    nodes, before = [], Constant(pack(x))
    for name in names:
        nodes.append(Node(name, NodeKind.TASK, target="inner", inputs={"x": before}, outputs=("o0",)))
        before = Promise(name, "o0")
    return Fragment(tuple(nodes), {"o0": before}, {"inner": INNER}).to_value()


class Hub(HubDriver):
    """A hub with one replica, on which a call runs that may ask."""

    def __init__(self, **options) -> None:
        super().__init__()
        self.submit(task_program(), options=options)
        self.connect()
        self.parent = self.take()
        self.numbers = 0

    def ask(self, key: str = "k", *names: str, parent: Sent | None = None, number: int = 0) -> int:
        """The running call calls `inner`; gives the question's number."""
        parent = parent or self.parent
        self.numbers += 1
        number = number or self.numbers
        ask = Ask(
            parent.execution, parent.node, parent.items[0], parent.attempts[0], number, key, graph(*(names or ("in",)))
        )
        self.say(parent.replica, ask)
        return number

    def waive(self, number: int) -> None:
        parent = self.parent
        self.say(parent.replica, Waive(parent.execution, parent.node, 0, parent.attempts[0], number))

    @property
    def answers(self) -> list[tuple[int, int, object]]:
        """What the last turn tells: number, status, value or failure's words."""
        told = []
        for answer in self.tells(c.SendAnswer):
            failed = answer.status != Status.SUCCEEDED
            value = Failure.unpack(answer.payload).line() if failed else unpack(answer.payload)
            told.append((answer.ask.number, int(answer.status), value))
        return told


class TestRunning:
    """The call waits, its calls run."""

    def test_its_calls_run_on_its_own_replica(self):
        """
        A pool of one: who asks lends its slot, and hears the value in the turn that records it.
        """
        hub = Hub()

        number = hub.ask()
        inner = hub.take()
        hub.answer(inner, value=7)

        assert ("t.in", hub.parent.replica) == (inner.node, inner.replica)
        assert [(number, 0, 7)] == hub.answers
        assert hub.facts(NodeEnded)
        hub.answer(hub.parent, value=8)
        assert {"o0": pack(8)} == hub.facts(ExecutionEnded)[0].outputs

    def test_a_graph_of_several_nodes_gives_its_outputs(self):
        """
        What a workflow or a map needs stands behind one name; the answer is the graph's output.
        """
        hub = Hub()

        number = hub.ask("k", "a", "b")
        hub.answer(value=6)
        second = hub.take()
        hub.answer(second, value=7)

        assert "t.b.b" == second.node
        assert [(number, 0, 7)] == hub.answers

    def test_calls_of_the_same_task_have_names_of_their_own(self):
        """
        Each is a node; they run beside each other as far as there is room.
        """
        hub = Hub()

        hub.ask("k-1")
        hub.ask("k-2")

        assert {"t", "t.in", "t.in-2"} == set(hub.state.runs["wf-1"].execution.nodes)

    def test_a_replica_whose_callers_wait_takes_what_they_wait_for(self):
        """
        Of a map of callers only a few are begun at a time; the calls that these make go before the rest.
        """
        hub = HubDriver()
        hub.submit(map_program(), xs=xs(50))
        hub.connect()

        begun = []
        while hub.sent and hub.sent[0].node == "m":
            caller = hub.take()
            begun.append(caller)
            ask = Ask(caller.execution, "m", caller.items[0], 1, len(begun), "k", graph("in"))
            hub.say(caller.replica, ask)

        assert 4 == len(begun)
        assert "m.0.in" == hub.sent[0].node

    def test_nesting_has_an_end(self):
        """
        A replica bears so many callers that wait; the next one hears why, instead of all waiting for ever.
        """
        hub = Hub()
        caller = hub.parent

        for depth in range(MOST_LENT + 1):
            hub.ask(parent=caller, number=depth + 1)
            if hub.answers:
                break
            caller = hub.take()

        assert depth == MOST_LENT
        assert "NestedTooDeeply" in str(hub.answers[0][2])


class TestFailures:
    """What fails is the caller's to handle."""

    def test_fails_the_question_alone(self):
        """
        The caller hears of it; the execution goes on, and succeeds if the caller does.
        """
        hub = Hub()

        number = hub.ask("k", "a", "b")
        hub.answer(fails=True)

        assert [(number, 1, "ValueError: bad pixel")] == hub.answers
        assert {"t.b.a": Outcome.FAILED, "t.b.b": Outcome.ABORTED} == {f.node: f.outcome for f in hub.facts(NodeEnded)}
        hub.answer(hub.parent)
        assert Outcome.SUCCEEDED == hub.facts(ExecutionEnded)[0].outcome

    def test_a_failed_caller_fails_the_execution(self):
        """
        Who does not catch the error fails by it.
        """
        hub = Hub()
        hub.ask()
        hub.answer(fails=True)

        hub.answer(hub.parent, fails=True)

        assert (Outcome.FAILED, "t") == (hub.facts(ExecutionEnded)[0].outcome, hub.facts(ExecutionEnded)[0].node)

    def test_a_graph_that_cannot_run(self):
        """
        Bytes that are no graph are the caller's failure, and no fact.
        """
        hub = Hub()

        hub.say(hub.parent.replica, Ask("wf-1", "t", 0, 1, 9, "k", pack(5)))

        assert 1 == hub.answers[0][1]
        assert not hub.facts(CallAsked)


class TestAgain:
    """Asking once more."""

    def test_after_a_cut(self):
        """
        The same question of the same attempt is one question; its answer is told again, a failure too.
        """
        hub = Hub()
        number = hub.ask()
        hub.answer(fails=True)

        hub.ask(number=number)

        assert [(number, 1, "ValueError: bad pixel")] == hub.answers
        assert not hub.facts()

    def test_while_it_runs(self):
        """
        Who asks again before the answer is known gets it under the newer number.
        """
        hub = Hub()
        hub.ask()

        number = hub.ask()
        hub.answer(value=7)

        assert [(number, 0, 7)] == hub.answers

    @pytest.mark.parametrize(("fails", "told"), [(False, [(2, 0, 7)]), (True, [])])
    def test_in_another_attempt(self, fails, told):
        """
        A caller that was lost and runs again gets successes from the log; what failed is run again.
        """
        hub = Hub()
        hub.ask()
        hub.answer(value=7, fails=fails)
        parent = hub.parent
        reason = {"cause": "lost", "type": "Lost", "message": "its runner died"}
        hub.say(parent.replica, Lost("wf-1", "t", [0], [1], True, reason))
        again = hub.take()

        hub.ask(parent=again)

        assert told == hub.answers
        assert ["t.in-2"] * fails == [sent.node for sent in hub.sent]

    def test_after_a_restart_of_the_hub(self):
        """
        A caller that lived on asks again: what ended before the crash is answered from the log, and not run again.
        """
        hub = Hub()
        hub.ask("k-1")
        hub.answer(value=7)
        hub.ask("k-2")
        inner, replica = hub.take(), hub.parent.replica

        hub.restart(alive=(replica,))
        hub.connect(replica, held=[["wf-1", "t", 0, 1], ["wf-1", inner.node, 0, 1]])
        hub.ask("k-1", number=1)
        first = hub.answers
        hub.ask("k-2", number=2)
        hub.answer(inner, value=8)

        assert ([(1, 0, 7)], [(2, 0, 8)]) == (first, hub.answers)
        assert not hub.sent


class TestEnding:
    """What nobody wants ends."""

    def test_a_waived_question_ends_its_calls(self):
        """
        Who cancels a call that it made has it cancelled where it runs.
        """
        hub = Hub()
        number = hub.ask()
        inner = hub.take()

        hub.waive(number)

        assert [("t.in", (), inner.replica)] == [(one.node, one.items, one.replica) for one in hub.does(c.SendCancel)]

    def test_a_caller_that_has_ended_leaves_nothing_running(self):
        """
        Calls that it did not wait for are cancelled, and the execution waits for their end.
        """
        hub = Hub()
        hub.ask()
        inner = hub.take()

        hub.answer(hub.parent, value=8)
        cancelled = hub.does(c.SendCancel)
        alive = bool(hub.state.runs)
        hub.answer(inner, value=1)

        assert ["t.in"] == [one.node for one in cancelled]
        assert alive
        assert Outcome.SUCCEEDED == hub.facts(ExecutionEnded)[0].outcome

    def test_an_attempt_that_was_given_up_asks_in_vain(self):
        """
        A late question changes nothing.
        """
        hub = Hub()
        hub.say(hub.parent.replica, Ask("wf-1", "t", 0, 9, 1, "k", graph("in")))

        assert not hub.facts()
        assert not hub.tells(c.SendAnswer)

    def test_a_cancelled_execution_ends_what_was_asked(self):
        """
        The caller and its calls are told; nothing of it stays.
        """
        hub = Hub()
        hub.ask()
        inner = hub.take()

        hub.when(CancelWanted(99, "wf-1", "ada", "enough"))
        told = {one.node for one in hub.does(c.SendCancel)}
        hub.answer(inner, value=1)
        hub.answer(hub.parent, value=1)

        assert {"t", "t.in"} == told
        assert not hub.state.runs
