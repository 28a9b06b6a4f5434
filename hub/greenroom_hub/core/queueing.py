"""`queue_timeout`: how long a node's calls may wait for a replica while none of them runs.

The time counts from when the node starts, and anew from whenever one of its calls was placed or has ended: a long map
whose items wait for their turn is no node that waits for a replica.
"""

from __future__ import annotations

from greenroom_core.failure import Cause, Failure
from greenroom_core.noderun import NodeRun
from greenroom_hub.core.run import Run
from greenroom_hub.core.state import State

MARK = "queue:"
"""Before the node's name in `Run.due`."""


def limit_of(node: NodeRun) -> float | None:
    """Seconds that the node's calls may wait; None for as long as it takes."""
    own = node.spec.overrides.queue_timeout
    return own if own is not None else node.task.queue_timeout if node.task is not None else None


def watch(state: State, run: Run, node: NodeRun) -> None:
    """A node's calls wait from now on: it has started, or one of them is tried again."""
    limit = limit_of(node)
    if limit is not None:
        run.moved[node.id] = state.now.wall_ms
        state.wait_until(run, MARK + node.id, run.moved[node.id] + int(limit * 1000))


def note(state: State, run: Run, name: str) -> None:
    """A call of a node was placed, or has ended."""
    if name in run.moved:
        run.moved[name] = state.now.wall_ms


def overdue(state: State, run: Run, name: str) -> Failure | None:
    """The time of a node that was watched is over: why it fails; None if it goes on, watched further."""
    node = run.execution.nodes[name]
    limit, items = limit_of(node), node.items
    if limit is None or items is None or node.ended or not items.open:
        return None
    now = state.now.wall_ms
    if items.held or name in run.looking:
        run.moved[name] = now
    due = run.moved[name] + int(limit * 1000)
    if due > now:
        state.wait_until(run, MARK + name, due)
        return None
    pool = state.pool_of(run, name)
    environment = pool.environment.name if pool is not None else "its environment"
    why = f" ({pool.waits})" if pool is not None and pool.waits else ""
    task = node.task.name if node.task is not None else name
    message = (
        f"{task} waited {(now - run.moved[name]) / 1000:.3g} s for a replica of {environment}{why}: "
        f"queue_timeout={limit:g}"
    )
    return Failure(Cause.TIMEOUT, "QueueTimeout", message, where=node.spec.line, recoverable=False)
