"""A live execution as the hub drives it: the interpreter's state, and what only the hub knows beside it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from greenroom_core.entities import Kind
from greenroom_core.execution import Execution
from greenroom_core.program import Program
from greenroom_hub.core.commands import Wanted
from greenroom_protocol.frames import Ask


@dataclass(slots=True)
class Run:
    """One live execution."""

    execution: Execution
    submitted_ms: int
    submitted_mono: int
    seq: int = 0
    """Of the last fact in its stream."""
    parent: tuple[str, str] | None = None
    source: Execution | None = None
    """The earlier execution whose outcomes it takes over."""
    sealed: str = ""
    """Digest of the sealed environment variables and secrets."""
    pools: dict[str, str] = field(default_factory=dict)
    """Pool by key of the environment in the program."""
    wanted: dict[str, Wanted] = field(default_factory=dict)
    """Definition by node."""
    needs: dict[str, int] = field(default_factory=dict)
    """By node: the row that its calls depend on, which must be on disk before they are sent."""
    usage: dict[str, dict[str, int]] = field(default_factory=dict)
    """By pool: calls that each replica holds of this execution."""
    keys: dict[str, bytearray] = field(default_factory=dict)
    """By node whose results are cached: the keys of its calls, 16 bytes each."""
    looked: set[str] = field(default_factory=set)
    """Nodes whose cached results, or those of the execution that is repeated, were asked for."""
    looking: dict[str, int] = field(default_factory=dict)
    """By node: calls whose cached results are still being looked up."""
    due: dict[str, int] = field(default_factory=dict)
    """By node: wall clock (ms) at which a delayed item or a gate is due; set by `State.wait_until` alone."""
    asking: dict[str, tuple[str, Ask]] = field(default_factory=dict)
    """By question: the replica whose call waits for the answer, and how it asked."""
    moved: dict[str, int] = field(default_factory=dict)
    """By node with a `queue_timeout`: wall clock (ms) when a call of it was last placed, or ended."""
    saved: dict[str, float] = field(default_factory=lambda: {"starts": 0.0, "imports": 0.0, "loads": 0.0})
    used: set[str] = field(default_factory=set)
    """Replicas that have served it."""
    hits: set[tuple[str, str, str]] = field(default_factory=set)
    """(replica, loader, key) of entries that it found loaded."""
    loaded: set[tuple[str, str, str]] = field(default_factory=set)
    """(replica, loader, key) of entries that it loaded itself."""
    derived: tuple[str, Program] | None = None
    """Digest and program of children whose plans a dynamic task brought."""
    noticed: set[str] = field(default_factory=set)
    """What it has been told, so that it is said once."""

    def __post_init__(self) -> None:
        sealed = self.execution.submitted.sealed
        self.sealed = hashlib.sha256(sealed).hexdigest()[:32] if sealed else ""

    @property
    def id(self) -> str:
        """The execution's id."""
        return self.execution.id

    @property
    def plan(self) -> tuple[str, str] | None:
        """Project and name of the launch plan that it is an execution of, if somebody or its schedule started that."""
        wanted = self.execution.submitted.submission.registered
        if wanted is None or wanted.kind is not Kind.LAUNCH_PLAN or self.parent is not None:
            return None
        return wanted.project, wanted.name

    @property
    def priority(self) -> int:
        """What it was submitted with: each step doubles its share of the pools that it uses."""
        return self.execution.submitted.submission.priority

    def note(self, pool: str, replica: str, change: int) -> None:
        """This many more (or fewer) of its calls are held by a replica."""
        counts = self.usage.setdefault(pool, {})
        left = counts.get(replica, 0) + change
        if left > 0:
            counts[replica] = left
        else:
            counts.pop(replica, None)

    def replicas_of(self, pool: str) -> int:
        """Replicas that it occupies in a pool."""
        return len(self.usage.get(pool, ()))
