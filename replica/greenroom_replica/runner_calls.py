"""One call in a runner: decoded, run, encoded, undone, and its outcome written where nothing can lose it."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgpack

from greenroom.context import CallCancelled, Context, Surroundings, enter
from greenroom.errors import CallExited, CallTimedOut
from greenroom_core.failure import Cause, Failure
from greenroom_protocol.calls import Status
from greenroom_replica.core import talk
from greenroom_replica.core.page import (
    CURRENT,
    DONE,
    LARGEST,
    LIMIT,
    PHASE,
    STARTED,
    Page,
    Phase,
)
from greenroom_replica.runner_failures import cause_of, describe, where_now
from greenroom_replica.runner_output import Output
from greenroom_replica.runner_stop import Stopper, no_interruption
from greenroom_replica.workshop import Callee, Elsewhere, NotReady, Workshop

KNOCK_AFTER: Final = 1_000_000
"""Nanoseconds that an outcome waits for others to go with it; a call that is expected to last longer goes first."""

NOTABLE: Final = 10_000_000
"""Nanoseconds of a call from which on its processor time and memory are worth a figure."""

_SCALE: Final = 1024 if sys.platform.startswith("linux") else 1
_monotonic = time.monotonic_ns


class Lane:
    """The calls of one order: what they have in common."""

    __slots__ = ("callee", "digest", "execution", "node", "surroundings")

    def __init__(self, digest: bytes, execution: str, node: str, surroundings: Surroundings) -> None:
        self.digest = digest
        self.execution = execution
        self.node = node
        self.surroundings = surroundings
        self.callee: Callee | None = None


class Calls:
    """Runs calls one after the other, and writes outcomes for whoever runs them.

    Args:
        page: Shared with the supervisor.
        sock: To the supervisor; blocking.
        output: The runner's stdout and stderr.
        stopper: Who interrupts.
        workshop: Who prepares functions, and undoes what calls leave behind.
        prepare: Gives the callee of a lane, from its definition.
    """

    def __init__(
        self,
        page: Page,
        sock: socket.socket,
        output: Output,
        stopper: Stopper,
        workshop: Workshop,
        prepare: Callable[[Lane], Callee],
    ) -> None:
        self.page = page
        self.words = page.words
        self.sock = sock
        self.output = output
        self.stopper = stopper
        self.workshop = workshop
        self._prepare = prepare
        self._unsent_since = 0
        self._wall = 0
        self._usage = (0.0, 0)
        self._loop: asyncio.AbstractEventLoop | None = None
        self.pid = os.getpid()
        self.retire: str | None = None
        """Why this process should take no more calls."""

    # Around orders --------------------------------------------------------------------------------------------------

    def start_order(self) -> None:
        """Calls follow, possibly after a pause: clocks and figures start afresh."""
        self._wall = time.time_ns() // 1000 - _monotonic() // 1000
        self._usage = _usage()
        self.output.skip()

    def say(self, message: talk.Report) -> None:
        """Say something to the supervisor."""
        with no_interruption():
            self.sock.sendall(talk.frame(message))

    def knock(self) -> None:
        """Have the supervisor look at the page."""
        self._unsent_since = 0
        self.sock.sendall(talk.KNOCK)

    @property
    def has_unsent(self) -> bool:
        """Whether outcomes stand in the page that no knock was made for."""
        return self._unsent_since != 0

    # One call -------------------------------------------------------------------------------------------------------

    def call(self, serial: int, lane: Lane, payload: bytes, item: int, attempt: int, is_last: bool) -> bool:
        """Run one call to its outcome; False if the supervisor has taken it back before it began.

        Args:
            serial: What the supervisor knows it by.
            lane: What it has in common with its neighbours.
            payload: Its inputs.
            item: Its place in a map.
            attempt: Its attempt's number.
            is_last: Whether no neighbour follows: it takes along what the cache has to tell of all of them.
        """
        words = self.words
        callee = lane.callee
        if self._unsent_since and (callee is None or callee.usual > KNOCK_AFTER):
            self.knock()
        words[PHASE] = Phase.IMPORTING if callee is None else Phase.INPUTS
        words[CURRENT] = serial
        words[STARTED] = begun = _monotonic()
        if words[LIMIT] < serial:
            words[CURRENT] = words[PHASE] = 0
            return False
        context = Context(lane.surroundings, item, attempt, serial)
        extras: dict[str, Any] = {}
        try:
            status, body = self._invoke(serial, lane, payload, context, extras)
        except Elsewhere as move:
            words[CURRENT] = words[PHASE] = 0
            self.say(talk.Moved(serial, move.why, move.alone))
            return move.alone
        except CallCancelled as stop:  # It came between two of our own lines.
            words[PHASE] = Phase.ENCODING
            status, body = self._stopped(serial, lane, stop)
        duration = _monotonic() - begun
        if os.getpid() != self.pid:
            self.output.leave()  # User code forked and came back here: that process is nobody's.
        if context._folder is not None:
            context.close()
        printed = self.output.mark()
        if printed is not None:
            extras["log"] = printed
        if duration > NOTABLE:
            self._figures(extras)
        wall = self._wall + begun // 1000
        self.finish(serial, lane.callee, wall, duration // 1000, status, body, extras, is_last)
        return True

    def _invoke(
        self, serial: int, lane: Lane, payload: bytes, context: Context, extras: dict[str, Any]
    ) -> tuple[int, bytes]:
        words = self.words
        step = Cause.INFRASTRUCTURE
        try:
            callee = lane.callee or self._prepare(lane)
            inside = self.workshop.begin(callee, (lane.execution, lane.node, context.item, context.attempt))
            inside.run(enter, context)
            step = Cause.INPUT
            inputs = callee.decode(payload)
            step = Cause.USER
            words[PHASE] = Phase.USER
            if callee.is_async:
                result = inside.run(self._await, callee.fn, inputs)
            else:
                result = inside.run(callee.fn, **inputs)
            words[PHASE] = Phase.ENCODING
            step = Cause.RESULT
            body, warnings = callee.encode(result)
        except Elsewhere:
            raise
        except BaseException as error:
            words[PHASE] = Phase.ENCODING
            return self._failed(serial, lane, error, step)
        if warnings:
            extras["warnings"] = list(warnings)
        if self.stopper.stopped(serial):
            return self._stopped(serial, lane, None)
        return Status.SUCCEEDED, body

    def _await(self, fn: Callable[..., Any], inputs: Mapping[str, Any]) -> Any:
        """Run a coroutine function on the runner's own loop, which entries of the actor cache may be bound to."""
        loop = self.loop()
        task = loop.create_task(fn(**inputs))
        try:
            return loop.run_until_complete(task)
        except BaseException:
            if not task.done():  # An interruption hit the loop, not the coroutine: that is cancelled as asyncio does.
                task.cancel()
                loop.run_until_complete(asyncio.wait([task]))
            raise
        finally:
            _end_others(loop)

    def loop(self) -> asyncio.AbstractEventLoop:
        """The runner's event loop; a new one if user code has closed it."""
        if self._loop is None or self._loop.is_closed():
            self._loop = asyncio.new_event_loop()
        return self._loop

    # Outcomes -------------------------------------------------------------------------------------------------------

    def _failed(self, serial: int, lane: Lane, error: BaseException, step: Cause) -> tuple[int, bytes]:
        why = self.stopper.stopped(serial)
        if why is not None or isinstance(error, CallCancelled):
            return self._stopped(serial, lane, error)
        if isinstance(error, NotReady):
            step = error.cause
            error = error.__cause__ or error
        if isinstance(error, SystemExit) and step is Cause.USER:
            return self._left(lane, error)
        cause = cause_of(error) if step is Cause.USER else step
        return Status.FAILED, self.failure(lane, error, cause).pack()

    def failure(self, lane: Lane, error: BaseException, cause: Cause) -> Failure:
        """An exception as it travels."""
        failure = describe(error, cause, self.paths(lane))
        if cause is not Cause.MEMORY:
            return failure
        return _with_details(failure, peak=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _SCALE)

    def paths(self, lane: Lane) -> Any:
        """Which frames are the user's, and what the user calls their files."""
        from greenroom_replica.runner_failures import Paths

        return lane.callee.paths if lane.callee is not None else Paths()

    def _left(self, lane: Lane, error: SystemExit) -> tuple[int, bytes]:
        """`sys.exit` in a task: fine where nothing is declared to come out and nothing says that it went wrong."""
        assert lane.callee is not None
        definition = lane.callee.definition
        if error.code in (None, 0) and not definition.outputs:
            return Status.SUCCEEDED, b""
        exited = CallExited(definition.task, error.code).with_traceback(error.__traceback__)
        exited.__suppress_context__ = True
        failure = describe(exited, Cause.EXIT, lane.callee.paths)
        return Status.FAILED, _with_details(failure, code=_plain(error.code)).pack()

    def _stopped(self, serial: int, lane: Lane, error: BaseException | None) -> tuple[int, bytes]:
        """The outcome of a call that was told to stop."""
        why = self.stopper.stopped(serial) or "cancelled"
        definition = lane.callee.definition if lane.callee is not None else None
        trace = error.__traceback__ if error is not None else None
        paths = self.paths(lane)
        if why == "timed out" and definition is not None and definition.timeout is not None:
            timed_out = CallTimedOut(definition.task, definition.timeout).with_traceback(trace)
            failure = describe(timed_out, Cause.TIMEOUT, paths)
            return Status.FAILED, _with_details(failure, seconds=definition.timeout).pack()
        where = where_now(trace, paths)
        failure = Failure(Cause.CANCELLED, "CallCancelled", "cancelled while it ran", where=where)
        return Status.CANCELLED, failure.pack()

    def finish(
        self,
        serial: int,
        callee: Callee | None,
        started: int,
        duration: int,
        status: int,
        body: bytes,
        extras: dict[str, Any],
        is_last: bool,
    ) -> None:
        """Write an outcome, undo what the call did, and count the outcome."""
        words, page = self.words, self.page
        large = len(body) > LARGEST
        while not large and not page.put(serial, started, duration, status, body, b""):
            self.wait_for_room()
        words[PHASE] = Phase.RESETTING
        if callee is not None:
            usual = callee.usual
            callee.usual = duration * 1000 if usual == 1 << 62 else (7 * usual + duration * 1000) >> 3
            retire = self.workshop.end(callee, extras)
            if retire is not None:
                self.retire = retire
            if is_last and (told := self.workshop.telemetry()):
                extras["cache"] = told
        if extras or large:
            packed = _pack(extras)
            if large or len(packed) > LARGEST - len(body):
                self.say(talk.Large(serial, started, duration, status, body, packed))
                self._after(serial)
                return
            while not page.amend(packed):
                self.wait_for_room()
        page.publish()
        self._after(serial)

    def _after(self, serial: int) -> None:
        words = self.words
        words[CURRENT] = words[PHASE] = 0
        words[DONE] += 1
        now = _monotonic()
        if not self._unsent_since:
            self._unsent_since = now
        elif now - self._unsent_since > KNOCK_AFTER:
            self.knock()

    def wait_for_room(self) -> None:
        """The page is full: the supervisor is asked to read it, and waited for."""
        self.knock()
        time.sleep(0.0005)

    def _figures(self, extras: dict[str, Any]) -> None:
        """Processor time and memory of a call that took long enough to ask for them."""
        cpu, peak = _usage()
        if cpu - self._usage[0] > 0.010:
            extras["cpu_ms"] = round((cpu - self._usage[0]) * 1000, 1)
        if peak - self._usage[1] > 1 << 20:
            extras["peak_rss"] = peak
            extras["rss_delta"] = peak - self._usage[1]
        self._usage = (cpu, peak)


def _usage() -> tuple[float, int]:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss * _SCALE


def _pack(extras: Mapping[str, Any]) -> bytes:
    packed: bytes = msgpack.packb(extras, unicode_errors="surrogatepass", default=repr)
    return packed


def _with_details(failure: Failure, **details: Any) -> Failure:
    from dataclasses import replace

    return replace(failure, details={**failure.details, **details})


def _plain(code: object) -> object:
    return code if isinstance(code, int | str) or code is None else repr(code)


def _end_others(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel what a coroutine has started and not waited for, as `asyncio.run` does at its end."""
    if loop.is_closed():
        return
    others = [task for task in asyncio.all_tasks(loop) if not task.done()]
    for task in others:
        task.cancel()
    if others:
        loop.run_until_complete(asyncio.wait(others, timeout=5.0))
