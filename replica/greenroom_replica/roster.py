"""The runners of a replica: forked, kept ready, replaced, and what becomes of their calls when they die."""

from __future__ import annotations

import contextlib
import logging
import signal
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from greenroom_protocol.calls import Status
from greenroom_replica import endings, procfs
from greenroom_replica.core import talk
from greenroom_replica.core.ladder import Why
from greenroom_replica.core.outcomes import failed
from greenroom_replica.core.page import CURRENT, PHASE, Phase
from greenroom_replica.forks import Forks
from greenroom_replica.handle import RunnerHandle
from greenroom_replica.runner_setup import RunnerSettings

if TYPE_CHECKING:
    from greenroom_core.failure import Failure
    from greenroom_replica.core.slots import Batch
    from greenroom_replica.crew import Crew

log = logging.getLogger("greenroom.replica")

MOST_SIDES: Final = 64
"""Runners beside the warm one, for calls that wait for calls of their own."""

MOST_STARTS: Final = 6
"""Runners in a row that may die before they are up; then this replica gives up."""


class Roster:
    """The runners that live.

    Args:
        crew: Whose they are.
        forks: Who forks them.
        workshop: Who makes their workshops: `module:function`.
    """

    def __init__(self, crew: Crew, forks: Forks, workshop: str) -> None:
        self._crew = crew
        self._forks = forks
        self._workshop = workshop
        self._handles: dict[int, RunnerHandle] = {}
        self._last = 0
        self.warm: RunnerHandle | None = None
        """The runner that takes calls one after the other, and holds the actor cache."""
        self._spare: RunnerHandle | None = None
        """A fresh one that waits for a call."""
        self._libraries: dict[str, tuple[str, ...]] = {}
        self._failed_starts = 0
        self.restarts = 0
        """Times that the warm runner had to be replaced."""

    def __iter__(self) -> Iterator[RunnerHandle]:
        return iter(list(self._handles.values()))

    def __contains__(self, handle: RunnerHandle) -> bool:
        return handle.number in self._handles

    # Births ---------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Get the first runner ready."""
        if self._crew.config.slots == 1:
            self.warm = self.fork("warm")
        else:
            self._spare = self.fork("fresh")

    def fork(self, kind: str, libraries: tuple[str, ...] = ()) -> RunnerHandle | None:
        """Ask for a runner; it can be given calls at once."""
        config = self._crew.config
        self._last += 1
        handle = RunnerHandle(self._last, kind, libraries)
        handle.is_concurrent = config.concurrency > 1 and kind == "warm"
        settings = RunnerSettings(config, handle.number, kind, self._workshop)
        request = talk.Fork(handle.number, list(libraries), dict(config.env), settings.to_wire())
        try:
            handle.is_templated = self._forks.fork(request, handle.descriptors())
        except OSError as fault:
            handle.sent()
            handle.close()
            self._crew.port.retire(f"no runner can be forked: {fault}")
            return None
        handle.sent()
        handle.listen(self._crew.loop, self._crew.heard)
        if handle.is_templated:
            self._crew.loop.call_later(self._crew.timings.birth_patience, self._doubt, handle)
        self._handles[handle.number] = handle
        return handle

    def _doubt(self, handle: RunnerHandle) -> None:
        """Its template has had time enough to fork it."""
        if handle in self and not handle.pid:
            self._forks.distrust(handle.number, handle.libraries)
            self._ended(handle, endings.unborn("its template does not answer"))

    def single(self, kind: str, bundle: str) -> RunnerHandle | None:
        """A runner for one call of a bundle: the spare one where it fits; None where there are too many."""
        if kind == "side" and sum(handle.kind == "side" for handle in self) >= MOST_SIDES:
            return None
        libraries = self._libraries.get(bundle, ())
        spare = self._spare
        if spare is None or kind != "fresh" or not self._fits(spare, libraries):
            return self.fork(kind, libraries)
        self._spare = None
        self._crew.loop.call_soon(self._prepare_spare, libraries)
        return spare

    def _fits(self, spare: RunnerHandle, libraries: tuple[str, ...]) -> bool:
        if spare.libraries == libraries and (spare.is_templated or not self._forks.has_template(libraries)):
            return True
        if self._forks.has_template(libraries):  # One that has imported nothing is of no use any more.
            self._spare = None
            self._dismiss(spare)
            self._crew.loop.call_soon(self._prepare_spare, libraries)
        return False

    def _prepare_spare(self, libraries: tuple[str, ...]) -> None:
        if self._spare is None and not self._crew.is_draining:
            self._spare = self.fork("fresh", libraries)

    def up(self, handle: RunnerHandle, figures: Mapping[str, Any]) -> None:
        """A runner is ready."""
        handle.is_up, handle.first_rss = True, int(figures.get("rss", 0))
        self._failed_starts = 0
        self._crew.check_idle()

    def learn(self, handle: RunnerHandle, bundle: str, libraries: tuple[str, ...]) -> None:
        """A bundle's libraries are known: fresh runners for it come from a template from now on."""
        self._libraries[bundle] = libraries
        if handle.kind != "warm" or self.restarts:
            self._forks.want_template(libraries, self._crew.config.env)

    # Who is busy ----------------------------------------------------------------------------------------------------

    def busy(self) -> int:
        """Slots in use: by fresh runners, and by the warm one unless it waits for others."""
        warm = self.warm
        singles = sum(len(handle.hand) > 0 and not handle.is_parked for handle in self if handle.kind == "fresh")
        return singles + (warm is not None and len(warm.hand) > 0 and not warm.is_parked)

    def has_busy_single(self) -> bool:
        """Whether a fresh runner has the replica's only slot."""
        if len(self._handles) == 1 or self._crew.config.slots > 1:
            return False
        return any(
            handle.kind == "fresh" and len(handle.hand) > 0 and not handle.is_parked
            for handle in self._handles.values()
        )

    def park(self, handle: RunnerHandle) -> None:
        """A call waits for calls of its own: what waits behind it goes to another runner."""
        handle.is_parked = True
        if handle is self.warm and len(self._handles) < MOST_SIDES:
            self._crew.stops.recall(handle)
            self.warm = self.fork("warm") or handle

    def emptied(self, handle: RunnerHandle) -> None:
        """A runner has nothing more to do."""
        if handle.kind != "warm":
            if handle is not self._spare:
                self._dismiss(handle)
        elif handle is not self.warm and not handle.is_parked:
            self._take_over(handle)

    def _take_over(self, handle: RunnerHandle) -> None:
        """One that had waited is free again: it holds the entries, so it takes the place back."""
        other, self.warm = self.warm, handle
        if other is not None:
            other.kind = "side"
            self._crew.stops.recall(other)
            if not len(other.hand):
                self._dismiss(other)

    # Ends -----------------------------------------------------------------------------------------------------------

    def _dismiss(self, handle: RunnerHandle) -> None:
        if not handle.is_leaving:
            handle.is_leaving = True
            handle.tell(talk.Leave("done"))

    def replace(self, handle: RunnerHandle, why: str) -> None:
        """Have a runner finish what it has begun, and another one take its place."""
        log.info("runner replaced", extra={"why": why})
        if handle is self.warm:
            self.restarts += 1
            self.warm = self.fork("warm", self._warm_libraries())
            self._crew.warmth.lost(why)
        handle.kind = "fresh"  # Leaves with its last call.
        self._crew.stops.recall(handle, lambda: self._dismiss(handle) if not len(handle.hand) else None)

    def kill(self, handle: RunnerHandle, failure: Failure | None = None) -> None:
        """Kill a runner; its running call ends with `failure`, where one is given."""
        handle.killed_for = failure or handle.killed_for
        if not self._forks.signal(handle.number, signal.SIGKILL):
            handle.cut()

    def signal(self, handle: RunnerHandle, number: int) -> None:
        """Send a signal to whoever runs the call: the runner, or the child that it has forked for it."""
        child = handle.child
        if child:
            procfs.signal(child, number)
        else:
            self._forks.signal(handle.number, number)  # If it cannot, the ladder goes on to the kill.

    def kill_child(self, handle: RunnerHandle) -> None:
        """Kill the forked child that runs the call; the runner tells how it ended."""
        if handle.child:
            procfs.signal(handle.child, signal.SIGKILL)

    def told(self, message: Any) -> None:
        """News from those who fork."""
        handle = self._handles.get(message.runner)
        if handle is None:
            return
        match message:
            case talk.Forked(_, pid, _):
                handle.pid = pid
                self._crew.watch.born(handle)
            case talk.Unborn(_, why):
                self._ended(handle, endings.unborn(why))
            case talk.Reaped():
                self._ended(handle, endings.ending(handle, message, self._crew.watch))

    def _ended(self, handle: RunnerHandle, ending: endings.Ending) -> None:
        """A runner has ended: save what it had done, charge what it was at, and give the rest to another."""
        crew, words = self._crew, handle.words
        serial = words[CURRENT]
        written = words[PHASE] == Phase.RESETTING and endings.is_written(handle, serial)
        with contextlib.suppress(Exception):  # What was garbled before it died stays so.
            crew.harvest(handle, unpublished=written)
        last = endings.begun(handle, serial)
        for other in [other for other in handle.hand.open_serials() if other <= last]:
            self._charge(handle, other, ending, is_current=other == serial or serial == 0)
        crew.queue.put_back(handle.hand.take_back(last))
        self._handles.pop(handle.number, None)
        crew.watch.gone(handle)
        handle.close()
        if self._spare is handle:
            self._spare = None
        if self.warm is handle:
            self.warm = None
            self._after_warm(handle, ending)
        crew.dispatch()
        crew.check_idle()

    def child_died(self, handle: RunnerHandle, serial: int, code: int) -> None:
        """The child that was forked for a call has died without an outcome."""
        self._charge(handle, serial, endings.of_child(handle, code, self._crew.watch), is_current=True)
        self._crew.after_ends(handle)

    def _charge(self, handle: RunnerHandle, serial: int, ending: endings.Ending, is_current: bool) -> None:
        """End a call that had begun when its process died."""
        crew = self._crew
        span = handle.hand.span_of(serial)
        if span is None or not handle.hand.ended(serial):
            return
        batch, position = span.batch, span.position(serial)
        if is_current:
            crew.shipping.last_words(handle, batch.held(position), batch.spec.secrets)
        if serial in handle.stops:
            self._end_stopped(handle, serial, batch, position, ending)
        else:
            crew.lose(batch, position, ending.failure, charged=is_current)
        batch.spec.pace.reset()

    def _end_stopped(
        self, handle: RunnerHandle, serial: int, batch: Batch, position: int, ending: endings.Ending
    ) -> None:
        stopping = handle.stops.pop(serial)
        failure = endings.stopped(stopping, batch.spec, ending)
        status = Status.FAILED if stopping.why is Why.TIMED_OUT else Status.CANCELLED
        now = time.time_ns() // 1000
        self._crew.port.outcomes(failed(batch, [position], failure, status, now, ending.ran_us))

    def _after_warm(self, handle: RunnerHandle, ending: endings.Ending) -> None:
        """The warm runner is gone, and all that it held: get another one."""
        self._crew.warmth.lost(ending.failure.line(), while_loading=handle.words_at_end == Phase.LOADING)
        if self._crew.is_draining:
            return
        self.restarts += 1
        libraries = self._warm_libraries()
        self._forks.want_template(libraries, self._crew.config.env)  # It may not be the last time.
        if handle.is_up:
            self.warm = self.fork("warm", libraries)
            return
        self._failed_starts += 1
        if self._failed_starts >= MOST_STARTS:
            self._crew.port.retire(f"no runner can be started here: {ending.failure.line()}")
        else:
            self._crew.loop.call_later(0.05 * 2**self._failed_starts, self._fork_warm_again)

    def _fork_warm_again(self) -> None:
        if self.warm is None and not self._crew.is_draining:
            self.warm = self.fork("warm")
            self._crew.dispatch()

    def _warm_libraries(self) -> tuple[str, ...]:
        return next(reversed(self._libraries.values()), ())

    def close(self) -> None:
        """End all."""
        for handle in self:
            self.kill(handle)
            handle.close()
        self._handles.clear()
