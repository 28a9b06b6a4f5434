"""What a supervisor looks at while calls run: how long, how much memory, how many processes, what they print."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from greenroom_protocol.frames import Started
from greenroom_replica import endings, procfs
from greenroom_replica.cgroups import ControlGroup
from greenroom_replica.core.ladder import Step, Why
from greenroom_replica.core.page import ASKED, CURRENT, ERR_AT, HEAD, OUT_AT, TAIL, Phase
from greenroom_replica.core.slots import Held
from greenroom_replica.runner_setup import DUMP_SIGNAL

if TYPE_CHECKING:
    from greenroom_replica.crew import Crew, Spec
    from greenroom_replica.handle import RunnerHandle

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
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self.memory_limit = crew.config.memory_limit
        self._groups: dict[int, ControlGroup] = {}
        self._is_closed = False

    # Timers ---------------------------------------------------------------------------------------------------------

    def wake(self, now: bool = False) -> None:
        """Something was given to a runner, or shall be stopped."""
        if self._is_closed:
            return
        if self._timer is None:
            self._timer = self._loop.call_later(0 if now else FIRST, self._tick)
        elif now:
            self._timer.cancel()
            self._timer = self._loop.call_later(0, self._tick)

    def close(self) -> None:
        """Look no more."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        for group in self._groups.values():
            group.remove()

    def _tick(self) -> None:
        self._timer = None
        pauses = [self._look(handle) for handle in list(self._crew.handles.values()) if len(handle.hand)]
        if pauses and self._timer is None and not self._is_closed:
            self._timer = self._loop.call_later(min(pauses), self._tick)

    # One runner -----------------------------------------------------------------------------------------------------

    def _look(self, handle: RunnerHandle) -> float:
        """Do what is due for a busy runner; seconds until it wants to be looked at again."""
        if handle.words[HEAD] != handle.words[TAIL]:
            self._crew.harvest(handle)  # An outcome waits behind a call that turned out to be long.
            self._crew.dispatch()
        running = handle.running()
        if running is None:
            return USUAL
        serial, ran, phase = running
        span = handle.hand.span_of(serial)
        if span is None:
            return USUAL
        spec, call = self._crew.spec(span.batch), span.batch.held(span.position(serial))
        pause = min(USUAL, self._tell_start(handle, serial, call, ran), self._time(handle, serial, spec, ran))
        if ran >= self._crew.timings.output_after:
            bounds = (handle.words[OUT_AT], None, handle.words[ERR_AT], None)
            if handle.words[CURRENT] == serial and self.ship(handle, call, bounds, spec.secrets):
                pause = HURRY
        if phase is Phase.FORKED and ran > self._crew.timings.fork_silent:
            self._crew.replace_child(handle, serial)
        return max(0.001, min(pause, self._resources(handle)))

    def _tell_start(self, handle: RunnerHandle, serial: int, call: Held, ran: float) -> float:
        """Tell the hub of a call that runs for long."""
        if handle.told_started == serial:
            return USUAL
        left = self._crew.timings.started_after - ran
        if left > 0:
            return left
        handle.told_started = serial
        self._crew.say(Started(*call, time.time_ns() // 1000 - int(ran * 1e6)))
        return USUAL

    def _time(self, handle: RunnerHandle, serial: int, spec: Spec, ran: float) -> float:
        """Timeouts, and the steps by which calls are stopped."""
        stopping = handle.stopping
        if stopping is None or stopping.serial != serial:
            if spec.timeout is None:
                return USUAL
            if ran < spec.timeout:
                return spec.timeout - ran
            self._crew.stop_call(handle, serial, Why.TIMED_OUT, f"timeout of {spec.timeout:g} s")
            return 0.0
        timings, now = self._crew.timings, time.monotonic()
        asked = handle.words[ASKED] == serial
        step, again = stopping.due(now, asked, timings.term_after, timings.kill_after)
        if step is Step.INTERRUPT:
            self._crew.signal(handle, signal.SIGTERM)
        elif step is Step.KILL:
            self._kill_stuck(handle)
            return USUAL
        return again - now

    def _kill_stuck(self, handle: RunnerHandle) -> None:
        """Nothing else ended the call. Its stack is asked for first: where it hangs is worth knowing."""
        if not handle.is_dying:
            handle.is_dying = True
            self._crew.signal(handle, DUMP_SIGNAL)
            self._loop.call_later(0.05, self._kill_now, handle)

    def _kill_now(self, handle: RunnerHandle) -> None:
        if handle.number in self._crew.handles:
            self._crew.kill(handle, endings.stuck(handle))

    # Resources ------------------------------------------------------------------------------------------------------

    def born(self, handle: RunnerHandle) -> None:
        """A runner has a pid: its limits are set."""
        config = self._crew.config
        if config.cgroups and (config.memory_limit or config.pids_limit):
            name = f"greenroom-{config.replica}-{handle.number}"
            group = ControlGroup.make(name, config.memory_limit, config.pids_limit)
            if group is not None and group.add(handle.pid):
                self._groups[handle.number] = group

    def gone(self, handle: RunnerHandle) -> None:
        """A runner has ended."""
        group = self._groups.pop(handle.number, None)
        if group is not None:
            group.remove()

    def was_out_of_memory(self, handle: RunnerHandle) -> bool:
        """Whether the kernel has killed something in the runner's control group for lack of memory."""
        group = self._groups.get(handle.number)
        return group is not None and group.was_out_of_memory()

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
                self._crew.kill(handle, endings.out_of_memory(limit, held))
            elif held > limit // 2:
                pause = CLOSE
        most = config.pids_limit
        if most and (group is None or not group.limits_pids):
            found = sum(procfs.threads(pid) for pid in family)
            if found > most:
                self._crew.kill(handle, endings.too_many_processes(most, found))
            elif found > most // 2:
                pause = CLOSE
        return pause

    # Output ---------------------------------------------------------------------------------------------------------

    def ship(
        self,
        handle: RunnerHandle,
        call: Held,
        bounds: tuple[int, int | None, int, int | None],
        secrets: Iterable[str],
    ) -> bool:
        """Send on what a call has printed."""
        return handle.outputs.ship(call, bounds, secrets, self._crew.say, self._spool)

    def ship_last(self, handle: RunnerHandle, call: Held, secrets: Iterable[str], is_current: bool) -> None:
        """Send on what a call had printed when its runner died."""
        if is_current:
            out, err = handle.outputs.sizes()
            words = handle.words
            self.ship(handle, call, (words[OUT_AT], out, words[ERR_AT], err), secrets)

    def _spool(self, call: Held, stream: int) -> str:
        folder = os.path.join(self._crew.config.scratch, "output")
        os.makedirs(folder, 0o700, exist_ok=True)
        return os.path.join(folder, f"{time.monotonic_ns():x}.{stream}")
