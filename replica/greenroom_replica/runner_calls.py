"""One call in a runner: decoded, run, encoded, undone, and its outcome written where nothing can lose it."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgpack

from greenroom.context import CallCancelled, Context, Surroundings, set_current
from greenroom_core.failure import Cause
from greenroom_replica.core import talk
from greenroom_replica.core.page import CANCEL, CURRENT, HEAD, LARGEST, LIMIT, PHASE, STARTED, Page, Phase
from greenroom_replica.runner_outcomes import interrupted, raised, usage
from greenroom_replica.runner_output import Output
from greenroom_replica.runner_stop import Stopper, no_interruption
from greenroom_replica.workshop import Callee, Elsewhere, Workshop

KNOCK_AFTER: Final = 1_000_000
"""Nanoseconds that an outcome waits for others to go with it; a call that is expected to last longer goes first."""

NOTABLE: Final = 10_000_000
"""Nanoseconds of a call from which on its processor time and memory are worth a figure."""

# Plain ints: a member of an enum costs a look-up, in the hottest loop that there is.
_IMPORTING, _INPUTS, _USER = int(Phase.IMPORTING), int(Phase.INPUTS), int(Phase.USER)
_ENCODING, _RESETTING = int(Phase.ENCODING), int(Phase.RESETTING)
_AT_IMPORT, _AT_INPUT, _AT_USER, _AT_RESULT = Cause.INFRASTRUCTURE, Cause.INPUT, Cause.USER, Cause.RESULT

_packb = msgpack.packb
_monotonic = time.monotonic_ns
_running_loop, _set_running_loop = asyncio._get_running_loop, asyncio._set_running_loop
_getpid = os.getpid


class Lane:
    """The calls of one order: what they have in common."""

    __slots__ = ("callee", "digest", "execution", "is_forked", "node", "surroundings")

    def __init__(self, digest: bytes, execution: str, node: str, surroundings: Surroundings) -> None:
        self.digest = digest
        self.execution = execution
        self.node = node
        self.surroundings = surroundings
        self.callee: Callee | None = None
        self.is_forked = False
        """Whether its calls run in children of the runner."""


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
        self.prepare = prepare
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
        self.begin_figures()
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
        words[PHASE] = _IMPORTING if callee is None else _INPUTS
        words[CURRENT] = serial
        words[STARTED] = begun = _monotonic()
        if words[LIMIT] < serial:
            words[CURRENT] = words[PHASE] = 0
            return False
        context = Context(lane.surroundings, item, attempt, serial)
        extras: dict[str, Any] = {}
        try:
            status, body = self.run_inside(lane, payload, context, extras)
        except Elsewhere as move:
            words[CURRENT] = words[PHASE] = 0
            self.say(talk.Moved(serial, move.why, move.alone))
            return move.alone
        except CallCancelled as stop:  # It came between two of our own lines.
            words[PHASE] = _ENCODING
            status, body = interrupted(lane.callee, stop, self.stopper.stopped(serial))
        duration = _monotonic() - begun
        if _running_loop() is not None:
            _set_running_loop(None)  # User code has set it by hand: nobody could run a loop here any more.
        if _getpid() != self.pid:
            self.output.leave()  # User code forked and came back here: that process is nobody's.
        if context._folder is not None:
            context.close()
        self.figures(extras, duration)
        printed = self.output.mark()
        if printed is not None:
            extras["log"] = printed
        self.finish(serial, lane.callee, begun, duration, status, body, extras, is_last)
        return True

    def run_inside(self, lane: Lane, payload: bytes, context: Context, extras: dict[str, Any]) -> tuple[int, bytes]:
        """Prepare, open, call, encode: status and payload of the outcome.

        Raises:
            Elsewhere: The call must not run in this process.
            CallCancelled: It was interrupted between two lines of ours.
        """
        words, callee = self.words, lane.callee
        inputs: Mapping[str, Any] = {}
        step = _AT_IMPORT
        try:
            if callee is None:
                callee = self.prepare(lane)
            context.enable_deck = callee.reports
            inside = self.workshop.begin(callee, context)
            inside.run(set_current, context)
            step = _AT_INPUT
            inputs = callee.decode(payload)
            if (known := self.workshop.call) is not None:
                known.inputs = inputs
            step = _AT_USER
            words[PHASE] = _USER
            if callee.is_async:
                result = inside.run(self._await, callee.fn, inputs)
            else:
                result = inside.run(callee.fn, **inputs)
            self.workshop.steady(callee)
            words[PHASE] = _ENCODING
            step = _AT_RESULT
            body = callee.encode(result)
        except Elsewhere:
            raise
        except BaseException as error:
            words[PHASE] = _ENCODING
            if callee is not None:
                self.workshop.steady(callee)
            if callee is not None and (callee.reports or context._decks is not None):
                callee.report(context, inputs, None, True, extras)
            return raised(callee, error, step, self.stopper.stopped(context._key))
        if callee.warnings:
            extras["warnings"], callee.warnings[:] = list(callee.warnings), ()
        if callee.reports or context._decks is not None:
            callee.report(context, inputs, result, False, extras)
        if context._artifacts:
            extras["artifacts"] = context._artifacts
        if words[CANCEL] == context._key and (why := self.stopper.stopped(context._key)) is not None:
            return interrupted(callee, None, why)
        return 0, body

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
            end_others(loop)

    def loop(self) -> asyncio.AbstractEventLoop:
        """The runner's event loop; a new one if user code has closed it."""
        if self._loop is None or self._loop.is_closed():
            self._loop = asyncio.new_event_loop()
        return self._loop

    # Outcomes -------------------------------------------------------------------------------------------------------

    def finish(
        self,
        serial: int,
        callee: Callee | None,
        begun: int,
        duration: int,
        status: int,
        body: bytes,
        extras: dict[str, Any],
        is_last: bool,
    ) -> None:
        """Write an outcome, undo what the call did, and count the outcome. Times are monotonic nanoseconds."""
        words, page = self.words, self.page
        started, took = self._wall + begun // 1000, duration // 1000
        large = len(body) > LARGEST
        while not large and not page.put(serial, started, took, status, body):
            self.wait_for_room()
        words[PHASE] = _RESETTING
        if callee is not None:
            usual = callee.usual
            callee.usual = duration if usual == 1 << 62 else (7 * usual + duration) >> 3
            retire = self.workshop.end(callee, extras, duration)
            if retire is not None:
                self.retire = retire
            if is_last and (told := self.workshop.telemetry()):
                extras["cache"] = told
        if not extras and not large:
            words[HEAD] += 1
        else:
            self._write_extras(serial, started, took, status, body, extras, large)
        words[CURRENT] = words[PHASE] = 0
        now = begun + duration
        if not self._unsent_since:
            self._unsent_since = now
        elif now - self._unsent_since > KNOCK_AFTER:
            self.knock()

    def write(self, serial: int, begun: int, duration: int, status: int, body: bytes, extras: dict[str, Any]) -> None:
        """Write and count an outcome whose call needs nothing undone. Times are monotonic nanoseconds."""
        started, took = self._wall + begun // 1000, duration // 1000
        large = len(body) > LARGEST
        while not large and not self.page.put(serial, started, took, status, body):
            self.wait_for_room()
        if told := self.workshop.telemetry():
            extras["cache"] = told
        self._write_extras(serial, started, took, status, body, extras, large)
        self._unsent_since = self._unsent_since or begun + duration

    def _write_extras(
        self, serial: int, started: int, took: int, status: int, body: bytes, extras: dict[str, Any], large: bool
    ) -> None:
        packed: bytes = _packb(extras, unicode_errors="surrogatepass", default=repr)
        if large or len(packed) > LARGEST - len(body):
            self.say(talk.Large(serial, started, took, status, body, packed))
            return
        while not self.page.amend(packed):
            self.wait_for_room()
        self.words[HEAD] += 1

    def wait_for_room(self) -> None:
        """The page is full: the supervisor is asked to read it, and waited for."""
        self.knock()
        time.sleep(0.0005)

    def begin_figures(self) -> None:
        """Processor time counts from here."""
        self._usage = usage()

    def figures(self, extras: dict[str, Any], duration: int) -> None:
        """Processor time and memory of a call that took long enough to ask for them."""
        if duration <= NOTABLE:
            return
        cpu, peak = usage()
        if cpu - self._usage[0] > 0.010:
            extras["cpu_ms"] = round((cpu - self._usage[0]) * 1000, 1)
        if peak - self._usage[1] > 1 << 20:
            extras["peak_rss"] = peak
            extras["rss_delta"] = peak - self._usage[1]
        self._usage = (cpu, peak)


def end_others(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel what a coroutine has started and not waited for, as `asyncio.run` does at its end."""
    if loop.is_closed():
        return
    others = [task for task in asyncio.all_tasks(loop) if not task.done()]
    for task in others:
        task.cancel()
    if others:
        loop.run_until_complete(asyncio.wait(others, timeout=5.0))
