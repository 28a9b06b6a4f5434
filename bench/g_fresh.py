"""G: a regular task, each call in a fresh runner, two at a time.

    python -m bench.g_fresh --n 1000

Milliseconds a call: the wall clock of the whole map divided by its calls.
"""

from __future__ import annotations

from bench import harness


def main() -> None:
    """Measure and print."""
    options = harness.arguments(__doc__, n=1000, replicas=2, repeat=3)
    with harness.own_hub() as hub, hub.client() as client:
        import hello

        def run(n: int) -> list[int]:
            value: list[int] = client.run(hello.fresh_map, ns=list(range(n))).result()
            return value

        run(20)
        expected = [n + 1 for n in range(options.n)]
        with hub.profiled(options.profile):
            runs = [harness.timed(lambda: run(options.n)) for _ in range(options.repeat)]
        assert all(value == expected for _, value in runs)
        figures = {"ms_each": harness.spread((seconds / options.n * 1000 for seconds, _ in runs), 3)}
        harness.report("G", "a fresh runner each", options, figures, hub.about())


if __name__ == "__main__":
    main()
