"""What a replica may use, and when it is replaced: memory, processes, calls, age."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from greenroom_core.failure import Cause
from greenroom_protocol import frames
from greenroom_protocol.calls import Status
from greenroom_replica.cgroups import ControlGroup
from tests.replica.conftest import Rig
from tests.replica.test_hard_to_kill import bomb, hoard, lost, works


def fine(n: int) -> int:
    return n


def _can_make_groups() -> bool:
    group = ControlGroup.make(f"greenroom-probe-{os.getpid()}", 64 << 20, None)
    if group is not None:
        group.remove()
    return group is not None and group.limits_memory


needs_groups = pytest.mark.skipif(not _can_make_groups(), reason="control groups cannot be made here")


@needs_groups
async def test_the_kernel_enforces_memory_where_it_can(rig: Rig) -> None:
    """
    In a control group a call never holds more than its limit, and its end is told as lack of memory.
    """
    await rig.replica(memory_limit=96 << 20)

    node = await rig.hub.assign(hoard, [400])

    loss, failure = await lost(rig, node)
    assert (loss.charged, failure.cause, failure.details["limit"]) == (True, Cause.MEMORY, 96 << 20)
    assert failure.details["peak"] < 128 << 20
    await works(rig)


@needs_groups
async def test_no_group_is_left(rig: Rig) -> None:
    """
    Groups go with their runners, and with the replica.
    """
    await rig.replica(memory_limit=96 << 20, pids_limit=100)
    await rig.hub.assign(hoard, [400])
    await rig.hub.until(lambda: rig.hub.of(frames.Lost))
    await works(rig)

    rig.launcher.kill("r1", 9)
    await rig.launcher.exited()

    async with asyncio.timeout(5):
        while _groups("r1"):
            await asyncio.sleep(0.02)


def _groups(replica: str) -> list[Path]:
    roots = [Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup/pids"), Path("/sys/fs/cgroup")]
    return [path for root in roots if root.exists() for path in root.glob(f"**/greenroom-{replica}.*")]


@needs_groups
async def test_the_kernel_caps_processes_where_it_can(rig: Rig) -> None:
    """
    In a control group a fork beyond the cap fails in the user's code, which ends by its own error or its timeout.
    """

    def fork_many(n: int) -> int:
        made = 0
        try:
            for _ in range(n):
                if os.fork() == 0:
                    time.sleep(60)
                    os._exit(0)
                made += 1
        finally:
            os.killpg(0, 0)
        return made

    await rig.replica(pids_limit=20)

    outcome = await rig.hub.call(fork_many, 100)

    assert (outcome.status, outcome.value.type) == (Status.FAILED, "BlockingIOError")


async def test_a_bomb_in_a_group_or_not_leaves_a_working_replica(rig: Rig) -> None:
    """
    Whoever enforces the cap, a fork bomb with a timeout ends, and the next call works.
    """
    await rig.replica(pids_limit=40, timings={"kill_after": 0.5})

    node = await rig.hub.assign(bomb, [0], timeout=1.0)

    def ended() -> bool:
        return ("e", node, 0) in rig.hub.outcomes or any(node == loss.node for loss in rig.hub.of(frames.Lost))

    await rig.hub.until(ended, 20)
    await works(rig)


async def test_a_limit_below_an_idle_runner_is_told_not_looped(rig: Rig) -> None:
    """
    A memory limit that no runner fits in is a configuration error on the first call, with both numbers.
    """
    await rig.replica(memory_limit=1 << 20, cgroups=False)

    outcome = await rig.hub.call(fine, 1)

    failure = outcome.value
    assert failure.cause == Cause.INFRASTRUCTURE
    assert "1 MiB" in failure.message
    assert "limits" in failure.message


def take_at_once(mib: int) -> int:
    return len(b"x" * (mib << 20))


async def test_what_is_far_beyond_the_limit_is_refused_where_nothing_counts_it(rig: Rig) -> None:
    """
    Without a control group one large allocation raises in the call, in words; runner, entries and machine stay.
    """
    await rig.replica(memory_limit=64 << 20, cgroups=False)
    before = (await rig.hub.call(_pid, 0)).value

    outcome = await rig.hub.call(take_at_once, 2_000)

    assert (outcome.status, outcome.value.cause) == (Status.FAILED, Cause.MEMORY)
    assert outcome.value.message.startswith("out of memory: this process may map ")
    assert "limits=Resources(mem=...)" in outcome.value.message
    assert (await rig.hub.call(_pid, 0)).value == before


def _pid(n: int) -> int:
    return os.getpid()


@pytest.mark.parametrize("limit", [{"max_calls": 5}, {"max_age": 0.2}, {"max_memory": 200 << 20}])
async def test_a_replica_past_its_limits_asks_for_a_replacement(rig: Rig, limit: dict[str, float]) -> None:
    """
    Its figures say so, it goes on serving, and leaves when it is drained.
    """
    await rig.replica(timings={"stats": 0.05, "orphan_after": 60}, **limit)

    def grow(n: int) -> int:
        grow.held = b"x" * (n << 20)  # type: ignore[attr-defined]
        return n

    await rig.hub.map(grow, [1, 1, 1, 1, 1, 250])
    figures = await rig.hub.until(lambda: [m.figures for m in rig.hub.of(frames.Stats) if "recycle" in m.figures])

    assert next(iter(limit)) in figures[-1]["recycle"]
    assert (await rig.hub.call(fine, 3)).value == 3
    await rig.hub.send("r1", frames.Drain("replaced"))
    assert (await rig.launcher.exited()).code == 0


async def test_a_replica_past_its_limits_leaves_by_itself_in_the_end(rig: Rig) -> None:
    """
    Where no replacement comes, it goes without.
    """
    await rig.replica(max_calls=1, timings={"stats": 0.05, "recycle_after": 0.2})

    await rig.hub.call(fine, 1)

    exited = await rig.launcher.exited()
    assert exited.code == 0
    assert "max_calls=1" in rig.hub.of(frames.Bye)[0].reason


async def test_a_memory_limit_for_recycling_below_a_new_runner_is_passed_over(rig: Rig) -> None:
    """
    `max_memory` that a new process exceeds already would recycle for ever: it is told as an error instead.
    """
    await rig.replica(max_memory=1 << 20, timings={"stats": 0.05, "recycle_after": 0.1})

    await rig.hub.call(fine, 1)
    await asyncio.sleep(0.5)

    assert (await rig.hub.call(fine, 2)).value == 2
    figures = [message.figures for message in rig.hub.of(frames.Stats)]
    assert any("max_memory" in str(one.get("config_error")) for one in figures)
    assert not any("recycle" in one for one in figures)


async def test_figures_are_told_when_they_change(rig: Rig) -> None:
    """
    The hub hears what a replica uses; an idle one is silent.
    """
    await rig.replica(timings={"stats": 0.05})
    await rig.hub.map(fine, list(range(10)))
    await rig.hub.until(lambda: any(m.figures.get("calls") == 10 for m in rig.hub.of(frames.Stats)))
    await asyncio.sleep(0.3)

    before = len(rig.hub.of(frames.Stats))
    await asyncio.sleep(0.5)

    figures = rig.hub.of(frames.Stats)[-1].figures
    assert figures["rss"] > 1 << 20
    assert (figures["runners"], figures["runner_restarts"]) == (1, 0)
    assert len(rig.hub.of(frames.Stats)) - before <= 2


async def test_a_long_call_brings_its_figures(rig: Rig) -> None:
    """
    Processor time and growth of a call that took long are among its extras; a short one has none.
    """

    def work(n: int) -> int:
        held = b"x" * (30 << 20)
        end = time.process_time() + 0.05
        while time.process_time() < end:
            pass
        return len(held)

    await rig.replica()

    long, short = await rig.hub.call(work, 1), await rig.hub.call(fine, 1)

    assert long.extras["cpu_ms"] >= 50
    assert long.extras["rss_delta"] > 20 << 20
    assert short.extras == {}
