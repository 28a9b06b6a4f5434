"""What the machine wants done. Imperative; the shell carries it out.

A `Do` may overlap the commit of the turn that caused it, unless it `needs` a row that is not on disk yet; a `Tell`
waits for the commit of its turn: no fact is told to anyone before it is on disk.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from greenroom_core.execution import Execution
from greenroom_core.lists import ListSource
from greenroom_core.noderun import Inputs, NodeRun
from greenroom_core.program import Cached, Environment, Interpreter, Program, Task
from greenroom_protocol.frames import Ask


class Wanted(NamedTuple):
    """Names a definition without building it: what the calls of a node have in common."""

    program: str
    task: str
    params: tuple[str, ...]
    bound: str
    """Digest of the bound inputs."""
    sealed: str
    """Digest of the sealed environment variables and secrets."""


@dataclass(frozen=True, slots=True)
class Define:
    """Make a definition known to a replica, before its first call."""

    replica: str
    wanted: Wanted
    program: Program
    task: Task
    environment: Environment
    bound: Mapping[str, bytes]
    sealed: bytes
    timeout: float | None


@dataclass(frozen=True, slots=True)
class SendCalls:
    """Hand calls of one node to a replica."""

    replica: str
    wanted: Wanted
    execution: str
    node: str
    items: range | Sequence[int]
    attempts: int | list[int]
    single: bytes
    """A plain task's payload."""
    lists: tuple[ListSource, ...]
    """A map's lists, one for each of the definition's params."""
    context: Mapping[str, Any]
    needs: int = 0
    """Row that must be on disk first: what these calls depend on."""


@dataclass(frozen=True, slots=True)
class SendCancel:
    """End calls that a replica holds."""

    replica: str
    execution: str
    node: str
    items: tuple[int, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class SendRevoke:
    """Ask a replica for calls back that it has not begun."""

    replica: str
    execution: str
    node: str
    items: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class SendPrewarm:
    """Have a replica load cache entries by recipe."""

    replica: str
    define: Define
    recipes: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class SendDrain:
    """Have a replica finish what runs, give back what waits, and leave."""

    replica: str
    reason: str


class Earlier(NamedTuple):
    """One node of an execution that is repeated."""

    execution: Execution
    node: NodeRun
    failures: bool
    """Whether items that failed are taken over too."""


@dataclass(frozen=True, slots=True)
class LookUp:
    """Look for outputs of a node's calls that are known; answered by `LookedUp` events."""

    execution: str
    node: str
    project: str
    task: Task
    wish: Cached | None
    """None where only the earlier execution is looked at."""
    version: str | None
    """Of this place in the graph, if it overrides the task's."""
    inputs: Inputs
    count: int
    use: bool
    """Whether known outputs are used (else only the keys are wanted, to keep new ones)."""
    was: Earlier | None = None
    """The same node of the execution that is repeated, whose outcomes are taken over where they fit."""


@dataclass(frozen=True, slots=True)
class LookAgain:
    """Look once more for calls that were set aside: the one that they waited for has ended, and may be on disk."""

    calls: tuple[tuple[str, str, int, bytes], ...]
    """`(execution, node, item, key)` of each."""


@dataclass(frozen=True, slots=True)
class StartReplica:
    """Have a launcher start a replica."""

    replica: str
    generation: int
    index: int
    environment: Environment
    interpreter: Interpreter | None
    project: str
    slots: int
    cpus: float
    """Cores that its libraries should use: the request's, else the pool's share of the machine."""
    cache_memory: int | None
    gpus: tuple[str, ...] = ()
    """The devices that it is given, as their driver names them."""
    launcher: str = "process"
    secrets: bytes = b""
    """Sealed values of the environment's own secrets."""


@dataclass(frozen=True, slots=True)
class StopReplica:
    """Have a launcher end a replica, whatever it does."""

    replica: str
    generation: int
    reason: str


@dataclass(frozen=True, slots=True)
class CheckPlan:
    """See whether what a launch plan has pinned is there; answered by `PlanChecked`."""

    project: str
    name: str
    nominal_ms: int
    program: str
    """Digest."""


Do: TypeAlias = (
    CheckPlan
    | LookUp
    | Define
    | SendCalls
    | SendCancel
    | SendRevoke
    | SendPrewarm
    | SendDrain
    | StartReplica
    | StopReplica
)


@dataclass(frozen=True, slots=True)
class Welcome:
    """Answer a replica's hello."""

    replica: str
    link: int
    acked: int
    refusal: str | None = None
    """Why it may not join; its connection is closed with this."""


@dataclass(frozen=True, slots=True)
class Ack:
    """Tell a replica that its results up to `seq` are on disk."""

    replica: str
    seq: int


@dataclass(frozen=True, slots=True)
class SendAnswer:
    """Tell a running call what became of calls that it made."""

    replica: str
    ask: Ask
    status: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Reply:
    """Answer a client's request."""

    request: int
    execution: str | None = None
    notes: tuple[str, ...] = ()
    error: Refusal | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request cannot be done."""

    code: str
    """`unknown_execution`, `never_fits`, `conflict`, ..."""
    message: str


@dataclass(frozen=True, slots=True)
class Ended:
    """An execution has ended: wake who waits for it."""

    execution: str


@dataclass(frozen=True, slots=True)
class Say:
    """A line for the hub's own log: a decision, with its reason."""

    event: str
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Notify:
    """Tell a webhook; answered by `NoticeSettled`, after as many tries as it takes."""

    id: str
    url: str
    told: Mapping[str, object]
    at_ms: int
    """When it became due."""


Tell: TypeAlias = Notify | LookAgain | Welcome | Ack | SendAnswer | Reply | Ended | Say
Command: TypeAlias = Do | Tell
