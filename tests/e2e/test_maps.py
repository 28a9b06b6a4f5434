"""Maps over real replicas: files that never meet, random numbers that never repeat, items that fail. No sleeps."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.harness import Person

FILES = """
from pathlib import Path
import greenroom

actor = greenroom.ActorEnvironment(name="writers", replica_count=4)

@greenroom.task
def numbers(n: int) -> list[int]:
    return list(range(n))

@actor.task
def write(x: int) -> greenroom.File:
    path = Path("out.txt")
    path.write_text(f"item {x}")
    return path

@actor.task
def check(files: list[greenroom.File]) -> str:
    wrong = [n for n, file in enumerate(files) if Path(file).read_text() != f"item {n}"]
    return f"{len(files)} files, {len(wrong)} wrong"

@greenroom.workflow
def wf(n: int = 2000) -> tuple[str, list[greenroom.File]]:
    files = greenroom.map(write)(x=numbers(n=n))
    return check(files=files), files
"""


def test_files_of_one_name(shared: Person) -> None:
    """
    2,000 calls on 4 replicas write one relative name each: all contents are right, in a task and for the person, and
    nothing is written where the person works.
    """
    shared.write("flow.py", FILES)
    before = sorted(path.name for path in shared.work.iterdir())

    told, files = shared.run("flow.py", "wf")

    assert told == "2000 files, 0 wrong"
    assert [Path(file["path"]).read_text() for file in files] == [f"item {x}" for x in range(2000)]
    assert {Path(file["path"]).name for file in files} == {"out.txt"}
    assert sorted(path.name for path in shared.work.iterdir()) == before


def test_random_numbers(shared: Person) -> None:
    """A thousand unseeded calls over 2 replicas give a thousand different numbers, of Python's and of numpy's."""
    shared.write(
        "chance.py",
        """
import random
import numpy
import greenroom

actor = greenroom.ActorEnvironment(name="gamblers", replica_count=2)

@actor.task
def draw(x: int) -> list[float]:
    return [random.random(), numpy.random.random(), float(numpy.random.default_rng().random())]

@greenroom.workflow
def wf(xs: list[int]) -> list[list[float]]:
    return greenroom.map(draw)(x=xs)
""",
    )
    shared.write("xs.json", '{"xs": ' + str(list(range(1000))) + "}")

    drawn = shared.run("--inputs-file", "xs.json", "chance.py", "wf")

    assert [len(set(column)) for column in zip(*drawn, strict=True)] == [1000, 1000, 1000]


def test_seeded_numbers(shared: Person) -> None:
    """A generator that the module seeds starts each call from that seed, as in a fresh process."""
    shared.write(
        "seeded.py",
        """
import random
import greenroom

random.seed(7)
actor = greenroom.ActorEnvironment(name="gamblers", replica_count=2)

@actor.task
def draw(x: int) -> float:
    return random.random()

@greenroom.workflow
def wf(xs: list[int] = list(range(40))) -> list[float]:
    return greenroom.map(draw)(x=xs)
""",
    )

    assert len(set(shared.run("seeded.py"))) == 1


FAILING = """
from typing import Optional
import greenroom

actor = greenroom.ActorEnvironment(name="pixels", replica_count=2)

@actor.task
def classify(batch: list[str]) -> int:
    print("loading", batch[0])
    if batch[0].endswith("17.png"):
        return predict(batch)
    return len(batch)

def predict(batch):
    raise ValueError("bad pixel")

@greenroom.task
def batches(n: int) -> list[list[str]]:
    return [[f"img_{x:03}.png"] for x in range(n)]

@greenroom.workflow
def wf(n: int = 40) -> list[int]:
    return greenroom.map(classify)(batch=batches(n=n))

@greenroom.workflow
def most(n: int = 40) -> list[Optional[int]]:
    return greenroom.map(classify, min_success_ratio=0.9)(batch=batches(n=n))

@greenroom.workflow
def one() -> int:
    return classify(batch=["img_017.png"])
"""


def test_a_failed_item(shared: Person) -> None:
    """The user's own traceback and paths, the item's input, its last output; exit code 1 and no result."""
    program = shared.write("pixels.py", FAILING)
    line = 1 + FAILING.splitlines().index('    raise ValueError("bad pixel")')

    done = shared.greenroom("run", "pixels.py", "wf")

    assert (done.code, done.out) == (1, "")
    assert "FAIL classify/17  ValueError: bad pixel" in done.err
    assert f'File "{program.name}", line {line}, in predict' in done.err
    assert 'raise ValueError("bad pixel")' in done.err
    assert "img_017.png" in done.err.partition("  input   ")[2].partition("\n")[0]
    assert 'last output: "loading img_017.png"' in done.err
    for ours in ("greenroom_replica", "greenroom_core", str(shared.state)):
        assert ours not in done.err


def test_a_failed_task(shared: Person) -> None:
    """The same for a task that is no map's."""
    shared.write("pixels.py", FAILING)

    done = shared.greenroom("run", "pixels.py", "one")

    assert (done.code, done.out) == (1, "")
    assert "FAIL classify  ValueError: bad pixel" in done.err
    assert "  map  " not in done.err


def test_items_may_fail(shared: Person) -> None:
    """With a ratio of successes that is met, a failed item is null and the rest counts."""
    shared.write("pixels.py", FAILING)

    values = shared.run("pixels.py", "most")

    assert values == [None if x == 17 else 1 for x in range(40)]
