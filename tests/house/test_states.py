"""The page of states is drawn from the tables, and the tables leave no state out."""

from __future__ import annotations

import pytest

from greenroom_core.mapping import ItemState
from greenroom_core.noderun import NodeState
from greenroom_core.states import ITEM_MOVES, NODE_MOVES
from greenroom_hub.core.replica import ReplicaState
from greenroom_hub.core.states import REPLICA_MOVES
from tests.house.states import PAGE, draw


def test_the_page_says_what_the_tables_say():
    """
    `docs/states.md` is what `python -m tests.house.states` writes.
    """
    assert PAGE.read_text() == draw()


@pytest.mark.parametrize(
    ("kind", "moves"), [(NodeState, NODE_MOVES), (ItemState, ITEM_MOVES), (ReplicaState, REPLICA_MOVES)]
)
def test_every_state_can_be_reached_and_left_or_is_an_end(kind, moves):
    """
    Each state stands in the table once, and a way leads to it from the first.
    """
    assert set(moves) == set(kind)
    reached, queue = set(), [next(iter(moves))]
    while queue:
        state = queue.pop()
        if state not in reached:
            reached.add(state)
            queue += moves[state]
    assert reached == set(kind)
