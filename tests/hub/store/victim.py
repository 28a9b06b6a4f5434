"""A process that writes a log until it is killed. Says on stdout which positions are on disk."""

from __future__ import annotations

import hashlib
import os
import random
import sys

from greenroom_hub.store.rows import Batch, Row
from greenroom_hub.store.sqlite import SqliteStore
from greenroom_hub.store.ticket import Ticket


def data_of(position: int) -> bytes:
    """What the row at a position holds: known to who looks for it after the crash."""
    seed = hashlib.sha256(str(position).encode()).digest()
    return seed * (1 + seed[0] % (400 if seed[1] < 8 else 4))


def stream_of(position: int) -> str:
    """Which stream the row at a position belongs to."""
    return f"s{hashlib.sha256(data_of(position)).digest()[0] % 5}"


def acked(ticket: Ticket) -> None:
    """Say it as the hub would tell a client: after the commit, from the writer's thread."""
    if ticket.error is None:
        os.write(1, f"{ticket.position}\n".encode())


def main(path: str, seed: int) -> None:
    """Write batches of all sizes, some of them waiting together."""
    chance = random.Random(seed)
    store = SqliteStore(path, acked)
    position, epoch, _ = store.open()
    seqs = store.heads()
    os.write(1, f"open {epoch}\n".encode())
    while True:
        tickets = []
        for _ in range(chance.choice((1, 1, 2, 20))):
            batch = Batch()
            for _ in range(chance.choice((1, 3, 40, 300))):
                position += 1
                stream = stream_of(position)
                seqs[stream] = seqs.get(stream, 0) + 1
                batch.rows.append(Row(position, stream, seqs[stream], position, 4, data_of(position)))
            tickets.append(store.append(batch))
        if chance.random() < 0.5:
            tickets[-1].wait()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
