"""The zygote: one warm process that every process of an interpreter's replicas is forked from.

`python -P -m greenroom_replica.zygote --socket PATH` imports the runtime once, freezes it out of the garbage
collector's sight, and waits. It has a session of its own and outlives its hub: a hub that comes back connects to the
socket and adopts what lives. Environments that set variables which the loader, the allocator or the interpreter read
at start (`LD_*`, `MALLOC_*`, `PYTHON*`) need a zygote of their own, started with them.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib
import os
import platform
import signal
import socket
import struct
import sys
import time
from dataclasses import dataclass
from typing import Any, Final

from greenroom_protocol.zygote import (
    LAUNCHER_KINDS,
    ZYGOTE_PROTOCOL,
    Count,
    Exit,
    Exited,
    FromZygote,
    Kill,
    Living,
    Ready,
    Refused,
    Spawn,
    Spawned,
    ZygoteFault,
    ZygoteTalk,
)
from greenroom_replica import cgroups, system
from greenroom_replica.births import run_supervisor
from greenroom_replica.brood import Ended
from greenroom_replica.core import talk
from greenroom_replica.forking import ForkLoop, read_all, send_all
from greenroom_replica.templates import Line, Templates

ALREADY: Final = 3
"""Exit code when another zygote serves the socket."""

_PRELOADED: Final = (
    "asyncio",
    "websockets.asyncio.client",
    "msgpack",
    "cloudpickle",
    "greenroom_replica.supervisor",
    "greenroom_replica.runner",
    "greenroom_replica.workshops",
    "greenroom.types.resolve",
    "greenroom.types.custom",
    "greenroom.compat.finder",
    "greenroom.actor_cache",
    "greenroom.task",
    "greenroom.workflow",
    "greenroom.mapping",
    "greenroom.launch_plan",
)
"""What every child needs: the runtime, and those parts of the SDK that nearly every program imports."""


@dataclass(slots=True, eq=False)
class Replica:
    """A supervisor that lives."""

    name: str
    generation: int
    pid: int
    born: float
    line: Line


class Zygote:
    """Serves launchers on a socket, and supervisors on theirs.

    Args:
        listener: A listening unix socket; None for a replica that runs without a launcher.
        idle_after: Seconds without a launcher after which it ends, as soon as it has no replicas.
    """

    def __init__(self, listener: socket.socket | None, idle_after: float = 60.0) -> None:
        self.loop = ForkLoop()
        self._listener = listener
        self._idle_after = idle_after
        self._launchers: dict[socket.socket, ZygoteTalk] = {}
        self.replicas: dict[tuple[str, int], Replica] = {}
        self.templates = Templates(self.loop)
        self._alone_since = time.monotonic()
        self._left: set[str] = set()
        """Replicas that have ended, and whose control groups may not be empty yet."""
        self.last_exit: Exited | None = None
        """How the last replica ended; a replica without a launcher ends as it did."""
        if listener is not None:
            listener.setblocking(False)
            self.loop.watch(listener, self._accept)

    def run(self) -> None:
        """Serve until told to exit, or until nobody needs it any more."""
        cgroups.remove_left()
        self.loop.run(self._on_end, self._on_turn)
        self.loop.close()
        cgroups.remove_left()

    def stop(self) -> None:
        """End with the next turn."""
        self.loop.stopped = True

    def _on_turn(self) -> float:
        unsent = False
        for replica in self.replicas.values():
            unsent = not replica.line.flush() or unsent
        now = time.monotonic()
        if self._launchers:
            self._alone_since = now
        elif not self.replicas and not self._left and now - self._alone_since >= self._idle_after:
            self.stop()
            return 0.0
        self.templates.expire(now)
        if self._left:
            self._left = {name for name in self._left if not cgroups.remove_left(name)}
        if unsent or self._left:
            return 0.05
        return 60.0 if self.replicas else max(0.05, min(60.0, self._alone_since + self._idle_after - now))

    # Launchers ------------------------------------------------------------------------------------------------------

    def _accept(self) -> None:
        assert self._listener is not None
        try:
            sock, _ = self._listener.accept()
        except OSError:
            return
        if not _same_user(sock):
            sock.close()
            return
        sock.setblocking(False)
        self._launchers[sock] = ZygoteTalk(LAUNCHER_KINDS)
        self.loop.watch(sock, lambda: self._hear(sock))
        self._say(sock, Ready(ZYGOTE_PROTOCOL, os.getpid(), platform.python_version(), self._living()))

    def _hear(self, sock: socket.socket) -> None:
        data = read_all(sock)
        if data is None:
            self._hang_up(sock)
            return
        try:
            messages = self._launchers[sock].feed(data)
        except ZygoteFault as fault:
            self._say(sock, Refused("", 0, str(fault)))
            self._hang_up(sock)
            return
        for message in messages:
            self._serve(sock, message)

    def _serve(self, sock: socket.socket, message: Any) -> None:
        match message:
            case Spawn(replica, generation, config):
                self._say(sock, self.spawn(replica, generation, config))
            case Kill(replica, generation, number):
                living = self.replicas.get((replica, generation))
                if living is None:
                    self._say(sock, Refused(replica, generation, "no such replica lives here"))
                else:
                    self.loop.brood.kill(living.pid, number)
            case Count():
                self._say(sock, Living(self._living()))
            case Exit():
                self.stop()

    def _say(self, sock: socket.socket, message: FromZygote) -> None:
        if sock in self._launchers and not send_all(sock, ZygoteTalk.pack(message)):
            self._hang_up(sock)

    def _hang_up(self, sock: socket.socket) -> None:
        self._launchers.pop(sock, None)
        self.loop.forget(sock)

    def _living(self) -> list[list[Any]]:
        return [[replica.name, replica.generation, replica.pid] for replica in self.replicas.values()]

    # Replicas -------------------------------------------------------------------------------------------------------

    def spawn(self, name: str, generation: int, config: Any) -> Spawned | Refused:
        """Fork a supervisor, which forks its runners."""
        if (name, generation) in self.replicas:
            return Refused(name, generation, "this replica lives already")
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        line = Line(ours)
        self.loop.watch(ours, lambda: self._attend(line))
        try:
            child = self.loop.brood.fork((name, generation), lambda: run_supervisor(config, theirs))
        except OSError as fault:
            self.loop.forget(ours)
            return Refused(name, generation, f"cannot fork: {fault}")
        finally:
            theirs.close()
        self.replicas[name, generation] = Replica(name, generation, child.pid, time.monotonic(), line)
        return Spawned(name, generation, child.pid)

    def _attend(self, line: Line) -> None:
        """A supervisor asks for runners with libraries."""
        while True:
            try:
                body, fds = system.receive_with_fds(line.sock)
            except BlockingIOError:
                return
            except OSError:
                body, fds = b"", []
            if not body:
                self.loop.forget(line.sock)  # Its end is near; that it has ended is told by the kernel.
                return
            try:
                self.templates.serve(line, talk.unpack(body), fds)
            finally:
                for fd in fds:
                    os.close(fd)

    def _on_end(self, ended: Ended) -> None:
        key = ended.child.key
        if isinstance(key, tuple):
            self._replica_ended(self.replicas.pop(key), ended)
        else:
            self.templates.ended(ended)

    def _replica_ended(self, replica: Replica, ended: Ended) -> None:
        self.templates.disown(replica.line)
        self._left.add(replica.name)
        self.loop.forget(replica.line.sock)
        figures = {"cpu_s": ended.cpu_s, "max_rss": ended.max_rss, "age_s": time.monotonic() - replica.born}
        exited = Exited(replica.name, replica.generation, replica.pid, ended.code, figures)
        self.last_exit = exited
        for sock in list(self._launchers):
            self._say(sock, exited)


def _same_user(sock: socket.socket) -> bool:
    if not system.LINUX:
        return True
    _, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    return int(uid) in (os.getuid(), 0)


def preload() -> None:
    """Import what every child needs, and move it out of the garbage collector's sight: pages stay shared."""
    for name in _PRELOADED:
        importlib.import_module(name)
    gc.collect()
    gc.disable()
    gc.freeze()


def listen(path: str) -> socket.socket | None:
    """Listen on a unix socket that only this user can open; None if another process serves it already."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        try:
            listener.bind(path)
        except OSError:
            if _is_served(path):
                listener.close()
                return None
            os.unlink(path)
            listener.bind(path)
    finally:
        os.umask(before)
    listener.listen(64)
    return listener


def _is_served(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except OSError:
            return False
    return True


def _identity(path: str) -> tuple[int, int]:
    """Of a file: its number alone may have been given to another one since."""
    told = os.stat(path)
    return told.st_ino, told.st_ctime_ns


def settle() -> None:
    """Leave the launcher's session and terminal behind."""
    with contextlib.suppress(OSError):
        os.setsid()
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    system.become_subreaper()
    system.set_name("greenroom-zygot")


def main(arguments: list[str] | None = None) -> int:
    """Run a zygote until nobody needs it any more."""
    parser = argparse.ArgumentParser(prog="python -m greenroom_replica.zygote", description=__doc__)
    parser.add_argument("--socket", required=True, help="path of the unix socket to serve")
    parser.add_argument(
        "--idle-after", type=float, default=55.0, help="seconds without a hub before it ends, once no replica is left"
    )
    parser.add_argument("--ready-fd", type=int, help="a descriptor that gets a byte once the socket is there")
    options = parser.parse_args(arguments)
    settle()
    listener = listen(options.socket)
    if listener is None:
        print(f"another zygote serves {options.socket}", file=sys.stderr)  # noqa: T201
        return ALREADY
    if options.ready_fd is not None:
        os.write(options.ready_fd, b"1")
        os.close(options.ready_fd)
    ours = _identity(options.socket)
    try:
        preload()
        zygote = Zygote(listener, options.idle_after)
        signal.signal(signal.SIGTERM, lambda *_: zygote.stop())
        zygote.run()
    finally:
        with contextlib.suppress(OSError):  # Another zygote may have taken the path since.
            if _identity(options.socket) == ours:
                os.unlink(options.socket)
    return 0


if __name__ == "__main__":
    sys.exit(main())
