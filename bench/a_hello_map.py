"""A: a map of the smallest call over warm replicas, by a client in a process of its own.

    python -m bench.a_hello_map --n 20000 --replicas 2

Measured from the submission of the list to the list of results in the client's hands, as a `map` node of a workflow
(`node_calls_s`) and by `Client.map` (`map_calls_s`); calls a second. Commits and frames are counted beside.
"""

from __future__ import annotations

import os
import time
from typing import Any

from bench import harness


def main() -> None:
    """Measure and print."""
    options = harness.arguments(__doc__, n=20_000, replicas=2, repeat=5)
    os.environ["BENCH_REPLICAS"] = str(options.replicas)
    with harness.own_hub() as hub, hub.client() as client:
        import hello

        harness.warm_up(client, hello.nap_map, options.replicas, "bench", seconds=[0.2] * options.replicas)
        expected = [n + 1 for n in range(options.n)]

        def node() -> Any:
            return client.run(hello.hello_map, ns=list(range(options.n))).result()

        def mapped() -> Any:
            return list(client.map(hello.hello, range(options.n)))

        for _ in range(2):
            assert node() == expected
            assert mapped() == expected
        before, cpu, began = hub.about(), hub.cpu(), time.perf_counter()
        with hub.profiled(options.profile):
            runs = [harness.timed(node) for _ in range(options.repeat)]
        wall = time.perf_counter() - began
        after, spent = hub.about(), hub.cpu()
        streamed = [harness.timed(mapped) for _ in range(options.repeat)]
        assert all(value == expected for _, value in [*runs, *streamed])
        calls = options.n * options.repeat
        figures = {
            "node_calls_s": harness.spread(options.n / seconds for seconds, _ in runs),
            "map_calls_s": harness.spread(options.n / seconds for seconds, _ in streamed),
            "commits_per_1000": round((after["store"]["commits"] - before["store"]["commits"]) / calls * 1000, 2),
            "frames_per_1000": round(
                sum(after["frames"][way] - before["frames"][way] for way in ("in", "out")) / calls * 1000, 2
            ),
            "cpu_us_per_call": {part: round((spent[part] - cpu[part]) / calls * 1e6, 2) for part in spent},
            "cpu_share": round(sum(spent[part] - cpu[part] for part in spent) / wall / (os.cpu_count() or 1), 2),
        }
        harness.report("A", "hello map", options, figures, after)


if __name__ == "__main__":
    main()
