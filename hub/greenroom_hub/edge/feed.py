"""The log as a live stream: from any cursor, without loss or repeats, to any number of watchers."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncGenerator, Callable
from typing import Any

from greenroom_core.facts import ExecutionEnded, Fact, unpack_fact
from greenroom_hub.edge.words import event_of
from greenroom_hub.shell.archive import Archive
from greenroom_hub.store.store import Store

_PAGE = 500
_KEPT = 2000
"""Facts that wait for one watcher in memory; a slower one reads the rest from the log."""


class Watcher:
    """One reader of one execution's stream."""

    def __init__(self, stream: str, after: int, logs: bool) -> None:
        self.stream, self.after, self.logs = stream, after, logs
        self.fresh: deque[tuple[int, int, Fact]] = deque(maxlen=_KEPT)
        self.output: deque[dict[str, Any]] = deque(maxlen=_KEPT)
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Something is there for it."""
        self._wake.set()

    async def wait(self, seconds: float) -> None:
        """Wait until something is there, at most so long."""
        try:
            await asyncio.wait_for(self._wake.wait(), seconds)
        except TimeoutError:
            return
        self._wake.clear()


class LiveFeed:
    """All watchers; the hub's `Feed`.

    Args:
        store: The log.
        archive: Finds executions, for names that facts leave out.
        status: What an execution waits for now, in words; not a fact.
    """

    def __init__(self, store: Store, archive: Archive, status: Callable[[str], dict[str, Any] | None]) -> None:
        self._store, self._archive, self._status = store, archive, status
        self._watchers: dict[str, set[Watcher]] = {}

    def committed(self, stream: str, facts: list[tuple[int, int, Fact]]) -> None:
        """These facts of an execution are on disk now."""
        for watcher in self._watchers.get(stream, ()):
            watcher.fresh.extend(facts)
            watcher.wake()

    def output(self, stream: str, event: dict[str, Any]) -> None:
        """A call has printed something."""
        for watcher in self._watchers.get(stream, ()):
            if watcher.logs:
                watcher.output.append(event)
                watcher.wake()

    async def next_output(self, stream: str) -> None:
        """Wait until a call of an execution prints something, or a second has passed."""
        watcher = Watcher(stream, 0, logs=True)
        self._watchers.setdefault(stream, set()).add(watcher)
        try:
            await watcher.wait(1.0)
        finally:
            self._leave(watcher)

    def _leave(self, watcher: Watcher) -> None:
        watchers = self._watchers[watcher.stream]
        watchers.discard(watcher)
        if not watchers:
            del self._watchers[watcher.stream]

    @property
    def watching(self) -> int:
        """How many watch."""
        return sum(len(watchers) for watchers in self._watchers.values())

    async def page(self, stream: str, after: int) -> list[dict[str, Any]]:
        """One page of events behind a cursor, oldest first."""
        rows = self._store.read(stream, after, _PAGE)
        return [self._event(unpack_fact(row.kind, row.data), row.seq, row.at_ms, stream) for row in rows]

    async def follow(self, stream: str, after: int, logs: bool) -> AsyncGenerator[list[dict[str, Any]]]:
        """Batches of events behind a cursor, until the execution has ended."""
        watcher = Watcher(stream, after, logs)
        self._watchers.setdefault(stream, set()).add(watcher)
        last_status = self._status(stream)
        try:
            if last_status is not None:  # First of all: how warm it is here. A short execution has no later moment.
                yield [{"kind": "status", **last_status}]
            while True:
                events, ended = self._take(watcher)
                if not ended and not events:
                    status = self._status(stream)
                    if status is not None and status != last_status:
                        last_status = status
                        events = [{"kind": "status", **status}]
                if events:
                    yield events
                if ended:
                    return
                if not watcher.fresh and not watcher.output:
                    await watcher.wait(1.0)
        finally:
            self._leave(watcher)

    def _take(self, watcher: Watcher) -> tuple[list[dict[str, Any]], bool]:
        """What is there for a watcher: output first, since what a call printed comes before its end."""
        events: list[dict[str, Any]] = []
        while watcher.output:
            events.append(watcher.output.popleft())
        ended = False
        for seq, at_ms, fact in self._facts(watcher):
            events.append(self._event(fact, seq, at_ms, watcher.stream))
            watcher.after = seq
            ended = ended or isinstance(fact, ExecutionEnded)
        return events, ended

    def _facts(self, watcher: Watcher) -> list[tuple[int, int, Fact]]:
        while watcher.fresh and watcher.fresh[0][0] <= watcher.after:
            watcher.fresh.popleft()
        if watcher.fresh and watcher.fresh[0][0] == watcher.after + 1:
            facts = list(watcher.fresh)
            watcher.fresh.clear()
            return facts
        rows = self._store.read(watcher.stream, watcher.after, _PAGE)
        if len(rows) == _PAGE:
            watcher.wake()  # There is more.
        return [(row.seq, row.at_ms, unpack_fact(row.kind, row.data)) for row in rows]

    def _event(self, fact: Fact, seq: int, at_ms: int, stream: str) -> dict[str, Any]:
        return event_of(fact, seq, at_ms, self._archive.get(stream))


def text_of(events: list[dict[str, Any]]) -> str:
    """Events as one WebSocket message."""
    return json.dumps(events, ensure_ascii=False, separators=(",", ":"))
