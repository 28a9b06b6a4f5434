"""A runner as its supervisor holds it: socket, shared page, output files, and what it was given."""

from __future__ import annotations

import asyncio
import contextlib
import mmap
import os
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any

from greenroom_protocol.frames import Ask
from greenroom_replica import system
from greenroom_replica.core import talk
from greenroom_replica.core.ladder import Stopping
from greenroom_replica.core.page import (
    CANCEL,
    CANCEL_WHY,
    CHILD,
    CURRENT,
    LIMIT,
    PHASE,
    SIZE,
    STARTED,
    Garbled,
    Page,
    Phase,
    phase_of,
)
from greenroom_replica.core.slots import Batch, Hand, Span
from greenroom_replica.outputs import Outputs
from greenroom_replica.runner_setup import PAGE_NAME


class RunnerHandle:
    """One runner, from before its fork to after its end.

    Args:
        number: The supervisor's number for it.
        kind: `warm`, `fresh` or `side`.
        libraries: What its template holds.
    """

    def __init__(self, number: int, kind: str, libraries: Sequence[str] = ()) -> None:
        self.number = number
        self.kind = kind
        self.libraries = tuple(libraries)
        self.hand = Hand()
        self.defined: set[bytes] = set()
        self.pid = 0
        self.is_concurrent = False
        """Whether it runs calls at once: it does so for all its life, whatever it is used for."""
        self.is_templated = False
        """Whether it came from a template that holds its libraries."""
        self.is_up = False
        self.is_parked = False
        """Its call waits for calls of its own."""
        self.asks: dict[int, Ask] = {}
        """Questions of its calls that have no answer yet, by number."""
        self.asking: set[int] = set()
        """Serials of calls that have asked: they run beside others until they end."""
        self.is_leaving = False
        self.is_recalled = False
        """What it had not begun was taken back; it gets nothing until it has said so."""
        self.is_deaf = False
        """Its socket is closed, though it lives: user code has closed descriptors."""
        self.born = time.monotonic()
        self.calls = 0
        self.first_rss = 0
        """Resident bytes before its first call."""
        self.stops: dict[int, Stopping] = {}
        """Calls on their way to their end, by serial; one at most, unless calls run at once."""
        self.notes: dict[int, list[str]] = {}
        """What is to be said about a call beside what its runner says, by serial."""
        self.given: dict[int, float] = {}
        """When each call was handed over, where calls run at once: the page tells of the one that steps only."""
        self.is_dying = False
        """Its running call could not be stopped, and it is about to be killed."""
        self.killed_for: Any = None
        """The failure that its running call ends with, where the supervisor has killed it."""
        self.told_started: set[int] = set()
        """Serials of running calls whose start was told to the hub."""
        self.blamed: set[int] = set()
        """Coroutines that were found to block their loop."""
        self.resetting: tuple[int, float] | None = None
        """The call after which the runner was last seen clearing away, and since when."""
        self.words_at_end = 0
        """What the runner was at when it died."""
        self.peak = 0
        """Largest resident size seen, bytes."""
        self.sock, self._theirs = socket.socketpair()
        self.sock.setblocking(False)
        self._lifeline, self._their_lifeline = socket.socketpair()
        self._page_fd = system.memory_file(PAGE_NAME, SIZE)
        self._map = mmap.mmap(self._page_fd, SIZE)
        self._view = memoryview(self._map)
        self.page = Page(self._view)
        self.words = self.page.words
        self.outputs = Outputs(system.memory_file("stdout"), system.memory_file("stderr"), self.words)
        self.crash_fd = system.memory_file("crash")
        self._stream = talk.Stream()
        self._unsent = bytearray()
        self._loop: asyncio.AbstractEventLoop | None = None

    # Birth and death ------------------------------------------------------------------------------------------------

    def descriptors(self) -> list[int]:
        """What travels with the fork request, in the order of `runner_setup.NAMES`."""
        out, err = self.outputs.descriptors
        return [self._theirs.fileno(), self._their_lifeline.fileno(), self._page_fd, out, err, self.crash_fd]

    def sent(self) -> None:
        """The fork request is on its way: the other ends belong to the runner alone."""
        self._theirs.close()
        self._their_lifeline.close()

    def listen(self, loop: asyncio.AbstractEventLoop, heard: Callable[[RunnerHandle], None]) -> None:
        """Call `heard` whenever the runner has said something."""
        self._loop = loop
        loop.add_reader(self.sock, heard, self)

    def cut(self) -> None:
        """Have the kernel kill the runner: nobody else can be asked to."""
        self._lifeline.close()

    def close(self) -> None:
        """Let go of everything; the runner, if it still lives, dies of it."""
        self.words_at_end = self.words[PHASE]
        if self._loop is not None:
            self._loop.remove_reader(self.sock)
            self._loop.remove_writer(self.sock)
        for sock in (self.sock, self._theirs, self._lifeline, self._their_lifeline):
            sock.close()
        self.outputs.close()
        for fd in (self._page_fd, self.crash_fd):
            os.close(fd)
        self.page.release()
        self._view.release()
        with contextlib.suppress(BufferError):
            self._map.close()

    # Words ----------------------------------------------------------------------------------------------------------

    def receive(self) -> list[Any] | None:
        """What the runner has said; None once its end of the socket is closed.

        Raises:
            Garbled: It cannot be read; nothing more is heard of it.
        """
        try:
            data = self.sock.recv(1 << 18)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        if not data:
            self._stop_listening()
            return None
        try:
            return self._stream.feed(data)
        except Garbled:
            self._stop_listening()
            raise

    def _stop_listening(self) -> None:
        self.is_deaf = True
        if self._loop is not None:
            self._loop.remove_reader(self.sock)

    def tell(self, *orders: talk.Order) -> None:
        """Send orders, as the socket takes them."""
        data = talk.frame(orders[0]) if len(orders) == 1 else b"".join(map(talk.frame, orders))
        if not self._unsent:
            try:
                sent = self.sock.send(data)
            except BlockingIOError:
                sent = 0
            except OSError:
                return  # It has ended; that is told by the zygote.
            if sent == len(data):
                return
            data = data[sent:]
            if self._loop is not None:
                self._loop.add_writer(self.sock, self._flush)
        self._unsent += data

    def _flush(self) -> None:
        try:
            while self._unsent:
                del self._unsent[: self.sock.send(self._unsent)]
        except BlockingIOError:
            return
        except OSError:
            self._unsent.clear()
        if self._loop is not None:
            self._loop.remove_writer(self.sock)

    # Calls ----------------------------------------------------------------------------------------------------------

    def give(self, batch: Batch, start: int, stop: int, body: bytes) -> Span:
        """Hand calls over. `body` is their definition, sent if it was not before."""
        assign = batch.assign
        span = self.hand.give(batch, start, stop)
        base = batch.ends[start - 1] if start else assign.base
        run = talk.Run(
            span.first,
            assign.definition,
            assign.execution,
            assign.node,
            assign.items + start if isinstance(assign.items, int) else assign.items[start:stop],
            assign.attempts if isinstance(assign.attempts, int) else assign.attempts[start:stop],
            base,
            assign.ends[8 * start : 8 * stop],
            assign.payload[base - assign.base : batch.ends[stop - 1] - assign.base],
            assign.context,
        )
        self.words[LIMIT] = span.last
        if assign.definition in self.defined:
            self.tell(run)
        else:
            self.defined.add(assign.definition)
            self.tell(talk.Define(assign.definition, body), run)
        return span

    def forbid(self) -> None:
        """Let the runner begin no more of the calls that it holds."""
        self.words[LIMIT] = max(self.words[CURRENT], self.hand.last_ended)
        self.tell(talk.Drop(self.words[LIMIT]))

    @property
    def is_free(self) -> bool:
        """Whether it may be given calls."""
        return not (self.is_leaving or self.is_recalled or self.is_deaf or self.is_parked)

    def running(self) -> tuple[int, float, Phase] | None:
        """The call that runs: its serial, the seconds that it has run for, and what the runner is at; None if none."""
        words = self.words
        serial, started, phase = words[CURRENT], words[STARTED], words[PHASE]
        if not serial or words[CURRENT] != serial or words[STARTED] != started:
            return None
        return serial, max(0.0, (time.monotonic_ns() - started) / 1e9), phase_of(phase)

    def ask_to_stop(self, stopping: Stopping) -> None:
        """Tell the running call to stop."""
        self.words[CANCEL_WHY] = stopping.why
        self.words[CANCEL] = stopping.serial

    def note(self, serial: int, text: str) -> None:
        """Say something about a call when it has ended."""
        self.notes.setdefault(serial, []).append(text)

    def forget_ended_stops(self) -> None:
        """Calls that have ended need not be stopped any more."""
        for serial in [serial for serial in self.stops if self.hand.span_of(serial) is None]:
            del self.stops[serial]

    @property
    def child(self) -> int:
        """Pid of the forked child that runs the call; 0 if none does."""
        return int(self.words[CHILD])

    def crash_dump(self) -> str:
        """What the runner's fault handler wrote."""
        size = os.fstat(self.crash_fd).st_size
        return os.pread(self.crash_fd, min(size, 1 << 16), max(0, size - (1 << 16))).decode(errors="replace")
