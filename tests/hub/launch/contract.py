"""What every launcher does: one suite, run on each of them. A launcher's tests derive from `LauncherContract`."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from greenroom_core.program import Environment
from greenroom_hub.core.commands import StartReplica, StopReplica
from greenroom_hub.core.events import Event, LaunchFailed, ReplicaExited
from greenroom_hub.core.ledger import Capacity
from greenroom_hub.shell.ports import Launcher

CAPACITY = Capacity(cpu=3, memory=2**30, gpu=1)
PATIENCE = 30.0
"""Seconds for any one thing to happen: far above what it takes, so that a busy machine fails nothing."""

Key = tuple[str, int]


def order(replica: str, generation: int = 1, **environment: Any) -> StartReplica:
    """The command to start a replica of environment `e`."""
    made = Environment("e", **environment)
    return StartReplica(replica, generation, 0, made, None, "p", 1, 1.0, None)


class Stage(ABC):
    """A launcher, what it has posted, and a look behind it."""

    def __init__(self) -> None:
        self.posted: list[Event] = []
        self._made: list[Launcher] = []
        self.launcher = self.another()

    def another(self) -> Launcher:
        """A launcher over the same state, as a hub has that was started anew."""
        self.launcher = self.make()
        self._made.append(self.launcher)
        return self.launcher

    async def restart(self) -> list[Key]:
        """The hub goes, another one comes; what that one adopts."""
        await self.launcher.close(keep=True)
        return await self.another().adopt()

    @abstractmethod
    def make(self) -> Launcher: ...

    @abstractmethod
    async def bring(self, key: Key) -> None:
        """Have a replica live: launched, or come by itself."""

    @abstractmethod
    async def lives(self, key: Key) -> bool:
        """Whether it does, asked past the launcher."""

    @abstractmethod
    async def kill(self, key: Key) -> None:
        """It ends, and not by the launcher's doing."""

    @abstractmethod
    def impossible(self) -> tuple[StartReplica, str]:
        """A replica that cannot be started, and a word that its failure must have."""

    @abstractmethod
    async def remains(self) -> list[str]:
        """What is left of this hub."""

    def ends(self, key: Key) -> list[Event]:
        """What was posted of a replica's end."""
        kinds = (ReplicaExited, LaunchFailed)
        return [one for one in self.posted if isinstance(one, kinds) and (one.replica, one.generation) == key]

    async def end_of(self, key: Key) -> Any:
        """The end of a replica, once it is told; it is told once."""
        await until(lambda: self.ends(key), f"the end of {key}")
        (told,) = self.ends(key)
        return told

    async def close(self) -> None:
        """A last hub takes along what a test has left."""
        for launcher in self._made:
            await launcher.close(keep=True)
        last = self.another()
        await last.adopt()
        await last.close(keep=False)


async def until(true: Callable[[], Any], what: str) -> Any:
    """Wait for something to become true."""
    deadline = time.monotonic() + PATIENCE
    while not (value := true()):
        assert time.monotonic() < deadline, f"waited {PATIENCE:g} s for {what}"
        await asyncio.sleep(0.02)
    return value


async def has_ended(stage: Stage, key: Key) -> bool:
    """Whether a replica is gone soon."""
    deadline = time.monotonic() + PATIENCE
    while await stage.lives(key):
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.05)
    return True


class LauncherContract:
    """Derive, and give the fixture `stage`."""

    starts = True
    """Whether it starts replicas itself."""

    @pytest.fixture
    async def stage(self) -> AsyncIterator[Stage]:
        raise NotImplementedError
        yield

    def test_it_has_a_name_and_a_capacity(self, stage: Stage) -> None:
        """
        What replicas of it may use together is what it was given; who starts none has none to give.
        """
        assert stage.launcher.name
        assert stage.launcher.capacity() == (CAPACITY if self.starts else Capacity(0, 0))

    async def test_what_cannot_be_started_is_told_in_words(self, stage: Stage) -> None:
        """
        A failure names the replica and its generation, and says what is wrong.
        """
        command, word = stage.impossible()

        await stage.launcher.start(command)

        told = await stage.end_of((command.replica, command.generation))
        assert isinstance(told, LaunchFailed)
        assert word in told.reason

    async def test_a_replica_lives_until_it_is_stopped(self, stage: Stage) -> None:
        """
        Its end is told, once.
        """
        key = ("e-1-r1", 7)
        await stage.bring(key)
        assert await stage.lives(key)
        assert stage.ends(key) == []

        await stage.launcher.stop(StopReplica(*key, "enough"))

        assert isinstance(await stage.end_of(key), ReplicaExited)
        assert await has_ended(stage, key)

    async def test_an_end_that_nobody_asked_for_is_told(self, stage: Stage) -> None:
        """
        A replica that ends by itself, or is killed, is told at once or after its grace, with the reason.
        """
        key = ("e-1-r1", 1)
        await stage.bring(key)

        await stage.kill(key)

        told = await stage.end_of(key)
        assert isinstance(told, ReplicaExited)
        assert told.reason

    async def test_stop_means_one_generation(self, stage: Stage) -> None:
        """
        Who is unknown, or was started anew since, is not touched.
        """
        key = ("e-1-r1", 2)
        await stage.bring(key)

        await stage.launcher.stop(StopReplica("e-1-r1", 1, "late"))
        await stage.launcher.stop(StopReplica("e-1-r9", 2, "never seen"))
        await asyncio.sleep(0.1)

        assert stage.posted == []
        assert await stage.lives(key)

    async def test_a_replica_that_is_stopped_while_it_starts(self, stage: Stage) -> None:
        """
        It is not forgotten: its end is told, and nothing of it lives.
        """
        if not self.starts:
            pytest.skip("it starts none")
        key = ("e-1-r1", 1)
        starting = asyncio.create_task(stage.launcher.start(order(*key)))
        await asyncio.sleep(0)

        await stage.launcher.stop(StopReplica(*key, "changed my mind"))
        await starting

        assert isinstance(await stage.end_of(key), ReplicaExited)
        assert await has_ended(stage, key)

    async def test_the_next_hub_adopts_what_lives(self, stage: Stage) -> None:
        """
        Replicas stay when their hub goes; the next one finds them, and hears of their ends.
        """
        keys = [(f"e-1-r{number}", number) for number in (1, 2, 3)]
        for key in keys:
            await stage.bring(key)

        adopted = await stage.restart()

        assert sorted(adopted) == keys
        assert [await stage.lives(key) for key in keys] == [True] * 3
        await stage.kill(keys[1])
        assert isinstance(await stage.end_of(keys[1]), ReplicaExited)
        assert stage.ends(keys[0]) == []

    async def test_what_ended_without_a_hub_is_not_taken_for_alive(self, stage: Stage) -> None:
        """
        It is not adopted, or its end is told soon.
        """
        gone, there = ("e-1-r1", 1), ("e-1-r2", 1)
        await stage.bring(gone)
        await stage.bring(there)
        await stage.launcher.close(keep=True)
        await stage.kill(gone)
        assert await has_ended(stage, gone)

        adopted = await stage.another().adopt()

        assert there in adopted
        assert gone not in adopted or await stage.end_of(gone)

    async def test_a_stop_reaches_who_was_adopted(self, stage: Stage) -> None:
        """
        What an earlier hub started, the next one can end.
        """
        key = ("e-1-r1", 1)
        await stage.bring(key)
        await stage.restart()

        await stage.launcher.stop(StopReplica(*key, "enough"))

        assert isinstance(await stage.end_of(key), ReplicaExited)
        assert await has_ended(stage, key)

    async def test_words_of_replicas(self, stage: Stage) -> None:
        """
        Of a replica that it knows a launcher has words, or none yet; of another one it knows nothing.
        """
        key = ("e-1-r1", 1)
        await stage.bring(key)

        assert isinstance(await stage.launcher.logs(*key), str)
        assert await stage.launcher.logs("e-1-r9", 1) is None

    async def test_closed_for_good_it_leaves_nothing(self, stage: Stage) -> None:
        """
        No replica, no file, no socket.
        """
        keys = [("e-1-r1", 1), ("e-1-r2", 1)]
        for key in keys:
            await stage.bring(key)

        await stage.launcher.close(keep=False)

        if self.starts:
            assert [await has_ended(stage, key) for key in keys] == [True, True]
        assert await stage.remains() == []
