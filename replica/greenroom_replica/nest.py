"""The nest: a small process for each replica, the parent of its supervisor and of its runners.

User code can signal its parent. Were that the zygote, one call could take every replica with it; this way it can take
its own. The nest forks, reaps, tells its supervisor, and ends with it, leaving nothing behind.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Mapping
from typing import Any

from greenroom_replica import procfs, system
from greenroom_replica.births import run_runner, run_supervisor
from greenroom_replica.brood import Ended
from greenroom_replica.core import talk
from greenroom_replica.forking import ForkLoop


class Nest:
    """One replica's forker.

    Args:
        config: The replica's configuration.
        zygote: The supervisor's own line to the zygote, for templates: passed on, not used here.
    """

    def __init__(self, config: Mapping[str, Any], zygote: socket.socket) -> None:
        self._config = config
        self._loop = ForkLoop()
        self._pids: dict[int, int] = {}
        self._code = 0
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        self._sock = ours
        self._loop.watch(ours, self._hear)
        self._supervisor = self._loop.brood.fork("supervisor", lambda: run_supervisor(config, theirs, zygote)).pid
        theirs.close()
        zygote.close()

    def run(self) -> int:
        """Fork until the supervisor ends; returns its exit code, or dies as it died."""
        signal.signal(signal.SIGTERM, lambda *_: procfs.signal(self._supervisor, signal.SIGTERM))
        self._loop.run(self._on_end, lambda: 60.0)
        self._loop.close()
        if self._code < 0:
            with contextlib.suppress(OSError):  # SIGKILL has no handler to be taken off.
                signal.signal(-self._code, signal.SIG_DFL)
            os.kill(os.getpid(), -self._code)
        return self._code

    def _hear(self) -> None:
        while True:
            try:
                body, fds = system.receive_with_fds(self._sock)
            except BlockingIOError:
                return
            except OSError:
                body, fds = b"", []
            if not body:
                self._loop.forget(self._sock)  # The supervisor is about to end.
                return
            try:
                self._obey(talk.unpack(body), fds)
            finally:
                for fd in fds:
                    os.close(fd)

    def _obey(self, order: Any, fds: list[int]) -> None:
        match order:
            case talk.Fork(number, _, _, settings):
                try:
                    child = self._loop.brood.fork(number, lambda: run_runner(settings, fds))
                except OSError as fault:
                    self._tell(talk.Unborn(number, f"cannot fork: {fault}"))
                else:
                    self._pids[number] = child.pid
                    self._tell(talk.Forked(number, child.pid, False))
            case talk.End(number, signal_number):
                if number in self._pids:
                    self._loop.brood.kill(self._pids[number], signal_number)

    def _on_end(self, ended: Ended) -> None:
        number = ended.child.key
        if isinstance(number, int):
            self._pids.pop(number, None)
            self._tell(talk.Reaped(number, ended.child.pid, ended.code, ended.cpu_s, ended.max_rss))
        else:
            self._code = ended.code
            self._loop.stopped = True

    def _tell(self, message: talk.ZygoteMessage) -> None:
        try:
            self._sock.send(talk.pack(message))
        except OSError:
            pass  # It has ended, as the kernel will tell; or it has not read hundreds of words, and is as good as dead.


def main(config: Mapping[str, Any], zygote: socket.socket) -> int:
    """Be a nest, in a process that was forked for it."""
    system.become_subreaper()
    system.set_name("greenroom-nest")
    return Nest(config, zygote).run()
