"""An execution once more: `rerun`, `recover`, `debug`, and cached results, as a person types it."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.e2e.harness import Person

pytestmark = pytest.mark.e2e

PIXELS = """
import os
from typing import Optional
import greenroom

actor = greenroom.ActorEnvironment(name="again", replica_count=2)

@actor.task
def classify(batch: list[str]) -> int:
    print("loading", batch[0])
    if batch[0].endswith("7.png") and not os.path.exists(os.environ["FIXED"]):
        raise ValueError("bad pixel")
    return len(batch)

@greenroom.task
def batches(n: int) -> list[list[str]]:
    return [[f"img_{x:03}.png"] for x in range(n)]

@greenroom.task(cache=True)
def total(xs: list[Optional[int]]) -> int:
    return sum(x or 0 for x in xs)

@greenroom.workflow
def wf(n: int = 10) -> int:
    return total(xs=greenroom.map(classify, concurrency=1)(batch=batches(n=n)))

@greenroom.workflow
def most(n: int = 20) -> int:
    return total(xs=greenroom.map(classify, min_success_ratio=0.5)(batch=batches(n=n)))
"""


def ran(person: Person, execution: str) -> Counter[str]:
    """Calls that an execution made itself, by node."""
    finished = [event for event in person.events(execution) if event["kind"] == "calls_finished"]
    counts: Counter[str] = Counter()
    for event in finished:
        counts[event["node"]] += event["count"]
    return counts


def test_only_what_failed_runs_again(shared: Person) -> None:
    """
    The failure names two commands. One makes the call here, under pdb; the other runs the failed item and the rest,
    with the code of then and the environment of then, and takes over what succeeded.
    """
    shared.write("again.py", PIXELS)
    fixed = shared.work / "fixed"
    failed = shared.greenroom("run", "again.py", "wf", env={"FIXED": str(fixed)})
    (hint,) = [line for line in failed.err.splitlines() if line.startswith("  here, in pdb:  greenroom ")]
    (again,) = [line for line in failed.err.splitlines() if line.startswith("  only these:    greenroom ")]
    shared.write("again.py", "this is no Python any more")

    stepped = shared.shell(f"printf 'p batch\\nc\\nq\\n' | FIXED={fixed} {hint.partition(':')[2].strip()}")
    fixed.touch()
    repeated = shared.shell(again.partition(":")[2].strip())

    assert (1, 1) == (failed.code, stepped.code)
    assert "['img_007.png']" in stepped.out
    assert "ValueError: bad pixel" in stepped.err
    assert (0, "10\n") == (repeated.code, repeated.out)
    assert {"classify": 3, "total": 1} == dict(ran(shared, shared.last()))
    assert "cached, from" in repeated.err


def test_recover_keeps_nodes_that_succeeded_and_a_rerun_of_failed_items_does_not(shared: Person) -> None:
    """
    A map that could bear its failures is left alone by `recover`; `rerun --failed` tries its failed items again, and
    a rerun of all takes nothing over.
    """
    shared.write("again2.py", PIXELS)
    fixed = shared.work / "fixed2"
    env = {"FIXED": str(fixed)}
    assert shared.run("again2.py", "most", env=env) == 18
    first = shared.last()
    fixed.touch()

    recovered, kept = shared.greenroom("recover", first), ran(shared, shared.last())
    failed, some = shared.greenroom("rerun", first, "--failed"), ran(shared, shared.last())
    whole, every = shared.greenroom("rerun", first, "--name", "whole-again"), ran(shared, shared.last())

    assert (18, 20, 20) == (recovered.value, failed.value, whole.value)
    assert {} == dict(kept)
    assert {"classify": 2, "total": 1} == dict(some)
    assert {"batches": 1, "classify": 20} == dict(every)  # The last task's result is cached by then.
    assert "whole-again" == shared.last()


def test_what_cannot_be_repeated_says_so(shared: Person) -> None:
    """
    Who repeats an execution that is none, or a call that is none, hears which ones there are; exit code 2.
    """
    shared.write("again3.py", PIXELS)
    shared.run("again3.py", "most", "--n", "2", env={"FIXED": "/"})

    answers = [
        shared.greenroom(*words)
        for words in (["rerun", "nope-1"], ["debug", "last/classify"], ["debug", "last/classify/99"], ["debug", "last"])
    ]

    assert [2, 2, 2, 2] == [answer.code for answer in answers]
    told = [answer.err for answer in answers]
    for part, text in zip(["no execution", "a map of 2 items", "makes 2", "has not failed"], told, strict=True):
        assert part in text


def test_cached_results_are_used_listed_refreshed_and_dropped(shared: Person) -> None:
    """
    The second run takes the result of the first and says from where; `--overwrite-cache` runs it; a dropped one is run.
    """
    shared.write("again4.py", PIXELS.replace("def total", "def sum_up").replace("total(", "sum_up("))
    env = {"FIXED": "/"}

    counts = []
    shared.run("again4.py", "wf", "--n", "3", env=env)
    first = shared.last()
    second = shared.greenroom("run", "again4.py", "wf", "--n", "3", env=env)
    counts.append(ran(shared, shared.last())["sum_up"])
    shared.run("--overwrite-cache", "again4.py", "wf", "--n", "3", env=env)
    counts.append(ran(shared, shared.last())["sum_up"])
    listed = shared.greenroom("results", "--task", "sum_up")
    dropped = shared.greenroom("results", "--drop", "--task", "again4.sum_up")
    shared.run("again4.py", "wf", "--n", "3", env=env)
    counts.append(ran(shared, shared.last())["sum_up"])

    assert [0, 1, 1] == counts
    assert f"cached, from {first}" in second.err
    assert listed.out.splitlines()[0].split() == ["TASK", "VERSION", "FROM", "RESULTS", "KEPT"]
    assert "again4.sum_up" in listed.out
    assert "1 cached result dropped" in dropped.err
    assert 2 == shared.greenroom("results", "--drop").code


def test_maps_over_maps_and_conditions_on_their_items(shared: Person) -> None:
    """
    What follows from a map in the turn that records its last outcome reads it all the same.
    """
    shared.write(
        "chain.py",
        """
import greenroom
from greenroom import conditional

actor = greenroom.ActorEnvironment(name="again", replica_count=2)

@actor.task
def inc(n: int) -> int:
    return n + 1

@greenroom.workflow
def wf(xs: list[int] = [1, 2, 3]) -> tuple[list[int], int]:
    a = greenroom.map(inc)(n=xs)
    b = greenroom.map(inc)(n=a)
    return b, conditional("c").if_(b[0] > 1).then(inc(n=a[1])).else_().then(inc(n=a[2]))
""",
    )

    assert [[3, 4, 5], 4] == shared.run("chain.py")


EAGER = """
import os, time
import greenroom

actor = greenroom.ActorEnvironment(name="nesting", replica_count=1)

@actor.task
def step(n: int) -> int:
    with open(os.path.join(os.environ["SEEN"], str(n)), "a") as seen:
        seen.write("x")
    while not os.path.exists(os.path.join(os.environ["SEEN"], f"go-{n}")):
        time.sleep(0.01)
    return n

@actor.task(execution_mode="eager")
async def parent(n: int) -> list[int]:
    return [await step(n=i) for i in range(n)]

@greenroom.workflow
def wf(n: int) -> list[int]:
    return parent(n=n)
"""


def test_a_hub_killed_under_an_eager_task(person: Person) -> None:
    """
    On a pool of one replica an eager task runs beside its calls. The hub is killed in the middle: what had ended is not
    run again, what ran goes on, and the caller hears of both.
    """
    person.write("eager.py", EAGER)
    seen = person.work / "seen"
    seen.mkdir()
    running = person.start("run", "eager.py", "wf", "--n", "4", env={"SEEN": str(seen)})
    (seen / "go-0").touch()
    person.wait_until(lambda: (seen / "1").exists(), "the second call", 30)

    person.kill_hub()
    for n in (1, 2, 3):
        (seen / f"go-{n}").touch()
    done = running.wait()

    assert (0, [0, 1, 2, 3]) == (done.code, done.value)
    assert ["x"] * 4 == [(seen / str(n)).read_text() for n in range(4)]
    assert 5 == len(person.get("/api/executions/last")["nodes"])
