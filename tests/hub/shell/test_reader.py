"""What the machine reads beside its state, before and after it is on disk."""

from __future__ import annotations

from typing import Any

import pytest

from greenroom_core.values import ValueFault
from greenroom_hub.shell import reader as module
from greenroom_hub.shell.reader import StoreReader


class NothingStored:
    """A log in which no row is yet."""

    def row(self, position: int) -> None:
        return None


def reader(monkeypatch: Any, tmp_path: Any, on_disk: int) -> StoreReader:
    monkeypatch.setattr(module, "_KEPT_ROWS", 4)
    log: Any = NothingStored()
    return StoreReader(log, tmp_path, lambda *names: pytest.fail("no map is read"), lambda: on_disk)


def test_what_is_not_on_disk_is_never_let_go(monkeypatch, tmp_path):
    """
    A turn may record more rows than are kept: each of them can be read until the log has it.
    """
    read = reader(monkeypatch, tmp_path, on_disk=0)
    outcomes: list[Any] = [object() for _ in range(10)]

    for row, one in enumerate(outcomes, start=1):
        read.keep(row, one)

    assert [read.outcomes(row) for row in range(1, 11)] == outcomes


def test_what_is_on_disk_is_let_go(monkeypatch, tmp_path):
    """
    Of rows that the log has, only the newest are held.
    """
    read = reader(monkeypatch, tmp_path, on_disk=8)

    for row in range(1, 11):
        held: Any = row
        read.keep(row, held)

    assert [read.outcomes(row) for row in (7, 8, 9, 10)] == [7, 8, 9, 10]
    with pytest.raises(ValueFault, match="row 6"):
        read.outcomes(6)
