"""C: one call at a time through the hub, by a client in a process of its own, over warm replicas.

    python -m bench.c_one_call --n 2000

Milliseconds from `client.run(task, ...)` to the value that `.result()` gives, each; every call is an execution of its
own, its submission and its result on disk before the client has them.
"""

from __future__ import annotations

import os
import time
from typing import Any

from bench import harness


def main() -> None:
    """Measure and print."""
    options = harness.arguments(__doc__, n=1000, replicas=2, repeat=5)
    os.environ["BENCH_REPLICAS"] = str(options.replicas)
    with harness.own_hub() as hub, hub.client() as client:
        import hello

        harness.warm_up(client, hello.nap_map, options.replicas, "bench", seconds=[0.2] * options.replicas)

        def once(n: int) -> float:
            began = time.perf_counter()
            assert client.run(hello.hello, n=n).result() == n + 1
            return (time.perf_counter() - began) * 1000

        for n in range(200):
            once(n)
        with hub.profiled(options.profile):
            runs = [[once(n) for n in range(options.n)] for _ in range(options.repeat)]
        harness.report("C", "one call at a time", options, figures_of(runs), hub.about())


def figures_of(runs: list[list[float]]) -> dict[str, Any]:
    """Median and 99th percentile of each repetition."""
    return {
        "p50_ms": harness.spread((harness.percentile(run, 0.50) for run in runs), 3),
        "p99_ms": harness.spread((harness.percentile(run, 0.99) for run in runs), 3),
    }


if __name__ == "__main__":
    main()
