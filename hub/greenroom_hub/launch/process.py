"""Replicas as processes of this machine, forked from a zygote: one for each interpreter and what is installed in it."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog

from greenroom_core.program import Interpreter
from greenroom_hub.core.commands import StartReplica, StopReplica
from greenroom_hub.core.events import Event, LaunchFailed, ReplicaExited
from greenroom_hub.core.ledger import Capacity
from greenroom_hub.launch.configuration import Handed, Mint, configuration
from greenroom_hub.launch.sockets import socket_folder
from greenroom_protocol.zygote import ZYGOTE_KINDS, Exit, Exited, Kill, Ready, Refused, Spawn, Spawned, ZygoteTalk

log = structlog.get_logger("greenroom.launch")

_CONNECT_S = 30.0
"""Seconds that a zygote may take to import the runtime; a slow disk needs several."""


class ProcessLauncher:
    """Starts zygotes as they are needed and has them fork replicas.

    Args:
        handed: What replicas are handed.
        state: The hub's folder.
        capacity: What all replicas together may use.
        mint: Makes a token for a replica and its generation.
        post: Puts an event into the hub's inbox.
        stand_in: Whether this hub's own Python serves programs whose Python is not on its machine. Submitted from
            elsewhere, a path means nothing here; on a person's own machine it was removed, and that is worth an error.
    """

    name = "process"

    def __init__(
        self,
        handed: Handed,
        state: Path,
        capacity: Capacity,
        mint: Mint,
        post: Callable[[Event], None],
        stand_in: bool = False,
    ) -> None:
        self._handed, self._state = handed, state
        self._stand_in = stand_in
        self._capacity = capacity
        self._mint = mint
        self._post = post
        self._zygotes: dict[str, asyncio.Future[_Zygote]] = {}
        self._homes: dict[tuple[str, int], _Zygote] = {}
        self._under_way: set[tuple[str, int]] = set()
        """Replicas whose zygote is still being started; who is to stop meanwhile is taken out."""
        self._starting: set[subprocess.Popen[bytes]] = set()
        """Zygotes that have not answered yet: nobody but this launcher knows of them."""

    def capacity(self) -> Capacity:
        """What all its replicas together can use."""
        return self._capacity

    async def start(self, command: StartReplica) -> None:
        """Have the zygote of the replica's interpreter fork it."""
        key = (command.replica, command.generation)
        self._under_way.add(key)
        try:
            zygote, instead_of = await self._zygote_for(command.interpreter)
            if key not in self._under_way:
                self._post(ReplicaExited(*key, "it was stopped while it started"))
                return
            zygote.send(Spawn(*key, self._config(command, instead_of)))
        except (OSError, LaunchError) as fault:
            self._post(LaunchFailed(*key, str(fault)))
            return
        finally:
            self._under_way.discard(key)
        self._homes[key] = zygote

    async def _zygote_for(self, wanted: Interpreter | None) -> tuple[_Zygote, str]:
        """A zygote, and the Python that it stands in for; empty where it is the one that was wanted."""
        if wanted is None:
            return await self._zygote(this_interpreter()), ""
        try:
            return await self._zygote(wanted), ""
        except (OSError, LaunchError) as fault:
            if not self._stand_in or wanted.executable == sys.executable:
                raise
            log.info("the hub's own Python stands in", wanted=wanted.executable, why=str(fault))
            return await self._zygote(this_interpreter()), wanted.executable

    def _config(self, command: StartReplica, instead_of: str) -> dict[str, Any]:
        folder = self._state / "scratch" / f"{command.replica}.{command.generation}"
        told = configuration(command, self._handed, self._mint(command.replica, command.generation), str(folder))
        told["labels"]["instead_of"] = instead_of
        return told

    async def stop(self, command: StopReplica) -> None:
        """Kill a replica; its zygote tells of its end."""
        self._under_way.discard((command.replica, command.generation))
        zygote = self._homes.get((command.replica, command.generation))
        if zygote is not None:
            zygote.send(Kill(command.replica, command.generation, int(signal.SIGKILL)))

    async def adopt(self) -> list[tuple[str, int]]:
        """Connect to the zygotes that an earlier hub left."""
        found: list[tuple[str, int]] = []
        folder = self._folder()
        for socket in sorted(folder.glob("*.sock")):
            zygote = _Zygote(socket, self._heard)
            try:
                await asyncio.wait_for(zygote.connect(), 5)
            except TimeoutError:
                log.warning("a zygote does not answer", socket=str(socket))  # Without a hub it ends by itself.
                continue
            except OSError:
                socket.unlink(missing_ok=True)  # Its process is gone.
                continue
            self._zygotes[socket.stem] = _ready(zygote)
            for key in zygote.pids:
                self._homes[key] = zygote
                found.append(key)
        return found

    async def close(self, keep: bool) -> None:
        """Leave replicas to the next hub, or end them all with their zygotes."""
        for task in self._zygotes.values():
            if task.done() and not task.cancelled() and task.exception() is None:
                await task.result().close(end=not keep)
            else:
                task.cancel()
        for process in self._starting:
            process.kill()
            process.wait()
        if not keep:
            shutil.rmtree(self._state / "scratch", ignore_errors=True)

    async def logs(self, replica: str, generation: int) -> str | None:
        """The last lines that its zygote and all replicas of that zygote wrote."""
        zygote = self._homes.get((replica, generation))
        if zygote is None:
            return None
        return await asyncio.to_thread(_last_lines, zygote.socket.with_suffix(".log"))

    # Zygotes ----------------------------------------------------------------------------------------------------------

    def _folder(self) -> Path:
        folder = socket_folder(self._state) / "zygotes"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder

    async def _zygote(self, interpreter: Interpreter) -> _Zygote:
        key = _zygote_key(interpreter)
        task = self._zygotes.get(key)
        gone = task is not None and task.done() and (task.exception() is not None or task.result().gone)
        if task is None or gone:
            work = self._start_zygote(key, interpreter)
            task = self._zygotes[key] = asyncio.get_running_loop().create_task(work, name=f"zygote {key}")
        return await asyncio.shield(task)

    async def _start_zygote(self, key: str, interpreter: Interpreter) -> _Zygote:
        socket = self._folder() / f"{key}.sock"
        output = self._folder() / f"{key}.log"
        try:
            process = await asyncio.to_thread(self._spawned, interpreter, socket, output)
        except FileNotFoundError:
            raise LaunchError(interpreter.executable, "it is not on this machine") from None
        zygote = _Zygote(socket, self._heard)
        deadline = asyncio.get_running_loop().time() + _CONNECT_S
        while True:
            try:
                await zygote.connect()
            except OSError:
                if process.poll() is not None:
                    self._starting.discard(process)
                    raise LaunchError(interpreter.executable, _tail(output)) from None
                if asyncio.get_running_loop().time() > deadline:
                    self._starting.discard(process)
                    process.kill()
                    process.wait()
                    raise LaunchError(interpreter.executable, f"it did not answer within {_CONNECT_S:g} s") from None
                await asyncio.sleep(0.005)
            else:
                self._starting.discard(process)
                zygote.process = process
                log.info("zygote started", python=interpreter.executable, pid=zygote.pid)
                return zygote

    def _spawned(self, interpreter: Interpreter, socket: Path, output: Path) -> subprocess.Popen[bytes]:
        process = _spawn(interpreter, socket, output)
        self._starting.add(process)
        return process

    def _heard(self, zygote: _Zygote, message: Any) -> None:
        if isinstance(message, Spawned):
            zygote.pids[message.replica, message.generation] = message.pid
        elif isinstance(message, Exited):
            zygote.pids.pop((message.replica, message.generation), None)
            self._homes.pop((message.replica, message.generation), None)
            reason = _exit_words(message.code)
            self._post(ReplicaExited(message.replica, message.generation, reason))
        elif isinstance(message, Refused):
            self._homes.pop((message.replica, message.generation), None)
            self._post(LaunchFailed(message.replica, message.generation, message.reason))
        elif message is None:  # The zygote itself is gone; nobody would hear of the ends of those that it forked.
            zygote.end_orphans()
            for (replica, generation), home in list(self._homes.items()):
                if home is zygote:
                    del self._homes[replica, generation]
                    self._post(ReplicaExited(replica, generation, "its zygote ended"))


class LaunchError(RuntimeError):
    """A zygote that could not be started, with its own last words."""

    def __init__(self, executable: str, words: str) -> None:
        super().__init__(executable, words)
        self.executable, self.words = executable, words

    def __str__(self) -> str:
        return f"{self.executable} cannot run replicas: {self.words}"


class _Zygote:
    """The launcher's side of one zygote's conversation."""

    def __init__(self, socket: Path, heard: Callable[[_Zygote, Any], None]) -> None:
        self.socket = socket
        self.pids: dict[tuple[str, int], int] = {}
        """Supervisors that it has forked and that live, by replica and generation."""
        self.pid = 0
        self.gone = False
        self.process: subprocess.Popen[bytes] | None = None
        """What this hub has started; None for one that it has adopted."""
        self._heard = heard
        self._talk = ZygoteTalk(ZYGOTE_KINDS)
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._leaving = False

    async def connect(self) -> None:
        """Dial its socket and hear its first words."""
        reader, writer = await asyncio.open_unix_connection(str(self.socket))
        ready: Any = None
        pending: list[Any] = []
        while ready is None:
            data = await reader.read(65536)
            if not data:
                writer.close()
                raise ConnectionResetError("the zygote closed its socket")
            pending = self._talk.feed(data)
            ready = pending[0] if pending else None
        assert isinstance(ready, Ready)
        self.pid = ready.pid
        self.pids = {(str(one[0]), int(one[1])): int(one[2]) for one in ready.replicas}
        self._writer = writer
        for message in pending[1:]:
            self._heard(self, message)
        self._reading = asyncio.get_running_loop().create_task(self._read(reader), name=f"zygote {self.pid}")

    async def _read(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(OSError):  # A reset is an end as well.
            while data := await reader.read(65536):
                for message in self._talk.feed(data):
                    self._heard(self, message)
        self.gone = True
        if self._writer is not None:
            self._writer.close()
        if not self._leaving:
            self._heard(self, None)
        if self.process is not None:
            await asyncio.to_thread(self.process.wait)  # It closed its socket by ending: no zombie stays.

    def end_orphans(self) -> None:
        """Kill the supervisors that it has left behind; their runners end with them."""
        for pid in self.pids.values():
            with contextlib.suppress(OSError):
                if (
                    os.fsencode(self.socket) in Path(f"/proc/{pid}/cmdline").read_bytes()
                ):  # Its number may be another's.
                    os.kill(pid, signal.SIGKILL)
        self.pids.clear()

    def send(self, message: Any) -> None:
        """Say something to it."""
        if self._writer is None or self.gone:
            raise ConnectionResetError("the zygote is gone")
        self._writer.write(ZygoteTalk.pack(message))

    async def close(self, end: bool) -> None:
        """Hang up; with `end` the zygote and all its replicas end first."""
        self._leaving = True
        if self._writer is None or self._reading is None:
            return
        if end and not self.gone:
            self.send(Exit("the hub stops"))
            try:
                await asyncio.wait_for(asyncio.shield(self._reading), 10)
            except TimeoutError:
                os.kill(self.pid, signal.SIGKILL)
        elif self.process is not None and not self.gone:
            self.process.returncode = 0  # It outlives this hub, on purpose: there is nothing to wait for.
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()


def _ready(zygote: _Zygote) -> asyncio.Future[_Zygote]:
    """One that need not be waited for, not even for a turn of the loop: who stops at once finds it."""
    found: asyncio.Future[_Zygote] = asyncio.get_running_loop().create_future()
    found.set_result(zygote)
    return found


def this_interpreter() -> Interpreter:
    """The Python that the hub itself runs on: for programs that name none."""
    return Interpreter(sys.executable, ".".join(map(str, sys.version_info[:3])), "hub")


def _zygote_key(interpreter: Interpreter) -> str:
    told = [
        interpreter.executable,
        interpreter.distributions,
        *interpreter.paths,
        *map(str, sorted(interpreter.env.items())),
    ]
    return hashlib.sha256("\0".join(told).encode()).hexdigest()[:16]


def _spawn(interpreter: Interpreter, socket: Path, output: Path) -> subprocess.Popen[bytes]:
    """Start a zygote in a session of its own, with none of the hub's descriptors."""
    socket.unlink(missing_ok=True)
    env = {**os.environ, **interpreter.env}
    env.pop("PYTHONHOME", None)
    if interpreter.paths:
        env["PYTHONPATH"] = os.pathsep.join(interpreter.paths)
    with output.open("ab") as log_file:
        return subprocess.Popen(
            [interpreter.executable, "-m", "greenroom_replica.zygote", "--socket", str(socket)],
            stdin=subprocess.DEVNULL,
            stdout=log_file,
            stderr=log_file,
            cwd="/",
            env=env,
            start_new_session=True,
            close_fds=True,
        )


def _last_lines(path: Path, most: int = 16_384) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - most))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""


def _tail(path: Path) -> str:
    lines = _last_lines(path).strip().splitlines()
    return lines[-1] if lines else "it ended without a word"


def _exit_words(code: int) -> str:
    if code < 0:
        return f"its process was ended by {signal.Signals(-code).name}"
    return f"its process ended with code {code}"
