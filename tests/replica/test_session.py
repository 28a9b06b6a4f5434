"""A replica and its hub over a bad line: nothing is run twice, nothing is lost, and nobody is deaf for long."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from greenroom_protocol import frames
from greenroom_protocol.calls import Status
from tests.replica.conftest import Launcher, Rig, ZygoteProcess
from tests.replica.fake_hub import FakeHub, listening
from tests.replica.proxy import Proxy, proxied

QUICK = {"timings": {"heartbeat": 0.1, "silent_after": 0.5, "reconnect_most": 0.2}}


class ProxiedRig(Rig):
    proxy: Proxy


@pytest.fixture
async def line(hub: FakeHub, zygote: ZygoteProcess, tmp_path: Path) -> AsyncIterator[ProxiedRig]:
    async with listening(hub) as direct, proxied(direct) as (proxy, url):
        launcher, _ = await Launcher.connect(zygote.socket)
        rig = ProxiedRig(hub, url, launcher, zygote, tmp_path)
        rig.proxy = proxy
        yield rig
        await launcher.end_replicas()


def count(path: str) -> int:
    with open(path, "a") as file:
        file.write("x")
    return os.path.getsize(path)


def nap_and_count(path: str) -> int:
    time.sleep(0.5)
    return count(path)


async def again(rig: Rig, hellos: int) -> frames.Hello:
    """The next hello."""
    found: frames.Hello = (await rig.hub.until(lambda: rig.hub.hellos[hellos:]))[0]
    return found


async def test_the_token_is_shown(rig: Rig) -> None:
    """
    A replica dials with its own token, and says who it is.
    """
    await rig.replica(labels={"pool": "p-1"}, index=3)

    hello = rig.hub.hellos[0]
    assert rig.hub.tokens == ["Bearer token-of-r1"]
    assert (hello.replica, hello.generation, hello.held, hello.unacked) == ("r1", 1, [], [])
    assert (hello.facts["pool"], hello.facts["index"]) == ("p-1", 3)


async def test_a_call_outlives_a_cut(line: ProxiedRig) -> None:
    """
    A call that runs while the connection breaks is told as held at the next hello, and ends once.
    """
    await line.replica(**QUICK)
    path = line.folder / "runs"
    node = await line.hub.assign(nap_and_count, [str(path)])
    await asyncio.sleep(0.2)

    line.proxy.cut()
    hello = await again(line, 1)
    outcome = await line.hub.outcome(node)

    assert hello.held == [["e", node, 0, 1]]
    assert (outcome.status, outcome.value, path.read_text()) == (Status.SUCCEEDED, 1, "x")


async def test_results_are_sent_until_acked(line: ProxiedRig) -> None:
    """
    Results that the hub has not acked are announced and come again; those that it has are forgotten.
    """
    await line.replica(**QUICK)
    line.hub.acks = False
    path = line.folder / "runs"
    node = await line.hub.assign(count, [str(path)] * 5)
    await line.hub.until(lambda: all(("e", node, item) in line.hub.outcomes for item in range(5)))
    line.hub.recorded.clear()  # It was not on disk yet when the hub went.
    line.hub.acks = True

    line.proxy.cut()
    hello = await again(line, 1)
    await line.hub.until(lambda: all(len(line.hub.outcomes["e", node, item]) == 2 for item in range(5)))

    assert hello.unacked
    assert path.read_text() == "xxxxx"
    await line.hub.call(count, str(path))  # It was sent behind the acks: they have come through.
    line.proxy.cut()
    assert not {*hello.unacked} & {*(await again(line, 2)).unacked}


async def test_a_half_open_connection_is_given_up(line: ProxiedRig) -> None:
    """
    Where nothing comes through though the connection stands, the replica notices, and dials anew.
    """
    await line.replica(**QUICK)
    start = time.monotonic()

    line.proxy.swallows = True
    await again(line, 1)

    assert 0.4 < time.monotonic() - start < 3.0


async def test_a_frame_that_breaks_off_is_no_frame(line: ProxiedRig) -> None:
    """
    A connection that ends in the middle of an assignment leaves nothing half done.
    """
    await line.replica(**QUICK)
    path = line.folder / "runs"
    line.proxy.truncate_after = 200

    node = await line.hub.assign(count, [str(path)] * 50)
    hello = await again(line, 1)
    await asyncio.sleep(0.1)

    assert hello.held == []
    assert not path.exists()
    line.hub.defined["r1"].clear()
    node = await line.hub.assign(count, [str(path)] * 3)
    await line.hub.outcome(node, 2)
    assert path.read_text() == "xxx"


async def test_a_slow_line_only_delays(line: ProxiedRig) -> None:
    """
    Everything arrives over a line that holds each piece back.
    """
    line.proxy.delay = 0.02
    await line.replica()

    outcomes = await line.hub.map(fine, list(range(500)))

    assert [outcome.value for outcome in outcomes] == list(range(500))


def fine(n: int) -> int:
    return n


async def test_a_storm_of_cuts_runs_everything_once(line: ProxiedRig) -> None:
    """
    A map during which the line breaks again and again ends with each item run once and told once.
    """
    await line.replica(timings={"heartbeat": 0.1, "silent_after": 0.5, "reconnect_most": 0.05})
    path = line.folder / "runs"

    def slow_count(path: str) -> int:
        with open(path, "a") as file:
            file.write("x")
        time.sleep(0.004)
        return 1

    node = await line.hub.assign(slow_count, [str(path)] * 300)
    for _ in range(12):
        await asyncio.sleep(0.1)
        line.proxy.cut()
    await line.hub.until(lambda: sum(key[1] == node for key in line.hub.outcomes) == 300, 30)

    assert path.read_text() == "x" * 300
    assert all(len(ends) == 1 for key, ends in line.hub.outcomes.items() if key[1] == node)


async def test_a_replica_keeps_dialling_a_hub_that_is_down(line: ProxiedRig) -> None:
    """
    A replica that starts before its hub connects when that is there.
    """
    line.proxy.refuses = True
    spawned = await line.launcher.spawn(line.config(**QUICK))
    await asyncio.sleep(0.5)
    assert line.proxy.connections > 2

    line.proxy.refuses = False

    await line.hub.connected()
    assert spawned


async def test_without_a_hub_a_replica_leaves_once_its_calls_have_ended(line: ProxiedRig) -> None:
    """
    An orphan ends what runs, then goes.
    """
    await line.replica(timings={"orphan_after": 0.3, "reconnect_most": 0.1})
    path = line.folder / "runs"
    await line.hub.assign(nap_and_count, [str(path)])
    await asyncio.sleep(0.1)

    line.proxy.refuses = True
    line.proxy.cut()
    exited = await line.launcher.exited()

    assert exited.code == 0
    assert path.read_text() == "x"


async def test_an_older_hub_is_not_believed(line: ProxiedRig) -> None:
    """
    A hub whose epoch lies behind one that was seen before gets nothing.
    """
    line.hub.epoch = 5
    await line.replica(**QUICK)
    await line.hub.call(count, str(line.folder / "runs"))  # It has heard the welcome.

    line.hub.epoch = 4
    line.proxy.cut()
    hello = await again(line, 2)  # It came once, heard the old epoch, hung up, and tries again.

    assert hello.epoch == 5


async def test_a_hub_that_refuses_is_left_alone(rig: Rig) -> None:
    """
    A replica whose hello is refused says why, and ends with a code of its own.
    """
    rig.hub.refusal = "no pool 'p' is known here; the environment is gone"

    await rig.launcher.spawn(rig.config())
    exited = await rig.launcher.exited()

    assert exited.code == 4
    assert "the environment is gone" in rig.zygote.log.read_text()


async def test_a_hub_of_another_protocol_is_refused_in_one_sentence(rig: Rig) -> None:
    """
    Versions that do not fit are named, with the remedy.
    """
    rig.hub.protocol = 99

    await rig.launcher.spawn(rig.config())
    exited = await rig.launcher.exited()

    assert exited.code == 4
    assert "protocol 99" in rig.zygote.log.read_text()


async def test_calls_of_an_unknown_definition_come_back(rig: Rig) -> None:
    """
    An assignment whose definition never came is given back without charge, and says so.
    """
    await rig.replica()

    await rig.hub.send("r1", frames.Assign(b"x" * 16, "e", "n", 0, 1, 0, (1).to_bytes(8, "little"), b"\x01", {}))

    loss = (await rig.hub.until(lambda: rig.hub.of(frames.Lost)))[0]
    assert (loss.items, loss.charged) == ([0], False)
    assert "never sent" in loss.reason["message"]


async def test_a_bad_frame_closes_the_connection_and_nothing_else(rig: Rig) -> None:
    """
    Bytes that are no frame, and columns that do not agree, end that connection; the replica dials again.
    """
    await rig.replica(**QUICK)

    await rig.hub.links["r1"].send(b"\xc1 not msgpack")
    await again(rig, 1)
    await rig.hub.call(fine, 1)
    digest = next(iter(rig.hub.defined["r1"]))
    await rig.hub.send("r1", frames.Assign(digest, "e", "bad", [0, 1], 1, 0, (1).to_bytes(8, "little"), b"\x01", {}))
    await again(rig, 2)

    assert (await rig.hub.call(fine, 7)).value == 7


async def test_draining_gives_back_what_waits_and_says_bye(rig: Rig) -> None:
    """
    A drained replica ends what runs, returns the rest, has its results acked, and leaves.
    """

    def slow(n: int) -> int:
        time.sleep(0.3)
        return n

    await rig.replica()
    node = await rig.hub.assign(slow, list(range(5)))
    await asyncio.sleep(0.1)

    await rig.hub.send("r1", frames.Drain("a replacement is ready"))
    exited = await rig.launcher.exited()

    assert exited.code == 0
    assert rig.hub.of(frames.Bye)[0].reason == "a replacement is ready"
    assert sorted(item for message in rig.hub.of(frames.Returned) for item in message.items) == [1, 2, 3, 4]
    assert [key[2] for key in rig.hub.outcomes if key[1] == node] == [0]


async def test_sigterm_drains(rig: Rig) -> None:
    """
    A launcher's SIGTERM has the replica end its calls, and leave.
    """
    import signal

    await rig.replica()
    node = await rig.hub.assign(nap_and_count, [str(rig.folder / "runs")])
    await asyncio.sleep(0.2)

    rig.launcher.kill("r1", signal.SIGTERM)
    exited = await rig.launcher.exited()

    assert exited.code == 0
    assert ("e", node, 0) in rig.hub.outcomes
    assert rig.hub.of(frames.Bye)
