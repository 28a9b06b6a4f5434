"""Which pools an execution's environments mean, and what each replica of them is promised."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from greenroom_core.program import Environment, Interpreter, Program, Resources
from greenroom_hub.core.hub_facts import PoolDefined, pool_stream
from greenroom_hub.core.ledger import show
from greenroom_hub.core.pool import Pool, Wish, pool_key
from greenroom_hub.core.state import State

EXTERNAL: Final = "external"
"""The launcher of replicas that people start: every hub takes them, and starts none."""

_KEYS: Final = 1024
"""Definitions whose pools' keys are remembered."""

OWN_CONTAINERS: Final = frozenset(("docker", "kubernetes"))
"""Launchers that give each call of a regular task a container (or pod) of its own."""


class CannotServe(ValueError):
    """An environment that this hub can give no replica to, now or later."""


class NoLauncher(CannotServe):
    """An environment names a launcher that this hub does not have."""

    def __init__(self, environment: str, wanted: str, known: tuple[str, ...]) -> None:
        super().__init__(environment, wanted, known)
        self.environment, self.wanted, self.known = environment, wanted, known

    def __str__(self) -> str:
        return (
            f"environment {self.environment!r} wants launcher={self.wanted!r}; this hub has {', '.join(self.known)}: "
            f"start it with greenroom hub serve --launcher {self.wanted}, or leave launcher= out"
        )


class NeverFits(CannotServe):
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


def launcher_of(state: State, environment: Environment) -> str:
    """What starts an environment's replicas."""
    return environment.launcher or state.settings.launchers[0]


def check_environments(state: State, environments: Iterable[Environment], strict: bool) -> tuple[str, ...]:
    """What of the requests of a program's environments is cut to the machine, in words.

    Raises:
        NeverFits: A request is too large for this hub, which does not cut (it is not local, or it was told not to).
        NoLauncher: An environment names a launcher that is not here.
    """
    cuts = []
    for environment in environments:
        launcher, known = launcher_of(state, environment), state.settings.launchers
        if launcher == EXTERNAL:
            continue  # Who starts a replica by hand knows its machine.
        if launcher not in known:
            raise NoLauncher(environment.name, launcher, known)
        asks = asks_of(environment)
        if state.ledger.ever_fits(asks):
            continue
        if strict or not state.settings.local:
            raise NeverFits(environment.name, show(asks), str(state.ledger.capacity))
        given = state.ledger.cut(asks)
        cuts.append(f"{environment.name} asks {show(asks)}: running with {_given(asks, given)}")
    return tuple(cuts)


def join_pools(
    state: State, execution: str, program: Program, environments: Mapping[str, Environment] | None = None
) -> dict[str, str]:
    """The pools of environments (all of the program's unless told otherwise), made where they do not exist."""
    pools = {}
    for key, environment in (program.environments if environments is None else environments).items():
        pool = _pool(state, program.project, environment, program.interpreter)
        _succeed(state, pool, program.entity)
        wish = wish_of(state, environment)
        pool.add_wish(execution, wish)
        pool.retry_ms = 0  # Somebody asks anew: what kept its replicas from starting may be mended.
        pools[key] = pool.key
        if wish != pool.last_wish:
            pool.last_wish = wish
            record_pool(state, pool)
        state.touch(pool.key)
    return pools


def _succeed(state: State, pool: Pool, entity: str) -> None:
    """Pools of an earlier definition of the environment, by what the same entity used last, give way to this one."""
    pool.user, pool.successor = entity, ""
    for other in _earlier(state, pool.project, pool.environment, pool.interpreter, entity):
        if other is not pool:
            other.successor = pool.key
            pool.replaces.add(other.key)


def _earlier(
    state: State, project: str, environment: Environment, interpreter: Interpreter | None, entity: str
) -> list[Pool]:
    """What the same entity used on the same Python; somebody may alternate between two, and both stay warm."""
    python = interpreter and interpreter.executable
    return [
        pool
        for pool in state.pools.values()
        if (pool.project, pool.environment.name, pool.user) == (project, environment.name, entity)
        and (pool.interpreter and pool.interpreter.executable) == python
    ]


def changes(state: State, program: Program) -> tuple[str, ...]:
    """What is about to start new replicas, although old ones are warm: an environment that was defined anew."""
    told = []
    for environment in program.environments.values():
        if key_of(state, program.project, environment, program.interpreter) in state.pools:
            continue
        for old in _earlier(state, program.project, environment, program.interpreter, program.entity):
            warm, what = len(old.alive()), _differences(old, environment, program.interpreter)
            if warm and what and not old.successor:
                replicas = f"{warm} old ones leave" if warm > 1 else "the old one leaves"
                told.append(f"{environment.name} has changed ({what}): new replicas start, {replicas} then")
    return tuple(told)


_TOLD: Final = {
    "image": "image",
    "packages": "packages of its image",
    "env": "environment variables",
    "requests": "requests",
    "limits": "limits",
    "secrets": "secrets",
    "pod": "pod template",
    "concurrency": "concurrency",
    "cache_memory": "cache_memory",
    "launcher": "launcher",
}


def _differences(old: Pool, environment: Environment, interpreter: Interpreter | None) -> str:
    was = old.environment
    parts = [word for name, word in _TOLD.items() if getattr(was, name) != getattr(environment, name)]
    if old.interpreter is not None and interpreter is not None and old.interpreter != interpreter:
        same = old.interpreter.distributions == interpreter.distributions
        parts.append("variables that Python starts with" if same else "installed packages")
    return ", ".join(parts)


def _given(asked: Resources, given: Resources) -> str:
    parts = [show(replace(given, gpu=None))] if given.cpu or given.memory else []
    if asked.gpu and asked.gpu != given.gpu:
        parts.append(f"gpu={given.gpu}" if given.gpu else "no gpu")
    return ", ".join(parts) or "what there is"


def wish_of(state: State, environment: Environment) -> Wish:
    """How many replicas an environment's definition wants, and for how long."""
    count = environment.replica_count
    if environment.regular:
        count = _regular_slots(state, state.ledger.cut(asks_of(environment))) if each_alone(state, environment) else 1
    return Wish(count, environment.ttl, environment.min_replicas, environment.scaledown_ttl)


def each_alone(state: State, environment: Environment) -> bool:
    """Whether each call of a regular task has a replica of its own: a container, or one with a gpu of its own."""
    if not environment.regular:
        return False
    return launcher_of(state, environment) in OWN_CONTAINERS or bool(asks_of(environment).gpu)


def one_call_each(state: State, environment: Environment) -> bool:
    """Whether a replica leaves after its first call."""
    return environment.regular and launcher_of(state, environment) in OWN_CONTAINERS


def key_of(state: State, project: str, environment: Environment, interpreter: Interpreter | None) -> str:
    """The key of an environment's pool: what its launcher makes a replica of. Made once for each definition."""
    known = state.pool_keys.get(id(environment))
    if known is not None and known[0] is environment and known[1] is interpreter and known[2] == project:
        return known[3]
    if len(state.pool_keys) >= _KEYS:
        state.pool_keys.clear()
    key = _made_of(state, project, environment, interpreter)
    state.pool_keys[id(environment)] = environment, interpreter, project, key
    return key


def _made_of(state: State, project: str, environment: Environment, interpreter: Interpreter | None) -> str:
    launcher = launcher_of(state, environment)
    if launcher == "process":  # The interpreter stands in for the image.
        return pool_key(project, replace(environment, image=None, from_spec=False, packages=()), interpreter)
    if launcher == EXTERNAL:  # What it is made of is its owner's business.
        made = Environment(environment.name, concurrency=environment.concurrency, regular=environment.regular)
        return pool_key(project, replace(made, launcher=launcher), None)
    return pool_key(project, replace(environment, launcher=launcher), None)


def _pool(state: State, project: str, environment: Environment, interpreter: Interpreter | None) -> Pool:
    key = key_of(state, project, environment, interpreter)
    pool = state.pools.get(key)
    if pool is None:
        external = launcher_of(state, environment) == EXTERNAL
        asks = Resources() if external else state.ledger.cut(asks_of(environment))
        slots = environment.concurrency
        if environment.regular and not each_alone(state, environment):
            slots, asks = _regular_slots(state, asks), Resources()
        pool = state.pools[key] = Pool(key, project, environment, interpreter, asks, slots)
        pool.last_wish = wish_of(state, environment)
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
