"""A replica as the hub sees it: its state, what it holds, how fast it is."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from greenroom_hub.core.commands import Wanted


class ReplicaState(StrEnum):
    """Where a replica is."""

    STARTING = "starting"
    """A launcher works on it; it has not said hello."""
    READY = "ready"
    DISCONNECTED = "disconnected"
    """Its link is gone; it may come back within the grace."""
    DRAINING = "draining"
    """It gets nothing new and leaves when its calls have ended."""
    GONE = "gone"


@dataclass(slots=True)
class Entry:
    """One entry of a replica's actor cache, as telemetry told it."""

    loader: str
    key: str
    preview: str = ""
    bytes: int = 0
    gpu_bytes: int = 0
    load_ms: float = 0.0
    hits: int = 0
    last_used_ms: int = 0
    loaded_by: str = ""
    changed: tuple[str, ...] = ()
    """Why it had to be loaded although there was one like it: what of the code changed."""
    depends: tuple[str, ...] = ()


@dataclass(slots=True)
class Batch:
    """Calls of one node that were placed together."""

    left: int
    placed_us: int
    why: str


class Loading(NamedTuple):
    """A replica was sent a call that makes it load an entry."""

    replica: str
    until_ms: float
    """When it should be there, monotonic."""
    key: tuple[str, str]
    """(execution, node) of that call."""


CallKey = tuple[str, str]
"""(execution, node)."""


@dataclass(slots=True)
class Replica:
    """One warm worker of a pool."""

    id: str
    pool: str
    index: int
    generation: int
    slots: int
    """Calls that it runs at a time."""
    state: ReplicaState = ReplicaState.STARTING
    link: int = 0
    launched_ms: int = 0
    ready_ms: int = 0
    start_s: float = 0.0
    """Seconds from the launch to its hello: what a warm one spares."""
    used_ms: int = 0
    """When its last call ended, monotonic."""
    deadline_ms: int | None = None
    """When a state that must not last is over: the grace, or a start that takes too long."""
    held: dict[CallKey, set[int]] = field(default_factory=dict)
    in_flight: int = 0
    """Calls that it holds and that keep a slot."""
    lent: set[tuple[CallKey, int]] = field(default_factory=set)
    """Calls that it holds and that wait for calls of theirs: others may have their slots."""
    batches: dict[CallKey, deque[Batch]] = field(default_factory=dict)
    ramp: dict[CallKey, int] = field(default_factory=dict)
    """How deep its queue may be for a node: doubles with each result, so that nothing unknown is queued deep."""
    knows: set[Wanted] = field(default_factory=set)
    recorded: int = 0
    """Sequence number of its last results that are in the log."""
    awaited: set[int] = field(default_factory=set)
    """Results that it announced in its hello; what is missing from it is settled when they have come."""
    missing: dict[CallKey, set[int]] = field(default_factory=dict)
    """Calls that the hub thinks it holds and its hello did not name: settled when the awaited results have come."""
    entries: dict[tuple[str, str], Entry] = field(default_factory=dict)
    marks: OrderedDict[tuple[str, str], None] = field(default_factory=OrderedDict)
    """Values of `affinity=` that it has served: where such calls belong."""
    prewarmed: bool = False
    """Whether it was told what to load before its first call."""
    evicts_ms: int = 0
    """When it last had to drop an entry, monotonic: who never had to has room."""
    bundles: set[str] = field(default_factory=set)
    """Bundles that it has imported."""
    figures: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    calls: int = 0
    revoked_ms: int = 0
    drain_why: str = ""
    external: bool = False
    """Whether a person started it."""
    once: bool = False
    """Whether it is there for a single call: a container for each call of a regular task."""
    spent: bool = False
    """Whether it has had that call."""

    @property
    def name(self) -> str:
        """`r1`, as people see it beside its environment."""
        return f"r{self.index + 1}"

    def has(self, key: tuple[str, str]) -> bool:
        """Whether it holds an entry, or has served such calls."""
        return key in self.entries or key in self.marks

    @property
    def takes_calls(self) -> bool:
        """Whether calls may be sent to it."""
        return self.state is ReplicaState.READY and not self.spent

    @property
    def alive(self) -> bool:
        """Whether it counts as one of its pool's: starting, ready, or expected back."""
        return self.state in (ReplicaState.STARTING, ReplicaState.READY, ReplicaState.DISCONNECTED)

    def place(self, key: CallKey, items: Sequence[int], now_us: int, reasons: Iterable[tuple[int, str]]) -> None:
        """Calls are on their way to it.

        Args:
            key: Of which node.
            items: Which.
            now_us: When, since the epoch.
            reasons: Why they went here: how many of them, in their order, for one reason.
        """
        held = self.held.get(key)
        if held is None:
            self.held[key] = set(items)
        else:
            held.update(items)
        self.in_flight += len(items)
        self.spent = self.once
        batches = self.batches.get(key)
        if batches is None:
            batches = self.batches[key] = deque()
        for count, why in reasons:
            batches.append(Batch(count, now_us, why))

    def release(self, key: CallKey, items: Iterable[int]) -> int:
        """Calls have ended here (or were given back); how many of them it held."""
        held = self.held.get(key)
        if held is None:
            return 0
        before = len(held)
        held.difference_update(items)
        freed = before - len(held)
        self.in_flight -= freed
        if self.lent:
            back = {one for one in self.lent if one[0] == key and one[1] not in held}
            self.lent -= back
            self.in_flight += len(back)
        if not held:
            del self.held[key]
        return freed

    def lend(self, key: CallKey, item: int) -> None:
        """A call that it holds waits for calls of its own, and keeps no slot."""
        self.lent.add((key, item))
        self.in_flight -= 1

    @property
    def rests(self) -> bool:
        """Whether it holds nothing."""
        return not self.in_flight and not self.lent

    def placements(self, key: CallKey, count: int) -> tuple[tuple[int, int, str], ...]:
        """The placements that the next `count` ended calls of a node came from, oldest first."""
        found: list[tuple[int, int, str]] = []
        batches = self.batches.get(key)
        while count > 0 and batches:
            batch = batches[0]
            taken = min(count, batch.left)
            found.append((taken, batch.placed_us, batch.why))
            batch.left -= taken
            count -= taken
            if not batch.left:
                batches.popleft()
        if batches is not None and not batches:
            del self.batches[key]
        return tuple(found)

    def forget_calls(self) -> Iterator[tuple[CallKey, list[int]]]:
        """Give up everything that it holds, node by node."""
        for key, items in self.held.items():
            yield key, sorted(items)
        self.held, self.batches, self.ramp = {}, {}, {}
        self.in_flight = 0
        self.lent = set()
