"""What only a running execution brings: environments of a dynamic task's graph, and the programs of its children."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Final

from greenroom_core.program import Program, program_digest
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


def program_of_child(state: State, run: Run, plan: str) -> tuple[str, Program]:
    """The program that a launch plan's call runs, by its digest.

    It is the parent's own, unless a dynamic task brought the plan: then a program is made that holds all that the
    parent knows by now, so that the child's log can be read without the parent's.
    """
    execution, digest = run.execution, run.execution.submitted.submission.program
    program = execution.program
    if execution.plans is program.plans or program.plans.get(plan) == execution.plans[plan]:
        return digest, program
    if run.derived is None or run.derived[1].plans is not execution.plans:
        made = replace(program, plans=execution.plans, tasks=execution.tasks, environments=execution.environments)
        packed = made.pack()
        run.derived = (program_digest(packed), made)
        if run.derived[0] not in state.programs:
            state.programs[run.derived[0]] = made
            state.turn.programs.append((run.derived[0], packed))
    return run.derived


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
