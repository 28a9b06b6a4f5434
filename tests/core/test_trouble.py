"""Retries, losses, failure policies, handlers of failures, cancellation: how executions end badly, and when not."""

from __future__ import annotations

import pytest

from greenroom_core.facts import CallsLost, ExecutionEnded, NodeEnded, NodeStarted, Outcome
from greenroom_core.failure import Cause, Failure
from greenroom_core.graph import FailurePolicy, Node, NodeKind, Overrides
from greenroom_core.program import Task
from greenroom_core.retry import MAX_LOSSES, Retry
from tests.driver import Play, bad, given, mapped, out, task

AFTER = FailurePolicy.FAIL_AFTER_EXECUTABLE_NODES_COMPLETE


def retrying(retry: Retry, *nodes: Node, **rest) -> Play:
    """An execution whose task `t` has this budget of retries."""
    return Play(*(nodes or (task("a"),)), tasks={"t": Task("m.t", "e", outputs=("o0",), retry=retry)}, **rest)


class TestRetries:
    """A task's own budget."""

    def test_a_failed_call_is_tried_again(self):
        """
        A call with a retry left is ready again, with the next attempt; its success is the node's.
        """
        play = retrying(Retry(2), outputs={"o0": out("a")})

        play.fails("a")
        play.fails("a")
        play.succeeds("a", "third")

        assert play.result() == {"o0": "third"}
        assert play.items("a").attempts[0] == 3
        play.replay()

    def test_the_last_failure_is_the_nodes(self):
        """
        When the budget is used up, the node fails with its last failure.
        """
        play = retrying(Retry(1))

        play.fails("a", bad("first"))
        play.fails("a", bad("second"))

        assert (play.outcome, play.failure.message) == (Outcome.FAILED, "second")
        play.replay()

    def test_a_place_in_the_graph_may_have_its_own_budget(self):
        """
        Overrides of a node come before its task's retries.
        """
        node = task("a", spec={"overrides": Overrides(retries=Retry(0))})
        play = retrying(Retry(5), node)

        play.fails("a")

        assert play.outcome is Outcome.FAILED

    def test_a_delay_is_waited_out(self):
        """
        With a backoff the next attempt is ready only when its time has come.
        """
        play = retrying(Retry(3, backoff=2.0))

        play.fails("a")
        items = play.items("a")
        assert (play.ready(), items.waiting_until()) == ({}, 1000 + 2000)

        assert not items.wake(2999)
        assert items.wake(3000)
        assert play.ready() == {"a": [0]}
        play.check()

    def test_delays_double_and_are_the_same_in_every_replay(self):
        """
        Delays grow from attempt to attempt, with chance that is derived from the call.
        """
        play = retrying(Retry(3, backoff=1.0, jitter=0.5))

        due = []
        for _ in range(3):
            play.fails("a")
            due.append(play.items("a").waiting_until() - play.now)
            play.items("a").wake(10**9)

        assert 1000 <= due[0] <= 1500 and 2000 <= due[1] <= 3000 and 4000 <= due[2] <= 6000
        assert due != [1000, 2000, 4000]
        assert play.replay().nodes["a"].items.waiting_until() == play.now + due[2]

    def test_what_cannot_be_retried_is_not(self):
        """
        A failure that says so, or that no retry would heal, ends the node at once.
        """
        for failure in (
            bad(recoverable=False),
            bad(cause=Cause.IMPORT),
            bad(cause=Cause.INPUT),
            bad(cause=Cause.RESULT),
        ):
            play = retrying(Retry(5))

            play.fails("a", failure)

            assert play.outcome is Outcome.FAILED

    def test_attempts_have_an_end(self):
        """
        However large the budget, an attempt's number fits its column; then the node fails.
        """
        play = retrying(Retry(10**9))
        play.items("a").attempts[0] = 0xFFFF

        play.fails("a")

        assert play.outcome is Outcome.FAILED


class TestLosses:
    """Replicas that go away."""

    def test_a_lost_call_is_placed_again(self):
        """
        A call lost with its replica gets a further attempt, beside its own retries.
        """
        play = Play(task("a"), outputs={"o0": out("a")})
        play.take("a")

        play.loses("a", 0)
        play.succeeds("a", "fine")

        assert play.result() == {"o0": "fine"}
        assert play.items("a").attempts[0] == 2
        play.replay()

    def test_a_call_that_kills_every_replica_fails(self):
        """
        Losses that count against a call are borne only so often.
        """
        play = Play(task("a"))

        for _ in range(MAX_LOSSES):
            play.take("a")
            play.loses("a", 0)
            assert play.outcome is None
        play.take("a")
        play.loses("a", 0)

        assert (play.outcome, play.failure.cause) == (Outcome.FAILED, Cause.LOST)
        play.replay()

    def test_a_call_that_keeps_killing_its_process_is_quarantined(self):
        """
        Crashes of a call's own are counted: further attempts are known to need a process for themselves, and the
        failure says how often it happened.
        """
        play = Play(mapped("m", given("xs")), given={"xs": [1, 2]})
        crash = Failure(Cause.CRASH, "SIGSEGV", "the process was killed by SIGSEGV").to_wire()

        for attempt in range(1, MAX_LOSSES + 2):
            assert play.items("m").any_crashed([0, 1]) is (attempt > 1)
            play.take("m")
            play.when(CallsLost("m", (0,), (attempt,), "r", True, crash))

        assert not play.items("m").any_crashed([1])
        play.answer("m", [1], ["done"])
        assert "ended its process 4 times, and is not tried again" in play.failure.message
        assert play.failure.details["crashes"] == 4
        play.replay()

    def test_batch_mates_are_not_charged(self):
        """
        Calls that merely waited beside the one that died may be lost any number of times.
        """
        play = Play(task("a"))

        for _ in range(20):
            play.take("a")
            play.loses("a", 0, charged=False)

        assert play.ready() == {"a": [0]}

    def test_an_old_loss_is_no_loss(self):
        """
        A loss of an attempt that was lost before, or of a call that has ended, changes nothing.
        """
        play = Play(mapped("m", given("xs")), given={"xs": [1, 2]})
        play.take("m")
        play.loses("m", 0)
        play.answer("m", [1], ["done"])

        play.when(CallsLost("m", (0, 1, 9, -1), (1, 1, 1, 1), "r", True, bad().to_wire()))

        items = play.items("m")
        assert (items.attempts.tolist(), items.succeeded, play.ready()) == ([2, 1], 1, {"m": [0]})
        play.check()
        play.replay()


class TestPolicies:
    """What becomes of the others when one fails."""

    def test_at_once(self):
        """
        By default a failure ends everything: what waits is aborted, what runs is cancelled first.
        """
        play = Play(task("a"), task("b"), task("c", x=out("a")), task("d"))
        held = play.take("b")

        play.fails("a")

        assert play.outcomes_by_node() == {"a": "failed", "b": None, "c": "aborted", "d": "aborted"}
        assert play.execution.cancelled == ["b"]
        play.answer("b", held, [bad(cause=Cause.CANCELLED)])
        assert (play.outcome, play.execution.ended.node) == (Outcome.FAILED, "a")
        assert play.outcomes_by_node()["b"] == "aborted"
        play.check()
        play.replay()

    def test_after_all_that_can_still_run(self):
        """
        With the other policy, what does not need the failed node runs to its end; what does is skipped.
        """
        play = Play(
            task("a"), task("b"), task("c", x=out("a")), task("d", x=out("b")), task("e", x=out("c")), policy=AFTER
        )

        play.fails("a")
        assert play.outcome is None
        play.succeeds("b", 1)
        play.succeeds("d", 2)

        expected = {"a": "failed", "b": "succeeded", "c": "skipped", "d": "succeeded", "e": "skipped"}
        assert play.outcomes_by_node() == expected
        assert (play.outcome, play.execution.ended.node) == (Outcome.FAILED, "a")
        play.replay()

    def test_a_call_that_succeeds_while_all_ends_is_kept(self):
        """
        A held call that comes back with a result has it recorded, although nothing follows from it.
        """
        play = Play(task("a"), task("b"))
        held = play.take("b")
        play.fails("a")

        play.answer("b", held, ["done"])

        assert play.outcomes_by_node() == {"a": "failed", "b": "succeeded"}
        assert play.outcome is Outcome.FAILED
        play.replay()

    def test_no_retry_while_all_ends(self):
        """
        A held call that fails while everything ends is not tried again.
        """
        play = retrying(Retry(5), task("a", "x"), task("b"))
        held = play.take("b")
        play.fails("a")

        play.answer("b", held, [bad("too")])

        assert play.outcomes_by_node() == {"a": "failed", "b": "failed"}
        assert play.execution.ended.node == "a"
        play.replay()

    def test_a_map_that_is_cut_off_has_not_succeeded(self):
        """
        A map that bears failures is aborted, not a success, when its rest is not run any more.
        """
        play = Play(task("a"), mapped("m", given("xs"), min_success_ratio=0.5), given={"xs": [1, 2, 3, 4]})
        play.answer("m", play.take("m", 3), [1, 2, 3])

        play.fails("a")

        assert play.outcomes_by_node() == {"a": "failed", "m": "aborted"}
        play.check()
        play.replay()


class TestHandler:
    """A node that runs after a failure."""

    HANDLER = Node("clean", NodeKind.TASK, "clean", {"n": given("n")}, ("o0",))
    TASKS = {"clean": Task("m.clean", "e", inputs=("n", "err"), outputs=("o0",))}

    def play(self, *nodes, **rest) -> Play:
        return Play(*nodes, given={"n": 5}, on_failure=self.HANDLER, tasks=self.TASKS, **rest)

    def test_it_gets_the_inputs_and_the_failure(self):
        """
        The handler starts when all else has ended, with the workflow's inputs and what failed.
        """
        play = self.play(task("a"), task("b"))
        held = play.take("b")

        play.fails("a", bad("bad pixel"))
        assert "clean" not in play.execution.nodes
        play.answer("b", held, [1])

        assert play.heard[-1] == NodeStarted("clean")
        assert play.calls("clean") == [[5, {"failed_node_id": "a", "message": "ValueError: bad pixel"}]]
        play.replay()

    def test_its_success_does_not_undo_the_failure(self):
        """
        The execution has failed, with the first failure, whatever the handler does.
        """
        for result in ("cleaned", bad("in the handler")):
            play = self.play(task("a"))
            play.fails("a", bad("first"))

            play.succeeds("clean", result)

            assert (play.outcome, play.failure.message) == (Outcome.FAILED, "first")
            play.check()
            play.replay()

    def test_it_has_its_own_retries(self):
        """
        A handler that fails is tried again as its task says, although the execution is failing.
        """
        tasks = {"clean": Task("m.clean", "e", inputs=("n",), outputs=("o0",), retry=Retry(1))}
        play = Play(task("a"), given={"n": 5}, on_failure=self.HANDLER, tasks=tasks)
        play.fails("a")

        play.fails("clean")
        play.succeeds("clean", "second")

        assert play.outcomes_by_node() == {"a": "failed", "clean": "succeeded"}
        play.replay()

    def test_it_does_not_run_without_a_failure(self):
        """
        A workflow that succeeds, or is cancelled, has nothing to handle.
        """
        succeeded, cancelled = self.play(task("a")), self.play(task("a"))

        succeeded.succeeds("a", 1)
        cancelled.cancel()

        assert succeeded.outcome is Outcome.SUCCEEDED
        assert cancelled.outcome is Outcome.ABORTED
        assert "clean" not in {**succeeded.execution.nodes, **cancelled.execution.nodes}

    def test_a_cancel_ends_the_handler_too(self):
        """
        A handler that runs is cancelled like any node; the failure stays the reason.
        """
        play = self.play(task("a"))
        play.fails("a", bad("first"))
        held = play.take("clean")

        play.cancel()
        assert play.execution.cancelled == ["clean"]
        play.answer("clean", held, [bad(cause=Cause.CANCELLED)])

        assert (play.outcome, play.failure.message) == (Outcome.FAILED, "first")
        play.replay()

    def test_it_handles_what_the_other_policy_leaves(self):
        """
        It waits for everything that can still run.
        """
        play = self.play(task("a"), task("b"), policy=AFTER)

        play.fails("a")
        assert play.ready() == {"b": [0]}
        play.succeeds("b", 1)

        assert play.ready() == {"clean": [0]}
        play.replay()


class TestCancel:
    """Somebody, or a deadline, wants it to end."""

    def test_what_waits_is_dropped_and_what_runs_is_cancelled(self):
        """
        The execution ends when the last held call has come back.
        """
        play = Play(mapped("m", given("xs")), task("b", x=out("m")), given={"xs": [1, 2, 3]})
        held = play.take("m", 2)

        play.cancel()
        assert (play.execution.cancelled, play.ready(), play.outcome) == (["m"], {}, None)
        play.answer("m", held, [bad(cause=Cause.CANCELLED), 2])

        assert play.outcomes_by_node() == {"m": "aborted", "b": "aborted"}
        assert (play.outcome, play.failure.message) == (Outcome.ABORTED, "enough")
        play.check()
        play.replay()

    def test_a_deadline_is_told_apart(self):
        """
        An execution whose time is over has timed out.
        """
        play = Play(task("a"))

        play.cancel(timed_out=True)

        assert (play.outcome, play.failure.cause) == (Outcome.TIMED_OUT, Cause.TIMEOUT)

    def test_the_first_wish_counts(self):
        """
        A second cancel changes nothing.
        """
        play = Play(task("a"))
        held = play.take("a")

        play.cancel()
        play.cancel(timed_out=True)
        play.loses("a", *held)

        assert play.outcome is Outcome.ABORTED
        play.replay()

    def test_calls_cancelled_by_others_abort_the_execution(self):
        """
        When a call comes back as cancelled although nobody cancelled the execution, it is not a success.
        """
        play = Play(task("a"), task("b", x=out("a")))

        play.succeeds("a", bad(cause=Cause.CANCELLED))

        assert play.outcomes_by_node() == {"a": "aborted", "b": "aborted"}
        assert play.outcome is Outcome.ABORTED
        play.replay()


@pytest.mark.parametrize("policy", list(FailurePolicy))
def test_every_node_ends_and_so_does_the_execution(policy):
    """
    Whatever fails in a wide graph, each node has one outcome and the execution one end.
    """
    for failing in "abcd":
        play = Play(
            task("a"),
            task("b"),
            task("c", x=out("a")),
            task("d", x=out("b"), spec={"after": ("a",)}),
            task("e", x=out("c"), y=out("d")),
            policy=policy,
        )
        while play.outcome is None:
            node = next(iter(play.ready()))
            play.succeeds(node, bad() if node == failing else 1)

        assert play.outcome is Outcome.FAILED
        assert None not in play.outcomes_by_node().values()
        assert sum(isinstance(fact, ExecutionEnded) for _, fact, _ in play.log) == 1
        assert sum(isinstance(fact, NodeEnded) for _, fact, _ in play.log) == 5
        play.check()
        play.replay()
