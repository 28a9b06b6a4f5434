"""Which waiting calls are worth a load, and on which idle replica.

`docs/decisions/0023-placement-by-warmth.md` has the cost model: a load is worth it where nobody holds the entry, where
waiting for who holds it takes longer than loading, or where somebody has waited long enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from greenroom_core.noderun import NodeRun
from greenroom_hub.core.affinity import ASKED
from greenroom_hub.core.lanes import Lane, NodeLanes
from greenroom_hub.core.pool import Pool
from greenroom_hub.core.replica import Replica
from greenroom_hub.core.room import load_of
from greenroom_hub.core.state import State
from greenroom_hub.core.timing import LONG_US, Timing

PATIENCE_LOADS: Final = 4.0
PATIENCE_MS: Final = 2_000
"""How long calls wait for who is warm at most: four times what their load takes, and this; then anybody loads."""


class ColdChoice(NamedTuple):
    """A call that is worth a load."""

    lane: Lane
    replica: Replica
    cost_ms: float
    why: str


def worth_loading(
    state: State, pool: Pool, node: NodeRun, lanes: NodeLanes, timing: Timing, free: Sequence[Replica]
) -> ColdChoice | None:
    """The first of a node's lanes that is worth a load on one of these replicas, which are idle."""
    for lane in lanes.to_load():
        waiting = lane.waiting
        if not waiting:
            continue
        cost, replica = _cheapest(lane, free)
        elsewhere = _wait_elsewhere(state, pool, replica, lane, node, waiting, timing, cost)
        tired = is_tired(state, lane, cost)
        if elsewhere is None or elsewhere > cost or tired:
            return ColdChoice(lane, replica, cost, _words(lane, cost, elsewhere))
    return None


def is_tired(state: State, lane: Lane, cost_ms: float) -> bool:
    """Whether a lane has waited long enough for who is warm."""
    return state.now.mono_ms - lane.since_ms > PATIENCE_LOADS * cost_ms + PATIENCE_MS


def overdue(state: State, lanes: NodeLanes, replica: Replica) -> ColdChoice | None:
    """A lane that has waited too long while warm calls kept every replica busy: it is loaded by the next with room."""
    for lane in lanes.to_load():
        if lane.waiting and is_tired(state, lane, lane.load_ms):
            cost = lane.missing_ms(replica)
            return ColdChoice(lane, replica, cost, _words(lane, cost, 0.0))
    return None


def _cheapest(lane: Lane, free: Sequence[Replica]) -> tuple[float, Replica]:
    """Where a lane has least to load; of equals the first."""
    if len(lane.told) == 1:
        return lane.load_ms, free[0]
    costs = [lane.missing_ms(replica) for replica in free]
    least = min(costs)
    return least, free[costs.index(least)]


def _wait_elsewhere(
    state: State,
    pool: Pool,
    replica: Replica,
    lane: Lane,
    node: NodeRun,
    waiting: int,
    timing: Timing,
    cost_ms: float,
) -> float | None:
    """Milliseconds until replicas that hold (or load) what a lane wants would have run it; None if there are none.

    A load under way counts only as far as it outlasts one that began now: a second one would not be there sooner.
    """
    assert node.task is not None
    mean_ms = (timing.mean_us if timing.count else LONG_US) / 1000
    times = []
    loading = pool.loading.get((node.task.name, lane.told))
    if loading is not None and loading.replica in state.replicas and loading.replica != replica.id:
        times.append(max(0.0, loading.until_ms - state.now.mono_ms - cost_ms))
    for name in lane.holders:
        other = state.replicas.get(name)
        if other is not None and other is not replica and other.takes_calls:
            times.append(load_of(state, pool, other).us / 1000)
    if not times:
        return None
    return min(times) + waiting * mean_ms / len(times)


# In words -------------------------------------------------------------------------------------------------------------


def _name(loader: str) -> str:
    return loader.rsplit(":", 1)[-1].rsplit(".", 1)[-1]


def holds_words(replica: Replica, lane: Lane) -> str:
    """Why a lane's calls go to a replica that holds what they want."""
    if not lane.holds:
        entries = [entry for key in lane.keys if (entry := replica.entries.get(key)) is not None]
        if entries:
            names = ", ".join(f"{_name(entry.loader)}({entry.preview})" for entry in entries)
            lane.holds = f"holds {names}, saves {lane.load_ms / 1000:.2g} s"
        else:
            lane.holds = "served such calls before (affinity=)"
    return lane.holds


def _words(lane: Lane, cost: float, elsewhere: float | None) -> str:
    if any(loader == ASKED for loader, _ in lane.loads):
        return "first of such calls (affinity=)" if elsewhere is None else "who served such calls is busy (affinity=)"
    names = ", ".join(_name(loader) for loader, _ in lane.loads)
    if elsewhere is None:
        return f"loads {names} ({cost / 1000:.2g} s): no replica has it"
    if elsewhere <= cost:
        return f"loads {names} ({cost / 1000:.2g} s): has waited long enough for who has it"
    return f"loads {names} ({cost / 1000:.2g} s): waiting for who has it takes {elsewhere / 1000:.2g} s"
