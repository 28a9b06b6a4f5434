"""Keys of cached results: computed off the loop, looked up in batches, handed back as events."""

from __future__ import annotations

import asyncio
import time
from array import array
from collections.abc import Callable, Iterable
from typing import TypeAlias

from greenroom_core.cached_keys import base_key, call_key, input_digest
from greenroom_core.lists import Reader
from greenroom_core.program import Cached
from greenroom_core.values import Value, ValueFault, split
from greenroom_hub.core.caching import NO_KEY
from greenroom_hub.core.commands import LookAgain, LookUp
from greenroom_hub.core.events import Event, LookedAgain, LookedUp
from greenroom_hub.core.reuse import taken
from greenroom_hub.shell.tasks import Tasks
from greenroom_hub.store.rows import CachedResult
from greenroom_hub.store.store import Store
from greenroom_protocol.calls import Outcomes, Status

_AT_ONCE = 2000
"""Calls whose keys are computed and looked up together."""

_Hit: TypeAlias = tuple[str, tuple[int, ...], bytes]
"""Execution that computed them, items, packed outcomes."""

_FEW = 16
"""Calls up to which the way through a thread costs more than the work."""


class Lookups:
    """Answers the machine's questions for cached results."""

    def __init__(self, store: Store, reader: Reader, tasks: Tasks, post: Callable[[Event], None]) -> None:
        self._store, self._reader, self._tasks, self._post = store, reader, tasks, post

    def look_up(self, command: LookUp) -> None:
        """Compute keys and look for known outputs."""
        if command.count <= _FEW:
            self._post(self._part(command, 0, command.count))
        else:
            self._tasks.start(self._look_up(command), f"look up {command.execution}/{command.node}")

    async def _look_up(self, command: LookUp) -> None:
        for first in range(0, command.count, _AT_ONCE):
            stop = min(first + _AT_ONCE, command.count)
            self._post(await asyncio.to_thread(self._part, command, first, stop))

    def _part(self, command: LookUp, first: int, stop: int) -> LookedUp:
        hits, known = self._taken_over(command, first, stop)
        keys = b""
        if command.wish is not None:
            try:
                keys = self._keys(command, command.wish, first, stop)
                hits += self._hits(keys, first, known) if command.use else []
            except ValueFault:
                keys = NO_KEY * (stop - first)  # What cannot be read fails where it is sent, with its own words.
        return LookedUp(command.execution, command.node, first, stop - first, keys, tuple(hits))

    def _taken_over(self, command: LookUp, first: int, stop: int) -> tuple[list[_Hit], frozenset[int]]:
        """What the execution that is repeated knows already, and for which calls."""
        if command.was is None:
            return [], frozenset()
        calls = list(taken(command.was, command.inputs, first, stop, self._reader))
        if not calls:
            return [], frozenset()
        items = tuple(call.item for call in calls)
        body = outcomes_of([(call.item, call.payload) for call in calls], bytes(call.status for call in calls))
        return [(command.was.execution.id, items, body.pack())], frozenset(items)

    def _keys(self, command: LookUp, wish: Cached, first: int, stop: int) -> bytes:
        base = base_key(command.project, command.task, wish, command.version)
        ignored, inputs = set(wish.ignore), command.inputs
        bound = [(n, input_digest(v, self._reader)) for n, v in inputs.bound.items() if n not in ignored]
        if not inputs.lists:
            values = dict(zip(inputs.params, split(inputs.single, len(inputs.params)), strict=True))
            return call_key(base, bound + self._digests(values.items(), ignored))
        columns = [list(source.slice(first, stop).items()) for source in inputs.lists]
        keys = bytearray()
        for row in zip(*columns, strict=True):
            keys += call_key(base, bound + self._digests(zip(inputs.params, row, strict=True), ignored))
        return bytes(keys)

    def _digests(self, inputs: Iterable[tuple[str, Value]], ignored: set[str]) -> list[tuple[str, str]]:
        return [(name, input_digest(value, self._reader)) for name, value in inputs if name not in ignored]

    def _hits(self, keys: bytes, first: int, without: frozenset[int]) -> list[_Hit]:
        names = [keys[start : start + 16].hex() for start in range(0, len(keys), 16)]
        known = self._store.cached(names)
        by_source: dict[str, list[tuple[int, bytes]]] = {}
        for offset, name in enumerate(names):
            result = known.get(name)
            payload = self._payload(result) if result is not None and first + offset not in without else None
            if result is not None and payload is not None:
                by_source.setdefault(result.execution, []).append((first + offset, payload))
        return [
            (source, tuple(item for item, _ in calls), outcomes_of(calls).pack()) for source, calls in by_source.items()
        ]

    def _payload(self, result: CachedResult) -> bytes | None:
        """The outputs of a call that succeeded earlier; None if they are gone."""
        try:
            outcomes = self._reader.outcomes(result.position)
            position = list(outcomes.item_list()).index(result.item)
        except (ValueFault, ValueError):
            return None
        return outcomes.payload_of(position)

    def look_again(self, command: LookAgain) -> None:
        """Look once more for calls whose leader has ended."""
        known = self._store.cached([key.hex() for _, _, _, key in command.calls])
        answers = []
        for execution, node, item, key in command.calls:
            result = known.get(key.hex())
            payload = self._payload(result) if result is not None else None
            body = outcomes_of([(item, payload)]).pack() if payload is not None else None
            answers.append((execution, node, item, key, result.execution if result else "", body))
        self._post(LookedAgain(tuple(answers)))


def outcomes_of(calls: list[tuple[int, bytes]], statuses: bytes = bytes((Status.SUCCEEDED,))) -> Outcomes:
    """Outcomes that are known already, in the columns of a batch."""
    ends, end = array("I"), 0
    for _, payload in calls:
        end += len(payload)
        ends.append(end)
    n = len(calls)
    items = [item for item, _ in calls]
    together = items == list(range(items[0], items[0] + n))
    return Outcomes(
        items=items[0] if together else items,
        attempts=1,
        statuses=statuses[:1] if len(set(statuses)) == 1 else statuses,
        ends=ends.tobytes(),
        payload=b"".join(payload for _, payload in calls),
        base_us=time.time_ns() // 1000,
        started=bytes(4 * n),
        durations=bytes(4 * n),
        extras={},
        cache=[],
    )
