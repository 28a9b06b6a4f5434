"""Simulated replicas that cost next to nothing: they speak the protocol, and answer each call with its own input.

A thousand of them live in one process (`python -m bench.light SOCKET TOKEN NAME COUNT SECONDS`), so that it is the hub
that is measured. A call takes SECONDS of doing nothing; one at a time, as in a real replica. When standard input ends,
the process prints one line of JSON, what its replicas saw, and ends.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
import time
from array import array
from collections import deque
from typing import Any

import msgpack

from greenroom_protocol.version import PROTOCOL

_GAP_MS: list[float] = []
_CALLS = [0]


class Light(asyncio.Protocol):
    """One replica: a WebSocket by hand, whose frames are masked with zeros, that is, not at all."""

    def __init__(self, name: str, token: str, seconds: float) -> None:
        self.name, self.token, self.seconds = name, token, seconds
        self.transport: Any = None
        self._buffer = bytearray()
        self._open = False
        self._seq = 0
        self._waiting: deque[tuple[str, str, int, int, bytes]] = deque()
        self._busy = False
        self._free_at = 0.0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        key = base64.b64encode(os.urandom(16)).decode()
        transport.write(
            f"GET /api/replica HTTP/1.1\r\nHost: hub\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
            f"Authorization: Bearer {self.token}\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._open:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            if b" 101 " not in self._buffer[:20]:
                raise SystemExit(f"the hub refused a replica: {bytes(self._buffer[:200])!r}")
            del self._buffer[: end + 4]
            self._open = True
            facts = {"environment": "wide", "python": "3.11", "pid": 0, "slots": 1}
            self.say([[1, PROTOCOL, self.name, 1, 0, [], [], [], [], facts]])
        answers: list[Any] = []
        while (body := self._frame()) is not None:
            for message in msgpack.unpackb(body, strict_map_key=False):
                if message[0] == 23:
                    self._assigned(message, answers)
                elif message[0] == 40:
                    answers.append([41, message[1]])
                elif message[0] == 24:
                    answers.append([7, message[1], message[2], [], []])
        if answers:
            self.say(answers)

    def _frame(self) -> bytes | None:
        """The next whole frame's body; pings of WebSocket itself are answered on the way."""
        buffer = self._buffer
        while len(buffer) >= 2:
            size, start = buffer[1] & 127, 2
            if size == 126:
                size, start = int.from_bytes(buffer[2:4], "big"), 4
            elif size == 127:
                size, start = int.from_bytes(buffer[2:10], "big"), 10
            if len(buffer) < start + size:
                return None
            kind, body = buffer[0] & 15, bytes(buffer[start : start + size])
            del buffer[: start + size]
            if kind == 2:
                return body
            if kind == 9:
                self._send(0x8A, body)
        return None

    def say(self, messages: list[Any]) -> None:
        """Send messages as one frame."""
        self._send(0x82, msgpack.packb(messages))

    def _send(self, kind: int, body: bytes) -> None:
        size = len(body)
        if size < 126:
            head = bytes((kind, 0x80 | size))
        elif size < 65536:
            head = bytes((kind, 0x80 | 126)) + size.to_bytes(2, "big")
        else:
            head = bytes((kind, 0x80 | 127)) + size.to_bytes(8, "big")
        self.transport.write(head + b"\0\0\0\0" + body)

    def _assigned(self, message: list[Any], answers: list[Any]) -> None:
        _, _, execution, node, items, attempts, base, ends, payload, _ = message
        if not self.seconds:
            answers.append(self._result(execution, node, items, attempts, base, ends, payload))
            return
        start = 0
        for place, end in enumerate(memoryview(ends).cast("Q")):
            item = items + place if isinstance(items, int) else items[place]
            attempt = attempts if isinstance(attempts, int) else attempts[place]
            self._waiting.append((execution, node, item, attempt, payload[start : end - base]))
            start = end - base
        if not self._busy:
            if self._free_at:
                _GAP_MS.append((time.perf_counter() - self._free_at) * 1000)
            self._begin()

    def _begin(self) -> None:
        self._busy = True
        asyncio.get_running_loop().call_later(self.seconds, self._ended)

    def _ended(self) -> None:
        execution, node, item, attempt, value = self._waiting.popleft()
        self.say([self._result(execution, node, item, attempt, 0, len(value).to_bytes(8, "little"), value)])
        self._busy = False
        self._free_at = time.perf_counter()
        if self._waiting:
            _GAP_MS.append(0.0)
            self._begin()

    def _result(
        self, execution: str, node: str, items: Any, attempts: Any, base: int, ends: bytes, payload: bytes
    ) -> list[Any]:
        wide = memoryview(ends).cast("Q")
        n = len(wide)
        narrow = array("I", (end - base for end in wide))
        took = array("I", [max(20, int(self.seconds * 1e6))]) * n
        body = [items, attempts, b"\0", narrow.tobytes(), payload, time.time_ns() // 1000, bytes(4 * n), took.tobytes(),
                {}, []]  # fmt: skip
        self._seq += 1
        _CALLS[0] += n
        return [3, self._seq, execution, node, msgpack.packb(body)]

    def connection_lost(self, fault: Exception | None) -> None:
        self._open = False


async def main(socket: str, token: str, name: str, count: int, seconds: float) -> None:
    """Live until standard input ends."""
    loop = asyncio.get_running_loop()
    for place in range(count):
        await loop.create_unix_connection(lambda place=place: Light(f"{name}.{place}", token, seconds), socket)
    print("ready", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    gaps = sorted(_GAP_MS) or [0.0]
    told = {"calls": _CALLS[0], "gap_p50_ms": gaps[len(gaps) // 2], "gap_p99_ms": gaps[int(len(gaps) * 0.99)]}
    print(json.dumps(told), flush=True)
    os._exit(0)


if __name__ == "__main__":
    import uvloop

    uvloop.run(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), float(sys.argv[5])))
