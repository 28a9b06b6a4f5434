"""Replicas as containers of a real Docker engine."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.containers import IMAGE, Containers, docker, everything, inspect, lacking, left_behind, require
from tests.e2e.harness import visiting, wait_for

DOCUMENTS = Path(__file__).parents[3] / "shared" / "tools" / "documents"

FLOW = """
import os
import greenroom

actor = greenroom.ActorEnvironment({options})

@greenroom.actor_cache
def load() -> int:
    return os.getpid()

@actor.task
def work(x: int) -> int:
    load()
    {body}

@greenroom.workflow
def wf(x: int = 1) -> int:
    return work(x=x)
"""

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


def flow(body: str, **options: object) -> str:
    """A program of one task."""
    told = ", ".join(f"{name}={value}" for name, value in {"name": '"actor"', **options}.items())
    return FLOW.format(options=told, body=body)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Containers]:
    """A hub with containers; at the end nothing of it is left, here or in the engine."""
    require("docker", lacking())
    before = everything()
    with visiting(tmp_path / "person") as person:
        hub = Containers(person)
        yield hub
        if hub.serving is not None:
            hub.stop()
    assert left_behind(before) == {}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Containers]:
    """One hub for all tests that leave it as it was."""
    require("docker", lacking())
    with visiting(tmp_path_factory.mktemp("docker") / "person") as person:
        hub = Containers(person)
        hub.serve("--image", f"myrepo/*={IMAGE}")
        yield hub
        hub.stop()


# What is right --------------------------------------------------------------------------------------------------------


def test_a_program_runs_in_a_container(shared: Containers) -> None:
    """
    A call runs in a container of the replica image: as nobody, without privileges, in a file system of its own.
    """
    shared.person.write("where.py", flow("return os.getuid()"))

    assert shared.person.run("where.py", "wf") != 0

    container = next(name for name, replica in shared.all().items() if "actor" in replica)
    told = inspect(container)
    assert told["HostConfig"]["CapDrop"] == ["ALL"]
    assert told["HostConfig"]["SecurityOpt"] == ["no-new-privileges:true"]
    assert told["HostConfig"]["PidsLimit"] > 0
    assert {(mount["Destination"], mount["RW"]) for mount in told["Mounts"]} == {
        ("/greenroom/link", False),
        ("/greenroom/blobs", False),
    }


def test_the_document_s_programs(hub: Containers, tmp_path: Path) -> None:
    """
    The document's programs are right on containers, as they are, and warm the second time.
    """
    if not DOCUMENTS.exists():
        pytest.skip("the document's programs do not lie beside this checkout")
    hub.serve("--image", f"myrepo/*={IMAGE}")
    environment = {**hub.person.env, "GREENROOM_TOKEN": hub.person.token, "TMPDIR": str(tmp_path)}

    told = subprocess.run(
        [str(DOCUMENTS), "--hub", str(hub.person.record["url"])],
        capture_output=True, text=True, env=environment, timeout=300, check=False,
    )  # fmt: skip

    lines = [line for line in told.stdout.splitlines() if not line.startswith("SLOW")]
    assert [line for line in lines if not line.startswith("ok ")] == [], told.stdout
    assert len(lines) == 11


def test_large_values_travel(shared: Containers) -> None:
    """
    What a container makes is sent to the hub, and read from the mounted blobs by the next one.
    """
    shared.person.write(
        "large.py",
        """
import greenroom

one = greenroom.ActorEnvironment(name="one")
two = greenroom.ActorEnvironment(name="two")

@one.task
def make(n: int) -> bytes:
    return b"x" * n

@two.task
def measure(data: bytes) -> int:
    return len(data)

@greenroom.workflow
def wf(n: int) -> int:
    return measure(data=make(n=n))
""",
    )

    assert shared.person.run("large.py", "wf", "--n", 3_000_000) == 3_000_000


def test_a_regular_task_has_a_container_for_each_call(shared: Containers) -> None:
    """
    Each call of a plain task sees a container that nobody has used before.
    """
    shared.person.write(
        "plain.py",
        """
import pathlib
import socket
import greenroom

@greenroom.task
def visit(x: int) -> str:
    place = pathlib.Path("/tmp/been-here")
    assert not place.exists()
    place.touch()
    return socket.gethostname()

@greenroom.workflow
def wf(xs: list[int]) -> list[str]:
    return greenroom.map(visit)(x=xs)
""",
    )

    hosts = shared.person.run("plain.py", "wf", "--xs", "[1,2,3,4]")

    assert len(set(hosts)) == 4


def test_a_call_sees_what_its_environment_says(shared: Containers) -> None:
    """
    Variables, and cores for the libraries that count them.
    """
    shared.person.write(
        "env.py",
        flow('return int(os.environ["OMP_NUM_THREADS"]) * 10 + len(os.environ["WORD"])',
             environment={"WORD": "abc"}, requests='greenroom.Resources(cpu="2")'),
    )  # fmt: skip

    assert shared.person.run("env.py", "wf") == 23


def test_requests_and_limits_are_the_container_s(shared: Containers) -> None:
    """
    Limits are walls, requests are preferences of the engine.
    """
    asked = 'greenroom.Resources(cpu="1", mem="300Mi")'
    most = 'greenroom.Resources(cpu="1.5", mem="400Mi")'
    shared.person.write("limits.py", flow("return 1", name='"limited"', requests=asked, limits=most))

    shared.person.run("limits.py", "wf")

    container = next(name for name, replica in shared.all().items() if replica.startswith("limited"))
    limits = inspect(container)["HostConfig"]
    assert limits["Memory"] == limits["MemorySwap"] == 400 * 2**20
    assert limits["MemoryReservation"] == 300 * 2**20
    assert limits["NanoCpus"] == 1_500_000_000
    assert limits["CpuShares"] == 1024


# What goes wrong ------------------------------------------------------------------------------------------------------


def test_out_of_memory_is_one_clear_error_and_the_pool_heals(shared: Containers) -> None:
    """
    A task that takes 200 MB where 64 MiB are allowed fails with one sentence; the next call succeeds.
    """
    body = "return len(bytearray(200_000_000)) if x == 1 else x"
    shared.person.write("oom.py", flow(body, limits='greenroom.Resources(mem="64Mi")'))

    failed = shared.person.greenroom("run", "oom.py", "wf", "--x", 1)
    healed = shared.person.run("oom.py", "wf", "--x", 2)

    assert failed.code == 1, failed.err
    assert "out of memory" in failed.err
    assert "64 MiB" in failed.err
    assert healed == 2


def test_an_image_that_is_not_here(shared: Containers) -> None:
    """
    The call fails at once with the image's name and what to do.
    """
    shared.person.write("image.py", flow("return x", container_image='"ghcr.io/acme/nowhere:7"'))

    done = shared.person.greenroom("run", "image.py", "wf")

    assert done.code == 3 or done.code == 1
    assert "ghcr.io/acme/nowhere:7" in done.err
    assert "docker pull" in done.err
    assert done.seconds < 20


def test_an_image_without_greenroom(shared: Containers) -> None:
    """
    A container that cannot be a replica is told as what it is.
    """
    shared.person.write("bare.py", flow("return x", container_image='"greenroom-test-base:bookworm"'))

    done = shared.person.greenroom("run", "bare.py", "wf")

    assert done.code != 0
    assert "has no greenroom in its Python" in done.err


def test_an_image_spec_that_the_replica_image_satisfies(shared: Containers) -> None:
    """
    What the image has is used, whatever the spec calls itself.
    """
    spec = 'greenroom.ImageSpec(name="mine", packages=["union", "flytekitplugins-pod", "scipy>=1.0"])'
    shared.person.write("spec.py", flow("import scipy; return len(scipy.__version__)", container_image=spec))

    assert shared.person.run("spec.py", "wf") > 0


def test_an_image_spec_that_it_does_not_satisfy(shared: Containers) -> None:
    """
    The sentence names what is missing, what is there in another version, and what to build.
    """
    spec = 'greenroom.ImageSpec(name="mine", packages=["scipy>=99", "torch"])'
    shared.person.write("spec.py", flow("return x", container_image=spec))

    done = shared.person.greenroom("run", "spec.py", "wf")

    assert done.code != 0
    assert "scipy>=99 (it has " in done.err
    assert "torch (not installed)" in done.err
    assert "--build-arg PACKAGES=\"'scipy>=99' torch\"" in done.err


def test_a_container_that_is_killed(shared: Containers) -> None:
    """
    Its calls run again in another one, and the log says what ended the first.
    """
    shared.person.write("kill.py", flow("import time; time.sleep(0.05); return x", name='"killed"'))
    shared.person.run("kill.py", "wf")
    container = next(name for name, replica in shared.all().items() if replica.startswith("killed"))

    docker("kill", container)
    wait_for(lambda: container not in shared.all(), "its removal")

    assert shared.person.run("kill.py", "wf", "--x", 5) == 5
    assert "ended by SIGKILL" in shared.log


def test_no_engine(tmp_path: Path) -> None:
    """
    A hub whose engine is not there starts, and says so to whoever needs a container.
    """
    require("docker", lacking())
    with visiting(tmp_path / "person") as person:
        serving = person.start("hub", "serve", "--state", person.state, "--launcher", "docker",
                               "--docker-host", f"unix://{tmp_path}/nothing.sock")  # fmt: skip
        wait_for(lambda: (person.state / "hub.json").exists(), "the hub")
        person.write("flow.py", flow("return x"))

        done = person.greenroom("run", "flow.py", "wf")

        serving.process.terminate()
        serving.wait()
    assert done.code != 0
    assert "no Docker engine answers at unix://" in done.err
    assert "systemctl start docker" in done.err


# What lasts -----------------------------------------------------------------------------------------------------------


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
    wait_for(lambda: len(hub.person.replicas("ten")) == 10, "ten replicas")
    second = hub.person.run("ten.py", "wf", "--xs", xs)

    assert len(first) == len(before) == 10
    assert hub.all() == before
    assert set(second) <= first
    events = hub.person.events(hub.person.last())
    told = [entry for event in events if event["kind"] == "calls_finished" for entry in event["cache"]]
    assert sum(entry.get("misses") or 0 for entry in told) == 0


def test_calls_that_run_survive_the_hub(hub: Containers) -> None:
    """
    Calls that a container runs while its hub is killed are not run again.
    """
    port = 20_000 + os.getpid() % 20_000
    hub.serve("--port", str(port))
    hub.person.write("long.py", flow("import time; time.sleep(8); return os.getpid()"))
    running = hub.person.start("run", "--hub", f"http://127.0.0.1:{port}", "--name", "long", "long.py", "wf")
    wait_for(lambda: "long" in hub.log and hub.person.warm("actor"), "the replica")
    wait_for(lambda: any("calls_started" == e["kind"] for e in hub.person.events("long")), "the call")
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


def test_what_is_mounted_for_all(hub: Containers, tmp_path: Path) -> None:
    """
    A folder that the operator mounts is there, read-only if it was said so.
    """
    models = tmp_path / "models"
    models.mkdir()
    (models / "weights").write_text("7")
    hub.serve("--mount", f"{models}:/models:ro")
    hub.person.write("flow.py", flow('return int(open("/models/weights").read()) * 10 + os.access("/models", os.W_OK)'))

    assert hub.person.run("flow.py", "wf") == 70


def test_containers_that_dial_the_hub_s_address(hub: Containers) -> None:
    """
    Where nothing can be mounted, containers dial the hub's address, and bundles and blobs travel over it.
    """
    gateway = docker("network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Gateway}}")
    port = 20_000 + os.getpid() % 20_000
    hub.serve("--host", "0.0.0.0", "--allow-remote", "--port", str(port), "--docker-hub", f"http://{gateway}:{port}")
    hub.person.write("flow.py", flow("return x * 2"))

    assert hub.person.run("flow.py", "wf", "--x", 4) == 8

    container = next(iter(hub.all()))
    assert inspect(container)["Mounts"] == []


def test_an_environment_names_its_launcher(hub: Containers) -> None:
    """
    On a hub with two launchers, an environment that names one gets it; the first one serves all others.
    """
    hub.serve("--launcher", "process")
    hub.person.write("here.py", flow('return int(os.path.exists("/greenroom/blobs"))', launcher='"process"'))
    hub.person.write("there.py", flow('return int(os.path.exists("/greenroom/blobs"))'))

    assert hub.person.run("here.py", "wf") == 0
    assert hub.person.run("there.py", "wf") == 1


def test_a_replica_s_own_words(shared: Containers) -> None:
    """
    What a replica's processes wrote can be read by its id.
    """
    shared.person.write("words.py", flow("return x", name='"words"'))
    shared.person.run("words.py", "wf")
    replica = next(iter(shared.person.warm("words")))

    done = shared.person.greenroom("replica", "logs", replica)

    assert done.code == 0, done.err
    assert "connected (hub=unix:///greenroom/link/hub.sock)" in done.out
