"""E: a chain of dependent nodes in one workflow, over one warm replica or several.

    python -m bench.e_chain --n 200

Milliseconds a step, from the submission of the workflow to its output: each step waits for the one before.
"""

from __future__ import annotations

import os

from bench import harness


def main() -> None:
    """Measure and print."""
    options = harness.arguments(__doc__, n=200, replicas=2, repeat=9)
    os.environ["BENCH_REPLICAS"] = str(options.replicas)
    os.environ["BENCH_STEPS"] = str(options.n)
    with harness.own_hub() as hub, hub.client() as client:
        import hello

        harness.warm_up(client, hello.nap_map, options.replicas, "bench", seconds=[0.2] * options.replicas)

        def chain() -> int:
            value: int = client.run(hello.chain, n=0).result()
            return value

        for _ in range(3):
            assert chain() == options.n
        with hub.profiled(options.profile):
            runs = [harness.timed(chain) for _ in range(options.repeat)]
        assert all(value == options.n for _, value in runs)
        figures = {"ms_per_step": harness.spread((seconds / options.n * 1000 for seconds, _ in runs), 3)}
        harness.report("E", "chain of dependent nodes", options, figures, hub.about())


if __name__ == "__main__":
    main()
