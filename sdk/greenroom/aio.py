"""The way to a hub for coroutines: as `link` and `following`, on asyncio's streams."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, TypeVar

from greenroom.http import (
    ANSWER_TIMEOUT,
    CONNECT_TIMEOUT,
    Endpoint,
    Head,
    HttpFault,
    Parser,
    Request,
    Response,
    connect,
    render,
    tls_context,
)
from greenroom.hub_errors import HubError, HubGone, Unreachable, refused
from greenroom.hubs import Hub, recover_local_hub
from greenroom.link import PATIENCE, Operation
from greenroom.operations import path_to
from greenroom.websocket import Frames, agreed, handshake

T = TypeVar("T")
Event = dict[str, Any]

_PAUSES: Final = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0)
_PORTION: Final = 262144


class AsyncConnection:
    """One connection to a hub that stays open between requests; one request at a time."""

    def __init__(self, endpoint: Endpoint, token: str) -> None:
        self.endpoint, self.token = endpoint, token
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self.parser = Parser()

    async def request(self, request: Request) -> Response:
        """Ask, and wait for the whole answer.

        Raises:
            HttpFault: The hub went away, or what it says is no HTTP.
            Unreachable: It cannot be reached.
        """
        kept = self._streams is not None
        try:
            return await self._exchange(request)
        except (OSError, HttpFault) as fault:
            self.close()
            if not kept:
                raise self._broken(fault) from fault
        except BaseException:
            self.close()  # Cancelled in the middle: the rest of the answer must not meet the next request.
            raise
        try:
            return await self._exchange(request)  # The kept connection had been closed meanwhile.
        except (OSError, HttpFault) as fault:
            self.close()
            raise self._broken(fault) from fault

    def _broken(self, fault: Exception) -> HttpFault:
        return HttpFault(f"the connection to {self.endpoint} broke: {fault}")

    async def _exchange(self, request: Request) -> Response:
        async with asyncio.timeout(ANSWER_TIMEOUT + request.wait):
            head = await self.ask(request)
            parts = [self.parser.body()]
            while not self.parser.done:
                self.parser.feed(await self.read())
                parts.append(self.parser.body())
        if not self.parser.keep:
            self.close()
        return Response(head.status, head.headers, b"".join(parts))

    async def ask(self, request: Request) -> Head:
        """Ask, and wait for the answer's head only."""
        if self._streams is None:
            self._streams = await _open(self.endpoint)
            self.parser = Parser()
        writer = self._streams[1]
        writer.write(render(request, self.endpoint, self.token))
        if request.body:
            writer.write(request.body)
            await writer.drain()
        self.parser.start(request.method)
        while (head := self.parser.head()) is None:
            self.parser.feed(await self.read())
        return head

    async def read(self) -> bytes:
        """What comes in next; nothing once the other side has closed."""
        assert self._streams is not None
        return await self._streams[0].read(_PORTION)

    def send(self, data: bytes) -> None:
        """Send bytes of another protocol, after an upgrade."""
        if self._streams is not None:
            self._streams[1].write(data)

    @property
    def idle(self) -> bool:
        """Whether it is open and belongs to the loop that runs now."""
        return self._streams is not None and self.parser.done

    def close(self) -> None:
        """Close it; the next request opens it again."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def _open(endpoint: Endpoint) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT):
            if endpoint.scheme == "unix":
                return await asyncio.open_unix_connection(endpoint.path, limit=_PORTION)
            if endpoint.loopback and endpoint.scheme == "http":
                return await asyncio.open_connection(endpoint.host, endpoint.port, limit=_PORTION)
    except OSError as fault:
        raise Unreachable(str(endpoint), fault.strerror or str(fault)) from fault
    return await _open_far(endpoint)


async def _open_far(endpoint: Endpoint) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A remote hub: names, proxies and TLS as for everybody, the tunnel made in a thread."""
    if endpoint.scheme == "http":
        raw = await asyncio.to_thread(connect, endpoint)
        raw.setblocking(False)
        return await asyncio.open_connection(sock=raw, limit=_PORTION)
    plain = await asyncio.to_thread(connect, endpoint, secured=False)
    plain.setblocking(False)
    return await asyncio.open_connection(sock=plain, limit=_PORTION, ssl=tls_context(), server_hostname=endpoint.host)


class AsyncLink:
    """The way to one hub, for the coroutines of one loop."""

    def __init__(self, hub: Hub, *, patience: float = PATIENCE) -> None:
        self.hub = hub
        self._patience = patience
        self._idle: list[AsyncConnection] = []

    async def drive(self, operation: Operation[T]) -> T:
        """Carry out an operation, request by request.

        Raises:
            HubError: The hub stays away, or says no.
        """
        try:
            request = next(operation)
            while True:
                request = operation.send(await self.request(request))
        except StopIteration as end:
            value: T = end.value
            return value

    async def request(self, request: Request) -> Response:
        """Ask; while nobody answers, ask again. Every request of ours may be repeated."""

        async def ask() -> Response:
            connection = self._take()
            answer = await connection.request(request)
            self._idle.append(connection)
            return answer

        return await self._patiently(ask)

    async def upgrade(self, path: str) -> AsyncConnection:
        """A connection of its own that speaks WebSocket from now on.

        Raises:
            Refused: The hub says no.
        """

        async def ask() -> AsyncConnection:
            request, key = handshake(path)
            connection = AsyncConnection(self.hub.endpoint, self.hub.token)
            try:
                head = await connection.ask(request)
            except OSError as fault:
                connection.close()
                raise HttpFault(f"the connection to {self.hub.endpoint} broke: {fault}") from fault
            if head.status == 101 and agreed(head, key):
                return connection
            body = connection.parser.body()
            connection.close()
            raise refused(head.status, body)

        return await self._patiently(ask)

    def _take(self) -> AsyncConnection:
        while self._idle:
            connection = self._idle.pop()
            if connection.idle and connection.endpoint == self.hub.endpoint:
                return connection
            connection.close()
        return AsyncConnection(self.hub.endpoint, self.hub.token)

    async def _patiently(self, attempt: Callable[[], Awaitable[T]]) -> T:
        loop = asyncio.get_running_loop()
        deadline, tries = loop.time() + self._patience, 0
        while True:
            try:
                return await attempt()
            except (HttpFault, Unreachable) as fault:
                last: HubError = fault
            await self._find_again(last)
            pause = _PAUSES[min(tries, len(_PAUSES) - 1)] if tries else 0.0
            tries += 1
            if loop.time() + pause > deadline:
                raise last
            await asyncio.sleep(pause)

    async def _find_again(self, fault: HubError) -> None:
        state = self.hub.state
        if state is None:
            return
        if not self.hub.lasting:
            raise HubGone() from fault
        self.hub = await asyncio.to_thread(recover_local_hub, state)

    def close(self) -> None:
        """Close all idle connections."""
        while self._idle:
            self._idle.pop().close()


async def follow(link: AsyncLink, execution: str, *, after: int = 0, logs: bool = False) -> AsyncIterator[Event]:
    """Events of an execution as they happen, each fact once and in order, until its last one.

    Raises:
        HubError: The hub stays away, or does not know the execution.
    """
    cursor = after
    while True:
        path = f"{path_to(execution, 'events')}?after={cursor}{'&logs=1' if logs else ''}"
        connection = await link.upgrade(path)
        frames, data, silent = Frames(), connection.parser.rest(), True
        try:
            while frames.closed is None:
                for message in frames.feed(data) if data else ():
                    silent = False
                    for event in json.loads(message):
                        number = event.get("seq")
                        if number is not None and number <= cursor:
                            continue
                        cursor = cursor if number is None else number
                        yield event
                        if event.get("kind") == "execution_ended":
                            return
                if frames.reply:
                    connection.send(bytes(frames.reply))
                    frames.reply.clear()
                if frames.closed is None:
                    data = await connection.read()
                    if not data:
                        break
        except OSError:
            pass  # Cut: connect again, behind what was read.
        finally:
            connection.close()
        if silent:
            await asyncio.sleep(_PAUSES[1])
