"""The smallest tasks, on warm replicas (as many as `BENCH_REPLICAS` says) and in fresh runners."""

import os
import time

import greenroom

REPLICAS = int(os.environ.get("BENCH_REPLICAS", "2"))
STEPS = int(os.environ.get("BENCH_STEPS", "200"))

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


@greenroom.task
def fresh(n: int) -> int:
    return n + 1


@greenroom.workflow
def hello_map(ns: list[int]) -> list[int]:
    return greenroom.map(hello)(n=ns)


@greenroom.workflow
def nap_map(seconds: list[float]) -> list[float]:
    return greenroom.map(nap)(seconds=seconds)


@greenroom.workflow
def echo_map(data: list[bytes]) -> list[bytes]:
    return greenroom.map(echo)(data=data)


@greenroom.workflow
def fresh_map(ns: list[int]) -> list[int]:
    return greenroom.map(fresh, concurrency=2)(n=ns)


@greenroom.workflow
def hello_once(n: int) -> int:
    return hello(n=n)


@greenroom.workflow
def chain(n: int) -> int:
    for _ in range(STEPS):
        n = hello(n=n)
    return n


@greenroom.workflow
def five(n: int) -> int:
    a = hello(n=n)
    b = hello(n=a)
    c = hello(n=a)
    return join(x=hello(n=b), y=c)


@actor.task
def join(x: int, y: int) -> int:
    return x + y
