"""Calls that a running call makes: each becomes nodes of its execution, and the hub says what they gave."""

from __future__ import annotations

import asyncio
import hashlib
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Generator, Mapping
from typing import TYPE_CHECKING, Any

from greenroom.scopes import Settled
from greenroom_core.failure import Failure
from greenroom_protocol.calls import Status
from greenroom_replica.core import talk
from greenroom_replica.runner_stop import no_interruption

if TYPE_CHECKING:
    from greenroom.types import Interface


class Asking:
    """The questions of a runner's calls.

    Args:
        sock: To the supervisor; blocking.
        stream: Cuts what it says into orders.
        number: The runner's, so that questions of the replica's other runners have other names.
        put_off: Takes orders that come between answers.
    """

    def __init__(
        self, sock: socket.socket, stream: talk.Stream, number: int, put_off: Callable[[Any], None], reads_itself: bool
    ) -> None:
        self._sock, self._stream, self._put_off = sock, stream, put_off
        self._reads_itself = reads_itself
        """Whether nobody else reads the socket while calls run."""
        self._next = number << 32
        self._open: dict[int, Question] = {}
        self._watched: asyncio.AbstractEventLoop | None = None

    def ask(self, serial: int, key: str, body: bytes, interface: Interface) -> Question:
        """Send a question to the hub."""
        self._next += 1
        question = Question(self, self._next, interface)
        self._open[self._next] = question
        self._say(talk.Ask(serial, self._next, key, body))
        if self._reads_itself:
            self._watch()
        return question

    def waive(self, number: int) -> None:
        """The answer is not wanted any more."""
        if self._open.pop(number, None) is not None:
            self._say(talk.Waive(number))
        self._unwatch_if_done()

    def answered(self, answer: talk.Answer) -> None:
        """An answer has come."""
        question = self._open.pop(answer.number, None)
        if question is not None:
            question.settle(answer)
        self._unwatch_if_done()

    def wait_for(self, question: Question) -> None:
        """Wait for one answer while nothing else of this process runs."""
        while question.answer is None:
            if not self._read(self._sock.recv(1 << 18)):
                raise ConnectionError("the replica's supervisor is gone")

    def _say(self, message: talk.Ask | talk.Waive) -> None:
        with no_interruption():
            self._sock.sendall(talk.frame(message))

    def _read(self, data: bytes) -> bool:
        for order in self._stream.feed(data) if data else ():
            if isinstance(order, talk.Answer):
                self.answered(order)
            else:
                self._put_off(order)
        return bool(data)

    def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        if self._watched is not loop:
            loop.add_reader(self._sock, self._readable)
            self._watched = loop

    def _unwatch_if_done(self) -> None:
        if not self._open and self._watched is not None:
            if not self._watched.is_closed():
                self._watched.remove_reader(self._sock)
            self._watched = None

    def _readable(self) -> None:
        try:
            data = self._sock.recv(1 << 18, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not self._read(data):
            self._open.clear()
            self._unwatch_if_done()  # The supervisor is gone, and this process is about to go too.


class Question:
    """One question: awaited, or waited for."""

    def __init__(self, asking: Asking, number: int, interface: Interface) -> None:
        self._asking, self._number, self._interface = asking, number, interface
        self.answer: talk.Answer | None = None
        self._future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def settle(self, answer: talk.Answer) -> None:
        """The answer is here."""
        self.answer = answer
        if not self._future.done():
            self._future.set_result(None)

    def __await__(self) -> Generator[Any, None, Any]:
        try:
            yield from self._future.__await__()
        except asyncio.CancelledError:
            self._asking.waive(self._number)
            raise
        return self._value()

    def now(self) -> Settled:
        """How it ended; waits for that, and nothing else goes on here meanwhile."""
        self._asking.wait_for(self)
        try:
            return Settled(self._value())
        except Exception as error:
            return Settled(error=error)

    def _value(self) -> Any:
        from greenroom.files import known_store
        from greenroom.interfaces import named_tuple
        from greenroom_core.values import split

        assert self.answer is not None
        if self.answer.status != Status.SUCCEEDED:
            raise self._error(Failure.unpack(self.answer.payload))
        interface = self._interface
        names = list(interface.outputs)
        values = dict(zip(names, split(self.answer.payload, len(names)), strict=True))
        decoded = interface.decode_outputs(values, known_store())
        if interface.shape != "tuple":
            return decoded
        return named_tuple("DefaultNamedTupleOutput", tuple(names))._make(decoded)

    def _error(self, failure: Failure) -> Exception:
        from greenroom.errors import WorkflowFailed
        from greenroom.handles import own_error

        own = own_error(failure)
        if own is None:
            own = WorkflowFailed(str(failure.details.get("node") or ""), failure.line())
        return own


class HubDispatcher:
    """Has the hub run the calls of one call.

    Args:
        asking: The runner's questions.
        serial: The call's.
    """

    def __init__(self, asking: Asking, serial: int) -> None:
        self._asking, self._serial = asking, serial
        self._seen: Counter[str] = Counter()

    def start(self, entity: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Awaitable[Any] | Settled:
        """Start a call at once, or as soon as the calls among its arguments have ended."""
        from greenroom.eager import is_settled, value_of

        if is_settled((*args, *kwargs.values())):
            return self.ask(entity, value_of(args), value_of(dict(kwargs)))
        return Later(self, entity, args, kwargs)

    def ask(self, entity: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Question:
        from greenroom.compile import fragment_of
        from greenroom.dynamic import laid_out
        from greenroom.files import known_store

        body = fragment_of(laid_out(entity, args, kwargs), known_store())
        digest = hashlib.sha256(body).hexdigest()[:32]
        self._seen[digest] += 1
        return self._asking.ask(self._serial, f"{digest}-{self._seen[digest]}", body, entity.interface)


class Later:
    """A call some of whose arguments are calls that have not ended: it is asked for once they have."""

    def __init__(
        self, dispatcher: HubDispatcher, entity: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> None:
        self._dispatcher, self._entity, self._given = dispatcher, entity, (args, dict(kwargs))
        self._question: Question | None = None

    def __await__(self) -> Generator[Any, None, Any]:
        return self._run().__await__()

    async def _run(self) -> Any:
        from greenroom.eager import awaited

        args, kwargs = await awaited(self._given)
        return await self._ask(args, kwargs)

    def now(self) -> Settled:
        """How it ended; waits for its arguments and for that."""
        from greenroom.eager import value_of

        return self._ask(*value_of(self._given)).now()

    def _ask(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Question:
        if self._question is None:
            self._question = self._dispatcher.ask(self._entity, args, kwargs)
        return self._question
