"""Replicas' connections: one WebSocket each, frames in, frames out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import structlog
from aiohttp import WSMessage, WSMsgType, web

from greenroom_hub.core.events import Event, Heard, LinkLost, ReplicaConnected, ReplicaExited, ResultsCame
from greenroom_hub.edge.auth import Caller
from greenroom_hub.edge.errors import ApiError
from greenroom_hub.edge.invites import Role
from greenroom_protocol import frames
from greenroom_protocol.calls import Outcomes
from greenroom_protocol.frames import MAX_FRAME, REPLICA_KINDS, FrameFault

log = structlog.get_logger("greenroom.replicas")

_HELLO_S = 10.0
"""Seconds that a new connection may take to say hello."""


class Link:
    """One connection: what is to be sent gathers here and leaves as one frame a turn."""

    def __init__(self, number: int, socket: web.WebSocketResponse) -> None:
        self.number = number
        self.replica = ""
        self.generation = 0
        self.invite = ""
        """The invitation that opened it; empty for replicas that a launcher started."""
        self._socket = socket
        self._buffer: list[Any] = []
        self._wake: asyncio.Future[None] | None = None
        self._closing: str | None = None

    def put(self, message: Any) -> None:
        """Add to the next frame."""
        self._buffer.append(message)

    def flush(self) -> None:
        """Let the sender send what has gathered."""
        if self._wake is not None and not self._wake.done() and (self._buffer or self._closing is not None):
            self._wake.set_result(None)

    def close(self, reason: str) -> None:
        """End the connection once what has gathered is sent."""
        self._closing = reason
        self.flush()

    async def send(self) -> None:
        """Send frames until the connection ends."""
        loop = asyncio.get_running_loop()
        while not self._socket.closed:
            if self._buffer:
                messages, self._buffer = self._buffer, []
                await self._socket.send_bytes(frames.encode(messages))
            elif self._closing is not None:
                await self._socket.close(code=4000, message=self._closing.encode()[:120])
                return
            else:
                self._wake = loop.create_future()
                await self._wake


class ReplicaLinks:
    """All connections; the hub's `Links`.

    Args:
        post: Puts an event into the hub's inbox.
        output: Takes what calls print.
    """

    def __init__(self, post: Callable[[Event], None], output: Callable[[frames.Log], None]) -> None:
        self._post = post
        self._output = output
        self._numbers = 0
        self._links: dict[int, Link] = {}
        self._by_replica: dict[str, Link] = {}
        self._dirty: dict[int, Link] = {}
        self.on_new_link: Callable[[str], None] = lambda replica: None
        self.on_joined: Callable[[str, int], None] = lambda replica, generation: None
        """Called when a replica that was invited has said hello."""
        self.on_left: Callable[[str], None] = lambda replica: None
        """Called when its connection has ended."""
        self.frames_in = self.frames_out = 0

    # The hub's side -------------------------------------------------------------------------------------------------

    def send(self, replica: str, message: frames.FromHub) -> None:
        """Put a message on the replica's connection."""
        link = self._by_replica.get(replica)
        if link is not None:
            link.put(message)
            self._dirty[link.number] = link

    def flush(self) -> None:
        """Send what has gathered, one frame for each replica."""
        if self._dirty:
            dirty, self._dirty = self._dirty, {}
            self.frames_out += len(dirty)
            for link in dirty.values():
                link.flush()

    def refuse(self, link: int, reason: str) -> None:
        """Close a connection with a reason."""
        found = self._links.get(link)
        if found is not None:
            found.close(reason)

    def hang_up(self, replica: str, reason: str) -> None:
        """Close a replica's connection."""
        link = self._by_replica.get(replica)
        if link is not None:
            link.close(reason)

    def drop_invited(self, invite: str, reason: str) -> None:
        """Close the connections that an invitation opened; what those replicas hold is lost at once."""
        for link in list(self._links.values()):
            if link.invite == invite and link.replica:
                self._post(ReplicaExited(link.replica, link.generation, reason))
                link.close(reason)

    def drop_all(self, reason: str) -> None:
        """Close all connections."""
        for link in list(self._links.values()):
            link.close(reason)

    # The replica's side ---------------------------------------------------------------------------------------------

    async def serve(self, request: web.Request, caller: Caller) -> web.WebSocketResponse:
        """The conversation with one replica, until it ends."""
        socket = web.WebSocketResponse(compress=False, max_msg_size=MAX_FRAME, autoping=True)
        await socket.prepare(request)
        self._numbers += 1
        link = self._links[self._numbers] = Link(self._numbers, socket)
        sender = asyncio.get_running_loop().create_task(link.send(), name=f"link {link.number}")
        reason = "the connection ended"
        try:
            await self._hello(link, socket, caller)
            async for message in socket:
                self.frames_in += 1
                self._take(link, _bytes_of(message))
        except FrameFault as fault:
            reason = str(fault)
            log.warning("a bad frame ends a connection", replica=link.replica, why=reason)
            await socket.close(code=4002, message=reason.encode()[:120])
        except (ConnectionError, TimeoutError) as fault:
            reason = str(fault) or type(fault).__name__
        finally:
            sender.cancel()
            self._gone(link, reason)
        return socket

    async def _hello(self, link: Link, socket: web.WebSocketResponse, caller: Caller) -> None:
        first = await asyncio.wait_for(socket.receive(), _HELLO_S)
        messages = frames.decode(_bytes_of(first), REPLICA_KINDS)
        if not messages or not isinstance(messages[0], frames.Hello):
            raise FrameFault("the first message must be a hello")
        hello = messages[0]
        hello = _vouched(hello, caller)
        link.replica, link.generation, link.invite = hello.replica, hello.generation, caller.name
        older = self._by_replica.get(hello.replica)
        if older is not None:
            older.close("a newer connection took its place")  # Else who is behind it would wait there, unheard.
        self._by_replica[hello.replica] = link
        self.on_new_link(hello.replica)
        if caller.name:
            self.on_joined(hello.replica, hello.generation)
        self._post(ReplicaConnected(hello, link.number))
        for message in messages[1:]:
            self._dispatch(link, message)

    def _take(self, link: Link, data: bytes) -> None:
        for message in frames.decode(data, REPLICA_KINDS):
            self._dispatch(link, message)

    def _dispatch(self, link: Link, message: Any) -> None:
        if isinstance(message, frames.Result):
            self._post(ResultsCame(link.replica, link.number, message, Outcomes.unpack(message.body)))
        elif isinstance(message, frames.Log):
            self._output(message)
        elif isinstance(message, frames.Ping):
            link.put(frames.Pong(message.number))
            link.flush()
        elif isinstance(message, frames.Hello):
            raise FrameFault("a second hello")
        elif not isinstance(message, frames.Pong):
            self._post(Heard(link.replica, link.number, message))

    def _gone(self, link: Link, reason: str) -> None:
        self._links.pop(link.number, None)
        if self._by_replica.get(link.replica) is link:
            del self._by_replica[link.replica]
        if link.replica and link.invite:
            self.on_left(link.replica)
        if link.replica:
            self._post(LinkLost(link.replica, link.number, reason))


def _vouched(hello: frames.Hello, caller: Caller) -> frames.Hello:
    """A hello whose claims are those of its token, whatever the replica says.

    Raises:
        FrameFault: The token is another replica's.
    """
    facts = dict(hello.facts)
    if caller.name:
        if not hello.replica.startswith(f"{caller.name}."):
            raise FrameFault(f"replicas of {caller.name} are called {caller.name}.SOMETHING, not {hello.replica}")
        facts.update(external=True, environment=caller.environment, project=caller.project, invite=caller.name)
    else:
        if (hello.replica, hello.generation) != (caller.replica, caller.generation):
            raise FrameFault(f"this token is not {hello.replica}'s")
        facts.update(external=False, pool=hello.replica.rsplit("-r", 1)[0])
    return hello._replace(facts=facts)


def _bytes_of(message: WSMessage) -> bytes:
    """A frame's bytes.

    Raises:
        FrameFault: It is no frame, or larger than any may be.
        ConnectionError: The other side is leaving.
    """
    if message.type is WSMsgType.BINARY:
        data: bytes = message.data
        return data
    if message.type in (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED):
        raise ConnectionResetError("it left before its hello")
    raise FrameFault(str(message.data) if message.type is WSMsgType.ERROR else "frames are binary")


def only_replicas(caller: Caller) -> Caller:
    """Refuse whoever is no replica.

    Raises:
        ApiError: The caller holds another kind of token.
    """
    if caller.role is not Role.REPLICA:
        raise ApiError("forbidden", "only a replica's own token opens its conversation")
    return caller
