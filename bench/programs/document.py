"""The programs of the Actors document's two benchmarks."""

import os
import time

import greenroom

REPLICAS = int(os.environ.get("BENCH_REPLICAS", "25"))

elsewhere = greenroom.ActorEnvironment(name="other", replica_count=1, ttl_seconds=900)
greeters = greenroom.ActorEnvironment(name="greeters", replica_count=REPLICAS, ttl_seconds=900)
sleepers = greenroom.ActorEnvironment(name="sleepers", replica_count=4 * REPLICAS, ttl_seconds=900)


@elsewhere.task
def other(n: int) -> int:
    return n


@greeters.task
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
