"""What happens to the hub: the machine's inbox. Past tense; time and randomness enter only here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from greenroom_core.entities import Registration
from greenroom_core.program import Program, Submission
from greenroom_protocol.calls import Outcomes
from greenroom_protocol.frames import Ask, Bye, Cache, Hello, Lost, Result, Returned, Started, Stats, Waive


@dataclass(frozen=True, slots=True)
class Submitted:
    """A client wants a program run; everything in it has been read and checked."""

    request: int
    """Names the request that waits for a reply."""
    execution: str
    submission: Submission
    """Secrets and environment variables by name only; their values are sealed."""
    program: Program
    packed: bytes | None
    """The program's bytes, where the store does not have them yet."""
    sealed: bytes = b""
    notes: tuple[str, ...] = ()
    plan: str = ""
    """The plan of the program that runs, where a launch plan's call is repeated by itself."""


@dataclass(frozen=True, slots=True)
class PrewarmWanted:
    """Somebody wants the replicas of an environment to load what its calls will want."""

    request: int
    environment: str
    loader: str = ""
    """Only entries of this loader (its name, or `module:name`); all if empty."""


@dataclass(frozen=True, slots=True)
class CancelWanted:
    """Somebody wants an execution to end."""

    request: int
    execution: str
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class GateAnswered:
    """Somebody opened or rejected a gate, or gave it its input."""

    request: int
    execution: str
    node: str
    value: bytes | None
    """What a gate that waits for input is given; of one that waits for approval, what is approved is its value."""
    approved: bool
    by: str


@dataclass(frozen=True, slots=True)
class Registered:
    """Somebody wants an entity kept under a name and a version; everything in it has been read and checked."""

    request: int
    registration: Registration
    """Secrets and environment variables by name only; their values are sealed."""
    program: Program
    packed: bytes | None
    """The program's bytes, where the store does not have them yet."""
    sealed: bytes = b""


@dataclass(frozen=True, slots=True)
class PlanWanted:
    """Somebody wants a launch plan to run by itself; what it has pinned was seen to be there."""

    request: int
    project: str
    name: str
    version: str
    """Empty for the newest."""
    by: str
    sealed: bytes = b""


@dataclass(frozen=True, slots=True)
class PlanStopped:
    """Somebody wants a launch plan not to run by itself any more."""

    request: int
    project: str
    name: str
    by: str


@dataclass(frozen=True, slots=True)
class PlanChecked:
    """What a launch plan has pinned was looked at, for one time of its schedule."""

    project: str
    name: str
    nominal_ms: int
    problem: str = ""
    """Why it cannot be run; empty if it can."""


@dataclass(frozen=True, slots=True)
class NoticeSettled:
    """A webhook was told, or it was given up."""

    id: str
    problem: str = ""
    """Why it was given up; empty for one that was told."""


@dataclass(frozen=True, slots=True)
class ReplicaConnected:
    """A replica has said hello on a link of its own."""

    hello: Hello
    link: int
    """Number of the connection; a newer link of a replica replaces an older one."""


@dataclass(frozen=True, slots=True)
class LinkLost:
    """A replica's connection is gone; the replica may come back within the grace."""

    replica: str
    link: int
    reason: str


@dataclass(frozen=True, slots=True)
class ResultsCame:
    """Outcomes of a batch of calls."""

    replica: str
    link: int
    result: Result
    outcomes: Outcomes


@dataclass(frozen=True, slots=True)
class Heard:
    """Anything else that a replica said."""

    replica: str
    link: int
    message: Started | Cache | Stats | Returned | Lost | Ask | Waive | Bye


@dataclass(frozen=True, slots=True)
class ReplicaExited:
    """A launcher saw a replica end: whatever it held is lost at once."""

    replica: str
    generation: int
    reason: str


@dataclass(frozen=True, slots=True)
class LaunchFailed:
    """A launcher could not start a replica."""

    replica: str
    generation: int
    reason: str
    final: bool = False
    """Whether trying again changes nothing before somebody acts."""


@dataclass(frozen=True, slots=True)
class Unsendable:
    """Calls were placed whose inputs cannot be read any more: they fail where they stand."""

    replica: str
    execution: str
    node: str
    items: tuple[int, ...]
    why: str


@dataclass(frozen=True, slots=True)
class LookedUp:
    """Keys of neighbouring calls of a node, and the outputs that are known for some of them."""

    execution: str
    node: str
    first: int
    count: int
    keys: bytes
    """16 bytes each; empty where the node's results are not cached."""
    hits: tuple[tuple[str, tuple[int, ...], bytes], ...]
    """`(execution that computed them, items, packed outcomes)`, one for each source."""


@dataclass(frozen=True, slots=True)
class LookedAgain:
    """What became of calls that were set aside: their outputs, or None where somebody must compute them."""

    calls: tuple[tuple[str, str, int, bytes, str, bytes | None], ...]
    """`(execution, node, item, key, source, packed outcomes)` of each."""


@dataclass(frozen=True, slots=True)
class Adopted:
    """Launchers told which replicas of an earlier hub still live; placing waits until each has said hello."""

    replicas: tuple[tuple[str, int], ...]
    """`(replica, generation)` of each."""


@dataclass(frozen=True, slots=True)
class Draining:
    """The hub is asked to stop: nothing new is placed."""


@dataclass(frozen=True, slots=True)
class Tick:
    """A time that the machine asked for has come."""


Event: TypeAlias = (
    Submitted
    | CancelWanted
    | PrewarmWanted
    | GateAnswered
    | Registered
    | PlanWanted
    | PlanStopped
    | PlanChecked
    | NoticeSettled
    | ReplicaConnected
    | LinkLost
    | ResultsCame
    | Heard
    | ReplicaExited
    | LaunchFailed
    | Unsendable
    | LookedUp
    | LookedAgain
    | Adopted
    | Draining
    | Tick
)


@dataclass(frozen=True, slots=True)
class Moment:
    """The time of a turn: everything in one turn happens at once."""

    wall_ms: int
    """Since the epoch; goes into the log."""
    mono_ms: int
    """Monotonic: what waits and graces are measured by, so that a laptop's sleep or a clock's jump is no loss."""
