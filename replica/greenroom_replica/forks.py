"""Where a supervisor's runners come from: forked from itself, or from a template by way of the zygote.

The supervisor is the parent of its runners, not the zygote: user code can signal its parent, and so can harm the
replica that it runs on and no other. It is also their subreaper: whatever a runner leaves behind becomes its child, and
is ended.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from greenroom_replica import system
from greenroom_replica.births import run_runner
from greenroom_replica.brood import Brood
from greenroom_replica.core import talk


class Forks:
    """Makes runners, and tells of their births and deaths.

    Args:
        zygote: The supervisor's end of its line to the zygote.
        heard: Called with `Forked`, `Unborn` and `Reaped`.
    """

    def __init__(self, zygote: socket.socket, heard: Callable[[Any], None]) -> None:
        self._zygote = zygote
        self._heard = heard
        self._brood = Brood(_leave_parent)
        self._pids: dict[int, int] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._has_zygote = True
        self._ready: set[tuple[str, ...]] = set()
        self._asked: set[tuple[str, ...]] = set()
        self._from_template: set[int] = set()

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Listen to the zygote, and for the deaths of runners."""
        self._loop = loop
        self._zygote.setblocking(False)
        loop.add_reader(self._zygote, self._read)
        loop.add_signal_handler(signal.SIGCHLD, self._reap)

    # Births ---------------------------------------------------------------------------------------------------------

    def has_template(self, libraries: Sequence[str]) -> bool:
        """Whether a runner can be forked that has these libraries imported."""
        return tuple(libraries) in self._ready

    def fork(self, order: talk.Fork, fds: list[int]) -> bool:
        """Make a runner; from the template of its libraries if that is ready. Whether it is.

        Raises:
            OSError: There are too many processes, or there is too little memory.
        """
        if self.has_template(order.libraries) and self._ask(order, fds):
            self._from_template.add(order.runner)
            return True
        child = self._brood.fork(order.runner, lambda: run_runner(order.settings, fds))
        self._pids[order.runner] = child.pid
        assert self._loop is not None
        self._loop.call_soon(self._heard, talk.Forked(order.runner, child.pid, False))
        return False

    def want_template(self, libraries: Sequence[str], env: Mapping[str, str]) -> None:
        """Have a template made for these libraries."""
        if libraries and tuple(libraries) not in self._asked:
            self._asked.add(tuple(libraries))
            self._ask(talk.Template(list(libraries), env), [])

    def distrust(self, runner: int, libraries: Sequence[str]) -> None:
        """Fork from here what a template was asked for and has not made: this runner, and those after it."""
        self._from_template.discard(runner)
        self._ready.discard(tuple(libraries))

    def _ask(self, message: talk.ZygoteMessage, fds: list[int]) -> bool:
        """Say something to the zygote; without it there are no templates, and everything still works."""
        if not self._has_zygote:
            return False
        try:
            system.send_with_fds(self._zygote, talk.pack(message), fds)
        except OSError:
            self._ready.clear()
            return False
        return True

    # Deaths ---------------------------------------------------------------------------------------------------------

    def signal(self, runner: int, number: int) -> bool:
        """Signal a runner. False if that cannot be done: a template's runner, and no zygote to ask."""
        if runner in self._from_template:
            return self._ask(talk.End(runner, number), [])
        if runner in self._pids:
            self._brood.kill(self._pids[runner], number)
        return True

    def _reap(self) -> None:
        for ended in self._brood.reap():
            number = ended.child.key
            assert isinstance(number, int)
            self._pids.pop(number, None)
            self._heard(talk.Reaped(number, ended.child.pid, ended.code, ended.cpu_s, ended.max_rss))
        self._brood.sweep()

    def close(self) -> None:
        """End all runners, and hang up."""
        if self._loop is not None:
            self._loop.remove_signal_handler(signal.SIGCHLD)
        self._brood.kill_all()
        self._hang_up()

    # The zygote speaks ----------------------------------------------------------------------------------------------

    def _read(self) -> None:
        while self._has_zygote:
            try:
                body = self._zygote.recv(1 << 20)
            except BlockingIOError:
                return
            except OSError:
                body = b""
            if not body:
                self._hang_up()
                return
            self._take(talk.unpack(body))

    def _take(self, message: Any) -> None:
        if isinstance(message, talk.Settled):
            if not message.refused:
                self._ready.add(tuple(message.libraries))
            return
        if isinstance(message, talk.Unborn):
            self._ready.clear()
            self._asked.clear()
        if isinstance(message, talk.Reaped | talk.Unborn):
            self._from_template.discard(message.runner)
        self._heard(message)

    def _hang_up(self) -> None:
        if self._has_zygote:
            self._has_zygote = False
            self._ready.clear()
            if self._loop is not None:
                self._loop.remove_reader(self._zygote)
            self._zygote.close()


def _leave_parent() -> None:
    """In a new child: nothing of the supervisor's goes on here. Its descriptors are closed where the runner begins."""
    gc.freeze()  # What is garbage here would close descriptors by numbers that mean something else by then.
    asyncio._set_running_loop(None)
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
