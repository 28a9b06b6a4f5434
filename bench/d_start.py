"""D: how soon the first result is there, and how soon all replicas are.

    python -m bench.d_start --replicas 25 --repeat 5

Milliseconds. With a hub that runs and an environment that has no replica: from `client.run(task)` to its value with one
replica, and from the submission of a map until all `--replicas` have said hello. By wall clock, the whole command
`greenroom run FILE TASK`: with no hub at all, then warm, then warm for a file that imports pandas and scikit-learn.
"""

from __future__ import annotations

import os
import subprocess
import time
from typing import Any

from bench import harness


def main() -> None:
    """Measure and print."""
    options = harness.arguments(__doc__, n=1, replicas=25, repeat=5)
    os.environ["BENCH_REPLICAS"] = str(options.replicas)
    os.environ["BENCH_POOLS"] = str(options.repeat)
    figures: dict[str, Any] = {}
    with harness.own_hub() as hub, hub.client() as client:
        import cold

        firsts = [_first(client, cold.ones[place]) for place in range(options.repeat)]
        figures["first_pool_ms"] = round(firsts[0], 1)  # The hub has started no process before: its zygote comes too.
        figures["one_replica_ms"] = harness.spread(firsts[1:])
        many = [_all_connected(client, cold.manys[place], f"many-{place}", options.replicas)
                for place in range(options.repeat)]  # fmt: skip
        figures["all_connected_ms"] = harness.spread(connected for connected, _ in many)
        figures["all_first_result_ms"] = harness.spread(first for _, first in many)
        figures["run_warm_ms"] = harness.spread(_commands(hub, "hello_file.py", options.repeat + 2)[2:])
        figures["run_pandas_ms"] = harness.spread(_commands(hub, "pandas_file.py", options.repeat + 2)[2:])
        about = hub.about()
    nothing = []
    for _ in range(min(3, options.repeat)):
        with harness.own_hub() as hub:
            nothing += _commands(hub, "hello_file.py", 1)
    figures["run_from_nothing_ms"] = harness.spread(nothing)
    harness.report("D", "start", options, figures, about)


def _first(client: Any, task: Any) -> float:
    began = time.perf_counter()
    assert client.run(task, n=1).result() == 2
    return (time.perf_counter() - began) * 1000


def _all_connected(client: Any, workflow: Any, environment: str, replicas: int) -> tuple[float, float]:
    """Until all replicas are ready, as the hub tells it to who asks every few milliseconds; until the first result."""
    began = time.perf_counter()
    execution = client.run(workflow, seconds=[0.3] * replicas)
    while harness.ready(client, environment) < replicas:
        time.sleep(0.005)
    connected = (time.perf_counter() - began) * 1000
    execution.result()
    first = next(event for event in client.follower(execution.id) if event["kind"] == "calls_finished")
    submitted = next(iter(client.follower(execution.id)))
    while submitted["kind"] != "execution_submitted":
        raise SystemExit(f"the log begins with {submitted['kind']}")
    return connected, (first["at"] - submitted["at"]) * 1000 - 300


def _commands(hub: harness.Hub, file: str, times: int) -> list[float]:
    """Wall clock of the command, milliseconds each."""
    taken = []
    for n in range(times):
        began = time.perf_counter()
        done = subprocess.run(
            hub.command("run", file, "hello", "--n", str(n)), env=hub.env, cwd=hub.work, capture_output=True, text=True
        )
        taken.append((time.perf_counter() - began) * 1000)
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == str(n + 1), done.stdout
    return taken


if __name__ == "__main__":
    main()
