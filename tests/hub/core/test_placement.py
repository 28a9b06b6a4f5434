"""Which replica calls go to, and how many go together."""

from __future__ import annotations

from collections import Counter

from greenroom_core.program import Resources, Task
from greenroom_hub.core import commands as c
from greenroom_hub.core.ledger import Capacity
from tests.hub.core.driver import HubDriver, map_program, task_program, xs


def test_every_idle_replica_gets_a_call_before_any_gets_two() -> None:
    """
    Of calls whose length nobody knows, each replica holds one.
    """
    hub = HubDriver()
    hub.submit(map_program(count=4), xs=xs(100))

    hub.connect()

    assert [1, 1, 1, 1] == [len(sent.items) for sent in hub.sent]
    assert 4 == len({sent.replica for sent in hub.sent})


def test_a_pool_grows_at_once_to_what_waits() -> None:
    """
    As many replicas start together as there are calls, up to replica_count.
    """
    hub = HubDriver()

    hub.submit(map_program(count=25), xs=xs(1000))

    assert 25 == len(hub.does(c.StartReplica))


def test_a_pool_starts_no_more_replicas_than_calls() -> None:
    """
    One call needs one replica, whatever replica_count allows.
    """
    hub = HubDriver()

    hub.submit(task_program(count=10))

    assert 1 == len(hub.does(c.StartReplica))


def test_short_calls_travel_together() -> None:
    """
    Once calls were measured to be short, each frame carries many; all results are right.
    """
    hub = HubDriver()
    hub.submit(map_program(count=2), xs=xs(20_000))
    hub.connect()
    frames = Counter[str]()
    calls = 0

    while hub.sent:
        sent = hub.take()
        frames[sent.replica] += 1
        calls += len(sent.items)
        hub.answer(sent, us=30)

    assert 20_000 == calls
    assert sum(frames.values()) < 20_000 / 20


def test_long_calls_travel_alone() -> None:
    """
    Nothing waits behind a call of a second: another replica may be free first.
    """
    hub = HubDriver()
    hub.submit(map_program(count=2), xs=xs(10))
    hub.connect()

    hub.answer(us=1_000_000)
    hub.answer(us=1_000_000)

    assert [1, 1] == [len(sent.items) for sent in hub.sent]


def test_a_long_call_leaves_the_other_slots_to_short_ones() -> None:
    """
    A replica of regular tasks that holds a call of minutes goes on with short ones beside it, many at a time.
    """
    hub = HubDriver(regular_slots=2)
    hub.submit(map_program(regular=True), "wf-1", xs=xs(40))
    hub.connect()
    hub.answer_all(us=30)
    slow = Task("f.slow", "e", inputs=("x",), outputs=("o0",))
    hub.submit(map_program(regular=True, task=slow), "wf-2", xs=xs(1))
    held = hub.take()

    hub.submit(map_program(regular=True), "wf-3", xs=xs(40))

    frames = 0
    while hub.sent:
        hub.answer(us=30)
        frames += 1
    assert ["wf-2"] == list(hub.state.runs)
    assert frames < 20
    hub.answer(held)
    assert not hub.state.runs


def test_executions_take_turns() -> None:
    """
    A map of 100,000 calls does not starve a workflow of one.
    """
    hub = HubDriver()
    hub.submit(map_program(count=1), "big-1", xs=xs(100_000))
    hub.connect()
    for _ in range(20):
        hub.answer(us=20)

    hub.submit(task_program(count=1), "small-1")
    for _ in range(2):
        hub.answer(us=20)

    assert "small-1" in {sent.execution for sent in hub.sent}


def test_one_execution_occupies_no_more_replicas_than_it_says() -> None:
    """
    A pool that another execution made larger serves this one with as many replicas as its own definition has.
    """
    hub = HubDriver()
    hub.submit(map_program(count=4), "wide-1", xs=xs(4))
    hub.connect()
    hub.answer_all()

    hub.submit(map_program(count=1), "narrow-1", xs=xs(50))

    assert 1 == len({sent.replica for sent in hub.sent})


def test_idle_replicas_give_way_to_a_pool_that_has_work() -> None:
    """
    On a full machine an idle replica of another environment is drained, and what waits says for what.
    """
    hub = HubDriver(Capacity(cpu=2, memory=2**34))
    hub.submit(task_program(requests=Resources(cpu=2)), "one-1")
    hub.connect()
    hub.answer()

    hub.submit(task_program(requests=Resources(cpu=1)), "two-1")

    (drain,) = hub.does(c.SendDrain)
    assert "gives way to e" == drain.reason

    hub.exit(drain.replica)

    assert 1 == len(hub.does(c.StartReplica))


def test_a_node_waits_while_others_use_the_machine() -> None:
    """
    A busy replica does not give way; the pool names what it needs and who has it.
    """
    hub = HubDriver(Capacity(cpu=2, memory=2**34))
    hub.submit(task_program(requests=Resources(cpu=2)), "one-1")
    hub.connect()

    hub.submit(task_program(requests=Resources(cpu=1)), "two-1")

    (pool,) = [pool for pool in hub.state.pools.values() if pool.waits]
    assert "needs cpu=1, in use by one-1" == pool.waits


def test_what_one_node_has_taught_counts_for_the_next() -> None:
    """
    A map of a task whose calls are known to be short begins with many of them in a frame, as one that streams needs.
    """
    hub = HubDriver()
    hub.submit(map_program(count=2), name="first", xs=xs(5_000))
    hub.connect()
    hub.answer_all(us=30)

    hub.submit(map_program(count=2), name="second", xs=xs(500))

    assert [64, 64] == [len(sent.items) for sent in hub.sent]
