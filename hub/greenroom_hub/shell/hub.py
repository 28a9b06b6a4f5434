"""The hub's loop: drain the inbox, apply, commit, act. Under load the batch between two commits grows by itself."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import structlog

from greenroom_core.facts import ExecutionEnded, ExecutionSubmitted, Fact, pack_fact
from greenroom_core.values import pack
from greenroom_hub.core import commands as c
from greenroom_hub.core.events import Event, Moment, Tick
from greenroom_hub.core.hub_facts import HUB_FACTS, pack_hub_fact
from greenroom_hub.core.machine import Machine
from greenroom_hub.core.run import Run
from greenroom_hub.core.state import Recorded, State, Turn
from greenroom_hub.shell.archive import Archive
from greenroom_hub.shell.executor import Executor
from greenroom_hub.shell.ports import Feed, Links
from greenroom_hub.store.rows import Batch, CachedResult, ExecutionRow, Row, Voided
from greenroom_hub.store.store import Store
from greenroom_hub.store.ticket import Ticket
from greenroom_protocol import frames
from greenroom_protocol.version import PROTOCOL

log = structlog.get_logger("greenroom.hub")

_AHEAD = 2
"""Turns that may be on their way to disk: the one being written, and one more."""


@dataclass(slots=True)
class _Written:
    """A turn on its way to disk."""

    ticket: Ticket
    last: int
    tell: list[c.Tell] = field(default_factory=list)
    facts: dict[str, list[tuple[int, int, Fact]]] = field(default_factory=dict)


class Hub:
    """Joins the machine with the world. Everything here runs on one event loop."""

    def __init__(
        self,
        machine: Machine,
        store: Store,
        executor: Executor,
        links: Links,
        feed: Feed,
        archive: Archive,
        settings: dict[str, Any],
    ) -> None:
        self.machine, self.store, self.archive = machine, store, archive
        self.committed = machine.state.position
        """Last row that is on disk."""
        self._executor, self._links, self._feed = executor, links, feed
        self._welcome = settings
        self._inbox: list[Event] = []
        self._scheduled = False
        self._written: deque[_Written] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0
        self._settling: list[asyncio.Future[None]] = []
        self._replies: dict[int, asyncio.Future[c.Reply]] = {}
        self._requests = 0
        self._ends: dict[str, list[asyncio.Future[None]]] = {}
        self.broken: str | None = None
        """Why nothing can be recorded any more, if so."""
        self.on_fault: Callable[[str], None] = lambda why: None
        """Called when a fault of ours makes the memory worthless; what is on disk is whole."""
        self.on_ended: Callable[[str], None] = lambda execution: None
        """Called when the end of an execution is on disk."""
        self.on_look_again: Callable[[c.LookAgain], None] = lambda command: None
        self.on_notify: Callable[[c.Notify], None] = lambda command: None
        """Called when a webhook is to be told something."""
        self.on_broken: Callable[[str], None] = lambda why: None

    @property
    def state(self) -> State:
        """What the machine knows; read it only through `settled`."""
        return self.machine.state

    # Events in --------------------------------------------------------------------------------------------------------

    def post(self, event: Event) -> None:
        """Put something that happened into the inbox; it is handled in this turn of the loop or the next."""
        self._inbox.append(event)
        self._schedule()

    async def ask(self, make: Callable[[int], Event]) -> c.Reply:
        """Post a request and wait for its reply, which comes when everything that it says is on disk."""
        self._requests += 1
        reply: asyncio.Future[c.Reply] = asyncio.get_running_loop().create_future()
        self._replies[self._requests] = reply
        self.post(make(self._requests))
        return await reply

    async def ended(self, execution: str, seconds: float) -> bool:
        """Wait until an execution has ended, at most `seconds`; whether it has."""
        if execution not in self.state.runs and not self._ending(execution):
            return True
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = self._ends.setdefault(execution, [])
        waiting.append(future)
        try:
            await asyncio.wait_for(future, seconds)
        except TimeoutError:
            return False
        finally:
            if future in waiting:
                waiting.remove(future)
            if not waiting:
                self._ends.pop(execution, None)
        return True

    def _ending(self, execution: str) -> bool:
        """Whether its end is known here and not on disk yet."""
        return any(isinstance(t, c.Ended) and t.execution == execution for w in self._written for t in w.tell)

    async def settled(self) -> None:
        """Wait until everything that the machine knows is on disk: what is read then may be told."""
        if self._inbox or self._written:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._settling.append(future)
            self._schedule()
            await future

    # Forgetting -------------------------------------------------------------------------------------------------------

    @property
    def quiet(self) -> bool:
        """Whether everything that the machine knows is on disk at this very moment."""
        return not self._inbox and not self._written

    async def drop(self, executions: list[str]) -> None:
        """Drop ended executions with all that belongs to them."""
        self.archive.forget(executions)
        await self._commit(Batch(dropped=executions))
        self.archive.forget(executions)  # Somebody may have looked at one meanwhile.

    async def void(self, voided: list[Voided]) -> None:
        """Let cached results not be used any more."""
        await self._commit(Batch(voided=voided))

    async def forget(self, programs: list[str]) -> None:
        """Forget programs that no execution refers to; only while the hub is quiet."""
        live = {run.execution.submitted.submission.program for run in self.state.runs.values()}
        kept = live | self.state.catalog.programs()
        unused = [digest for digest in programs if digest not in kept]
        self.archive.leaving.update(unused)
        for digest in unused:
            self.state.programs.pop(digest, None)
        try:
            await self._commit(Batch(forgotten=unused))
        finally:
            self.archive.leaving.difference_update(unused)

    async def _commit(self, batch: Batch) -> None:
        """Have a batch of no facts committed."""
        loop, done = asyncio.get_running_loop(), asyncio.Event()

        def told(_: Ticket) -> None:
            loop.call_soon_threadsafe(done.set)

        self.store.append(batch).add_done_callback(told)
        await done.wait()

    # The turn ---------------------------------------------------------------------------------------------------------

    def start(self, first: Turn) -> None:
        """Record the first turn after a restart and begin."""
        self._carry_out(first)
        self._arm()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self._scheduled = False
        if self.broken is not None or len(self._written) >= _AHEAD:
            return  # The next commit schedules a turn; until then the inbox gathers: that is the group commit.
        if self._inbox:
            events, self._inbox = self._inbox, []
            try:
                self._carry_out(self.machine.apply(events, moment()))
            except Exception:
                self._contain(events)
                return
            self._arm()
        self._settle()

    def _contain(self, events: list[Event]) -> None:
        """A fault of ours left a turn half done: nothing of it is on disk, so the hub starts over from its log.

        What the events asked for was not acknowledged: clients hear that the hub is gone, replicas send again.
        """
        kinds = ", ".join(dict.fromkeys(type(event).__name__ for event in events))
        self.broken = f"a turn failed ({kinds})"
        log.exception("a turn failed: the hub starts over from its log", events=kinds)
        self.on_fault(self.broken)

    def _carry_out(self, turn: Turn) -> None:
        self._executor.run(turn.do, self.committed)
        self._links.flush()
        if turn.rows or turn.programs or turn.dropped:
            batch, facts = self._batch(turn)
            written = _Written(self.store.append(batch), self.state.position, turn.tell, facts)
            self._written.append(written)
        elif self._written:
            self._written[-1].tell.extend(turn.tell)
        else:
            self._tell(turn.tell)
            self._links.flush()

    def _batch(self, turn: Turn) -> tuple[Batch, dict[str, list[tuple[int, int, Fact]]]]:
        rows, projected = [], []
        gone = {run.id: run for run in turn.ended}
        for run in turn.ended:
            self.archive.keep(run.execution)
        facts: dict[str, list[tuple[int, int, Fact]]] = {}
        for recorded in turn.rows:
            fact = recorded.fact
            if isinstance(fact, HUB_FACTS):
                data = pack_hub_fact(fact)
            else:
                data = pack_fact(fact)
                facts.setdefault(recorded.stream, []).append((recorded.seq, recorded.at_ms, fact))
                if isinstance(fact, (ExecutionSubmitted, ExecutionEnded)):
                    run = self.state.runs.get(recorded.stream) or gone[recorded.stream]
                    projected.append(_project(recorded, fact, run))
            kind = int(fact.KIND)
            rows.append(Row(recorded.position, recorded.stream, recorded.seq, recorded.at_ms, kind, data))
        now = turn.rows[-1].at_ms if turn.rows else 0
        results = [CachedResult(k.key, k.execution, k.node, k.item, k.position, now) for k in turn.results]
        batch = Batch(rows, projected, turn.programs, results, dropped=turn.dropped)
        return batch, facts

    # Commits ----------------------------------------------------------------------------------------------------------

    def on_commit(self, ticket: Ticket) -> None:
        """A turn is on disk (or could not be written). Called on the loop."""
        if ticket.error is not None:
            self._fail_stop(ticket.error)
            return
        while self._written and self._written[0].ticket.done:
            written = self._written.popleft()
            self.committed = written.last
            self._executor.release(self.committed)
            for stream, facts in written.facts.items():
                self._feed.committed(stream, facts)
            self._tell(written.tell)
        self._links.flush()
        self._schedule()

    def _tell(self, told: list[c.Tell]) -> None:
        for command in told:
            if isinstance(command, c.Ack):
                self._links.send(command.replica, frames.Ack(command.seq))
            elif isinstance(command, c.SendAnswer):
                self._links.send(command.replica, frames.Answer(*command.ask[:5], command.status, command.payload))
            elif isinstance(command, c.Reply):
                reply = self._replies.pop(command.request, None)
                if reply is not None and not reply.done():
                    reply.set_result(command)
            elif isinstance(command, c.Ended):
                self.on_ended(command.execution)
                for future in self._ends.pop(command.execution, ()):
                    if not future.done():
                        future.set_result(None)
            elif isinstance(command, c.LookAgain):
                self.on_look_again(command)
            elif isinstance(command, c.Notify):
                self.on_notify(command)
            elif isinstance(command, c.Welcome):
                self._answer_hello(command)
            else:
                log.info(command.event, **command.fields)

    def _answer_hello(self, command: c.Welcome) -> None:
        if command.refusal is not None:
            self._links.refuse(command.link, command.refusal)
            return
        welcome = frames.Welcome(PROTOCOL, self.state.epoch, command.acked, self._welcome)
        self._links.send(command.replica, welcome)

    def _settle(self) -> None:
        if not self._inbox and not self._written and self._settling:
            waiting, self._settling = self._settling, []
            for future in waiting:
                if not future.done():
                    future.set_result(None)

    def _fail_stop(self, error: BaseException) -> None:
        """Nothing more is told or recorded by this memory; the owner folds again from disk, or ends."""
        if self.broken is None:
            self.broken = f"{type(error).__name__}: {error}"
            log.error("the log cannot be written: state is folded again from disk", error=self.broken)
            self.on_broken(self.broken)

    # Time -------------------------------------------------------------------------------------------------------------

    def _arm(self) -> None:
        due = self.machine.next_due()
        if due is None or (self._timer is not None and self._timer_at <= due and not self._timer.cancelled()):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = due
        delay = max(0.0, due / 1000 - time.monotonic())
        self._timer = asyncio.get_running_loop().call_later(delay, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self.post(Tick())

    def close(self) -> None:
        """No more turns."""
        if self._timer is not None:
            self._timer.cancel()
        self.broken = self.broken or "closed"


def moment() -> Moment:
    """Now."""
    return Moment(time.time_ns() // 1_000_000, time.monotonic_ns() // 1_000_000)


def _project(recorded: Recorded, fact: ExecutionSubmitted | ExecutionEnded, run: Run) -> ExecutionRow:
    """The row that lists an execution, as it is after this fact."""
    execution = run.execution
    submitted = execution.submitted
    return ExecutionRow(
        id=execution.id,
        entity=execution.program.plans[submitted.plan].name if submitted.plan else execution.program.entity,
        project=execution.program.project,
        state=str(fact.outcome) if isinstance(fact, ExecutionEnded) else "running",
        by=submitted.submission.by,
        submitted_ms=run.submitted_ms,
        ended_ms=recorded.at_ms if isinstance(fact, ExecutionEnded) else None,
        labels=pack(dict(submitted.submission.labels)),
        key=submitted.submission.key,
        parent=f"{submitted.parent[0]}/{submitted.parent[1]}" if submitted.parent else None,
        program=submitted.submission.program,
    )
