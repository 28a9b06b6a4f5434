"""A store without a disk: keeps the contract in memory, and commits when a test says so."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from greenroom_hub.store.errors import Closed, CommitFailed, NotWritable, OutOfOrder
from greenroom_hub.store.rows import Batch, CachedResult, Durability, ExecutionRow, Head, ResultGroup, Row, Size
from greenroom_hub.store.stats import Stats
from greenroom_hub.store.ticket import Ticket


class MemoryDisk:
    """What outlives a `MemoryStore`: give it to the next one to play a restart."""

    def __init__(self) -> None:
        self.epoch = 0
        self.position = 0
        self.rows: dict[int, Row] = {}
        self.streams: dict[str, list[Row]] = {}
        self.executions: dict[str, ExecutionRow] = {}
        self.programs: dict[str, bytes] = {}
        self.results: dict[str, CachedResult] = {}
        self.full = False
        """Whether writing fails."""


class MemoryStore:
    """Keeps the `Store` contract without a thread: batches are committed at once, or, with `hold`, by `release`.

    Args:
        notify: Called with each ticket once it is complete.
        disk: What an earlier store left.
        hold: Keep batches waiting until `release`, so that a test sees what may happen before the commit.
    """

    def __init__(
        self, notify: Callable[[Ticket], None] | None = None, disk: MemoryDisk | None = None, hold: bool = False
    ) -> None:
        self.disk = disk if disk is not None else MemoryDisk()
        self.stats = Stats()
        self.hold = hold
        self.waiting: list[tuple[Batch, Ticket]] = []
        self._notify = notify
        self._fault: CommitFailed | None = None
        self._open = False
        self._next = 0

    def open(self) -> Head:
        if self.disk.full:
            raise NotWritable("memory", "the disk is full")
        self.disk.epoch += 1
        self._fault, self._open, self._next = None, True, self.disk.position + 1
        return Head(self.disk.position, self.disk.epoch, self.disk.epoch == 1)

    def reopen(self) -> Head:
        self.close()
        return self.open()

    def close(self) -> None:
        self.release()
        self._open = False

    # Writing ----------------------------------------------------------------------------------------------------------

    def append(self, batch: Batch) -> Ticket:
        self._check_open()
        if self._fault is not None:
            raise CommitFailed(*self._fault.args)
        if batch.rows:
            for expected, row in ((self._next, batch.rows[0]), (self._next + len(batch.rows) - 1, batch.rows[-1])):
                if row.position != expected:
                    raise OutOfOrder(expected, row.position)
            self._next += len(batch.rows)
        ticket = Ticket(self._next - 1)
        self.waiting.append((batch, ticket))
        if not self.hold:
            self.release()
        return ticket

    def release(self, count: int | None = None) -> None:
        """Commit the batches that wait, or the first `count` of them, as one transaction."""
        group, self.waiting = self.waiting[:count], self.waiting[len(self.waiting[:count]) :]
        if group and self._fault is None:
            self._commit([batch for batch, _ in group])
        for _, ticket in group:
            ticket.complete(self._fault)
            try:
                if self._notify is not None:
                    self._notify(ticket)
            except Exception:
                continue  # As the real one: a listener's trouble is its own.

    def _commit(self, batches: list[Batch]) -> None:
        rows = [row for batch in batches for row in batch.rows]
        try:
            if self.disk.full:
                raise OSError("the disk is full")
            self._check_gaps(batches)
        except (OSError, ValueError) as fault:
            self.stats.failures += 1
            self._fault = CommitFailed("memory", f"{type(fault).__name__}: {fault}")
            return
        for batch in batches:
            self._apply(batch)
        self.stats.committed(len(batches), len(rows), sum(len(row.data) for row in rows), 100)

    def _check_gaps(self, batches: list[Batch]) -> None:
        heads = {name: len(rows) for name, rows in self.disk.streams.items()}
        for batch in batches:
            for row in batch.rows:
                at = heads.get(row.stream, 0)
                if row.seq != at + 1:
                    raise ValueError(f"stream {row.stream!r} is at {at}, and its next row has number {row.seq}")
                heads[row.stream] = row.seq
            for name in batch.dropped:
                heads.pop(name, None)

    def _apply(self, batch: Batch) -> None:
        disk = self.disk
        for row in batch.rows:
            disk.rows[row.position] = row
            disk.streams.setdefault(row.stream, []).append(row)
            disk.position = row.position
        for execution in batch.executions:
            disk.streams.setdefault(execution.id, [])
            disk.executions[execution.id] = execution  # Its first place in the dict stays: the order of submission.
        for digest, packed in batch.programs:
            disk.programs.setdefault(digest, packed)
        disk.results.update((result.key, result) for result in batch.results if result.execution in disk.streams)
        for execution, node, item in batch.voided:
            disk.results = {
                key: one
                for key, one in disk.results.items()
                if one.execution != execution or node not in ("", one.node) or (item >= 0 and item != one.item)
            }
        for digest in batch.forgotten:
            disk.programs.pop(digest, None)
        for name in batch.dropped:
            for row in disk.streams.pop(name, ()):
                del disk.rows[row.position]
            disk.executions.pop(name, None)
            disk.results = {key: result for key, result in disk.results.items() if result.execution != name}

    def _check_open(self) -> None:
        if not self._open:
            raise Closed("memory")

    # Reading ----------------------------------------------------------------------------------------------------------

    def durability(self) -> Durability:
        return Durability("none", "memory", 0, "MemoryStore")

    def heads(self) -> dict[str, int]:
        return {name: len(rows) for name, rows in self.disk.streams.items() if self._lives(name)}

    def _lives(self, name: str) -> bool:
        execution = self.disk.executions.get(name)
        return execution is None or execution.ended_ms is None

    def live(self) -> Iterator[Row]:
        return (row for _, row in sorted(self.disk.rows.items()) if self._lives(row.stream))

    def read(self, stream: str, after: int = 0, limit: int = 1000) -> list[Row]:
        self._check_open()
        return list(self.disk.streams.get(stream, ()))[after : after + limit]

    def row(self, position: int) -> Row | None:
        self._check_open()
        return self.disk.rows.get(position)

    def rows(self, positions: Iterable[int]) -> dict[int, Row]:
        return {position: self.disk.rows[position] for position in positions if position in self.disk.rows}

    def program(self, digest: str) -> bytes | None:
        return self.disk.programs.get(digest)

    def unused_programs(self) -> list[str]:
        used = {execution.program for execution in self.disk.executions.values()}
        return [digest for digest in self.disk.programs if digest not in used]

    def execution(self, id: str) -> ExecutionRow | None:
        return self.disk.executions.get(id)

    def execution_by_key(self, key: str) -> ExecutionRow | None:
        return next((one for one in self.disk.executions.values() if key and one.key == key), None)

    def executions(
        self, limit: int = 50, before: str | None = None, state: str | None = None, prefix: str = ""
    ) -> list[ExecutionRow]:
        every = list(self.disk.executions.values())
        if before is not None:
            ids = [execution.id for execution in every]
            every = every[: ids.index(before)] if before in ids else []
        found = [one for one in reversed(every) if state in (None, one.state) and one.id.startswith(prefix)]
        return found[:limit]

    def cached(self, keys: Iterable[str]) -> dict[str, CachedResult]:
        return {key: self.disk.results[key] for key in keys if key in self.disk.results}

    def results(self, limit: int = 100) -> list[ResultGroup]:
        groups: dict[tuple[str, str], list[int]] = {}
        for one in self.disk.results.values():
            groups.setdefault((one.execution, one.node), []).append(one.at_ms)
        found = [ResultGroup(*place, len(times), max(times)) for place, times in groups.items()]
        order = list(self.disk.streams)
        found.sort(key=lambda group: (-group.at_ms, -order.index(group.execution), group.node))
        return found[:limit]

    def weights(self, executions: Iterable[str]) -> dict[str, int]:
        return {
            name: sum(len(row.data) for row in self.disk.streams[name])
            for name in executions
            if name in self.disk.streams
        }

    def size(self) -> Size:
        events = sum(len(row.data) for row in self.disk.rows.values())
        return Size(events, sum(map(len, self.disk.programs.values())), 40 * len(self.disk.results), 0)

    def check(self) -> list[str]:
        return []
