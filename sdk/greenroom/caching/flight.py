"""One load at a time for each key: whoever else wants it waits, in threads and in coroutines of any event loop."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from greenroom.caching.errors import RecursiveLoad

if TYPE_CHECKING:
    from concurrent.futures import Future

    from greenroom.caching.calls import Call
    from greenroom.caching.entry import Entry, Group

LOADING: ContextVar[tuple[Flight, ...]] = ContextVar("greenroom_loading", default=())
"""The loads that this context is inside of, outermost first; tasks that a load starts inherit it."""

PATIENCE: Final = 10.0
"""Seconds after which one who waits for another's load is told so; then again after three times as long."""


class Flight:
    """One load under way."""

    __slots__ = (
        "_futures",
        "_latch",
        "address",
        "blocked_on",
        "calls",
        "done",
        "entry",
        "group",
        "name",
        "nested",
        "nested_bytes",
        "nested_gpu",
        "nested_s",
        "parent",
        "result",
        "started",
        "thread",
        "void",
    )

    def __init__(self, group: Group, name: str, address: str, started: float, *, in_thread: bool) -> None:
        self.group = group
        self.name, self.address, self.started = name, address, started
        self.thread = threading.get_ident() if in_thread else 0
        """The thread that a loader which is no coroutine runs in; whoever asks again in it would wait for itself."""
        self.parent: Flight | None = (LOADING.get() or (None,))[-1]
        self.entry: Entry | None = None
        self.result: list[Any] = []
        """The value, once it is there, also where it was not kept."""
        self.calls: set[Call] = set()
        """Calls that wait: they use the entry from the moment that it is there."""
        self.blocked_on: list[Flight] = []
        self.nested = 0
        self.nested_s = 0.0
        self.nested_bytes = self.nested_gpu = 0
        """Loads inside this one, and what they took."""
        self.void = False
        """Set when the cache was cleared meanwhile: the result is given to who waits, and not kept."""
        self.done = False
        """Whether it has ended, well or not."""
        self._latch = threading.Lock()  # Held until then. An event would cost more than all else here.
        self._latch.acquire()
        self._futures: list[Future[None]] = []

    def join(self) -> tuple[Flight, ...]:
        """Be about to wait; gives what `leave` needs. The store's lock must be held, so that no two join at once.

        Raises:
            RecursiveLoad: The load would wait for itself, directly or through loads in other threads.
        """
        chain = LOADING.get()
        if self in chain or (self.thread and self.thread == threading.get_ident()):
            raise RecursiveLoad(self.name, tuple(flight.name for flight in chain))
        pending, seen = [self], {self}
        while pending:
            for other in pending.pop().blocked_on:
                if other in chain:
                    raise RecursiveLoad(self.name, tuple(flight.name for flight in chain))
                if other not in seen:
                    seen.add(other)
                    pending.append(other)
        for flight in chain:
            flight.blocked_on.append(self)
        return chain

    def leave(self, chain: tuple[Flight, ...]) -> None:
        """Wait no longer."""
        for flight in chain:
            flight.blocked_on.remove(self)

    def wait(self, patience: float, tell: Callable[[Flight], None]) -> None:
        """Wait in a thread; `tell` is called when it takes long."""
        while not self.done:
            if self._latch.acquire(timeout=patience):
                self._latch.release()  # For the next who waits.
            elif not self.done:  # Else a signal came between those two lines in another thread that waited.
                tell(self)
                patience *= 3

    async def wait_async(self, patience: float, tell: Callable[[Flight], None]) -> None:
        """Wait in a coroutine, of whatever event loop; `tell` is called when it takes long."""
        import asyncio
        from concurrent.futures import Future

        future: Future[None] = Future()
        self._futures.append(future)
        if self.done:
            self.land()  # It ended before it could know of this one.
        try:
            waiting = asyncio.wrap_future(future)
            while not (await asyncio.wait({waiting}, timeout=patience))[0]:
                tell(self)
                patience *= 3
        finally:
            self._futures.remove(future)

    def land(self) -> None:
        """Wake all who wait."""
        if not self.done:
            self.done = True
            self._latch.release()
        for future in list(self._futures):
            try:
                future.set_result(None)
            except Exception:  # Cancelled, or told already.
                pass
