"""Fresh runners: a process for each call, from a spare or from a template with the program's libraries."""

from __future__ import annotations

import asyncio
import os
import signal
import time

import pytest

from greenroom_protocol.calls import Status
from tests.replica.conftest import Rig, descendants_of
from tests.replica.test_workshops import started


def pid(n: int) -> int:
    return os.getpid()


def nap(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


async def test_every_call_of_a_regular_task_has_a_process_of_its_own(rig: Rig) -> None:
    """
    A supervisor with slots runs each call in a runner that has run nothing before and runs nothing after.
    """
    await rig.replica(slots=2)

    outcomes = await rig.hub.map(pid, list(range(30)), isolation="fresh")

    assert len({outcome.value for outcome in outcomes}) == 30


@pytest.mark.alone
async def test_slots_are_used_at_the_same_time_and_no_more(rig: Rig) -> None:
    """
    Six naps in three slots take two naps' time.
    """
    await rig.replica(slots=3)
    await rig.hub.call(nap, 0.0, isolation="fresh")

    start = time.monotonic()
    await rig.hub.map(nap, [0.3] * 6, isolation="fresh")

    assert 0.6 <= time.monotonic() - start < 1.1


async def test_no_runner_is_left_but_the_spare(rig: Rig) -> None:
    """
    Runners end with their calls.
    """
    spawned = await rig.replica(slots=2)

    await rig.hub.map(pid, list(range(10)), isolation="fresh")

    await rig.hub.until(lambda: len(descendants_of(spawned.pid)) <= 1)  # The spare.


async def test_a_task_may_ask_for_a_fresh_process_on_a_warm_replica(rig: Rig) -> None:
    """
    `isolation="fresh"` on a warm replica gives the call a process of its own; the warm one stays, and waits meanwhile.
    """
    await rig.replica()
    warm = (await rig.hub.call(pid, 0)).value

    fresh = await rig.hub.map(pid, [0, 1, 2], isolation="fresh")

    assert len({warm, *(outcome.value for outcome in fresh)}) == 4
    assert (await rig.hub.call(pid, 0)).value == warm


async def test_a_crash_in_a_fresh_runner_is_charged_to_its_call(rig: Rig) -> None:
    """
    One regular call that dies takes no other with it.
    """

    def some_die(n: int) -> int:
        if n == 3:
            os._exit(1)
        return n

    await rig.replica(slots=2)

    node = await rig.hub.assign(some_die, list(range(8)), isolation="fresh")

    outcomes = [await rig.hub.outcome(node, item) for item in range(8) if item != 3]
    assert [outcome.value for outcome in outcomes] == [0, 1, 2, 4, 5, 6, 7]
    await rig.hub.until(lambda: [m for m in rig.hub.messages if getattr(m, "items", None) == [3]])


PROGRAM = """
    import sys

    BEFORE = "{library}" in sys.modules

    import {library}

    def work(n: int) -> list[str]:
        return [str(BEFORE), {library}.__version__]
"""


@pytest.mark.parametrize("library", ["numpy", "pandas"])
async def test_libraries_are_there_already_from_the_second_call_on(rig: Rig, library: str) -> None:
    """
    The first call shows which libraries a program imports; later runners are forked from a process that has them.
    """
    pytest.importorskip(library)
    project = await started(rig, slots=2)
    project.write("flow.py", PROGRAM.format(library=library))
    definition = project.define("flow.py", "work", isolation="fresh")
    first = await rig.hub.call(definition, 0, seconds=60)

    async with asyncio.timeout(60):
        while (last := await rig.hub.call(definition, 0, seconds=60)).value[0] == "False":
            await asyncio.sleep(0.1)

    assert (first.status, first.value[0]) == (Status.SUCCEEDED, "False"), first.value
    assert last.value == ["True", first.value[1]]


async def test_a_template_that_does_not_answer_is_passed_over(rig: Rig) -> None:
    """
    Where nobody forks from a template any more, runners are forked elsewhere after a patience, and no call is lost.
    """
    pytest.importorskip("numpy")
    project = await started(rig, slots=2, timings={"birth_patience": 0.2})
    project.write("flow.py", PROGRAM.format(library="numpy"))
    definition = project.define("flow.py", "work", isolation="fresh")
    async with asyncio.timeout(60):
        while (await rig.hub.call(definition, 0, seconds=60)).value[0] == "False":
            await asyncio.sleep(0.1)

    os.kill(rig.zygote.pid, signal.SIGSTOP)
    try:
        outcomes = await rig.hub.map(definition, [0] * 4)
    finally:
        os.kill(rig.zygote.pid, signal.SIGCONT)

    assert all(outcome.status == Status.SUCCEEDED for outcome in outcomes)
    assert "False" in [outcome.value[0] for outcome in outcomes]
