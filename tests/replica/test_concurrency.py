"""Async tasks with `concurrency=n`: coroutines of one runner, told apart in context, output, cancel and crash."""

from __future__ import annotations

import asyncio
import os
import time

import pytest

from greenroom_core.failure import Cause, Failure
from greenroom_protocol import frames
from greenroom_protocol.calls import Status
from tests.replica.conftest import Rig

FOUR = {
    "concurrency": 4,
    "timings": {"started_after": 0.05, "kill_after": 0.5, "term_after": 0.5, "blocked_after": 0.2},
}


async def nap(seconds: float) -> float:
    await asyncio.sleep(seconds)
    return seconds


async def pid(n: int) -> int:
    return os.getpid()


@pytest.mark.alone
async def test_calls_run_at_once_up_to_the_number(rig: Rig) -> None:
    """
    Eight naps of 0.2 s, four at a time, take two naps' time.
    """
    await rig.replica(**FOUR)
    await rig.hub.call(nap, 0.0, concurrency=4)

    start = time.monotonic()
    outcomes = await rig.hub.map(nap, [0.2] * 8, concurrency=4)

    assert 0.4 <= time.monotonic() - start < 0.75
    assert [outcome.value for outcome in outcomes] == [0.2] * 8


async def test_many_short_coroutines_all_come_back(rig: Rig) -> None:
    """
    A large map of short coroutines gives each outcome once.
    """
    await rig.replica(concurrency=32)

    outcomes = await rig.hub.map(nap, [0.001] * 1500, concurrency=32)

    assert len(outcomes) == 1500
    assert all(len(ends) == 1 for ends in rig.hub.outcomes.values())


async def test_contexts_are_each_calls_own(rig: Rig) -> None:
    """
    `current_context()` tells a coroutine its own item, before and after it has waited.
    """

    async def item(n: int) -> list[int]:
        from greenroom.context import current_context

        before = current_context().item
        await asyncio.sleep(0.01)
        return [before, current_context().item]

    await rig.replica(**FOUR)

    outcomes = await rig.hub.map(item, list(range(40)), concurrency=4)

    assert [outcome.value for outcome in outcomes] == [[n, n] for n in range(40)]


async def test_prints_are_each_calls_own(rig: Rig) -> None:
    """
    Output of coroutines that print in turns is told apart, also pieces of lines.
    """

    async def talk(n: int) -> None:
        for part in range(5):
            print(f"{n}.{part}", end=" ")
            await asyncio.sleep(0.005)
        print("end")

    await rig.replica(**FOUR)

    node = await rig.hub.assign(talk, list(range(8)), concurrency=4)
    for item in range(8):
        await rig.hub.outcome(node, item)

    for item in range(8):
        expected = "".join(f"{item}.{part} " for part in range(5)) + "end\n"
        await rig.hub.until(lambda item=item, expected=expected: rig.hub.output(node, item) == expected.encode())


async def test_output_of_a_long_coroutine_is_seen_while_it_runs(rig: Rig) -> None:
    """
    What a coroutine has printed reaches the hub before it ends.
    """

    async def long(n: int) -> None:
        print("begun")
        await asyncio.sleep(30)

    await rig.replica(**FOUR)

    node = await rig.hub.assign(long, [0], concurrency=4)

    await rig.hub.until(lambda: rig.hub.output(node) == b"begun\n")
    await rig.hub.send("r1", frames.Cancel("e", node, [], "enough"))
    await rig.hub.outcome(node)


async def test_one_coroutine_is_cancelled_among_others(rig: Rig) -> None:
    """
    A cancel ends the coroutine that it names, by a real cancellation, and no other.
    """

    async def guarded(path: str) -> str:
        with open(path + ".begun", "w"):
            pass
        try:
            await asyncio.sleep(0.6 if path.endswith("1") else 30)
        except asyncio.CancelledError:
            with open(path, "w") as file:
                file.write("cancelled")
            raise
        return "done"

    await rig.replica(**FOUR)
    paths = [str(rig.folder / f"guarded-{n}") for n in range(2)]
    node = await rig.hub.assign(guarded, paths, concurrency=4)
    await rig.hub.until(
        lambda: len(list(rig.folder.glob("guarded-*.begun"))) == 2
    )  # What has not begun has no handler.

    await rig.hub.send("r1", frames.Cancel("e", node, [0], "asked to"))
    first, second = await rig.hub.outcome(node, 0), await rig.hub.outcome(node, 1)

    assert (first.status, second.value) == (Status.CANCELLED, "done")
    assert (rig.folder / "guarded-0").read_text() == "cancelled"
    assert not (rig.folder / "guarded-1").exists()


async def test_a_coroutine_times_out_alone(rig: Rig) -> None:
    """
    A timeout counts for the coroutine that is late; the process stays.
    """
    await rig.replica(**FOUR)
    before = (await rig.hub.call(pid, 0, concurrency=4)).value

    outcomes = await rig.hub.map(nap, [0.1, 30, 0.1], concurrency=4, timeout=0.4)

    assert [outcome.status for outcome in outcomes] == [Status.SUCCEEDED, Status.FAILED, Status.SUCCEEDED]
    assert outcomes[1].value.cause == Cause.TIMEOUT
    assert (await rig.hub.call(pid, 0, concurrency=4)).value == before


async def test_a_blocked_loop_is_named_and_interrupted(rig: Rig) -> None:
    """
    A coroutine that blocks its loop is found with its stack; a timeout interrupts it though the loop is stuck.
    """

    async def blocks(n: int) -> None:
        time.sleep(n)

    await rig.replica(**FOUR)

    short = await rig.hub.call(blocks, 1, concurrency=4)
    late = await rig.hub.call(blocks, 30, concurrency=4, timeout=0.4)

    assert [text for text in short.extras["warnings"] if "blocks the event loop" in text and "blocks" in text]
    assert (late.status, late.value.cause) == (Status.FAILED, Cause.TIMEOUT)


async def test_a_crash_is_charged_to_the_coroutine_that_stepped(rig: Rig) -> None:
    """
    The process dies under one step: that call is charged, the others that had begun are lost without charge.
    """

    async def dies(n: int) -> None:
        await asyncio.sleep(0.1 if n == 2 else 30)
        os._exit(9)

    await rig.replica(**FOUR)

    node = await rig.hub.assign(dies, [0, 1, 2, 3], concurrency=4)

    await rig.hub.until(lambda: sum(len(loss.items) for loss in rig.hub.of(frames.Lost)) == 4)
    charged = {item: loss.charged for loss in rig.hub.of(frames.Lost) for item in loss.items}
    assert charged == {0: False, 1: False, 2: True, 3: False}
    reasons = {Failure.from_wire(loss.reason).cause for loss in rig.hub.of(frames.Lost) if loss.charged}
    assert reasons == {Cause.EXIT}
    assert (await rig.hub.call(nap, 0.0, concurrency=4)).status == Status.SUCCEEDED
    assert node


async def test_what_is_left_running_ends_before_the_state_is_reset(rig: Rig) -> None:
    """
    Tasks that a call has started and not awaited are cancelled at the end of the last call, which then resets.
    """

    async def leaves(path: str) -> None:
        async def later() -> None:
            try:
                await asyncio.sleep(30)
            finally:
                with open(path, "w") as file:
                    file.write("ended")

        leaves.task = asyncio.ensure_future(later())  # type: ignore[attr-defined]
        await asyncio.sleep(0)

    await rig.replica(**FOUR)
    path = rig.folder / "left"

    outcome = await rig.hub.call(leaves, str(path), concurrency=4)

    assert outcome.extras["settled"] is True
    assert path.read_text() == "ended"


async def test_sys_exit_in_a_coroutine_ends_its_call_alone(rig: Rig) -> None:
    """
    `sys.exit` in a coroutine is that call's failure; the loop and its neighbours go on.
    """

    async def exits(n: int) -> int:
        await asyncio.sleep(0.05)
        if n == 1:
            raise SystemExit(3)
        await asyncio.sleep(0.1)
        return n

    await rig.replica(**FOUR)

    outcomes = await rig.hub.map(exits, [0, 1, 2], concurrency=4)

    assert [outcome.status for outcome in outcomes] == [Status.SUCCEEDED, Status.FAILED, Status.SUCCEEDED]
    assert outcomes[1].value.cause == Cause.EXIT
