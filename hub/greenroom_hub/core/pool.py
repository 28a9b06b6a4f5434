"""A pool: all replicas of one environment, what waits for them, and how many of them there should be."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from greenroom_core.program import Environment, Interpreter, Resources
from greenroom_core.values import pack
from greenroom_core.wire import to_wire
from greenroom_hub.core.affinity import Affinity, EntryKey
from greenroom_hub.core.commands import Define
from greenroom_hub.core.holdings import Holdings
from greenroom_hub.core.lanes import NodeLanes
from greenroom_hub.core.replica import Entry, Loading, Replica, ReplicaState
from greenroom_hub.core.turns import Turns

_MARKS: Final = 1024
"""Values of `affinity=` that are remembered of each replica."""


def pool_key(project: str, environment: Environment, interpreter: Interpreter | None) -> str:
    """The key of the pool that serves an environment: its project, its name and what its container is made of.

    Counts, time to live, isolation and the user's code are not part of it, so that replicas stay warm across edits,
    executions and launch plans. For processes the submitter's interpreter and what is installed in it stand in for
    the image.
    """
    made_of = replace(
        environment,
        replica_count=1,
        ttl=None,
        min_replicas=0,
        scaledown_ttl=None,
        max_calls=None,
        max_memory=None,
        max_age=None,
        prewarm=(),
        image_notes=(),
    )
    told = pack([project, to_wire(made_of), None if interpreter is None else to_wire(interpreter)])
    return f"{environment.name}-{hashlib.sha256(told).hexdigest()[:8]}"


@dataclass(frozen=True, slots=True)
class Wish:
    """How many replicas, and for how long, one execution's definition of the environment wants."""

    count: int = 1
    ttl: float | None = None
    min_replicas: int = 0
    scaledown_ttl: float | None = None


@dataclass(slots=True)
class Pool:
    """All replicas of one environment."""

    key: str
    project: str
    environment: Environment
    interpreter: Interpreter | None
    asks: Resources
    """What each replica is promised; on a local hub cut to the machine."""
    slots: int = 1
    """Calls that each replica runs at a time."""
    replicas: dict[str, Replica] = field(default_factory=dict)
    wishes: dict[str, Wish] = field(default_factory=dict)
    """By live execution; changed by `add_wish` and `drop_wish` alone."""
    kinds: dict[Wish, int] = field(default_factory=dict)
    """How many live executions have each wish: a thousand executions of one program have one between them."""
    last_wish: Wish = Wish()
    """Of the execution that ended last: holds when none is live."""
    queue: Turns = field(default_factory=Turns)
    """Nodes with calls to place, by execution; executions take turns."""
    idle: dict[str, None] = field(default_factory=dict)
    """Ready replicas that hold nothing, the most recently used last: warm ones first, old ones age out."""
    sharing: int = 0
    """Replicas that what is left is spread over, as counted in this placement; 0 if nobody needed to know."""
    idle_since_ms: int | None = None
    affinity: Affinity = field(default_factory=Affinity)
    """What its tasks have taught about the entries that they want."""
    lanes: dict[tuple[str, str], NodeLanes] = field(default_factory=dict)
    """By (execution, node): waiting calls sorted by what they want."""
    loading: dict[tuple[str, tuple[bytes, ...]], Loading] = field(default_factory=dict)
    """By task and deciding values: a replica that was sent a call which makes it load."""
    holdings: Holdings = field(default_factory=Holdings)
    """Replicas by the entries that they hold, and lanes by those that they want."""
    recipes: dict[EntryKey, Mapping[str, Any]] = field(default_factory=dict)
    """How to load entries in another process."""
    code: Define | None = None
    """The definition that was last sent to one of its replicas: it leads to the code that recipes are of."""
    failures: int = 0
    """Launches that failed one after the other; those that were under way side by side count once."""
    failed_ms: int = 0
    """When the last one failed, monotonic."""
    retry_ms: int = 0
    failure_text: str = ""
    waits: str = ""
    """Why it cannot start a replica now; empty if it can."""
    waits_since_ms: int = 0
    gone: str = ""
    """Why its last replicas were let go (`ttl_seconds=30, idle 4 min`), told when it must start again."""
    gone_ms: int = 0
    user: str = ""
    """The entity that used it last: who runs it again with another definition has changed the environment."""
    successor: str = ""
    """The pool of the environment's newer definition, to which this one's replicas give way."""
    replaces: set[str] = field(default_factory=set)
    """Pools that this one is the successor of."""

    # Wishes -----------------------------------------------------------------------------------------------------------

    def _wishes(self) -> Iterable[Wish]:
        return self.kinds or (self.last_wish,)

    @property
    def limit(self) -> int:
        """Most replicas that it may have."""
        return max(wish.count for wish in self._wishes())

    @property
    def minimum(self) -> int:
        """Replicas that are kept warm."""
        return max(wish.min_replicas for wish in self._wishes())

    def ttl(self, default: float) -> float:
        """Seconds without a call after which its replicas go."""
        return max(default if wish.ttl is None else wish.ttl for wish in self._wishes())

    @property
    def scaledown_ttl(self) -> float | None:
        """Seconds after which a single idle replica of a busy pool goes."""
        given = [wish.scaledown_ttl for wish in self._wishes() if wish.scaledown_ttl is not None]
        return max(given) if given else None

    def add_wish(self, execution: str, wish: Wish) -> None:
        """An execution that has begun uses it."""
        self._uncount(self.wishes.get(execution))
        self.wishes[execution] = wish
        self.kinds[wish] = self.kinds.get(wish, 0) + 1

    def drop_wish(self, execution: str) -> None:
        """An execution has ended."""
        wish = self.wishes.pop(execution, None)
        self._uncount(wish)
        if wish is not None:
            self.last_wish = wish

    def _uncount(self, wish: Wish | None) -> None:
        if wish is not None:
            self.kinds[wish] -= 1
            if not self.kinds[wish]:
                del self.kinds[wish]

    # What waits -------------------------------------------------------------------------------------------------------

    def enqueue(self, execution: str, node: str) -> None:
        """A node has calls to place."""
        self.queue.enqueue(execution, node)

    def dequeue(self, execution: str, node: str) -> None:
        """A node has no calls to place any more."""
        self.queue.dequeue(execution, node)

    def forget(self, execution: str) -> None:
        """An execution has ended."""
        self.queue.forget(execution)
        for key in [key for key in self.lanes if key[0] == execution]:
            self.lanes.pop(key).close()

    def sources(self) -> Iterator[tuple[str, str]]:
        """What waits, `(execution, node)`: executions take turns, nodes of one go in their order."""
        return self.queue.sources()

    def learn(self, task: str, inputs: Mapping[str, bytes], told: Mapping[str, Any]) -> None:
        """Take the telemetry of a load: which inputs of a task decide, and which entry these lead to."""
        found = self.affinity.learn(task, inputs, told)
        if found is not None:
            self.holdings.learned((task, *found))

    # Replicas ---------------------------------------------------------------------------------------------------------

    def alive(self) -> list[Replica]:
        """Replicas that count: starting, ready, or expected back."""
        return [one for one in self.replicas.values() if one.alive]

    def ready(self) -> int:
        """How many can take calls."""
        return sum(1 for one in self.replicas.values() if one.takes_calls)

    def in_flight(self) -> int:
        """Calls that its replicas hold."""
        return sum(one.in_flight for one in self.replicas.values())

    def free_index(self) -> int:
        """The smallest number that no replica has."""
        taken = {one.index for one in self.replicas.values() if one.state is not ReplicaState.GONE}
        return next(index for index in range(len(taken) + 1) if index not in taken)

    def note_entry(self, one: Replica, entry: Entry) -> None:
        """A replica holds an entry."""
        key = (entry.loader, entry.key)
        one.entries[key] = entry
        self.holdings.hold(one.id, key)

    def mark(self, one: Replica, key: EntryKey) -> None:
        """A replica serves calls that belong together."""
        one.marks[key] = None
        one.marks.move_to_end(key)
        self.holdings.hold(one.id, key)
        if len(one.marks) > _MARKS:
            self._unhold(one, one.marks.popitem(last=False)[0])

    def drop_entry(self, one: Replica, key: EntryKey, now_ms: int = 0) -> None:
        """A replica holds an entry no more."""
        if one.entries.pop(key, None) is not None:
            one.evicts_ms = now_ms
        self._unhold(one, key)

    def _unhold(self, one: Replica, key: EntryKey) -> None:
        if self.holdings.let_go(one.id, key):
            self.recipes.pop(key, None)

    def drop_entries(self, one: Replica) -> None:
        """A replica holds nothing any more."""
        for key in (*one.entries, *one.marks):
            self.drop_entry(one, key)
        one.marks.clear()

    def loaded(self, one: Replica, key: tuple[str, str]) -> None:
        """A replica has answered a call of this node: what it was to load for it, it has or never will."""
        for name, loading in list(self.loading.items()):
            if loading.replica == one.id and loading.key == key:
                del self.loading[name]

    def note_idle(self, one: Replica) -> None:
        """Keep `idle` true for a replica whose load or state has changed."""
        self.idle.pop(one.id, None)
        if one.takes_calls and one.in_flight == 0:
            self.idle[one.id] = None
