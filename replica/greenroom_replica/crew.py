"""The crew of a replica: which runner is given which calls, and what comes back from them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable
from typing import Any, Final, Protocol

import msgpack

from greenroom_core.failure import Failure
from greenroom_protocol.calls import Definition, Status
from greenroom_protocol.frames import Ask, Assign, Cache, Log, Lost, Returned, Started, Waive
from greenroom_replica import endings, procfs
from greenroom_replica.asks import Asks
from greenroom_replica.config import ReplicaConfig, Timings
from greenroom_replica.core import talk
from greenroom_replica.core.outcomes import Built, Part, build, by_node, failed, parts_of
from greenroom_replica.core.page import Harvest
from greenroom_replica.core.slots import Batch, Held, Pace, Queue
from greenroom_replica.forks import Forks
from greenroom_replica.handle import RunnerHandle
from greenroom_replica.roster import Roster
from greenroom_replica.shipping import Shipping
from greenroom_replica.stops import Stops
from greenroom_replica.warmth import Warmth
from greenroom_replica.watch import Watch

log = logging.getLogger("greenroom.replica")

SMALLEST: Final = 16 << 20
"""Bytes without which a runner cannot even start: a memory limit below is an error, and no reason to start and kill."""


class Port(Protocol):
    """Who hears of what happens: the supervisor, which passes it on to the hub."""

    def outcomes(self, built: Built) -> None:
        """Calls of a node have ended."""
        ...

    def tell(self, message: Lost | Cache) -> None:
        """Something that must arrive, but has no ack of its own."""
        ...

    def say(self, message: Started | Log | Returned | Ask | Waive) -> None:
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

    __slots__ = ("alone", "body", "bundle", "concurrency", "digest", "pace", "secrets", "side", "task", "timeout")

    def __init__(self, digest: bytes, body: bytes) -> None:
        definition = Definition.unpack(body)
        self.digest = digest
        self.body = body
        self.task = definition.task
        self.bundle = definition.bundle or ""
        self.concurrency = max(1, definition.concurrency)
        self.timeout = definition.timeout
        self.secrets = tuple(definition.secrets.values())
        self.side = definition.options.get("mode") == "eager"
        """Its calls wait for calls of their own: they never take the warm runner."""
        self.alone = definition.isolation == "fresh"
        self.pace = Pace()


class Crew:
    """The work of a replica.

    Args:
        config: The replica's.
        forks: Who forks for it.
        port: Who hears of what happens.
        workshop: Who makes runners' workshops: `module:function`.
    """

    def __init__(self, config: ReplicaConfig, forks: Forks, port: Port, workshop: str) -> None:
        self.config = config
        self.timings: Timings = config.timings
        self.port = port
        self.queue = Queue()
        self.calls = 0
        """Calls that have ended here."""
        self.is_draining = False
        self.loop = asyncio.get_running_loop()
        self._specs: dict[bytes, Spec] = {}
        self.roster = Roster(self, forks, workshop)
        self.warmth = Warmth(self)
        self.stops = Stops(self)
        self.shipping = Shipping(self)
        self.watch = Watch(self)
        self.asks = Asks(self)

    # Definitions ----------------------------------------------------------------------------------------------------

    def define(self, digest: bytes, body: bytes) -> None:
        """Take a definition."""
        self._specs[digest] = Spec(digest, body)

    def forget(self, digests: Iterable[bytes]) -> None:
        """Let go of definitions; calls that are here already keep theirs."""
        dropped = list(digests)
        for digest in dropped:
            self._specs.pop(digest, None)
        waiting = {batch.assign.definition for batch in self.queue}
        for handle in self.roster:
            if not len(handle.hand):
                known = [digest for digest in dropped if digest in handle.defined and digest not in waiting]
                if known:
                    handle.defined.difference_update(known)
                    handle.tell(talk.Forget(known))

    def spec(self, digest: bytes) -> Spec | None:
        """What is known of a definition."""
        return self._specs.get(digest)

    # Work -----------------------------------------------------------------------------------------------------------

    def add(self, assign: Assign) -> None:
        """Take calls of a known definition."""
        batch = Batch(assign, self._specs[assign.definition])
        limit = self.config.memory_limit
        if limit is not None and limit < SMALLEST:
            failure, now = endings.too_small(limit, SMALLEST), time.time_ns() // 1000
            self.port.outcomes(failed(batch, list(range(batch.size)), failure, Status.FAILED, now))
            return
        self.queue.add(batch)
        self.dispatch()

    def dispatch(self) -> None:
        """Hand out what can be handed out."""
        while (batch := self.queue.head()) is not None:
            spec = spec_of(batch)
            if spec.side:
                given = self._run_alone("side", spec)
            elif spec.alone or self.config.slots > 1 or batch.assign.context.get("alone"):
                given = self.roster.busy() < self.config.slots and self._run_alone("fresh", spec)
            else:
                given = self._feed_warm(spec)
            if not given:
                return

    def _feed_warm(self, spec: Spec) -> bool:
        warm = self.roster.warm
        if warm is None or not warm.is_free or self.roster.has_busy_single():
            return False
        taken = self.queue.take(self._room(warm, spec))
        if taken is None:
            return False
        self.give(warm, *taken)
        return True

    def _room(self, handle: RunnerHandle, spec: Spec) -> int:
        held = len(handle.hand) - len(handle.asking)
        if self.config.concurrency > 1:
            return min(self.config.concurrency, spec.concurrency) - held
        ahead = self.timings.ahead
        if not held:
            return spec.pace.room(ahead)
        cost = spec.pace.cost
        if cost is None or cost > ahead:
            return 0
        left = ahead - handle.hand.ahead(lambda batch: spec_of(batch).pace.cost or ahead)
        return min(int(left / cost), spec.pace.room(ahead)) if left > 0 else 0

    def _run_alone(self, kind: str, spec: Spec) -> bool:
        handle = self.roster.single(kind, spec.bundle)
        if handle is None:
            return False
        taken = self.queue.take(1)
        if taken is not None:
            self.give(handle, *taken)
        return taken is not None

    def give(self, handle: RunnerHandle, batch: Batch, start: int, stop: int) -> None:
        """Hand calls to a runner."""
        span = handle.give(batch, start, stop, spec_of(batch).body)
        if self.config.concurrency > 1:
            now = time.monotonic()
            handle.given.update((serial, now) for serial in range(span.first, span.last + 1))
        self.watch.wake(spec_of(batch).timeout)

    # What runners say -----------------------------------------------------------------------------------------------

    def heard(self, handle: RunnerHandle) -> None:
        """A runner's socket has something."""
        try:
            messages = handle.receive()
            if messages is None:
                self._went_silent(handle)
                return
            for message in messages:
                if message is None:
                    self.harvest(handle)
                else:
                    self._report(handle, message)
        except Exception as fault:  # A bug of ours, or the work of user code: either way it is this runner's alone.
            log.warning("a runner's words cannot be read", extra={"why": repr(fault)}, exc_info=True)
            self.roster.kill(handle, endings.broken(f"what its runner says cannot be read ({fault})"))
        self.dispatch()

    def _went_silent(self, handle: RunnerHandle) -> None:
        """It has ended, as is told soon; or user code has closed its socket, and the page still speaks."""
        if len(handle.hand):
            self.watch.wake()
        else:
            self.roster.kill(handle)

    def _report(self, handle: RunnerHandle, message: Any) -> None:
        match message:
            case talk.Up(figures):
                self.roster.up(handle, figures)
            case talk.Large():
                self.harvest(handle)
                self.take(handle, endings.single(message))
            case talk.Learned(bundle, libraries):
                self.roster.learn(handle, bundle, tuple(libraries))
            case talk.Entries(loaded, gone):
                self.warmth.changed(handle, loaded, gone)
            case talk.Printed(serial, segments):
                self.shipping.printed(handle, serial, segments)
            case talk.Cleared():
                handle.is_recalled = False
            case talk.Ask():
                self.asks.ask(handle, message)
            case talk.Waive(number):
                self.asks.waive(handle, number)
            case talk.Waiting():
                self.roster.park(handle)
            case talk.Resumed():
                handle.is_parked = False
            case talk.Moved(serial, why, alone):
                self._move(handle, serial, why, alone)
            case talk.Died(serial, code):
                self.roster.child_died(handle, serial, code)
            case talk.Retire(why):
                self.roster.replace(handle, why)

    def _move(self, handle: RunnerHandle, serial: int, why: str, alone: bool) -> None:
        """A call cannot run in this runner: it goes to a fresh one, or to the one that takes this one's place."""
        span = handle.hand.span_of(serial)
        if span is None or not handle.hand.ended(serial):
            return
        batch, position = span.batch, span.position(serial)
        single = self.roster.single("fresh", spec_of(batch).bundle) if alone else None
        if single is None:
            self.queue.put_back([(batch, position, position + 1)])
            self.roster.replace(handle, why)
            return
        self.give(single, batch, position, position + 1)
        single.note(single.hand.next_serial - 1, f"it ran in a fresh process instead of a forked one: {why}")

    # Outcomes -------------------------------------------------------------------------------------------------------

    def harvest(self, handle: RunnerHandle, unpublished: bool = False) -> None:
        """Take the outcomes that a runner has written."""
        harvest = handle.page.take(unpublished)
        if harvest is not None:
            self.take(handle, harvest)

    def take(self, handle: RunnerHandle, harvest: Harvest) -> None:
        """Pass outcomes on, and note that their calls have ended."""
        if handle.notes:
            harvest = _with_notes(harvest, handle.notes)
        parts = list(parts_of(harvest, handle.hand))
        for group in by_node(parts):
            built = build(harvest, group)
            if built.printed:
                self.shipping.ended(handle, built, spec_of(group[0].span.batch))
            else:
                self.port.outcomes(built)
            if built.cache:
                self.warmth.note(handle, group[0].span.batch.assign.definition, built.cache)
        for part in parts:
            self._count(handle, harvest, part)
        self.after_ends(handle)

    def after_ends(self, handle: RunnerHandle) -> None:
        """Calls of a runner have ended: it may leave, and so may this replica."""
        if handle.stops:
            handle.forget_ended_stops()
        self.asks.forget_ended(handle)
        if not len(handle.hand):
            self.roster.emptied(handle)
        self.check_idle()

    def check_idle(self) -> None:
        """If nothing is left to do, say so, and use the time."""
        if not self.is_busy:
            self.warmth.reload()
            self.port.idle()

    def _count(self, handle: RunnerHandle, harvest: Harvest, part: Part) -> None:
        """Note the ends of a part's calls, and how long they took."""
        first, last = harvest.serials[part.start], harvest.serials[part.stop - 1]
        if not handle.hand.ended_through(first, last):
            for serial in range(first, last + 1):
                handle.hand.ended(serial)
        if handle.given:
            for serial in range(first, last + 1):
                handle.given.pop(serial, None)
        n = part.stop - part.start
        self.calls += n
        handle.calls += n
        end = part.stop - 1
        spent = harvest.started[end] + harvest.durations[end] - harvest.started[part.start]
        own = sum(harvest.durations[part.start : part.stop])
        spec_of(part.span.batch).pace.measured(n, max(spent, own) / 1e6)

    def lose(self, batch: Batch, position: int, failure: Failure, charged: bool) -> None:
        """A call has ended without an outcome of its own."""
        execution, node, item, attempt = batch.held(position)
        self.port.tell(Lost(execution, node, [item], [attempt], charged, failure.to_wire()))

    # For the supervisor ---------------------------------------------------------------------------------------------

    def held(self) -> list[Held]:
        """Every call that waits or runs here."""
        found = [batch.held(position) for batch in self.queue for position in batch.waiting()]
        found += self.shipping.held
        for handle in self.roster:
            for serial in handle.hand.open_serials():
                span = handle.hand.span_of(serial)
                if span is not None:
                    found.append(span.batch.held(span.position(serial)))
        return found

    @property
    def is_busy(self) -> bool:
        """Whether any call runs or waits."""
        return bool(self.queue) or any(len(handle.hand) for handle in self.roster) or self.shipping.is_busy

    def figures(self) -> dict[str, Any]:
        """What a replica reports of itself."""
        pids = [handle.pid for handle in self.roster if handle.pid]
        figures: dict[str, Any] = {
            "rss": sum(procfs.rss(pid) for pid in pids),
            "cpu_s": round(sum(procfs.cpu_seconds(pid) for pid in pids), 1),
            "calls": self.calls,
            "runner_restarts": self.roster.restarts,
            "runners": len(pids),
            "entries": len(self.warmth.entries),
        }
        limit, warm = self.config.max_memory, self.roster.warm
        if limit is not None and warm is not None and warm.first_rss >= limit:
            figures["config_error"] = (
                f"max_memory={limit >> 20} MiB is less than the {warm.first_rss >> 20} MiB of a runner that has done "
                "nothing yet: it is passed over"
            )
        return figures

    def past_memory(self) -> str | None:
        """Whether the warm runner has grown beyond `max_memory`; a limit below a new runner's size never counts."""
        limit, warm = self.config.max_memory, self.roster.warm
        if limit is None or warm is None or not warm.is_up or warm.first_rss >= limit:
            return None
        rss = procfs.rss(warm.pid)
        return f"{rss >> 20} MiB, max_memory={limit >> 20} MiB" if rss > limit else None

    def close(self) -> None:
        """End all runners."""
        self.is_draining = True
        self.watch.close()
        self.roster.close()


def spec_of(batch: Batch) -> Spec:
    """What is known of a batch's definition."""
    spec: Spec = batch.spec
    return spec


def _with_notes(harvest: Harvest, notes: dict[int, list[str]]) -> Harvest:
    """Add what the supervisor has to say about calls to what their runner said."""
    for position, serial in enumerate(harvest.serials):
        said = notes.pop(serial, None)
        if said:
            packed = harvest.extras.get(position)
            extras: dict[str, Any] = msgpack.unpackb(packed, strict_map_key=False) if packed else {}
            extras["warnings"] = [*extras.get("warnings", ()), *said]
            harvest.extras[position] = msgpack.packb(extras, unicode_errors="surrogatepass")
    return harvest
