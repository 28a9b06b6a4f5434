"""Facts of an execution: what its log holds, and all that its state is made of.

A fact is past tense and immutable. `pack` and `unpack_fact` are the form that rows hold; calls' outcomes stay in the
columns that their replica sent, so that a batch of results is one row and is never encoded again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from functools import cached_property
from typing import Any, ClassVar, Final, TypeAlias

from greenroom_core.program import Submission
from greenroom_core.values import pack, unpack
from greenroom_core.wire import WireFault, from_wire, to_wire
from greenroom_protocol.calls import Outcomes


class Outcome(StrEnum):
    """How a node or an execution ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    ABORTED = "aborted"
    """Cancelled, or ended because another node failed."""
    SKIPPED = "skipped"
    """Never started: on the way not taken, or waiting for a node that failed."""
    TIMED_OUT = "timed_out"


class FactKind(IntEnum):
    """The number that a row carries for the kind of its fact."""

    SUBMITTED = 1
    NODE_STARTED = 2
    CALLS_STARTED = 3
    CALLS_FINISHED = 4
    CALLS_LOST = 5
    CALLS_CACHED = 6
    BRANCH_CHOSEN = 7
    CHILD_STARTED = 8
    GATE_OPENED = 9
    NODE_ENDED = 10
    CANCEL_REQUESTED = 11
    NOTICED = 12
    ENDED = 13
    ASKED = 14
    WAIVED = 15


@dataclass(frozen=True, slots=True)
class ExecutionSubmitted:
    """An execution exists."""

    KIND: ClassVar[FactKind] = FactKind.SUBMITTED
    execution: str
    submission: Submission
    """Without environment variables and secrets: those are sealed."""
    sealed: bytes = b""
    """Encrypted environment variables and secrets of the submitter; only the shell opens them."""
    parent: tuple[str, str] | None = None
    """The execution and node that asked for this one, for a launch plan's call."""
    plan: str = ""
    """The plan of the program that runs, for a launch plan's call."""
    notes: tuple[str, ...] = ()
    """What was said to the submitter: differences of images, requests that were cut."""


@dataclass(frozen=True, slots=True)
class NodeStarted:
    """Everything that a node waited for has ended."""

    KIND: ClassVar[FactKind] = FactKind.NODE_STARTED
    node: str
    total: int = 1
    """Calls that it makes."""


@dataclass(frozen=True, slots=True)
class CallsStarted:
    """Calls that turned out to be long: logged lazily, never for short ones."""

    KIND: ClassVar[FactKind] = FactKind.CALLS_STARTED
    node: str
    items: tuple[int, ...]
    attempts: tuple[int, ...]
    replica: str
    started_us: int


@dataclass(frozen=True)
class CallsFinished:
    """Outcomes of a batch of calls, in the columns that the replica sent."""

    KIND: ClassVar[FactKind] = FactKind.CALLS_FINISHED
    node: str
    replica: str
    body: bytes
    """A packed `Outcomes`, verbatim."""
    refused: tuple[int, ...] = ()
    """Positions in the batch of late results of superseded attempts: kept, shown, without effect."""
    placed: tuple[tuple[int, int, str], ...] = ()
    """`(calls, microseconds since the epoch, why)` of the placements that these calls came from, for the timeline."""
    generation: int = 0
    seq: int = 0
    """The replica's number of this message: what was acked survives a restart of the hub."""

    @cached_property
    def outcomes(self) -> Outcomes:
        """The columns, decoded once."""
        return Outcomes.unpack(self.body)


@dataclass(frozen=True, slots=True)
class CallsLost:
    """Attempts that ended without an outcome: a replica went away, or a batch-mate took the runner down."""

    KIND: ClassVar[FactKind] = FactKind.CALLS_LOST
    node: str
    items: tuple[int, ...]
    attempts: tuple[int, ...]
    replica: str
    charged: bool
    """Whether it counts against the calls' budget of losses."""
    reason: Mapping[str, Any]


@dataclass(frozen=True)
class CallsCached:
    """Calls whose outputs were taken from an earlier execution."""

    KIND: ClassVar[FactKind] = FactKind.CALLS_CACHED
    node: str
    body: bytes
    """A packed `Outcomes`, all succeeded."""
    source: str = ""
    """The execution that they were computed in."""

    @cached_property
    def outcomes(self) -> Outcomes:
        """The columns, decoded once."""
        return Outcomes.unpack(self.body)


@dataclass(frozen=True, slots=True)
class BranchChosen:
    """A branch's conditions could be read: this case it is; None for none."""

    KIND: ClassVar[FactKind] = FactKind.BRANCH_CHOSEN
    node: str
    case: int | None


@dataclass(frozen=True, slots=True)
class ChildStarted:
    """A launch plan's call became an execution of its own."""

    KIND: ClassVar[FactKind] = FactKind.CHILD_STARTED
    node: str
    execution: str


@dataclass(frozen=True, slots=True)
class GateOpened:
    """A gate got what it waited for."""

    KIND: ClassVar[FactKind] = FactKind.GATE_OPENED
    node: str
    value: bytes | None = None
    approved: bool = True
    by: str = ""


@dataclass(frozen=True, slots=True)
class CallAsked:
    """A running call calls others: nodes that join the execution, whose outcome the call hears of."""

    KIND: ClassVar[FactKind] = FactKind.ASKED
    node: str
    item: int
    attempt: int
    key: str
    """Names the question among those of the call: another attempt that asks the same gets what is known."""
    name: str
    """Under which its nodes stand."""
    body: bytes
    """The graph, as a value."""


@dataclass(frozen=True, slots=True)
class AskWaived:
    """Nobody wants the answer any more: what was to give it ends."""

    KIND: ClassVar[FactKind] = FactKind.WAIVED
    name: str


@dataclass(frozen=True, slots=True)
class NodeEnded:
    """A node has its one outcome."""

    KIND: ClassVar[FactKind] = FactKind.NODE_ENDED
    node: str
    outcome: Outcome
    failure: Mapping[str, Any] | None = None
    item: int | None = None
    """The item that the failure is of, for a map."""
    outputs: Mapping[str, bytes] = field(default_factory=dict)
    """Of a node that makes no calls of its own (child, branch, gate, group)."""


@dataclass(frozen=True, slots=True)
class CancelRequested:
    """Somebody, or a deadline, wants the execution to end."""

    KIND: ClassVar[FactKind] = FactKind.CANCEL_REQUESTED
    by: str
    reason: str
    timed_out: bool = False


@dataclass(frozen=True, slots=True)
class Noticed:
    """A line for the person who ran it."""

    KIND: ClassVar[FactKind] = FactKind.NOTICED
    text: str
    node: str | None = None


@dataclass(frozen=True, slots=True)
class ExecutionEnded:
    """Nothing of the execution runs any more."""

    KIND: ClassVar[FactKind] = FactKind.ENDED
    outcome: Outcome
    failure: Mapping[str, Any] | None = None
    node: str | None = None
    item: int | None = None
    outputs: Mapping[str, bytes] = field(default_factory=dict)
    saved: Mapping[str, float] = field(default_factory=dict)
    """Seconds that warm replicas spared this execution: `starts, imports, loads`."""
    seconds: float = 0.0
    """From the submission to the end; the driver's clock."""


Fact: TypeAlias = (
    ExecutionSubmitted
    | NodeStarted
    | CallsStarted
    | CallsFinished
    | CallsLost
    | CallsCached
    | BranchChosen
    | ChildStarted
    | GateOpened
    | CallAsked
    | AskWaived
    | NodeEnded
    | CancelRequested
    | Noticed
    | ExecutionEnded
)

_KINDS: Final[Mapping[int, type[Any]]] = {
    int(kind.KIND): kind
    for kind in (
        ExecutionSubmitted,
        NodeStarted,
        CallsStarted,
        CallsFinished,
        CallsLost,
        CallsCached,
        BranchChosen,
        ChildStarted,
        GateOpened,
        CallAsked,
        AskWaived,
        NodeEnded,
        CancelRequested,
        Noticed,
        ExecutionEnded,
    )
}


def pack_fact(fact: Fact) -> bytes:
    """The bytes that the fact's row holds."""
    if isinstance(fact, CallsFinished):  # The hot one: no walk over its fields.
        head = [fact.node, fact.replica, fact.body, fact.refused, fact.placed, fact.generation, fact.seq]
        return pack(head)
    return pack(to_wire(fact))


def unpack_fact(kind: int, data: bytes) -> Fact:
    """Read a row.

    Raises:
        WireFault: Of a kind, or with fields, that this version does not know.
    """
    cls = _KINDS.get(kind)
    if cls is None:
        raise WireFault(f"a fact of unknown kind {kind}: written by a newer version?")
    if cls is CallsFinished:
        return _calls_finished(unpack(data))
    fact: Fact = from_wire(cls, unpack(data), cls.__name__)
    return fact


def _calls_finished(row: Any) -> CallsFinished:
    try:
        node, replica, body, refused, placed, generation, seq = row
        batches = tuple((count, at, why) for count, at, why in placed)
        fact = CallsFinished(node, replica, body, tuple(refused), batches, generation, seq)
    except (ValueError, TypeError) as fault:
        raise WireFault(f"CallsFinished: {fault}") from fault
    if list(map(type, (node, replica, body, generation, seq))) != [str, str, bytes, int, int]:
        raise WireFault("CallsFinished: fields of other types")
    return fact
