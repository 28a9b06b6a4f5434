"""Every construct of the language once, with what it gives: the same in this process and on a hub."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import greenroom
from greenroom import (
    ActorEnvironment,
    FailedNode,
    File,
    LaunchPlan,
    Resources,
    WorkflowFailurePolicy,
    conditional,
    create_node,
    current_context,
    dynamic,
    eager,
    task,
    workflow,
)

actor = ActorEnvironment("parity", replica_count=2, environment={"PARITY": "yes"})


@dataclass
class Point:
    x: int
    y: int


class Pair(NamedTuple):
    left: int
    right: str


@actor.task
def inc(n: int) -> int:
    return n + 1


@actor.task
def add(a: int, b: int = 10) -> int:
    return a + b


@task
def tenfold(n: int) -> int:
    return n * 10


@actor.task
def pair(n: int) -> Pair:
    return Pair(n, str(n))


@actor.task
def point(n: int) -> Point:
    return Point(n, n + 1)


@actor.task
def fails(n: int) -> int:
    raise LookupError(f"bad {n}")


@actor.task
def odd(n: int) -> int:
    if n % 2 == 0:
        raise ValueError(f"{n} is even")
    return n


@actor.task(retries=2)
def flaky(n: int) -> int:
    if current_context().attempt < 3:
        raise ValueError("again")
    return n


@actor.task
async def twice(n: int) -> int:
    await asyncio.sleep(0)
    return n * 2


@actor.task
def handles(n: int, err: FailedNode | None = None) -> None:
    assert err is not None and err.failed_node_id == "fails"


@actor.task
def variable() -> str:
    import os

    os.environ["LEFT_BEHIND"] = "1"
    return os.environ["PARITY"]


@actor.task
def left_behind() -> str | None:
    import os

    return os.environ.get("LEFT_BEHIND")


@actor.task
def writes(n: int) -> File:
    from pathlib import Path

    path = Path(current_context().working_directory) / "n.txt"
    path.write_text(str(n))
    return File(path)


@actor.task
def reads(files: list[File]) -> str:
    from pathlib import Path

    return "".join(Path(file).read_text() for file in files)


@workflow
def sub(n: int, m: int = 2) -> int:
    return inc(n=inc(n=n))


plan = LaunchPlan.get_or_create(sub, "parity.plan", fixed_inputs={"m": 3})


@workflow
def chains(n: int) -> int:
    return inc(n=inc(n=tenfold(n=n)))


@workflow
def names(n: int) -> Pair:
    left, right = pair(n=n)
    return Pair(left, right)


@workflow
def parts(n: int) -> tuple[int, int, list[int], dict[str, int]]:
    p = point(n=n)
    return p.x, inc(n=p.y), [p.x, inc(n=n), 7], {"a": p.y}


@workflow
def subs(n: int) -> list[int]:
    return [sub(n=n), sub(n=sub(n=n))]


@workflow
def plans(n: int) -> int:
    return plan(n=plan(n=n))


@workflow
def branches(n: int) -> int:
    return conditional("way").if_(n > 5).then(inc(n=n)).elif_((n == 3) & (n != 4)).then(sub(n=n)).else_().fail("other")


@workflow
def branch_fails(n: int) -> int:
    return conditional("way").if_(n > 5).then(inc(n=n)).else_().fail("too small")


@workflow
def maps(n: int) -> list[int]:
    return greenroom.map(partial(add, b=n))(a=[1, 2, 3])


@workflow
def maps_default(n: int) -> list[int]:
    return greenroom.map(add, concurrency=1)(a=[n, n])


@workflow
def maps_of_maps(n: int) -> list[int]:
    return greenroom.map(tenfold)(n=greenroom.map(inc)(n=[n, n, n]))


@workflow
def maps_files(n: int) -> str:
    return reads(files=greenroom.map(writes)(n=[n, 4]))


@workflow
def maps_empty(n: int) -> list[int]:
    return greenroom.map(inc)(n=[])


@workflow
def maps_tuples(n: int) -> tuple[list[int], list[str]]:
    left, right = greenroom.map(pair)(n=[n, n])
    return left, right


@workflow
def tolerates(n: int) -> list[int | None]:
    return greenroom.map(odd, min_success_ratio=0.5)(n=[1, 2, n])


@workflow
def map_fails(n: int) -> list[int]:
    return greenroom.map(odd)(n=[n, 4])


@workflow
def maps_workflows(n: int) -> list[int]:
    return greenroom.map(sub, concurrency=2)(n=[1, 2, n])


@workflow
def maps_plans(n: int) -> list[int]:
    return greenroom.map(plan)(n=[1, n])


@dynamic
def grow(n: int) -> list[int]:
    return [inc(n=i) for i in range(n)]


@dynamic
def down(n: int) -> int:
    return inc(n=down(n=n - 1)) if n else 0


@dynamic
def several(n: int) -> tuple[int, list[int]]:
    return plan(n=n), greenroom.map(inc)(n=list(range(n)))


@workflow
def dynamics(n: int) -> tuple[list[int], int]:
    return grow(n=n), down(n=n)


@workflow
def dynamic_plans(n: int) -> tuple[int, list[int]]:
    return several(n=n)


@eager
async def gathers(n: int) -> int:
    doubled, more = await asyncio.gather(twice(n=n), inc(n=n))
    try:
        await fails(n=n)
    except LookupError:
        return doubled + more
    return 0


@workflow
def eagers(n: int) -> int:
    return inc(n=gathers(n=n))


@workflow
def asyncs(n: int) -> int:
    return twice(n=n)


@workflow
def retries(n: int) -> int:
    return flaky(n=n)


@workflow
def errors(n: int) -> int:
    return inc(n=fails(n=n))


@workflow(on_failure=handles)
def handled(n: int) -> int:
    return fails(n=n)


@workflow(failure_policy=WorkflowFailurePolicy.FAIL_AFTER_EXECUTABLE_NODES_COMPLETE)
def goes_on(n: int) -> int:
    fails(n=n)
    return inc(n=n)


@workflow
def orders(n: int) -> int:
    first, second = create_node(inc, n=n), create_node(inc, n=1)
    second >> first
    return first.o0


@workflow
def overrides(n: int) -> int:
    return tenfold(n=n).with_overrides(requests=Resources(mem="200Mi"), node_name="sized", retries=1)


@workflow
def isolates(n: int) -> tuple[str, str | None]:
    said, left = variable(), left_behind()
    said >> left
    return said, left


CASES: dict[str, Any] = {
    "chains": 32,
    "names": Pair(3, "3"),
    "parts": (3, 5, [3, 4, 7], {"a": 4}),
    "subs": [5, 7],
    "plans": 7,
    "branches": 5,
    "branch_fails": ValueError("too small"),
    "maps": [4, 5, 6],
    "maps_default": [13, 13],
    "maps_of_maps": [40, 40, 40],
    "maps_files": "34",
    "maps_empty": [],
    "maps_tuples": ([3, 3], ["3", "3"]),
    "tolerates": [1, None, 3],
    "map_fails": ValueError("4 is even"),
    "maps_workflows": [3, 4, 5],
    "maps_plans": [3, 5],
    "dynamics": ([1, 2, 3], 3),
    "dynamic_plans": (5, [1, 2, 3]),
    "eagers": 11,
    "asyncs": 6,
    "retries": 3,
    "errors": LookupError("bad 3"),
    "handled": LookupError("bad 3"),
    "goes_on": LookupError("bad 3"),
    "orders": 4,
    "overrides": 30,
    "isolates": ("yes", None),
}
"""What each workflow gives for n=3: a value, or an error."""
