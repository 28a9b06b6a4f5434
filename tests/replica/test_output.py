"""What calls print, and what they do to their descriptors."""

from __future__ import annotations

import asyncio
import os
import time

import pytest

from greenroom.blobs import LocalBlobs
from greenroom_protocol import frames
from greenroom_protocol.calls import Status
from tests.replica.conftest import Rig
from tests.replica.test_hard_to_kill import works


@pytest.mark.parametrize("bounds", [(0, 1001), (3, 19_000), (0, 1 << 20)], ids=str)
async def test_closing_descriptors_costs_nothing_but_them(rig: Rig, bounds: tuple[int, int]) -> None:
    """
    A call that closes every descriptor that it finds succeeds, and the next one can print again.
    """

    def close_all(bounds: list[int]) -> str:
        os.closerange(*bounds)
        return "closed"

    def say(n: int) -> int:
        print("still here")
        return n

    await rig.replica()

    outcome = await rig.hub.call(close_all, list(bounds))

    assert outcome[:2] == (Status.SUCCEEDED, "closed")
    node = await rig.hub.assign(say, [5])
    assert (await rig.hub.outcome(node)).value == 5
    await rig.hub.until(lambda: rig.hub.output(node) == b"still here\n")


async def test_closed_streams_are_opened_again(rig: Rig) -> None:
    """
    A call that closes `sys.stdout`, or points descriptor 1 elsewhere, does not silence the next.
    """

    def silence(how: str) -> None:
        import sys

        if how == "stream":
            sys.stdout.close()
            sys.stderr.close()
        else:
            os.dup2(os.open("/dev/null", os.O_WRONLY), 1)

    def say(n: int) -> None:
        print("hello", n)

    await rig.replica()
    for how in ("stream", "descriptor"):
        await rig.hub.call(silence, how)

        node = await rig.hub.assign(say, [3])

        await rig.hub.outcome(node)
        await rig.hub.until(lambda node=node: rig.hub.output(node) == b"hello 3\n")


async def test_a_gigabyte_of_prints_succeeds_and_needs_no_memory(rig: Rig) -> None:
    """
    However much a call prints, it succeeds; its beginning and its end reach the hub, and memory does not hold the rest.
    """

    def print_much(mib: int) -> int:
        line = "x" * (1 << 16)
        for _ in range(mib * 16):
            print(line)
        print("the end")
        return mib

    await rig.replica(blobs=str(rig.folder / "blobs"))
    before = _shared_memory()

    node = await rig.hub.assign(print_much, [1024])
    most = 0
    deadline = time.monotonic() + 60
    while ("e", node, 0) not in rig.hub.outcomes and time.monotonic() < deadline:
        most = max(most, _shared_memory() - before)
        await asyncio.sleep(0.02)
    outcome = await rig.hub.outcome(node)

    assert outcome.value == 1024
    assert outcome.extras["log"]["out"] > 1 << 30
    assert rig.hub.output(node).endswith(b"the end\n")
    rest = outcome.extras["log"]["rest"]["1"]
    kept = LocalBlobs(rig.folder / "blobs").path(rest["blob"]).stat().st_size
    assert rest["offset"] + kept + rest["dropped"] == outcome.extras["log"]["out"]
    assert most < 128 << 20, f"{most >> 20} MiB of output stood in memory"
    await works(rig)


def _shared_memory() -> int:
    with open("/proc/meminfo") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("Shmem:"))


async def test_a_print_from_c_is_the_calls_own(rig: Rig) -> None:
    """
    Bytes that C code, or a child process, writes to descriptor 1 are attributed to the call like a Python print.
    """

    def print_from_everywhere(n: int) -> None:
        import ctypes
        import subprocess

        libc = ctypes.CDLL(None)
        libc.puts(b"from C %d" % n)
        libc.fflush(None)
        subprocess.run(["echo", f"from a child {n}"], check=True)
        print(f"from Python {n}")

    await rig.replica()

    node = await rig.hub.assign(print_from_everywhere, [1, 2])

    await rig.hub.outcome(node, 1)
    for item, n in ((0, 1), (1, 2)):
        expected = f"from C {n}\nfrom a child {n}\nfrom Python {n}\n".encode()
        await rig.hub.until(lambda item=item, expected=expected: rig.hub.output(node, item) == expected)


async def test_output_is_seen_while_the_call_runs(rig: Rig) -> None:
    """
    What a long call has printed reaches the hub before it ends.
    """

    def long(n: int) -> None:
        print("begun")
        time.sleep(30)

    await rig.replica()

    node = await rig.hub.assign(long, [0])

    await rig.hub.until(lambda: rig.hub.output(node) == b"begun\n")
    await rig.hub.send("r1", frames.Cancel("e", node, [], "enough"))
    await rig.hub.outcome(node)


async def test_the_last_words_of_a_killed_call_are_kept(rig: Rig) -> None:
    """
    What was printed before a SIGKILL is there, pieces of lines included.
    """

    def dies(n: int) -> None:
        import sys

        print("a line")
        sys.stdout.write("a piece")
        sys.stdout.flush()
        os.kill(os.getpid(), 9)

    await rig.replica()

    node = await rig.hub.assign(dies, [0])

    await rig.hub.until(lambda: rig.hub.output(node) == b"a line\na piece")


async def test_secrets_are_not_seen(rig: Rig) -> None:
    """
    Values of secrets are replaced by stars in output and in failures.
    """

    def leaks(n: int) -> None:
        print("the password is", os.environ["PASSWORD"])
        raise ValueError(f"bad password {os.environ['PASSWORD']}")

    await rig.replica()
    secrets = {"PASSWORD": "hunter22"}

    node = await rig.hub.assign(leaks, [0], secrets=secrets, env=secrets)
    failure = (await rig.hub.outcome(node)).value

    await rig.hub.until(lambda: rig.hub.output(node) == b"the password is ***\n")
    assert failure.message == "bad password ***"
    assert "hunter22" not in failure.traceback


async def test_silent_calls_cost_no_message(rig: Rig) -> None:
    """
    A call that prints nothing has no log, and neither has what is printed by another.
    """

    def some_talk(n: int) -> int:
        if n == 77:
            print("only me")
        return n

    await rig.replica()

    node = await rig.hub.assign(some_talk, list(range(300)))
    for item in (77, 299):
        await rig.hub.outcome(node, item)

    logs = [(log.item, log.data) for log in rig.hub.of(frames.Log)]
    assert logs == [(77, b"only me\n")]
    assert rig.hub.outcomes["e", node, 77][0].extras["log"] == {"out": 8, "err": 0}
