"""An execution that repeats an earlier one takes over what succeeded there: `rerun --failed` and `recover`.

A call's outcome is taken over if the same node of the earlier execution made it, for the same task and with the same
inputs. That alone decides, so that whatever follows from something new is run, and nothing else is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from greenroom_core.cached_keys import input_digest
from greenroom_core.execution import Execution
from greenroom_core.facts import Outcome
from greenroom_core.failure import Failure
from greenroom_core.following import UNREADABLE
from greenroom_core.graph import NodeKind
from greenroom_core.lists import ListSource, Reader
from greenroom_core.mapping import FAILED, SUCCEEDED, row_and_position
from greenroom_core.noderun import Inputs, NodeRun
from greenroom_core.program import Reuse, Submission
from greenroom_core.values import Value, split
from greenroom_hub.core.commands import Earlier
from greenroom_hub.core.run import Run
from greenroom_hub.core.state import State
from greenroom_protocol.calls import Status


class Taken(NamedTuple):
    """One outcome that is taken over."""

    item: int
    status: Status
    payload: bytes


def source_of(state: State, submission: Submission) -> Execution | None:
    """The execution that a submission takes over from; None for none, or one that was dropped."""
    if submission.reuse is Reuse.NOTHING or submission.rerun_of in state.runs:
        return None
    return state.earlier(submission.rerun_of)


def earlier(run: Run, node: NodeRun) -> Earlier | None:
    """The node of the earlier execution whose outcomes may stand in for this one's; None if there is nothing."""
    source, how = run.source, run.execution.submitted.submission.reuse
    if source is None or how is Reuse.NOTHING:
        return None
    was, handler = source.nodes.get(node.id), run.execution.graph.on_failure
    if was is None or was.broken is not None or (was.spec.kind, was.task) != (node.spec.kind, node.task):
        return None
    if handler is not None and handler.id == node.id:
        return None  # What a failure asks for is done for each failure.
    target = node.spec.target
    if node.spec.kind is NodeKind.CHILD and source.plans.get(target) != run.execution.plans.get(target):
        return None
    succeeded = was.outcome is Outcome.SUCCEEDED
    if node.spec.kind not in (NodeKind.TASK, NodeKind.MAP):
        return Earlier(source, was, False) if succeeded else None
    return Earlier(source, was, succeeded and how is Reuse.SUCCEEDED) if was.items is not None else None


def taken(was: Earlier, inputs: Inputs, first: int, stop: int, reader: Reader) -> Iterator[Taken]:
    """The outcomes of calls `first` to `stop` that are taken over.

    Args:
        was: What `earlier` found.
        inputs: Of the node that starts now.
        first: The first call in question.
        stop: The one after the last.
        reader: For values that lie elsewhere.
    """
    items = was.node.items
    assert items is not None
    stop = min(stop, items.n)
    if first >= stop:
        return
    try:
        same = list(_same(was.execution.inputs_of(was.node), inputs, first, stop, reader))
        for item, is_same in zip(range(first, stop), same, strict=True):
            state = items.states[item]
            if is_same and (state == SUCCEEDED or (state == FAILED and was.failures)):
                row, position = row_and_position(items.places[item])
                payload = reader.outcomes(row).payload_of(position)
                yield Taken(item, Status.SUCCEEDED, payload) if state == SUCCEEDED else _failed(item, payload)
    except UNREADABLE:
        return  # The earlier execution was dropped meanwhile, or a part of it: then the calls are made.


def _failed(item: int, payload: bytes) -> Taken:
    """A failure that is taken over is final: its attempts have been made."""
    return Taken(item, Status.FAILED, replace(Failure.unpack(payload), recoverable=False).pack())


def _same(old: Inputs, new: Inputs, first: int, stop: int, reader: Reader) -> Iterator[bool]:
    """For each call in question, whether its inputs are those of the earlier one."""
    count = stop - first
    bound = old.bound.keys() == new.bound.keys() and all(
        _equal(value, new.bound[name], reader) for name, value in old.bound.items()
    )
    if not bound or old.params != new.params or len(old.lists) != len(new.lists):
        return iter((False,) * count)
    if not new.lists:
        return iter((_equal_calls(old, new, reader),) * count)
    pairs = zip(old.lists, new.lists, strict=True)
    columns = [list(_equal_items(one, other, first, stop, reader)) for one, other in pairs]
    return map(all, zip(*columns, strict=True))


def _equal_calls(old: Inputs, new: Inputs, reader: Reader) -> bool:
    if old.single == new.single:
        return True
    pairs = zip(*(split(one.single, len(one.params)) for one in (old, new)), strict=True)
    return all(_equal(one, other, reader) for one, other in pairs)


def _equal_items(old: ListSource, new: ListSource, first: int, stop: int, reader: Reader) -> Iterator[bool]:
    ours, theirs = old.slice(first, stop), new.slice(first, stop)
    return (_equal(one, other, reader) for one, other in zip(ours.items(), theirs.items(), strict=True))


def _equal(one: Value, other: Value, reader: Reader) -> bool:
    return one == other or input_digest(one, reader) == input_digest(other, reader)


def child_outputs(run: Run, node: NodeRun, inputs: dict[str, Value], reader: Reader) -> dict[str, Value] | None:
    """The outputs that a launch plan's call gave earlier, if it was called with the same inputs."""
    was = earlier(run, node)
    return dict(was.node.values) if was is not None and _same_call(was, inputs, reader) else None


def gate_answer(run: Run, node: NodeRun, reader: Reader) -> tuple[Value | None] | None:
    """What a gate was opened with earlier, in a tuple of one; None if it must be asked again."""
    was = earlier(run, node)
    if was is None:
        return None
    inputs = {name: run.execution.input_of(node, name) for name in node.spec.inputs}
    return (next(iter(was.node.values.values()), None),) if _same_call(was, inputs, reader) else None


def _same_call(was: Earlier, inputs: dict[str, Value], reader: Reader) -> bool:
    try:
        old = {name: was.execution.input_of(was.node, name) for name in was.node.spec.inputs}
    except UNREADABLE:
        return False
    return old.keys() == inputs.keys() and all(_equal(value, inputs[name], reader) for name, value in old.items())
