"""A client's way to its hub: kept connections, and patience while the hub is restarted."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterator
from typing import Final, TypeAlias, TypeVar

from greenroom.http import Connection, Head, HttpFault, Request, Response
from greenroom.hub_errors import HubError, HubGone, Unreachable, refused
from greenroom.hubs import Hub, recover_local_hub
from greenroom.websocket import WebSocket, open_websocket

T = TypeVar("T")

Operation: TypeAlias = Generator[Request, Response, T]
"""What a client does, without I/O: it yields requests and is sent their answers. Sync and async clients drive it."""

PATIENCE: Final = 60.0
"""Seconds that a hub may be away, as during its restart or a broken network, before that is an error."""

_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 2.0


class Link:
    """The way to one hub. May be used by several threads; a forked child gets connections of its own."""

    def __init__(
        self,
        hub: Hub,
        *,
        patience: float = PATIENCE,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.hub, self.say = hub, say
        self._patience, self._clock, self._sleep = patience, clock, sleep
        self._idle: list[Connection] = []
        self._pid = os.getpid()

    def drive(self, operation: Operation[T]) -> T:
        """Carry out an operation, request by request.

        Raises:
            HubError: The hub stays away, or says no.
        """
        try:
            request = next(operation)
            while True:
                request = operation.send(self.request(request))
        except StopIteration as end:
            value: T = end.value
            return value

    def request(self, request: Request) -> Response:
        """Ask; while nobody answers, ask again. Every request of ours may be repeated.

        Raises:
            HubError: The hub was stopped, or stays away longer than the link is patient.
        """
        return self._patiently(lambda: self._request(request))

    def _request(self, request: Request) -> Response:
        connection = self._take()
        answer = connection.request(request)
        self._idle.append(connection)
        return answer

    def open(self, request: Request) -> tuple[Head, Connection]:
        """Ask, and read the answer's head; its body is read from the connection, which the caller closes."""

        def ask() -> tuple[Head, Connection]:
            connection = self._take()
            return connection.open(request), connection

        return self._patiently(ask)

    def stream(self, request: Request) -> Iterator[bytes]:
        """Ask, and give the answer's body as it comes.

        Raises:
            Refused: The hub says no.
        """
        head, connection = self.open(request)
        try:
            if head.status >= 300:
                raise refused(head.status, b"".join(connection.stream()))
            yield from connection.stream()
        finally:
            connection.close()

    def websocket(self, path: str) -> WebSocket:
        """Open a stream of messages.

        Raises:
            Refused: The hub says no.
        """

        def ask() -> WebSocket:
            connection = self._take()
            stream = open_websocket(connection, path)
            if isinstance(stream, Head):
                body = b"".join(connection.stream())
                connection.close()
                raise refused(stream.status, body)
            return stream

        return self._patiently(ask)

    def _take(self) -> Connection:
        if self._pid != os.getpid():  # A fork: two processes would read each other's answers.
            self._pid, self._idle = os.getpid(), []
        while self._idle:
            connection = self._idle.pop()
            if connection.idle and connection.endpoint == self.hub.endpoint:
                return connection
            connection.close()
        return self.hub.connect()

    def _patiently(self, attempt: Callable[[], T]) -> T:
        try:
            return attempt()
        except (HttpFault, Unreachable) as fault:
            last: HubError = fault
        deadline, pause = self._clock() + self._patience, _FIRST_PAUSE
        while True:
            self._find_again(last)
            try:
                return attempt()
            except (HttpFault, Unreachable) as fault:
                last = fault
            if self._clock() + pause > deadline:
                raise last
            self._sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _find_again(self, fault: HubError) -> None:
        """The local hub may have crashed, and then it is started again; or it was stopped, and then it stays so."""
        state = self.hub.state
        if state is None:
            return
        if not self.hub.lasting:
            raise HubGone() from fault
        self.hub = recover_local_hub(state, self.say)

    def close(self) -> None:
        """Close all idle connections."""
        while self._idle:
            self._idle.pop().close()
