"""B: the two benchmarks of the Actors document, the pool cold: hello over 25 replicas, a 5 s sleep over 100.

    python -m bench.b_document --n 1000

Seconds from the submission of the map to the results, with no replica of the environment alive before it: their start
is in it. `--replicas` is that of hello; the sleep has four times as many.
"""

from __future__ import annotations

import os

from bench import harness

SLEEP_S = 5.0


def main() -> None:
    """Measure and print."""
    options = harness.arguments(__doc__, n=1000, replicas=25, repeat=1)
    os.environ["BENCH_REPLICAS"] = str(options.replicas)
    hellos, sleeps = [], []
    for _ in range(options.repeat):
        with harness.own_hub() as hub, hub.client() as client:
            import document

            harness.warm_up(client, document.other, 1, "other", n=1)  # The hub and its first process stand.
            expected = [n + 1 for n in range(options.n)]
            seconds, value = harness.timed(lambda: client.run(document.hellos, ns=list(range(options.n))).result())
            assert value == expected
            hellos.append(seconds)
            naps = [SLEEP_S] * options.n
            seconds, value = harness.timed(lambda naps=naps: client.run(document.sleeps, seconds=naps).result())
            assert value == naps
            sleeps.append(seconds)
            about = hub.about()
    figures = {
        "hello_s": harness.spread(hellos, 3),
        "sleep_s": harness.spread(sleeps, 3),
        "sleep_ideal_s": SLEEP_S * options.n / (4 * options.replicas),
    }
    harness.report("B", "the document's benchmarks, cold", options, figures, about)


if __name__ == "__main__":
    main()
