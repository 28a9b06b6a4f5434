"""The images of the Dockerfile by themselves: a hub from its own, a replica that a person starts from the other."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.docker.engine import (
    HUB_IMAGE,
    IMAGE,
    Containers,
    docker,
    engine_host,
    flow,
    inspect,
    lacking,
    own_words,
    require,
)
from tests.e2e.harness import Person, wait_for

SOCKET = "/var/run/docker.sock"


@pytest.fixture
def name() -> Iterator[str]:
    """A name for a container and a volume, which are removed at the end."""
    require("docker", lacking())
    name = f"greenroom-test-{uuid.uuid4().hex[:8]}"
    yield name
    docker("rm", "--force", "--volumes", name)
    docker("volume", "rm", "--force", name)


def test_the_hub_runs_from_its_image(person: Person, name: str) -> None:
    """
    A hub in a container asks the engine for replicas beside itself, and finds them again after it was killed.
    """
    url = _serve(name, "--launcher", "docker", "--replica-image", IMAGE)
    hub = _Inside(name)
    person.env["GREENROOM_TOKEN"] = hub.invite("me", "submit")
    person.write("flow.py", flow("return os.getpid()", ttl_seconds=300))

    first = person.run("--hub", url, "flow.py", "wf")
    started = hub.replicas()
    docker("kill", name)
    docker("start", name)
    wait_for(lambda: "hub serves" in hub.log, "the hub")
    second = person.run("--hub", f"http://127.0.0.1:{hub.port}", "flow.py", "wf")
    left = hub.replicas()
    docker("stop", "--time", "30", name)

    assert (first, len(started)) == (second, 1)
    assert left == started
    assert hub.replicas() == {}
    assert inspect(name)["State"]["ExitCode"] == 0
    assert inspect(name)["Config"]["User"] == "65532:65532"


def test_a_hub_in_a_container_has_process_replicas_too(person: Person, name: str) -> None:
    """
    Without an engine's socket the hub's own container is where replicas run: one line starts all of it.
    """
    volume = f"{name}:/var/lib/greenroom"
    docker("run", "--detach", "--name", name, "--publish", "127.0.0.1::8780", "--volume", volume, HUB_IMAGE)
    hub = _Inside(name)
    wait_for(lambda: "hub serves" in hub.log, "the hub")
    person.env["GREENROOM_TOKEN"] = hub.invite("me", "submit")
    person.write("flow.py", flow("return x + 1"))

    assert person.run("--hub", f"http://127.0.0.1:{hub.port}", "flow.py", "wf") == 2


def test_a_replica_joins_from_a_container(hub: Containers, name: str) -> None:
    """
    `docker run IMAGE greenroom replica join` serves calls of its environment, and `docker stop` lets it leave.
    """
    gateway = docker("network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Gateway}}")
    hub.serve("--host", "0.0.0.0", "--allow-remote", "--launcher", "external")
    invited = hub.person.greenroom("hub", "invite", "box", "--role", "replica", "--environment", "actor", "--json")
    port = str(hub.person.record["url"]).rsplit(":", 1)[1]
    docker(
        "run", "--detach", "--name", name, "--env", f"GREENROOM_TOKEN={invited.value['token']}", IMAGE,
        "greenroom", "replica", "join", "--hub", f"http://{gateway}:{port}", "--environment", "actor",
    )  # fmt: skip
    body = "import socket; return {'host': socket.gethostname(), 'uid': os.getuid()}"
    hub.person.write("flow.py", flow(body, launcher='"external"').replace("-> int", "-> dict"))

    told = hub.person.run("flow.py", "wf")
    docker("stop", "--time", "30", name)

    assert told == {"host": inspect(name)["Config"]["Hostname"], "uid": 65532}
    assert inspect(name)["State"]["ExitCode"] == 0, own_words(name)
    assert hub.person.replicas("actor") == []
    assert hub.all() == {}


def _serve(name: str, *options: str) -> str:
    """The README's line; the hub's address from here."""
    place = engine_host().removeprefix("unix://")
    if not stat.S_ISSOCK(Path(place).stat().st_mode):
        pytest.skip(f"the engine at {engine_host()} has no socket here to hand on")
    docker(
        "run", "--detach", "--name", name, "--publish", "127.0.0.1::8780", "--volume", f"{name}:/var/lib/greenroom",
        "--volume", f"{place}:{SOCKET}", "--group-add", str(os.stat(place).st_gid), HUB_IMAGE, *options,
    )  # fmt: skip
    hub = _Inside(name)
    wait_for(lambda: "hub serves" in hub.log, "the hub")
    return f"http://127.0.0.1:{hub.port}"


class _Inside:
    """A hub in a container."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.identity = ""

    @property
    def log(self) -> str:
        """What it has written since it was started last."""
        since = str(inspect(self.name)["State"]["StartedAt"])
        return own_words("--since", since, self.name)

    @property
    def port(self) -> str:
        """Where it can be reached from here."""
        return docker("port", self.name, "8780").splitlines()[0].rsplit(":", 1)[1]

    def invite(self, who: str, role: str) -> str:
        """A token, made as its operator makes one."""
        token = docker("exec", self.name, "cat", "/var/lib/greenroom/token")
        self.identity = hashlib.sha256(b"identity" + token.encode()).hexdigest()[:16]
        words = ("exec", self.name, "greenroom", "hub", "invite", who, "--role", role, "--json")
        return str(json.loads(docker(*words))["token"])

    def replicas(self) -> dict[str, str]:
        """Replicas beside it: id and start of each container."""
        label = f"label=greenroom.hub={self.identity}"
        names = docker("ps", "--all", "--quiet", "--no-trunc", "--filter", label).split()
        return {one: str(inspect(one)["State"]["StartedAt"]) for one in names}
