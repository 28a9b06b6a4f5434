"""What replicas load before anybody asks for it.

A new one loads what its environment asks for, then what its pool uses most; all of them load on demand.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from greenroom_hub.core.commands import Define, Refusal, Reply, SendPrewarm, Wanted
from greenroom_hub.core.events import PrewarmWanted
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


def on_prewarm_wanted(state: State, event: PrewarmWanted) -> None:
    """Have every replica of an environment load what the environment asks for, and what others of it hold."""
    pools = [pool for pool in state.pools.values() if pool.environment.name == event.environment]
    ready = [(pool, one) for pool in pools for one in pool.replicas.values() if one.takes_calls]
    if not ready:
        known = sorted({pool.environment.name for pool in state.pools.values() if pool.ready()})
        why = f"environment {event.environment!r} has no replica that could load; those that have: {known or 'none'}"
        state.tell(Reply(event.request, error=Refusal("unknown_environment", f"{why}. Run something of it first")))
        return
    notes = [_prewarm_now(state, pool, one, event.loader) for pool, one in ready]
    state.tell(Reply(event.request, notes=tuple(notes)))


def _prewarm_now(state: State, pool: Pool, replica: Replica, loader: str) -> str:
    """Send one replica what it lacks; a line for who asked."""
    recipes = [recipe for recipe in pool.environment.prewarm if _is_of(recipe, loader)]
    recipes += [recipe for key, recipe in pool.recipes.items() if key not in replica.entries and _is_of(recipe, loader)]
    define = _define(state, pool, replica.id)
    if not recipes or define is None:
        what = f"nothing of {loader} that" if loader else "nothing that"
        return f"{replica.name} of {pool.environment.name}: {what} it lacks is known"
    replica.knows.add(define.wanted)
    state.do(define)
    state.do(SendPrewarm(replica.id, define, tuple(recipes)))
    count = f"{len(recipes)} entr{'y' if len(recipes) == 1 else 'ies'}"
    return f"{replica.name} of {pool.environment.name}: loads {count}, as far as it lacks them"


def _is_of(recipe: Mapping[str, Any], loader: str) -> bool:
    module, name = str(recipe.get("module")), str(recipe.get("qualname"))
    return loader in ("", name, name.rpartition(".")[2], f"{module}:{name}")


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
    """A definition that leads to the code that the recipes are of: of a live execution, else of the last one."""
    for execution in reversed(pool.wishes):
        run = state.runs.get(execution)
        define = _define_of(run, pool, replica) if run is not None else None
        if define is not None:
            return define
    last = pool.code
    if last is None:
        return None
    wanted = Wanted(last.wanted.program, f"{last.task.name}!prewarm", (), "", last.wanted.sealed)
    return Define(replica, wanted, last.program, last.task, last.environment, {}, last.sealed, None)


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
