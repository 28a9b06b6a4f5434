"""Replicas that people start themselves: none is launched, who joined is remembered, and a restart waits for it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

from greenroom_hub.core.commands import StartReplica, StopReplica
from greenroom_hub.core.events import Event, LaunchFailed, ReplicaExited
from greenroom_hub.core.ledger import Capacity


class ExternalLauncher:
    """Knows who joined.

    Args:
        path: A small file, for the hub that comes after this one.
        grace_s: Seconds that a replica whose connection broke counts as there.
        hang_up: Ends a replica's connection, with a reason.
        post: Puts an event into the hub's inbox.
    """

    name = "external"

    def __init__(
        self, path: Path, grace_s: float, hang_up: Callable[[str, str], None], post: Callable[[Event], None]
    ) -> None:
        self._path, self._grace_s, self._hang_up, self._post = path, grace_s, hang_up, post
        self._joined: dict[str, int] = {}
        self._going: dict[str, asyncio.TimerHandle] = {}

    def capacity(self) -> Capacity:
        """None of the hub's: who joins brings a machine."""
        return Capacity(0, 0)

    async def start(self, command: StartReplica) -> None:
        """There is nobody here who could."""
        name = command.environment.name
        why = f"replicas of {name} are started by hand: greenroom replica join --environment {name}"
        self._post(LaunchFailed(command.replica, command.generation, why, final=True))

    async def stop(self, command: StopReplica) -> None:
        """Hang up; its process is not ours to end. For the hub it has ended."""
        if self._joined.get(command.replica) == command.generation:
            self._forget(command.replica, "it was stopped")
            self._hang_up(command.replica, command.reason)

    async def adopt(self) -> list[tuple[str, int]]:
        """Replicas that were joined when the earlier hub ended: they are on their way back, or they have left."""
        try:
            told = json.loads(self._path.read_text())
            self._joined = {str(name): int(generation) for name, generation in told.items()}
        except (OSError, ValueError, AttributeError):
            self._joined = {}
        for replica in self._joined:
            self.left(replica)
        return list(self._joined.items())

    async def logs(self, replica: str, generation: int) -> str | None:
        """What its processes write stays on its machine."""
        if self._joined.get(replica) != generation:
            return None
        return f"{replica} was started by hand: its output is where it was started\n"

    async def close(self, keep: bool) -> None:
        """Forget them, unless the next hub shall wait for them."""
        for timer in self._going.values():
            timer.cancel()
        self._going.clear()
        self._joined.clear()  # Links that break from now on are the next hub's to judge; the file stays for it.
        if not keep:
            self._path.unlink(missing_ok=True)

    # The edge tells -------------------------------------------------------------------------------------------------

    def joined(self, replica: str, generation: int) -> None:
        """A replica has said hello."""
        timer = self._going.pop(replica, None)
        if timer is not None:
            timer.cancel()
        if self._joined.get(replica) != generation:
            self._joined[replica] = generation
            self._write()

    def left(self, replica: str) -> None:
        """A replica's connection has ended: it may come back within the grace."""
        if replica in self._joined and replica not in self._going:
            loop, why = asyncio.get_running_loop(), f"it was without a connection for {self._grace_s:g} s"
            self._going[replica] = loop.call_later(self._grace_s, self._forget, replica, why)

    def _forget(self, replica: str, why: str) -> None:
        timer = self._going.pop(replica, None)
        if timer is not None:
            timer.cancel()
        generation = self._joined.pop(replica, None)
        if generation is not None:
            self._write()
            self._post(ReplicaExited(replica, generation, why))

    def _write(self) -> None:
        fresh = self._path.with_suffix(".new")
        fresh.write_text(json.dumps(self._joined))
        fresh.replace(self._path)
