"""Replicas as containers of a real engine: the contract, and what only an engine can do."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from greenroom_hub.core.commands import StartReplica
from greenroom_hub.core.events import LaunchFailed
from greenroom_hub.launch.configuration import Handed
from greenroom_hub.launch.containers import Shape
from greenroom_hub.launch.docker import DockerLauncher, DockerSettings
from greenroom_hub.launch.images import Images
from tests.e2e.docker.engine import IMAGE, docker, engine_host, lacking, require
from tests.hub.launch.contract import CAPACITY, Key, LauncherContract, Stage, order


class DockerStage(Stage):
    """Replicas are containers; their hub answers never, which they bear for a while."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.host = folder, engine_host()
        self.identity = secrets.token_hex(8)
        for name in ("link", "blobs"):
            (folder / name).mkdir()
        super().__init__()

    def make(self) -> DockerLauncher:
        handed = Handed("", str(self.folder / "blobs"), timings={"orphan_after": 120.0}, cgroups=False)
        user = f"{os.getuid()}:{os.getgid()}" if os.getuid() else "65532:65532"
        settings = DockerSettings(
            self.host, handed, Shape(self.identity, user), Images(IMAGE), self.folder / "link", self.folder / "blobs"
        )
        return DockerLauncher(settings, CAPACITY, "token of {}.{}".format, self.posted.append)

    async def bring(self, key: Key) -> None:
        await self.launcher.start(order(*key))

    async def lives(self, key: Key) -> bool:
        return await self._container(key) != ""

    async def kill(self, key: Key) -> None:
        await asyncio.to_thread(docker, "kill", await self._container(key))

    async def _container(self, key: Key) -> str:
        labels = {"greenroom.hub": self.identity, "greenroom.replica": key[0], "greenroom.generation": key[1]}
        words = [word for name, text in labels.items() for word in ("--filter", f"label={name}={text}")]
        return await asyncio.to_thread(docker, "ps", "--quiet", *words)

    def impossible(self) -> tuple[StartReplica, str]:
        return order("e-1-r1", 3, image="ghcr.io/acme/nowhere:7"), "docker pull ghcr.io/acme/nowhere:7"

    async def remains(self) -> list[str]:
        ours = ("--filter", f"label=greenroom.hub={self.identity}", "--quiet")
        return (await asyncio.to_thread(docker, "ps", "--all", *ours)).split()


class TestDockerLauncher(LauncherContract):
    """The contract, kept by an engine."""

    @pytest.fixture
    async def stage(self, tmp_path: Path) -> AsyncIterator[DockerStage]:
        require("docker", lacking())
        stage = DockerStage(tmp_path)
        yield stage
        await stage.close()
        assert await stage.remains() == []

    async def test_containers_of_other_hubs_are_not_its_own(self, stage: DockerStage) -> None:
        """
        Two hubs on one engine: neither adopts, nor removes, what is the other's.
        """
        key = ("e-1-r1", 1)
        await stage.bring(key)
        mine, stage.identity = stage.identity, secrets.token_hex(8)

        other = stage.another()
        adopted = await other.adopt()
        await other.close(keep=False)

        stage.identity = mine
        assert adopted == []
        assert await stage.lives(key)
        stage.another()

    async def test_a_container_that_was_made_and_never_started_goes(self, stage: DockerStage) -> None:
        """
        A hub that was killed between the two leaves one; the next hub removes it.
        """
        labels = {"greenroom.hub": stage.identity, "greenroom.replica": "e-1-r1", "greenroom.generation": "1"}
        words = [word for name, text in labels.items() for word in ("--label", f"{name}={text}")]
        docker("create", *words, IMAGE)

        adopted = await stage.launcher.adopt()

        assert adopted == []
        async with asyncio.timeout(30):
            while await stage.remains():
                await asyncio.sleep(0.05)

    async def test_an_engine_that_is_not_there(self, stage: DockerStage) -> None:
        """
        The failure says where nobody answers and what to do; to adopt from it finds nothing, and is no error.
        """
        stage.host = f"unix://{stage.folder}/nothing.sock"
        launcher = stage.another()

        adopted = await launcher.adopt()
        await launcher.start(order("e-1-r1"))
        told = await stage.end_of(("e-1-r1", 1))
        await launcher.close(keep=False)

        assert adopted == []
        assert isinstance(told, LaunchFailed)
        assert told.reason.startswith(f"no Docker engine answers at {stage.host}")
        assert not told.final
        stage.host = engine_host()
        stage.another()
