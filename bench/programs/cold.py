"""Many environments alike, each cold until it is used: `BENCH_POOLS` of one replica, as many of `BENCH_REPLICAS`."""

import os
import time

import greenroom

POOLS = int(os.environ.get("BENCH_POOLS", "5"))
REPLICAS = int(os.environ.get("BENCH_REPLICAS", "25"))


def hello(n: int) -> int:
    return n + 1


def nap(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def _mapped(environment):
    task = environment.task(nap)

    @greenroom.workflow
    def naps(seconds: list[float]) -> list[float]:
        return greenroom.map(task)(seconds=seconds)

    return naps


ones = [greenroom.ActorEnvironment(name=f"one-{n}", replica_count=1).task(hello) for n in range(POOLS)]
manys = [_mapped(greenroom.ActorEnvironment(name=f"many-{n}", replica_count=REPLICAS)) for n in range(POOLS)]
