"""The hub is killed with -9 while it works. Maps of 2,000 calls of 10 ms on 8 replicas: 2.5 s of sleep each."""

from __future__ import annotations

import os
import signal

import pytest

from tests.e2e.harness import Person, is_alive

MAP = """
import time
import greenroom

actor = greenroom.ActorEnvironment(name="sleepers", replica_count=8)

@greenroom.actor_cache
def offset() -> int:
    time.sleep(0.05)
    return 7

@actor.task
def slow(x: int) -> int:
    time.sleep(0.01)
    return x + offset()

@greenroom.workflow
def wf(n: int) -> list[int]:
    return greenroom.map(slow)(x=numbers(n=n))

@greenroom.task
def numbers(n: int) -> list[int]:
    return list(range(n))
"""


def done_so_far(person: Person, execution: str) -> int:
    return sum(person.recorded(execution, "slow").values())


@pytest.mark.parametrize("who", ["the client", "somebody else"])
def test_hub_killed_in_the_middle_of_a_map(person: Person, who: str) -> None:
    """
    The execution ends right, each item recorded once; replicas are attached again with their entries.

    Once the client that watches starts the hub again, once somebody else does; the client goes on either way.
    """
    person.write("flow.py", MAP)
    watching = person.start("run", "--name", "big", "flow.py", "wf", "--n", 2000)
    person.wait_until(lambda: (person.state / "hub.json").exists(), "the hub")
    person.wait_until(lambda: person.ask("GET", "/api/executions/big").status == 200, "the execution")
    person.wait_until(lambda: done_so_far(person, "big") >= 300, "some results")
    before = person.warm("sleepers")

    old = person.kill_hub()
    if who == "somebody else":
        assert person.greenroom("hub", "start").code == 0
    done = watching.wait()

    assert done.code == 0, done.err
    assert done.value == [x + 7 for x in range(2000)]
    assert person.record["pid"] != old
    recorded = person.recorded("big", "slow")
    assert sorted(recorded) == list(range(2000))
    assert set(recorded.values()) == {1}
    assert person.warm("sleepers") == before
    told = [entry for event in person.events("big") for entry in event.get("cache", ())]
    assert sum(entry["misses"] for entry in told if "offset" in entry["loader"]) <= 8


def test_an_acknowledged_submission_survives(person: Person) -> None:
    """An execution that was left to the hub ends after the hub's crash, once somebody starts it again."""
    person.write("flow.py", MAP)
    id = person.greenroom("run", "--detach", "flow.py", "wf", "--n", 100).out.strip()

    person.kill_hub()
    done = person.greenroom("watch", id)

    assert done.code == 0, done.err
    outputs = person.greenroom("outputs", id)
    assert outputs.value == [x + 7 for x in range(100)]


def test_replica_killed(person: Person) -> None:
    """A replica that is killed loses nothing: its calls run again, on another one."""
    person.write("flow.py", MAP)
    watching = person.start("run", "--name", "hit", "flow.py", "wf", "--n", 400)
    person.wait_until(lambda: (person.state / "hub.json").exists(), "the hub")
    person.wait_until(lambda: person.ask("GET", "/api/executions/hit").status == 200, "the execution")
    person.wait_until(lambda: done_so_far(person, "hit") >= 100, "some results")
    victim = next(iter(person.warm("sleepers").values()))

    os.kill(victim, signal.SIGKILL)
    done = watching.wait()

    assert done.code == 0, done.err
    assert done.value == [x + 7 for x in range(400)]
    assert set(person.recorded("hit", "slow").values()) == {1}
    assert not is_alive(victim)


def test_stop_after_a_crash_ends_the_replicas(person: Person) -> None:
    """`hub stop` after a crash of the hub ends the replicas that it left; nothing waits for a minute."""
    person.write("flow.py", MAP)
    assert person.run("flow.py", "wf", "--n", 4) == [7, 8, 9, 10]
    replicas = person.warm()

    person.kill_hub()
    done = person.greenroom("hub", "stop")

    assert done.code == 0, done.err
    person.wait_until(lambda: not any(map(is_alive, replicas.values())), "the replicas' end", 5.0)
    assert person.processes() == []


WAITING = """
import time
from pathlib import Path
import greenroom

@greenroom.task
def wait(flag: str) -> str:
    while not Path(flag).exists():
        time.sleep(0.02)
    return "seen"
"""


def test_client_gives_up_on_a_hub_that_was_stopped(person: Person) -> None:
    """
    Who stops the hub means it: a client that watches ends with code 3 and says how to go on, and does not start it
    again. The execution goes on with the next hub.
    """
    person.write("wait.py", WAITING)
    flag = person.work / "flag"
    watching = person.start("run", "--name", "left", "wait.py", "wait", "--flag", flag)
    person.wait_until(lambda: (person.state / "hub.json").exists(), "the hub")
    person.wait_until(lambda: person.ask("GET", "/api/executions/left").status == 200, "the execution")

    assert person.greenroom("hub", "stop").code == 0
    done = watching.wait()
    running = (person.state / "hub.json").exists()
    flag.touch()
    again = person.greenroom("watch", "left")

    assert (done.code, done.out, running) == (3, "", False)
    assert "left goes on" in done.err.splitlines()[-1]
    assert "greenroom hub start" in done.err.splitlines()[-1]
    assert (again.code, again.out) == (0, '"seen"\n'), again.err
