"""`Client.map`: a task over an iterable of any length, which is read no faster than results are taken.

Items travel in batches, each an execution of its own: one item at first, then as many as take about a third of a
second. Only so many batches are under way that the replicas have work; the next items are read when a batch's results
have been taken.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypeVar

from greenroom.definition_errors import BadArgument
from greenroom.handles import FailedCall
from greenroom.hub_errors import HubError, StillRunning
from greenroom.mapping import MapTask, map_task
from greenroom.task import EagerTask, Task
from greenroom_core.program import Mode

if TYPE_CHECKING:
    from greenroom.client import AsyncClient, Client
    from greenroom.handles import AsyncExecution, Execution

E = TypeVar("E")

_LOOK_S: Final = 0.05
"""Seconds between two looks at what has ended."""

_BATCH_S: Final = 0.3
"""Seconds that a batch should take: long beside what a submission costs, short for who waits for results."""

_LARGEST: Final = 500
"""Items of a batch."""

_UNKNOWN: Final = 4
"""Replicas that a plain task is taken to have."""


class Batch(NamedTuple):
    """Items that travel together."""

    first: int
    """Place of the first one in the whole."""
    size: int
    inputs: Mapping[str, Any]


class Stream:
    """What is read, how it is cut into batches, and what comes back: all but the waiting.

    Args:
        target: A task, workflow or launch plan, or `functools.partial` of one.
        iterables: One for each input that is not bound, side by side.
        bound: Inputs that are the same for all items.
        ahead: Items that may be under way, where the caller says so.

    Raises:
        BadArgument: The target cannot be mapped, or has another number of inputs.
    """

    def __init__(
        self, target: Any, iterables: tuple[Iterable[Any], ...], bound: Mapping[str, Any], ahead: int | None
    ) -> None:
        if ahead is not None and (isinstance(ahead, bool) or not isinstance(ahead, int) or ahead < 1):
            raise BadArgument("Client.map", "ahead", ahead, "a number of items, 1 or more")
        self.mapping: MapTask[Any] = _mapping(target, bound)
        mapped = self.mapping.target
        required = [n for n, one in mapped.interface.inputs.items() if n not in self.mapping.bound]
        names = required[: len(iterables)]
        missing = [name for name in required[len(iterables) :] if mapped.interface.inputs[name].required]
        if not iterables or len(names) < len(iterables) or missing:
            told = f"{len(iterables)} for inputs {', '.join(required) or '(none)'}"
            raise BadArgument("Client.map", "iterables", told, "one for each input that is not bound, at least one")
        self._names = names
        self._rows = zip(*iterables, strict=True)
        self.together = isinstance(mapped, Task) and mapped.mode is Mode.CALL and not isinstance(mapped, EagerTask)
        """Whether items travel in batches; else each is an execution of its own."""
        environment = mapped.options.environment if isinstance(mapped, Task) else None
        width = environment.replica_count * environment.concurrency if environment is not None else _UNKNOWN
        self._ahead = ahead
        self._most = 2 * width + 2
        self._next = 0
        self._size = 1
        self._over = False
        self._under_way = 0

    @property
    def entity(self) -> Any:
        """What a batch runs."""
        return self.mapping if self.together else self.mapping.target

    def read(self, batches: int) -> Batch | None:
        """The next items, if there are any and there is room for them.

        Args:
            batches: Under way, or done and not taken.
        """
        room = self._most if self._ahead is None else min(self._most, self._ahead)
        if self._over or batches >= room:
            return None
        size = self._size
        if self._ahead is not None:
            size = min(size, self._ahead - self._under_way)
        rows = list(islice(self._rows, size)) if size > 0 else []
        if len(rows) < size:
            self._over = True
        if not rows:
            return None
        columns = zip(*rows, strict=True)
        if self.together:
            inputs: dict[str, Any] = {name: list(column) for name, column in zip(self._names, columns, strict=True)}
        else:
            inputs = {**self.mapping.bound, **dict(zip(self._names, rows[0], strict=True))}
        batch = Batch(self._next, len(rows), inputs)
        self._next += len(rows)
        self._under_way += len(rows)
        return batch

    def took(self, batch: Batch, seconds: float) -> None:
        """A batch has ended: the next ones are as large as they may take long."""
        if self.together:
            fits = _BATCH_S / max(seconds / batch.size, 1e-4)
            self._size = max(1, min(int(fits), 4 * self._size, _LARGEST))

    def taken(self, batch: Batch) -> None:
        """The results of a batch are about to be handed out: there is room for others."""
        self._under_way -= batch.size

    def results(self, batch: Batch, value: Any, failed: Iterable[FailedCall]) -> Iterator[Any]:
        """A batch's results by item; an exception where one failed."""
        if not self.together:
            yield value
            return
        errors = {one.item: one.error for one in failed}
        columns = value if len(self.mapping.target.interface.outputs) > 1 else (value,)
        for place in range(batch.size):
            if place in errors:
                errors[place].add_note(f"item {batch.first + place}")
                yield _Failed(errors[place])
            elif value is None:
                yield None
            elif len(columns) == 1:
                yield columns[0][place]
            else:
                yield tuple(column[place] for column in columns)


class _Failed(NamedTuple):
    error: Exception


def _mapping(target: Any, bound: Mapping[str, Any]) -> MapTask[Any]:
    plain = map_task(target, bound_inputs=bound) if not isinstance(target, EagerTask) else None
    if plain is None:
        return MapTask[Any](target, bound)
    if isinstance(plain.target, Task) and plain.target.mode is Mode.CALL:
        return map_task(target, min_success_ratio=0.0, bound_inputs=bound)  # One that fails stops no other.
    return plain


def handed_out(results: Iterator[Any], return_exceptions: bool) -> Iterator[Any]:
    """Results as the caller wants them: a failure raised, or in its place."""
    for result in results:
        if not isinstance(result, _Failed):
            yield result
        elif return_exceptions:
            yield result.error
        else:
            raise result.error


def streamed(client: Client, stream: Stream, ordered: bool, return_exceptions: bool) -> Iterator[Any]:
    """Carry a stream out; who stops taking results ends what is under way."""
    pending: list[_Sent[Execution]] = []
    try:
        while True:
            while (batch := stream.read(len(pending))) is not None:
                pending.append(_Sent(batch, client.run(stream.entity, **batch.inputs), time.monotonic()))
            if not pending:
                return
            sent = pending[0] if ordered else _ended(pending)
            value, failed = _outcome(stream, sent.execution)
            stream.took(sent.batch, (time.monotonic() - sent.begun) / len(pending))
            pending.remove(sent)
            stream.taken(sent.batch)
            yield from handed_out(stream.results(sent.batch, value, failed), return_exceptions)
    finally:
        for sent in pending:
            with contextlib.suppress(HubError):
                sent.execution.cancel("its results are not wanted any more")


def _ended(pending: list[_Sent[Execution]]) -> _Sent[Execution]:
    """The first batch that has ended; waits for one."""
    while True:
        for sent in pending:
            if sent.execution.is_done:
                return sent
        with contextlib.suppress(StillRunning):
            pending[0].execution.wait(_LOOK_S)


def _outcome(stream: Stream, execution: Execution) -> tuple[Any, list[FailedCall]]:
    """A batch's results, and which of its items failed; one that could not be run at all raises for all of them."""
    if not stream.together:
        try:
            return execution.result(), []
        except HubError:
            raise
        except Exception as error:
            return _Failed(error), []
    value = execution.result()
    return value, execution.failures() if lacks(value) else []


async def streamed_async(
    client: AsyncClient, stream: Stream, ordered: bool, return_exceptions: bool
) -> AsyncIterator[Any]:
    """The same for the coroutines of one loop."""
    import asyncio

    pending: list[_Sent[AsyncExecution]] = []
    waits: dict[str, asyncio.Task[AsyncExecution]] = {}
    try:
        while True:
            while (batch := stream.read(len(pending))) is not None:
                execution = await client.run(stream.entity, **batch.inputs)
                pending.append(_Sent(batch, execution, time.monotonic()))
                waits[execution.id] = asyncio.ensure_future(execution.wait())
            if not pending:
                return
            if ordered:
                await asyncio.wait([waits[pending[0].execution.id]])
            else:
                await asyncio.wait(waits.values(), return_when=asyncio.FIRST_COMPLETED)
            sent = next(sent for sent in pending if waits[sent.execution.id].done())
            await waits.pop(sent.execution.id)
            value, failed = await _outcome_async(stream, sent.execution)
            stream.took(sent.batch, (time.monotonic() - sent.begun) / len(pending))
            pending.remove(sent)
            stream.taken(sent.batch)
            for result in handed_out(stream.results(sent.batch, value, failed), return_exceptions):
                yield result
    finally:
        for wait in waits.values():
            wait.cancel()
        for sent in pending:
            with contextlib.suppress(HubError):
                await sent.execution.cancel("its results are not wanted any more")


async def _outcome_async(stream: Stream, execution: AsyncExecution) -> tuple[Any, list[FailedCall]]:
    if not stream.together:
        try:
            return await execution.result(), []
        except HubError:
            raise
        except Exception as error:
            return _Failed(error), []
    value = await execution.result()
    return value, await execution.failures() if lacks(value) else []


def lacks(value: Any) -> bool:
    """Whether an item of a batch may have failed: it gave nothing."""
    columns = value if isinstance(value, tuple) else (value,)
    return any(column is None or None in column for column in columns)


class _Sent(NamedTuple, Generic[E]):
    """A batch under way."""

    batch: Batch
    execution: E
    begun: float
