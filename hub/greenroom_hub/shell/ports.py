"""What the shell needs of the edge and the launchers: small protocols, implemented elsewhere."""

from __future__ import annotations

from typing import Protocol

from greenroom_core.facts import Fact
from greenroom_hub.core.commands import StartReplica, StopReplica
from greenroom_hub.core.ledger import Capacity
from greenroom_protocol.frames import FromHub


class Links(Protocol):
    """Connections to replicas, one each."""

    def send(self, replica: str, message: FromHub) -> None:
        """Put a message on the replica's connection; without one it is dropped, and said again after its hello."""
        ...

    def flush(self) -> None:
        """Send what has gathered, one frame for each replica."""
        ...

    def refuse(self, link: int, reason: str) -> None:
        """Close a connection with a reason."""
        ...

    def drop_all(self, reason: str) -> None:
        """Close all connections: the replicas will say hello again."""
        ...


class Feed(Protocol):
    """Who watches the log."""

    def committed(self, stream: str, facts: list[tuple[int, int, Fact]]) -> None:
        """These facts `(seq, at_ms, fact)` of an execution are on disk now."""
        ...


class Launcher(Protocol):
    """Starts, watches and ends replicas. What it sees, it posts to the hub as events."""

    name: str

    def capacity(self) -> Capacity:
        """What all its replicas together can use."""
        ...

    async def start(self, command: StartReplica) -> None:
        """Start a replica; a failure is posted as `LaunchFailed`."""
        ...

    async def stop(self, command: StopReplica) -> None:
        """End a replica, whatever it does; its end is posted as `ReplicaExited`."""
        ...

    async def adopt(self) -> list[tuple[str, int]]:
        """Replicas of an earlier hub that still live, `(replica, generation)`; they are watched from now on."""
        ...

    async def logs(self, replica: str, generation: int) -> str | None:
        """The last lines that a replica's own processes wrote; None for one that is not known here."""
        ...

    async def close(self, keep: bool) -> None:
        """Let go: replicas stay for the next hub if `keep`, else all of them end."""
        ...
