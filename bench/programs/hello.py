"""The smallest tasks, on warm replicas: as many as `BENCH_REPLICAS` says."""

import os
import time

import greenroom

REPLICAS = int(os.environ.get("BENCH_REPLICAS", "2"))

actor = greenroom.ActorEnvironment(name="bench", replica_count=REPLICAS, ttl_seconds=900)


@actor.task
def hello(n: int) -> int:
    return n + 1


@actor.task
def nap(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


@actor.task
def echo(data: bytes) -> bytes:
    return data


@greenroom.workflow
def hello_map(ns: list[int]) -> list[int]:
    return greenroom.map(hello)(n=ns)


@greenroom.workflow
def nap_map(seconds: list[float]) -> list[float]:
    return greenroom.map(nap)(seconds=seconds)


@greenroom.workflow
def hello_once(n: int) -> int:
    return hello(n=n)
