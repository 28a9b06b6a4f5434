"""Replicas that people started: which pool each one serves, and whether what it offers is enough."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf

from greenroom_core.program import Interpreter
from greenroom_hub.core.ledger import Capacity, Ledger, show
from greenroom_hub.core.pool import Pool
from greenroom_hub.core.pools import asks_of
from greenroom_hub.core.replica import Replica
from greenroom_hub.core.state import State
from greenroom_hub.core.submissions import notice
from greenroom_protocol.frames import Hello


def environment_of(hello: Hello) -> str:
    """The environment that its invitation is for."""
    return str(hello.facts.get("environment", ""))


def home_of(state: State, hello: Hello) -> Pool | None:
    """The pool that a replica belongs to; one that joined by hand goes where its environment has work."""
    if not hello.facts.get("external"):
        return state.pools[str(hello.facts["pool"])]
    offers = Ledger(_offers(hello))
    fitting = [pool for pool in _meant(state, hello) if offers.ever_fits(asks_of(pool.environment))]
    return max(fitting, key=lambda pool: (bool(pool.queue), not pool.successor, bool(pool.wishes)), default=None)


def too_small(state: State, hello: Hello) -> str | None:
    """Why a replica can serve no definition of its environment; None if it can, or if there is none yet."""
    offers, told = _offers(hello), None
    for pool in _meant(state, hello):
        asks = asks_of(pool.environment)
        if Ledger(offers).ever_fits(asks):
            return None
        told = f"{pool.environment.name} asks for {show(asks)}; this replica offers {offers} (--cpu, --mem, --gpu)"
    return told


def tell_other_python(state: State, pool: Pool, replica: Replica) -> None:
    """Say to who waits for a pool that a replica of it runs another Python than the program was submitted from."""
    theirs = str(replica.facts.get("python") or "")
    for execution in pool.wishes:
        run = state.runs.get(execution)
        interpreter = run.execution.program.interpreter if run is not None else None
        if run is None or interpreter is None or not theirs:
            continue
        told = _other_python(pool.environment.name, interpreter, theirs, str(replica.facts.get("instead_of") or ""))
        if told:
            notice(state, run, told)


def _other_python(environment: str, wanted: Interpreter, theirs: str, instead_of: str) -> str:
    parts = []
    if instead_of:
        parts.append(f"replicas of {environment} run the hub's own Python {theirs}, since {instead_of} is not there")
    if _minor(wanted.version) != _minor(theirs):
        parts.append(
            f"replicas of {environment} run Python {theirs}, this was submitted from {wanted.version}: what travels "
            "pickled may not load there"
        )
    return "; ".join(parts)


def _minor(version: str) -> list[str]:
    return version.split(".")[:2]


def _meant(state: State, hello: Hello) -> Iterator[Pool]:
    name, project = environment_of(hello), str(hello.facts.get("project") or "")
    return (pool for pool in state.pools.values() if pool.environment.name == name and project in ("", pool.project))


def _offers(hello: Hello) -> Capacity:
    return Capacity(
        _figure(hello, "cpu"), int(min(_figure(hello, "memory"), 1 << 62)), int(min(_figure(hello, "gpu"), 1 << 30))
    )


def _figure(hello: Hello, name: str) -> float:
    """A figure that a replica offers; who says nothing has enough."""
    try:
        return float(hello.facts.get(name, inf))
    except (TypeError, ValueError):
        return 0.0
