"""Replicas that people start: from another network, with a token of their own, until they leave or are not wanted."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.harness import PATIENCE, Person, wait_for

FLOW = """
import os
import time
import greenroom

actor = greenroom.ActorEnvironment(name="far", launcher="external")

@actor.task
def where(nap: float) -> str:
    open(os.environ["MARK"], "w").close()
    time.sleep(nap)
    return os.readlink("/proc/self/ns/net")

@greenroom.workflow
def wf(nap: float = 0.0) -> str:
    return where(nap=nap)
"""


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=20)


@dataclass
class Elsewhere:
    """A network of its own, and this machine's address as it is seen from there."""

    name: str
    hub: str

    def command(self, *words: str) -> list[str]:
        return ["ip", "netns", "exec", self.name, *words]


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    """A network namespace with one line to this one; skipped by name where none can be made."""
    if os.getuid() or shutil.which("ip") is None:
        pytest.skip("network namespaces need root and iproute2")
    number = os.getpid() % 60_000
    name, near, far = f"greenroom-{number}", f"gr{number}a", f"gr{number}b"
    net = f"10.231.{number // 60 % 250}.{number % 60 * 4}"
    first = net.rsplit(".", 1)[0]
    last = int(net.rsplit(".", 1)[1])
    try:
        _ip("netns", "add", name)
        _ip("link", "add", near, "type", "veth", "peer", "name", far, "netns", name)
    except subprocess.CalledProcessError as fault:
        subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)
        pytest.skip(f"no network namespace can be made here: {fault.stderr.decode().strip()}")
    try:
        _ip("addr", "add", f"{first}.{last + 1}/30", "dev", near)
        _ip("link", "set", near, "up")
        _ip("-n", name, "addr", "add", f"{first}.{last + 2}/30", "dev", far)
        _ip("-n", name, "link", "set", far, "up")
        _ip("-n", name, "link", "set", "lo", "up")
        yield Elsewhere(name, f"{first}.{last + 1}")
    finally:
        subprocess.run(["ip", "link", "delete", near], capture_output=True, check=False)
        _ip("netns", "delete", name)


@pytest.fixture
def hub(person: Person) -> Person:
    """A hub that others reach."""
    person.start("hub", "serve", "--state", person.state, "--host", "0.0.0.0", "--allow-remote")
    wait_for(lambda: (person.state / "hub.json").exists(), "the hub", PATIENCE)
    person.env["MARK"] = str(person.work / "began")
    person.write("far.py", FLOW)
    return person


class Joined:
    """`greenroom replica join`, started elsewhere."""

    def __init__(self, hub: Person, place: Elsewhere) -> None:
        invited = hub.greenroom("hub", "invite", "box", "--role", "replica", "--environment", "far", "--json")
        token = hub.work / "box.token"
        token.write_text(invited.value["token"])
        port = str(hub.record["url"]).rsplit(":", 1)[1]
        self.output = hub.folder / "join.err"
        words = ["replica", "join", "--hub", f"http://{place.hub}:{port}", "--environment", "far"]
        command = [sys.executable, "-m", "greenroom.cli", *words, "--token-file", str(token), "--cpu", "1"]
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                place.command(*command), env=hub.env, cwd=hub.work, stdout=output, stderr=output
            )
        wait_for(lambda: hub.replicas("far"), f"the replica: {self.words}", PATIENCE)

    @property
    def words(self) -> str:
        return self.output.read_text(errors="replace")


@pytest.fixture
def joined(hub: Person, elsewhere: Elsewhere) -> Iterator[Joined]:
    hub.greenroom("run", "--detach", "far.py", "wf")  # What it waits for defines the environment.
    joined = Joined(hub, elsewhere)
    yield joined
    if joined.process.poll() is None:
        joined.process.kill()
        joined.process.wait(PATIENCE)


def _network_of(place: Elsewhere) -> str:
    done = subprocess.run(
        place.command("readlink", "/proc/self/ns/net"), capture_output=True, text=True, check=True, timeout=20
    )
    return done.stdout.strip()


def test_a_replica_in_another_network_serves_calls_and_leaves_after_them(
    hub: Person, elsewhere: Elsewhere, joined: Joined
) -> None:
    """
    It dials the hub's address over the one line that there is; Ctrl-C waits for the call that runs.
    """
    assert hub.run("far.py", "wf") == _network_of(elsewhere) != os.readlink("/proc/self/ns/net")
    mark = Path(hub.env["MARK"])
    mark.unlink()
    running = hub.start("run", "far.py", "wf", "--nap", 2)
    wait_for(mark.exists, "the call", PATIENCE)

    joined.process.send_signal(signal.SIGINT)

    done = running.wait()
    assert (done.code, done.value) == (0, _network_of(elsewhere)), done.err
    assert joined.process.wait(PATIENCE) == 0, joined.words
    wait_for(lambda: not hub.replicas("far"), "its leaving")


def test_a_revoked_replica_is_ended(hub: Person, joined: Joined) -> None:
    """
    Its connection is closed, its token is refused from then on, and it says so and ends.
    """
    done = hub.greenroom("hub", "revoke", "box")

    assert done.code == 0, done.err
    assert joined.process.wait(PATIENCE) == 3, joined.words
    assert hub.replicas("far") == []
