"""Replicas as processes of this machine, forked from a zygote: one for each interpreter and what is installed in it."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from greenroom_core.program import Interpreter
from greenroom_hub.core.commands import StartReplica, StopReplica
from greenroom_hub.core.events import Event, LaunchFailed, ReplicaExited
from greenroom_hub.core.ledger import Capacity
from greenroom_hub.launch.sockets import socket_folder
from greenroom_protocol.zygote import ZYGOTE_KINDS, Exit, Exited, Kill, Ready, Refused, Spawn, ZygoteTalk

log = structlog.get_logger("greenroom.launch")

_CONNECT_S = 30.0
"""Seconds that a zygote may take to import the runtime; a slow disk needs several."""


@dataclass(frozen=True, slots=True)
class ProcessSettings:
    """What the launcher hands on to replicas."""

    hub: str
    """Where replicas dial: `unix:///path` on the same machine."""
    state: Path
    blobs: Path
    timings: Mapping[str, float] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    """Variables of every replica."""


class ProcessLauncher:
    """Starts zygotes as they are needed and has them fork replicas.

    Args:
        settings: What is handed on.
        capacity: What all replicas together may use.
        mint: Makes a token for a replica and its generation.
        post: Puts an event into the hub's inbox.
    """

    name = "process"

    def __init__(
        self,
        settings: ProcessSettings,
        capacity: Capacity,
        mint: Callable[[str, int], str],
        post: Callable[[Event], None],
    ) -> None:
        self._settings = settings
        self._capacity = capacity
        self._mint = mint
        self._post = post
        self._zygotes: dict[str, asyncio.Task[_Zygote]] = {}
        self._homes: dict[tuple[str, int], _Zygote] = {}

    def capacity(self) -> Capacity:
        """What all its replicas together can use."""
        return self._capacity

    async def start(self, command: StartReplica) -> None:
        """Have the zygote of the replica's interpreter fork it."""
        interpreter = command.interpreter or this_interpreter()
        try:
            zygote = await self._zygote(interpreter)
            zygote.send(Spawn(command.replica, command.generation, self._config(command)))
        except (OSError, LaunchError) as fault:
            self._post(LaunchFailed(command.replica, command.generation, str(fault)))
            return
        self._homes[command.replica, command.generation] = zygote

    def _config(self, command: StartReplica) -> dict[str, Any]:
        environment, settings = command.environment, self._settings
        folder = settings.state / "scratch" / f"{command.replica}.{command.generation}"
        threads = {name: f"{max(1, int(command.cpus))}" for name in _THREAD_VARIABLES}
        return {
            "replica": command.replica,
            "generation": command.generation,
            "environment": environment.name,
            "hub": settings.hub,
            "token": self._mint(command.replica, command.generation),
            "scratch": str(folder),
            "blobs": str(settings.blobs),
            "index": command.index,
            "slots": command.slots if environment.regular else 1,
            "concurrency": environment.concurrency,
            "memory_limit": environment.limits.memory,
            "cache_memory": command.cache_memory,
            "cache_gpu_memory": environment.cache_gpu_memory,
            "env": {**threads, **settings.env, **environment.env},
            "max_calls": environment.max_calls,
            "max_memory": environment.max_memory,
            "max_age": environment.max_age,
            "labels": {"pool": command.replica.rsplit("-r", 1)[0], "project": command.project},
            "timings": dict(settings.timings),
        }

    async def stop(self, command: StopReplica) -> None:
        """Kill a replica; its zygote tells of its end."""
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
            except (OSError, TimeoutError, LaunchError):
                socket.unlink(missing_ok=True)  # Its process is gone.
                continue
            self._zygotes[socket.stem] = _ready(zygote)
            for replica, generation, _pid in zygote.replicas:
                self._homes[replica, generation] = zygote
                found.append((replica, generation))
        return found

    async def close(self, keep: bool) -> None:
        """Leave replicas to the next hub, or end them all with their zygotes."""
        for task in self._zygotes.values():
            if task.done() and not task.cancelled() and task.exception() is None:
                await task.result().close(end=not keep)
            else:
                task.cancel()
        if not keep:
            shutil.rmtree(self._settings.state / "scratch", ignore_errors=True)

    # Zygotes ----------------------------------------------------------------------------------------------------------

    def _folder(self) -> Path:
        folder = socket_folder(self._settings.state) / "zygotes"
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
        process = await asyncio.to_thread(_spawn, interpreter, socket, output)
        zygote = _Zygote(socket, self._heard)
        deadline = asyncio.get_running_loop().time() + _CONNECT_S
        while True:
            try:
                await zygote.connect()
            except OSError:
                if process.poll() is not None:
                    raise LaunchError(interpreter.executable, _tail(output)) from None
                if asyncio.get_running_loop().time() > deadline:
                    raise LaunchError(interpreter.executable, f"it did not answer within {_CONNECT_S:g} s") from None
                await asyncio.sleep(0.005)
            else:
                log.info("zygote started", python=interpreter.executable, pid=zygote.pid)
                return zygote

    def _heard(self, zygote: _Zygote, message: Any) -> None:
        if isinstance(message, Exited):
            self._homes.pop((message.replica, message.generation), None)
            reason = _exit_words(message.code)
            self._post(ReplicaExited(message.replica, message.generation, reason))
        elif isinstance(message, Refused):
            self._homes.pop((message.replica, message.generation), None)
            self._post(LaunchFailed(message.replica, message.generation, message.reason))
        elif message is None:  # The zygote itself is gone, and with it all that it forked.
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
        self.replicas: list[tuple[str, int, int]] = []
        self.pid = 0
        self.gone = False
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
        self.replicas = [(str(one[0]), int(one[1]), int(one[2])) for one in ready.replicas]
        self._writer = writer
        for message in pending[1:]:
            self._heard(self, message)
        self._reading = asyncio.get_running_loop().create_task(self._read(reader), name=f"zygote {self.pid}")

    async def _read(self, reader: asyncio.StreamReader) -> None:
        while data := await reader.read(65536):
            for message in self._talk.feed(data):
                self._heard(self, message)
        self.gone = True
        if not self._leaving:
            self._heard(self, None)

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
        self._reading.cancel()
        self._writer.close()


def _ready(zygote: _Zygote) -> asyncio.Task[_Zygote]:
    async def same() -> _Zygote:
        return zygote

    return asyncio.get_running_loop().create_task(same(), name=f"zygote {zygote.pid}")


_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_MAX_THREADS")


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


def _tail(path: Path) -> str:
    try:
        lines = path.read_text(errors="replace").strip().splitlines()
    except OSError:
        lines = []
    return lines[-1] if lines else "it ended without a word"


def _exit_words(code: int) -> str:
    if code < 0:
        return f"its process was ended by {signal.Signals(-code).name}"
    return f"its process ended with code {code}"
