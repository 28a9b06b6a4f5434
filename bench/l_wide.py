"""L: a thousand replicas on one hub, simulated by a light client that speaks the protocol.

    python -m bench.l_wide --n 20000 --replicas 1000

`calls_s`: a map of calls that the simulated replicas answer at once, from its submission to its results. `gap_p99_ms`:
how long a replica that has ended a call of 90 ms waits for its next one while calls are there, at the calls a second
that `gap_calls_s` says: what dispatch costs, seen from the replica.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from bench import harness

CALL_S = 0.09


def main() -> None:
    """Measure and print."""
    options = harness.arguments(__doc__, n=20_000, replicas=1000, repeat=2)
    os.environ["BENCH_REPLICAS"] = str(options.replicas)
    figures: dict[str, Any] = {}
    with harness.own_hub() as hub, hub.client() as client:
        rates, told = _load(hub, client, options, 0.0)
        figures["calls_s"] = harness.spread(rates, 0)
        rates, told = _load(hub, client, options, CALL_S)
        figures["gap_calls_s"] = harness.spread(rates, 0)
        figures["gap_p50_ms"], figures["gap_p99_ms"] = round(told["gap_p50_ms"], 2), round(told["gap_p99_ms"], 2)
        harness.report("L", "a thousand replicas", options, figures, hub.about())


def _load(hub: harness.Hub, client: Any, options: Any, seconds: float) -> tuple[list[float], dict[str, Any]]:
    import wide

    from greenroom.operations import post

    name = f"light{int(seconds * 1000)}"
    body = {"name": name, "role": "replica", "environment": "wide", "project": ""}
    token = client.drive(post("/api/invites", body))["token"]
    socket = json.loads((hub.state / "hub.json").read_text())["socket"]
    words = [sys.executable, "-m", "bench.light", socket, token, name, str(options.replicas), str(seconds)]
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=harness.ROOT, env=hub.env
    ) as light:
        assert light.stdout is not None
        assert light.stdout.readline().strip() == "ready"
        harness.warm_up(client, wide.wf, options.replicas, "wide", ns=list(range(2 * options.replicas)))
        ns = list(range(options.n))
        with hub.profiled(options.profile, 30):
            runs = [harness.timed(lambda: client.run(wide.wf, ns=ns).result()) for _ in range(options.repeat)]
        assert all(value == ns for _, value in runs)
        told, _ = light.communicate("")
    return [options.n / taken for taken, _ in runs], json.loads(told)


if __name__ == "__main__":
    main()
