"""How work is laid out and what becomes of failures: each case gives the same in this process and on a hub."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import Any

import greenroom
from greenroom import (
    ActorEnvironment,
    File,
    LaunchPlan,
    NonRecoverable,
    Retry,
    current_context,
    dynamic,
    eager,
    task,
    workflow,
)

actor = ActorEnvironment("flow", replica_count=2)
single = ActorEnvironment("flow-single", replica_count=1)
at_once = ActorEnvironment("flow-at-once", replica_count=1, concurrency=3)
forked = ActorEnvironment("flow-forked", replica_count=1, isolation="fork")


@actor.task
def inc(n: int) -> int:
    return n + 1


@actor.task
def add(a: int, b: int = 10) -> int:
    return a + b


@actor.task
def odd(n: int) -> int:
    if n % 2 == 0:
        raise ValueError(f"{n} is even")
    return n


@actor.task
def maybe(n: int) -> int | None:
    return n if n % 2 else None


@actor.task(retries=1)
def second_time(n: int) -> int:
    if current_context().attempt == 1:
        raise ValueError(f"{n} fails once")
    return 10 * n + current_context().attempt


@actor.task(retries=Retry(3, backoff=0.01, jitter=0.5, on=(OSError,)))
def only_on(n: int) -> int:
    if current_context().attempt < 3:
        raise ConnectionError("again") if n == 3 else KeyError("never again")
    return n


@actor.task(retries=5)
def refuses(n: int) -> int:
    raise NonRecoverable(f"attempt {current_context().attempt}")


@actor.task(timeout=0.2)
def slow(n: int) -> int:
    time.sleep(30 * n)
    return n


@actor.task(timeout=0.5, retries=1)
def slow_once(n: int) -> int:
    if current_context().attempt == 1:
        time.sleep(30)
    return n


@actor.task(retries=3)
def goes_on(n: int) -> list[int]:
    """Each attempt does one step, keeps how far it is, and fails before the last."""
    kept = current_context().checkpoint
    done = [int(part) for part in (kept.read() or b"").split()]
    done.append(10 * current_context().attempt)
    kept.write(" ".join(map(str, done)).encode())
    if len(done) < n:
        raise ValueError("not done")
    assert kept.exists()
    restored = kept.restore()
    assert restored is not None
    return [int(part) for part in restored.read_bytes().split()]


@actor.task
def writes(n: int) -> File:
    from pathlib import Path

    path = Path(current_context().working_directory) / "n.txt"
    path.write_text(str(n))
    return File(path)


@actor.task
def sleeps(seconds: float) -> None:
    time.sleep(seconds)


@actor.task
def small_file(n: int) -> File:
    with open("n.txt", "w") as file:
        file.write(str(n))
    return File("n.txt")


@actor.task
def reads_some(files: list[File]) -> str:
    from pathlib import Path

    return " ".join(Path(files[place]).read_text() for place in (0, len(files) // 2 - 1, -1))


@task
def numbers(n: int) -> list[int]:
    return list(range(n))


@workflow
def many_files(n: int) -> str:
    return reads_some(files=greenroom.map(small_file)(n=numbers(n=n)))


@task
def total(xs: list[int | None]) -> int:
    return sum(x or 0 for x in xs)


@workflow
def inner(n: int) -> list[int]:
    return greenroom.map(inc)(n=[n, inc(n=n)])


@workflow
def row(ns: list[int]) -> int:
    return total(xs=greenroom.map(inc)(n=ns))


plan = LaunchPlan.get_or_create(row, "flow.plan")


@dynamic
def down(n: int) -> int:
    return inc(n=down(n=n - 1)) if n else 0


@dynamic
def spread(n: int) -> list[int]:
    return greenroom.map(inc)(n=list(range(n)))


@dynamic
def through(n: int) -> int:
    return descend(n=n - 1) if n else 7


@workflow
def descend(n: int) -> int:
    return inc(n=through(n=n))


@workflow
def recursion(n: int) -> int:
    return down(n=50)


@workflow
def recursion_through_a_workflow(n: int) -> int:
    return descend(n=n)


@workflow
def map_of_map(n: int) -> list[int]:
    return greenroom.map(inc)(n=greenroom.map(inc)(n=[n, 1, 2]))


@workflow
def map_in_map(n: int) -> list[list[int]]:
    return greenroom.map(inner)(n=[n, 10])


@workflow
def map_of_a_maps_item(n: int) -> int:
    return inc(n=greenroom.map(inc)(n=[n, 1, 2])[1])


@workflow
def map_in_dynamic(n: int) -> list[int]:
    return spread(n=n)


@workflow
def map_over_dynamic(n: int) -> list[int]:
    return greenroom.map(down)(n=[n, 1, 0])


@workflow
def map_over_plans(n: int) -> list[int]:
    return greenroom.map(plan)(ns=[[1, n], [2]])


@workflow
def map_lists(n: int) -> list[int]:
    return greenroom.map(add)(a=[1, 2, n], b=[10, 20, 30])


@workflow
def map_bound(n: int) -> list[int]:
    return greenroom.map(partial(add, b=inc(n=n)))(a=[1, 2])


@workflow
def map_nones(n: int) -> list[int | None]:
    return greenroom.map(maybe)(n=[1, 2, n])


@workflow
def min_successes(n: int) -> int:
    return total(xs=greenroom.map(odd, min_successes=2)(n=[1, 2, n, 4]))


@workflow
def min_successes_missed(n: int) -> int:
    return total(xs=greenroom.map(odd, concurrency=1, min_successes=3)(n=[1, 2, n, 4]))


@workflow
def min_ratio_rounds_up(n: int) -> int:
    return total(xs=greenroom.map(odd, concurrency=1, min_success_ratio=0.6)(n=[1, 2, n, 4]))


@workflow
def min_ratio_zero(n: int) -> list[int | None]:
    return greenroom.map(odd, min_success_ratio=0.0)(n=[2, 4])


@workflow
def odd_twice(n: int) -> int:
    return inc(n=odd(n=n))


odd_plan = LaunchPlan.get_or_create(odd_twice, "flow.odd")


@workflow
def min_successes_of_workflows(n: int) -> list[int | None]:
    return greenroom.map(odd_twice, concurrency=2, min_successes=2)(n=[1, 2, n])


@workflow
def min_ratio_of_plans(n: int) -> list[int | None]:
    return greenroom.map(odd_plan, min_success_ratio=0.5)(n=[n, 4])


@workflow
def min_ratio_of_dynamics(n: int) -> list[int | None]:
    return greenroom.map(down, min_success_ratio=0.5)(n=[n, 1])


@workflow
def min_ratio_of_workflows_missed(n: int) -> list[int | None]:
    return greenroom.map(odd_twice, min_success_ratio=0.9)(n=[n, 4])


@workflow
def item_timeouts(n: int) -> list[int | None]:
    return greenroom.map(slow, min_success_ratio=0.5)(n=[n, 0])


@workflow
def item_retries(n: int) -> list[int]:
    return greenroom.map(second_time)(n=[1, n])


@workflow
def retry_on(n: int) -> int:
    return only_on(n=n)


@workflow
def retry_on_others(n: int) -> int:
    return only_on(n=inc(n=n))


@workflow
def retry_forbidden(n: int) -> int:
    return refuses(n=n)


@workflow
def retry_overridden(n: int) -> int:
    return second_time(n=n).with_overrides(retries=0)


@workflow
def times_out(n: int) -> int:
    return slow(n=n)


@workflow
def timeout_retried(n: int) -> int:
    return slow_once(n=n)


@workflow
def checkpoints(n: int) -> list[int]:
    return goes_on(n=n)


@workflow
def checkpoints_of_items(n: int) -> list[list[int]]:
    return greenroom.map(goes_on)(n=[1, n])


@single.task
async def twice(n: int) -> int:
    await asyncio.sleep(0)
    return 2 * n


@single.task
def thrice(n: int) -> int:
    return 3 * n


@single.task
def fails(n: int) -> int:
    raise LookupError(f"bad {n}")


@single.task(retries=2)
def at_last(n: int) -> int:
    if current_context().attempt < 3:
        raise ValueError("again")
    return n


@eager
async def nested(n: int) -> int:
    return await nested(n=n - 1) + await twice(n=1) if n else 0


@single.task(execution_mode="eager")
async def gathers(n: int) -> list[int]:
    """Everything that an eager body does, on a pool of one replica that runs its inner calls too."""
    calls = [twice(n=i) for i in range(n)]
    seen = [thrice(n=n) + 1]
    try:
        await fails(n=n)
    except LookupError as error:
        seen.append(len(error.args))
    seen += await asyncio.gather(*calls)
    seen += await_all(thrice(n=i) for i in range(2))
    seen.append(await at_last(n=5))
    return seen


def await_all(calls: Any) -> list[int]:
    return [int(call) for call in calls]


@at_once.task
async def leaf(n: int) -> int:
    await asyncio.sleep(0)
    return n


@at_once.task
async def two_leaves(n: int) -> int:
    first, second = await asyncio.gather(leaf(n=n), leaf(n=1))
    return first + second + tripled(n=n)


@task
def tripled(n: int) -> int:
    return 3 * n


@forked.task
async def from_a_fork(n: int) -> int:
    return await leaf(n=n)


@workflow
def eager_at_once(n: int) -> list[int]:
    return greenroom.map(two_leaves)(n=[0, 1, 2, n, 4, 5])


@workflow
def eager_forked(n: int) -> int:
    return from_a_fork(n=n)


@eager
async def of_everything(n: int) -> tuple[int, list[int], int, int]:
    return await row(ns=[n, 1]), await greenroom.map(inc)(n=[n, 1]), await down(n=n), await plan(ns=[n])


@eager
async def not_caught(n: int) -> int:
    await fails(n=n)
    return 0


@eager
async def unseen(n: int) -> int:
    fails(n=n)
    return 0


@workflow
def eager_alone(n: int) -> list[int]:
    return gathers(n=n)


@workflow
def eager_nested(n: int) -> int:
    return nested(n=n)


@workflow
def eager_of_everything(n: int) -> tuple[int, list[int], int, int]:
    return of_everything(n=n)


@workflow
def eager_fails(n: int) -> int:
    return not_caught(n=n)


@workflow
def eager_fails_unseen(n: int) -> int:
    return unseen(n=n)


CASES: dict[str, Any] = {
    "recursion": 50,
    "recursion_through_a_workflow": 11,
    "map_of_map": [5, 3, 4],
    "map_in_map": [[4, 5], [11, 12]],
    "map_of_a_maps_item": 3,
    "map_in_dynamic": [1, 2, 3],
    "map_over_dynamic": [3, 1, 0],
    "map_over_plans": [6, 3],
    "map_lists": [11, 22, 33],
    "map_bound": [5, 6],
    "map_nones": [1, None, 3],
    "min_successes": 4,
    "min_successes_missed": ValueError("2 is even"),
    "min_ratio_rounds_up": ValueError("2 is even"),
    "min_ratio_zero": [None, None],
    "min_successes_of_workflows": [2, None, 4],
    "min_ratio_of_plans": [4, None],
    "min_ratio_of_dynamics": [3, 1],
    "min_ratio_of_workflows_missed": ValueError("4 is even"),
    "item_timeouts": [None, 0],
    "item_retries": [12, 32],
    "retry_on": 3,
    "retry_on_others": KeyError("never again"),
    "retry_forbidden": NonRecoverable("attempt 1"),
    "retry_overridden": ValueError("3 fails once"),
    "times_out": TimeoutError,
    "timeout_retried": 3,
    "checkpoints": [10, 20, 30],
    "checkpoints_of_items": [[10], [10, 20, 30]],
    "eager_alone": [10, 1, 0, 2, 4, 0, 3, 5],
    "eager_nested": 6,
    "eager_of_everything": (6, [4, 2], 3, 4),
    "eager_at_once": [1, 5, 9, 13, 17, 21],
    "eager_forked": 3,
    "eager_fails": LookupError("bad 3"),
    "eager_fails_unseen": LookupError("bad 3"),
}
"""What each workflow gives for n=3: a value, or an error; a class where its text says how long it took."""
