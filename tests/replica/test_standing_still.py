"""What stops, becomes something else, or does not end: found, and replaced where it must be."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import pytest

from greenroom_core.failure import Cause
from greenroom_protocol import frames
from greenroom_protocol.calls import Status
from tests.replica.conftest import Rig
from tests.replica.test_hard_to_kill import fine, kill_itself, lost, works


def stop_itself(n: int) -> int:
    os.kill(os.getpid(), signal.SIGSTOP)
    return n


def stop_its_parent(n: int) -> int:
    os.kill(os.getppid(), signal.SIGSTOP)
    return n


def be_traced(n: int) -> int:
    import ctypes

    ctypes.CDLL(None).ptrace(0, 0, 0, 0)
    return n


def be_traced_and_stop(n: int) -> int:
    be_traced(n)
    return stop_itself(n)


@pytest.mark.parametrize("isolation", ["reset", "fork"])
@pytest.mark.parametrize("fn", [stop_itself, stop_its_parent, be_traced])
async def test_what_stopped_goes_on(rig: Rig, fn: Any, isolation: str) -> None:
    """
    SIGSTOP to itself or to the process above it, or a request to be traced: the call ends, and so does the next one.
    """
    await rig.replica()

    outcome = await rig.hub.call(fn, 4, isolation=isolation)

    assert (outcome.status, outcome.value) == (Status.SUCCEEDED, 4)
    assert (await rig.hub.call(with_a_child, 5, isolation=isolation)).value == 5
    await works(rig)


def with_a_child(n: int) -> int:
    """The child's end is a signal, which stops a process that is traced."""
    import subprocess

    subprocess.run(["true"], check=True)
    return n


async def test_a_forked_child_that_waits_to_be_traced_is_one_failure(rig: Rig) -> None:
    """
    A forked child that stops for a tracer that nobody is ends its call, not the replica.
    """
    await rig.replica()

    node = await rig.hub.assign(be_traced_and_stop, [0], isolation="fork")

    _, failure = await lost(rig, node)
    assert (failure.cause, failure.type) == (Cause.CRASH, "RunnerBroken")
    await works(rig)


def become_another(n: int) -> None:
    os.execv(sys.executable, [sys.executable, "-c", "import time; time.sleep(300)"])


async def test_a_process_that_became_another_program_is_one_failure(rig: Rig) -> None:
    """
    After `os.exec` nobody is left who could give a result: the call is told so at once, not at its timeout.
    """
    await rig.replica()

    node = await rig.hub.assign(become_another, [0])

    loss, failure = await lost(rig, node)
    assert loss.charged
    assert (failure.cause, failure.type) == (Cause.EXIT, "ProcessReplaced")
    await works(rig)


def speak_nonsense(n: int) -> int:
    """Write to every socket that the process has."""
    import socket

    for fd in map(int, os.listdir("/proc/self/fd")):
        try:
            with socket.socket(fileno=os.dup(fd)) as sock:
                sock.send(b"nonsense" * 8)
        except OSError:
            continue
    return n


async def test_a_runner_that_speaks_nonsense_is_replaced(rig: Rig) -> None:
    """
    User code that writes into the line to the supervisor costs its own runner.
    """
    await rig.replica()

    node = await rig.hub.assign(speak_nonsense, [0])

    def ended() -> bool:
        return any(loss.node == node for loss in rig.hub.of(frames.Lost)) or (
            any(key[1] == node for key in rig.hub.outcomes)
        )

    await rig.hub.until(ended)
    await works(rig)


def hang_in_the_end(n: int) -> int:
    from tests.replica import plain_workshop

    plain_workshop.HANG = True
    return n


async def test_a_reset_without_end_costs_the_runner_and_not_the_outcome(rig: Rig) -> None:
    """
    Clearing away that hangs is ended after its patience; the call has succeeded, and says what became of its process.
    """
    await rig.replica(timings={"reset_patience": 0.2})

    outcome = await rig.hub.call(hang_in_the_end, 3)

    assert (outcome.status, outcome.value) == (Status.SUCCEEDED, 3)
    assert "not cleared away within 0.2 s" in outcome.extras["warnings"][0]
    await works(rig)


async def test_calls_behind_one_that_retires_its_runner_run_elsewhere(rig: Rig) -> None:
    """
    What a call has left where it cannot be put back is seen by no call that had been handed over behind it.
    """

    def where(n: int) -> int:
        from tests.replica import plain_workshop

        if n == 50:
            plain_workshop.RETIRE = "it cannot be put back"
        return os.getpid()

    await rig.replica()
    await rig.hub.map(where, [0] * 500)

    outcomes = await rig.hub.map(where, list(range(200)))

    pids = [outcome.value for outcome in outcomes]
    assert set(pids[:51]).isdisjoint(pids[51:])
    assert len(set(pids)) == 2


async def test_a_call_that_has_killed_its_process_gets_one_of_its_own(rig: Rig) -> None:
    """
    The further attempts of such a call leave the warm runner, and all that it holds, alone.
    """
    await rig.replica()
    warm = (await rig.hub.call(whose, 0)).value

    apart = (await rig.hub.call(whose, 0, attempt=2, context={"alone": True})).value
    node = await rig.hub.assign(kill_itself, [0], attempt=3, context={"alone": True})
    loss, _ = await lost(rig, node)

    assert apart != warm
    assert loss.charged
    assert (await rig.hub.call(whose, 0)).value == warm


def whose(n: int) -> int:
    return os.getpid()


async def test_a_call_that_patches_what_outcomes_are_written_with_fails_no_other(rig: Rig) -> None:
    """
    Whatever a call does to msgpack, to the streams and to standard input, the next one finds a working runner.
    """

    def patch(n: int) -> int:
        import msgpack

        msgpack.packb = lambda *args, **named: b"junk"
        sys.stdin.close()
        sys.stdout.close()
        os.close(0)
        return n

    def look(n: int) -> Any:
        print("seen")
        return sys.stdin.read(), os.readlink("/proc/self/fd/0"), sys.stdout.encoding

    await rig.replica()
    await rig.hub.assign(patch, [0])

    outcome = await rig.hub.call(look, 0)

    assert outcome.value == ["", "/dev/null", "utf-8"]
    assert (await rig.hub.call(fine, 1)).value == 2
