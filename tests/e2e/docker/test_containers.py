"""Programs on replicas that are containers of a real engine."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.e2e.docker.engine import IMAGE, Containers, docker, flow, inspect

DOCUMENTS = Path(__file__).parents[4] / "shared" / "tools" / "documents"


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
    The document's programs are right on containers, as they are; run again, they load nothing and start no replica.
    """
    if not DOCUMENTS.exists():
        pytest.skip("the document's programs do not lie beside this checkout")
    hub.serve("--image", f"myrepo/*={IMAGE}")
    environment = {**hub.person.env, "GREENROOM_TOKEN": hub.person.token, "TMPDIR": str(tmp_path)}

    told = subprocess.run(
        [str(DOCUMENTS), "--hub", str(hub.person.record["url"])],
        capture_output=True, text=True, env=environment, timeout=300, check=False,
    )  # fmt: skip
    before = hub.all()
    hub.person.run(DOCUMENTS.parents[1] / "union_examples" / "caching_map_task.py", "run_inference")

    lines = [line for line in told.stdout.splitlines() if not line.startswith("SLOW")]  # Others may have the machine.
    assert [line for line in lines if not line.startswith("ok ")] == [], told.stdout
    assert len(lines) == 11
    assert set(hub.all()) <= set(before)  # Some leave meanwhile: their ttl_seconds=30 are over.
    assert hub.misses() == 0


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
