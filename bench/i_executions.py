"""I: many executions of a workflow of five nodes at once; and the same while 50 watchers follow.

    python -m bench.i_executions --n 1000

Nodes a second from the first submission until the last execution's result is in the client's hands. The client is one
process of 16 threads, the watchers are another process: each follows the events of executions, the newest that runs.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import time
from concurrent.futures import ThreadPoolExecutor

from bench import harness

NODES, WATCHERS, THREADS = 5, 50, 16


def main() -> None:
    """Measure and print."""
    options = harness.arguments(__doc__, n=1000, replicas=2, repeat=3)
    os.environ["BENCH_REPLICAS"] = str(options.replicas)
    with harness.own_hub() as hub, hub.client() as client:
        import hello

        harness.warm_up(client, hello.nap_map, options.replicas, "bench", seconds=[0.2] * options.replicas)

        def all_at_once(prefix: str) -> float:
            began = time.perf_counter()
            with ThreadPoolExecutor(THREADS) as threads:
                names = [f"{prefix}-{n}" for n in range(options.n)]
                running = list(
                    threads.map(lambda n: client.options(name=names[n]).run(hello.five, n=n), range(options.n))
                )
                values = list(threads.map(lambda execution: execution.result(), running))
            seconds = time.perf_counter() - began
            assert values == [2 * n + 5 for n in range(options.n)], values[:5]
            return options.n * NODES / seconds

        all_at_once("warm")
        alone, watched = [], []
        with hub.profiled(options.profile, 30):
            for turn in range(options.repeat):  # In turns, so that a busy machine falls on both.
                alone.append(all_at_once(f"alone{turn}"))
                watcher = multiprocessing.get_context("spawn").Process(
                    target=watch, args=(f"watched{turn}", options.n), daemon=True
                )
                watcher.start()
                time.sleep(1.5)
                watched.append(all_at_once(f"watched{turn}"))
                watcher.kill()
                watcher.join()
        figures = {
            "nodes_s": harness.spread(alone, 0),
            "nodes_s_watched": harness.spread(watched, 0),
            "watchers_cost": harness.spread(
                (1 - with_them / without for without, with_them in zip(alone, watched, strict=True)), 3
            ),
        }
        harness.report("I", "executions of five nodes", options, figures, hub.about())


def watch(prefix: str, n: int) -> None:
    """Follow executions with 50 connections, each the next one that nobody follows yet."""
    asyncio.run(_watch(prefix, n))


async def _watch(prefix: str, n: int) -> None:
    from greenroom.client import AsyncClient
    from greenroom.hub_errors import HubError

    names = iter([f"{prefix}-{place}" for place in range(n)])
    client = AsyncClient("local")

    async def one() -> None:
        for name in names:
            while True:
                try:
                    async for _ in client.follow(name):
                        pass
                    break
                except HubError:
                    await asyncio.sleep(0.2)  # It has not been submitted yet.

    await asyncio.gather(*(one() for _ in range(WATCHERS)))


if __name__ == "__main__":
    main()
