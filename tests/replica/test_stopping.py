"""Timeouts and cancels end calls and keep what is warm; only code that nothing can interrupt costs the runner."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import pytest

from greenroom_core.failure import Cause, Failure
from greenroom_protocol import frames
from greenroom_protocol.calls import Status
from tests.replica.conftest import Rig


def pid(n: int) -> int:
    return os.getpid()


def sleep(seconds: float) -> str:
    time.sleep(seconds)
    return "slept"


def spin(n: int) -> None:
    while True:
        n += 1


def stuck_in_c(n: int) -> None:
    import itertools

    sum(itertools.repeat(n))  # One call into C, without end: no handler of Python's runs.


def ignores(n: int) -> None:
    end = time.monotonic() + n
    while time.monotonic() < end:
        try:
            time.sleep(0.05)
        except BaseException:
            pass


def asks(n: int) -> str:
    from greenroom.context import current_context

    while not current_context().cancelled:
        time.sleep(0.01)
    return "stopped by itself"


def cleans_up(path: str) -> None:
    try:
        time.sleep(60)
    finally:
        with open(path, "w") as file:
            file.write("clean")


async def async_sleep(n: int) -> None:
    import asyncio

    await asyncio.sleep(60)


async def async_blocks(n: int) -> None:
    time.sleep(60)


async def began(rig: Rig, node: str, item: int = 0) -> None:
    """The call is known to run."""
    await rig.hub.until(lambda: any((m.node, m.item) == (node, item) for m in rig.hub.of(frames.Started)))


QUICK = {"timings": {"started_after": 0.05, "kill_after": 0.5, "term_after": 0.5}}


@pytest.mark.parametrize("fn", [sleep, spin, async_sleep, async_blocks], ids=lambda fn: fn.__name__)
@pytest.mark.alone
async def test_a_cancelled_call_ends_within_a_second_and_its_runner_stays(rig: Rig, fn: Any) -> None:
    """
    Python code is interrupted where it stands, sleeping or busy, and the process with all that it holds goes on.
    """
    await rig.replica(**QUICK)
    before = (await rig.hub.call(pid, 0)).value
    node = await rig.hub.assign(fn, [60])
    await began(rig, node)

    start = time.monotonic()
    await rig.hub.send("r1", frames.Cancel("e", node, [], "asked to"))
    outcome = await rig.hub.outcome(node)

    assert time.monotonic() - start < 1.0
    assert (outcome.status, outcome.value.cause) == (Status.CANCELLED, Cause.CANCELLED)
    assert (await rig.hub.call(pid, 0)).value == before


@pytest.mark.alone
async def test_a_timeout_fails_the_call_and_keeps_the_runner(rig: Rig) -> None:
    """
    A call beyond its timeout fails with the limit and the place where it stood.
    """
    await rig.replica(**QUICK)
    before = (await rig.hub.call(pid, 0)).value

    start = time.monotonic()
    outcome = await rig.hub.call(sleep, 60, timeout=0.3)

    assert 0.25 < time.monotonic() - start < 1.5
    failure = outcome.value
    assert (outcome.status, failure.cause, failure.type) == (Status.FAILED, Cause.TIMEOUT, "CallTimedOut")
    assert "0.3 s" in failure.message
    assert failure.where.startswith(__file__)
    assert (await rig.hub.call(pid, 0)).value == before


async def test_finally_blocks_run(rig: Rig) -> None:
    """
    An interrupted call runs its `finally` blocks.
    """
    await rig.replica(**QUICK)
    path = rig.folder / "cleaned"
    node = await rig.hub.assign(cleans_up, [str(path)])
    await began(rig, node)

    await rig.hub.send("r1", frames.Cancel("e", node, [0], "asked to"))

    await rig.hub.outcome(node)
    assert path.read_text() == "clean"


async def test_a_call_that_asks_is_let_stop_by_itself(rig: Rig) -> None:
    """
    A call that reads `cancelled` gets its time: it is not interrupted, and counts as cancelled though it returned.
    """
    await rig.replica(timings={"started_after": 0.05, "term_after": 30, "kill_after": 30})
    node = await rig.hub.assign(asks, [0])
    await began(rig, node)

    await rig.hub.send("r1", frames.Cancel("e", node, [], "asked to"))
    outcome = await rig.hub.outcome(node)

    assert outcome.status == Status.CANCELLED


@pytest.mark.parametrize("fn", [stuck_in_c, ignores], ids=lambda fn: fn.__name__)
async def test_what_cannot_be_interrupted_is_killed(rig: Rig, fn: Any) -> None:
    """
    Code that no interruption reaches costs its runner; the failure says where it was, and the next call runs.
    """
    await rig.replica(**QUICK)
    before = (await rig.hub.call(pid, 0)).value

    outcome = await rig.hub.call(fn, 60, timeout=0.3)

    failure = outcome.value
    assert (outcome.status, failure.cause) == (Status.FAILED, Cause.TIMEOUT)
    assert fn.__name__ in failure.traceback
    assert (await rig.hub.call(pid, 0)).value != before
    assert rig.hub.of(frames.Lost) == []


async def test_waiting_calls_are_cancelled_where_they_wait(rig: Rig) -> None:
    """
    A cancelled node's calls end without being run, also those that a runner held already.
    """
    await rig.replica(**QUICK)
    await rig.hub.map(pid, list(range(300)))
    blocker = await rig.hub.assign(sleep, [60])
    node = await rig.hub.assign(pid, list(range(50)))
    await began(rig, blocker)

    await rig.hub.send("r1", frames.Cancel("e", node, [], "asked to"))
    outcomes = [await rig.hub.outcome(node, item) for item in range(50)]

    assert {outcome.status for outcome in outcomes} == {Status.CANCELLED}
    await rig.hub.send("r1", frames.Cancel("e", blocker, [], "asked to"))
    await rig.hub.outcome(blocker)


async def test_one_item_is_cancelled_and_its_neighbours_are_not(rig: Rig) -> None:
    """
    A cancel names items; the others of the map run.
    """
    await rig.replica(**QUICK)
    node = await rig.hub.assign(sleep, [0.3, 60, 0.0])
    await began(rig, node, 0)

    await rig.hub.send("r1", frames.Cancel("e", node, [1], "asked to"))
    outcomes = [await rig.hub.outcome(node, item) for item in range(3)]

    assert [outcome.status for outcome in outcomes] == [Status.SUCCEEDED, Status.CANCELLED, Status.SUCCEEDED]


async def test_a_stale_interruption_hits_nobody(rig: Rig) -> None:
    """
    Calls that end just as they are cancelled leave the next ones alone.
    """
    await rig.replica(**QUICK)
    for _ in range(20):
        node = await rig.hub.assign(sleep, [0.02])
        after = await rig.hub.assign(sleep, [0.05])
        await rig.hub.send("r1", frames.Cancel("e", node, [], "asked to"))

        outcome = await rig.hub.outcome(after)

        assert (outcome.status, outcome.value) == (Status.SUCCEEDED, "slept")


async def test_revoked_calls_come_back_and_are_not_run(rig: Rig) -> None:
    """
    What no runner has begun is given back, also from behind a call that turned out to be long.
    """
    await rig.replica(**QUICK)

    def touch_or_sleep(path: str) -> None:
        if path.endswith("-0"):
            time.sleep(0.6)
        with open(path, "w"):
            pass

    await rig.hub.map(touch_or_sleep, [str(rig.folder / "warm-up-1")] * 200)
    node = await rig.hub.assign(touch_or_sleep, [str(rig.folder / f"item-{n}") for n in range(40)])
    await began(rig, node)

    await rig.hub.send("r1", frames.Revoke("e", node, list(range(10, 40))))
    returned = (await rig.hub.until(lambda: rig.hub.of(frames.Returned)))[0]
    await rig.hub.until(lambda: all(("e", node, item) in rig.hub.outcomes for item in range(10)))

    assert sorted(returned.items) == list(range(10, 40))
    assert set(returned.attempts) == {1}
    assert not [n for n in range(10, 40) if (rig.folder / f"item-{n}").exists()]
    assert ("e", node, 10) not in rig.hub.outcomes


async def test_started_is_told_for_long_calls_only(rig: Rig) -> None:
    """
    The hub hears of a start only when a call has run for longer than it asked to hear of.
    """
    rig.hub.settings = {"started_after_ms": 300}
    await rig.replica()

    await rig.hub.map(sleep, [0.0] * 50)
    node = await rig.hub.assign(sleep, [0.6])
    await rig.hub.outcome(node)

    told = rig.hub.of(frames.Started)
    assert [(message.node, message.item, message.attempt) for message in told] == [(node, 0, 1)]
    assert abs(told[0].started_us / 1e6 - time.time()) < 5


@pytest.mark.alone
async def test_results_do_not_wait_behind_a_long_call(rig: Rig) -> None:
    """
    What ended before a call that turned out to be long is told while that one runs.
    """

    def sometimes_long(n: int) -> int:
        if n == 30:
            time.sleep(5)
        return n

    await rig.replica()
    await rig.hub.map(sometimes_long, [0] * 300)

    start = time.monotonic()
    node = await rig.hub.assign(sometimes_long, list(range(40)))
    await rig.hub.outcome(node, 29)

    assert time.monotonic() - start < 1.0
    await rig.hub.send("r1", frames.Cancel("e", node, [], "enough"))
    await rig.hub.outcome(node, 39)


async def test_a_lost_runner_says_what_went_with_it(rig: Rig) -> None:
    """
    The hub is told which entries are gone with a runner.
    """
    await rig.replica()
    node = await rig.hub.assign(pid, [0])
    await rig.hub.outcome(node)
    digest = next(iter(rig.hub.defined["r1"]))
    recipe = {"loader": "m:load", "key": "k1", "recipe": {"module": "m", "qualname": "load", "args": b""}}
    await rig.hub.send("r1", frames.Prewarm(digest, [recipe]))
    await rig.hub.until(lambda: any(message.loaded for message in rig.hub.of(frames.Cache)))

    node = await rig.hub.assign(lambda n: os.kill(os.getpid(), signal.SIGKILL), [0])

    gone = await rig.hub.until(lambda: [message.gone for message in rig.hub.of(frames.Cache) if message.gone])
    assert [entry[:2] for entry in gone[0]] == [["m:load", "k1"]]
    assert isinstance(Failure.from_wire(rig.hub.of(frames.Lost)[0].reason), Failure)
