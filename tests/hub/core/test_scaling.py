"""Pools that grow and shrink: bursts, short pauses, changed environments, launches that fail."""

from __future__ import annotations

from typing import Any

from greenroom_core.facts import ExecutionEnded
from greenroom_core.program import Resources
from greenroom_hub.core import commands as c
from greenroom_hub.core import events as e
from greenroom_hub.core.ledger import Capacity
from greenroom_hub.core.replica import ReplicaState
from tests.hub.core.driver import HubDriver, map_program, task_program, xs


def fail_launches(hub: HubDriver, why: str, final: bool = False) -> int:
    """The launcher cannot start what is being started; how many those were."""
    starting = [one for one in hub.state.replicas.values() if one.state is ReplicaState.STARTING]
    hub.when(*(e.LaunchFailed(one.id, one.generation, why, final) for one in starting))
    return len(starting)


def ended(hub: HubDriver) -> list[Any]:
    return [fact for fact in hub.all_facts() if isinstance(fact, ExecutionEnded)]


def test_a_queue_that_is_empty_for_a_moment_does_not_shrink_the_pool() -> None:
    """
    Between two bursts nothing leaves, and the second one starts nothing.
    """
    hub = HubDriver()
    hub.submit(map_program(count=25), xs=xs(1000))
    hub.connect()
    hub.answer_all()
    hub.later(2)
    assert 25 == len(hub.started)

    hub.submit(map_program(count=25), "wf-2", xs=xs(1000))

    assert [] == hub.does(c.StartReplica, c.SendDrain, c.StopReplica)
    assert 25 == len({sent.replica for sent in hub.sent})


def test_an_environment_that_is_unused_for_its_time_goes() -> None:
    """
    Not before `ttl_seconds` is over, and then all of it.
    """
    hub = HubDriver()
    hub.submit(map_program(count=3, ttl=30.0), xs=xs(9))
    hub.connect()
    hub.answer_all()

    hub.later(29)
    before = [one.state for one in hub.state.replicas.values()]
    hub.later(2)

    assert [ReplicaState.READY] * 3 == before
    assert all(one.state is ReplicaState.DRAINING for one in hub.state.replicas.values())


def test_what_is_kept_warm_asks_for_no_look_at_the_clock() -> None:
    """
    Once the time of an environment is over, replicas that stay or leave already keep no timer running.
    """
    hub = HubDriver()
    hub.submit(map_program(count=3, ttl=30.0, min_replicas=2), xs=xs(9))
    hub.connect()
    hub.answer_all()

    hub.later(31)

    assert [True, False, False] == [one.state is ReplicaState.DRAINING for one in hub.state.replicas.values()]
    assert hub.machine.next_due() is None


def test_a_changed_environment_drains_the_old_replicas_once_the_new_ones_work() -> None:
    """
    Until then the old ones stay: a definition that does not start costs nobody what is warm.
    """
    hub = HubDriver()
    hub.submit(task_program(env={"MODE": "old"}))
    hub.connect()
    hub.answer()
    (old,) = hub.state.replicas

    hub.submit(task_program(env={"MODE": "new"}), "wf-2")
    meanwhile = hub.state.replicas[old].state
    hub.connect()
    hub.later(1)

    assert ReplicaState.READY is meanwhile
    assert ReplicaState.DRAINING is hub.state.replicas[old].state
    assert "e was defined anew" == hub.state.replicas[old].drain_why


def test_calls_of_the_old_definition_end_on_its_replicas() -> None:
    """
    A replica that works under the old definition is not drained before its execution is through.
    """
    hub = HubDriver()
    hub.submit(map_program(env={"MODE": "old"}), xs=xs(2))
    hub.connect()
    (old,) = hub.state.replicas
    hub.submit(map_program(env={"MODE": "new"}), "wf-2", xs=xs(1))
    hub.connect()

    hub.later(1)

    assert ReplicaState.READY is hub.state.replicas[old].state
    while hub.sent:
        hub.answer()
    hub.later(1)
    assert 2 == len(ended(hub))
    assert ReplicaState.DRAINING is hub.state.replicas[old].state


def test_launches_that_fail_are_tried_less_and_less_often() -> None:
    """
    Once may be chance and is tried again at once; from then on each pause is longer than the one before.
    """
    hub = HubDriver(launch_tries=6)
    hub.submit(task_program())
    tries = []
    for _ in range(5):
        assert 1 == fail_launches(hub, "no space left")
        began = hub.now
        while not hub.does(c.StartReplica):
            hub.later(0.01)
        tries.append(hub.now - began)

    assert tries[0] <= 10
    assert sorted(tries[1:]) == tries[1:]
    assert tries[-1] > 4 * tries[1]


def test_who_waits_is_told_why_replicas_fail_to_start() -> None:
    """
    Between two tries the pool says what the launcher said.
    """
    hub = HubDriver()
    hub.submit(task_program())

    fail_launches(hub, "no space left")
    fail_launches(hub, "no space left")

    (pool,) = hub.state.pools.values()
    assert "its replicas fail to start (no space left); next try soon" == pool.waits


def test_a_pool_that_cannot_start_any_replica_fails_its_calls_with_the_launcher_s_words() -> None:
    """
    After as many failures in a row as the setting allows, and not before.
    """
    hub = HubDriver(launch_tries=3)
    hub.submit(task_program())
    for _ in range(2):
        fail_launches(hub, "no space left")
        hub.later(1)
    assert [] == ended(hub)

    fail_launches(hub, "no space left")
    hub.later(1)

    (end,) = ended(hub)
    told = str(end)
    assert "no replica of e could be started (3 tries): no space left" in told


def test_a_failure_that_trying_again_cannot_mend_fails_at_once() -> None:
    """
    An image that is not here will not be here in a second: one try.
    """
    hub = HubDriver()
    hub.submit(task_program())

    fail_launches(hub, "image nowhere:7 is not on this machine", final=True)
    hub.later(0.1)

    (end,) = ended(hub)
    assert "image nowhere:7 is not on this machine" in str(end)
    assert 1 == len(hub.started)


def test_launches_that_fail_side_by_side_count_once() -> None:
    """
    Twenty-five that met one full disk are one failure, not five times the limit.
    """
    hub = HubDriver(launch_tries=3)
    hub.submit(map_program(count=25), xs=xs(100))
    hub.later(0.5)

    assert 25 == fail_launches(hub, "no space left")

    (pool,) = hub.state.pools.values()
    assert 1 == pool.failures
    assert [] == ended(hub)


def test_a_pool_with_a_replica_that_works_is_not_given_up() -> None:
    """
    Calls run on what there is, however often another one fails to start.
    """
    hub = HubDriver(launch_tries=2)
    hub.submit(map_program(count=2), xs=xs(20))
    first, second = hub.started
    hub.connect(first.replica)

    for _ in range(4):
        fail_launches(hub, "no space left")
        hub.later(11)
    hub.answer_all()

    assert [] == [end for end in ended(hub) if "could not be started" in str(end)]
    assert 1 == len(ended(hub))


def test_who_submits_anew_does_not_wait_for_the_pause() -> None:
    """
    Somebody may have mended what kept replicas from starting.
    """
    hub = HubDriver(launch_tries=1)
    hub.submit(task_program())
    fail_launches(hub, "no space left", final=True)
    hub.later(0.1)

    hub.submit(task_program(), "wf-2")

    assert 1 == len(hub.does(c.StartReplica))


def test_what_must_wait_says_for_what_and_who_has_it() -> None:
    """
    Two that need the one gpu: the second names it, and the execution that uses it.
    """
    hub = HubDriver(Capacity(cpu=8, memory=2**34, gpu=1))
    hub.submit(task_program(requests=Resources(gpu=1)))
    hub.connect()

    hub.submit(task_program(requests=Resources(gpu=1), env={"N": "2"}), "wf-2")

    waiting = [pool.waits for pool in hub.state.pools.values() if pool.waits]
    assert ["needs gpu=1, in use by wf-1"] == waiting


def test_gpus_are_given_one_by_one_and_come_back() -> None:
    """
    Each replica is told which are its own; one that has left frees them.
    """
    hub = HubDriver(Capacity(cpu=8, memory=2**34, gpu=2, devices=("GPU-a", "GPU-b")))
    hub.submit(map_program(count=2, requests=Resources(gpu=1)), xs=xs(8))
    first, second = hub.started
    hub.connect()

    hub.exit(first.replica)

    assert [("GPU-a",), ("GPU-b",)] == [first.gpus, second.gpus]
    assert [("GPU-a",)] == [command.gpus for command in hub.does(c.StartReplica)]
