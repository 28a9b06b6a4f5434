"""Nodes of an execution: when they start, what their calls get, what their end lets begin."""

from __future__ import annotations

import pytest

from greenroom_core.bindings import Gathered, Record
from greenroom_core.facts import CallsFinished, ExecutionEnded, NodeEnded, NodeStarted, Outcome
from greenroom_core.failure import Cause
from greenroom_core.graph import Node, NodeKind
from greenroom_core.program import Task
from greenroom_core.refs import BlobRef
from greenroom_core.values import Ext, ext, pack, unpack
from tests.driver import Play, columns, given, mapped, out, task, value


class TestOrder:
    """A node starts when everything that it waits for has ended."""

    def test_nodes_without_inputs_start_at_once(self):
        """
        What waits for nothing starts with the execution, in the order of the graph.
        """
        play = Play(task("a"), task("b"))

        assert play.heard == [NodeStarted("a"), NodeStarted("b")]
        assert play.ready() == {"a": [0], "b": [0]}

    def test_a_chain_runs_link_by_link(self):
        """
        A node's output is the next one's input; the last one's is the workflow's.
        """
        play = Play(task("a", x=1), task("b", x=out("a")), task("c", x=out("b")), outputs={"o0": out("c")})

        play.succeeds("a", 2)
        assert (play.ready(), play.calls("b")) == ({"b": [0]}, [2])
        play.succeeds("b", 3)
        play.succeeds("c", 4)

        assert (play.outcome, play.result()) == (Outcome.SUCCEEDED, {"o0": 4})
        play.replay()

    def test_a_node_waits_for_all_that_it_needs(self):
        """
        With several inputs, the last one to end lets a node start.
        """
        play = Play(task("a"), task("b"), task("c", x=out("a"), y=out("b")))

        play.succeeds("b", "B")
        assert "c" not in play.ready()
        play.succeeds("a", "A")

        assert play.calls("c") == [["A", "B"]]

    def test_after_orders_without_handing_on(self):
        """
        `after` makes a node wait, and gives it nothing.
        """
        play = Play(task("a"), task("b", x=1, spec={"after": ("a",)}))

        assert play.ready() == {"a": [0]}
        play.succeeds("a", "unused")

        assert play.calls("b") == [1]

    def test_an_empty_workflow_succeeds_at_once(self):
        """
        Without nodes there is nothing to wait for.
        """
        play = Play(given={"n": 5}, outputs={"o0": given("n")})

        assert play.heard == [ExecutionEnded(Outcome.SUCCEEDED, outputs={"o0": value(5)})]

    def test_the_end_is_told_once(self):
        """
        After its end an execution has no more facts.
        """
        play = Play(task("a"))
        play.succeeds("a", 1)

        assert play.advance() == []
        assert play.execution.ended == play.log[-1][1]


class TestInputs:
    """Where inputs come from."""

    def test_parts_of_values_are_read_on_the_way(self):
        """
        A path leads into lists and dicts of inputs and outputs alike.
        """
        play = Play(
            task("a"), task("b", x=out("a", "k", 1), y=given("n", 0)), given={"n": [7, 8]}, outputs={"o0": out("b")}
        )

        play.succeeds("a", {"k": [1, "two"]})

        assert play.calls("b") == [["two", 7]]

    def test_lists_and_dicts_are_gathered(self):
        """
        Promises inside lists and dicts are put together when all of them are known.
        """
        play = Play(
            task("a"),
            task("b", x=Gathered((out("a"), given("n"), Record({"k": out("a")})))),
            given={"n": 7},
        )

        play.succeeds("a", 1)

        assert play.calls("b") == [[1, 7, {"k": 1}]]

    def test_several_outputs_are_told_apart(self):
        """
        A call's payload holds one value for each output, in order.
        """
        play = Play(
            task("a", outputs=("x", "y")), outputs={"first": out("a", output="y"), "second": out("a", output="x")}
        )

        play.answer("a", play.take("a"), [value(1) + value("two")])

        assert play.result() == {"first": "two", "second": 1}

    def test_a_task_without_outputs_just_ends(self):
        """
        A call may yield nothing.
        """
        play = Play(task("a", outputs=()), task("b", spec={"after": ("a",)}))

        play.answer("a", play.take("a"), [b""])

        assert play.ready() == {"b": [0]}

    def test_inputs_come_in_the_order_of_the_task(self):
        """
        A call's payload follows the task's own order of inputs, whatever the node's is.
        """
        tasks = {"t": Task("m.t", "e", inputs=("x", "y", "z"), outputs=("o0",))}
        play = Play(task("a", z=3, x=1), tasks=tasks)

        assert play.node("a").inputs.params == ("x", "z")
        assert play.calls("a") == [[1, 3]]

    def test_a_large_value_is_read_from_its_blob(self):
        """
        A part of a value that lies in a blob is read there.
        """
        ref = BlobRef("ab" * 32, 9, "dict", None, "{...}").to_value()
        play = Play(task("a"), task("b", x=out("a", "k")))
        play.blobs["ab" * 32] = value({"k": "kept"})

        play.answer("a", play.take("a"), [ref])

        assert play.calls("b") == ["kept"]

    def test_wrappers_do_not_hide_parts(self):
        """
        A Union's tag or a digest around a value, even around a blob, does not keep a path from it.
        """
        ref = BlobRef("ab" * 32, 9, "dict", None, "{...}").to_value()
        wrapped = pack(ext(Ext.TAGGED, ["Optional", unpack(ref)]))
        play = Play(task("a"), task("b", x=out("a", "k")))
        play.blobs["ab" * 32] = value({"k": "kept"})

        play.answer("a", play.take("a"), [wrapped])

        assert play.calls("b") == ["kept"]

    @pytest.mark.parametrize(
        ("path", "reason"),
        [
            (("k", 7), "index 7 of a list of 1"),
            (("nothing",), "has no 'nothing'; it has 'k'"),
            (("k", 0, 0), "of kind int: its part 0 cannot be read"),
        ],
    )
    def test_a_part_that_is_not_there_fails_its_node(self, path, reason):
        """
        A path that leads nowhere fails the node that asks, with the value's shape in the message.
        """
        play = Play(task("a"), task("b", x=out("a", *path)))

        play.succeeds("a", {"k": [5]})

        assert play.outcomes_by_node() == {"a": "succeeded", "b": "failed"}
        assert play.failure.cause is Cause.INPUT
        assert reason in play.failure.message
        play.replay()

    def test_an_opaque_value_has_no_parts(self):
        """
        A pickle is carried, never opened.
        """
        play = Play(task("a"), task("b", x=out("a", "k")))

        play.answer("a", play.take("a"), [pack(ext(Ext.PICKLE, ["m.C", "C()", b"...", None]))])

        assert "of kind pickle" in play.failure.message

    def test_a_blob_that_is_gone_fails_the_node_that_reads_it(self):
        """
        What cannot be read any more is told by the node that needs it; the execution ends.
        """
        play = Play(task("a"), mapped("m", out("a")))

        play.answer("a", play.take("a"), [BlobRef("ab" * 32, 9, "list", 3, "[...]").to_value()])

        assert play.outcomes_by_node() == {"a": "succeeded", "m": "failed"}
        assert "is not here" in play.failure.message

    def test_a_blob_that_goes_while_the_hub_is_down_fails_the_node(self):
        """
        A replay that cannot read a started node's inputs does not stop the hub: the node fails.
        """
        play = Play(task("a"), mapped("m", out("a")))
        play.blobs["ab" * 32] = value([1, 2, 3])
        play.answer("a", play.take("a"), [BlobRef("ab" * 32, 9, "list", 3, "[...]").to_value()])
        play.blobs.clear()

        again = play.fold()
        facts = again.advance()

        assert again.nodes["m"].items.room == 0
        assert [type(fact) for fact in facts] == [NodeEnded, ExecutionEnded]
        assert facts[-1].outcome is Outcome.FAILED


class TestOutputs:
    """What calls yield is not trusted."""

    @pytest.mark.parametrize("payload", [b"", b"\xc1", value(1) + value(2), b"\x92\x01"])
    def test_a_payload_that_is_no_value_fails_its_node(self, payload):
        """
        A replica that sends something else than one value for each output fails that node alone.
        """
        play = Play(task("a"), task("b"))

        play.answer("a", play.take("a"), [payload])

        assert play.outcomes_by_node()["a"] == "failed"
        assert (play.failure.cause, play.failure.type) == (Cause.RESULT, "OutputError")
        play.replay()

    def test_an_output_that_nobody_gave_is_named(self):
        """
        A workflow's output that refers to a part which is not there fails the execution, in words.
        """
        play = Play(task("a"), outputs={"o0": out("a", "k")})

        play.succeeds("a", {})

        assert play.outcome is Outcome.FAILED
        assert play.failure.message == "an output of m.wf: value has no 'k'; it has nothing"

    def test_an_input_that_was_not_given_is_named(self):
        """
        A submission that lacks an input fails the node that needs it.
        """
        play = Play(task("a"), compiled=Play(task("a", x=given("n")), given={"n": 1}).program)

        assert "input 'n' was not given" in play.failure.message


class TestGroups:
    """The end of an inlined sub-workflow."""

    def test_a_group_hands_on_what_its_nodes_gave(self):
        """
        A group ends when its inputs have, with these as its outputs.
        """
        group = Node("sub", NodeKind.GROUP, inputs={"o0": out("sub.a"), "o1": given("n")}, outputs=("o0", "o1"))
        play = Play(task("sub.a"), group, task("b", x=out("sub"), y=out("sub", output="o1")), given={"n": 5})

        play.succeeds("sub.a", 1)

        assert play.calls("b") == [[1, 5]]
        play.replay()

    def test_a_group_of_what_failed_is_skipped(self):
        """
        When a node inside has failed, nothing goes on behind the group.
        """
        group = Node("sub", NodeKind.GROUP, inputs={"o0": out("sub.a")}, outputs=("o0",))
        play = Play(task("sub.a"), group, task("b", x=out("sub")))

        play.fails("sub.a")

        assert play.outcomes_by_node() == {"sub.a": "failed", "sub": "aborted", "b": "aborted"}


def test_late_outcomes_of_a_node_that_ended_change_nothing():
    """
    A result that comes after its node's end is refused, and kept in the log for whoever asks.
    """
    play = Play(task("a"), task("b"))
    held = play.take("b")
    play.fails("a")
    play.loses("b", *held)
    before = play.outcomes_by_node()

    batch = columns([0], [1], [0], [value(1)])
    play.when(CallsFinished("b", "r", batch.pack(), play.items("b").stale(batch)))

    assert play.outcomes_by_node() == before == {"a": "failed", "b": "aborted"}
    play.check()
    play.replay()
