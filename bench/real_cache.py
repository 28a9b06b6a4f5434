"""Placement by warmth on a real pool, beside the simulator with the same parameters and the same calls.

    python -m bench.real_cache [--check]

4 warm replicas with room for 4 models each (`max_entries=4`), 48 models, Zipf 1.0, 1,000 calls; a load sleeps for
50 ms, a call works for 0.5 ms. Loads are counted from the events of the executions. Random routing is the simulator's.

The calls come as one map, so that nothing depends on how fast this machine takes submissions. `--bursts` has them
arrive in bursts of 20, when the simulator's do: a machine that is slower than the simulator's ideal one gathers more of
them, sorts more of them, and loads less often.

Prints one JSON line. With `--check`, exit code 1 if the hit ratio differs from the simulator's by more than 5 points,
or random routing has not 2.5 times as many loads.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from bench import cache_affinity as simulator
from bench import harness

CALLS = 1_000
BURST = 20
BOUNDS = {"points": 5.0, "times_fewer_than_random": 2.5}


def main() -> int:
    """Measure and print; the exit code."""
    check, in_bursts = "--check" in sys.argv, "--bursts" in sys.argv
    sys.argv = [word for word in sys.argv if word not in ("--check", "--bursts")]
    options = harness.arguments(__doc__, n=CALLS, replicas=4, repeat=1)
    setting = simulator.Setting(4, 4, 48, 1.0, options.n, 0.05, 0.0005, 0.7, BURST if in_bursts else 0, 1)
    keys = simulator.keys_of(setting)
    bursts = simulator.arrivals(setting, keys, simulator.belady(keys, setting.replicas * setting.room))
    told = simulator.report(setting, ["random", "ours"])
    with harness.own_hub() as hub, hub.client() as client:
        import cache_flow as flow  # Lies in the hub's folder, which has been put on the path.

        harness.warm_up(client, flow.naps, setting.replicas, "models", seconds=[0.2] * setting.replicas)
        loads, hits = _run(client, flow, bursts)
        ratio = 1 - loads / len(keys)
        figures = {
            "hit_ratio": round(ratio, 4),
            "loads": loads,
            "hits_and_waits": hits,
            "simulated": told["ours"],
            "random": told["random"],
            "bound": told["bound"],
            "points_from_simulator": round(100 * abs(ratio - told["ours"]["hit_ratio"]), 2),
            "times_fewer_than_random": round(told["random"]["loads"] / loads, 2),
        }
        met = {
            "points": figures["points_from_simulator"] <= BOUNDS["points"],
            "times": figures["times_fewer_than_random"] >= BOUNDS["times_fewer_than_random"],
        }
        harness.report("real_cache", "a real pool", options, {**figures, "bounds": BOUNDS, "met": met}, hub.about())
    return 1 if check and not all(met.values()) else 0


def _run(client: Any, flow: Any, bursts: list[tuple[float, list[int]]]) -> tuple[int, int]:
    """Submit each burst when it arrives; loads, and calls that found their model."""
    began, running = time.monotonic(), []
    for at, keys in bursts:
        time.sleep(max(0.0, began + at - time.monotonic()))
        running.append((client.run(flow.asks, keys=keys), keys))
    loads = hits = 0
    for execution, keys in running:
        assert execution.result(timeout=60) == keys
        for event in execution.events():
            for told in event.get("cache") or ():
                loads += int(told.get("misses") or 0)
                hits += int(told.get("hits") or 0) + int(told.get("waits") or 0)
    return loads, hits


if __name__ == "__main__":
    sys.exit(main())
