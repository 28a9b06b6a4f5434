"""What a new replica loads before its first call: what its environment asks for, then what its pool uses most."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from greenroom_hub.core.commands import Define, SendPrewarm, Wanted
from greenroom_hub.core.pool import Pool
from greenroom_hub.core.replica import Replica
from greenroom_hub.core.run import Run
from greenroom_hub.core.state import State

HOTTEST: Final = 4
"""Entries of a busy pool that a new replica takes over by recipe."""

_WORTH_MS: Final = 50.0


def prewarm(state: State, pool: Pool, replica: Replica) -> None:
    """Have a replica that has just come load what is wanted; once in its life, and before it gets calls."""
    if replica.prewarmed or pool.environment.regular:
        return
    replica.prewarmed = True
    recipes = [recipe for recipe in pool.environment.prewarm if not replica.entries]
    recipes += _hottest(pool, replica) if pool.queue else []
    define = _define(state, pool, replica.id)
    if recipes and define is not None:
        replica.knows.add(define.wanted)
        state.do(define)
        state.do(SendPrewarm(replica.id, define, tuple(recipes)))
        state.say("replica prewarms", replica=replica.id, entries=len(recipes))


def _hottest(pool: Pool, replica: Replica) -> list[Mapping[str, Any]]:
    """Recipes of the entries that save most in the pool, as far as they fit in half of the replica's cache."""
    worth: dict[tuple[str, str], float] = {}
    sizes: dict[tuple[str, str], int] = {}
    for other in pool.replicas.values():
        for key, entry in other.entries.items():
            if key in pool.recipes and key not in replica.entries and entry.load_ms >= _WORTH_MS:
                worth[key] = worth.get(key, 0.0) + entry.hits * entry.load_ms
                sizes[key] = entry.bytes
    room = (pool.environment.cache_memory or 1 << 62) // 2
    chosen = []
    for key in sorted(worth, key=worth.__getitem__, reverse=True)[:HOTTEST]:
        room -= sizes[key]
        if worth[key] and room >= 0:
            chosen.append(pool.recipes[key])
    return chosen


def _define(state: State, pool: Pool, replica: str) -> Define | None:
    """A definition that leads to the code that the recipes are of: of any live execution that uses the pool."""
    for execution in reversed(pool.wishes):
        run = state.runs.get(execution)
        define = _define_of(run, pool, replica) if run is not None else None
        if define is not None:
            return define
    return None


def _define_of(run: Run, pool: Pool, replica: str) -> Define | None:
    execution = run.execution
    for name, task in execution.tasks.items():
        if run.pools.get(task.environment) == pool.key:
            program = execution.submitted.submission.program
            wanted = Wanted(program, f"{name}!prewarm", (), "", run.sealed)
            environment = execution.environments[task.environment]
            sealed = execution.submitted.sealed
            return Define(replica, wanted, execution.program, task, environment, {}, sealed, None)
    return None
