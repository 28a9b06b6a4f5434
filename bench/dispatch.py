"""Dispatch: what the way to a warm replica and back costs, and whether waiting calls leave a replica idle.

    python -m bench.dispatch [--check]

Two maps, submitted by a client in a process of its own, on a hub with all its defaults: 20,000 calls of a function
that adds one, over 2 warm replicas, with every result on disk before the client has it; and 200 calls that sleep for
1 s over 50 warm replicas, whose ideal is 4.0 s. Prints one JSON line. With `--check`, exit code 1 if a bound is missed.
"""

from __future__ import annotations

import sys
from typing import Any

from bench import harness

SLEEPERS, NAPS = 50, 200
BOUNDS = {"calls_s": 15_000, "commits_per_call": 1 / 20, "frames_per_call": 1 / 10, "sleep_map_s": 4.2}
"""At least so many calls a second; at most so much of the others."""


def main() -> int:
    """Measure and print; the exit code."""
    check = "--check" in sys.argv
    sys.argv = [word for word in sys.argv if word != "--check"]
    options = harness.arguments(__doc__, n=20_000, replicas=2, repeat=5)
    with harness.own_hub() as hub, hub.client() as client:
        import dispatch_flow as flow  # Lies in the hub's folder, which has been put on the path.

        figures = {**_hellos(hub, client, flow, options), **_sleeps(client, flow, options)}
        met = _met(figures)
        harness.report(
            "dispatch", "hello map and sleep map", options, {**figures, "bounds": BOUNDS, "met": met}, hub.about()
        )
    return 1 if check and not all(met.values()) else 0


def _hellos(hub: harness.Hub, client: Any, flow: Any, options: Any) -> dict[str, Any]:
    def run() -> None:
        assert client.run(flow.hellos, ns=list(range(options.n))).result() == list(range(1, options.n + 1))

    harness.warm_up(client, flow.hellos, options.replicas, "short", ns=list(range(200)))
    run()
    before = hub.about()
    runs = [harness.timed(run)[0] for _ in range(options.repeat)]
    after, calls = hub.about(), options.n * options.repeat
    frames = sum(after["frames"][way] - before["frames"][way] for way in ("in", "out"))
    return {
        "calls_s": harness.spread(options.n / seconds for seconds in runs),
        "commits_per_call": round((after["store"]["commits"] - before["store"]["commits"]) / calls, 5),
        "frames_per_call": round(frames / calls, 5),
    }


def _sleeps(client: Any, flow: Any, options: Any) -> dict[str, Any]:
    harness.warm_up(client, flow.sleeps, SLEEPERS, "sleepers", seconds=[0.2] * SLEEPERS)
    rounds = min(3, options.repeat)
    runs = [harness.timed(lambda: client.run(flow.sleeps, seconds=[1.0] * NAPS).result())[0] for _ in range(rounds)]
    return {"sleep_map_s": harness.spread(runs, digits=3), "sleep_map_ideal_s": NAPS / SLEEPERS}


def _met(figures: dict[str, Any]) -> dict[str, bool]:
    return {
        "calls_s": figures["calls_s"]["median"] >= BOUNDS["calls_s"],
        "commits_per_call": figures["commits_per_call"] <= BOUNDS["commits_per_call"],
        "frames_per_call": figures["frames_per_call"] <= BOUNDS["frames_per_call"],
        "sleep_map_s": figures["sleep_map_s"]["median"] <= BOUNDS["sleep_map_s"],
    }


if __name__ == "__main__":
    sys.exit(main())
