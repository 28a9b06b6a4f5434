"""What all peers share: the same arguments, workloads and line of JSON as ours. Only the standard library is needed.

A peer gives `map(task, items)`, which returns all results in order, and `call(task, item)`, which waits for one; tasks
are those of `bench.peers.work`, by name. Workloads are driven here, so that every system does the same.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Iterable
from importlib import metadata
from typing import Any, Protocol

from bench.measures import machine, percentile, spread, write_line

SIZE = 1 << 20


class Peer(Protocol):
    """One system with warm workers."""

    name: str
    durable: bool
    """Whether what was acknowledged survives a crash of the system, as it is run here."""
    packages: tuple[str, ...]

    def open(self, workers: int) -> None:
        """Start, with so many workers."""

    def map(self, task: str, items: list[Any]) -> list[Any]:
        """Run a task for each item; all results, in order."""

    def call(self, task: str, item: Any) -> Any:
        """Run one task and wait for it."""

    def close(self) -> None:
        """End everything that was started."""


def main(peer: Peer) -> None:
    """Run one workload on a peer, and print its line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workload", choices=sorted(WORKLOADS))
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--out")
    options = parser.parse_args()
    began = time.perf_counter()
    peer.open(options.replicas)
    try:
        peer.map("nap", [0.1] * 2 * options.replicas)
        opened = time.perf_counter() - began
        figures = WORKLOADS[options.workload](peer, options)
    finally:
        peer.close()
    line = {
        "workload": options.workload,
        "system": peer.name,
        "n": options.n,
        "replicas": options.replicas,
        "repeat": options.repeat,
        "figures": {**figures, "ready_s": round(opened, 2)},
        "durable": peer.durable,
        "versions": {"python": sys.version.split()[0], **_versions(peer.packages)},
        "machine": machine(),
        "at": round(time.time()),
    }
    write_line(line, options.out)
    sys.stdout.flush()
    os._exit(0)  # Some of these leave threads behind that never end.


def _versions(packages: Iterable[str]) -> dict[str, str]:
    told = {}
    for name in packages:
        try:
            told[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            pass
    return told


def _hello_map(peer: Peer, options: Any) -> dict[str, Any]:
    items, expected = list(range(options.n)), [n + 1 for n in range(options.n)]
    peer.map("hello", items[: options.n // 4])
    rates = []
    for _ in range(options.repeat):
        began = time.perf_counter()
        values = peer.map("hello", items)
        rates.append(options.n / (time.perf_counter() - began))
        assert list(values) == expected
    return {"calls_s": spread(rates)}


def _one_call(peer: Peer, options: Any) -> dict[str, Any]:
    def once(n: int) -> float:
        began = time.perf_counter()
        assert peer.call("hello", n) == n + 1
        return (time.perf_counter() - began) * 1000

    for n in range(min(100, options.n)):
        once(n)
    runs = [[once(n) for n in range(options.n)] for _ in range(options.repeat)]
    return {
        "p50_ms": spread((statistics.median(run) for run in runs), 3),
        "p99_ms": spread((percentile(run, 0.99) for run in runs), 3),
    }


def _chain(peer: Peer, options: Any) -> dict[str, Any]:
    def chain() -> float:
        began, value = time.perf_counter(), 0
        for _ in range(options.n):
            value = peer.call("hello", value)
        assert value == options.n
        return (time.perf_counter() - began) / options.n * 1000

    chain()
    return {"ms_per_step": spread((chain() for _ in range(options.repeat)), 3)}


def _bytes(peer: Peer, options: Any) -> dict[str, Any]:
    rates = []
    for _ in range(options.repeat + 1):
        data = [os.urandom(SIZE) for _ in range(options.n)]
        began = time.perf_counter()
        values = peer.map("echo", data)
        rates.append(2 * options.n * SIZE / 1e6 / (time.perf_counter() - began))
        assert list(values) == data
    return {"mb_s": spread(rates[1:])}


WORKLOADS = {"A": _hello_map, "C": _one_call, "E": _chain, "F": _bytes}
