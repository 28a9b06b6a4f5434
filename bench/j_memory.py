"""J: memory of a hub that idles, and of warm process replicas, their zygote included.

    python -m bench.j_memory --replicas 100

Megabytes (10**6) of PSS: shared pages are counted by share. A replica is its supervisor and its runner; the memory of
the zygote and of templates is shared out over all replicas.
"""

from __future__ import annotations

import os

from bench import harness


def main() -> None:
    """Measure and print."""
    options = harness.arguments(__doc__, n=2000, replicas=100, repeat=1)
    os.environ["BENCH_REPLICAS"] = str(options.replicas)
    with harness.own_hub() as hub, hub.client() as client:
        idle = _pss(hub, "hub")
        import hello

        harness.warm_up(client, hello.nap_map, options.replicas, "bench", seconds=[0.2] * options.replicas)
        warm = _pss(hub, "replicas") / options.replicas
        assert client.run(hello.hello_map, ns=list(range(options.n))).result() == list(range(1, options.n + 1))
        used = _pss(hub, "replicas") / options.replicas
        figures = {
            "hub_idle_mb": round(idle, 1),
            "replica_mb": round(warm, 2),
            "replica_mb_after_calls": round(used, 2),
            "hub_mb_after_calls": round(_pss(hub, "hub"), 1),
        }
        harness.report("J", "memory", options, figures, hub.about())


def _pss(hub: harness.Hub, part: str) -> float:
    return sum(harness.memory_of(pid)["pss"] for pid in hub.processes()[part]) / 1e6


if __name__ == "__main__":
    main()
