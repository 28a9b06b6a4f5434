"""The ways between the states of a replica; `docs/states.md` is drawn from them, and tests hold the machine to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from greenroom_hub.core.replica import ReplicaState

REPLICA_MOVES: Final[Mapping[ReplicaState, Mapping[ReplicaState, str]]] = {
    ReplicaState.STARTING: {
        ReplicaState.READY: "it said hello",
        ReplicaState.DRAINING: "nobody needs it any more; it is stopped",
        ReplicaState.GONE: "it exited, could not be started, or did not say hello in time",
    },
    ReplicaState.READY: {
        ReplicaState.DISCONNECTED: "its link is gone; the grace runs",
        ReplicaState.DRAINING: "its time to live is over, its place is needed, or it has served its calls",
        ReplicaState.GONE: "it exited, left, or was started anew",
    },
    ReplicaState.DISCONNECTED: {
        ReplicaState.READY: "it said hello again within the grace",
        ReplicaState.DRAINING: "nobody needs it any more; it is stopped",
        ReplicaState.GONE: "it exited, or the grace is over",
    },
    ReplicaState.DRAINING: {
        ReplicaState.GONE: "it left, exited, or took too long",
    },
    ReplicaState.GONE: {},
}
"""A replica, as the hub sees it."""
