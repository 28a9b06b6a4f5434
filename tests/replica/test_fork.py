"""`isolation="fork"`: each call in a child of the warm runner."""

from __future__ import annotations

import os
import signal
import time

import pytest

from greenroom_core.failure import Cause, Failure
from greenroom_protocol import frames
from greenroom_protocol.calls import Outcomes, Status
from tests.replica.conftest import Rig
from tests.replica.test_workshops import LOADER, started


def pids(n: int) -> list[int]:
    return [os.getpid(), os.getppid()]


async def test_each_call_has_a_process_of_its_own_below_the_runner(rig: Rig) -> None:
    """
    Calls run one after the other in children of one warm process.
    """
    await rig.replica()

    outcomes = await rig.hub.map(pids, list(range(30)), isolation="fork")

    assert len({outcome.value[0] for outcome in outcomes}) == 30
    assert len({outcome.value[1] for outcome in outcomes}) == 1


async def test_nothing_is_left_behind(rig: Rig) -> None:
    """
    Whatever a call does to its process, the next one does not see it.
    """

    def wreck(n: int) -> list[object]:
        import subprocess
        import sys
        import threading

        below = subprocess.run(["pgrep", "-P", str(os.getppid()), "-x", "sleep"], capture_output=True, check=False)
        seen = [os.environ.get("WRECKED"), hasattr(sys, "wrecked"), threading.active_count(), below.stdout.decode()]
        subprocess.Popen(["sleep", "1000"], start_new_session=True)
        os.environ["WRECKED"] = "1"
        sys.wrecked = True  # type: ignore[attr-defined]
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
        os.closerange(3, 5000)
        return seen

    await rig.replica()

    outcomes = await rig.hub.map(wreck, list(range(5)), isolation="fork")

    assert [outcome.value for outcome in outcomes] == [[None, False, 1, ""]] * 5


async def test_a_crash_costs_the_child_alone(rig: Rig) -> None:
    """
    A child that dies is charged to its call; the runner and the calls behind it go on.
    """

    def some_crash(n: int) -> int:
        if n == 2:
            os.kill(os.getpid(), signal.SIGSEGV)
        return os.getppid()

    await rig.replica()

    node = await rig.hub.assign(some_crash, [0, 1, 2, 3, 4], isolation="fork")
    parents = {(await rig.hub.outcome(node, item)).value for item in (0, 1, 3, 4)}

    loss = (await rig.hub.until(lambda: rig.hub.of(frames.Lost)))[0]
    assert (loss.items, loss.charged, Failure.from_wire(loss.reason).type) == ([2], True, "SIGSEGV")
    assert len(parents) == 1


async def test_timeouts_and_cancels_reach_the_child(rig: Rig) -> None:
    """
    A child is interrupted like a runner, and killed where that does not help; the runner stays.
    """

    def late(n: int) -> None:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            try:
                time.sleep(60)
            except BaseException:
                if n == 0:
                    raise

    await rig.replica(timings={"kill_after": 0.5})
    parent = (await rig.hub.call(pids, 0, isolation="fork")).value[1]

    outcomes = await rig.hub.map(late, [0, 1], isolation="fork", timeout=0.3)

    assert [(outcome.status, outcome.value.cause) for outcome in outcomes] == [(Status.FAILED, Cause.TIMEOUT)] * 2
    assert (await rig.hub.call(pids, 0, isolation="fork")).value[1] == parent


async def test_output_of_a_child_is_its_calls(rig: Rig) -> None:
    """
    What a child prints, to the last piece of a line, belongs to its call.
    """

    def say(n: int) -> None:
        print("call", n, end="")

    await rig.replica()

    node = await rig.hub.assign(say, [1, 2], isolation="fork")
    await rig.hub.outcome(node, 1)

    await rig.hub.until(lambda: rig.hub.output(node, 0) == b"call 1")
    await rig.hub.until(lambda: rig.hub.output(node, 1) == b"call 2")


async def test_an_entry_missed_in_a_child_is_loaded_in_the_runner(rig: Rig) -> None:
    """
    The first child loads for itself; the runner loads too, so that the next child hits.
    """
    project = await started(rig)
    project.write("flow.py", LOADER)
    definition = project.define("flow.py", "work", isolation="fork")

    first = await rig.hub.call(definition, 1)
    await rig.hub.until(lambda: any(message.loaded for message in rig.hub.of(frames.Cache)))
    second = await rig.hub.call(definition, 1)

    assert (first.status, second.status) == (Status.SUCCEEDED, Status.SUCCEEDED)
    rows = [row for result in rig.hub.results for row in Outcomes.unpack(result.body).cache]
    assert [(row["misses"], row["hits"]) for row in rows] == [(1, 0), (0, 1)]


async def test_unseeded_children_draw_different_numbers(rig: Rig) -> None:
    """
    Children of one runner do not repeat each other's random numbers.
    """
    project = await started(rig)
    project.write("flow.py", "import random\n\ndef work(n: int) -> float:\n    return random.random()\n")

    outcomes = await rig.hub.map(project.define("flow.py", "work", isolation="fork"), list(range(20)))

    assert len({outcome.value for outcome in outcomes}) == 20


async def test_foreign_threads_move_the_call_to_a_fresh_process(rig: Rig) -> None:
    """
    Where a library's own threads make a fork unsafe, the call runs in a fresh process and names the library.
    """
    pytest.importorskip("onnxruntime")
    project = await started(rig)
    project.write(
        "flow.py",
        """
        import os
        from pathlib import Path

        import magika
        import numpy
        from greenroom.actor_cache import actor_cache

        @actor_cache
        def model() -> object:
            return magika.Magika()

        def warm(n: int) -> int:
            model()
            return os.getpid()

        def work(n: int) -> list[str]:
            found = model().identify_bytes(b"def f():\\n    return 1\\n" * 20)
            return [str(found.output.label), str(os.getppid())]
        """,
    )
    warm = (await rig.hub.call(project.define("flow.py", "warm", isolation="none"), 0, seconds=60)).value

    outcome = await rig.hub.call(project.define("flow.py", "work", isolation="fork"), 0, seconds=60)

    assert outcome.status == Status.SUCCEEDED, outcome.value
    assert outcome.value[0] == "python"
    assert outcome.value[1] != str(warm)
    assert "onnxruntime" in outcome.extras["warnings"][-1]


async def test_a_fork_costs_little_beside_a_hundred_megabytes(rig: Rig) -> None:
    """
    With 100 MB resident in the runner, a forked call costs some milliseconds over its own work.
    """
    project = await started(rig)
    project.write(
        "flow.py",
        """
        from greenroom.actor_cache import actor_cache

        @actor_cache
        def model() -> bytes:
            return b"x" * (100 << 20)

        def work(n: int) -> int:
            return len(model())
        """,
    )
    definition = project.define("flow.py", "work", isolation="fork")
    await rig.hub.map(definition, [0, 1])
    await rig.hub.until(lambda: any(message.loaded for message in rig.hub.of(frames.Cache)))

    start = time.monotonic()
    await rig.hub.map(definition, list(range(20)))

    assert (time.monotonic() - start) / 20 < 0.5  # 6 ms where nothing else runs; the machine may be shared.
