"""K: the hub and half of its replicas are killed with 100,000 items open.

    python -m bench.k_restart --n 100000 --replicas 8

Seconds from the client's next request, which starts the next hub, until the first item that ended after it, and until
the execution has ended; every result is compared, and every item is recorded once.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import harness


def main() -> None:
    """Measure and print."""
    options = harness.arguments(__doc__, n=100_000, replicas=8, repeat=1)
    os.environ["BENCH_REPLICAS"] = str(options.replicas)
    placed, ended = [], []
    for _ in range(options.repeat):
        with harness.own_hub() as hub, hub.client() as client:
            folder = tempfile.mkdtemp(prefix="greenroom-gate-", dir=Path.home())  # A call's /tmp is its own.
            gate = Path(folder) / "open"
            os.environ["BENCH_GATE"] = str(gate)
            import gated

            first, last = _once(hub, client, gated, gate, options)
            about = hub.about()
            shutil.rmtree(gate.parent)
        placed.append(first)
        ended.append(last)
    figures = {"first_placement_s": harness.spread(placed, 3), "all_ended_s": harness.spread(ended, 3)}
    harness.report("K", "restart with open items", options, figures, about)


def _once(hub: harness.Hub, client: Any, gated: Any, gate: Any, options: Any) -> tuple[float, float]:
    harness.warm_up(client, gated.naps, options.replicas, "gated", seconds=[0.2] * options.replicas)
    execution = client.run(gated.wf, ns=list(range(options.n)))
    time.sleep(1.0)  # All replicas hold calls that wait.
    runners = _replicas(client)
    os.kill(hub.processes()["hub"][0], signal.SIGKILL)
    for pid in runners[: options.replicas // 2]:
        os.kill(pid, signal.SIGKILL)
    gate.touch()
    began, wall = time.perf_counter(), time.time()
    values = execution.result()  # Its request starts the next hub.
    last = time.perf_counter() - began
    assert values == [n + 1 for n in range(options.n)]
    first = min(event["at"] for event in client.follower(execution.id)
                if event["kind"] == "calls_finished" and event["at"] > wall)  # fmt: skip
    items = sum(event.get("count") or len(event.get("items") or ()) for event in client.follower(execution.id)
                if event["kind"] == "calls_finished")  # fmt: skip
    assert items == options.n, items
    return first - wall, last


def _replicas(client: Any) -> list[int]:
    return [
        replica["pid"] for told in client.replicas() if told["environment"] == "gated" for replica in told["replicas"]
    ]


if __name__ == "__main__":
    main()
