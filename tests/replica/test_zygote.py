"""The zygote: forks replicas, outlives its launcher, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

from greenroom_protocol.zygote import Count, Exit, Living, Ready, Refused, Spawned
from tests.replica.conftest import Launcher, Rig, ZygoteProcess, descendants_of, is_zombie
from tests.replica.fake_hub import FakeHub, listening
from tests.replica.test_hard_to_kill import kill_itself


def busy(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def leave_a_daemon(path: str) -> int:
    """Start a process that outlives its parents, as daemons do."""
    import subprocess

    command = f"(setsid sleep 1000 & echo $! > {path}) > /dev/null 2>&1"
    subprocess.run(["sh", "-c", command], check=True)
    return int(Path(path).read_text())


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists() and not is_zombie(pid)


async def gone(*pids: int, seconds: float = 5.0) -> None:
    async with asyncio.timeout(seconds):
        while any(alive(pid) for pid in pids):
            await asyncio.sleep(0.01)


async def test_it_says_who_it_is(rig: Rig) -> None:
    """
    A launcher hears of the zygote's protocol, its Python and the replicas that live, on each connection.
    """
    spawned = await rig.replica()

    other, ready = await Launcher.connect(rig.zygote.socket)

    assert isinstance(ready, Ready)
    assert (ready.pid, ready.replicas) == (rig.zygote.pid, [["r1", 1, spawned.pid]])
    assert ready.python.startswith("3.")
    await other.close()


async def test_replicas_outlive_their_launcher(rig: Rig) -> None:
    """
    A launcher that comes back finds what it left, and hears of its end.
    """
    spawned = await rig.replica()
    await rig.launcher.close()

    again, ready = await Launcher.connect(rig.zygote.socket)
    again.kill("r1")
    exited = await again.exited()

    assert ready.replicas == [["r1", 1, spawned.pid]]
    assert (exited.replica, exited.pid, exited.code) == ("r1", spawned.pid, -signal.SIGKILL)
    assert exited.figures["age_s"] > 0
    rig.launcher = again


async def test_one_replica_of_a_name_and_generation(rig: Rig) -> None:
    """
    A second spawn of the same is refused; another generation is another replica.
    """
    await rig.replica()

    second = await rig.launcher.spawn(rig.config())
    third = await rig.launcher.spawn(rig.config(generation=2, scratch=str(rig.folder / "r1-2")))

    assert isinstance(second, Refused)
    assert "lives already" in second.reason
    assert isinstance(third, Spawned)


async def test_a_configuration_that_cannot_be_read_ends_the_replica(rig: Rig) -> None:
    """
    The launcher hears of an exit, and the zygote's log of the reason.
    """
    await rig.launcher.spawn({"replica": "r1", "generation": 1})

    exited = await rig.launcher.exited()

    assert exited.code != 0
    assert "configuration" in rig.zygote.log.read_text()


async def test_bad_bytes_close_that_connection_alone(rig: Rig) -> None:
    """
    Who does not speak the protocol is told so, and others are not disturbed.
    """
    reader, writer = await asyncio.open_unix_connection(str(rig.zygote.socket))

    writer.write(b"\xff\xff\xff\xff nonsense")
    rest = await reader.read()

    assert b"at most" in rest
    writer.close()
    rig.launcher.send(Count())
    assert await rig.launcher.hear(Living) == Living([])


async def test_the_socket_is_for_its_owner_only(own_zygote: ZygoteProcess) -> None:
    """
    Nobody else may connect to the socket; a second zygote leaves it alone.
    """
    mode = stat.S_IMODE(own_zygote.socket.stat().st_mode)

    second = subprocess.run(
        [sys.executable, "-P", "-m", "greenroom_replica.zygote", "--socket", str(own_zygote.socket)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert mode == 0o600
    assert (second.returncode, "another zygote" in second.stderr) == (3, True)


async def test_a_dead_socket_is_taken_over(tmp_path: Path) -> None:
    """
    A socket file that nobody serves is no obstacle.
    """
    path = tmp_path / "z.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))

    zygote = ZygoteProcess(tmp_path)
    launcher, ready = await Launcher.connect(zygote.socket)

    assert ready.replicas == []
    await launcher.close()
    zygote.end()
    assert not path.exists()


async def test_an_idle_zygote_ends(tmp_path: Path) -> None:
    """
    Without a launcher and without replicas it is of no use any more; its socket goes with it.
    """
    zygote = ZygoteProcess(tmp_path, idle_after=0.3)

    assert await asyncio.to_thread(zygote.process.wait, 10) == 0

    assert not zygote.socket.exists()


async def test_everything_ends_after_the_hub_was_killed_for_good(hub: FakeHub, tmp_path: Path) -> None:
    """
    With no hub for the orphan's time and no call running, replicas leave, and with them zygote and hub's socket.
    """
    zygote = ZygoteProcess(tmp_path, idle_after=0.3)
    async with listening(hub, tmp_path / "hub.sock") as url:
        launcher, _ = await Launcher.connect(zygote.socket)
        rig = Rig(hub, url, launcher, zygote, tmp_path)
        await rig.replica(timings={"orphan_after": 0.3, "reconnect_most": 0.1})
        below = descendants_of(zygote.pid)
        await launcher.close()
    assert (tmp_path / "hub.sock").exists()  # As one that was killed leaves it.

    code = await asyncio.to_thread(zygote.process.wait, 15)

    assert code == 0
    assert not [pid for pid in below if alive(pid)]
    assert not (tmp_path / "r1").exists()
    assert not (tmp_path / "hub.sock").exists()


async def test_exit_takes_everything_along(hub: FakeHub, own_zygote: ZygoteProcess, tmp_path: Path) -> None:
    """
    Told to exit, the zygote ends replicas, runners in endless loops, and daemons that calls have left.
    """
    async with listening(hub, tmp_path / "hub.sock") as url:
        launcher, _ = await Launcher.connect(own_zygote.socket)
        rig = Rig(hub, url, launcher, own_zygote, tmp_path)
        await rig.replica()
        daemon = (await hub.call(leave_a_daemon, str(tmp_path / "pid"))).value
        await hub.assign(busy, [1000])
        await asyncio.sleep(0.2)
        below = descendants_of(own_zygote.pid)
        assert daemon in below

        launcher.send(Exit("the test says so"))
        await asyncio.to_thread(own_zygote.process.wait, 15)

        assert not [pid for pid in below if alive(pid)]
        await launcher.close()


async def test_a_dead_runners_daemons_die_with_it(rig: Rig) -> None:
    """
    What a call has left running is ended when its runner is.
    """
    await rig.replica()
    daemon = (await rig.hub.call(leave_a_daemon, str(rig.folder / "pid"))).value
    assert alive(daemon)

    await rig.hub.assign(lambda n: os.kill(os.getpid(), 9), [0])

    await gone(daemon)


def leave_shared_memory(n: int) -> str:
    from multiprocessing import shared_memory

    return shared_memory.SharedMemory(create=True, size=100).name


async def test_shared_memory_of_a_dead_runner_is_removed(rig: Rig) -> None:
    """
    What a call has left in shared memory goes with its runner: whoever tracks it gets the time to.
    """
    await rig.replica()
    name = (await rig.hub.call(leave_shared_memory, 0)).value
    assert Path("/dev/shm", name).exists()

    await rig.hub.assign(kill_itself, [0])

    await rig.hub.until(lambda: not Path("/dev/shm", name).exists())


async def test_a_dead_supervisor_takes_its_runner_along(rig: Rig) -> None:
    """
    Neither a busy runner nor what it has started outlives its supervisor.
    """
    spawned = await rig.replica()
    daemon = (await rig.hub.call(leave_a_daemon, str(rig.folder / "pid"))).value
    await rig.hub.assign(busy, [1000])
    await asyncio.sleep(0.2)
    below = descendants_of(spawned.pid)

    os.kill(spawned.pid, signal.SIGKILL)
    exited = await rig.launcher.exited()

    assert (exited.replica, exited.code) == ("r1", -signal.SIGKILL)
    await gone(spawned.pid, daemon, *below)


async def test_a_dead_zygote_and_supervisor_leave_no_runner(
    hub: FakeHub, own_zygote: ZygoteProcess, tmp_path: Path
) -> None:
    """
    Even if zygote and supervisor are killed at once, the kernel ends a runner in an endless loop.
    """
    async with listening(hub, tmp_path / "hub.sock") as url:
        launcher, _ = await Launcher.connect(own_zygote.socket)
        rig = Rig(hub, url, launcher, own_zygote, tmp_path)
        spawned = await rig.replica()
        await hub.assign(busy, [1000])
        await asyncio.sleep(0.2)
        below = descendants_of(own_zygote.pid)

        for pid in (own_zygote.pid, spawned.pid):
            os.kill(pid, signal.SIGKILL)
        own_zygote.process.wait(10)

        await gone(*below)
        await launcher.close()


async def test_a_dead_zygote_leaves_replicas_to_their_hub(
    hub: FakeHub, own_zygote: ZygoteProcess, tmp_path: Path
) -> None:
    """
    Without its zygote a replica still runs calls, and even replaces a runner that died.
    """
    async with listening(hub, tmp_path / "hub.sock") as url:
        launcher, _ = await Launcher.connect(own_zygote.socket)
        rig = Rig(hub, url, launcher, own_zygote, tmp_path)
        spawned = await rig.replica()
        below = descendants_of(own_zygote.pid)

        os.kill(own_zygote.pid, signal.SIGKILL)
        own_zygote.process.wait(10)
        await hub.assign(lambda n: os.kill(os.getpid(), 9), [0])
        outcome = await hub.call(lambda n: n + 1, 1)

        assert outcome.value == 2
        os.kill(spawned.pid, signal.SIGKILL)
        await gone(*below)
        await launcher.close()


async def test_many_replicas_start_together(rig: Rig) -> None:
    """
    A pool of 25 is connected shortly after it was asked for.
    """
    start = time.monotonic()

    for number in range(25):
        name = f"r{number}"
        rig.launcher.send(spawn_of(rig, name))
    await rig.hub.until(lambda: len(rig.hub.links) == 25, 30)

    assert time.monotonic() - start < 5.0  # 0.35 s where nothing else runs; this machine is shared.


def spawn_of(rig: Rig, name: str) -> object:
    from greenroom_protocol.zygote import Spawn

    return Spawn(name, 1, rig.config(name))
