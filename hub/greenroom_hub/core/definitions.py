"""Which definition the calls of a node need: named here, built by the shell, sent once per replica."""

from __future__ import annotations

import hashlib

from greenroom_core.noderun import NodeRun
from greenroom_hub.core.commands import Define, Wanted
from greenroom_hub.core.run import Run


def wanted_of(run: Run, node: NodeRun) -> Wanted:
    """The name of a node's definition: equal for nodes, and executions, whose calls differ only in what varies."""
    wanted = run.wanted.get(node.id)
    if wanted is None:
        assert node.inputs is not None
        bound = hashlib.sha256()
        for name, value in node.inputs.bound.items():
            bound.update(name.encode() + b"\0" + len(value).to_bytes(8, "big") + value)
        timeout = timeout_of(node)
        wanted = run.wanted[node.id] = Wanted(
            run.execution.submitted.submission.program,
            _task_name(run, node, timeout),
            node.inputs.params,
            bound.hexdigest()[:32] if node.inputs.bound else "",
            run.sealed,
        )
    return wanted


def _task_name(run: Run, node: NodeRun, timeout: float | None) -> str:
    target = node.spec.target
    if target not in run.execution.program.tasks:
        target = f"{target}#{run.id}"  # Made while this execution runs: another's of that name may differ.
    return target if timeout is None else f"{target}@{timeout:g}"


def timeout_of(node: NodeRun) -> float | None:
    """Seconds that an attempt may take at this place."""
    if node.spec.overrides.timeout is not None:
        return node.spec.overrides.timeout
    return node.task.timeout if node.task is not None else None


def define(run: Run, node: NodeRun, replica: str) -> Define:
    """The command that makes a node's definition known to a replica."""
    assert node.inputs is not None
    assert node.task is not None
    execution = run.execution
    return Define(
        replica,
        wanted_of(run, node),
        execution.program,
        node.task,
        execution.environments[node.task.environment],
        node.inputs.bound,
        execution.submitted.sealed,
        timeout_of(node),
    )
