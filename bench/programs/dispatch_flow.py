"""Two environments: two replicas for calls that do nothing, fifty for calls that sleep."""

import time

import greenroom

short = greenroom.ActorEnvironment(name="short", replica_count=2, ttl_seconds=900)
sleepers = greenroom.ActorEnvironment(name="sleepers", replica_count=50, ttl_seconds=900)


@short.task
def hello(n: int) -> int:
    return n + 1


@sleepers.task
def sleep(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


@greenroom.workflow
def hellos(ns: list[int]) -> list[int]:
    return greenroom.map(hello)(n=ns)


@greenroom.workflow
def sleeps(seconds: list[float]) -> list[float]:
    return greenroom.map(sleep)(seconds=seconds)
