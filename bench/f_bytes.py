"""F: 1 MiB in and 1 MiB out of each call, over warm replicas.

    python -m bench.f_bytes --n 200

Megabytes (10**6) a second, both ways counted, from the submission of the list to the list of results in the client's
hands. Every payload differs, so that nothing is saved by keeping equal bytes once; what is large lies in files on the
disk, inputs and outputs alike. `disk_mb_s`: files of 1 MiB written by this process on the same disk, each synced.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from bench import harness

SIZE = 1 << 20


def main() -> None:
    """Measure and print."""
    options = harness.arguments(__doc__, n=100, replicas=2, repeat=5)
    os.environ["BENCH_REPLICAS"] = str(options.replicas)
    with harness.own_hub() as hub, hub.client() as client:
        import hello

        harness.warm_up(client, hello.nap_map, options.replicas, "bench", seconds=[0.2] * options.replicas)
        runs, disk = [], []
        for _ in range(options.repeat + 1):
            data = [os.urandom(SIZE) for _ in range(options.n)]
            seconds, value = harness.timed(lambda data=data: client.run(hello.echo_map, data=data).result())
            assert value == data
            runs.append(2 * options.n * SIZE / 1e6 / seconds)
            disk.append(disk_alone(hub.folder, data))
        figures = {"mb_s": harness.spread(runs[1:]), "disk_mb_s": harness.spread(disk[1:])}
        harness.report("F", "1 MiB in, 1 MiB out", options, figures, hub.about())


def disk_alone(folder: Path, data: list[bytes]) -> float:
    """Megabytes a second that this disk takes in files, each synced."""
    began = time.perf_counter()
    for place, body in enumerate(data):
        with open(folder / f"disk-{place}", "wb", buffering=0) as file:
            file.write(body)
            os.fsync(file.fileno())
    took = time.perf_counter() - began
    for place in range(len(data)):
        os.unlink(folder / f"disk-{place}")
    return len(data) * SIZE / 1e6 / took


if __name__ == "__main__":
    main()
