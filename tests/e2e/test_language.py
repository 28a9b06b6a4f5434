"""What programs give on warm replicas: own examples of what the document's programs do. Sleeps up to 0.5 s a load."""

from __future__ import annotations

from tests.e2e.harness import Person

ENVIRONMENT = """
import greenroom
from greenroom import task, workflow, ActorEnvironment

actor = ActorEnvironment(name="my-actor", replica_count=1)
"""


def test_values_pass_from_task_to_task(shared: Person) -> None:
    """Four calls in a row on one replica give what they would give in one process."""
    shared.write(
        "plus.py",
        ENVIRONMENT
        + """
@actor.task
def plus_one(input: int) -> int:
    return input + 1

@workflow
def wf(input: int = 0) -> int:
    return plus_one(input=plus_one(input=plus_one(input=input)))
""",
    )

    value = shared.run("plus.py", "wf", "--input", 4)

    assert value == 7
    assert len(shared.replicas("my-actor")) == 1


def test_no_output_is_null(shared: Person) -> None:
    """A workflow without outputs prints `null`."""
    shared.write(
        "hello.py",
        ENVIRONMENT + "@actor.task\ndef hello() -> str:\n    return 'x'\n@workflow\ndef wf():\n    hello()\n",
    )

    assert shared.run("hello.py") is None


def test_launch_plan_is_an_execution_of_its_own(shared: Person) -> None:
    """A sub-workflow runs inside its parent's execution, a launch plan's call as another one; one replica serves."""
    shared.write(
        "family.py",
        ENVIRONMENT
        + """
@actor.task
def say_hello(name: str) -> str:
    return f"hello {name}"

@actor.task
def scream_hello(name: str) -> str:
    return f"HELLO {name}"

@workflow
def child(name: str) -> str:
    return scream_hello(name=name)

plan = greenroom.LaunchPlan.get_default_launch_plan(greenroom.current_context(), child)

@workflow
def parent(name: str) -> str:
    return plan(name=child(name=say_hello(name=name)))
""",
    )

    value = shared.run("family.py", "parent", "--name", "Bob")

    assert value == "HELLO HELLO hello Bob"
    child, parent = shared.executions()[:2]
    assert child["parent"].startswith(parent["id"])
    assert len(shared.replicas("my-actor")) == 1


CACHED = (
    ENVIRONMENT
    + """
from time import sleep

@greenroom.actor_cache
def load_model(state: int):
    sleep(0.5)
    return lambda value: state + value

@actor.task
def evaluate(value: int, state: int) -> int:
    return load_model(state=state)(value)

@workflow
def wf(init_value: int = 1, state: int = 3) -> int:
    out = init_value
    for _ in range(4):
        out = evaluate(value=out, state=state)
    return out
"""
)


def test_actor_cache_pays_one_load(shared: Person) -> None:
    """Four calls pay one load; a second run pays none, and its four calls are executed, not taken from the first."""
    shared.write("cached.py", CACHED)

    first, second = shared.greenroom("run", "cached.py"), shared.greenroom("run", "cached.py")

    assert (first.value, second.value) == (13, 13)
    told = [event for event in shared.events(shared.last()) if event["kind"] == "calls_finished"]
    assert sum(event["count"] for event in told) == 4
    assert sum(entry["hits"] for event in told for entry in event["cache"]) == 4
    assert not any(entry["misses"] for event in told for entry in event["cache"])
    assert "warm replicas saved" in second.err


def test_map_loads_once_on_each_replica(shared: Person) -> None:
    """A map over two replicas loads at most twice, then not at all; a cached task's file is the same key both times."""
    shared.write(
        "mapped.py",
        """
from functools import partial
from pathlib import Path
from time import sleep
import greenroom

actor = greenroom.ActorEnvironment(name="pair", replica_count=2)

@greenroom.task(cache=True, cache_version="v1")
def create_state() -> greenroom.File:
    path = Path(greenroom.current_context().working_directory) / "state.txt"
    path.write_text("4")
    return path

@greenroom.actor_cache
def load_model(state: greenroom.File) -> int:
    sleep(0.3)
    with state.open("r") as file:
        return int(file.read())

@actor.task
def inference(value: int, state: greenroom.File) -> int:
    return load_model(state) * value

@greenroom.workflow
def wf(values: list[int] = list(range(20))) -> list[int]:
    return greenroom.map(partial(inference, state=create_state()))(value=values)
""",
    )

    loads = []
    for _ in range(2):
        assert shared.run("mapped.py") == list(range(0, 80, 4))
        told = [entry for event in shared.events(shared.last()) for entry in event.get("cache", ())]
        loads.append(sum(entry["misses"] for entry in told))

    assert 1 <= loads[0] <= 2
    assert loads[1] == 0


def test_state_of_one_call_is_not_seen_by_the_next(shared: Person) -> None:
    """What a call leaves in the environment, in globals and in the folder's name is gone for the next one."""
    shared.write(
        "reset.py",
        ENVIRONMENT
        + """
import os
from typing import Optional
seen = []

@actor.task
def first() -> str:
    os.environ["RUN_KEY"] = "run_time"
    seen.append(1)
    os.chdir("/")
    return os.getcwd()

@actor.task
def second(after: str) -> str:
    return f"{os.getenv('RUN_KEY')} {len(seen)} {os.getcwd() == '/'}"

@actor.task
def third(after: str) -> str:
    return os.getenv("RUN_KEY")

@workflow
def wf() -> tuple[str, str]:
    a = first()
    return second(after=a), third(after=a)
""",
    )

    done = shared.greenroom("run", "reset.py")

    assert done.value == ["None 0 False", None]
    assert "third" in done.err.splitlines()[-2] + done.err.splitlines()[-1]


def test_empty_map_is_an_empty_list(shared: Person) -> None:
    """A map over nothing ends at once."""
    shared.write(
        "empty.py",
        ENVIRONMENT
        + """
@actor.task
def double(x: int) -> int:
    return 2 * x

@workflow
def wf(xs: list[int]) -> list[int]:
    return greenroom.map(double)(x=xs)
""",
    )

    assert shared.run("empty.py", "--xs", "[]") == []
    assert shared.run("empty.py", "--xs", "[1, 2]") == [2, 4]


def test_conditions_secrets_and_named_outputs(shared: Person) -> None:
    """A NamedTuple's fields name the outputs; a secret comes from the submitter's shell and is not printed."""
    shared.write(
        "named.py",
        """
from typing import NamedTuple
import greenroom

actor = greenroom.ActorEnvironment(name="secretive", secret_requests=[greenroom.Secret(key="api_key")])
Both = NamedTuple("Both", [("size", int), ("text", str)])

@actor.task
def look(n: int) -> Both:
    key = greenroom.current_context().secrets.get(key="api_key")
    print("the key is", key)
    return Both(len(key) + n, "x")

@greenroom.workflow
def wf(n: int = 1) -> Both:
    return look(n=n)
""",
    )

    done = shared.greenroom("run", "named.py", env={"_FSEC_API_KEY": "hush-hush-1"})
    missing = shared.greenroom("run", "named.py")

    assert done.value == {"size": 12, "text": "x"}
    assert "hush-hush-1" not in done.err
    assert (missing.code, "_FSEC_API_KEY" in missing.err) == (1, True)
