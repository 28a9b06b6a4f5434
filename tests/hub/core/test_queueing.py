"""`queue_timeout`: a node that gets no replica in time fails, and says what it waited for."""

from __future__ import annotations

from greenroom_core.facts import ExecutionEnded, NodeEnded
from greenroom_core.program import Task
from tests.hub.core.driver import HubDriver, map_program, xs

TASK = Task("f.t", "e", inputs=("x",), outputs=("o0",), queue_timeout=5.0)


def test_a_node_that_gets_no_replica_in_time_fails() -> None:
    """
    Its replica never connects: after five seconds the node fails, as a timeout that no retry would heal.
    """
    hub = HubDriver()
    hub.submit(map_program(task=TASK), xs=xs(2))

    hub.later(4.9)
    waits = bool(hub.state.runs)
    hub.later(0.2)

    (ended,) = [fact for fact in hub.all_facts() if isinstance(fact, NodeEnded)]
    assert waits
    assert ("timeout", "QueueTimeout") == (ended.failure["cause"], ended.failure["type"])
    assert "f.t waited 5 s for a replica of e" in ended.failure["message"]
    assert "queue_timeout=5" in ended.failure["message"]
    assert not hub.state.runs


def test_items_that_wait_for_their_turn_are_in_no_hurry() -> None:
    """
    While a call of the map runs, and after each one that ends, the others have the whole time again.
    """
    hub = HubDriver()
    hub.submit(map_program(task=TASK), xs=xs(3))
    hub.connect()

    for _ in range(3):
        hub.later(4.0)
        hub.answer(hub.take(), us=4_000_000)

    (ended,) = hub.facts(ExecutionEnded)
    assert "succeeded" == ended.outcome


def test_a_call_that_runs_for_long_does_not_wait() -> None:
    """
    What a replica holds is not in the queue, however long it takes.
    """
    hub = HubDriver()
    hub.submit(map_program(task=TASK), xs=xs(1))
    hub.connect()

    hub.later(60.0)
    hub.answer(us=60_000_000)

    assert "succeeded" == hub.facts(ExecutionEnded)[0].outcome


def test_a_lost_call_has_the_whole_time_again() -> None:
    """
    A replica that dies after a minute does not make its call late; one that never comes back does.
    """
    hub = HubDriver(grace_ms=1_000)
    hub.submit(map_program(task=TASK), xs=xs(1))
    hub.connect()
    hub.later(60.0)

    hub.exit(hub.take().replica)
    hub.later(4.0)
    waits = bool(hub.state.runs)
    hub.later(3.0)

    assert waits
    assert not hub.state.runs
