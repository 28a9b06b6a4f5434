"""The runner: the process that opens calls. It takes orders from its supervisor, and does nothing else by itself."""

from __future__ import annotations

import contextlib
import os
import socket
from collections import deque
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from greenroom import building
from greenroom.context import Context, ExecutionId, ReplicaPlace, Surroundings, TaskId
from greenroom_protocol.calls import Definition
from greenroom_replica import procfs
from greenroom_replica.core import talk
from greenroom_replica.core.page import PHASE, Phase
from greenroom_replica.runner_asking import Asking, HubDispatcher
from greenroom_replica.runner_async import Coroutines
from greenroom_replica.runner_calls import Calls, Lane
from greenroom_replica.runner_fork import Forked
from greenroom_replica.runner_setup import Place, RunnerSettings
from greenroom_replica.runner_stop import Stopper
from greenroom_replica.workshop import Callee, NotReady, Workshop

if TYPE_CHECKING:
    from greenroom.checkpoints import HubKeeper
    from greenroom.scopes import Dispatcher

_LANES: Final = 64
"""Nodes whose surroundings are kept: they are small."""


class Runner:
    """Takes orders one after the other."""

    def __init__(self, place: Place, stopper: Stopper, workshop: Workshop) -> None:
        settings = place.settings
        self._place = place
        self._pid = os.getpid()
        self._sock = place.sock
        self.stream = talk.Stream()
        self._orders: deque[Any] = deque()
        self._workshop = workshop
        self._stopper = stopper
        self._calls = Calls(place.page, place.sock, place.output, self._stopper, workshop, self.prepare)
        place.own_loop = self._calls.loop
        self._definitions: dict[bytes, bytes] = {}
        self._callees: dict[bytes, Callee] = {}
        self._lanes: dict[tuple[bytes, str, str], Lane] = {}
        self._replica = ReplicaPlace(settings.config.index, settings.config.environment, settings.config.replica)
        self._coroutines: Coroutines | None = None
        self._forked = Forked(self._calls, place)
        reads_itself = settings.config.concurrency == 1 or settings.kind != "warm"
        self._asking = Asking(place.sock, self.stream, settings.number, self._put_off, reads_itself)
        self._skips = False
        """Whether calls are passed over until `Drop` comes."""
        self._left = False

    def run(self) -> None:
        """Take orders until told to leave, or until the supervisor is gone."""
        self._calls.say(talk.Up({"rss": procfs.rss(self._calls.pid)}))
        config = self._place.settings.config
        if config.concurrency > 1 and self._place.settings.kind == "warm":
            self._coroutines = Coroutines(self, self._calls, config.timings.term_after)
            self._coroutines.run()
            return
        while not self._left:
            order = self._next_order()
            if order is None:
                return
            self.obey(order)
        if self._calls.has_unsent:
            self._calls.knock()

    def _next_order(self) -> Any:
        while not self._orders:
            data = self._receive()
            if not data:
                return None
            self._orders.extend(self.stream.feed(data))
        return self._orders.popleft()

    def _receive(self) -> bytes:
        if self._calls.has_unsent:
            try:
                return self._sock.recv(1 << 18, socket.MSG_DONTWAIT)
            except BlockingIOError:
                self._calls.knock()
        return self._sock.recv(1 << 18)

    def obey(self, order: Any) -> None:
        """Do what an order says."""
        match order:
            case talk.Run():
                if not self._skips:
                    self._run(order)
            case talk.Drop(limit):
                self._skips = False
                self._calls.say(talk.Cleared(limit))
            case talk.Define(digest, body):
                self._definitions[digest] = body
            case talk.Forget(digests):
                for digest in digests:
                    self._definitions.pop(digest, None)
                    self._callees.pop(digest, None)
                self._lanes.clear()
            case talk.Prewarm():
                self._prewarm(order)
            case talk.Evict(loader, key):
                self._calls.say(talk.Entries([], self._workshop.evict(loader, key)))
            case talk.Answer():
                self._asking.answered(order)
            case talk.Leave():
                self._left = True

    def _put_off(self, order: Any) -> None:
        """An order came while a call waited for an answer."""
        if self._coroutines is not None:
            self._coroutines.put_off(order)
        else:
            self._orders.append(order)

    # Calls ----------------------------------------------------------------------------------------------------------

    def _run(self, order: talk.Run) -> None:
        calls = self._calls
        calls.start_order()
        lane = self.lane(order)
        call = self._forked.call if lane.is_forked else calls.call
        last = order.first + len(order.ends) // 8 - 1
        for serial, _, inputs, item, attempt in self.calls_of(order, lane):
            if not call(serial, lane, inputs, item, attempt, serial == last):
                self._skips = True  # It was taken back, and so is all that was sent before the word comes.
                return
            if calls.retire is not None:  # What follows would see what this call has left: it runs elsewhere.
                calls.say(talk.Retire(calls.retire))
                calls.retire = None
                self._skips = True
                break
        if gone := self._workshop.gone():
            calls.say(talk.Entries([], gone))

    @staticmethod
    def calls_of(order: talk.Run, lane: Lane) -> Iterator[tuple[int, Lane, bytes, int, int]]:
        """The calls of an order: serial, lane, inputs, item, attempt."""
        items, attempts, base, payload = order.items, order.attempts, order.base, order.payload
        start = 0
        for place, end in enumerate(memoryview(order.ends).cast("Q")):
            stop = end - base
            item = items + place if isinstance(items, int) else items[place]
            attempt = attempts if isinstance(attempts, int) else attempts[place]
            yield order.first + place, lane, payload[start:stop], item, attempt
            start = stop

    def lane(self, order: talk.Run) -> Lane:
        """What the calls of an order have in common."""
        key = (order.definition, order.execution, order.node)
        lane = self._lanes.get(key)
        if lane is None:
            if len(self._lanes) >= _LANES:
                self._lanes.clear()
            lane = Lane(order.definition, order.execution, order.node, self._surroundings(order))
            definition = Definition.unpack(self._definitions[order.definition])
            lane.is_forked = definition.isolation == "fork" and self._place.settings.kind == "warm"
            lane.callee = self._callees.get(order.definition)
            self._lanes[key] = lane
        return lane

    def _surroundings(self, order: talk.Run) -> Surroundings:
        context = order.context
        project = str(context.get("project") or "local")
        domain = str(context.get("domain") or "development")
        definition = Definition.unpack(self._definitions[order.definition])
        return Surroundings(
            ExecutionId(project, domain, order.execution),
            order.node,
            TaskId(project, domain, definition.task, definition.bundle or ""),
            self._replica,
            context.get("labels") or {},
            self,
            str(context.get("raw_output_prefix") or ""),
        )

    def known(self, lane: Lane) -> Callee | None:
        """The lane's callee, if it is ready."""
        lane.callee = self._callees.get(lane.digest)
        return lane.callee

    def prepare(self, lane: Lane) -> Callee:
        """Get the lane's callee ready."""
        callee = self._callees.get(lane.digest)
        if callee is None:
            definition = Definition.unpack(self._definitions[lane.digest])
            callee = self._workshop.prepare(definition)
            self._callees[lane.digest] = callee
            self._tell_libraries(callee)
        lane.callee = callee
        return callee

    def _tell_libraries(self, callee: Callee) -> None:
        bundle = callee.definition.bundle
        if bundle is None:
            return
        libraries = self._workshop.learned(callee)
        if libraries:
            self._calls.say(talk.Learned(bundle, list(libraries)))

    # Entries --------------------------------------------------------------------------------------------------------

    def _prewarm(self, order: talk.Prewarm) -> None:
        self._place.page.words[PHASE] = Phase.LOADING
        loaded: list[Mapping[str, Any]] = []
        try:
            callee = self._callees.get(order.definition)
            if callee is None:
                callee = self._workshop.prepare(Definition.unpack(self._definitions[order.definition]))
                self._callees[order.definition] = callee
            loaded = self._workshop.prewarm(callee, order.recipes)
        except NotReady:
            pass  # The call that wants the entry will meet the same error, and tell it to whom it concerns.
        finally:
            self._place.page.words[PHASE] = Phase.IDLE
            self._place.output.skip()
        self._calls.say(talk.Entries(loaded, []))

    # For contexts ---------------------------------------------------------------------------------------------------

    def cancelled(self, call: int) -> bool:
        """Whether a call shall stop."""
        if self._coroutines is not None:
            return self._coroutines.cancelled(call)
        return self._stopper.asked(call)

    def folder(self) -> str:
        """A new folder for a call's files."""
        import tempfile

        return tempfile.mkdtemp(prefix="call-", dir=self._place.tmp)

    def keeper(self, context: Context) -> HubKeeper:
        """Where the call's checkpoint is kept: at the hub, for an attempt elsewhere."""
        from greenroom.checkpoints import HubKeeper
        from greenroom.http import Endpoint
        from greenroom.operations import path_to

        config = self._place.settings.config
        place = ("nodes", context.node, "items", str(context.item), "checkpoint")
        path = path_to(context.execution_id.name, *place)
        return HubKeeper(Endpoint.parse(config.hub), config.token, path, context.attempt)

    def dispatcher(self, call: int) -> Dispatcher:
        """Who runs the calls that a call makes: the hub; in a child forked for it, that child."""
        if os.getpid() != self._pid:
            from greenroom.attempts import HereDispatcher

            return HereDispatcher()
        return HubDispatcher(self._asking, call)

    @contextlib.contextmanager
    def waiting(self, call: int) -> Iterator[None]:
        """Around a wait for calls that this call has made."""
        self._calls.say(talk.Waiting(call))
        try:
            yield
        finally:
            self._calls.say(talk.Resumed(call))


def main(wire: Mapping[str, Any], fds: list[int]) -> int:
    """Be a runner, in a process that was forked for it."""
    building.compile_at_definition = False  # Its mistakes were said where it was submitted; a call needs no graphs.
    settings = RunnerSettings.from_wire(wire)
    place = Place(settings, fds)
    stopper = Stopper(place.page.words)
    stopper.install()  # Before anything takes the process's state as what it should be.
    workshop = _make_workshop(settings, place)
    try:
        with contextlib.suppress(OSError):  # The supervisor is gone, or user code has closed the line to it.
            Runner(place, stopper, workshop).run()
    finally:
        workshop.close()
    return 0


def _make_workshop(settings: RunnerSettings, place: Place) -> Workshop:
    import importlib

    module, _, name = settings.workshop.partition(":")
    workshop: Workshop = getattr(importlib.import_module(module), name)(settings, place)
    return workshop
