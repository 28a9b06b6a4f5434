"""Tasks that wait while the file `BENCH_GATE` does not exist."""

import os
import time

import greenroom

actor = greenroom.ActorEnvironment(name="gated", replica_count=int(os.environ.get("BENCH_REPLICAS", "8")))


@actor.task
def hello(n: int) -> int:
    while not os.path.exists(os.environ["BENCH_GATE"]):
        time.sleep(0.01)
    return n + 1


@actor.task
def nap(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


@greenroom.workflow
def wf(ns: list[int]) -> list[int]:
    return greenroom.map(hello)(n=ns)


@greenroom.workflow
def naps(seconds: list[float]) -> list[float]:
    return greenroom.map(nap)(seconds=seconds)
