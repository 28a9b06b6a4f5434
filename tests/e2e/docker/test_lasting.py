"""Containers outlive their hub, and go when they are not needed."""

from __future__ import annotations

import json
import os

from tests.e2e.docker.engine import IMAGE, Containers, docker, flow, inspect
from tests.e2e.harness import PATIENCE, wait_for

COUNTED = """
import os
import socket
import time
import greenroom

actor = greenroom.ActorEnvironment(name="ten", replica_count=10, ttl_seconds=600)

@greenroom.actor_cache
def where() -> str:
    time.sleep(0.3)
    return socket.gethostname()

@actor.task
def visit(x: int) -> str:
    name = where()
    time.sleep({nap})
    return name

@greenroom.workflow
def wf(xs: list[int]) -> list[str]:
    return greenroom.map(visit)(x=xs)
"""


def test_ten_containers_outlive_their_hub(hub: Containers) -> None:
    """
    A hub that was killed finds its ten containers again: none is started anew, entries are still warm.
    """
    hub.serve()
    hub.person.write("ten.py", COUNTED.format(nap=0.2))
    xs = json.dumps(list(range(40)))
    first = set(hub.person.run("ten.py", "wf", "--xs", xs))
    before = hub.all()

    hub.person.kill_hub()
    hub.serve()
    wait_for(lambda: len(hub.person.replicas("ten")) == 10, "ten replicas", PATIENCE)
    second = hub.person.run("ten.py", "wf", "--xs", xs)

    assert len(first) == len(before) == 10
    assert hub.all() == before
    assert set(second) <= first
    assert hub.misses() == 0


def test_calls_that_run_survive_the_hub(hub: Containers) -> None:
    """
    Calls that a container runs while its hub is killed are not run again.
    """
    port = 20_000 + os.getpid() % 20_000
    hub.serve("--port", str(port))
    hub.person.write("long.py", flow("import time; time.sleep(8); return os.getpid()"))
    running = hub.person.start("run", "--hub", f"http://127.0.0.1:{port}", "--name", "long", "long.py", "wf")
    wait_for(lambda: "long" in hub.log and hub.person.warm("actor"), "the replica", PATIENCE)
    wait_for(lambda: any("calls_started" == e["kind"] for e in hub.person.events("long")), "the call", PATIENCE)
    before = hub.all()

    hub.person.kill_hub()
    hub.serve()
    done = running.wait()

    assert done.code == 0, done.err
    assert hub.all() == before
    assert not [event for event in hub.person.events("long") if event["kind"] == "calls_lost"]


def test_a_hundred_environments_come_and_go(hub: Containers) -> None:
    """
    A hundred environments, each with a container for a second: nothing of them is left in the engine or on the disk.
    """
    hub.serve()
    hub.person.write(
        "many.py",
        "import greenroom\n"
        + "".join(
            f"""
@greenroom.ActorEnvironment(name="e{n}", ttl_seconds=1).task
def work{n}(x: int) -> int:
    return x + {n}
"""
            for n in range(100)
        )
        + """
@greenroom.workflow
def wf(x: int = 0) -> list[int]:
    return [{}]
""".format(", ".join(f"work{n}(x=x)" for n in range(100))),
    )
    done = hub.person.start("run", "many.py", "wf").wait(240)

    assert done.code == 0, done.err[-2000:]
    assert done.value == list(range(100))
    wait_for(lambda: not hub.all(), "containers to go", 60)
    files = [path for path in hub.person.state.rglob("*") if "scratch" in str(path) or path.suffix == ".sock"]
    assert {path.name for path in files} <= {"hub.sock", "scratch"}


def test_stop_leaves_nothing(hub: Containers) -> None:
    """
    A hub that is told to stop takes its containers with it, also one whose engine it hears nothing from.
    """
    hub.serve()
    hub.person.write("flow.py", flow("return x", min_replicas=1))
    hub.person.run("flow.py", "wf")
    assert len(hub.all()) == 1

    hub.stop()

    assert hub.all() == {}


def test_volumes_of_an_image_go_with_its_containers(hub: Containers) -> None:
    """
    An image that declares a volume gets one for each container; it is removed with the container.
    """
    image = f"greenroom-test-volume:{os.getpid()}"
    docker("build", "--quiet", "--tag", image, "-", text=f"FROM {IMAGE}\nVOLUME /data\n")
    try:
        hub.serve()
        hub.person.write("flow.py", flow("return x", container_image=f'"{image}"'))
        hub.person.run("flow.py", "wf")
        volumes = [mount["Name"] for mount in inspect(next(iter(hub.all())))["Mounts"] if mount["Type"] == "volume"]

        hub.stop()

        assert len(volumes) == 1
        assert volumes[0] not in docker("volume", "ls", "--quiet").split()
    finally:
        docker("image", "rm", "--force", image)
