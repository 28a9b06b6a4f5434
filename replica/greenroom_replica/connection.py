"""The connection to the hub: dialled again and again, flushed once a turn of the loop, closed when it goes silent."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import random
import socket
import time
from collections.abc import Callable, Sequence
from inspect import signature
from typing import Any, Final, Protocol

from websockets.asyncio.client import ClientConnection, connect, unix_connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from greenroom_protocol.frames import HUB_KINDS, MAX_FRAME, FrameFault, Message, Ping, Pong, decode, encode
from greenroom_replica.core.session import Backoff

log = logging.getLogger("greenroom.replica")

PATH: Final = "/api/replica"
"""Where a hub takes replicas' connections."""

FULL_FRAME: Final = 4 * 1024 * 1024
"""Bytes of messages after which a frame is closed and another one begun."""

_REFUSALS: Final = (1008, 4000)
"""Close codes by which a hub that has not said welcome says that it never will."""

_WITHOUT_PROXY: Final[dict[str, Any]] = {"proxy": None} if "proxy" in signature(connect).parameters else {}


class Refused(Exception):
    """The hub does not want this replica, and says why: there is no point in trying again."""


class Talker(Protocol):
    """Who uses a connection: the supervisor."""

    is_welcome: bool
    """Whether the hub has answered the greeting of this connection."""

    def greeting(self) -> Sequence[Message]:
        """The first messages of a new connection."""
        ...

    def heard(self, message: Any) -> None:
        """The hub has said something."""
        ...

    def quiet(self) -> Message:
        """Nothing was heard for a while: the question that proves the connection."""
        ...

    def connected(self) -> None:
        """The hub can be reached."""
        ...

    def disconnected(self, reason: str) -> None:
        """It cannot be reached any more."""
        ...


class Connection:
    """Keeps one WebSocket to the hub.

    Args:
        hub: `http://...`, `https://...` or `unix:///path`.
        token: The replica's own.
        talker: Who speaks and listens.
        heartbeat: Gives the seconds without a word after which is asked, and those after which the hub is given up.
        reconnect_most: Seconds of the longest pause between two attempts.
    """

    def __init__(
        self,
        hub: str,
        token: str,
        talker: Talker,
        heartbeat: Callable[[], tuple[float, float]],
        reconnect_most: float = 2.0,
    ) -> None:
        self._hub = hub
        self._token = token
        self._talker = talker
        self._heartbeat = heartbeat
        self._backoff = Backoff(most=reconnect_most)
        self._queue: list[Message] = []
        self._wake = asyncio.Event()
        self._heard_at = 0.0
        self.is_open = False
        self._link: ClientConnection | None = None
        self._closing = False

    def send(self, message: Message) -> None:
        """Say something with the next flush; dropped where there is no connection: the session says it again."""
        if self.is_open:
            self._queue.append(message)
            self._wake.set()

    @property
    def backlog(self) -> int:
        """Messages that wait for the next flush."""
        return len(self._queue)

    async def run(self) -> None:
        """Dial until closed.

        Raises:
            Refused: The hub does not want this replica.
        """
        while not self._closing:
            reason = await self._session()
            if reason:
                self._talker.disconnected(reason)
            if self._closed():
                return
            await asyncio.sleep(self._backoff.next(random.random()))

    def _closed(self) -> bool:
        return self._closing

    async def _session(self) -> str:
        try:
            async with self._dial() as link:
                await self._converse(link)
                return "the hub closed the connection"
        except ConnectionClosed as fault:
            if fault.rcvd is not None and fault.rcvd.code in _REFUSALS and not self._talker.is_welcome:
                raise Refused(fault.rcvd.reason) from fault
            return f"the connection broke: {fault}"
        except InvalidStatus as fault:
            if fault.response.status_code in (401, 403, 410):
                raise Refused(_told(fault.response.status_code, fault.response.body or b"")) from fault
            return f"the hub answered {fault.response.status_code}"
        except FrameFault as fault:
            return f"the hub sent {fault}"
        except (OSError, TimeoutError, WebSocketException) as fault:
            return f"the hub cannot be reached: {fault}"
        finally:
            self.is_open = False
            self._link = None
            self._queue.clear()

    def _dial(self) -> connect:
        options: dict[str, Any] = {
            "additional_headers": {"Authorization": f"Bearer {self._token}"},
            "compression": None,
            "max_size": MAX_FRAME,
            "max_queue": None,
            "open_timeout": 5.0,
            "close_timeout": 1.0,
            "ping_interval": None,  # Our own pings ride the same order of messages as the work.
            "write_limit": 1 << 20,
            "user_agent_header": None,
        }
        if self._hub.startswith("unix://"):
            return unix_connect(self._hub[len("unix://") :], f"ws://localhost{PATH}", **options)
        url = "ws" + self._hub.removeprefix("http").rstrip("/") + PATH
        return connect(url, **_WITHOUT_PROXY, **options)

    async def _converse(self, link: ClientConnection) -> None:
        self.is_open = True
        self._link = link
        self._heard_at = time.monotonic()
        self._queue[:] = self._talker.greeting()
        self._wake.set()
        self._talker.connected()
        sender = asyncio.create_task(self._send_all(link))
        watcher = asyncio.create_task(self._watch(link))
        try:
            async for frame in link:
                self._heard_at = time.monotonic()
                self._hear(frame)
        finally:
            for task in (sender, watcher):
                task.cancel()
            await asyncio.gather(sender, watcher, return_exceptions=True)

    def _hear(self, frame: str | bytes) -> None:
        if isinstance(frame, str):
            raise FrameFault("a frame of text; frames are binary")
        for message in decode(frame, HUB_KINDS):
            if type(message) is Ping:
                self.send(Pong(message.number))
            else:
                self._backoff.reset()
                self._talker.heard(message)

    async def _send_all(self, link: ClientConnection) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._queue:
                messages, self._queue = self._queue, []
                for frame in frames_of(messages):
                    await link.send(frame)

    async def _watch(self, link: ClientConnection) -> None:
        """Ask where nothing is heard; give up where nothing answers: a half-open connection never says so itself."""
        while True:
            ask_after, silent_after = self._heartbeat()
            silent = time.monotonic() - self._heard_at
            if silent >= silent_after:
                transport = link.transport
                if transport is not None:
                    transport.abort()
                return
            if silent >= ask_after:
                self.send(self._talker.quiet())
            await asyncio.sleep(min(ask_after, max(0.01, silent_after - silent)))

    async def close(self) -> None:
        """Send what waits, and dial no more."""
        deadline = time.monotonic() + 1.0
        while self.is_open and self._queue and time.monotonic() < deadline:
            await asyncio.sleep(0.005)
        self._closing = True
        if self._link is not None:
            await self._link.close()


def _told(status: int, body: bytes | bytearray) -> str:
    """The hub's own sentence about a refusal."""
    text = body.decode(errors="replace").strip()
    try:
        text = str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        pass
    return text or f"the hub answered {status}"


def frames_of(messages: list[Message]) -> list[bytes]:
    """Frames that carry messages, none much larger than `FULL_FRAME`."""
    if len(messages) == 1:
        return [encode(messages)]
    frames, gathered, size = [], [], 0
    for message in messages:
        gathered.append(message)
        size += _weight(message)
        if size > FULL_FRAME:
            frames.append(encode(gathered))
            gathered, size = [], 0
    if gathered:
        frames.append(encode(gathered))
    return frames


def _weight(message: Message) -> int:
    return sum(len(part) for part in message if isinstance(part, bytes))


def remove_dead_socket(hub: str) -> None:
    """Remove the unix socket of a hub that was killed for good: it could not do so itself.

    Args:
        hub: Where the hub was; anything but a unix socket on which nobody listens is left alone.
    """
    path = hub.removeprefix("unix://")
    if path == hub:
        return
    with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(OSError):
        before = os.stat(path).st_ctime_ns
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            if os.stat(path).st_ctime_ns == before:  # Another hub may have come meanwhile.
                os.unlink(path)
