"""Who holds what after a cut, a death, a restart."""

from __future__ import annotations

from greenroom_core.facts import CallsFinished, CallsLost, ExecutionEnded, Outcome
from greenroom_hub.core import commands as c
from greenroom_hub.core import events as e
from greenroom_protocol.frames import Hello, Lost, Returned
from tests.hub.core.driver import HubDriver, map_program, task_program, xs


def held(hub: HubDriver) -> list[list[object]]:
    """What a replica would say it holds: everything that was sent and not answered."""
    return [[s.execution, s.node, i, a] for s in hub.sent for i, a in zip(s.items, s.attempts, strict=True)]


def test_a_lost_replica_gives_its_calls_back_one_attempt_later() -> None:
    """
    When a replica's process ends, its calls are lost at once and placed again when that is on disk.
    """
    hub = HubDriver()
    hub.submit(task_program())
    hub.connect()
    sent = hub.take()

    hub.exit(sent.replica, "out of memory")

    (lost,) = hub.facts(CallsLost)
    assert ((0,), (1,), True) == (lost.items, lost.attempts, lost.charged)

    hub.connect()
    again = hub.take()

    assert [2] == again.attempts
    assert again.needs > 0


def test_a_cut_link_loses_nothing_within_the_grace() -> None:
    """
    A replica that is back within the grace goes on with what it holds; nothing is sent again.
    """
    hub = HubDriver(grace_ms=10_000)
    hub.submit(task_program())
    hub.connect()
    sent = hub.take()
    hub.cut(sent.replica)
    hub.later(9)

    hub.connect(sent.replica, held=[["wf-1", "t", 0, 1]])

    assert [] == hub.does(c.SendCalls) + hub.facts(CallsLost)

    hub.answer(sent)

    assert Outcome.SUCCEEDED is hub.facts(ExecutionEnded)[0].outcome


def test_after_the_grace_calls_run_elsewhere_and_the_late_result_is_refused() -> None:
    """
    A result of an attempt that was given up is recorded as refused, and the second attempt's counts.
    """
    hub = HubDriver(grace_ms=10_000)
    hub.submit(map_program(count=2), xs=xs(2))
    hub.connect()
    first, second = hub.take(), hub.take()
    hub.cut(first.replica)
    hub.later(11)
    again = hub.take(second.replica) if any(s.replica == second.replica for s in hub.sent) else None
    hub.answer(second)
    again = again or hub.take()

    assert first.items == again.items
    assert [2] == again.attempts


def test_calls_that_never_arrived_are_sent_again_in_the_same_attempt() -> None:
    """
    What the hub sent and the replica does not name in its hello was lost on the way: no attempt was begun.
    """
    hub = HubDriver()
    hub.submit(task_program())
    hub.connect()
    sent = hub.take()
    hub.cut(sent.replica)

    hub.connect(sent.replica, held=[])

    assert [1] == hub.take().attempts
    assert [] == hub.facts(CallsLost)


def test_announced_results_are_awaited_before_anything_is_sent_again() -> None:
    """
    A call whose result is on its way is not run twice.
    """
    hub = HubDriver()
    hub.submit(task_program())
    hub.connect()
    sent = hub.take()
    hub.cut(sent.replica)

    hub.connect(sent.replica, held=[], unacked=[1])

    assert [] == hub.does(c.SendCalls)

    hub.answer(sent, seq=1)

    assert Outcome.SUCCEEDED is hub.facts(ExecutionEnded)[0].outcome


def test_a_replica_that_was_replaced_is_refused() -> None:
    """
    Of two processes of one replica the newer generation counts.
    """
    hub = HubDriver()
    hub.submit(task_program())
    hub.connect()
    (name,) = hub.state.replicas
    old = Hello(1, name, hub.state.replicas[name].generation - 1, 0, [], [], [], [], {"pool": name.rsplit("-r", 1)[0]})

    hub.when(e.ReplicaConnected(old, 99))

    (welcome,) = hub.tells(c.Welcome)
    assert welcome.refusal is not None and "was replaced" in welcome.refusal


def test_batch_mates_of_a_crash_run_again_without_charge() -> None:
    """
    Calls that merely waited beside one that killed its runner keep their whole budget.
    """
    hub = HubDriver()
    hub.submit(map_program(), xs=xs(3))
    hub.connect()
    for _ in range(20):
        sent = hub.take()
        hub.say(sent.replica, Lost("wf-1", "m", sent.items, sent.attempts, False, {"cause": "lost", "type": "Mate"}))

    assert 0 == hub.state.runs["wf-1"].execution.nodes["m"].items.failed  # type: ignore[union-attr]


def test_calls_that_are_given_back_keep_their_attempt() -> None:
    """
    What was revoked before it began is placed elsewhere as if it had never been sent.
    """
    hub = HubDriver()
    hub.submit(task_program())
    hub.connect()
    sent = hub.take()

    hub.say(sent.replica, Returned("wf-1", "t", sent.items, sent.attempts))

    assert [1] == hub.take().attempts


def test_a_restarted_hub_waits_for_the_replicas_that_live() -> None:
    """
    Nothing is placed before each known replica has said what it holds; what it holds is not sent again.
    """
    hub = HubDriver()
    hub.submit(map_program(count=2), xs=xs(6))
    hub.connect()
    one, two = hub.take(), hub.take()
    names = (one.replica, two.replica)
    hub.answer(two)
    sent = hub.take(two.replica)

    hub.restart(alive=names)

    assert [] == hub.sent

    hub.connect(one.replica, held=[["wf-1", "m", one.items[0], 1]])

    assert [] == hub.sent

    hub.connect(two.replica, held=[["wf-1", "m", item, 1] for item in sent.items])
    hub.answer(one, seq=1)
    hub.answer(sent, seq=2)
    hub.answer_all()

    finished = [
        item for fact in hub.all_facts() if isinstance(fact, CallsFinished) for item in fact.outcomes.item_list()
    ]
    assert list(range(6)) == sorted(finished)
    assert Outcome.SUCCEEDED is hub.facts(ExecutionEnded)[0].outcome


def test_a_restarted_hub_waits_for_results_that_were_announced() -> None:
    """
    A replica that finished calls while there was no hub says so in its hello: they are not placed again meanwhile.
    """
    hub = HubDriver()
    hub.submit(map_program(), xs=xs(2))
    hub.connect()
    done, waiting = hub.take(), hub.sent
    held = [["wf-1", "m", item, 1] for sent in waiting for item in sent.items]

    hub.restart(alive=(done.replica,))
    hub.connect(done.replica, held=held, unacked=[7])

    assert [] == hub.sent

    hub.answer(done, seq=7)
    hub.answer_all()

    assert 0 == hub.state.counters.get("results_refused", 0)
    finished = [
        item for fact in hub.all_facts() if isinstance(fact, CallsFinished) for item in fact.outcomes.item_list()
    ]
    assert [0, 1] == sorted(finished)


def test_announced_results_that_never_come_do_not_hold_up_the_hub() -> None:
    """
    A replica that is connected again is not given up for results that it announced and does not send.
    """
    hub = HubDriver(grace_ms=10_000)
    hub.submit(task_program())
    hub.connect()
    sent = hub.take()
    hub.restart(alive=(sent.replica,))
    hub.connect(sent.replica, unacked=[7])

    hub.later(11)

    assert [sent.items] == [again.items for again in hub.sent]
    assert sent.replica in hub.state.replicas


def test_a_restarted_hub_goes_on_without_the_replicas_that_died() -> None:
    """
    With nobody left alive, what was open starts at once on new replicas.
    """
    hub = HubDriver()
    hub.submit(map_program(count=2), xs=xs(4))
    hub.connect()
    hub.answer()

    hub.restart()
    hub.connect()
    hub.answer_all()

    assert Outcome.SUCCEEDED is hub.facts(ExecutionEnded)[0].outcome


def test_nothing_is_placed_or_started_before_launchers_told_who_is_alive() -> None:
    """
    Whatever reaches a restarted hub first, a new submission or a replica's hello: warm replicas are not replaced.
    """
    hub = HubDriver()
    hub.submit(map_program(count=2), xs=xs(4))
    hub.connect()
    sent = hub.take()
    hub.restart(alive=(sent.replica,), adopted=False)

    hub.submit(task_program(), "f")
    before = list(hub.sent), hub.does(c.StartReplica)
    hub.connect(sent.replica)
    hub.when(hub.alive)
    hub.answer_all()

    assert ([], []) == before
    assert not hub.state.expected
    assert Outcome.SUCCEEDED is hub.facts(ExecutionEnded)[0].outcome


def test_replicas_that_never_come_back_are_given_up_after_the_grace() -> None:
    """
    A restarted hub does not wait for ever.
    """
    hub = HubDriver(grace_ms=10_000)
    hub.submit(task_program())
    hub.connect()
    sent = hub.take()
    hub.restart(alive=(sent.replica,))

    hub.later(11)

    assert [sent.replica] == [command.replica for command in hub.does(c.StopReplica)] or hub.started[-1]
    assert not hub.state.expected
