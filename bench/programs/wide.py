"""A task for replicas that joined by hand; what simulated ones answer is its input."""

import os

import greenroom

actor = greenroom.ActorEnvironment(
    name="wide", replica_count=int(os.environ.get("BENCH_REPLICAS", "1000")), launcher="external"
)


@actor.task
def same(n: int) -> int:
    return n


@greenroom.workflow
def wf(ns: list[int]) -> list[int]:
    return greenroom.map(same)(n=ns)
