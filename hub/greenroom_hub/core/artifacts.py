"""Artifacts: the newest value of each name and partition, kept when the task that makes it has succeeded."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from greenroom_core.entities import Made, Query
from greenroom_core.following import UNREADABLE
from greenroom_core.graph import NodeKind
from greenroom_core.mapping import row_and_position
from greenroom_core.noderun import NodeRun
from greenroom_core.program import Submission
from greenroom_core.show import preview
from greenroom_core.values import Ext, Value, ext_code, unpack, untag
from greenroom_core.wire import WireFault, from_wire
from greenroom_hub.core.plan_facts import ArtifactKept, artifact_stream
from greenroom_hub.core.run import Run
from greenroom_hub.core.state import State


class NoArtifact(LookupError):
    """A query finds nothing."""


def key_of(project: str, name: str, partitions: Mapping[str, str]) -> str:
    """What names a value."""
    text = "\n".join([project, name, *(f"{key}={value}" for key, value in sorted(partitions.items()))])
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:24]


def keep(state: State, run: Run, node: NodeRun) -> None:
    """A task has succeeded: those of its outputs that are artifacts are found by their names from now on."""
    made = node.task.options.get("artifacts") if node.task is not None else None
    if not isinstance(made, Mapping) or node.spec.kind is not NodeKind.TASK:
        return
    for output, told in made.items():
        try:
            _keep(state, run, node, output, from_wire(Made, told))
        except (*UNREADABLE, WireFault) as fault:  # The value is there all the same; only its name is not.
            state.say("artifact not kept", execution=run.id, node=node.id, why=str(fault))


def _keep(state: State, run: Run, node: NodeRun, output: str, made: Made) -> None:
    project = made.project or run.execution.program.project
    partitions = {**made.partitions, **_from_inputs(run, node, made.inputs), **_said(run, node, made.name)}
    value = run.execution.lookup(node.id, output)
    key = key_of(project, made.name, partitions)
    before = state.artifacts.get(key)
    number = before.number + 1 if before is not None else 1
    fact = ArtifactKept(project, made.name, partitions, number, value, run.id, node.id, output, state.now.wall_ms)
    state.artifacts[key] = fact
    state.record_hub(artifact_stream(key, number), fact)
    if before is not None:
        state.drop(artifact_stream(key, before.number))


def _from_inputs(run: Run, node: NodeRun, inputs: Mapping[str, str]) -> dict[str, str]:
    return {
        key: text_of(run.execution.input_of(node, name)) for key, name in inputs.items() if name in node.spec.inputs
    }


def _said(run: Run, node: NodeRun, name: str) -> dict[str, str]:
    """The partitions that the task named itself."""
    if node.items is None or not node.items.places[0]:
        return {}
    row, position = row_and_position(node.items.places[0])
    extras: Mapping[str, Any] = run.execution.reader.outcomes(row).extras.get(position, {})
    said = extras.get("artifacts") or {}
    return {str(key): str(value) for key, value in (said.get(name) or {}).items()}


def text_of(value: Value) -> str:
    """A partition's value as text: moments in UTC, so that one moment is one partition."""
    value = untag(value)
    if ext_code(value) is Ext.TIME:
        obj: Any = unpack(value)
        kind, text = unpack(obj.data)[:2]
        if kind == "datetime":
            moment = datetime.fromisoformat(text)
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC).isoformat()
        return str(text)
    obj = unpack(value)
    return obj if isinstance(obj, str) else preview(value)


def find(state: State, query: Query, project: str, inputs: Mapping[str, Value]) -> Value:
    """The newest value that a query means.

    Raises:
        NoArtifact: There is none; the sentence says what there is.
    """
    lacking = [name for name in query.inputs.values() if name not in inputs]
    if lacking:
        raise NoArtifact(f"the query of artifact {query.name!r} goes by input {lacking[0]!r}, which was not given")
    partitions = {**query.partitions, **{key: text_of(inputs[name]) for key, name in query.inputs.items()}}
    where = query.project or project
    found = state.artifacts.get(key_of(where, query.name, partitions))
    if found is None:
        same = [one for one in state.artifacts.values() if (one.project, one.name) == (where, query.name)]
        known = "; ".join(_shown(one.partitions) for one in same[-5:])
        told = f"it was made with {known}" if known else "no task has made it yet"
        raise NoArtifact(f"no artifact {where}/{query.name} with {_shown(partitions)}: {told}")
    return found.value


def _shown(partitions: Mapping[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in sorted(partitions.items())) or "no partition"


def filled(state: State, submission: Submission, queries: Mapping[str, Query], project: str) -> dict[str, Value]:
    """The inputs of a submission, with the artifacts that its open ones are looked up as.

    Raises:
        NoArtifact: One finds nothing.
    """
    inputs = dict(submission.inputs)
    for name, query in queries.items():
        if name not in submission.inputs:
            inputs[name] = find(state, query, project, submission.inputs)
    return inputs
