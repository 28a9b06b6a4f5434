"""What a supervisor looks at while calls run: how long, how much memory, how many processes, what they print."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from typing import TYPE_CHECKING, Final

from greenroom_protocol.frames import Started
from greenroom_replica import endings, procfs, system
from greenroom_replica.cgroups import ControlGroup, group_name, own_oom_kills
from greenroom_replica.core.ladder import Step, Stopping, Why
from greenroom_replica.core.page import ASKED, CURRENT, HEAD, TAIL, Garbled, Phase
from greenroom_replica.core.slots import Held
from greenroom_replica.runner_failures import Paths, frames_of_dump
from greenroom_replica.runner_setup import DUMP_SIGNAL, PAGE_NAME

if TYPE_CHECKING:
    from greenroom_replica.crew import Crew, Spec
    from greenroom_replica.handle import RunnerHandle

log = logging.getLogger("greenroom.replica")

FIRST: Final = 0.05
"""Seconds after which a runner that was given something is looked at."""

USUAL: Final = 0.1
"""Seconds between two looks while calls run."""

CLOSE: Final = 0.02
"""The same where memory is half used, or processes are."""

HURRY: Final = 0.005
"""The same while there is output to read."""


class Watch:
    """Looks at busy runners, and does what is due. Sleeps while none is busy.

    Args:
        crew: Whose runners.
    """

    def __init__(self, crew: Crew) -> None:
        self._crew = crew
        self._timer: asyncio.TimerHandle | None = None
        self.memory_limit = crew.config.memory_limit
        self._groups: dict[int, ControlGroup] = {}
        self._own_kills = own_oom_kills() if self._is_walled else 0
        self._is_closed = False

    # Timers ---------------------------------------------------------------------------------------------------------

    def wake(self, within: float | None = None) -> None:
        """Something was given to a runner, or shall be stopped: look soon."""
        self._wake_in(FIRST if within is None else min(FIRST, within))

    def _wake_in(self, delay: float) -> None:
        timer = self._timer
        if self._is_closed or (timer is not None and timer.when() <= self._crew.loop.time() + delay):
            return
        if timer is not None:
            timer.cancel()
        self._timer = self._crew.loop.call_later(delay, self._tick)

    def close(self) -> None:
        """Look no more."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        for group in self._groups.values():
            group.remove()

    def _tick(self) -> None:
        self._timer = None
        pauses = [self._look_safely(handle) for handle in self._crew.roster if len(handle.hand)]
        if pauses:
            self._wake_in(min(pauses))

    # One runner -----------------------------------------------------------------------------------------------------

    def _look_safely(self, handle: RunnerHandle) -> float:
        try:
            return self._look(handle)
        except Exception as fault:  # One runner's page, whatever stands in it, is not to keep others unwatched.
            log.warning("a runner cannot be looked at", extra={"why": repr(fault)}, exc_info=True)
            self._crew.roster.kill(handle, endings.broken(str(fault)))
            return USUAL

    def _look(self, handle: RunnerHandle) -> float:
        """Do what is due for a busy runner; seconds until it wants to be looked at again."""
        self._let_go_on(handle)
        if handle.is_deaf and not handle.killed_for and procfs.is_without(handle.pid, PAGE_NAME):
            self._crew.roster.kill(handle, endings.another_program())
            return USUAL
        if handle.words[HEAD] != handle.words[TAIL]:
            self._crew.harvest(handle)  # An outcome waits behind a call that turned out to be long.
            self._crew.dispatch()
            if handle not in self._crew.roster:
                return USUAL
        running = handle.running()
        if handle.given:
            pause = self._look_at_coroutines(handle, running)
        elif running is None:
            return USUAL
        else:
            pause = self._look_at_call(handle, *running)
        return max(0.001, min(pause, self._resources(handle)))

    def _look_at_call(self, handle: RunnerHandle, serial: int, ran: float, phase: Phase) -> float:
        span = handle.hand.span_of(serial)
        if span is None:
            if serial >= handle.hand.next_serial:
                raise Garbled(f"its page tells of a call {serial} that it was never given")
            return USUAL
        call, spec, timings = span.batch.held(span.position(serial)), span.batch.spec, self._crew.timings
        pause = min(self._tell_start(handle, serial, call, ran), self._time(handle, serial, spec, ran))
        if phase is Phase.RESETTING:
            self._end_stuck_reset(handle, serial)
        is_due = ran >= timings.output_after and handle.words[CURRENT] == serial
        if is_due and self._crew.shipping.live(handle, call, spec.secrets):
            pause = HURRY
        if phase is Phase.FORKED and ran > timings.fork_silent:
            self._crew.roster.kill_child(handle)  # It waits for a lock that nobody holds any more.
        return pause

    def _let_go_on(self, handle: RunnerHandle) -> None:
        """A forked child that has stopped itself goes on; the runner itself is seen to by its parent."""
        child = handle.child
        if child and procfs.is_stopped(child):
            system.let_go_on(child, signal.SIGSTOP)
        elif child and procfs.tracer(child) == handle.pid:
            handle.killed_for = endings.broken("the call asked its parent to trace it, which nobody does")
            self._crew.roster.kill_child(handle)

    def _end_stuck_reset(self, handle: RunnerHandle, serial: int) -> None:
        """Clearing away after a call does not end: the call has its outcome, and its runner goes."""
        now, patience = time.monotonic(), self._crew.timings.reset_patience
        if handle.resetting is None or handle.resetting[0] != serial:
            handle.resetting = (serial, now)
        elif now - handle.resetting[1] > patience and not handle.killed_for:
            stuck = endings.stuck_reset(patience)
            handle.note(serial, stuck.message)
            self._crew.roster.kill(handle, stuck)

    def _look_at_coroutines(self, handle: RunnerHandle, running: tuple[int, float, Phase] | None) -> float:
        now, pause = time.monotonic(), USUAL
        for serial, given in list(handle.given.items()):
            span = handle.hand.span_of(serial)
            if span is not None:
                call, ran = span.batch.held(span.position(serial)), now - given
                pause = min(pause, self._tell_start(handle, serial, call, ran))
                pause = min(pause, self._time(handle, serial, span.batch.spec, ran))
        if running is not None and running[1] > self._crew.timings.blocked_after:
            self._name_blocker(handle, running[0])
        return pause

    def _tell_start(self, handle: RunnerHandle, serial: int, call: Held, ran: float) -> float:
        """Tell the hub of a call that runs for long."""
        if serial in handle.told_started:
            return USUAL
        left = self._crew.timings.started_after - ran
        if left > 0:
            return left
        handle.told_started = {other for other in handle.told_started if handle.hand.span_of(other)} | {serial}
        self._crew.port.say(Started(*call, time.time_ns() // 1000 - int(ran * 1e6)))
        return USUAL

    def _time(self, handle: RunnerHandle, serial: int, spec: Spec, ran: float) -> float:
        """Timeouts, and the steps by which calls are stopped."""
        stopping = handle.stops.get(serial)
        if stopping is None:
            if spec.timeout is None:
                return USUAL
            if ran < spec.timeout:
                return spec.timeout - ran
            self._crew.stops.stop(handle, serial, Why.TIMED_OUT, f"timeout of {spec.timeout:g} s")
            return 0.0
        timings, now = self._crew.timings, time.monotonic()
        asked = handle.words[ASKED] == serial
        step, again = stopping.due(now, asked, timings.term_after, timings.kill_after)
        if step is Step.INTERRUPT:
            self._interrupt(handle, serial, stopping)
        elif step is Step.KILL:
            self._kill_stuck(handle)
            return USUAL
        return again - now

    def _interrupt(self, handle: RunnerHandle, serial: int, stopping: Stopping) -> None:
        """Raise in the call. A coroutine that waits was cancelled already; one that blocks its loop is interrupted."""
        if handle.given:
            if handle.words[CURRENT] != serial:
                return
            handle.ask_to_stop(stopping)
        self._crew.roster.signal(handle, signal.SIGTERM)

    def _kill_stuck(self, handle: RunnerHandle) -> None:
        """Nothing else ended the call. Its stack is asked for first: where it hangs is worth knowing."""
        if not handle.is_dying:
            handle.is_dying = True
            before = len(handle.crash_dump())
            self._crew.roster.signal(handle, DUMP_SIGNAL)
            self._crew.loop.call_later(0.05, self._kill_now, handle, before)

    def _kill_now(self, handle: RunnerHandle, before: int, times: int = 10) -> None:
        if times and handle in self._crew.roster and len(handle.crash_dump()) == before:
            self._crew.loop.call_later(0.05, self._kill_now, handle, before, times - 1)
            return  # It has not had its turn on the processor yet.
        handle.is_dying = False
        if handle in self._crew.roster and handle.stops:
            handle.killed_for = endings.stuck(handle)
            if handle.child:
                self._crew.roster.kill_child(handle)
            else:
                self._crew.roster.kill(handle)

    def _name_blocker(self, handle: RunnerHandle, serial: int) -> None:
        """A coroutine holds the loop that all others need: say which, and where."""
        if serial in handle.blamed:
            return
        handle.blamed.add(serial)
        before = len(handle.crash_dump())
        self._crew.roster.signal(handle, DUMP_SIGNAL)
        self._crew.loop.call_later(0.05, self._tell_blocker, handle, serial, before)

    def _tell_blocker(self, handle: RunnerHandle, serial: int, before: int) -> None:
        if handle not in self._crew.roster:
            return
        traceback, where = frames_of_dump(handle.crash_dump()[before:], Paths())
        if where:
            text = (
                f"it blocks the event loop that it shares with other calls, at {where}: await instead, or use a thread"
            )
            handle.note(serial, f"{text}\n{traceback}")

    # Resources ------------------------------------------------------------------------------------------------------

    def born(self, handle: RunnerHandle) -> None:
        """A runner has a pid: its limits are set."""
        config = self._crew.config
        if config.cgroups and (config.memory_limit or config.pids_limit):
            name = group_name(f"{config.replica}.{os.getpid()}", handle.number)  # Hubs may have replicas of one name.
            group = ControlGroup.make(name, config.memory_limit, config.pids_limit)
            if group is not None and group.add(handle.pid):
                self._groups[handle.number] = group
        group = self._groups.get(handle.number)
        if config.memory_limit and (group is None or not group.limits_memory):
            system.bound_memory(handle.pid, config.memory_limit)

    def gone(self, handle: RunnerHandle) -> None:
        """A runner has ended."""
        group = self._groups.pop(handle.number, None)
        if group is not None:
            group.remove()

    def was_out_of_memory(self, handle: RunnerHandle) -> bool:
        """Whether the kernel has killed something in the runner's control group for lack of memory."""
        group = self._groups.get(handle.number)
        if group is not None and group.was_out_of_memory():
            return True
        if not self._is_walled:
            return False
        before, self._own_kills = self._own_kills, own_oom_kills()
        return self._own_kills > before

    @property
    def _is_walled(self) -> bool:
        """Whether the replica is a container: what is killed in its group is its own."""
        return not self._crew.config.cgroups

    def _resources(self, handle: RunnerHandle) -> float:
        """Enforce limits that no control group enforces."""
        config = self._crew.config
        group = self._groups.get(handle.number)
        if not handle.pid:
            return USUAL
        family = [handle.pid, *procfs.descendants(handle.pid)]
        held = sum(procfs.own_memory(pid) for pid in family)
        handle.peak = max(handle.peak, held)
        pause = USUAL
        limit = config.memory_limit
        if limit and (group is None or not group.limits_memory):
            if held > limit + handle.first_rss:
                self._crew.roster.kill(handle, endings.out_of_memory(limit, held))
            elif held > limit // 2:
                pause = CLOSE
        most = config.pids_limit
        if most and (group is None or not group.limits_pids):
            found = sum(procfs.threads(pid) for pid in family)
            if found > most:
                self._crew.roster.kill(handle, endings.too_many_processes(most, found))
            elif found > most // 2:
                pause = CLOSE
        return pause
