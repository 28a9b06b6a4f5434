"""What the log costs: commits of single rows, and rows in batches with several batches under way.

Prints one JSON line. Every figure is with `synchronous=FULL`, read back from the database.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import threading
import time
from pathlib import Path

from greenroom_hub.store.rows import Batch, Row
from greenroom_hub.store.sqlite import SqliteStore


class Feeder:
    """Appends batches of rows, spread over a few streams, and waits for tickets."""

    def __init__(self, store: SqliteStore, position: int, size: int, streams: int) -> None:
        self.store, self.position, self.data = store, position, os.urandom(size)
        self.names = [f"bench-{number}" for number in range(streams)]
        self.seqs = [0] * streams
        self.turn = 0

    def batch(self, rows: int) -> Batch:
        stream = self.turn % len(self.names)
        self.turn += 1
        batch = Batch()
        for _ in range(rows):
            self.position += 1
            self.seqs[stream] += 1
            batch.rows.append(
                Row(self.position, self.names[stream], self.seqs[stream], 1_700_000_000_000, 4, self.data)
            )
        return batch

    def alone(self, count: int) -> list[float]:
        """One row at a time; microseconds from the append to the ticket, each."""
        taken = []
        for _ in range(count):
            batch, done = self.batch(1), threading.Event()
            began = time.perf_counter()
            self.store.append(batch).add_done_callback(lambda _, done=done: done.set())
            done.wait()
            taken.append((time.perf_counter() - began) * 1e6)
        return taken

    def flood(self, batches: int, rows: int, ahead: int) -> float:
        """Many batches with at most `ahead` under way; rows a second."""
        room = threading.Semaphore(ahead)
        ready = [self.batch(rows) for _ in range(batches)]
        began = time.perf_counter()
        for batch in ready:
            room.acquire()
            ticket = self.store.append(batch)
            ticket.add_done_callback(lambda _: room.release())
        ticket.wait()
        return batches * rows / (time.perf_counter() - began)


def bare(folder: Path, count: int = 300) -> float:
    """Microseconds of the disk alone: 8 KiB written over what is there, and fdatasync. What one row cannot beat."""
    taken = []
    with open(folder / "bare", "w+b", buffering=0) as file:
        file.write(bytes(8192))
        os.fsync(file.fileno())
        for _ in range(count):
            began = time.perf_counter()
            os.pwrite(file.fileno(), bytes(8192), 0)
            os.fdatasync(file.fileno())
            taken.append((time.perf_counter() - began) * 1e6)
    return statistics.median(taken)


def reads(store: SqliteStore, head: int, count: int) -> float:
    """Microseconds of a point read."""
    step = max(1, head // count)
    began = time.perf_counter()
    for position in range(1, count * step, step):
        store.row(position)
    return (time.perf_counter() - began) / count * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=200, help="bytes of a row's data")
    parser.add_argument("--rows", type=int, default=100, help="rows of a batch")
    parser.add_argument("--ahead", type=int, default=8, help="batches under way")
    parser.add_argument("--batches", type=int, default=2000)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=None, help="on the disk to measure; a temporary one otherwise")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        store = SqliteStore(Path(folder) / "hub.sqlite")
        head = store.open()
        feeder = Feeder(store, head.position, args.size, streams=4)
        feeder.alone(200)  # The WAL gets its length meanwhile.
        alone = sorted(taken for _ in range(args.repeat) for taken in feeder.alone(200))
        single = [feeder.flood(args.batches // 4, args.rows, 1) for _ in range(args.repeat)]
        flood = [feeder.flood(args.batches, args.rows, args.ahead) for _ in range(args.repeat)]
        stats, durable = store.stats, store.durability()
        figures = {
            "bench": "store",
            "synchronous": durable.synchronous,
            "library": durable.library,
            "row_bytes": args.size,
            "batch_rows": args.rows,
            "one_row_us": {"p50": round(statistics.median(alone)), "p99": round(alone[int(len(alone) * 0.99)])},
            "rows_per_s_one_batch_at_a_time": spread(single),
            f"rows_per_s_{args.ahead}_batches_ahead": spread(flood),
            "commits": stats.commits,
            "batches": stats.batches,
            "rows": stats.rows,
            "checkpoints_when_idle": stats.checkpoints,
            "disk_alone_us": round(bare(Path(folder))),
            "point_read_us": round(reads(store, feeder.position, 5000), 1),
        }
        store.close()
    print(json.dumps(figures))


def spread(values: list[float]) -> dict[str, int]:
    return {"median": round(statistics.median(values)), "min": round(min(values)), "max": round(max(values))}


if __name__ == "__main__":
    main()
