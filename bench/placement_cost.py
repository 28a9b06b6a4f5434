"""What placing a call costs the hub, in processor time: 100 replicas that hold 10,000 entries between them.

    python -m bench.placement_cost [--check]

The hub's own machine (`greenroom_hub.core`), without sockets or disk: a map is submitted, its calls are placed, and
each frame of calls is answered by the next event. Measured is the time inside `placement.schedule`, all told, over the
calls that were placed: once for a task without entries, once for one whose calls each want one of the entries (in an
order without any system). Best of several rounds, since others on the machine can only make one slower. Prints one
JSON line. With `--check`, exit code 1 if a bound is missed.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from array import array
from collections import deque
from typing import Any

from bench.harness import machine as this_machine

from greenroom_core.bindings import Promise
from greenroom_core.graph import Graph, Node, NodeKind
from greenroom_core.lists import ListSource
from greenroom_core.program import Environment, Program, Submission, Task, program_digest
from greenroom_core.values import pack, pack_list
from greenroom_hub.core import commands as c
from greenroom_hub.core import events as e
from greenroom_hub.core import machine as machine_module
from greenroom_hub.core import placement
from greenroom_hub.core.ledger import Capacity, Ledger
from greenroom_hub.core.machine import Machine
from greenroom_hub.core.state import Settings, State
from greenroom_protocol.calls import Outcomes, Status
from greenroom_protocol.frames import Hello, Result
from greenroom_protocol.version import PROTOCOL

BOUNDS = {"without_us": 1.0, "with_us": 5.0}
"""Microseconds a call at most, amortised."""


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


class Bench:
    """A machine, replicas that answer at once, and a stopwatch around `schedule`."""

    def __init__(self, replicas: int, entries: int, call_us: int) -> None:
        self.state = State(Settings(local=True), Ledger(Capacity(1e9, 1 << 60)), Rows(), 1, 0)
        self.machine = Machine(self.state)
        self.call_us = call_us
        self.spent = 0.0
        self.calls = self.frames = 0
        self.sent: deque[c.SendCalls] = deque()
        self.seqs: dict[str, int] = {}
        self.links: dict[str, int] = {}
        self.now = 1_000
        self.submitted = 0
        node = Node("m", NodeKind.MAP, target="t", inputs={"x": Promise("", "xs")}, over=("x",), outputs=("o0",))
        environment = Environment("e", replica_count=replicas, min_replicas=replicas, ttl=1e9)
        graph = Graph((node,), {"o0": Promise("m", "o0")}, ("xs",))
        task = Task("f.t", "e", inputs=("x",), outputs=("o0",))
        self.program = Program("f.wf", "p", graph, {"t": task}, {"e": environment})
        self.digest = program_digest(self.program.pack())
        self.replicas, self.entries = replicas, entries

    def turn(self, *events: e.Event) -> None:
        turn = self.machine.apply(events, e.Moment(10**12 + self.now, self.now))
        for command in turn.do:
            if isinstance(command, c.StartReplica):
                self._connect(command)
            elif isinstance(command, c.SendCalls):
                self.sent.append(command)

    def _connect(self, command: c.StartReplica) -> None:
        self.links[command.replica] = len(self.links) + 1
        held = [
            {"loader": "m:load", "key": f"k{one}", "preview": f"model={one}", "bytes": 1, "load_ms": 500.0}
            for one in range(command.index, self.entries, self.replicas)
        ]
        facts = {"pool": command.replica.rsplit("-r", 1)[0], "index": command.index}
        hello = Hello(PROTOCOL, command.replica, command.generation, 0, [], [], [], held, facts)
        self.turn(e.ReplicaConnected(hello, self.links[command.replica]))

    def submit(self, keys: list[int]) -> None:
        self.submitted += 1
        submission = Submission(self.digest, {"xs": pack_list([pack(key) for key in keys])})
        self.turn(e.Submitted(self.submitted, f"wf-{self.submitted}", submission, self.program, None))

    def answer_all(self, learned: bool) -> None:
        """Replicas answer, in the order in which they were sent to, until the map has ended."""
        while self.sent:
            sent = self.sent.popleft()
            items, n = sent.items, len(sent.items)
            self.calls, self.frames = self.calls + n, self.frames + 1
            first: Any = items[0] if isinstance(items, range) else list(items)
            ends = array("I", range(1, n + 1)).tobytes()
            durations = array("I", (self.call_us,) * n).tobytes()
            status = bytes((Status.SUCCEEDED,)) * n
            told = [{"loader": "m:load", "key": "k0", "hits": n}] if learned else []
            outcomes = Outcomes(first, sent.attempts, status, ends, b"\xc0" * n, 0, bytes(4 * n), durations, {}, told)
            seq = self.seqs[sent.replica] = self.seqs.get(sent.replica, 0) + 1
            result = Result(seq, sent.execution, sent.node, b"")
            self.now += 1
            self.turn(e.ResultsCame(sent.replica, self.links[sent.replica], result, outcomes))

    def learn(self, entries: int) -> None:
        """What loads of these entries would have taught."""
        (pool,) = self.state.pools.values()
        for key in range(entries):
            told = {"loader": "m:load", "key": f"k{key}", "load_ms": 500.0, "provenance": [["model", ["x"], True]]}
            pool.learn("f.t", {"x": pack(key)}, told)

    def measure(self, keys: list[int], learned: bool) -> float:
        """Microseconds of placing a call of this map."""
        self.spent, self.calls, self.frames = 0.0, 0, 0
        schedule = placement.schedule

        def timed(*args: Any) -> None:
            began = time.thread_time()
            schedule(*args)
            self.spent += time.thread_time() - began

        machine_module.schedule = timed  # type: ignore[assignment]
        try:
            self.submit(keys)
            self.answer_all(learned)
        finally:
            machine_module.schedule = schedule
        assert self.calls == len(keys), f"{self.calls} of {len(keys)} calls were placed"
        return self.spent / self.calls * 1e6


def figures(options: argparse.Namespace, entries: int) -> dict[str, float]:
    """Best of several rounds on one warm pool."""
    bench = Bench(options.replicas, entries, options.call_us)
    chance = random.Random(1)
    bench.submit([0] * options.replicas)
    bench.answer_all(False)
    if entries:
        bench.learn(min(entries, options.learned))
    rounds = []
    for _ in range(options.repeat):
        keys = [chance.randrange(min(entries, options.learned)) if entries else 0 for _ in range(options.calls)]
        rounds.append(bench.measure(keys, bool(entries)))
    return {"us": round(min(rounds), 3), "calls_per_frame": round(bench.calls / bench.frames, 2)}


def main() -> int:
    """Measure and print; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicas", type=int, default=100)
    parser.add_argument("--entries", type=int, default=10_000)
    parser.add_argument("--learned", type=int, default=10_000, help="entries that calls want")
    parser.add_argument("--calls", type=int, default=100_000)
    parser.add_argument("--call-us", type=int, default=100, help="microseconds that a call takes")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    without, held = figures(options, 0), figures(options, options.entries)
    told = {
        "without_us": without["us"],
        "with_us": held["us"],
        "calls_per_frame": {"without": without["calls_per_frame"], "with": held["calls_per_frame"]},
        "bounds": BOUNDS,
        "setting": {k: v for k, v in vars(options).items() if k != "check"},
        "machine": this_machine(),
    }
    print(json.dumps(told))
    met = told["without_us"] <= BOUNDS["without_us"] and told["with_us"] <= BOUNDS["with_us"]
    return 0 if met or not options.check else 1


if __name__ == "__main__":
    sys.exit(main())
