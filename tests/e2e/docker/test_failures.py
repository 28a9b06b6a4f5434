"""What goes wrong with containers, told in words."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.docker.engine import Containers, docker, flow, lacking, require
from tests.e2e.harness import visiting, wait_for


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
