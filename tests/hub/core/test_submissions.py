"""An execution from its submission to its end."""

from __future__ import annotations

from greenroom_core.facts import CallsFinished, ExecutionEnded, ExecutionSubmitted, NodeEnded, NodeStarted, Outcome
from greenroom_core.program import Resources
from greenroom_core.values import pack
from greenroom_hub.core import commands as c
from greenroom_hub.core import events as e
from greenroom_hub.core.ledger import Capacity
from greenroom_hub.core.state import Turn
from tests.hub.core.driver import HubDriver, chain_program, map_program, maps_program, task_program, xs


def test_a_submission_is_told_when_its_facts_are_recorded() -> None:
    """
    The reply to a submission is a Tell of the turn that records it, so it waits for the commit.
    """
    hub = HubDriver()

    hub.submit(task_program())

    assert [ExecutionSubmitted, NodeStarted] == [type(f) for f in hub.facts() if not hasattr(f, "key")]
    assert [c.Reply(1, "wf-1")] == hub.tells(c.Reply)


def test_a_task_runs_on_a_replica_and_the_execution_ends() -> None:
    """
    One call is sent to the replica that connected; its outcome ends node and execution in one turn.
    """
    hub = HubDriver()
    hub.submit(task_program())
    hub.connect()

    hub.answer(value=7)

    assert [CallsFinished, NodeEnded, ExecutionEnded] == [type(f) for f in hub.facts()]
    assert {"o0": pack(7)} == hub.facts(ExecutionEnded)[0].outputs
    assert [c.Ended("wf-1")] == hub.tells(c.Ended)
    assert not hub.state.runs


def test_what_depends_on_an_outcome_waits_for_its_row() -> None:
    """
    The second node's call carries the row that it depends on; the first node's call depends on nothing.
    """
    hub = HubDriver()
    hub.submit(chain_program("a", "b"))
    hub.connect()

    first = hub.take()
    hub.answer(first)
    second = hub.take()

    assert 0 == first.needs
    assert hub.state.position == second.needs


def test_an_empty_map_ends_at_once_without_a_replica() -> None:
    """
    A map over an empty list is an empty list; nothing is started for it.
    """
    hub = HubDriver()

    hub.submit(map_program(), xs=xs(0))

    assert Outcome.SUCCEEDED is hub.facts(ExecutionEnded)[0].outcome
    assert [] == hub.does(c.StartReplica)


def test_results_that_are_sent_twice_are_recorded_once() -> None:
    """
    A result with a sequence number that is in the log already is acked again, and changes nothing.
    """
    hub = HubDriver()
    hub.submit(map_program(), xs=xs(4))
    hub.connect()
    sent = hub.take()
    hub.answer(sent, seq=1)

    hub.answer(sent, seq=1)

    assert [] == hub.facts()
    assert [c.Ack(sent.replica, 1)] == hub.tells(c.Ack)


def test_a_cancelled_execution_ends_when_its_calls_have() -> None:
    """
    What waits is dropped at once; the execution ends when the call that runs has come back.
    """
    hub = HubDriver()
    hub.submit(map_program(), xs=xs(3))
    hub.connect()
    sent = hub.take()

    hub.when(e.CancelWanted(9, "wf-1", "me", "enough"))

    assert [c.SendCancel(sent.replica, "wf-1", "m", (), "enough")] == hub.does(c.SendCancel)
    assert [] == hub.facts(ExecutionEnded)

    hub.answer(sent)

    assert Outcome.ABORTED is hub.facts(ExecutionEnded)[0].outcome


def test_a_request_that_never_fits_is_refused_with_both_numbers() -> None:
    """
    A hub that does not cut says what was asked and what there is.
    """
    hub = HubDriver(Capacity(cpu=2, memory=2**30))

    hub.submit(task_program(requests=Resources(gpu=1)))

    (reply,) = hub.tells(c.Reply)
    assert reply.error is not None
    assert "asks for gpu=1" in reply.error.message and "cpu=2, mem=1 GiB" in reply.error.message
    assert [] == hub.facts()


def test_a_local_hub_cuts_what_is_too_large_and_says_so() -> None:
    """
    On a person's own machine the program runs with what there is.
    """
    hub = HubDriver(Capacity(cpu=2, memory=16 * 2**30), local=True)

    hub.submit(task_program(requests=Resources(memory=100 * 2**30, gpu=1)))

    assert ("e asks mem=100 GiB, gpu=1: running with mem=16 GiB, no gpu",) == hub.tells(c.Reply)[0].notes
    assert 1 == len(hub.does(c.StartReplica))


def test_a_failed_call_fails_the_execution_with_its_words() -> None:
    """
    Without retries the first failure ends node and execution, and names both.
    """
    hub = HubDriver()
    hub.submit(map_program(), xs=xs(1))
    hub.connect()

    hub.answer(fails=True)

    ended = hub.facts(ExecutionEnded)[0]
    assert (Outcome.FAILED, "m", 0) == (ended.outcome, ended.node, ended.item)
    assert "bad pixel" == ended.failure["message"]


def test_a_submission_that_is_sent_twice_becomes_one_execution() -> None:
    """
    A client that was cut off sends its submission again under the same key, and hears of the first one.
    """
    hub = HubDriver()
    hub.submit(task_program(), "first-1", key="k1")

    hub.submit(task_program(), "second-1", key="k1")

    assert [c.Reply(2, "first-1")] == hub.tells(c.Reply)
    assert ["first-1"] == list(hub.state.runs)


def test_a_map_over_a_maps_results_reads_them_before_they_are_on_disk() -> None:
    """
    The turn that records the last outcome of a map places the calls of the next one, and their inputs can be read.
    """
    readable = []

    class Shell(HubDriver):
        def _note(self, turn: Turn) -> Turn:
            sent = [command for command in turn.do if isinstance(command, c.SendCalls) and command.node == "b"]
            readable.extend(value for command in sent for value in command.lists[0].slice(0, 1).items())
            return super()._note(turn)

    hub = Shell()
    hub.submit(maps_program("a", "b"), xs=xs(1))
    hub.connect()

    hub.answer(value=7)

    assert [pack(7)] == readable
