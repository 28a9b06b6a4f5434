"""Calls that wait for calls of their own: they never keep the replica from running those."""

from __future__ import annotations

import os
import time
from pathlib import Path

from greenroom_protocol import frames
from greenroom_protocol.calls import Status
from tests.replica.conftest import Rig, descendants_of


def pid(n: int) -> int:
    return os.getpid()


def waits_for_a_file(path: str) -> int:
    """What a sync wait inside a call looks like to the runner."""
    from greenroom.context import current_context

    with current_context().waiting():
        end = time.monotonic() + 20
        while not os.path.exists(path) and time.monotonic() < end:
            time.sleep(0.01)
    return os.getpid()


def write(path: str) -> int:
    Path(path).write_text("done")
    return os.getpid()


async def test_a_call_that_waits_lets_the_next_one_run(rig: Rig) -> None:
    """
    On a pool of one, a parent that waits for its child gets it: another runner takes the child.
    """
    await rig.replica()
    path = str(rig.folder / "signal")
    parent = await rig.hub.assign(waits_for_a_file, [path])

    child = await rig.hub.call(write, path)

    outcome = await rig.hub.outcome(parent)
    assert (child.status, outcome.status) == (Status.SUCCEEDED, Status.SUCCEEDED)
    assert child.value != outcome.value


async def test_the_runner_that_waited_is_the_warm_one_again(rig: Rig) -> None:
    """
    It holds the entries, so it takes the next calls; the one that stood in for it leaves.
    """
    spawned = await rig.replica()
    before = (await rig.hub.call(pid, 0)).value
    path = str(rig.folder / "signal")
    parent = await rig.hub.assign(waits_for_a_file, [path])
    await rig.hub.call(write, path)
    await rig.hub.outcome(parent)

    after = [(await rig.hub.call(pid, n)).value for n in range(3)]

    assert after == [before] * 3
    await rig.hub.until(lambda: len(descendants_of(spawned.pid)) == 1)


async def test_what_was_handed_over_behind_a_waiting_call_goes_elsewhere(rig: Rig) -> None:
    """
    Calls that the runner held already do not wait behind one that waits for them.
    """

    def first_waits(path: str) -> str:
        from greenroom.context import current_context

        if path.endswith("wait"):
            with current_context().waiting():
                while not os.path.exists(path[:-5]):
                    time.sleep(0.01)
        else:
            Path(path).write_text("")
        return path

    await rig.replica()
    target = str(rig.folder / "target")
    await rig.hub.map(first_waits, [str(rig.folder / "x")] * 200)

    outcomes = await rig.hub.map(first_waits, [f"{target}-wait"] + [target] * 20)

    assert {outcome.status for outcome in outcomes} == {Status.SUCCEEDED}


async def test_waits_may_nest(rig: Rig) -> None:
    """
    A child that waits for a grandchild on the same replica is served too.
    """
    await rig.replica()
    paths = [str(rig.folder / f"signal-{n}") for n in range(4)]
    waiting = [await rig.hub.assign(waits_for_a_file, [path]) for path in paths]

    for path in reversed(paths):
        await rig.hub.call(write, path)

    for node in waiting:
        assert (await rig.hub.outcome(node)).status == Status.SUCCEEDED


async def test_eager_bodies_run_beside_the_warm_runner(rig: Rig) -> None:
    """
    A call whose body makes calls of its own never takes the warm runner.
    """
    await rig.replica()
    warm = (await rig.hub.call(pid, 0)).value
    body = await rig.hub.assign(waits_for_a_file, [str(rig.folder / "signal")], options={"mode": "eager"})

    inner = await rig.hub.call(pid, 1)
    (rig.folder / "signal").write_text("")

    assert inner.value == warm
    assert (await rig.hub.outcome(body)).value != warm


async def test_a_waiting_call_can_be_cancelled(rig: Rig) -> None:
    """
    A parent that waits is interrupted like any other call.
    """
    await rig.replica(timings={"started_after": 0.05})
    node = await rig.hub.assign(waits_for_a_file, [str(rig.folder / "never")])
    await rig.hub.until(lambda: rig.hub.of(frames.Started))

    await rig.hub.send("r1", frames.Cancel("e", node, [], "asked to"))

    assert (await rig.hub.outcome(node)).status == Status.CANCELLED
    assert (await rig.hub.call(pid, 0)).status == Status.SUCCEEDED
