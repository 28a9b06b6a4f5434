"""Everything that the hub's machine knows, and the turn that it is in."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from greenroom_core.execution import Execution
from greenroom_core.facts import CallsCached, CallsFinished, Fact, NodeStarted
from greenroom_core.lists import Reader
from greenroom_core.program import Environment, Interpreter, Program
from greenroom_hub.core.catalog import Catalog
from greenroom_hub.core.commands import Do, Say, Tell
from greenroom_hub.core.events import Moment, ReplicaConnected
from greenroom_hub.core.hub_facts import HubFact
from greenroom_hub.core.ledger import Ledger
from greenroom_hub.core.plan_facts import ArtifactKept, NoticeDue
from greenroom_hub.core.plans import Plan
from greenroom_hub.core.pool import Pool
from greenroom_hub.core.replica import Replica
from greenroom_hub.core.run import Run
from greenroom_hub.core.timing import Timing
from greenroom_protocol.calls import Outcomes

AnyFact: TypeAlias = Fact | HubFact
_KEPT_TIMINGS = 4096


@dataclass(frozen=True, slots=True)
class Settings:
    """What the machine's rules are measured by; the shell's configuration fills it."""

    grace_ms: int = 10_000
    """How long a replica may be without a link before its calls count as lost."""
    launch_ms: int = 60_000
    """How long a replica may take from its launch to its hello."""
    launch_tries: int = 5
    """Launches that may fail one after the other before the waiting calls fail."""
    ttl_s: float = 90.0
    """For environments that do not say."""
    local: bool = False
    """A person's own hub: requests are cut to the machine and said once, instead of refused."""
    regular_slots: int = 8
    """Calls of regular tasks at a time, where their resources do not say."""
    ahead_us: int = 8_000
    """Microseconds of measured work that a replica is sent ahead."""
    cache_memory: int | None = None
    """Bytes that the caches of a pool share, where its environment asks for no memory."""
    most_starting: int = 25
    """Replicas that may start at a time: more of them would make each one slower than the time that it has."""
    on_time_ms: int = 60_000
    """A time of a schedule that passed no longer ago than this is run, whatever the plan says about missed ones."""
    launchers: tuple[str, ...] = ("process",)
    """Those that this hub has; the first one starts the replicas of environments that name none."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """A fact on its way to the log."""

    position: int
    stream: str
    seq: int
    at_ms: int
    fact: AnyFact


@dataclass(frozen=True, slots=True)
class Kept:
    """Outputs that later executions may use, by their key (32 hex digits)."""

    key: str
    execution: str
    node: str
    item: int
    position: int


@dataclass(slots=True)
class Turn:
    """What one turn of the loop leads to."""

    rows: list[Recorded] = field(default_factory=list)
    programs: list[tuple[str, bytes]] = field(default_factory=list)
    results: list[Kept] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    """Streams that are of no use any more."""
    ended: list[Run] = field(default_factory=list)
    """Executions that ended in it; the machine has forgotten them."""
    do: list[Do] = field(default_factory=list)
    tell: list[Tell] = field(default_factory=list)


class Rows(Reader, Protocol):
    """A reader that also finds the rows of the turn that is being made."""

    def keep(self, row: int, outcomes: Outcomes) -> None:
        """A row was recorded; it can be read from now on, before it is on disk."""
        ...


class State:
    """The machine's memory. Handlers in the modules beside this one change it; `Machine` is their one door."""

    def __init__(self, settings: Settings, ledger: Ledger, reader: Rows, epoch: int, position: int) -> None:
        self.settings = settings
        self.ledger = ledger
        self.reader = reader
        self.earlier: Callable[[str], Execution | None] = lambda execution: None
        """Finds an execution that has ended, for who repeats it; it never changes any more."""
        self.find_program: Callable[[str], Program | None] = self.programs_get
        """Finds a program by its digest, also one that no live execution uses."""
        self.epoch = epoch
        self.position = position
        """Of the last row of the log, the current turn's included."""
        self.now = Moment(0, 0)
        self.turn = Turn()
        self.programs: dict[str, Program] = {}
        self.catalog = Catalog()
        self.plans: dict[tuple[str, str], Plan] = {}
        """Launch plans that were activated, by project and name."""
        self.look_at_plans = False
        """Whether something has changed that a plan may have waited for."""
        self.artifacts: dict[str, ArtifactKept] = {}
        """The newest value of each name and partition, by its key."""
        self.notices: dict[str, NoticeDue] = {}
        """What webhooks have yet to be told."""
        self.runs: dict[str, Run] = {}
        self.timed: dict[str, Run] = {}
        """Executions that wait for a time: the few that a turn has to look at."""
        self.by_key: dict[str, str] = {}
        """Live executions by the idempotency key of their submission."""
        self.pools: dict[str, Pool] = {}
        self.pool_keys: dict[int, tuple[Environment, Interpreter | None, str, str]] = {}
        """By `id` of a definition, which is kept beside it: the key of its pool."""
        self.replicas: dict[str, Replica] = {}
        self.adopting = False
        """Whether launchers of a hub that has just started have yet to tell who is alive."""
        self.expected: dict[str, int] = {}
        """Replicas of an earlier hub that have not said hello: until then nothing that they may hold is placed."""
        self.expected_until = 0
        self.lobby: dict[str, ReplicaConnected] = {}
        """Replicas that joined by hand for an environment that nothing has defined yet: not welcomed before."""
        self.recorded: dict[tuple[str, int], int] = {}
        """By (replica, generation): the last of its results that the log held when the hub started."""
        self.paced: dict[str, None] = {}
        """Pools that wait until fewer replicas are starting."""
        self.draining = False
        self.starts = 0
        """Replicas started by this hub; part of their generations."""
        self.touched: dict[str, dict[str, None]] = {}
        """Pools to look at before the turn ends, and the replicas in them that have room now."""
        self.seqs: dict[str, int] = {}
        """Last sequence number of streams that are no execution's."""
        self.computing: dict[bytes, tuple[str, str, int]] = {}
        """By key: the call that computes it while equal ones wait (`cache_serialize`)."""
        self.following: dict[bytes, list[tuple[str, str, int]]] = {}
        """By key: the calls that wait for it."""
        self.again: list[tuple[str, str, int]] = []
        """Calls whose leader has ended in this turn."""
        self.timings: OrderedDict[tuple[str, str], Timing] = OrderedDict()
        self.counters: dict[str, int] = {}
        self.cache_figures: dict[str, dict[str, float]] = {}
        """By environment: hits, misses, waits, evictions and load seconds of its actor cache since the hub started."""

    @property
    def awaits_replicas(self) -> bool:
        """Whether replicas of an earlier hub may still come and say what they hold: until then nothing is placed."""
        return self.adopting or bool(self.expected)

    # Recording --------------------------------------------------------------------------------------------------------

    def record(self, run: Run, fact: Fact) -> int:
        """Put a fact into its execution's log and fold it; its row's position."""
        position = self._append(run, fact)
        if isinstance(fact, (CallsFinished, CallsCached)):
            self.reader.keep(position, fact.outcomes)  # What follows in this turn may read it: a map's results, say.
        run.execution.apply(fact, position, self.now.wall_ms)
        return position

    def record_folded(self, run: Run, facts: Iterable[Fact]) -> None:
        """Put facts into the log that the execution has folded already."""
        for fact in facts:
            self._append(run, fact)
            if isinstance(fact, NodeStarted):
                run.execution.nodes[fact.node].started_ms = self.now.wall_ms

    def _append(self, run: Run, fact: Fact) -> int:
        self.position += 1
        run.seq += 1
        self.turn.rows.append(Recorded(self.position, run.id, run.seq, self.now.wall_ms, fact))
        return self.position

    def record_hub(self, stream: str, fact: HubFact) -> None:
        """Put a fact into a stream that is no execution's."""
        self.position += 1
        seq = self.seqs[stream] = self.seqs.get(stream, 0) + 1
        self.turn.rows.append(Recorded(self.position, stream, seq, self.now.wall_ms, fact))

    # Commanding -------------------------------------------------------------------------------------------------------

    def drop(self, stream: str) -> None:
        """Have a stream that is no execution's removed, with this turn."""
        self.seqs.pop(stream, None)
        self.turn.dropped.append(stream)

    def do(self, command: Do) -> None:
        """Have something done, possibly before the turn is on disk."""
        self.turn.do.append(command)

    def tell(self, command: Tell) -> None:
        """Have something told once the turn is on disk."""
        self.turn.tell.append(command)

    def say(self, event: str, **fields: object) -> None:
        """A line for the hub's own log."""
        self.turn.tell.append(Say(event, fields))

    def count(self, name: str, times: int = 1) -> None:
        """Count something for the metrics."""
        self.counters[name] = self.counters.get(name, 0) + times

    def count_cache(self, environment: str, **figures: float) -> None:
        """Count what happened in an environment's actor cache."""
        told = self.cache_figures.setdefault(environment, {})
        for name, figure in figures.items():
            told[name] = told.get(name, 0.0) + figure

    def touch(self, pool: str, replica: str | None = None) -> None:
        """Look at a pool before the turn ends; `replica` may have room now."""
        touched = self.touched.setdefault(pool, {})
        if replica is not None:
            touched[replica] = None

    def wait_until(self, run: Run, name: str, due_ms: int) -> None:
        """A node of an execution (or `#deadline`) is due at a time, wall clock."""
        run.due[name] = due_ms
        self.timed[run.id] = run

    # Finding ----------------------------------------------------------------------------------------------------------

    def programs_get(self, digest: str) -> Program | None:
        """A program that is in memory."""
        return self.programs.get(digest)

    def pool_of(self, run: Run, node: str) -> Pool | None:
        """The pool that a node's calls run in."""
        task = run.execution.nodes[node].task
        key = run.pools.get(task.environment) if task is not None else None
        return self.pools.get(key) if key is not None else None

    def timing(self, pool: str, task: str) -> Timing:
        """How long calls of a task take in a pool; a bounded memory of what was measured."""
        key = (pool, task)
        timing = self.timings.get(key)
        if timing is None:
            timing = self.timings[key] = Timing()
            if len(self.timings) > _KEPT_TIMINGS:
                self.timings.popitem(last=False)
        else:
            self.timings.move_to_end(key)
        return timing
