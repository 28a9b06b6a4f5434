"""given / when / then over the hub's machine: replicas that answer, a clock that is told the time, a log that folds."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

from greenroom_core.bindings import Promise
from greenroom_core.execution import Execution
from greenroom_core.facts import pack_fact, unpack_fact
from greenroom_core.failure import Cause, Failure
from greenroom_core.graph import Graph, Node, NodeKind
from greenroom_core.lists import ListSource
from greenroom_core.program import Environment, Program, Submission, Task, program_digest
from greenroom_core.values import ValueFault, pack, pack_list
from greenroom_hub.core import commands as c
from greenroom_hub.core import events as e
from greenroom_hub.core.hub_facts import HUB_FACTS, HUB_KINDS, pack_hub_fact, unpack_hub_fact
from greenroom_hub.core.ledger import Capacity, Ledger
from greenroom_hub.core.machine import Machine
from greenroom_hub.core.recovery import begin, fold
from greenroom_hub.core.state import Recorded, Settings, State, Turn
from greenroom_hub.shell.lookups import Lookups
from greenroom_hub.store.rows import CachedResult
from greenroom_protocol.calls import Outcomes, Status
from greenroom_protocol.frames import Ask, Bye, Hello, Lost, Result, Returned, Waive
from greenroom_protocol.version import PROTOCOL

PLENTY = Capacity(cpu=64, memory=256 * 2**30, gpu=0)


def task_program(name: str = "t", count: int = 1, **environment: Any) -> Program:
    """One task of one input, in an environment `e`."""
    node = Node(name, NodeKind.TASK, target="t", inputs={"x": Promise("", "x")}, outputs=("o0",))
    return _program((node,), ("x",), Promise(name, "o0"), count, environment)


def map_program(
    count: int = 1, concurrency: int | None = None, task: Task | None = None, **environment: Any
) -> Program:
    """A map `m` over the list `xs`, in an environment `e`."""
    inputs = {"x": Promise("", "xs")}
    node = Node("m", NodeKind.MAP, target="t", inputs=inputs, over=("x",), outputs=("o0",), concurrency=concurrency)
    return _program((node,), ("xs",), Promise("m", "o0"), count, environment, task)


def maps_program(*names: str) -> Program:
    """Maps that each go over what the one before gave; the first one over `xs`."""
    nodes, before = [], Promise("", "xs")
    for name in names:
        nodes.append(Node(name, NodeKind.MAP, target="t", inputs={"x": before}, over=("x",), outputs=("o0",)))
        before = Promise(name, "o0")
    return _program(tuple(nodes), ("xs",), before, 1, {})


def chain_program(*names: str) -> Program:
    """Tasks that each take what the one before gave."""
    nodes, before = [], Promise("", "x")
    for name in names:
        nodes.append(Node(name, NodeKind.TASK, target="t", inputs={"x": before}, outputs=("o0",)))
        before = Promise(name, "o0")
    return _program(tuple(nodes), ("x",), before, 1, {})


def _program(
    nodes: tuple[Node, ...],
    inputs: tuple[str, ...],
    output: Promise,
    count: int,
    environment: dict[str, Any],
    task: Task | None = None,
) -> Program:
    graph = Graph(nodes, {"o0": output}, inputs)
    environments = {"e": Environment("e", replica_count=count, **environment)}
    made = task or Task("f.t", "e", inputs=("x",), outputs=("o0",))
    return Program("f.wf", "p", graph, {"t": made}, environments)


def xs(n: int) -> bytes:
    """The list 0 ... n-1, encoded."""
    return pack_list([pack(i) for i in range(n)])


@dataclass
class Sent:
    """Calls on their way to a replica."""

    replica: str
    execution: str
    node: str
    items: list[int]
    attempts: list[int]
    needs: int
    why: str = ""


@dataclass
class Rows:
    """The reader's side of the log."""

    rows: dict[int, Outcomes] = field(default_factory=dict)
    manifests: Callable[[str, str, str], ListSource] | None = None

    def outcomes(self, row: int) -> Outcomes:
        return self.rows[row]

    def keep(self, row: int, outcomes: Outcomes) -> None:
        self.rows[row] = outcomes

    def blob(self, sha256: str) -> bytes:
        raise ValueFault("no blobs here")

    def manifest(self, execution: str, node: str, output: str) -> ListSource:
        assert self.manifests is not None
        return self.manifests(execution, node, output)


class HubDriver:
    """A machine, the replicas that it starts (they connect when told to), and everything that it wrote down."""

    def __init__(self, capacity: Capacity = PLENTY, **settings: Any) -> None:
        self.rows = Rows()
        self.settings = Settings(**settings)
        self.capacity = capacity
        self.log: list[tuple[int, str, int, int, int, bytes]] = []
        self.programs: dict[str, Program] = {}
        self.now = 1_000
        self.links = 0
        self.requests = 0
        self.turn = Turn()
        self.sent: list[Sent] = []
        self.started: list[c.StartReplica] = []
        self.asked: list[c.LookUp | c.LookAgain] = []
        self.kept: dict[str, CachedResult] = {}
        self.ended: dict[str, Execution] = {}
        self.seqs: dict[str, int] = {}
        self.machine = self._machine(epoch=1)

    def _machine(self, epoch: int) -> Machine:
        position = self.log[-1][0] if self.log else 0
        state = State(self.settings, Ledger(self.capacity), self.rows, epoch, position)
        state.earlier, state.find_program = self.ended.get, self.programs.get
        self.rows.manifests = lambda name, node, output: self._found(state, name).results(node, output)
        return Machine(state)

    def _found(self, state: State, name: str) -> Execution:
        run = state.runs.get(name)
        return run.execution if run is not None else self.ended[name]

    @property
    def state(self) -> State:
        return self.machine.state

    # when ---------------------------------------------------------------------------------------------------------

    def when(self, *events: e.Event) -> Turn:
        """One turn."""
        return self._note(self.machine.apply(events, e.Moment(10**12 + self.now, self.now)))

    def _note(self, turn: Turn) -> Turn:
        self.turn = turn
        self.programs.update((digest, Program.unpack(packed)) for digest, packed in turn.programs)
        for recorded in turn.rows:
            self._write(recorded)
        self.log = [row for row in self.log if row[1] not in turn.dropped]
        for command in turn.do:
            if isinstance(command, c.SendCalls):
                items = list(command.items)
                attempts = [command.attempts] * len(items) if isinstance(command.attempts, int) else command.attempts
                call = (command.replica, command.execution, command.node, items, attempts, command.needs)
                batches = self.state.replicas[command.replica].batches[command.execution, command.node]
                self.sent.append(Sent(*call, batches[-1].why))
            elif isinstance(command, c.StartReplica):
                self.started.append(command)
            elif isinstance(command, c.LookUp):
                self.asked.append(command)
        for kept in turn.results:
            self.kept[kept.key] = CachedResult(kept.key, kept.execution, kept.node, kept.item, kept.position, 0)
        self.asked.extend(told for told in turn.tell if isinstance(told, c.LookAgain))
        self.ended.update((run.id, run.execution) for run in turn.ended)
        return turn

    def look_up(self) -> Turn:
        """The shell answers what the machine has asked for: cached results, and those of earlier executions."""
        events: list[e.Event] = []
        store = cast(Any, SimpleNamespace(cached=lambda keys: {k: self.kept[k] for k in keys if k in self.kept}))
        lookups = Lookups(store, self.rows, cast(Any, None), events.append)
        asked, self.asked = self.asked, []
        for command in asked:
            lookups.look_up(command) if isinstance(command, c.LookUp) else lookups.look_again(command)
        return self.when(*events)

    def _write(self, recorded: Recorded) -> None:
        fact = recorded.fact
        data = pack_hub_fact(fact) if isinstance(fact, HUB_FACTS) else pack_fact(fact)
        self.log.append((recorded.position, recorded.stream, recorded.seq, recorded.at_ms, int(fact.KIND), data))

    def later(self, seconds: float) -> Turn:
        """Let time pass, with every tick that the machine asks for on the way."""
        until = self.now + int(seconds * 1000)
        turn = Turn()
        while (due := self.machine.next_due()) is not None and due <= until:
            self.now = max(due, self.now + 1)
            turn = self.when(e.Tick())
        self.now = until
        return turn

    # given --------------------------------------------------------------------------------------------------------

    def submit(
        self,
        program: Program,
        name: str = "wf-1",
        key: str = "",
        options: Mapping[str, Any] | None = None,
        **inputs: bytes,
    ) -> Turn:
        self.requests += 1
        digest = program_digest(program.pack())
        self.programs[digest] = program
        submission = Submission(digest, inputs or {"x": pack(1)}, key=key, **(options or {}))
        return self.when(e.Submitted(self.requests, name, submission, program, program.pack()))

    def connect(self, *names: str, held: list[list[Any]] | None = None, unacked: list[int] | None = None) -> Turn:
        """Replicas say hello; without names, all that were started and have not."""
        started = {command.replica: command for command in self.started}
        chosen = names or [name for name, one in self.state.replicas.items() if one.link == 0]
        events = []
        for name in chosen:
            self.links += 1
            command = started[name]
            pool = name.rsplit("-r", 1)[0]
            facts = {"pool": pool, "index": command.index}
            hello = Hello(PROTOCOL, name, command.generation, 0, held or [], unacked or [], [], [], facts)
            events.append(e.ReplicaConnected(hello, self.links))
        return self.when(*events)

    def cut(self, replica: str) -> Turn:
        return self.when(e.LinkLost(replica, self.state.replicas[replica].link, "cut"))

    def exit(self, replica: str, reason: str = "killed") -> Turn:
        return self.when(e.ReplicaExited(replica, self.state.replicas[replica].generation, reason))

    # Replicas' answers --------------------------------------------------------------------------------------------

    def take(self, replica: str | None = None) -> Sent:
        """The oldest calls that were sent (to a replica) and not answered."""
        found = next(sent for sent in self.sent if replica in (None, sent.replica))
        self.sent.remove(found)
        return found

    def outcomes(
        self,
        sent: Sent,
        fails: bool = False,
        value: Any = None,
        us: int = 20,
        cache: list[dict[str, Any]] | None = None,
    ) -> Outcomes:
        failure = Failure(Cause.USER, "ValueError", "bad pixel").pack()
        payloads = [failure if fails else pack(value if value is not None else item) for item in sent.items]
        ends, end = array("I"), 0
        for payload in payloads:
            end += len(payload)
            ends.append(end)
        n = len(sent.items)
        status = Status.FAILED if fails else Status.SUCCEEDED
        return Outcomes(
            sent.items, sent.attempts, bytes([status]), ends.tobytes(), b"".join(payloads), 0, bytes(4 * n),
            array("I", (us,) * n).tobytes(), {}, cache or [],
        )  # fmt: skip

    def answer(self, sent: Sent | None = None, fails: bool = False, seq: int = 0, **how: Any) -> Turn:
        """A replica answers calls."""
        sent = sent or self.take()
        outcomes = self.outcomes(sent, fails, **how)
        number = seq or self.seqs.get(sent.replica, 0) + 1
        self.seqs[sent.replica] = number
        link = self.state.replicas[sent.replica].link
        result = Result(number, sent.execution, sent.node, outcomes.pack())
        return self.when(e.ResultsCame(sent.replica, link, result, outcomes))

    def answer_raw(self, value: bytes, sent: Sent | None = None) -> Turn:
        """A replica answers one call with an encoded value."""
        sent = sent or self.take()
        (item,), (attempt,) = sent.items, sent.attempts
        ends = len(value).to_bytes(4, "little")
        outcomes = Outcomes(item, attempt, bytes([Status.SUCCEEDED]), ends, value, 0, bytes(4), bytes(4), {}, [])
        number = self.seqs[sent.replica] = self.seqs.get(sent.replica, 0) + 1
        result = Result(number, sent.execution, sent.node, outcomes.pack())
        return self.when(e.ResultsCame(sent.replica, self.state.replicas[sent.replica].link, result, outcomes))

    def answer_all(self, most: int = 10_000, **how: Any) -> None:
        """Replicas answer until nothing is on its way."""
        for _ in range(most):
            if not self.sent:
                return
            self.answer(**how)
        raise AssertionError("it never ends")

    def say(self, replica: str, message: Lost | Returned | Ask | Waive | Bye) -> Turn:
        return self.when(e.Heard(replica, self.state.replicas[replica].link, message))

    # then ---------------------------------------------------------------------------------------------------------

    def facts(self, *kinds: type[Any]) -> list[Any]:
        """Facts of the last turn."""
        return [row.fact for row in self.turn.rows if not kinds or isinstance(row.fact, kinds)]

    def does(self, *kinds: type[Any]) -> list[Any]:
        return [command for command in self.turn.do if not kinds or isinstance(command, kinds)]

    def tells(self, *kinds: type[Any]) -> list[Any]:
        return [command for command in self.turn.tell if not kinds or isinstance(command, kinds)]

    def all_facts(self) -> list[Any]:
        """Everything in the log, read back from its bytes."""
        return [recorded.fact for recorded in self._recorded()]

    def _recorded(self) -> list[Recorded]:
        return [
            Recorded(
                position, stream, seq, at, unpack_hub_fact(kind, data) if kind in HUB_KINDS else unpack_fact(kind, data)
            )
            for position, stream, seq, at, kind, data in self.log
        ]

    # Restart ------------------------------------------------------------------------------------------------------

    def restart(self, alive: tuple[str, ...] = (), adopted: bool = True) -> Turn:
        """The hub is killed and started again; of its replicas these are still alive, which it hears if `adopted`."""
        generations = {name: one.generation for name, one in self.state.replicas.items()}
        ended = {row[1] for row in self.log if row[4] == 13}
        epoch = self.state.epoch + 1
        self.sent.clear()
        self.machine = self._machine(epoch)
        live = [recorded for recorded in self._recorded() if recorded.stream not in ended]
        fold(self.state, live, self.programs.__getitem__)
        turn = self._note(begin(self.state, e.Moment(10**12 + self.now, self.now), "test"))
        self.alive = e.Adopted(tuple((name, generations[name]) for name in alive))
        if adopted:
            self.when(self.alive)
        return turn
