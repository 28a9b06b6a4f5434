import functools
from typing import Dict, List, Optional, Tuple

from flytekit import Resources, dynamic, map_task, task, workflow


@task(retries=2)
def objective(lr: float, depth: int, seed: int = 7) -> float:
    return lr * depth + seed


@task
def best(scores: List[float], lrs: List[float]) -> Tuple[float, float]:
    i = max(range(len(scores)), key=scores.__getitem__)
    return lrs[i], scores[i]


@task
def depth() -> int:
    return 3


@task
def flaky(x: int) -> int:
    if x == 1:
        raise ValueError("one")
    return x


@task
def cnt(xs: List[Optional[int]]) -> int:
    return sum(1 for x in xs if x is None)


@workflow
def search(lrs: List[float] = [0.1, 0.5]) -> Tuple[float, float, int]:
    part = functools.partial(objective, depth=depth(), seed=1)
    s = map_task(part, concurrency=2)(lr=lrs).with_overrides(requests=Resources(mem="200Mi"))
    a, b = best(scores=s, lrs=lrs)
    f = map_task(flaky, min_success_ratio=0.5)(x=[0, 1, 2])
    return a, b, cnt(xs=f)
