"""Gates: places in a workflow that wait for a person, an input or a time."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from greenroom import building
from greenroom.answers import expected
from greenroom.building import Builder, Draft, Wire
from greenroom.definition_errors import BadArgument, WrongPlace
from greenroom.inlining import Given
from greenroom.lines import caller
from greenroom.promises import Promise, outputs_of
from greenroom.quantities import Seconds, seconds
from greenroom_core.graph import GateKind, NodeKind, Overrides

if TYPE_CHECKING:
    from greenroom.types import TypeSpec


def sleep(duration: Seconds) -> Any:
    """A node that ends after a time; order others by `sleep(...) >> task(...)`.

    Args:
        duration: Seconds or a timedelta.
    """
    told = timedelta(seconds=seconds(duration, "sleep(duration)", zero=True))
    inputs = {"duration": _constant(told)}
    return _gate("sleep", GateKind.SLEEP, inputs, {}, None)


def wait_for_input(name: str, timeout: Seconds | None = None, expected_type: Any = str) -> Any:
    """A promise of a value that somebody gives while the workflow runs.

    Args:
        name: Id of the node, by which the value is given.
        timeout: How long it waits; seconds or a timedelta. None for as long as the execution may.
        expected_type: Type of the value.
    """
    from greenroom.types import codec_for

    codec = codec_for(expected_type)
    inputs: dict[str, Wire] = {"type": _constant(expected(codec))}
    return _gate(name, GateKind.INPUT, inputs, {"o0": codec.describe()}, timeout)


def approve(upstream_item: Any, name: str, timeout: Seconds | None = None) -> Any:
    """The same promise, after somebody has agreed to it.

    Args:
        upstream_item: A promise; what its value is, whoever is asked is shown.
        name: Id of the node.
        timeout: How long it waits; seconds or a timedelta. None for as long as the execution may.

    Raises:
        BadArgument: It is no single promise.
    """
    if not isinstance(upstream_item, Promise):
        if isinstance(upstream_item, tuple) and len(upstream_item) == 1 and isinstance(upstream_item[0], Promise):
            upstream_item = upstream_item[0]
        else:
            raise BadArgument(f"approve({name!r})", "upstream_item", upstream_item, "one promise")
    return _gate(name, GateKind.APPROVE, {"value": upstream_item}, {"o0": upstream_item._type}, timeout)


def _constant(value: object) -> Given:
    from greenroom.types import codec_for

    return Given(value, codec_for(type(value)))


def _gate(
    name: str,
    kind: GateKind,
    inputs: Mapping[str, Wire],
    outputs: Mapping[str, TypeSpec | None],
    timeout: Seconds | None,
) -> Any:
    line = caller()
    builder = _builder(name, line)
    for wire in inputs.values():
        if isinstance(wire, Promise):
            builder.own(wire, line)
    draft = Draft(builder, NodeKind.GATE, name, line=line, inputs=inputs, outputs=outputs, gate=kind)
    if timeout is not None:
        draft.overrides = Overrides(timeout=seconds(timeout, f"gate {name!r}: timeout"))
    builder.add(draft)
    return outputs_of(builder, draft, outputs, None)


def _builder(name: str, line: str) -> Builder:
    builder = building.current()
    if builder is None:
        raise WrongPlace(f"gate {name!r} outside of a workflow", "call it in the body of a @workflow").at(line)
    return builder
