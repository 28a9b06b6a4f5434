"""The supervisor: a replica's small process that speaks to the hub and watches over its runners."""

from __future__ import annotations

import asyncio
import logging
import os
import platform
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from greenroom_core.failure import Cause, Failure
from greenroom_protocol import frames
from greenroom_protocol.frames import Assign, Bye, Cache, Log, Lost, Message, Pong, Returned, Started, Stats, Welcome
from greenroom_protocol.version import VERSION
from greenroom_replica import system
from greenroom_replica.config import ReplicaConfig, with_settings
from greenroom_replica.connection import Connection, Refused, remove_dead_socket
from greenroom_replica.core.outcomes import Built
from greenroom_replica.core.session import Session, StaleHub
from greenroom_replica.core.slots import check
from greenroom_replica.crew import Crew
from greenroom_replica.forks import Forks

log = logging.getLogger("greenroom.replica")

REFUSED: Final = 4
"""Exit code of a replica that its hub does not want."""

_ACK_PATIENCE: Final = 5.0
"""Seconds that a leaving replica waits for its last results to be acked."""


class Supervisor:
    """One replica, from its first dial to its last word.

    Args:
        config: Who it is.
        zygote: The line to the zygote.
        workshop: Who makes runners' workshops: `module:function`.
    """

    def __init__(self, config: ReplicaConfig, zygote: socket.socket, workshop: str) -> None:
        self._config = config
        self._session = Session(config.replica, config.generation)
        self._forks = Forks(zygote, self._of_runner)
        self._crew = Crew(config, self._forks, self, workshop)
        timings = config.timings
        self._link = Connection(config.hub, config.token, self, self._heartbeat, timings.reconnect_most)
        self._born = time.monotonic()
        self._hub_seen = time.monotonic()
        self._told: Mapping[str, Any] = {}
        self._leaving: str | None = None
        self._done = asyncio.Event()
        self._recycle_since: float | None = None
        self.is_welcome = False
        self._handlers: dict[type[Any], Callable[[Any], None]] = {
            Assign: self._assign,
            frames.Ack: lambda ack: self._acked(ack.seq),
            Pong: lambda pong: self._session.ponged(pong.number),
            frames.Define: self._define,
            frames.Forget: self._forget,
            frames.Revoke: self._revoke,
            frames.Cancel: lambda cancel: self._crew.stops.cancel(*cancel),
            frames.Answer: self._answered,
            frames.Drain: lambda drain: self.leave(drain.reason),
            frames.Prewarm: lambda prewarm: self._crew.warmth.prewarm(prewarm.definition, prewarm.recipes),
            frames.Evict: lambda evict: self._crew.warmth.evict(evict.loader, evict.key),
            Welcome: self._welcome,
        }

    async def run(self) -> int:
        """Serve until told to leave, or until there is no hub any more; returns the exit code."""
        loop = asyncio.get_running_loop()
        self._forks.start(loop)
        loop.add_signal_handler(signal.SIGTERM, self.leave, "it was told to end")
        self._crew.roster.start()
        linked = asyncio.create_task(self._link.run())
        keeper = asyncio.create_task(self._keep())
        done = asyncio.create_task(self._done.wait())
        code = 0
        await asyncio.wait({linked, done}, return_when=asyncio.FIRST_COMPLETED)
        if linked.done() and not linked.cancelled() and isinstance(fault := linked.exception(), Refused):
            print(f"greenroom: the hub refuses this replica: {fault}", file=sys.stderr)  # noqa: T201
            code = REFUSED
        else:
            await self._farewell()
        for task in (linked, keeper, done):
            task.cancel()
        await asyncio.gather(linked, keeper, done, return_exceptions=True)
        self._crew.close()
        self._forks.close()
        return code

    # The hub speaks -------------------------------------------------------------------------------------------------

    def greeting(self) -> Sequence[Message]:
        """Who this is, and what it holds."""
        self.is_welcome = False
        return self._session.hello(self._crew.held(), self._crew.warmth.told(), self._facts())

    def heard(self, message: Any) -> None:
        """A message of the hub's."""
        handler = self._handlers.get(type(message))
        if handler is not None:
            handler(message)

    def quiet(self) -> Message:
        """A question whose answer proves the connection."""
        return self._session.ping()

    def connected(self) -> None:
        """The hub can be reached."""
        log.info("connected", extra={"hub": self._config.hub})

    def disconnected(self, reason: str) -> None:
        """The hub cannot be reached."""
        self.is_welcome = False
        log.info("disconnected", extra={"why": reason})

    def _heartbeat(self) -> tuple[float, float]:
        if self._link.is_open and self.is_welcome:
            self._hub_seen = time.monotonic()
        timings = self._crew.timings
        return timings.heartbeat, timings.silent_after

    def _welcome(self, welcome: Welcome) -> None:
        why = self._session.refusal(welcome)
        if why is not None:
            raise Refused(why)
        try:
            again = self._session.welcomed(welcome)
        except StaleHub as stale:
            raise frames.FrameFault(str(stale)) from stale
        self.is_welcome = True
        self._hub_seen = time.monotonic()
        self._crew.timings = with_settings(self._crew.timings, welcome.settings)
        for message in (*again, *self._crew.asks.open()):
            self._link.send(message)
        if self._session.wants_ping:
            self._link.send(self._session.ping())
        self._report()

    def _define(self, define: frames.Define) -> None:
        self._session.define(define.digest, define.body)
        self._crew.define(define.digest, define.body)

    def _forget(self, forget: frames.Forget) -> None:
        self._session.forget(forget.digests)
        self._crew.forget(forget.digests)

    def _assign(self, assign: Assign) -> None:
        wrong = check(assign)
        if wrong is not None:
            raise frames.FrameFault(f"an assignment with {wrong}")
        items = _numbers(assign.items, len(assign.ends) // 8)
        attempts = _repeated(assign.attempts, len(items))
        if self._leaving is not None:
            self._link.send(Returned(assign.execution, assign.node, items, attempts))
        elif not self._crew.spec(assign.definition):
            why = f"definition {assign.definition.hex()} was never sent to this replica"
            failure = Failure(Cause.INFRASTRUCTURE, "UnknownDefinition", why)
            self.tell(Lost(assign.execution, assign.node, items, attempts, False, failure.to_wire()))
        else:
            self._crew.add(assign)

    def _revoke(self, revoke: frames.Revoke) -> None:
        self._crew.stops.revoke(revoke.execution, revoke.node, revoke.items)

    def _answered(self, answer: frames.Answer) -> None:
        self._crew.asks.answered(answer)

    def _acked(self, seq: int) -> None:
        self._session.acked(seq)

    # The crew speaks ------------------------------------------------------------------------------------------------

    def outcomes(self, built: Built) -> None:
        """Calls of a node have ended."""
        self._link.send(self._session.result(built.execution, built.node, built.body))

    def tell(self, message: Lost | Cache) -> None:
        """Something that must arrive."""
        self._link.send(self._session.tell(message))
        if self._link.is_open:
            self._link.send(self._session.ping())

    def say(self, message: Started | Log | Returned | frames.Ask | frames.Waive) -> None:
        """Something that may be lost with the connection."""
        self._link.send(message)

    def idle(self) -> None:
        """Nothing runs and nothing waits."""
        if self._leaving is not None:
            self._done.set()

    def retire(self, why: str) -> None:
        """This replica cannot go on."""
        self.leave(why)

    # Of runners ----------------------------------------------------------------------------------------------

    def _of_runner(self, message: Any) -> None:
        self._crew.roster.told(message)

    # Leaving --------------------------------------------------------------------------------------------------------

    def leave(self, reason: str) -> None:
        """Finish what runs, give back what waits, and go."""
        if self._leaving is not None:
            return
        self._leaving = reason
        log.info("leaving", extra={"why": reason})
        self._crew.stops.drain()
        if not self._crew.is_busy:
            self._done.set()

    async def _farewell(self) -> None:
        deadline = time.monotonic() + _ACK_PATIENCE
        while self._session.unacked and self._link.is_open and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        self._link.send(Bye(self._leaving or ""))
        await self._link.close()

    # Figures --------------------------------------------------------------------------------------------------------

    async def _keep(self) -> None:
        """Report figures, and leave where there is no hub for too long."""
        while True:
            timings = self._crew.timings
            left = self._hub_seen + timings.orphan_after - time.monotonic()
            await asyncio.sleep(max(0.02, min(timings.stats, timings.orphan_after / 4, left)))
            if self._link.is_open and self.is_welcome:
                self._hub_seen = time.monotonic()
                self._report()
                self._recycle()
            elif time.monotonic() - self._hub_seen > timings.orphan_after and not self._crew.is_busy:
                self.leave("there is no hub")
                remove_dead_socket(self._config.hub)

    def _report(self) -> None:
        figures = self._crew.figures()
        figures["age_s"] = round(time.monotonic() - self._born)
        why = self._past_limits()
        if why is not None:
            figures["recycle"] = why
        changed = {key: value for key, value in figures.items() if key != "age_s"}
        if changed != self._told:
            self._told = changed
            self._link.send(Stats(figures))

    def _past_limits(self) -> str | None:
        config, crew = self._config, self._crew
        if config.max_calls is not None and crew.calls >= config.max_calls:
            return f"{crew.calls} calls, max_calls={config.max_calls}"
        age = time.monotonic() - self._born
        if config.max_age is not None and age >= config.max_age:
            return f"{age:.0f} s old, max_age={config.max_age:g}"
        return crew.past_memory()

    def _recycle(self) -> None:
        """Past its limits, and the hub does not bring a replacement: go without."""
        if self._past_limits() is None:
            self._recycle_since = None
        elif self._recycle_since is None:
            self._recycle_since = time.monotonic()
        elif time.monotonic() - self._recycle_since > self._crew.timings.recycle_after:
            self.leave(f"past its limits: {self._past_limits()}")

    def _facts(self) -> Mapping[str, Any]:
        config = self._config
        return {
            "version": VERSION,
            "python": platform.python_version(),
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "slots": config.slots,
            "environment": config.environment,
            "index": config.index,
            **config.labels,
        }


def _numbers(first: frames.Items, count: int) -> list[int]:
    return list(range(first, first + count)) if isinstance(first, int) else list(first)


def _repeated(attempts: frames.Attempts, count: int) -> list[int]:
    return [attempts] * count if isinstance(attempts, int) else list(attempts)


def main(wire: Mapping[str, Any], zygote: socket.socket) -> int:
    """Be a supervisor, in a process that was forked for it."""
    system.set_name("greenroom-super")
    system.become_subreaper()
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    config = ReplicaConfig.from_wire(wire)
    workshop = str(wire.get("workshop") or "greenroom_replica.workshops:make")
    os.makedirs(config.scratch, 0o700, exist_ok=True)
    try:
        return asyncio.run(_serve(config, zygote, workshop))
    finally:
        shutil.rmtree(config.scratch, ignore_errors=True)


async def _serve(config: ReplicaConfig, zygote: socket.socket, workshop: str) -> int:
    return await Supervisor(config, zygote, workshop).run()
