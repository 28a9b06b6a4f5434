"""What only a running execution brings: environments of a dynamic task's graph, and the programs of its children."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Final

from greenroom_core.program import Program, Submission, program_digest
from greenroom_hub.core.catalog import UnknownEntity, Version, misfit
from greenroom_hub.core.pools import check_environments, join_pools
from greenroom_hub.core.run import Run
from greenroom_hub.core.state import State
from greenroom_protocol.ids import execution_id

_CHILD: Final = 10
"""Characters of five bits each: no two children of one hub will ever meet."""


def join_late(state: State, run: Run) -> tuple[str, ...]:
    """Join the pools of environments that only a dynamic task's graph brings; what of their requests was cut.

    Raises:
        CannotServe: One of them can have no replica here.
    """
    known = run.pools
    late = {key: one for key, one in run.execution.environments.items() if key not in known}
    if not late:
        return ()
    cuts = check_environments(state, late.values(), run.execution.submitted.submission.strict)
    known.update(join_pools(state, run.id, run.execution.program, late))
    return cuts


class ReferenceMisfit(LookupError):
    """What was registered under a name takes or gives something else than the reference says."""


def program_of_child(state: State, run: Run, plan: str) -> tuple[str, Program, Version | None]:
    """The program that a launch plan's call runs, by its digest; and what was registered, for a reference.

    It is the parent's own, unless a dynamic task brought the plan: then a program is made that holds all that the
    parent knows by now, so that the child's log can be read without the parent's.

    Raises:
        UnknownEntity, ReferenceMisfit: A reference's entity is not registered here, or does not fit.
    """
    if run.execution.plans[plan].reference is not None:
        return _registered(state, run, plan)
    execution, digest = run.execution, run.execution.submitted.submission.program
    program = execution.program
    if execution.plans is program.plans or program.plans.get(plan) == execution.plans[plan]:
        return digest, program, None
    if run.derived is None or run.derived[1].plans is not execution.plans:
        made = replace(program, plans=execution.plans, tasks=execution.tasks, environments=execution.environments)
        packed = made.pack()
        run.derived = (program_digest(packed), made)
        if run.derived[0] not in state.programs:
            state.programs[run.derived[0]] = made
            state.turn.programs.append((run.derived[0], packed))
    return *run.derived, None


def _registered(state: State, run: Run, plan: str) -> tuple[str, Program, Version]:
    told = run.execution.plans[plan]
    assert told.reference is not None
    version = state.catalog.find(told.reference)
    digest = version.registration.program
    program = state.find_program(digest)
    if program is None:
        raise UnknownEntity(told.reference, (), ())
    state.programs.setdefault(digest, program)
    why = misfit(told.interface, version, program)
    if why is not None:
        raise ReferenceMisfit(f"{version.reference} does not fit: {why}")
    return digest, program, version


def registered_call(submission: Submission, version: Version, sealed: bytes) -> tuple[Submission, bytes]:
    """The submission of a registered entity that another execution calls: with its own defaults, secrets and limits."""
    told = version.registration
    inputs = {**told.inputs, **submission.inputs, **told.fixed}
    made = replace(submission, inputs=inputs, registered=version.reference)
    if not told.secrets:
        return made, sealed
    return replace(made, secrets=dict.fromkeys(told.secrets, "")), version.sealed


def child_id(state: State, run: Run, node: str, plan: str) -> str:
    """An id that the same parent's node always gets, so that a replay agrees.

    It is longer than those that are drawn at the door, where the store can be asked whether an id is taken.
    """
    entropy = hashlib.sha256(f"{run.id}/{node}".encode()).digest()
    for length in range(_CHILD, len(entropy)):
        name = execution_id(plan, entropy, length)
        if name not in state.runs:
            return name
    raise AssertionError("32 bytes of entropy were not enough")
