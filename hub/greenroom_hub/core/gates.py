"""Gates that wait for a person: whether an answer fits, and what it comes to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from greenroom_core.bindings import Constant
from greenroom_core.failure import Cause, Failure
from greenroom_core.graph import GateKind, NodeKind
from greenroom_core.noderun import NodeRun, NodeState
from greenroom_core.values import NIL, Value, ValueFault, kind_of, list_length, unpack, untag
from greenroom_hub.core.events import GateAnswered
from greenroom_hub.core.run import Run
from greenroom_hub.core.state import State

_KINDS: Final = {
    "none": {"none"}, "bool": {"bool"}, "int": {"int", "bool"}, "float": {"float", "int", "bool"}, "str": {"str"},
    "bytes": {"bytes"}, "datetime": {"time"}, "date": {"time"}, "time": {"time"}, "timedelta": {"time"},
    "list": {"list"}, "dict": {"dict"}, "record": {"dict"}, "set": {"set"}, "file": {"file"},
    "directory": {"directory"}, "table": {"table"}, "array": {"array"},
}  # fmt: skip
"""Kinds of values that a type takes; types that are not here take any."""


def waits(node: NodeRun) -> bool:
    """Whether somebody may answer it now."""
    kinds = (GateKind.APPROVE, GateKind.INPUT)
    return node.spec.kind is NodeKind.GATE and node.spec.gate in kinds and node.state is NodeState.STARTED


def why_not(execution: str, name: str, node: NodeRun | None) -> str:
    """Why nobody can answer it now."""
    if node is None:
        return f"{execution} has no gate {name!r} that waits; greenroom gates lists those that do"
    if node.spec.kind is not NodeKind.GATE:
        return f"{execution}/{name} is a {node.spec.kind}, no gate"
    if node.spec.gate is GateKind.SLEEP:
        return f"{execution}/{name} sleeps: it ends when its time is over"
    if node.state is NodeState.WAITING:
        return f"{execution}/{name} is not asked for yet: {', '.join(node.upstream)} must end before"
    return f"{execution}/{name} has ended ({node.outcome}): its answer was given, or is not wanted any more"


def type_of(node: NodeRun) -> Any:
    """The type of the input that a gate waits for, as the SDK describes types; None if nothing is known."""
    told = node.spec.inputs.get("type")
    return unpack(told.value) if isinstance(told, Constant) else None


def misfit(run: Run, node: NodeRun, event: GateAnswered) -> str | None:
    """Why an answer does not fit a gate; None if it does."""
    if node.spec.gate is GateKind.APPROVE:
        return "waits for approval, not for a value" if event.value is not None else None
    if not event.approved:
        return None
    if event.value is None:
        return "waits for a value: greenroom set-input ID/NODE VALUE"
    try:
        return _differs(type_of(node), event.value)
    except (ValueFault, ValueError, TypeError, IndexError, KeyError) as fault:
        return f"was given a value that cannot be read: {fault}"


def _differs(told: Any, value: Value) -> str | None:
    """Why a value is not of a type, as far as it can be seen without the program's classes."""
    if not isinstance(told, Sequence) or len(told) < 3:
        return None
    kind, name, members = told[0], told[1], told[2]
    if kind == "union":
        fits = any(_differs(member, untag(value)) is None for member in members)
        return None if fits else f"waits for {name}, this is {kind_of(value)}"
    found = "list" if list_length(value) is not None else kind_of(value)
    if kind in _KINDS and found not in _KINDS[kind]:
        return f"waits for {name}, this is {found}"
    return None


def value_of(run: Run, node: NodeRun, event: GateAnswered) -> Value | None:
    """What a gate gives: the value that was approved, or the one that it was given."""
    if not event.approved:
        return None
    if node.spec.gate is GateKind.APPROVE:
        return run.execution.input_of(node, "value")
    return event.value if event.value is not None else NIL


def began(run: Run, node: NodeRun, state: State) -> int:
    """When a gate began to wait, wall clock: a restart of the hub does not begin its time anew."""
    return node.started_ms or state.now.wall_ms


def timed_out(node: NodeRun) -> Failure:
    """Nobody answered in time."""
    told = f"gate {node.id} was not answered within {node.spec.overrides.timeout:g} s"
    return Failure(Cause.TIMEOUT, "GateTimeout", told, where=node.spec.line)
