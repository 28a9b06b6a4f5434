"""Replicas as processes: the contract, kept by zygotes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from greenroom_core.program import Interpreter
from greenroom_hub.core.commands import StartReplica
from greenroom_hub.launch.configuration import Handed
from greenroom_hub.launch.process import ProcessLauncher, this_interpreter
from greenroom_hub.launch.sockets import socket_folder
from greenroom_protocol.zygote import ZYGOTE_KINDS, Ready, ZygoteTalk
from tests.e2e.harness import is_alive
from tests.hub.launch.contract import CAPACITY, PATIENCE, Key, LauncherContract, Stage, order, until


class ProcessStage(Stage):
    """Replicas are processes; their hub answers never, which they bear for a minute."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.stand_in = False
        super().__init__()

    def make(self) -> ProcessLauncher:
        handed = Handed(f"unix://{self.state}/nobody.sock", str(self.state / "blobs"), timings={"orphan_after": 120.0})
        mint = "token of {}.{}".format
        return ProcessLauncher(handed, self.state, CAPACITY, mint, self.posted.append, self.stand_in)

    async def bring(self, key: Key) -> None:
        await self.launcher.start(order(*key))
        await self.pid(key)

    async def lives(self, key: Key) -> bool:
        return key in await self._living()

    async def kill(self, key: Key) -> None:
        os.kill(await self.pid(key), signal.SIGKILL)

    async def pid(self, key: Key) -> int:
        async with asyncio.timeout(PATIENCE):
            while (pid := (await self._living()).get(key)) is None:
                await asyncio.sleep(0.02)
        return pid

    async def _living(self) -> dict[Key, int]:
        """Replicas by what their zygotes say to whoever asks, and the kernel knows."""
        living: dict[Key, int] = {}
        for place in (socket_folder(self.state) / "zygotes").glob("*.sock"):
            told = await asyncio.to_thread(_first_words, place)
            living.update({(str(one[0]), int(one[1])): int(one[2]) for one in told})
        return {key: pid for key, pid in living.items() if is_alive(pid)}

    def processes(self) -> list[int]:
        """Every process of this stage's zygotes: they are forked, and so have their command line."""
        mark = os.fsencode(socket_folder(self.state) / "zygotes")
        return [int(place.name) for place in Path("/proc").glob("[0-9]*") if mark in _command_line(place)]

    def impossible(self) -> tuple[StartReplica, str]:
        nowhere = Interpreter("/nowhere/bin/python", "3.11.7", "none")
        return replace(order("e-1-r1", 3), interpreter=nowhere), "/nowhere/bin/python"

    async def remains(self) -> list[str]:
        await until(lambda: not self.processes(), "processes to end")
        folders = (self.state, socket_folder(self.state))
        found = {path for folder in folders for path in folder.rglob("*")}
        return [str(path) for path in found if path.is_socket() or "scratch" in path.parts]


def _first_words(place: Path) -> list[list[Any]]:
    """The replicas that a zygote says it has; none if it is gone, or going."""
    talk = ZygoteTalk(ZYGOTE_KINDS)
    with socket.socket(socket.AF_UNIX) as line, contextlib.suppress(OSError):
        line.settimeout(PATIENCE)
        line.connect(str(place))
        while data := line.recv(65536):
            for message in talk.feed(data):
                assert isinstance(message, Ready)
                return message.replicas
    return []


def _command_line(place: Path) -> bytes:
    try:
        return (place / "cmdline").read_bytes()
    except OSError:
        return b""


class TestProcessLauncher(LauncherContract):
    """The contract, kept by zygotes."""

    @pytest.fixture
    async def stage(self, tmp_path: Path) -> AsyncIterator[ProcessStage]:
        stage = ProcessStage(tmp_path)
        yield stage
        await stage.close()
        await until(lambda: not stage.processes(), "processes to end")

    async def test_a_zygote_that_is_killed_takes_its_replicas_along(self, stage: ProcessStage) -> None:
        """
        Each of them is told as ended, once; the next replica gets a new zygote.
        """
        keys = [("e-1-r1", 1), ("e-1-r2", 1)]
        for key in keys:
            await stage.bring(key)
        zygotes = {_parent(await stage.pid(key)) for key in keys}

        for pid in zygotes:
            os.kill(pid, signal.SIGKILL)

        assert [(await stage.end_of(key)).reason for key in keys] == ["its zygote ended"] * 2
        await stage.bring(("e-1-r3", 1))

    async def test_a_python_that_is_elsewhere_is_stood_in_for(self, stage: ProcessStage) -> None:
        """
        A hub for others runs what was submitted from a Python that it has not on its own; a person's own hub does not.
        """
        command, _ = stage.impossible()
        stage.stand_in = True
        launcher = stage.another()

        await launcher.start(command)

        assert await stage.pid((command.replica, command.generation))
        assert stage.posted == []

    async def test_one_zygote_for_one_python_and_what_is_installed_in_it(self, stage: ProcessStage) -> None:
        """
        Replicas of one interpreter share a zygote; other packages are another one.
        """
        here = this_interpreter()
        other = replace(here, distributions="newer")
        for number, interpreter in enumerate((here, here, other)):
            await stage.launcher.start(replace(order(f"e-1-r{number}"), interpreter=interpreter))

        parents = [_parent(await stage.pid((f"e-1-r{number}", 1))) for number in range(3)]

        assert parents[0] == parents[1] != parents[2]


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
