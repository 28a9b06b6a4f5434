"""What is left of the log when its process, its disk or its file ends at the worst moment."""

from __future__ import annotations

import os
import random
import resource
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from greenroom_hub.store.errors import CommitFailed
from greenroom_hub.store.rows import Batch, Row
from greenroom_hub.store.sqlite import SqliteStore
from tests.hub.store import victim
from tests.hub.store.pen import Pen, settle

ROOT = Path(__file__).parents[3]


def whole(path: Path) -> int:
    """Check that the log holds the rows that `victim` writes, dense from the first, and nothing else; how many."""
    store = SqliteStore(path)
    head = store.open()
    seqs: Counter[str] = Counter()
    count = 0
    for count, row in enumerate(store.live(), start=1):
        seqs[row.stream] += 1
        stream = victim.stream_of(count)
        assert Row(count, stream, seqs[stream], count, 4, victim.data_of(count)) == row
    assert count == head.position
    assert dict(seqs) == store.heads()
    assert store.check() == []
    store.close()
    return count


def test_every_row_that_was_acked_survives_kill_9(tmp_path):
    """
    A hub killed at any moment leaves every acked row, dense and whole, and the next one goes on behind them.

    Eight processes write one log, each is killed after 5 to 150 ms; the seed is in the assertion's message.
    """
    path = tmp_path / "log.sqlite"
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    for round in range(8):
        command = [sys.executable, "-m", "tests.hub.store.victim", str(path), str(chance.randrange(2**32))]
        with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as hub:
            assert hub.stdout.readline().startswith(b"open"), f"seed {seed}, round {round}"
            timer = threading.Timer(chance.uniform(0.005, 0.15), hub.kill)
            timer.start()
            acks = [int(line) for line in hub.stdout.read().splitlines(keepends=True) if line.endswith(b"\n")]
            timer.join()

        count = whole(path)

        assert count >= max(acks, default=0), f"seed {seed}, round {round}: {max(acks)} acked, {count} on disk"


@pytest.fixture(scope="module")
def torn(tmp_path_factory) -> tuple[bytes, bytes, list[int]]:
    """The file and the WAL of a hub that was just killed, and the length of the WAL after each commit."""
    path = tmp_path_factory.mktemp("torn") / "log.sqlite"
    store = SqliteStore(path)
    store.open()
    seqs: Counter[str] = Counter()
    position = 0
    for _ in range(12):
        batch = Batch()
        for _ in range(5):
            position += 1
            stream = victim.stream_of(position)
            seqs[stream] += 1
            batch.rows.append(Row(position, stream, seqs[stream], position, 4, victim.data_of(position)))
        settle(store.append(batch))
    files = path.read_bytes(), path.with_name(path.name + "-wal").read_bytes()
    store.close()
    return files


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(cut=st.floats(0, 1), noise=st.booleans())
def test_a_torn_wal_loses_no_more_than_its_end(torn, tmp_path_factory, cut, noise):
    """
    Wherever the WAL is cut short, or turns to noise, whole commits before that place are there and nothing half is.
    """
    file, wal = torn
    path = tmp_path_factory.mktemp("cut") / "log.sqlite"
    used = len(wal.rstrip(b"\0"))
    place = int(used * cut)
    path.write_bytes(file)
    path.with_name(path.name + "-wal").write_bytes(wal[:place] + (os.urandom(used - place) if noise else b""))

    count = whole(path)

    assert count % 5 == 0
    assert count == 60 or place < used


def test_the_undamaged_wal_is_all_there(torn, tmp_path):
    """
    Without the cut, the same two files give all rows: the test above loses them by the cut alone.
    """
    path = tmp_path / "log.sqlite"
    path.write_bytes(torn[0])
    path.with_name(path.name + "-wal").write_bytes(torn[1])

    assert whole(path) == 60


def test_a_full_disk_stops_the_store_and_loses_nothing(tmp_path):
    """
    When no byte can be written any more, the commit fails aloud; all rows before it stay, and work goes on with room.
    """
    path = tmp_path / "log.sqlite"
    store = SqliteStore(path)
    store.open()
    pen = Pen(store)
    written = pen.write("a", "b", "a")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = path.with_name(path.name + "-wal").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (max(size, 12 << 20), hard))
    try:
        data = os.urandom(1 << 20)
        tickets = [store.append(Batch([pen.row("a", data)])) for _ in range(5)]
        for _ in range(40):
            ticket = store.append(Batch([pen.row("a", data)]))
            tickets.append(ticket)
            ticket.wait(20)
            if ticket.error is not None:
                break
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert isinstance(tickets[-1].error, CommitFailed)
    assert "Error" in str(tickets[-1].error)
    good = 3 + sum(ticket.error is None for ticket in tickets)
    head = store.reopen()
    assert good == head.position
    assert pen.rows[:good] == list(store.live())
    assert written == pen.rows[:3]
    pen = Pen(store, head.position, store.heads())
    pen.write("a")
    store.close()


def test_a_disk_without_room_for_a_store_says_so(tmp_path):
    """
    A store that cannot be made for lack of room is not left half made.
    """
    from greenroom_hub.store.errors import NotWritable

    path = tmp_path / "log.sqlite"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, hard))
    try:
        with pytest.raises(NotWritable, match="cannot be written"):
            SqliteStore(path).open()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert not path.exists()
    store = SqliteStore(path)
    assert store.open().created
    store.close()
