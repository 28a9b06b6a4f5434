"""The store without a disk keeps the contract, so that the hub's tests may trust it."""

from __future__ import annotations

import pytest

from tests.fakes.store import MemoryDisk, MemoryStore
from tests.hub.store.contract import Shelf, StoreContract
from tests.hub.store.pen import Pen


class TestMemoryStore(StoreContract):
    """The contract, kept in memory."""

    @pytest.fixture
    def shelf(self) -> Shelf:
        disk = MemoryDisk()

        def full(value: bool) -> None:
            disk.full = value

        return Shelf(lambda notify: MemoryStore(notify, disk), lambda _: full(True), lambda _: full(False))


def test_batches_wait_until_they_are_released():
    """
    With `hold`, a test sees what may happen between an append and its commit.
    """
    store = MemoryStore(hold=True)
    store.open()
    pen = Pen(store)
    first, second = pen.append("a"), pen.append("a")

    store.release(1)

    assert (first.done, second.done) == (True, False)
    assert len(store.read("a")) == 1
