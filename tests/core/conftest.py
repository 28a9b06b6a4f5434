"""Whatever the tests of this folder make an execution do, it goes only the ways that the tables have."""

from __future__ import annotations

import pytest

from greenroom_core.noderun import NodeRun
from greenroom_core.states import NODE_MOVES


@pytest.fixture(autouse=True)
def moves_are_in_the_tables(monkeypatch):
    """Look at each change of a state."""
    for kind, moves in ((NodeRun, NODE_MOVES),):
        monkeypatch.setattr(kind, "__setattr__", _watched(moves))


def _watched(moves):
    def change(self, name, value):
        if name == "state" and hasattr(self, "state") and value is not self.state:
            assert value in moves[self.state], f"{self.id}: from {self.state!r} to {value!r}"
        object.__setattr__(self, name, value)

    return change
