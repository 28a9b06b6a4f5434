"""The document's programs, unmodified, where they lie beside the checkout. Their loads sleep 16 s in all."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.harness import Done, Person, visiting

PROGRAMS = Path(__file__).parents[2].parent / "shared" / "union_examples"

pytestmark = pytest.mark.skipif(not PROGRAMS.is_dir(), reason=f"the document's programs are not in {PROGRAMS}")


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    """Somebody who types the document's commands one after the other, on one hub."""
    with visiting(tmp_path_factory.mktemp("documents") / "person") as person:
        yield person


def needs(library: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(importlib.util.find_spec(library) is None, reason=f"{library} is not installed")


def run(person: Person, file: str, *words: str) -> Done:
    done = person.greenroom("run", PROGRAMS / file, *words)
    assert done.code == 0, done.err
    return done


def cache_figures(person: Person) -> tuple[int, int, int]:
    """Calls that were executed, hits and misses of the last execution, by its events."""
    told = [event for event in person.events(person.last()) if event["kind"] == "calls_finished"]
    entries = [entry for event in told for entry in event["cache"]]
    return (
        sum(event["count"] for event in told),
        sum(entry["hits"] for entry in entries),
        sum(entry["misses"] for entry in entries),
    )


def test_hello_world(reader: Person) -> None:
    """No output is null."""
    assert run(reader, "hello_world.py", "wf").value is None


def test_plus_one(reader: Person) -> None:
    """Four calls of one task."""
    assert run(reader, "plus_one.py", "wf", "--input", "3").value == 7


def test_multiple_tasks(reader: Person) -> None:
    """The launch plan's call is an execution of its own; one replica served all."""
    before = len(reader.executions())

    done = run(reader, "multiple_tasks.py", "my_parent_wf", "--name", "Bob")

    assert done.value == "HELLO HELLO hello Bob"
    child, parent = reader.executions()[:2]
    assert len(reader.executions()) == before + 2
    assert child["parent"].startswith(parent["id"])
    used = {
        event["replica"] for id in (child["id"], parent["id"]) for event in reader.events(id) if event.get("replica")
    }
    assert len(used) == 1


def test_custom_object_as_a_key(reader: Person) -> None:
    """Four objects that are equal by their own `__eq__` pay one load of 2 s."""
    done = run(reader, "caching_custom_object.py", "wf")

    assert done.value == 2
    assert cache_figures(reader) == (4, 3, 1)


@needs("scipy")
def test_refactored(reader: Person) -> None:
    """Floats of lists, and a map over a cached task."""
    assert run(reader, "refactored.py", "distance_add_wf", "--point_a", "[0,0]", "--point_b", "[3,4]").value == 6.5
    assert run(reader, "refactored.py", "is_even_wf", "--point_a", "[1,2]").value == [False, True]


@needs("kubernetes")
def test_pod_template(reader: Person) -> None:
    """The pod's variable is there at the first node; what the first node set is gone at the second, with a warning."""
    done = run(reader, "pod_template.py", "wf")

    assert done.value == ["compile_time", None]
    last = done.err.splitlines()[-3:]
    assert any("check_set" in line and "None" in line for line in last), done.err


@pytest.mark.alone
def test_caching_basic(reader: Person) -> None:
    """One load of 4 s, not four; a second run within 1 s, its four calls executed and served by the entry."""
    first = run(reader, "caching_basic.py", "wf")
    figures = cache_figures(reader)
    second = run(reader, "caching_basic.py", "wf")

    assert (first.value, second.value) == (13, 13)
    assert first.seconds < 6.5
    assert figures == (4, 3, 1)
    assert second.seconds < 1.0
    assert cache_figures(reader) == (4, 4, 0)


@pytest.mark.alone
def test_caching_map_task(reader: Person) -> None:
    """At most two loads of 10 s, at the same time; then none."""
    first = run(reader, "caching_map_task.py", "run_inference")
    executed, hits, misses = cache_figures(reader)
    second = run(reader, "caching_map_task.py", "run_inference")

    assert first.value == second.value == list(range(0, 80, 4))
    assert first.seconds < 12.5
    assert (executed >= 20, hits + misses >= 18, 1 <= misses <= 2) == (True, True, True)
    assert second.seconds < 1.0
    assert cache_figures(reader)[2] == 0
