"""Placement by warmth, simulated in virtual time: hit ratio and waits of several policies on one sequence of calls.

    python -m bench.cache_affinity --replicas 8 --room 4 --models 96 --zipf 1.0 --calls 20000 --busy 0.7

Calls want one of `models` entries, by a Zipf law; a replica has room for `room` of them; a load takes `load` seconds,
a call `call`. They arrive in bursts, at the rate that keeps the bound's policy busy for a share of `busy` of the
time of all replicas, calls and loads counted. Policies:

* `bound`: Belady on one cache as large as all replicas' together: the best that any placement could do, were loads free
  of limits. Its hit ratio sets the rate.
* `ours`: the hub's own machine (`greenroom_hub.core`), driven event by event, with the replicas' own eviction.
* `random`: what Union does. `least_loaded`: what most queues do. `fixed_wait`: affinity that waits up to a fixed time
  for who is warm, then takes the least loaded (what Ray Serve does for multiplexed models).
"""

from __future__ import annotations

import argparse
import bisect
import heapq
import itertools
import json
import random
import statistics
from array import array
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from greenroom_core.bindings import Promise
from greenroom_core.graph import Graph, Node, NodeKind
from greenroom_core.lists import ListSource
from greenroom_core.program import Environment, Program, Submission, Task, program_digest
from greenroom_core.values import pack, pack_list
from greenroom_hub.core import commands as c
from greenroom_hub.core import events as e
from greenroom_hub.core.ledger import Capacity, Ledger
from greenroom_hub.core.machine import Machine
from greenroom_hub.core.state import Settings, State
from greenroom_protocol.calls import Outcomes, Status
from greenroom_protocol.frames import Hello, Result
from greenroom_protocol.version import PROTOCOL
from greenroom_replica.core.entries import Budget


@dataclass(frozen=True)
class Setting:
    """One experiment."""

    replicas: int
    room: int
    models: int
    zipf: float
    calls: int
    load_s: float
    call_s: float
    busy: float
    burst: int
    seed: int


@dataclass
class Figures:
    """What a policy made of it."""

    loads: int = 0
    waits: list[float] = field(default_factory=list)
    ends_s: float = 0.0

    def line(self, calls: int) -> dict[str, float]:
        waits = sorted(self.waits)
        return {
            "hit_ratio": round(1 - self.loads / calls, 4),
            "loads": self.loads,
            "wait_p50_s": round(statistics.median(waits), 3) if waits else 0.0,
            "wait_p95_s": round(waits[int(0.95 * len(waits))], 3) if waits else 0.0,
            "ends_s": round(self.ends_s, 1),
        }


# The sequence ---------------------------------------------------------------------------------------------------------


def keys_of(setting: Setting) -> list[int]:
    """Which model each call wants."""
    chance = random.Random(setting.seed)
    weights = list(itertools.accumulate(1 / (rank + 1) ** setting.zipf for rank in range(setting.models)))
    return [bisect.bisect(weights, chance.random() * weights[-1]) for _ in range(setting.calls)]


def belady(keys: list[int], room: int) -> int:
    """Loads of the best possible cache of `room` entries, which knows what comes."""
    following: list[int] = [0] * len(keys)
    last: dict[int, int] = {}
    for place in range(len(keys) - 1, -1, -1):
        following[place] = last.get(keys[place], 1 << 60)
        last[keys[place]] = place
    held: dict[int, int] = {}
    loads = 0
    for place, key in enumerate(keys):
        if key not in held:
            loads += 1
            if len(held) >= room:
                del held[max(held, key=held.__getitem__)]
        held[key] = following[place]
    return loads


def arrivals(setting: Setting, keys: list[int], loads: int) -> list[tuple[float, list[int]]]:
    """Bursts of calls, `(second, keys)`, at the rate that keeps the bound's policy `busy`; all at once for size 0."""
    if not setting.burst:
        return [(0.0, keys)]
    work = setting.calls * setting.call_s + loads * setting.load_s
    span = work / (setting.busy * setting.replicas)
    chance = random.Random(setting.seed + 1)
    bursts, place, now = [], 0, 0.0
    while place < len(keys):
        size = 1 + int(chance.expovariate(1 / max(1, setting.burst - 1))) if setting.burst > 1 else 1
        bursts.append((now, keys[place : place + size]))
        place += size
        now += chance.expovariate(1.0) * size * span / setting.calls
    return bursts


class Cache:
    """A replica's entries, evicted as replicas do it."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._budget: Budget[int] = Budget(limit=setting.room)

    def use(self, key: int) -> tuple[float, list[int]]:
        """Seconds that a call of this key takes here, and what had to go for it."""
        if key in self._budget:
            self._budget.touch([key])
            return self._setting.call_s, []
        gone = self._budget.choose(self._budget.lacks(1), lambda _: True)
        for one in gone:
            self._budget.remove(one, one)
        self._budget.add(key, 1, 0, self._setting.load_s, key)
        return self._setting.load_s + self._setting.call_s, gone

    def __contains__(self, key: int) -> bool:
        return key in self._budget


# Policies that choose a queue when a call arrives ---------------------------------------------------------------------


def queued(setting: Setting, bursts: list[tuple[float, list[int]]], choose: Callable[..., int]) -> Figures:
    """Each call goes to one replica's queue as it arrives."""
    figures = Figures()
    caches = [Cache(setting) for _ in range(setting.replicas)]
    free_at = [0.0] * setting.replicas
    for now, keys in bursts:
        for key in keys:
            one = choose(now, free_at)
            begins = max(now, free_at[one])
            hit = key in caches[one]
            took, _ = caches[one].use(key)
            figures.loads += not hit
            figures.waits.append(begins - now)
            free_at[one] = begins + took
    figures.ends_s = max(free_at)
    return figures


def randomly(setting: Setting) -> Callable[..., int]:
    chance = random.Random(setting.seed + 2)
    return lambda now, free_at: chance.randrange(setting.replicas)


def least_loaded(now: float, free_at: list[float]) -> int:
    return min(range(len(free_at)), key=lambda one: max(free_at[one], now))


def fixed_wait(setting: Setting, bursts: list[tuple[float, list[int]]]) -> Figures:
    """Calls wait in one line, each for who is warm; after its own wait of 1 to 2 loads' time any replica takes it.

    That is the rule of Ray Serve's router for multiplexed models: a call whose model is nowhere goes to any replica.
    """
    figures, chance = Figures(), random.Random(setting.seed + 3)
    caches, busy = [Cache(setting) for _ in range(setting.replicas)], [False] * setting.replicas
    events: list[tuple[float, int, int, list[int]]] = []
    order = itertools.count()
    for at, keys in bursts:
        heapq.heappush(events, (at, next(order), -1, keys))
    line: list[tuple[float, float, int]] = []
    while events:
        now, _, replica, keys = heapq.heappop(events)
        if replica >= 0:
            busy[replica] = False
        for key in keys:
            patient_until = now + setting.load_s * chance.uniform(1.0, 2.0)
            line.append((now, patient_until, key))
            heapq.heappush(events, (patient_until, next(order), -1, []))
        for one in [one for one, taken in enumerate(busy) if not taken]:
            place = next((at for at, call in enumerate(line) if _takes(caches, one, call, now)), None)
            if place is None:
                continue
            came, _, key = line.pop(place)
            figures.loads += key not in caches[one]
            figures.waits.append(now - came)
            took, _ = caches[one].use(key)
            busy[one] = True
            heapq.heappush(events, (now + took, next(order), one, []))
        figures.ends_s = now
    return figures


def _takes(caches: list[Cache], replica: int, call: tuple[float, float, int], now: float) -> bool:
    _, patient_until, key = call
    return key in caches[replica] or now >= patient_until or not any(key in cache for cache in caches)


# The hub's own machine ------------------------------------------------------------------------------------------------


class Rows:
    """The reader of a machine whose log nobody keeps."""

    def keep(self, row: int, outcomes: Outcomes) -> None:
        """What is read in the same turn: nothing here."""

    def outcomes(self, row: int) -> Outcomes:
        raise KeyError(row)

    def blob(self, sha256: str) -> bytes:
        raise KeyError(sha256)

    def manifest(self, execution: str, node: str, output: str) -> ListSource:
        raise KeyError(execution)


class Simulation:
    """The machine, replicas that take time, and a clock that jumps from event to event."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        state = State(Settings(local=True), Ledger(Capacity(1e9, 1 << 60)), Rows(), 1, 0)
        self.machine = Machine(state)
        self.figures = Figures()
        self.now = 0.0
        self.caches: dict[str, Cache] = {}
        self.links: dict[str, int] = {}
        self.seqs: defaultdict[str, int] = defaultdict(int)
        self.work: defaultdict[str, deque[tuple[str, str, int, int]]] = defaultdict(deque)
        self.busy: set[str] = set()
        self.keys: dict[str, list[int]] = {}
        self.arrived: dict[str, float] = {}
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._ticking = 0.0
        node = Node("m", NodeKind.MAP, target="t", inputs={"x": Promise("", "xs")}, over=("x",), outputs=("o0",))
        task = Task("f.t", "e", inputs=("x",), outputs=("o0",))
        environment = Environment("e", replica_count=setting.replicas, min_replicas=setting.replicas, ttl=1e9)
        graph = Graph((node,), {"o0": Promise("m", "o0")}, ("xs",))
        self.program = Program("f.wf", "p", graph, {"t": task}, {"e": environment})
        self.digest = program_digest(self.program.pack())

    def run(self, bursts: list[tuple[float, list[int]]]) -> Figures:
        for number, (at, keys) in enumerate(bursts):
            self.at(at, lambda number=number, keys=keys: self._submit(number, keys))
        while self._queue:
            self.now, _, do = heapq.heappop(self._queue)
            do()
        self.figures.ends_s = self.now
        return self.figures

    def at(self, when: float, do: Callable[[], None]) -> None:
        heapq.heappush(self._queue, (when, next(self._order), do))

    def turn(self, *events: e.Event) -> None:
        now = int(self.now * 1000)
        turn = self.machine.apply(events, e.Moment(10**12 + now, now))
        for command in turn.do:
            if isinstance(command, c.StartReplica):
                self._start(command)
            elif isinstance(command, c.SendCalls):
                self._assign(command)
        due = self.machine.next_due()
        if due is not None and due / 1000 > self._ticking and self.machine.state.runs:
            self._ticking = max(due / 1000, self.now + 0.001)
            self.at(self._ticking, lambda: self.turn(e.Tick()))

    def _submit(self, number: int, keys: list[int]) -> None:
        name = f"wf-{number}"
        self.keys[name], self.arrived[name] = keys, self.now
        submission = Submission(self.digest, {"xs": pack_list([pack(key) for key in keys])})
        self.turn(e.Submitted(number + 1, name, submission, self.program, None))

    def _start(self, command: c.StartReplica) -> None:
        name = command.replica
        self.caches[name], self.links[name] = Cache(self.setting), len(self.links) + 1
        facts = {"pool": name.rsplit("-r", 1)[0], "index": command.index}
        hello = Hello(PROTOCOL, name, command.generation, 0, [], [], [], [], facts)
        self.at(self.now, lambda: self.turn(e.ReplicaConnected(hello, self.links[name])))

    def _assign(self, command: c.SendCalls) -> None:
        attempts = command.attempts
        for place, item in enumerate(command.items):
            attempt = attempts if isinstance(attempts, int) else attempts[place]
            self.work[command.replica].append((command.execution, command.node, item, attempt))
        self._next(command.replica)

    def _next(self, replica: str) -> None:
        if replica in self.busy or not self.work[replica]:
            return
        self.busy.add(replica)
        execution, node, item, attempt = self.work[replica].popleft()
        key = self.keys[execution][item]
        cache = self.caches[replica]
        hit = key in cache
        took, gone = cache.use(key)
        self.figures.loads += not hit
        self.figures.waits.append(self.now - self.arrived[execution])
        told: dict[str, Any] = {"loader": "m:load", "key": f"k{key}", "preview": f"model={key}", "bytes": 1}
        told |= {"hits": 1} if hit else {"misses": 1, "load_ms": self.setting.load_s * 1000}
        if not hit:
            told |= {"loaded_by": f"{execution}/{node}/{item}", "provenance": [["model", ["x"], True]]}
        told["evicted"] = [["m:load", f"k{one}", "room"] for one in gone]
        self.at(self.now + took, lambda: self._done(replica, execution, node, item, attempt, took, told))

    def _done(
        self, replica: str, execution: str, node: str, item: int, attempt: int, took: float, told: dict[str, Any]
    ) -> None:
        self.busy.discard(replica)
        us = array("I", (min(int(took * 1e6), 0xFFFFFFFF),)).tobytes()
        ends = array("I", (1,)).tobytes()
        outcomes = Outcomes(item, attempt, bytes((Status.SUCCEEDED,)), ends, b"\xc0", 0, bytes(4), us, {}, [told])
        self.seqs[replica] += 1
        result = Result(self.seqs[replica], execution, node, outcomes.pack())
        self.turn(e.ResultsCame(replica, self.links[replica], result, outcomes))
        self._next(replica)


# The report -----------------------------------------------------------------------------------------------------------


def report(setting: Setting, policies: list[str]) -> dict[str, Any]:
    """All policies on one sequence."""
    keys = keys_of(setting)
    loads = belady(keys, setting.replicas * setting.room)
    bursts = arrivals(setting, keys, loads)
    told: dict[str, Any] = {
        "setting": vars(setting),
        "bound": {"hit_ratio": round(1 - loads / len(keys), 4), "loads": loads},
    }
    for name, figures in _run(setting, bursts, policies):
        told[name] = figures.line(setting.calls)
    return told


def _run(setting: Setting, bursts: list[tuple[float, list[int]]], policies: list[str]) -> Iterator[tuple[str, Figures]]:
    for name in policies:
        if name == "ours":
            yield name, Simulation(setting).run(bursts)
        elif name == "fixed_wait":
            yield name, fixed_wait(setting, bursts)
        else:
            yield name, queued(setting, bursts, randomly(setting) if name == "random" else least_loaded)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--replicas", type=int, default=8)
    parser.add_argument("--room", type=int, default=4, help="entries that a replica has room for")
    parser.add_argument("--models", type=int, default=96)
    parser.add_argument("--zipf", type=float, default=1.0)
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--load", type=float, default=1.0, help="seconds of a load")
    parser.add_argument("--call", type=float, default=0.01, help="seconds of a call")
    parser.add_argument("--busy", type=float, default=0.7, help="share of all time that the bound's policy works")
    parser.add_argument("--burst", type=int, default=20, help="mean size of a burst; 0 for all at once")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--policies", default="random,least_loaded,fixed_wait,ours")
    a = parser.parse_args()
    setting = Setting(a.replicas, a.room, a.models, a.zipf, a.calls, a.load, a.call, a.busy, a.burst, a.seed)
    print(json.dumps(report(setting, a.policies.split(","))))


if __name__ == "__main__":
    main()
