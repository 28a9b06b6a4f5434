"""H: a map of a million items, its results read back and compared.

    python -m bench.h_million --n 1000000

Items a second from the submission to the last compared result, as a `map` node of a workflow and by `Client.map`, which
gives results while others run; megabytes (10**6) by which the hub's RSS grew at most, sampled ten times a second;
seconds to the first result; and the cost of an item at `--n` over that at 10,000 (a warm run of 10,000 before it).
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from bench import harness

SMALL = 10_000


def main() -> None:
    """Measure and print."""
    options = harness.arguments(__doc__, n=1_000_000, replicas=2, repeat=1)
    os.environ["BENCH_REPLICAS"] = str(options.replicas)
    with harness.own_hub() as hub, hub.client() as client:
        import hello

        harness.warm_up(client, hello.nap_map, options.replicas, "bench", seconds=[0.2] * options.replicas)

        def node(n: int) -> Iterable[int]:
            return client.run(hello.hello_map, ns=list(range(n))).stream()

        def mapped(n: int) -> Iterable[int]:
            return client.map(hello.hello, range(n))

        ways: dict[str, Callable[[int], Iterable[int]]] = {"node": node}
        if hasattr(client, "map"):
            ways["map"] = mapped
        figures: dict[str, Any] = {}
        for name, way in ways.items():
            figures.update(_measured(name, way, hub, options))
        harness.report("H", "a million items", options, figures, hub.about())


def _measured(name: str, way: Callable[[int], Iterable[int]], hub: harness.Hub, options: Any) -> dict[str, Any]:
    for _ in range(3):
        _compared(way, SMALL)
    small = harness.spread((SMALL / _compared(way, SMALL)[0] for _ in range(5)), 0)
    watch = RssWatch(hub.processes()["hub"][0])
    with watch, hub.profiled(options.profile, 60):
        runs = [_compared(way, options.n) for _ in range(options.repeat)]
    rates = harness.spread((options.n / seconds for seconds, _ in runs), 0)
    return {
        f"{name}_items_s": rates,
        f"{name}_items_s_at_{SMALL}": small,
        f"{name}_cost_ratio": round(small["median"] / rates["median"], 3),
        f"{name}_first_s": harness.spread((first for _, first in runs), 3),
        f"{name}_hub_grew_mb": round(watch.grew / 1e6, 1),
    }


def _compared(way: Callable[[int], Iterable[int]], n: int) -> tuple[float, float]:
    """Seconds to the last result and to the first; each result is compared."""
    began = first = time.perf_counter()
    seen = 0
    for value in way(n):
        seen += 1
        if seen == 1:
            first = time.perf_counter()
        assert value == seen, (value, seen)
    assert seen == n
    return time.perf_counter() - began, first - began


class RssWatch:
    """The most that a process's RSS grew while something ran."""

    def __init__(self, pid: int) -> None:
        self._pid, self._over = pid, threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._before = harness.memory_of(pid)["rss"]
        self.grew = 0

    def _look(self) -> None:
        while not self._over.wait(0.1):
            self.grew = max(self.grew, harness.memory_of(self._pid)["rss"] - self._before)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


if __name__ == "__main__":
    main()
