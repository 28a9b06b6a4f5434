"""Nothing in user code takes a replica down or deaf: each misbehaviour ends its own call at most."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import Any

import pytest

from greenroom_core.failure import Cause, Failure
from greenroom_protocol import frames
from greenroom_protocol.calls import Status
from tests.replica.conftest import Rig


def fine(n: int) -> int:
    return n + 1


async def works(rig: Rig) -> None:
    """The next call on the same replica comes back, and the replica is the one that it was."""
    hellos = len(rig.hub.hellos)

    outcome = await rig.hub.call(fine, 1)

    assert outcome[:2] == (Status.SUCCEEDED, 2)
    assert hellos == len(rig.hub.hellos)


async def lost(rig: Rig, node: str, item: int = 0) -> tuple[frames.Lost, Failure]:
    """What the hub is told of a call whose runner died under it."""

    def found() -> frames.Lost | None:
        return next((loss for loss in rig.hub.of(frames.Lost) if loss.node == node and item in loss.items), None)

    loss = await rig.hub.until(found)
    return loss, Failure.from_wire(loss.reason)


# What ends the process ------------------------------------------------------------------------------------------------


def segfault(n: int) -> None:
    import ctypes

    ctypes.string_at(0)


def abort(n: int) -> None:
    os.abort()


def kill_itself(n: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def kill_its_group(n: int) -> None:
    os.killpg(0, signal.SIGKILL)


def leave(n: int) -> None:
    os._exit(n)


def overflow_the_c_stack(n: int) -> None:
    import sys

    sys.setrecursionlimit(1 << 30)

    def down(value: Any) -> Any:
        return [down(value)][0]

    class Deep:
        def __getattr__(self, name: str) -> Any:
            return getattr(self, name + "x")

    repr(Deep().a)


@pytest.mark.parametrize(
    ("fn", "cause", "word"),
    [
        (segfault, Cause.CRASH, "SIGSEGV"),
        (abort, Cause.CRASH, "SIGABRT"),
        (kill_itself, Cause.CRASH, "SIGKILL"),
        (kill_its_group, Cause.CRASH, "SIGKILL"),
        (leave, Cause.EXIT, "exit code 7"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
async def test_a_call_that_ends_its_process_is_charged_with_it(rig: Rig, fn: Any, cause: Cause, word: str) -> None:
    """
    A call that kills its runner is told as lost, with the reason; the next one finds another runner.
    """
    await rig.replica()

    node = await rig.hub.assign(fn, [7])

    loss, failure = await lost(rig, node)
    assert loss.charged
    assert (cause, True) == (failure.cause, word in failure.message), failure
    await works(rig)


async def test_a_crash_says_where_it_was(rig: Rig) -> None:
    """
    The stack at a segmentation fault is part of the failure: the user's frames, none of ours.
    """
    await rig.replica()

    node = await rig.hub.assign(segfault, [0])

    _, failure = await lost(rig, node)
    assert "in segfault" in failure.traceback
    assert failure.where.startswith(__file__)
    assert "greenroom_replica" not in failure.traceback


async def test_neighbours_of_a_crash_run_again_in_the_same_attempt(rig: Rig) -> None:
    """
    Calls that waited behind the one that crashed are run by the next runner; those before it keep their outcomes.
    """

    def some_crash(n: int) -> int:
        import ctypes

        return ctypes.string_at(0) if n == 700 else n  # type: ignore[return-value]

    await rig.replica()
    await rig.hub.map(some_crash, list(range(500)))

    node = await rig.hub.assign(some_crash, list(range(500, 1500)))

    await lost(rig, node, 200)
    await rig.hub.until(lambda: sum(key[1] == node for key in rig.hub.outcomes) == 999)
    ends = {key[2]: found for key, found in rig.hub.outcomes.items() if key[1] == node}
    assert all(len(found) == 1 and found[0].value == item + 500 for item, found in ends.items())
    assert sum(len(loss.items) for loss in rig.hub.of(frames.Lost)) == 1


@pytest.mark.alone
async def test_a_runner_is_replaced_quickly(rig: Rig) -> None:
    """
    The call after a crash comes back within a fraction of a second: no container, no interpreter is started for it.
    """
    await rig.replica()
    node = await rig.hub.assign(kill_itself, [0])
    await lost(rig, node)

    start = time.monotonic()
    await works(rig)

    assert time.monotonic() - start < 1.0


# sys.exit -------------------------------------------------------------------------------------------------------------


def exits(code: Any) -> None:
    import sys

    sys.exit(code)


@pytest.mark.parametrize("code", [None, 0])
async def test_exit_without_fault_succeeds_where_nothing_should_come_out(rig: Rig, code: Any) -> None:
    """
    `sys.exit()` in a task without outputs is its end; in one with outputs it is a failure that says so.
    """
    await rig.replica()

    without = await rig.hub.call(exits, code, outputs=[])
    with_output = await rig.hub.call(exits, code)

    assert without.status == Status.SUCCEEDED
    assert (with_output.value.cause, with_output.value.type) == (Cause.EXIT, "CallExited")
    assert "sys.exit" in with_output.value.message
    await works(rig)


@pytest.mark.parametrize("code", [3, "no licence"])
async def test_exit_with_a_fault_fails(rig: Rig, code: Any) -> None:
    """
    `sys.exit(3)` and `sys.exit("text")` fail the call, with what was said.
    """
    await rig.replica()

    outcome = await rig.hub.call(exits, code, outputs=[])

    assert (outcome.status, outcome.value.cause) == (Status.FAILED, Cause.EXIT)
    assert repr(code) in outcome.value.message
    await works(rig)


# Memory ---------------------------------------------------------------------------------------------------------------


def hoard(mib: int) -> int:
    held = []
    for _ in range(mib):
        held.append(b"x" * (1 << 20))
        time.sleep(0.001)
    return len(held)


@pytest.mark.parametrize("cgroups", [False])
async def test_too_much_memory_ends_the_call_with_both_numbers(rig: Rig, cgroups: bool) -> None:
    """
    A call beyond the memory limit is told as out of memory, with the limit and what it held; the replica heals.
    """
    await rig.replica(memory_limit=64 << 20, cgroups=cgroups)

    node = await rig.hub.assign(hoard, [400])

    loss, failure = await lost(rig, node)
    assert loss.charged
    assert (failure.cause, failure.details["limit"]) == (Cause.MEMORY, 64 << 20)
    assert failure.details["peak"] > 64 << 20
    assert "64 MiB" in failure.message
    await works(rig)


async def test_a_memory_error_is_a_failure_about_memory(rig: Rig) -> None:
    """
    An allocation that the system refuses is told as lack of memory, and the runner lives on.
    """

    def ask_for_everything(n: int) -> int:
        return len(bytearray(1 << 62))

    await rig.replica()

    outcome = await rig.hub.call(ask_for_everything, 0)

    assert (outcome.status, outcome.value.cause, outcome.value.type) == (Status.FAILED, Cause.MEMORY, "MemoryError")
    assert outcome.value.details["peak"] > 0
    await works(rig)


# Processes ------------------------------------------------------------------------------------------------------------


def fork_and_come_back(n: int) -> int:
    if os.fork() == 0:
        return -1
    os.wait()
    return n


async def test_a_child_that_comes_back_from_the_call_is_nobodys(rig: Rig) -> None:
    """
    User code that forks and returns in both processes gives one outcome: the child's is dropped with it.
    """
    await rig.replica()

    outcomes = await rig.hub.map(fork_and_come_back, list(range(20)))

    assert list(range(20)) == [outcome.value for outcome in outcomes]
    assert all(len(ends) == 1 for ends in rig.hub.outcomes.values())
    await works(rig)


def bomb(n: int) -> None:
    while True:
        try:
            os.fork()
        except OSError:
            time.sleep(0.01)


async def test_a_fork_bomb_ends_its_call_and_nothing_else(rig: Rig) -> None:
    """
    A bomb is stopped at the cap, every process of it is gone, and the replica goes on.
    """
    await rig.replica(pids_limit=60, cgroups=False)

    node = await rig.hub.assign(bomb, [0])

    loss, failure = await lost(rig, node)
    assert loss.charged
    assert (failure.type, failure.details["limit"]) == ("TooManyProcesses", 60)
    await works(rig)


def kill_its_parent(n: int) -> None:
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(30)


async def test_a_call_that_kills_its_parent_takes_its_own_replica_only(rig: Rig) -> None:
    """
    Replicas of the same zygote do not notice that a call has killed the process above it.
    """
    await rig.replica("r1")
    await rig.replica("r2")

    await rig.hub.assign(kill_its_parent, [0], replica="r1")

    exited = await rig.launcher.exited()
    assert (exited.replica, exited.code) == ("r1", -signal.SIGKILL)
    outcome = await rig.hub.call(fine, 1, replica="r2")
    assert outcome.value == 2


# What Python code can do to its process -------------------------------------------------------------------------------


async def test_handlers_on_every_signal_change_nothing(rig: Rig) -> None:
    """
    A call that takes every signal for itself succeeds.
    """

    def take_all(n: int) -> int:
        taken = 0
        for number in signal.valid_signals():
            try:
                signal.signal(number, lambda *_: None)
                taken += 1
            except (OSError, ValueError):
                continue
        return taken

    await rig.replica()

    outcome = await rig.hub.call(take_all, 0)

    assert outcome.value > 20
    await works(rig)


async def test_a_signal_to_itself_that_nobody_sent_is_passed_over(rig: Rig) -> None:
    """
    SIGTERM is how calls are stopped; one that no stop stands behind does not end the call.
    """

    def term_itself(n: int) -> int:
        os.kill(os.getpid(), signal.SIGTERM)
        return n

    await rig.replica()

    assert (await rig.hub.call(term_itself, 4)).value == 4


async def test_children_of_a_call_die_of_sigterm_as_they_should(rig: Rig) -> None:
    """
    `Process.terminate()` works on a forked child, which has not inherited the runner's way with SIGTERM.
    """

    def make_and_end(n: int) -> int | None:
        import multiprocessing

        child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
        child.start()
        child.terminate()
        child.join(10)
        return child.exitcode

    await rig.replica()

    assert (await rig.hub.call(make_and_end, 0)).value == -signal.SIGTERM


async def test_exceptions_that_cannot_be_shown_are_shown(rig: Rig) -> None:
    """
    An exception that cannot be pickled, or whose `__str__` raises, is still one clear failure.
    """

    def unpicklable(n: int) -> None:
        import threading

        error = ValueError("holds a lock")
        error.lock = threading.Lock()  # type: ignore[attr-defined]
        raise error

    def unprintable(n: int) -> None:
        class Mute(Exception):
            def __str__(self) -> str:
                raise RuntimeError("no words")

        raise Mute

    await rig.replica()

    first = (await rig.hub.call(unpicklable, 0)).value
    second = (await rig.hub.call(unprintable, 0)).value

    assert (first.type, first.message, first.pickle) == ("ValueError", "holds a lock", None)
    assert "test_hard_to_kill.py" in first.where
    assert second.type.endswith("Mute")
    assert "RuntimeError" in second.message
    assert "Mute" in second.traceback
    await works(rig)


async def test_a_result_that_cannot_be_sent_fails_its_call(rig: Rig) -> None:
    """
    A result that has no form on the wire is a failure of the result, not of the replica.
    """

    def unpicklable(n: int) -> Any:
        return (x for x in range(3))

    await rig.replica()

    outcome = await rig.hub.call(unpicklable, 0)

    assert (outcome.status, outcome.value.cause) == (Status.FAILED, Cause.RESULT)
    await works(rig)


async def test_deep_recursion_is_a_failure_of_the_call(rig: Rig) -> None:
    """
    A recursion without end fails with Python's own error, clipped; one that beats Python's guard costs the runner only.

    From 3.12 on the guard counts C's frames by itself, and holds.
    """

    def recurse(n: int) -> int:
        return recurse(n + 1)

    await rig.replica()

    outcome = await rig.hub.call(recurse, 0)
    node = await rig.hub.assign(overflow_the_c_stack, [0])

    assert (outcome.value.cause, outcome.value.type) == (Cause.USER, "RecursionError")
    if sys.version_info >= (3, 12):
        assert (await rig.hub.outcome(node)).value.type == "RecursionError"
    else:
        assert (await lost(rig, node))[1].cause == Cause.CRASH
    await works(rig)


async def test_breakpoint_fails_at_once_and_names_what_to_do(rig: Rig) -> None:
    """
    `breakpoint()` cannot be answered on a replica: the failure names two commands that help. `input()` finds no input.
    """

    def stop_here(n: int) -> int:
        breakpoint()
        return n

    def ask(n: int) -> str:
        return input("name? ")

    await rig.replica()

    first = (await rig.hub.call(stop_here, 0)).value
    second = (await rig.hub.call(ask, 0)).value

    assert "greenroom debug" in first.message
    assert "--here" in first.message
    assert second.type == "EOFError"
    await works(rig)


async def test_the_traceback_is_the_users(rig: Rig) -> None:
    """
    A failure shows the user's frames from the user's function on, chained causes kept, and no frame of ours.
    """

    def inner(n: int) -> None:
        raise KeyError(n)

    def outer(n: int) -> None:
        try:
            inner(n)
        except KeyError as error:
            raise ValueError("bad pixel") from error

    await rig.replica()

    failure = (await rig.hub.call(outer, 3)).value

    assert (failure.type, failure.message) == ("ValueError", "bad pixel")
    assert failure.traceback.count("Traceback (most recent call last)") == 2
    assert "in inner" in failure.traceback
    assert "KeyError: 3" in failure.traceback
    assert "greenroom_replica" not in failure.traceback
    assert [failure.type, *failure.details["bases"]] == ["ValueError", "Exception", "BaseException"]
    assert failure.where.startswith(f"{__file__}:")
