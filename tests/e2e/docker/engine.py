"""A Docker engine for tests: found, or the tests that need it are skipped by name; and a hub with containers."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from functools import cache
from typing import Any

import pytest

from tests.e2e.harness import Person, Running, wait_for

IMAGE = os.environ.get("GREENROOM_TEST_IMAGE", "greenroom-replica:test")
HUB_IMAGE = os.environ.get("GREENROOM_TEST_HUB_IMAGE", "greenroom-hub:test")


def require(what: str, why: str | None) -> None:
    """Skip a test for want of something; fail it instead where `GREENROOM_TEST_REQUIRE` names that."""
    if why is None:
        return
    if what in os.environ.get("GREENROOM_TEST_REQUIRE", "").split(","):
        pytest.fail(f"{why} (GREENROOM_TEST_REQUIRE={what})")
    pytest.skip(why)


@cache
def engine_host() -> str:
    """The engine's address; empty where none answers."""
    if shutil.which("docker") is None:
        return ""
    for host in (os.environ.get("DOCKER_HOST", ""), "unix:///var/run/docker.sock"):
        command = ["docker", "--host", host, "version"]
        if host and subprocess.run(command, capture_output=True, timeout=30, check=False).returncode == 0:
            return host
    return ""


@cache
def lacking() -> str | None:
    """Why tests with containers cannot run here; None if they can."""
    if not engine_host():
        return "no Docker engine answers here: see .ci/docker up"
    for image in (IMAGE, HUB_IMAGE):
        if not docker("image", "ls", "--quiet", image):
            return f"image {image} is not here: see .ci/docker up"
    return None


def docker(*words: str, text: str = "", timeout: float = 60.0) -> str:
    """What the `docker` command prints, which may be given a text; it must succeed."""
    command = ["docker", "--host", engine_host(), *words]
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=timeout, check=False)
    assert done.returncode == 0, f"docker {' '.join(words)}: {done.stderr}"
    return done.stdout.strip()


def own_words(*words: str) -> str:
    """`docker logs`: what a container wrote to either stream."""
    command = ["docker", "--host", engine_host(), "logs", *words]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True).stdout


def inspect(container: str) -> dict[str, Any]:
    """An inspection of one container."""
    told: dict[str, Any] = json.loads(docker("inspect", container))[0]
    return told


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


def flow(body: str, **options: object) -> str:
    """A program of one task."""
    told = ", ".join(f"{name}={value}" for name, value in {"name": '"actor"', **options}.items())
    return FLOW.format(options=told, body=body)


class Containers:
    """A hub in the foreground whose replicas are containers, and a person who uses it."""

    def __init__(self, person: Person) -> None:
        self.person = person
        self.options: tuple[str, ...] = ()
        self.serving: Running | None = None

    def serve(self, *options: str) -> None:
        """Start the hub (again), and wait until it serves."""
        self.options = options or self.options
        state = self.person.state
        base = ("hub", "serve", "--state", str(state), "--launcher", "docker", "--docker-host", engine_host())
        self.serving = self.person.start(*base, "--replica-image", IMAGE, *self.options)
        wait_for(self._serves, "the hub")

    def _serves(self) -> bool:
        assert self.serving is not None
        code = self.serving.process.poll()
        assert code is None, f"the hub ended with {code}: {self.serving.err}"
        try:
            return bool(self.person.record["pid"] == self.serving.process.pid)
        except (OSError, ValueError):
            return False

    @property
    def log(self) -> str:
        assert self.serving is not None
        return self.serving.err

    def stop(self) -> None:
        """Have the hub end, as a service manager does."""
        assert self.serving is not None
        self.serving.process.terminate()
        self.serving.wait(60)

    def all(self) -> dict[str, str]:
        """Containers of this hub, running or not: the replica by the container's id."""
        shape = '{{.ID}} {{.Label "greenroom.replica"}}'
        label = f"label=greenroom.hub={self.identity}"
        lines = docker("ps", "--all", "--no-trunc", "--filter", label, "--format", shape).splitlines()
        return dict(line.split(" ", 1) for line in lines if " " in line)

    def misses(self) -> int:
        """Entries that the calls of the newest execution had to load."""
        events = self.person.events(self.person.last())
        told = [entry for event in events if event["kind"] == "calls_finished" for entry in event["cache"]]
        return sum(entry.get("misses") or 0 for entry in told)

    @property
    def identity(self) -> str:
        """What its containers are labelled with."""
        return hashlib.sha256(b"identity" + self.person.token.encode()).hexdigest()[:16]
