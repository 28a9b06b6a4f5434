"""What the store holds and takes: rows of the log, the projection that lists executions, cached results."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple


class Row(NamedTuple):
    """One fact on disk."""

    position: int
    """Place in the whole log; dense, given by the hub, which is its only writer."""
    stream: str
    """An execution's id, `pool:<key>` or `hub`."""
    seq: int
    """Place in the stream, dense from 1: the cursor of who follows it."""
    at_ms: int
    """When it happened: wall clock, milliseconds since the epoch."""
    kind: int
    data: bytes


class ExecutionRow(NamedTuple):
    """What lists of executions show; folded from the log by the hub, kept so that no list has to fold it again."""

    id: str
    entity: str
    project: str
    state: str
    by: str
    """Who submitted it."""
    submitted_ms: int
    ended_ms: int | None = None
    """None while it lives: recovery folds its rows."""
    labels: bytes = b"\x80"
    """A msgpack map."""
    key: str = ""
    """Idempotency key of its submission; empty for none."""
    parent: str | None = None
    """The execution that asked for it, for a launch plan's call."""
    program: str = ""
    """Digest of its program."""


class CachedResult(NamedTuple):
    """Where the outputs of a call with `cache=True` lie."""

    key: str
    """32 hex digits."""
    execution: str
    node: str
    item: int
    position: int
    """Of the row that holds them."""
    at_ms: int


class ResultGroup(NamedTuple):
    """The cached results that one node of an execution has left."""

    execution: str
    node: str
    calls: int
    at_ms: int
    """Of the newest."""


class Voided(NamedTuple):
    """Cached results that are not to be used any more: those of an execution, of a node of it, of one call."""

    execution: str
    node: str = ""
    """Empty for all nodes."""
    item: int = -1
    """Below 0 for all calls."""


@dataclass(slots=True)
class Batch:
    """Everything of one turn of the hub; on disk whole or not at all."""

    rows: list[Row] = field(default_factory=list)
    """The next positions of the log, in order."""
    executions: list[ExecutionRow] = field(default_factory=list)
    """Inserted, or in place of what was known of the same id."""
    programs: list[tuple[str, bytes]] = field(default_factory=list)
    """(digest, packed program); known ones are left as they are."""
    results: list[CachedResult] = field(default_factory=list)
    """The last one of a key wins."""
    voided: list[Voided] = field(default_factory=list)
    """Cached results that are deleted."""
    dropped: list[str] = field(default_factory=list)
    """Streams that are deleted with all that belongs to them, after everything else of the batch."""
    forgotten: list[str] = field(default_factory=list)
    """Digests of programs that are deleted."""


class Head(NamedTuple):
    """Where a log stands when it is opened."""

    position: int
    """Of its last row; 0 for an empty log. Never goes back, whatever is dropped."""
    epoch: int
    """Raised by one at every opening, and on disk: who carries a lower one is from an earlier hub."""
    created: bool
    """Whether this opening made the store."""


class Durability(NamedTuple):
    """What a commit of this store means, as the database itself says it."""

    synchronous: str
    """`FULL`: the disk has a commit before its ticket completes."""
    journal: str
    page_size: int
    """Bytes."""
    library: str
    """Name and version of the database."""


class Size(NamedTuple):
    """Bytes that the store takes, by kind."""

    events: int
    programs: int
    results: int
    disk: int
    """Bytes of its files, what waits to be given back included."""
