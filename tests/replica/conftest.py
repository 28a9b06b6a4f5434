"""A zygote, a fake hub, and replicas between them; everything is gone after each test."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from greenroom_protocol.zygote import Count, Exited, Kill, Living, Ready, Refused, Spawn, Spawned, ZygoteTalk
from tests.replica.fake_hub import FakeHub, listening

ROOT = Path(__file__).parents[2]


class Launcher:
    """A launcher's side of a zygote's socket, on a loop."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._talk = ZygoteTalk()
        self._waiting: list[Any] = []
        self.exits: list[Exited] = []

    @classmethod
    async def connect(cls, path: Path) -> tuple[Launcher, Ready]:
        reader, writer = await asyncio.open_unix_connection(str(path))
        launcher = cls(reader, writer)
        ready = await launcher.hear(Ready)
        return launcher, ready

    def send(self, message: Any) -> None:
        self._writer.write(self._talk.pack(message))

    async def hear(self, *kinds: type[Any], seconds: float = 10.0) -> Any:
        """The next message of one of these kinds."""
        async with asyncio.timeout(seconds):
            while True:
                for place, message in enumerate(self._waiting):
                    if isinstance(message, kinds):
                        return self._waiting.pop(place)
                data = await self._reader.read(1 << 16)
                if not data:
                    raise ConnectionError("the zygote has closed the connection")
                self._waiting += self._talk.feed(data)

    async def spawn(self, config: dict[str, Any]) -> Spawned | Refused:
        self.send(Spawn(config["replica"], config["generation"], config))
        return await self.hear(Spawned, Refused)

    async def exited(self, seconds: float = 10.0) -> Exited:
        return await self.hear(Exited, seconds=seconds)

    def kill(self, replica: str, number: int = signal.SIGKILL, generation: int = 1) -> None:
        self.send(Kill(replica, generation, int(number)))

    async def living(self) -> list[list[Any]]:
        self.send(Count())
        found: list[list[Any]] = (await self.hear(Living)).replicas
        return found

    async def end_replicas(self) -> None:
        """Kill what this launcher has started, and hang up."""
        for replica, generation, _ in await self.living():
            self.kill(replica, signal.SIGKILL, generation)
            await self.exited()
        await self.close()

    async def close(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()


def descendants_of(pid: int) -> list[int]:
    """All processes below a process."""
    found, waiting = [], [pid]
    while waiting:
        at = waiting.pop()
        with contextlib.suppress(OSError):  # It has ended meanwhile.
            for task in Path(f"/proc/{at}/task").glob("*/children"):
                with contextlib.suppress(OSError):
                    below = [int(child) for child in task.read_text().split()]
                    found += below
                    waiting += below
    return found


@pytest.fixture(scope="session")
def shared_zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ZygoteProcess]:
    process = ZygoteProcess(tmp_path_factory.mktemp("zygote"), idle_after=3600.0)  # Other tests may come in between.
    yield process
    process.end()


@pytest.fixture
def zygote(shared_zygote: ZygoteProcess) -> Iterator[ZygoteProcess]:
    """A zygote that several tests use one after the other; each finds it without children, save templates."""
    yield shared_zygote
    left = [pid for pid in shared_zygote.below() if not _is_template(pid)]
    assert not left, f"left behind: {left}"


@pytest.fixture
def own_zygote(tmp_path: Path) -> Iterator[ZygoteProcess]:
    """A zygote for one test."""
    process = ZygoteProcess(tmp_path)
    yield process
    process.end()


class ZygoteProcess:
    """A real zygote."""

    def __init__(self, folder: Path, idle_after: float = 60.0) -> None:
        self.socket = folder / "z.sock"
        self.log = folder / "zygote.log"
        read, write = os.pipe()
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-P", "-m", "greenroom_replica.zygote", "--socket", str(self.socket)]
        command += ["--idle-after", str(idle_after), "--ready-fd", str(write)]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, pass_fds=[write], stdout=log, stderr=log, env=env)
        os.close(write)
        os.read(read, 1)
        os.close(read)

    @property
    def pid(self) -> int:
        return self.process.pid

    def below(self, seconds: float = 5.0) -> list[int]:
        """What lives below it once what was told to end has had time to."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            living = [pid for pid in descendants_of(self.pid) if not is_zombie(pid)]
            if all(_is_template(pid) for pid in living):
                return living
            time.sleep(0.02)
        return living

    def end(self) -> None:
        below = descendants_of(self.pid)
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for pid in below:
            assert not Path(f"/proc/{pid}").exists() or is_zombie(pid), f"process {pid} was left behind"


def _is_template(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/comm").read_text().startswith("greenroom-templ")
    except OSError:
        return True


def is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


class Rig:
    """A hub, a zygote, and the means to start replicas."""

    def __init__(self, hub: FakeHub, url: str, launcher: Launcher, zygote: ZygoteProcess, folder: Path) -> None:
        self.hub, self.url, self.launcher, self.zygote, self.folder = hub, url, launcher, zygote, folder

    def config(self, replica: str = "r1", **changes: Any) -> dict[str, Any]:
        return {
            "replica": replica,
            "generation": 1,
            "environment": "env",
            "hub": self.url,
            "token": f"token-of-{replica}",
            "scratch": str(self.folder / replica),
            "workshop": "tests.replica.plain_workshop:make",
            **changes,
        }

    async def replica(self, replica: str = "r1", **changes: Any) -> Spawned:
        """Start a replica, and wait for its hello."""
        spawned = await self.launcher.spawn(self.config(replica, **changes))
        assert isinstance(spawned, Spawned), spawned
        await self.hub.connected(replica)
        return spawned


@pytest.fixture
async def hub() -> FakeHub:
    return FakeHub()


@pytest.fixture
async def rig(hub: FakeHub, zygote: ZygoteProcess, tmp_path: Path) -> AsyncIterator[Rig]:
    async with listening(hub, tmp_path / "hub.sock") as url:
        launcher, _ = await Launcher.connect(zygote.socket)
        rig = Rig(hub, url, launcher, zygote, tmp_path)
        yield rig
        await rig.launcher.end_replicas()
