"""Which pools an execution's environments mean, and what each replica of them is promised."""

from __future__ import annotations

from dataclasses import replace

from greenroom_core.program import Environment, Interpreter, Program, Resources
from greenroom_hub.core.hub_facts import PoolDefined, pool_stream
from greenroom_hub.core.ledger import show
from greenroom_hub.core.pool import Pool, Wish, pool_key
from greenroom_hub.core.state import State


class NeverFits(ValueError):
    """An environment asks for more than any replica can get here."""

    def __init__(self, environment: str, asked: str, most: str) -> None:
        super().__init__(environment, asked, most)
        self.environment, self.asked, self.most = environment, asked, most

    def __str__(self) -> str:
        return (
            f"environment {self.environment!r} asks for {self.asked}, but the largest replica that this hub can start "
            f"has {self.most}; lower requests=, or see GREENROOM_HUB_CAPACITY"
        )


def asks_of(environment: Environment) -> Resources:
    """What one replica needs: its requests, or its limits where it requests nothing."""
    asked, most = environment.requests, environment.limits
    return Resources(
        cpu=asked.cpu if asked.cpu is not None else most.cpu,
        memory=asked.memory if asked.memory is not None else most.memory,
        gpu=asked.gpu if asked.gpu is not None else most.gpu,
        disk=asked.disk,
        accelerator=asked.accelerator or most.accelerator,
    )


def join_pools(state: State, execution: str, program: Program, strict: bool) -> tuple[dict[str, str], tuple[str, ...]]:
    """The pools of a program's environments, made where they do not exist; and what was cut, in words.

    Raises:
        NeverFits: A request is too large for this hub, which does not cut (it is not local, or it was told not to).
    """
    cuts = []
    for environment in program.environments.values():
        asks = asks_of(environment)
        if state.ledger.ever_fits(asks):
            continue
        if strict or not state.settings.local:
            raise NeverFits(environment.name, show(asks), str(state.ledger.capacity))
        given = state.ledger.cut(asks)
        cuts.append(f"{environment.name} asks {show(asks)}: running with {_given(asks, given)}")
    pools = {}
    for key, environment in program.environments.items():
        pool = _pool(state, program.project, environment, program.interpreter)
        wish = wish_of(environment)
        pool.wishes[execution] = wish
        pools[key] = pool.key
        if wish != pool.last_wish:
            pool.last_wish = wish
            record_pool(state, pool)
        state.touch(pool.key)
    return pools, tuple(cuts)


def _given(asked: Resources, given: Resources) -> str:
    parts = [show(replace(given, gpu=None))] if given.cpu or given.memory else []
    if asked.gpu and asked.gpu != given.gpu:
        parts.append(f"gpu={given.gpu}" if given.gpu else "no gpu")
    return ", ".join(parts) or "what there is"


def wish_of(environment: Environment) -> Wish:
    """How many replicas an environment's definition wants, and for how long."""
    count = 1 if environment.regular else environment.replica_count
    return Wish(count, environment.ttl, environment.min_replicas, environment.scaledown_ttl)


def _pool(state: State, project: str, environment: Environment, interpreter: Interpreter | None) -> Pool:
    key = pool_key(project, environment, interpreter)
    pool = state.pools.get(key)
    if pool is None:
        asks = state.ledger.cut(asks_of(environment))
        slots = environment.concurrency
        if environment.regular:
            slots, asks = _regular_slots(state, asks), Resources()
        pool = state.pools[key] = Pool(key, project, environment, interpreter, asks, slots)
        pool.last_wish = wish_of(environment)
        record_pool(state, pool)
    else:
        pool.environment = environment  # Counts, times and recipes of the newest definition hold for new replicas.
    return pool


def _regular_slots(state: State, asks: Resources) -> int:
    """Calls of regular tasks at a time: as many as fit beside each other; each runs in a process of its own."""
    most = state.ledger.capacity
    fits = [state.settings.regular_slots]
    if asks.cpu:
        fits.append(int(most.cpu // asks.cpu))
    if asks.memory:
        fits.append(int(most.memory // asks.memory))
    if asks.gpu:
        fits.append(most.gpu // asks.gpu)
    return max(1, min(fits))


def record_pool(state: State, pool: Pool) -> None:
    """Put a pool's definition into the log, so that a restarted hub knows its warm replicas."""
    state.record_hub(
        pool_stream(pool.key),
        PoolDefined(pool.key, pool.project, pool.environment, pool.interpreter, pool.asks, pool.slots, pool.last_wish),
    )
