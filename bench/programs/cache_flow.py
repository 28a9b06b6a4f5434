"""One environment whose calls each want one of many models, of which a replica has room for four."""

import time

import greenroom

models = greenroom.ActorEnvironment(name="models", replica_count=4, ttl_seconds=900)


@greenroom.actor_cache(max_entries=4)
def load(model: int) -> str:
    time.sleep(0.05)
    return f"model {model}"


@models.task
def ask(model: int) -> int:
    load(model)
    until = time.perf_counter() + 0.0005
    while time.perf_counter() < until:
        pass
    return model


@models.task
def nap(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


@greenroom.workflow
def asks(keys: list[int]) -> list[int]:
    return greenroom.map(ask)(model=keys)


@greenroom.workflow
def naps(seconds: list[float]) -> list[float]:
    return greenroom.map(nap)(seconds=seconds)
