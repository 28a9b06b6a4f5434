"""Calls that run at once: coroutines on one loop, told apart by a context variable, reset when none of them runs."""

from __future__ import annotations

import asyncio
import inspect
import socket
import time
from collections import deque
from collections.abc import Coroutine, Generator, Mapping
from contextvars import Context as Variables
from typing import TYPE_CHECKING, Any, Final

from greenroom.context import CallCancelled, Context, current_context, set_current
from greenroom_core.failure import Cause
from greenroom_replica.core import talk
from greenroom_replica.core.page import ASKED, BEGUN, CURRENT, PHASE, STARTED, Phase
from greenroom_replica.runner_calls import Calls, Lane
from greenroom_replica.runner_outcomes import interrupted, raised
from greenroom_replica.runner_stop import REASONS
from greenroom_replica.workshop import Callee, Elsewhere

if TYPE_CHECKING:
    from greenroom_replica.runner import Runner

MOST_CALLS: Final = 1_000
"""Calls after which the state is reset, though others would follow without a pause."""

MOST_SECONDS: Final = 60.0
"""The same in time."""

LIVE: Final = 0.25
"""Seconds between two looks at what running calls have printed."""

_USER: Final = int(Phase.USER)


class _Call:
    """One call, from its order to its outcome."""

    __slots__ = ("asked", "attempt", "item", "lane", "payload", "segments", "serial", "task", "totals", "why")

    def __init__(self, serial: int, lane: Lane, payload: bytes, item: int, attempt: int) -> None:
        self.serial, self.lane, self.payload, self.item, self.attempt = serial, lane, payload, item, attempt
        self.task: asyncio.Task[None] | None = None
        self.asked = False
        """Whether it has read `cancelled`."""
        self.why: str | None = None
        """Why it shall stop."""
        self.segments: list[list[int]] = []
        """`[stream, start, end]` of what it has printed and nobody was told of."""
        self.totals = [0, 0]
        """Bytes printed to stdout and stderr."""

    def printed(self, stream: int, start: int, end: int) -> None:
        """Note a piece of output."""
        self.totals[stream - 1] += end - start
        if self.segments and self.segments[-1][0] == stream and self.segments[-1][2] == start:
            self.segments[-1][2] = end
        else:
            self.segments.append([stream, start, end])


class _Marked(Coroutine[Any, Any, None]):
    """A coroutine whose every step says in the page which call it is: so that a crash, or a block, has a name."""

    def __init__(self, inner: Coroutine[Any, Any, None], words: memoryview, serial: int) -> None:
        self._inner, self._words, self._serial = inner, words, serial

    def send(self, value: Any, /) -> Any:
        """One step."""
        return self._step(self._inner.send, value)

    def throw(self, *error: Any) -> Any:
        """One step that begins with an exception."""
        return self._step(self._inner.throw, *error)

    def _step(self, step: Any, *arguments: Any) -> Any:
        words = self._words
        words[STARTED] = time.monotonic_ns()
        words[PHASE] = _USER
        words[CURRENT] = self._serial
        try:
            return step(*arguments)
        except CallCancelled as stop:  # It came between two of our own lines: the call's code has to hear of it.
            return self._inner.throw(stop)
        finally:
            words[CURRENT] = words[PHASE] = 0

    def close(self) -> None:
        """End it."""
        self._inner.close()

    def __await__(self) -> Generator[Any, Any, None]:
        return self._inner.__await__()


class Coroutines:
    """Runs up to as many calls at once as the supervisor hands over.

    One bundle at a time: calls of another one wait until those that run have ended. The state is reset whenever nothing
    runs, and new calls wait for that moment after `MOST_CALLS` calls or `MOST_SECONDS`.

    Args:
        runner: Who obeys all other orders.
        calls: Who writes outcomes.
        term_after: Seconds that a call which reads `cancelled` gets before it is cancelled.
    """

    def __init__(self, runner: Runner, calls: Calls, term_after: float) -> None:
        self._runner = runner
        self._calls = calls
        self._term_after = term_after
        self._loop = calls.loop()
        self._waiting: deque[_Call] = deque()
        self._running: dict[int, _Call] = {}
        self._base: Variables | None = None
        """What calls' contexts are copied from; None between rounds."""
        self._code: Any = None
        self._round = (0, 0.0)
        """Calls of this round so far, and when it began."""
        self._is_resetting = False
        self._left = False
        self._done = self._loop.create_future()
        self._knock: asyncio.Handle | None = None
        self._teller: asyncio.TimerHandle | None = None

    def run(self) -> None:
        """Take orders until told to leave, or until the supervisor is gone."""
        self._calls.output.route(self._sink)
        self._loop.add_reader(self._calls.sock, self._readable)
        try:
            self._loop.run_until_complete(self._done)
        finally:
            if not self._loop.is_closed():
                self._loop.remove_reader(self._calls.sock)

    # Orders ---------------------------------------------------------------------------------------------------------

    def _readable(self) -> None:
        try:
            data = self._calls.sock.recv(1 << 18, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._end()
            return
        for order in self._runner.stream.feed(data):
            self._obey(order)
        self._advance()

    def _obey(self, order: Any) -> None:
        match order:
            case talk.Run():
                self._calls.start_order()
                lane = self._runner.lane(order)
                self._waiting.extend(_Call(*call) for call in self._runner.calls_of(order, lane))
            case talk.Stop(serial, why):
                self._stop(serial, REASONS[why])
            case talk.Leave():
                self._left = True
                self._leave_if_done()
            case _:
                self._runner.obey(order)

    def put_off(self, order: Any) -> None:
        """An order came while a call waited for an answer without giving way: it is obeyed in the loop's next turn."""
        self._loop.call_soon(self._obey_late, order)

    def _obey_late(self, order: Any) -> None:
        self._obey(order)
        self._advance()

    def _end(self) -> None:
        if not self._done.done():
            self._done.set_result(None)

    def _leave_if_done(self) -> None:
        if self._left and not self._running and not self._waiting:
            self._end()

    def _stop(self, serial: int, why: str) -> None:
        call = self._running.get(serial)
        if call is None:
            for waiting in [one for one in self._waiting if one.serial == serial]:
                self._waiting.remove(waiting)
                waiting.why = why
                status, body = interrupted(waiting.lane.callee, None, why)
                self._write(waiting, time.monotonic_ns(), status, body, {})
            return
        call.why = why
        if call.task is not None:
            self._loop.call_later(self._term_after if call.asked else 0.0, call.task.cancel)

    def cancelled(self, serial: int) -> bool:
        """Whether a call shall stop; it stops by itself when it asks."""
        call = self._running.get(serial)
        if call is None:
            return False
        call.asked = True
        self._calls.words[ASKED] = serial
        return call.why is not None

    # Rounds ---------------------------------------------------------------------------------------------------------

    def _advance(self) -> None:
        """Start what can be started."""
        while self._waiting and not self._is_resetting:
            call = self._waiting[0]
            try:
                callee = self._ready(call)
            except Elsewhere as move:
                self._waiting.popleft()
                self._calls.say(talk.Moved(call.serial, move.why, move.alone))
                continue
            except BaseException as error:
                self._waiting.popleft()
                self._write(call, time.monotonic_ns(), *raised(None, error, Cause.INFRASTRUCTURE, None), {})
                continue
            if callee is None:
                return
            self._waiting.popleft()
            self._start(call, callee)

    def _ready(self, call: _Call) -> Callee | None:
        """The call's callee, with its code current; None if others have to end first."""
        callee = call.lane.callee or self._runner.known(call.lane)
        if self._running:
            begun, since = self._round
            is_due = begun >= MOST_CALLS or time.monotonic() - since > MOST_SECONDS
            if callee is None or callee.bundle is not self._code or is_due:
                return None
            return callee
        words = self._calls.words
        words[PHASE], words[STARTED] = int(Phase.IMPORTING), time.monotonic_ns()
        words[BEGUN] = words[CURRENT] = call.serial
        try:
            callee = callee or self._runner.prepare(call.lane)
            self._base, self._code = self._calls.workshop.open(callee), callee.bundle
        finally:
            words[CURRENT] = words[PHASE] = 0
        self._round = (0, time.monotonic())
        return callee

    def _start(self, call: _Call, callee: Callee) -> None:
        assert self._base is not None
        context = Context(call.lane.surroundings, call.item, call.attempt, call.serial)
        inside = self._base.copy()
        inside.run(set_current, context)
        self._calls.words[BEGUN] = max(self._calls.words[BEGUN], call.serial)
        self._running[call.serial] = call
        self._round = (self._round[0] + 1, self._round[1])
        body = _Marked(self._one(call, callee, context), self._calls.words, call.serial)
        call.task = self._loop.create_task(body, context=inside)
        call.task.add_done_callback(self._check)

    async def _one(self, call: _Call, callee: Callee, context: Context) -> None:
        begun = time.monotonic_ns()
        extras: dict[str, Any] = {}
        inputs: Mapping[str, Any] = {}
        result: Any = None
        step = Cause.INFRASTRUCTURE
        try:
            context.enable_deck = callee.reports
            self._calls.workshop.join(callee, context)
            step = Cause.INPUT
            inputs = callee.decode(call.payload)
            step = Cause.USER
            result = callee.fn(**inputs)
            if inspect.isawaitable(result):
                result = await result
            step = Cause.RESULT
            status, body = 0, callee.encode(result)
            self._calls.workshop.part(callee, extras)
            if call.why is not None and call.asked:
                status, body = interrupted(callee, None, call.why)
        except BaseException as error:
            self._calls.workshop.quit(callee)
            status, body = raised(callee, error, step, call.why or self._calls.stopper.stopped(call.serial))
        if callee.warnings:
            extras["warnings"], callee.warnings[:] = list(callee.warnings), ()
        if callee.reports or context._decks is not None:
            callee.report(context, inputs, result, bool(status), extras)
        if context._artifacts:
            extras["artifacts"] = context._artifacts
        context.close()
        if len(self._running) == 1:
            await self._settle(callee, extras)
        self._running.pop(call.serial, None)
        self._write(call, begun, status, body, extras)

    async def _settle(self, callee: Callee, extras: dict[str, Any]) -> None:
        """The last one that runs: end what calls have left behind, and undo what they changed."""
        self._is_resetting = True
        own = asyncio.current_task()
        others = [task for task in asyncio.all_tasks() if task is not own and not task.done()]
        for task in others:
            task.cancel()
        if others:
            await asyncio.wait(others, timeout=5.0)
        retire = self._calls.workshop.settle(callee, extras)
        if retire is not None:
            self._calls.say(talk.Retire(retire))
        self._base = self._code = None
        self._is_resetting = False

    def _write(self, call: _Call, begun: int, status: int, body: bytes, extras: dict[str, Any]) -> None:
        """Write an outcome, and have the supervisor look once this turn of the loop is over."""
        if call.totals != [0, 0]:
            extras["log"] = {"out": call.totals[0], "err": call.totals[1], "segments": call.segments}
        self._calls.write(call.serial, begun, time.monotonic_ns() - begun, status, body, extras)
        if self._knock is None:
            self._knock = self._loop.call_soon(self._after_turn)

    def _after_turn(self) -> None:
        self._knock = None
        self._calls.knock()
        self._advance()
        self._leave_if_done()

    def _check(self, task: asyncio.Task[None]) -> None:
        """A call's task is over; had it not written an outcome, the call would wait for ever."""
        if not task.cancelled() and task.exception() is not None and not self._done.done():
            self._done.set_exception(task.exception() or RuntimeError())

    # Output ---------------------------------------------------------------------------------------------------------

    def _sink(self, stream: int, start: int, end: int) -> None:
        """Something was printed: by the call whose context this is."""
        call = self._running.get(current_context()._key)
        if call is None:
            return
        call.printed(stream, start, end)
        if self._teller is None:
            self._teller = self._loop.call_later(LIVE, self._tell)

    def _tell(self) -> None:
        self._teller = None
        for call in self._running.values():
            if call.segments:
                self._calls.say(talk.Printed(call.serial, call.segments))
                call.segments = []
