"""Cached results: kept, found, waited for; what becomes of who waits when the one that computes fails or is gone."""

from __future__ import annotations

from greenroom_core.facts import CallsCached, ExecutionEnded, Outcome
from greenroom_core.program import Cached, CachedResults, Task
from greenroom_core.values import pack
from greenroom_hub.core import commands as c
from greenroom_hub.core.events import CancelWanted
from tests.hub.core.driver import HubDriver, map_program, xs

ONE = Task("f.t", "e", inputs=("x",), outputs=("o0",), cached=Cached("v1"))
SERIAL = Task("f.t", "e", inputs=("x",), outputs=("o0",), cached=Cached("v1", serialize=True))


def submit(hub: HubDriver, name: str, task: Task = ONE, n: int = 1, **options) -> None:
    """A map over 0 ... n-1 of a task whose results are cached; the shell has looked for them."""
    hub.submit(map_program(task=task, count=2), name=name, options=options, xs=xs(n))
    hub.look_up()
    if any(one.link == 0 for one in hub.state.replicas.values()):
        hub.connect()


def ended(hub: HubDriver, name: str) -> ExecutionEnded:
    execution = hub.ended[name]
    assert execution.ended is not None
    return execution.ended


def test_a_result_is_computed_once() -> None:
    """
    The second execution makes no call, and its log says where the outcome was computed.
    """
    hub = HubDriver()
    submit(hub, "wf-1")
    hub.answer(value=7)

    submit(hub, "wf-2")

    assert not hub.sent
    assert ["wf-1"] == [fact.source for fact in hub.all_facts() if isinstance(fact, CallsCached)]
    assert Outcome.SUCCEEDED == ended(hub, "wf-2").outcome


def test_a_failure_is_never_cached() -> None:
    """
    What failed is called again by the next execution.
    """
    hub = HubDriver()
    submit(hub, "wf-1")
    hub.answer(fails=True)

    submit(hub, "wf-2")

    assert ["wf-2"] == [sent.execution for sent in hub.sent]


def test_refresh_and_off() -> None:
    """
    `refresh` calls, and what it got is what later ones find; `off` neither looks nor keeps.
    """
    hub = HubDriver()
    submit(hub, "wf-1")
    hub.answer(value=7)

    submit(hub, "wf-2", cached_results=CachedResults.REFRESH)
    hub.answer(value=8)
    submit(hub, "wf-3")
    submit(hub, "wf-4", cached_results=CachedResults.OFF)
    hub.answer(value=9)
    submit(hub, "wf-5")

    sources = [fact.source for fact in hub.all_facts() if isinstance(fact, CallsCached)]
    assert ["wf-2", "wf-2"] == sources
    assert not hub.sent


def test_with_serialize_one_runs_and_the_others_wait() -> None:
    """
    Equal calls of three executions: one is sent; when its outcome is on disk the others get it.
    """
    hub = HubDriver()
    for name in ("wf-1", "wf-2", "wf-3"):
        submit(hub, name, SERIAL)
    before = [sent.execution for sent in hub.sent]

    hub.answer(value=7)
    asked = [command for command in hub.asked if isinstance(command, c.LookAgain)]
    hub.look_up()

    assert ["wf-1"] == before
    assert 1 == len(asked)
    assert {"wf-2", "wf-3"} <= set(hub.ended)
    assert not hub.sent


def test_with_serialize_equal_items_of_one_map_wait_for_each_other() -> None:
    """
    A map over equal values makes one call.
    """
    hub = HubDriver()
    hub.submit(map_program(task=SERIAL, count=2), xs=pack([5, 5, 5]))
    hub.look_up()
    hub.connect()

    hub.answer(value=7)
    hub.look_up()

    assert not hub.sent
    assert Outcome.SUCCEEDED == ended(hub, "wf-1").outcome


def test_one_takes_over_from_who_failed() -> None:
    """
    The failure is the failed one's alone: one of those that waited runs, the other goes on waiting.
    """
    hub = HubDriver()
    for name in ("wf-1", "wf-2", "wf-3"):
        submit(hub, name, SERIAL)

    hub.answer(fails=True)
    hub.look_up()
    second = [sent.execution for sent in hub.sent]
    hub.answer(value=7)
    hub.look_up()

    assert ["wf-2"] == second
    assert [Outcome.FAILED, Outcome.SUCCEEDED, Outcome.SUCCEEDED] == [
        ended(hub, name).outcome for name in ("wf-1", "wf-2", "wf-3")
    ]


def test_one_takes_over_from_who_was_cancelled() -> None:
    """
    Who computes is cancelled, and dies: what waited for it is not left waiting.
    """
    hub = HubDriver()
    submit(hub, "wf-1", SERIAL)
    first = hub.take()
    submit(hub, "wf-2", SERIAL)

    hub.when(CancelWanted(9, "wf-1", "ada", "enough"))
    hub.exit(first.replica)
    hub.look_up()
    hub.connect()

    assert "aborted" == ended(hub, "wf-1").outcome
    assert ["wf-2"] == [sent.execution for sent in hub.sent]


def test_a_lost_replica_is_no_reason_to_take_over() -> None:
    """
    The one that computes is tried again; the others wait for that.
    """
    hub = HubDriver()
    submit(hub, "wf-1", SERIAL)
    submit(hub, "wf-2", SERIAL)

    hub.exit(hub.take().replica)
    hub.connect()

    assert ["wf-1"] == [sent.execution for sent in hub.sent]
    assert [2] == hub.sent[0].attempts


def test_who_waits_goes_on_after_a_restart() -> None:
    """
    A hub that starts again looks anew; one of the equal calls runs, and all end.
    """
    hub = HubDriver()
    submit(hub, "wf-1", SERIAL)
    submit(hub, "wf-2", SERIAL)
    replica = hub.sent[0].replica

    hub.restart(alive=(replica,))
    hub.look_up()
    hub.connect(replica, held=[["wf-1", "m", 0, 1]])
    hub.look_up()
    while hub.state.runs:
        if hub.sent:
            hub.answer(value=7)
        else:
            hub.answer(first_of(replica), value=7)
        hub.look_up()

    assert [Outcome.SUCCEEDED] * 2 == [ended(hub, name).outcome for name in ("wf-1", "wf-2")]


def first_of(replica: str):
    from tests.hub.core.driver import Sent

    return Sent(replica, "wf-1", "m", [0], [1], 0)
