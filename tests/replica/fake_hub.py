"""A hub that only speaks the frames: it sends what a test says, and keeps what replicas say."""

from __future__ import annotations

import asyncio
import itertools
from array import array
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from websockets.asyncio.server import ServerConnection, serve, unix_serve

from greenroom.bundling.reference import dumps
from greenroom_core.failure import Failure
from greenroom_core.values import pack, unpack
from greenroom_protocol import frames
from greenroom_protocol.calls import Definition, Outcomes, Status, digest_of
from greenroom_protocol.version import PROTOCOL


class Outcome(NamedTuple):
    """How one call ended."""

    status: Status
    value: Any
    """What it returned, or its failure."""
    attempt: int
    duration_us: int
    extras: Mapping[str, Any]


class FakeHub:
    """One hub; any number of replicas."""

    def __init__(self) -> None:
        self.epoch = 1
        self.settings: dict[str, Any] = {}
        self.acks = True
        """Whether results are acked."""
        self.answers = True
        """Whether pings are answered and hellos welcomed."""
        self.refusal: str | None = None
        """Why hellos are refused."""
        self.protocol = PROTOCOL
        self.links: dict[str, ServerConnection] = {}
        self.hellos: list[frames.Hello] = []
        self.results: list[frames.Result] = []
        self.outcomes: dict[tuple[str, str, int], list[Outcome]] = {}
        self.messages: list[Any] = []
        self.recorded: dict[tuple[str, int], set[int]] = {}
        self.repeated = 0
        self.frames_in = 0
        self.tokens: list[str] = []
        self.defined: dict[str, set[bytes]] = {}
        self._changed = asyncio.Condition()
        self._nodes = itertools.count(1)

    # Replicas -------------------------------------------------------------------------------------------------------

    async def serve(self, link: ServerConnection) -> None:
        assert link.request is not None
        self.tokens.append(link.request.headers.get("Authorization", ""))
        name = ""
        async for data in link:
            assert isinstance(data, bytes)
            self.frames_in += 1
            for message in frames.decode(data, frames.REPLICA_KINDS):
                if isinstance(message, frames.Hello):
                    name = message.replica
                    await self._welcome(link, message)
                else:
                    await self._take(name, link, message)
            async with self._changed:
                self._changed.notify_all()

    async def _welcome(self, link: ServerConnection, hello: frames.Hello) -> None:
        self.hellos.append(hello)
        if self.refusal is not None:
            await link.close(4000, self.refusal)
            return
        self.links[hello.replica] = link
        self.defined[hello.replica] = set(hello.definitions)
        if self.answers:
            known = self.recorded.get((hello.replica, hello.generation), set())
            acked = max((n for n in range(1, len(known) + 2) if known >= set(range(1, n + 1))), default=0)
            await self.send(hello.replica, frames.Welcome(self.protocol, self.epoch, acked, self.settings))

    async def _take(self, replica: str, link: ServerConnection, message: Any) -> None:
        if isinstance(message, frames.Ping):
            if self.answers:
                await link.send(frames.encode([frames.Pong(message.number)]))
            return
        self.messages.append(message)
        if isinstance(message, frames.Result):
            await self._record(replica, link, message)

    async def _record(self, replica: str, link: ServerConnection, result: frames.Result) -> None:
        seen = self.recorded.setdefault((replica, self.hellos[-1].generation), set())
        if result.seq in seen:
            self.repeated += 1
        else:
            seen.add(result.seq)
            self.results.append(result)
            self._open(result)
        if self.acks:
            await link.send(frames.encode([frames.Ack(result.seq)]))

    def _open(self, result: frames.Result) -> None:
        outcomes = Outcomes.unpack(result.body)
        columns = zip(
            outcomes.item_list(),
            outcomes.attempt_list(),
            outcomes.status_list(),
            outcomes.payloads(),
            memoryview(outcomes.durations).cast("I"),
            strict=True,
        )
        for place, (item, attempt, status, payload, duration) in enumerate(columns):
            if status == Status.SUCCEEDED:
                value = unpack(payload) if payload else None
            else:
                value = Failure.unpack(payload)
            extras = outcomes.extras.get(place, {})
            outcome = Outcome(Status(status), value, attempt, duration, extras)
            self.outcomes.setdefault((result.execution, result.node, item), []).append(outcome)

    # Tests ----------------------------------------------------------------------------------------------------------

    async def send(self, replica: str, *messages: Any) -> None:
        await self.links[replica].send(frames.encode(messages))

    async def until(self, condition: Callable[[], Any], seconds: float = 10.0) -> Any:
        """Wait for something to be true; what it was."""
        async with asyncio.timeout(seconds):
            while True:
                async with self._changed:
                    found = condition()
                    if found:
                        return found
                    try:
                        await asyncio.wait_for(self._changed.wait(), 0.05)
                    except TimeoutError:
                        continue

    async def connected(self, replica: str = "r1", seconds: float = 10.0) -> None:
        await self.until(lambda: replica in self.links, seconds)

    def of(self, kind: type[Any]) -> list[Any]:
        """Messages of one kind, in order."""
        return [message for message in self.messages if isinstance(message, kind)]

    async def assign(
        self,
        fn: Callable[..., Any] | Definition,
        inputs: Sequence[Any],
        *,
        replica: str = "r1",
        execution: str = "e",
        node: str | None = None,
        first: int = 0,
        attempt: int = 1,
        context: Mapping[str, Any] | None = None,
        **definition: Any,
    ) -> str:
        """Send a map of `fn` over `inputs`; the node's name."""
        node = node or f"n{next(self._nodes)}"
        defined = fn if isinstance(fn, Definition) else define(fn, **definition)
        body = defined.pack()
        digest = digest_of(body)
        payloads = [pack(value) for value in inputs]
        ends = array("Q", itertools.accumulate(map(len, payloads)))
        messages: list[Any] = []
        if digest not in self.defined[replica]:
            self.defined[replica].add(digest)
            messages.append(frames.Define(digest, body))
        context = {"name": execution, "project": "p", **(context or {})}
        messages.append(
            frames.Assign(digest, execution, node, first, attempt, 0, ends.tobytes(), b"".join(payloads), context)
        )
        await self.send(replica, *messages)
        return node

    async def outcome(self, node: str, item: int = 0, execution: str = "e", seconds: float = 10.0) -> Outcome:
        """How one call ended."""
        found = await self.until(lambda: self.outcomes.get((execution, node, item)), seconds)
        return found[-1]

    async def call(
        self, fn: Callable[..., Any] | Definition, value: Any = None, *, seconds: float = 10.0, **rest: Any
    ) -> Outcome:
        """Run one call."""
        node = await self.assign(fn, [value], **rest)
        return await self.outcome(node, seconds=seconds)

    async def map(
        self, fn: Callable[..., Any] | Definition, inputs: Sequence[Any], *, seconds: float = 20.0, **rest: Any
    ) -> list[Outcome]:
        """Run a map; outcomes in order."""
        node = await self.assign(fn, inputs, **rest)
        execution = rest.get("execution", "e")
        keys = [(execution, node, item) for item in range(len(inputs))]
        await self.until(lambda: all(key in self.outcomes for key in keys), seconds)
        return [self.outcomes[key][-1] for key in keys]

    def output(self, node: str, item: int = 0, stream: int = 1) -> bytes:
        """What a call has printed."""
        pieces = [
            message
            for message in self.of(frames.Log)
            if (message.node, message.item, message.stream) == (node, item, stream)
        ]
        text, at = b"", 0
        for piece in sorted(pieces, key=lambda piece: piece.offset):
            if piece.offset > at:
                text += b"<gap>"
            text += piece.data[max(0, at - piece.offset) if piece.offset < at else 0 :]
            at = max(at, piece.offset + len(piece.data))
        return text


def define(fn: Callable[..., Any], **changes: Any) -> Definition:
    """A definition that carries a function of one input and one output by value."""
    import inspect

    fields: dict[str, Any] = {
        "task": f"tests.{fn.__name__}",
        "environment": "env",
        "bundle": None,
        "module": "__main__",
        "qualname": fn.__qualname__,
        "pickled": by_value(fn),
        "params": list(inspect.signature(fn).parameters),
        "bound": {},
        "outputs": ["o0"],
        "isolation": "none",
        "concurrency": 1,
        "timeout": None,
        "env": {},
        "secrets": {},
        "options": {},
    }
    return Definition(**{**fields, **changes})


def by_value(fn: Callable[..., Any]) -> bytes:
    """Pickle a function with all that it uses of its own module."""
    return dumps(fn)


@asynccontextmanager
async def listening(hub: FakeHub, path: Path | None = None, port: int = 0) -> AsyncIterator[str]:
    """Serve the hub on a unix socket, or on TCP; gives its address."""
    options: dict[str, Any] = {"max_size": frames.MAX_FRAME, "compression": None, "ping_interval": None}
    if path is not None:
        async with unix_serve(hub.serve, str(path), **options):
            yield f"unix://{path}"
    else:
        async with serve(hub.serve, "127.0.0.1", port, **options) as server:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
