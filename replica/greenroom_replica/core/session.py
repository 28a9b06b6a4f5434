"""A replica's side of its session with the hub: what is said first, what is kept until acked, what is said again.

No I/O: the connection feeds messages in and sends what comes out. Nothing is forgotten before the hub has said that
it is on disk; a hub that has not heard of something hears of it again after `Hello`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from greenroom_protocol.frames import Cache, Hello, Lost, Message, Ping, Result, Welcome
from greenroom_protocol.version import PROTOCOL, refusal
from greenroom_replica.core.slots import Held


class StaleHub(Exception):
    """A hub whose epoch lies behind one that was seen before: another one has taken over since."""

    def __init__(self, seen: int, theirs: int) -> None:
        super().__init__(seen, theirs)
        self.seen, self.theirs = seen, theirs

    def __str__(self) -> str:
        return f"the hub is of epoch {self.theirs}, but one of epoch {self.seen} was seen before: it was replaced"


class Session:
    """What one generation of a replica has told its hub, and what it still owes it.

    Args:
        replica: The replica's id.
        generation: Of the replica's process.
    """

    def __init__(self, replica: str, generation: int) -> None:
        self.replica = replica
        self.generation = generation
        self.epoch = 0
        self.definitions: dict[bytes, bytes] = {}
        """Packed definitions by digest; the hub sends each once."""
        self._seq = 0
        self._acked = 0
        self._unacked: dict[int, Result] = {}
        self._unproven: list[Lost | Cache] = []
        """Said, but nothing that came back proves that it arrived."""
        self._pings: dict[int, int] = {}
        """Of each ping under way: how many of `_unproven` had been said before it."""
        self._ping = 0

    @property
    def unacked(self) -> int:
        """Results that no ack has come for."""
        return len(self._unacked)

    def hello(
        self, held: Iterable[Held], entries: Sequence[Mapping[str, Any]], facts: Mapping[str, Any]
    ) -> list[Message]:
        """The first messages of a connection: who this is and what it holds, then what may not have arrived."""
        self._pings.clear()
        hello = Hello(
            PROTOCOL,
            self.replica,
            self.generation,
            self.epoch,
            [list(call) for call in held],
            list(self._unacked),
            list(self.definitions),
            list(entries),
            facts,
        )
        return [hello]

    def welcomed(self, welcome: Welcome) -> list[Message]:
        """Take the hub's answer; returns what has to be said again, oldest first.

        Raises:
            StaleHub: This hub was replaced by another one that was seen before.
        """
        if welcome.epoch < self.epoch:
            raise StaleHub(self.epoch, welcome.epoch)
        self.epoch = welcome.epoch
        self.acked(welcome.acked)
        again: list[Message] = list(self._unproven)
        again.extend(self._unacked.values())
        return again

    def refusal(self, welcome: Welcome) -> str | None:
        """Why this hub cannot be talked to; None if it can."""
        return refusal(welcome.protocol, "hub")

    def result(self, execution: str, node: str, body: bytes) -> Result:
        """Number a batch of outcomes, and keep it until its ack."""
        self._seq += 1
        result = Result(self._seq, execution, node, body)
        self._unacked[self._seq] = result
        return result

    def acked(self, seq: int) -> None:
        """Results up to `seq` are on disk."""
        for number in range(self._acked + 1, min(seq, self._seq) + 1):
            self._unacked.pop(number, None)
        self._acked = max(self._acked, min(seq, self._seq))

    def tell(self, message: Lost | Cache) -> Lost | Cache:
        """Note something that has no ack of its own, so that it is said again if the connection breaks."""
        self._unproven.append(message)
        return message

    def ping(self) -> Ping:
        """A question whose answer proves that all that was said before it has arrived."""
        self._ping += 1
        self._pings[self._ping] = len(self._unproven)
        return Ping(self._ping)

    def ponged(self, number: int) -> None:
        """The answer to a ping came."""
        proven = self._pings.pop(number, 0)
        if proven:
            del self._unproven[:proven]
            self._pings = {other: max(0, count - proven) for other, count in self._pings.items()}

    @property
    def wants_ping(self) -> bool:
        """Whether something was said whose arrival no ping under way will prove."""
        return len(self._unproven) > max(self._pings.values(), default=0)

    def define(self, digest: bytes, body: bytes) -> None:
        """Keep a definition."""
        self.definitions[digest] = body

    def forget(self, digests: Iterable[bytes]) -> None:
        """Let go of definitions."""
        for digest in digests:
            self.definitions.pop(digest, None)


class Backoff:
    """Pauses between attempts to reach the hub: doubled each time up to a limit, and jittered by who draws.

    Args:
        first: Seconds of the first pause.
        most: Seconds of the longest one.
    """

    def __init__(self, first: float = 0.05, most: float = 2.0) -> None:
        self._first, self._most = first, most
        self._pause = first

    def next(self, draw: float) -> float:
        """The next pause: between half and all of what is due, by `draw` from 0 to 1."""
        pause = self._pause
        self._pause = min(self._most, pause * 2)
        return pause * (0.5 + 0.5 * draw)

    def reset(self) -> None:
        """The hub was reached."""
        self._pause = self._first
