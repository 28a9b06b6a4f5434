"""How many calls a replica may be sent now: enough that it never waits, no more than others could do sooner."""

from __future__ import annotations

from typing import Final, NamedTuple

from greenroom_core.noderun import NodeRun
from greenroom_hub.core.pool import Pool
from greenroom_hub.core.replica import Replica
from greenroom_hub.core.run import Run
from greenroom_hub.core.state import State
from greenroom_hub.core.timing import DEEPEST, LONG_US, SHORT_US, Timing


class Load(NamedTuple):
    """What a replica has before it."""

    us: float
    """Microseconds of work, by what was measured; calls that nobody measured count as long."""
    calls: int
    """Calls, many short ones counting as one."""
    taken: int
    """Slots that long calls hold: the work before another call is that of the other slots alone."""
    shared_us: float
    """Microseconds of work in those."""


_TAUGHT: Final = 16
"""Calls that were measured to be short for each one that a new node may send ahead unmeasured."""

_FIRST_RAMP: Final = 64
"""Most of those: inputs may differ from those that were measured."""

_NOTHING = Load(0.0, 0, 0, 0.0)


def load_of(state: State, pool: Pool, replica: Replica) -> Load:
    """What a replica has before it."""
    if not replica.in_flight:
        return _NOTHING
    us = calls = shared = 0.0
    taken = 0
    for (execution, name), held in replica.held.items():
        run = state.runs.get(execution)
        task = run.execution.nodes[name].task if run is not None else None
        timing = state.timing(pool.key, task.name if task is not None else "")
        mean = timing.mean_us if timing.count else LONG_US
        count = len(held)
        if replica.lent:
            count -= sum(key == (execution, name) for key, _ in replica.lent)
        us += count * mean
        calls += count * min(1.0, mean / SHORT_US)
        if mean >= LONG_US:
            taken += count
        else:
            shared += count * mean
    return Load(us, int(calls), taken, shared)


def depth_for(state: State, replica: Replica, timing: Timing, load: Load) -> int:
    """Calls of a task to send to a replica, by what it has before it alone; none (0 or less) if that is enough."""
    width = max(1, replica.slots)
    if replica.once:
        return 1
    if not timing.short:
        return timing.beside(width) - load.calls
    width -= load.taken
    ahead = state.settings.ahead_us * width
    if width <= 0 or load.shared_us * 2 > ahead:
        return 0  # Topped up from half on: fewer, fuller frames.
    return max(width, int((ahead - load.shared_us) / max(timing.mean_us, 1.0)))


def first_ramp(timing: Timing, width: int) -> int:
    """How deep a replica's queue for a node may be at first: what other nodes have taught of such calls counts."""
    return width * max(1, min(timing.count // _TAUGHT, _FIRST_RAMP)) if timing.short else width


def room_for(state: State, pool: Pool, run: Run, node: NodeRun, replica: Replica, timing: Timing, load: Load) -> int:
    """Calls of a node to send to a replica now; 0 (or less) for none."""
    assert node.items is not None
    room, width = node.items.room, max(1, replica.slots)
    allowed = depth_for(state, replica, timing, load)
    if replica.once:
        return min(allowed, room)
    if timing.short and allowed > 0:
        width -= load.taken
        own = len(replica.held.get((run.id, node.id), ()))
        ramp = replica.ramp.get((run.id, node.id)) or first_ramp(timing, width)
        allowed = min(allowed, min(ramp, DEEPEST * width) - own)
    if room >= allowed * len(pool.replicas):
        return allowed  # Enough for all: nobody needs to be counted.
    if not pool.sharing:
        pool.sharing = max(1, pool.ready())
    share = -(-room // pool.sharing)  # What is left is spread over all, so that they end together.
    return min(allowed, max(share, width), room)
