"""What a call costs in a runner: decode one int, call, encode, bookkeeping; with the reset, and without.

    python bench/runner_loop.py [--calls 20000] [--profile]

One runner is forked and fed with full batches by this process, so that neither a supervisor nor a hub is in the way.
Prints one line of JSON: microseconds of the runner's processor time a call, median of the batches.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from array import array
from typing import Any

import cloudpickle

from greenroom_core.values import pack
from greenroom_protocol.calls import Definition, digest_of
from greenroom_protocol.frames import Assign
from greenroom_replica import runner
from greenroom_replica.config import ReplicaConfig
from greenroom_replica.core import talk
from greenroom_replica.core.slots import Batch
from greenroom_replica.handle import RunnerHandle
from greenroom_replica.runner_setup import RunnerSettings

BATCH = 500


def hello(n: int) -> int:
    """The smallest task."""
    return n + 1


def definition(isolation: str) -> Definition:
    """The task as a notebook would send it."""
    import sys

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    return Definition(
        "bench.hello", "bench", None, "__main__", "hello", cloudpickle.dumps(hello), ["n"], {}, ["o0"], isolation, 1,
        None, {}, {}, {},
    )  # fmt: skip


class Feeder:
    """One runner, fed directly."""

    def __init__(self, folder: str, profile: bool) -> None:
        config = ReplicaConfig(
            "bench", 1, "bench", "http://127.0.0.1:1", "", folder, blobs=os.path.join(folder, "blobs")
        )
        self.handle = RunnerHandle(1, "warm")
        self.handle.sock.settimeout(0.01)
        settings = RunnerSettings(config, 1, "warm").to_wire()
        descriptors = self.handle.descriptors()
        self.pid = os.fork()
        if self.pid == 0:
            self.handle.sock.close()
            _run(settings, descriptors, profile)
        self.handle.sent()
        self.stream = talk.Stream()

    def batch(self, defined: Definition, body: bytes, calls: int) -> float:
        """Run a batch; microseconds of the runner's processor time a call."""
        payloads = [pack(n) for n in range(calls)]
        ends = array("Q", (sum(map(len, payloads[: n + 1])) for n in range(calls)))
        assign = Assign(digest_of(body), "e", "n", 0, 1, 0, ends.tobytes(), b"".join(payloads), {})
        self.handle.give(Batch(assign), 0, calls, body)
        before, seen = self._cpu(), 0
        while seen < calls:
            harvest = self.handle.page.take()
            if harvest is None:
                self._wait()
                continue
            assert set(harvest.statuses) == {0}, harvest.payload[:500]
            seen += len(harvest.serials)
        for serial in range(self.handle.hand.next_serial - calls, self.handle.hand.next_serial):
            self.handle.hand.ended(serial)
        return (self._cpu() - before) / calls * 1e6

    def _wait(self) -> None:
        """Until the runner says something, or a moment: it wakes nobody for outcomes that follow others."""
        try:
            self.stream.feed(self.handle.sock.recv(1 << 16))
        except TimeoutError:
            pass

    def _cpu(self) -> float:
        """Seconds of processor time of the runner: other work on the machine does not count."""
        return time.clock_gettime((~self.pid << 3) | 2)

    def close(self) -> None:
        """End the runner."""
        self.handle.tell(talk.Leave("done"))
        os.waitpid(self.pid, 0)
        self.handle.close()


def _run(settings: dict[str, Any], descriptors: list[int], profile: bool) -> None:
    terminal = os.dup(2)
    if profile:
        import cProfile
        import pstats

        measured = cProfile.Profile()
        measured.runcall(runner.main, settings, descriptors)
        with os.fdopen(terminal, "w") as out:
            pstats.Stats(measured, stream=out).sort_stats("tottime").print_stats(35)
    else:
        runner.main(settings, descriptors)
    os._exit(0)


def measure(isolation: str, calls: int, profile: bool) -> float:
    """Microseconds a call, median of the batches."""
    with tempfile.TemporaryDirectory() as folder:
        feeder = Feeder(folder, profile)
        defined = definition(isolation)
        body = defined.pack()
        feeder.batch(defined, body, 10)
        costs = [feeder.batch(defined, body, BATCH) for _ in range(max(1, calls // BATCH))]
        feeder.close()
    return statistics.median(costs)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--profile", action="store_true", help="print where the time goes, which takes longer")
    options = parser.parse_args()
    figures = {
        isolation: round(measure(isolation, options.calls, options.profile), 2) for isolation in ("none", "reset")
    }
    print(
        json.dumps(
            {
                "workload": "runner_loop",
                "unit": "us/call",
                "reset_costs": round(figures["reset"] - figures["none"], 2),
                **figures,
            }
        )
    )


if __name__ == "__main__":
    main()
