"""A launcher whose replicas live in the test's own process: they speak the real protocol over the real socket."""

from __future__ import annotations

import asyncio
import time
from array import array
from collections.abc import Callable
from typing import Any

import aiohttp

from greenroom_core.failure import Cause, Failure
from greenroom_hub.core.commands import StartReplica, StopReplica
from greenroom_hub.core.events import Event, ReplicaExited
from greenroom_hub.core.ledger import Capacity
from greenroom_protocol import frames
from greenroom_protocol.calls import Definition, Outcomes, Status
from greenroom_protocol.frames import HUB_KINDS
from greenroom_protocol.version import PROTOCOL

Work = Callable[[Definition, bytes], bytes]
"""What a call does: its definition and its payload in, its outputs' values out."""


class FakeReplica:
    """Answers every call at once with what `work` makes of it."""

    def __init__(self, socket: str, token: str, name: str, generation: int, pool: str, work: Work) -> None:
        self.socket, self.token, self.name, self.generation, self.pool = socket, token, name, generation, pool
        self.work = work
        self.calls = 0
        self.frames_in = 0
        self.seq = 0
        self.acked = 0
        self.definitions: dict[bytes, Definition] = {}
        self.held: list[list[Any]] = []
        self.silent = False
        """Take calls and never answer."""
        self._unacked: dict[int, frames.Result] = {}

    async def run(self) -> None:
        """Live until the hub hangs up."""
        connector = aiohttp.UnixConnector(self.socket)
        headers = {"Authorization": f"Bearer {self.token}"}
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.ws_connect("http://hub/api/replica", headers=headers, max_msg_size=0) as link,
        ):
            self.link = link
            await link.send_bytes(frames.encode([self.hello()]))
            async for message in link:
                if message.type is not aiohttp.WSMsgType.BINARY:
                    break
                self.frames_in += 1
                answers = [a for m in frames.decode(message.data, HUB_KINDS) for a in self.hear(m)]
                if answers:
                    await link.send_bytes(frames.encode(answers))
                    if any(isinstance(answer, frames.Bye) for answer in answers):
                        break

    def hello(self) -> frames.Hello:
        facts = {"pool": self.pool, "python": "3.11", "pid": 0}
        unacked = sorted(self._unacked)
        return frames.Hello(PROTOCOL, self.name, self.generation, 0, self.held, unacked, [], [], facts)

    def hear(self, message: Any) -> list[Any]:
        if isinstance(message, frames.Define):
            self.definitions[message.digest] = Definition.unpack(message.body)
        elif isinstance(message, frames.Assign):
            return self.assigned(message)
        elif isinstance(message, frames.Ack):
            self.acked = message.seq
            self._unacked = {seq: result for seq, result in self._unacked.items() if seq > message.seq}
        elif isinstance(message, frames.Welcome):
            return list(self._unacked.values())
        elif isinstance(message, frames.Drain):
            return [frames.Bye("drained")]
        elif isinstance(message, frames.Cancel):
            return self.cancelled(message)
        return []

    def assigned(self, message: frames.Assign) -> list[Any]:
        ends = memoryview(message.ends).cast("Q")
        items = range(message.items, message.items + len(ends)) if isinstance(message.items, int) else message.items
        if self.silent:
            attempts = [message.attempts] * len(ends) if isinstance(message.attempts, int) else message.attempts
            self.held += [[message.execution, message.node, i, a] for i, a in zip(items, attempts, strict=True)]
            return []
        definition = self.definitions[message.definition]
        start, payloads, statuses = 0, [], bytearray()
        for end in ends:
            try:
                payloads.append(self.work(definition, message.payload[start : end - message.base]))
                statuses.append(Status.SUCCEEDED)
            except Exception as fault:
                payloads.append(Failure(Cause.USER, type(fault).__name__, str(fault)).pack())
                statuses.append(Status.FAILED)
            start = end - message.base
        self.calls += len(ends)
        return [self.result(message, payloads, bytes(statuses))]

    def result(self, message: frames.Assign, payloads: list[bytes], statuses: bytes) -> frames.Result:
        ends, end = array("I"), 0
        for payload in payloads:
            end += len(payload)
            ends.append(end)
        n, base = len(payloads), time.time_ns() // 1000
        statuses = statuses[:1] if len(set(statuses)) == 1 else statuses
        durations = array("I", (20,)) * n
        body = Outcomes(
            message.items, message.attempts, statuses, ends.tobytes(), b"".join(payloads), base, bytes(4 * n),
            durations.tobytes(), {}, [],
        )  # fmt: skip
        self.seq += 1
        result = frames.Result(self.seq, message.execution, message.node, body.pack())
        self._unacked[self.seq] = result
        return result

    def cancelled(self, message: frames.Cancel) -> list[Any]:
        going = [h for h in self.held if h[0] == message.execution and (not message.node or h[1] == message.node)]
        self.held = [held for held in self.held if held not in going]
        answers = []
        for execution, node, item, attempt in going:
            failure = Failure(Cause.CANCELLED, "Cancelled", message.reason).pack()
            assign = frames.Assign(b"", execution, node, item, attempt, 0, bytes(8), b"", {})
            answers.append(self.result(assign, [failure], bytes([Status.CANCELLED])))
        return answers


class FakeLauncher:
    """Starts fake replicas; `make` may change what the next ones do."""

    name = "process"

    def __init__(self, settings: Any, capacity: Capacity, mint: Any, post: Callable[[Event], None]) -> None:
        self._socket = settings.hub.removeprefix("unix://")
        self._capacity, self._mint, self._post = capacity, mint, post
        self.replicas: dict[str, FakeReplica] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.work: Work = lambda definition, payload: payload

    def capacity(self) -> Capacity:
        return self._capacity

    async def start(self, command: StartReplica) -> None:
        token = self._mint(command.replica, command.generation)
        pool = command.replica.rsplit("-r", 1)[0]
        fake = FakeReplica(self._socket, token, command.replica, command.generation, pool, lambda d, p: self.work(d, p))
        self.replicas[command.replica] = fake
        self.tasks[command.replica] = asyncio.create_task(self._run(fake))

    async def _run(self, fake: FakeReplica) -> None:
        try:
            await fake.run()
        finally:
            self._post(ReplicaExited(fake.name, fake.generation, "it ended"))

    async def stop(self, command: StopReplica) -> None:
        task = self.tasks.get(command.replica)
        if task is not None:
            task.cancel()

    async def adopt(self) -> list[tuple[str, int]]:
        return []

    async def close(self, keep: bool) -> None:
        for task in self.tasks.values():
            task.cancel()
        await asyncio.gather(*self.tasks.values(), return_exceptions=True)
