"""The ways between states, in one table for each machine; `docs/states.md` is drawn from them.

The inner loops do not ask the tables: tests hold every move that the machines make against them.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Final

from greenroom_core.mapping import ItemState
from greenroom_core.noderun import NodeState

Moves = Mapping[IntEnum, Mapping[IntEnum, str]]
"""By state: where it may go from there, and why."""

NODE_MOVES: Final[Moves] = {
    NodeState.WAITING: {
        NodeState.STARTED: "everything that it waits for has ended",
        NodeState.ENDED: "skipped, aborted, or its inputs cannot be read; a group ends as it begins",
    },
    NodeState.STARTED: {
        NodeState.ENDED: "its calls, its members, its child or its gate have come to an end",
    },
    NodeState.ENDED: {},
}
"""A node of an execution. Its end carries the one outcome that it has."""

_ENDS: Final[Mapping[IntEnum, str]] = {
    ItemState.SUCCEEDED: "an outcome of its current attempt (after a restart also of one that is not known to be held)",
    ItemState.FAILED: "a failure, and no attempt is left",
    ItemState.ABORTED: "cancelled, lost while its node is cut off, or its node has ended",
}

ITEM_MOVES: Final[Moves] = {
    ItemState.READY: {
        ItemState.HELD: "handed to a replica, or a replica says after a restart that it has it",
        ItemState.DELAYED: "set aside: another call computes the same; or, after a restart, tried again after a delay",
        **_ENDS,
    },
    ItemState.HELD: {
        ItemState.READY: "given back unbegun, lost, or tried again at once",
        ItemState.DELAYED: "tried again after a delay",
        **_ENDS,
    },
    ItemState.DELAYED: {
        ItemState.READY: "its time has come, or what it waited for has ended; lost after a restart",
        ItemState.HELD: "a replica says after a restart that it has it",
        **_ENDS,
    },
    ItemState.SUCCEEDED: {},
    ItemState.FAILED: {},
    ItemState.ABORTED: {},
}
"""One call of a node. That a replica holds it is not in the log: after a restart it is ready until that is said."""
