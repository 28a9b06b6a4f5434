"""Replicas that people start: the contract, and what a connection that breaks means."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from greenroom_hub.core.commands import StartReplica
from greenroom_hub.core.events import ReplicaExited
from greenroom_hub.launch.external import ExternalLauncher
from tests.hub.launch.contract import Key, LauncherContract, Stage, order

GRACE_S = 0.05


class ExternalStage(Stage):
    """Replicas are connections: they come, they break, and the launcher may hang up."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.connected: dict[str, int] = {}
        super().__init__()

    def make(self) -> ExternalLauncher:
        path = self.folder / "joined.json"
        return ExternalLauncher(path, GRACE_S, lambda replica, why: self._hang_up(replica), self.posted.append)

    @property
    def external(self) -> ExternalLauncher:
        assert isinstance(self.launcher, ExternalLauncher)
        return self.launcher

    async def restart(self) -> list[Key]:
        adopted = await super().restart()
        for key in self.connected.items():
            self.external.joined(*key)  # They dial again by themselves.
        return adopted

    async def bring(self, key: Key) -> None:
        self.connected[key[0]] = key[1]
        self.external.joined(*key)

    async def lives(self, key: Key) -> bool:
        return self.connected.get(key[0]) == key[1]

    async def kill(self, key: Key) -> None:
        self._hang_up(key[0])

    def _hang_up(self, replica: str) -> None:
        if self.connected.pop(replica, None) is not None:
            self.external.left(replica)

    def impossible(self) -> tuple[StartReplica, str]:
        return order("e-1-r1", 3), "greenroom replica join --environment e"

    async def remains(self) -> list[str]:
        return [path.name for path in self.folder.iterdir()]


class TestExternalLauncher(LauncherContract):
    """The contract, kept by connections."""

    starts = False

    @pytest.fixture
    async def stage(self, tmp_path: Path) -> AsyncIterator[ExternalStage]:
        stage = ExternalStage(tmp_path)
        yield stage
        await stage.close()

    async def test_who_comes_back_within_the_grace_has_not_left(self, stage: ExternalStage) -> None:
        """
        A short cut of the network is no end.
        """
        key = ("box.there-1", 1)
        await stage.bring(key)

        await stage.kill(key)
        await stage.bring(key)
        await asyncio.sleep(2 * GRACE_S)

        assert stage.posted == []
        assert await stage.another().adopt() == [key]

    async def test_who_joined_an_earlier_hub_is_waited_for_and_no_longer_than_the_grace(
        self, stage: ExternalStage
    ) -> None:
        """
        After a restart a replica may still be on its way back; one that does not come has left.
        """
        back, gone = ("box.there-1", 1), ("box.there-2", 1)
        await stage.bring(back)
        await stage.bring(gone)
        await stage.launcher.close(keep=True)

        adopted = await stage.another().adopt()
        await stage.bring(back)
        told = await stage.end_of(gone)

        assert sorted(adopted) == [back, gone]
        assert told == ReplicaExited(*gone, f"it was without a connection for {GRACE_S:g} s")
        assert stage.ends(back) == []

    async def test_a_file_that_cannot_be_read_is_nobody(self, stage: ExternalStage) -> None:
        """
        The note for the next hub is a help; without it who comes back is taken all the same.
        """
        (stage.folder / "joined.json").write_text("{half")

        assert await stage.launcher.adopt() == []
