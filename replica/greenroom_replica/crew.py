"""The runners of a replica: who is given which calls, what becomes of a runner's end, how calls are stopped."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

from greenroom_core.failure import Failure
from greenroom_protocol.calls import Definition, Status
from greenroom_protocol.frames import Assign, Cache, Log, Lost, Returned, Started
from greenroom_replica import endings, procfs
from greenroom_replica.config import ReplicaConfig, Timings
from greenroom_replica.core import talk
from greenroom_replica.core.ladder import Stopping, Why
from greenroom_replica.core.outcomes import Built, Part, build, by_node, failed, parts_of
from greenroom_replica.core.page import CHILD, CURRENT, PHASE, Harvest, Phase
from greenroom_replica.core.slots import Batch, Held, Pace, Queue
from greenroom_replica.forks import Forks, NoForker
from greenroom_replica.handle import RunnerHandle
from greenroom_replica.runner_setup import RunnerSettings
from greenroom_replica.watch import Watch

log = logging.getLogger("greenroom.replica")

MOST_SIDES: Final = 64
"""Runners beside the warm one, for calls that wait for calls of their own."""

RECALL: Final = 0.002
"""Seconds between forbidding a runner to begin more calls and looking which it has begun: what it wrote just then has
reached this process for sure."""


PATIENCE: Final = 0.02
"""Seconds that a call may run before what waits behind it is taken back from its runner rather than waited for."""


class Port(Protocol):
    """What the crew tells: the supervisor passes it on to the hub."""

    def outcomes(self, built: Built) -> None:
        """Calls of a node have ended."""
        ...

    def tell(self, message: Lost | Cache) -> None:
        """Something that must arrive, but has no ack of its own."""
        ...

    def say(self, message: Started | Log) -> None:
        """Something that may be lost with the connection."""
        ...

    def idle(self) -> None:
        """Nothing runs and nothing waits."""
        ...

    def retire(self, why: str) -> None:
        """This replica cannot go on."""
        ...


class Spec:
    """What the crew must know of a definition."""

    __slots__ = ("alone", "body", "bundle", "concurrency", "isolation", "pace", "secrets", "side", "task", "timeout")

    def __init__(self, body: bytes) -> None:
        definition = Definition.unpack(body)
        self.body = body
        self.task = definition.task
        self.bundle = definition.bundle or ""
        self.isolation = definition.isolation
        self.concurrency = definition.concurrency
        self.timeout = definition.timeout
        self.secrets = tuple(definition.secrets.values())
        self.side = bool(definition.options.get("side") or definition.options.get("eager"))
        """Its calls wait for calls of their own: they never take the warm runner."""
        self.alone = definition.isolation == "fresh"
        self.pace = Pace()


class Crew:
    """Runners and the calls that they hold.

    Args:
        config: The replica's.
        forks: Who forks for it.
        port: Who hears of what happens.
        workshop: Who makes runners' workshops: `module:function`.
    """

    def __init__(self, config: ReplicaConfig, forks: Forks, port: Port, workshop: str) -> None:
        self.config = config
        self.timings: Timings = config.timings
        self.queue = Queue()
        self.handles: dict[int, RunnerHandle] = {}
        self.warm: RunnerHandle | None = None
        self.spare: RunnerHandle | None = None
        self.entries: dict[tuple[str, str], Mapping[str, Any]] = {}
        """What the warm runner's cache holds, by loader and key."""
        self.calls = 0
        self.restarts = 0
        self._specs: dict[bytes, Spec] = {}
        self._forks = forks
        self._port = port
        self._workshop = workshop
        self._numbers = 0
        self._libraries: dict[str, tuple[str, ...]] = {}
        self._failed_starts = 0
        self._loop = asyncio.get_running_loop()
        self.watch = Watch(self)
        self.is_draining = False

    # Work -----------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Get the first runner ready."""
        if self.config.slots == 1:
            self.warm = self.fork("warm")
        else:
            self.spare = self.fork("fresh")

    def define(self, digest: bytes, body: bytes) -> None:
        """Take a definition."""
        self._specs[digest] = Spec(body)

    def forget(self, digests: Iterable[bytes]) -> None:
        """Let go of definitions; those that calls still need stay."""
        needed = {batch.assign.definition for batch in self.queue}
        dropped = [digest for digest in digests if digest not in needed]
        for digest in dropped:
            self._specs.pop(digest, None)
        for handle in self.handles.values():
            known = [digest for digest in dropped if digest in handle.defined]
            if known:
                handle.defined.difference_update(known)
                handle.tell(talk.Forget(known))

    def spec(self, batch: Batch) -> Spec:
        """What is known of a batch's definition."""
        spec: Spec = batch.spec
        return spec

    def knows(self, digest: bytes) -> bool:
        """Whether a definition was taken."""
        return digest in self._specs

    def add(self, assign: Assign) -> None:
        """Take calls."""
        self.queue.add(Batch(assign, self._specs[assign.definition]))
        self.dispatch()

    def dispatch(self) -> None:
        """Hand out what can be handed out."""
        while (batch := self.queue.head()) is not None:
            spec = self.spec(batch)
            if spec.side:
                if sum(handle.kind == "side" for handle in self.handles.values()) >= MOST_SIDES:
                    return
                self._run_alone("side", spec)
            elif spec.alone or self.config.slots > 1:
                if self._busy() >= self.config.slots:
                    return
                self._run_alone("fresh", spec)
            elif not self._feed_warm(spec):
                return

    def _busy(self) -> int:
        """Slots in use: by fresh runners, and by the warm one unless it waits for others."""
        singles = sum(len(handle.hand) > 0 for handle in self.handles.values() if handle.kind == "fresh")
        warm = self.warm
        return singles + (warm is not None and len(warm.hand) > 0 and not warm.is_parked)

    def _feed_warm(self, spec: Spec) -> bool:
        warm = self.warm
        if warm is None or not warm.is_free:
            return False
        if self.config.slots == 1 and any(
            handle.kind == "fresh" and len(handle.hand) for handle in self.handles.values()
        ):
            return False
        taken = self.queue.take(self._room(warm, spec))
        if taken is None:
            return False
        self._give(warm, spec, *taken)
        return True

    def _room(self, handle: RunnerHandle, spec: Spec) -> int:
        held = len(handle.hand)
        if self.config.concurrency > 1:
            return min(self.config.concurrency, max(spec.concurrency, 1)) - held
        if not held:
            return spec.pace.room(self.timings.ahead)
        cost = spec.pace.cost
        if cost is None or cost > self.timings.ahead:
            return 0
        left = self.timings.ahead - handle.hand.ahead(lambda batch: self.spec(batch).pace.cost or self.timings.ahead)
        return min(int(left / cost), spec.pace.room(self.timings.ahead)) if left > 0 else 0

    def _give(self, handle: RunnerHandle, spec: Spec, batch: Batch, start: int, stop: int) -> None:
        handle.give(batch, start, stop, spec.body)
        self.watch.wake()

    def _run_alone(self, kind: str, spec: Spec) -> None:
        taken = self.queue.take(1)
        if taken is None:
            return
        handle = self._single(kind, self._libraries.get(spec.bundle, ()))
        if handle is None:
            self.queue.put_back([taken])
            return
        self._give(handle, spec, *taken)

    def _single(self, kind: str, libraries: tuple[str, ...]) -> RunnerHandle | None:
        """A runner for one call: the spare one where it fits."""
        spare = self.spare
        fits = spare is not None and spare.libraries == libraries
        if (
            spare is not None
            and fits
            and (spare.is_warm or not self._forks.has_template(libraries))
            and kind == "fresh"
        ):
            handle, self.spare = spare, None
        else:
            made = self.fork(kind, libraries)
            if made is None:
                return None
            handle = made
        if kind == "fresh" and self.spare is None:
            self._loop.call_soon(self._prepare_spare, libraries)
        return handle

    def _prepare_spare(self, libraries: tuple[str, ...]) -> None:
        if self.spare is None and not self.is_draining:
            self.spare = self.fork("fresh", libraries)

    # Runners --------------------------------------------------------------------------------------------------------

    def fork(self, kind: str, libraries: Sequence[str] = ()) -> RunnerHandle | None:
        """Ask for a runner; it can be given calls at once."""
        self._numbers += 1
        handle = RunnerHandle(self._numbers, kind, libraries)
        settings = RunnerSettings(self.config, handle.number, kind, self._workshop)
        request = talk.Fork(handle.number, list(libraries), dict(self.config.env), settings.to_wire())
        try:
            handle.is_warm = self._forks.fork(request, handle.descriptors())
        except (NoForker, OSError) as fault:
            handle.sent()
            handle.close()
            self._port.retire(str(fault))
            return None
        handle.sent()
        handle.listen(self._loop, self._heard)
        self.handles[handle.number] = handle
        return handle

    def forker_said(self, message: Any) -> None:
        """News of runners."""
        handle = self.handles.get(message.runner)
        if handle is None:
            return
        match message:
            case talk.Forked(_, pid, _):
                handle.pid = pid
                self.watch.born(handle)
            case talk.Unborn(_, why):
                self._ended(handle, endings.unborn(why))
            case talk.Reaped():
                self._ended(handle, endings.ending(handle, message, self.watch))

    def kill(self, handle: RunnerHandle, failure: Failure | None = None) -> None:
        """Kill a runner; its running call ends with `failure`, where one is given."""
        handle.killed_for = failure or handle.killed_for
        if not self._forks.signal(handle.number, signal.SIGKILL):
            handle.cut()

    def signal(self, handle: RunnerHandle, number: int) -> None:
        """Send a signal to whoever runs the call: the runner, or the child that it has forked for it."""
        child = handle.words[CHILD]
        if child:
            procfs.signal(child, number)
        else:
            self._forks.signal(handle.number, number)  # If it cannot, the ladder goes on to the kill.

    def replace_child(self, handle: RunnerHandle, serial: int) -> None:
        """A forked child has not come to the user's code: it waits for a lock that nobody holds any more."""
        child = handle.words[CHILD]
        if child and handle.words[CURRENT] == serial and handle.words[PHASE] == Phase.FORKED:
            procfs.signal(child, signal.SIGKILL)

    def _heard(self, handle: RunnerHandle) -> None:
        messages = handle.receive()
        if messages is None:
            return  # It has ended, as is told soon; or user code has closed its socket, and the page still speaks.
        for message in messages:
            if message is None:
                self.harvest(handle)
            else:
                self._report(handle, message)
        self.dispatch()

    def _report(self, handle: RunnerHandle, message: Any) -> None:
        match message:
            case talk.Up(figures):
                handle.is_up, handle.first_rss = True, int(figures.get("rss", 0))
                self._failed_starts = 0
            case talk.Large():
                self.harvest(handle)
                self._take(handle, endings.single(message))
            case talk.Learned(bundle, libraries):
                self._learn(handle, bundle, tuple(libraries))
            case talk.Entries(loaded, gone):
                self._entries_changed(handle, loaded, gone)
            case talk.Cleared():
                handle.is_recalled = False
            case talk.Waiting():
                self._park(handle)
            case talk.Resumed():
                handle.is_parked = False
            case talk.Moved(serial, why, alone):
                self._move(handle, serial, why, alone)
            case talk.Retire(why):
                self.replace(handle, why)

    def _learn(self, handle: RunnerHandle, bundle: str, libraries: tuple[str, ...]) -> None:
        """A bundle's libraries are known: fresh runners for it come from a template from now on."""
        if self._libraries.get(bundle) == libraries:
            return
        self._libraries[bundle] = libraries
        if handle.kind == "fresh":
            self._forks.want_template(libraries, self.config.env)

    def _park(self, handle: RunnerHandle) -> None:
        """A call waits for calls of its own: what waits behind it goes to another runner."""
        handle.is_parked = True
        if handle is self.warm and len(self.handles) < MOST_SIDES:
            self.recall(handle, lambda: None)
            self.warm = self.fork("warm") or self.warm

    def _move(self, handle: RunnerHandle, serial: int, why: str, alone: bool) -> None:
        """A call cannot run in this runner: it goes to a fresh one, or to the one that takes this one's place."""
        span = handle.hand.span_of(serial)
        if span is None or not handle.hand.ended(serial):
            return
        position = span.position(serial)
        log.info("call moved", extra={"why": why, "call": span.batch.held(position)})
        if not alone:
            self.queue.put_back([(span.batch, position, position + 1)])
            self.replace(handle, why)
            return
        single = self._single("fresh", self._libraries.get(self.spec(span.batch).bundle, ()))
        if single is not None:
            self._give(single, self.spec(span.batch), span.batch, position, position + 1)

    # Outcomes -------------------------------------------------------------------------------------------------------

    def say(self, message: Started | Log) -> None:
        """Tell the hub something that it can live without."""
        self._port.say(message)

    def harvest(self, handle: RunnerHandle, unpublished: bool = False) -> None:
        """Take the outcomes that a runner has written."""
        harvest = handle.page.take(unpublished)
        if harvest is not None:
            self._take(handle, harvest)

    def _take(self, handle: RunnerHandle, harvest: Harvest) -> None:
        parts = list(parts_of(harvest, handle.hand))
        for group in by_node(parts):
            built = build(harvest, group)
            for told in built.printed:
                spec = self.spec(group[0].span.batch)
                self.watch.ship(handle, told.call, told[1:], spec.secrets)
            self._port.outcomes(built)
        for part in parts:
            self._count(handle, harvest, part)
        running = handle.stopping
        if running is not None and handle.hand.span_of(running.serial) is None:
            handle.stopping = None
        if handle.kind != "warm" and not len(handle.hand):
            self.dismiss(handle)
        if not self.queue and not any(len(other.hand) for other in self.handles.values()):
            self._port.idle()

    def _count(self, handle: RunnerHandle, harvest: Harvest, part: Part) -> None:
        """Note the ends of a part's calls, and how long they took."""
        first, last = harvest.serials[part.start], harvest.serials[part.stop - 1]
        if not handle.hand.ended_through(first, last):
            for serial in range(first, last + 1):
                handle.hand.ended(serial)
        n = part.stop - part.start
        self.calls += n
        handle.calls += n
        end = part.stop - 1
        spent = harvest.started[end] + harvest.durations[end] - harvest.started[part.start]
        self.spec(part.span.batch).pace.measured(n, max(spent, sum(harvest.durations[part.start : part.stop])) / 1e6)

    def _entries_changed(
        self, handle: RunnerHandle, loaded: Sequence[Mapping[str, Any]], gone: Sequence[Sequence[str]]
    ) -> None:
        for entry in loaded:
            self.entries[str(entry.get("loader")), str(entry.get("key"))] = entry
        for loader, key, *_ in gone:
            self.entries.pop((loader, key), None)
        if loaded or gone:
            self._port.tell(Cache(list(loaded), [list(one) for one in gone]))

    # Ends -----------------------------------------------------------------------------------------------------------

    def dismiss(self, handle: RunnerHandle) -> None:
        """A runner is not needed any more."""
        if not handle.is_leaving:
            handle.is_leaving = True
            handle.tell(talk.Leave("done"))

    def replace(self, handle: RunnerHandle, why: str) -> None:
        """Have a runner finish what it has begun, and another one take its place."""
        log.info("runner replaced", extra={"why": why})
        if handle is self.warm:
            self.warm = self.fork("warm")
            self._lose_entries(why)
        self.recall(handle, lambda: self.dismiss(handle) if not len(handle.hand) else None)
        handle.kind = "fresh" if handle.kind == "warm" else handle.kind  # Leaves with its last call.

    def _ended(self, handle: RunnerHandle, ending: endings.Ending) -> None:
        """A runner has ended: save what it had done, charge what it was at, and give the rest to another."""
        words = handle.words
        serial = words[CURRENT]
        written = words[PHASE] == Phase.RESETTING and endings.is_written(handle, serial)
        self.harvest(handle, unpublished=written)
        self._charge(handle, serial, ending)
        waiting = handle.hand.take_back(endings.begun(handle, serial))
        self.queue.put_back(waiting)
        was_warm = handle is self.warm
        self.handles.pop(handle.number, None)
        self.watch.gone(handle)
        handle.close()
        if self.spare is handle:
            self.spare = None
        if was_warm:
            self.warm = None
            self._after_warm(handle, ending)
        self.dispatch()
        if not self.queue and not any(len(other.hand) for other in self.handles.values()):
            self._port.idle()

    def _charge(self, handle: RunnerHandle, serial: int, ending: endings.Ending) -> None:
        """End the calls that a runner had begun when it died."""
        last = endings.begun(handle, serial)
        begun = [other for other in handle.hand.open_serials() if other <= last]
        for other in begun:
            span = handle.hand.span_of(other)
            if span is None:
                continue
            batch, position = span.batch, span.position(other)
            handle.hand.ended(other)
            self.watch.ship_last(handle, batch.held(position), self.spec(batch).secrets, is_current=other == serial)
            stopping = handle.stopping
            if stopping is not None and stopping.serial == other:
                self._end_stopped(handle, batch, position, stopping, ending)
            else:
                self._lose(batch, [position], ending.failure, charged=other == serial or serial == 0)
            self.spec(batch).pace.reset()

    def _end_stopped(
        self, handle: RunnerHandle, batch: Batch, position: int, stopping: Stopping, ending: endings.Ending
    ) -> None:
        failure = endings.stopped(stopping, self.spec(batch), ending)
        status = Status.FAILED if stopping.why is Why.TIMED_OUT else Status.CANCELLED
        self._port.outcomes(failed(batch, [position], failure, status, time.time_ns() // 1000, ending.ran_us))

    def _lose(self, batch: Batch, positions: list[int], failure: Failure, charged: bool) -> None:
        calls = [batch.held(position) for position in positions]
        self._port.tell(
            Lost(
                batch.assign.execution,
                batch.assign.node,
                [call.item for call in calls],
                [call.attempt for call in calls],
                charged,
                failure.to_wire(),
            )
        )

    def _after_warm(self, handle: RunnerHandle, ending: endings.Ending) -> None:
        """The warm runner is gone, and all that it held: get another one, and what is worth most back into it."""
        self._lose_entries(ending.failure.line())
        if self.is_draining:
            return
        self.restarts += 1
        if handle.is_up:
            self.warm = self.fork("warm", self._warm_libraries())
            return
        self._failed_starts += 1
        if self._failed_starts > 5:
            self._port.retire(f"no runner can be started here: {ending.failure.line()}")
            return
        self._loop.call_later(0.05 * 2**self._failed_starts, self._fork_warm_again)

    def _fork_warm_again(self) -> None:
        if self.warm is None and not self.is_draining:
            self.warm = self.fork("warm")
            self.dispatch()

    def _warm_libraries(self) -> tuple[str, ...]:
        return next(reversed(self._libraries.values()), ())

    def _lose_entries(self, why: str) -> None:
        if self.entries:
            gone = [[loader, key, why] for loader, key in self.entries]
            self.entries.clear()
            self._port.tell(Cache([], gone))

    # Stopping -------------------------------------------------------------------------------------------------------

    def stop_call(self, handle: RunnerHandle, serial: int, why: Why, reason: str) -> None:
        """Have a running call end."""
        if handle.stopping is not None and handle.stopping.serial == serial:
            return
        handle.ask_to_stop(Stopping(serial, why, reason, time.monotonic()))
        if self.config.concurrency > 1:
            handle.tell(talk.Stop(serial))
        self.watch.wake(now=True)

    def cancel(self, execution: str, node: str, items: Sequence[int], reason: str) -> None:
        """End calls, whether they wait or run."""
        self._cancel_waiting(execution, node, items, reason)
        wanted = set(items)

        for handle in list(self.handles.values()):
            found = handle.hand.find(lambda batch, place: _matches(batch, place, execution, node, wanted))
            if not found:
                continue
            current = handle.words[CURRENT]
            concurrent = self.config.concurrency > 1 and handle.kind == "warm"
            for serial in found if concurrent else [serial for serial in found if serial == current]:
                self.stop_call(handle, serial, Why.CANCELLED, reason)
            if not concurrent and any(serial != current for serial in found):
                self.recall(handle, lambda: self.cancel(execution, node, items, reason))

    def _cancel_waiting(self, execution: str, node: str, items: Sequence[int], reason: str) -> None:
        for batch, positions in _grouped(self.queue.drop(execution, node, items)):
            failure = endings.never_began(reason)
            now = time.time_ns() // 1000
            self._port.outcomes(failed(batch, positions, failure, Status.CANCELLED, now))

    def revoke(
        self, execution: str, node: str, items: Sequence[int], answer: Callable[[Returned], None], again: bool = True
    ) -> None:
        """Give back calls that no runner has begun, and say which."""
        wanted = set(items)
        holders = [
            handle
            for handle in self.handles.values()
            if again and handle.hand.find(lambda batch, position: _matches(batch, position, execution, node, wanted))
        ]
        stuck = [handle for handle in holders if (running := handle.running()) is not None and running[1] > PATIENCE]
        if stuck:  # What waits behind a long call is taken back from its runner first.
            for handle in stuck[1:]:
                self.recall(handle, lambda: None)
            self.recall(stuck[0], lambda: self.revoke(execution, node, items, answer, again=False))
            return
        dropped = self.queue.drop(execution, node, items)
        calls = [batch.held(position) for batch, position in dropped]
        answer(Returned(execution, node, [call.item for call in calls], [call.attempt for call in calls]))

    def drain(self, answer: Callable[[Returned], None]) -> None:
        """Give back all that has not begun; what runs may end."""
        self.is_draining = True
        for batch, positions in _grouped(self.queue.drop_all()):
            calls = [batch.held(position) for position in positions]
            assign = batch.assign
            answer(Returned(assign.execution, assign.node, [c.item for c in calls], [c.attempt for c in calls]))
        for handle in list(self.handles.values()):
            if len(handle.hand) > 1 and not handle.is_recalled:
                self.recall(handle, lambda: self.drain(answer))

    def recall(self, handle: RunnerHandle, then: Any) -> None:
        """Take back what a runner has not begun; `then` is called once it stands in the queue again."""
        if handle.is_recalled or not len(handle.hand):
            then()
            return
        handle.is_recalled = True  # Until it answers: it may still have to read what is void.
        handle.forbid()
        self._loop.call_later(RECALL, self._recalled, handle, then)

    def _recalled(self, handle: RunnerHandle, then: Any) -> None:
        if handle.number in self.handles:
            self.harvest(handle)
            after = endings.begun(handle, handle.words[CURRENT])
            self.queue.put_back(handle.hand.take_back(after))
        then()
        self.dispatch()

    def held(self) -> list[Held]:
        """Every call that waits or runs here."""
        found = [batch.held(position) for batch in self.queue for position in batch.waiting()]
        for handle in self.handles.values():
            for serial in handle.hand.open_serials():
                span = handle.hand.span_of(serial)
                if span is not None:
                    found.append(span.batch.held(span.position(serial)))
        return found

    @property
    def is_busy(self) -> bool:
        """Whether any call runs or waits."""
        return bool(self.queue) or any(len(handle.hand) for handle in self.handles.values())

    def close(self) -> None:
        """End all runners."""
        self.is_draining = True
        self.watch.close()
        for handle in list(self.handles.values()):
            self.kill(handle)
            handle.close()
        self.handles.clear()

    # Entries --------------------------------------------------------------------------------------------------------

    def prewarm(self, definition: bytes, recipes: Sequence[Mapping[str, Any]]) -> None:
        """Have the warm runner load entries."""
        warm, spec = self.warm, self._specs.get(definition)
        if warm is None or spec is None:
            return
        if definition not in warm.defined:
            warm.defined.add(definition)
            warm.tell(talk.Define(definition, spec.body))
        warm.tell(talk.Prewarm(definition, list(recipes)))

    def evict(self, loader: str, key: str) -> None:
        """Have the warm runner drop entries."""
        if self.warm is not None:
            self.warm.tell(talk.Evict(loader, key))

    # Figures --------------------------------------------------------------------------------------------------------

    def figures(self) -> dict[str, Any]:
        """What a replica reports of itself."""
        handles = list(self.handles.values())
        return {
            "rss": sum(procfs.rss(handle.pid) for handle in handles if handle.pid),
            "cpu_s": round(sum(procfs.cpu_seconds(handle.pid) for handle in handles if handle.pid), 1),
            "calls": self.calls,
            "runner_restarts": self.restarts,
            "runners": len(handles),
            "entries": len(self.entries),
        }

    def past_memory(self) -> str | None:
        """Whether the warm runner has grown beyond `max_memory`; a limit below a new runner's size never counts."""
        limit, warm = self.config.max_memory, self.warm
        if limit is None or warm is None or not warm.pid or warm.first_rss >= limit:
            return None
        rss = procfs.rss(warm.pid)
        return f"{rss >> 20} MiB, max_memory={limit >> 20} MiB" if rss > limit else None


def _matches(batch: Batch, position: int, execution: str, node: str, items: set[int]) -> bool:
    assign = batch.assign
    if assign.execution != execution or (node and assign.node != node):
        return False
    return not items or batch.item(position) in items


def _grouped(calls: Iterable[tuple[Batch, int]]) -> list[tuple[Batch, list[int]]]:
    """Positions by their batch."""
    found: dict[int, tuple[Batch, list[int]]] = {}
    for batch, position in calls:
        found.setdefault(id(batch), (batch, []))[1].append(position)
    return list(found.values())
