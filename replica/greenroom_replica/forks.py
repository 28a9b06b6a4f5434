"""A supervisor's lines to those who fork for it: its nest, and the zygote for runners that come from templates."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from greenroom_replica import system
from greenroom_replica.core import talk


class NoForker(Exception):
    """The replica's nest has ended: it can get no new runner."""

    def __str__(self) -> str:
        return "the process that forks for this replica has ended, so that no new runner can be had"


class _Line:
    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.is_open = True

    def send(self, message: talk.ZygoteMessage, fds: list[int]) -> None:
        if not self.is_open:
            raise NoForker
        try:
            system.send_with_fds(self.sock, talk.pack(message), fds)
        except (BrokenPipeError, ConnectionError) as fault:
            raise NoForker from fault


class Forks:
    """Asks for runners.

    Args:
        nest: The supervisor's end of its line to the nest.
        zygote: Of its line to the zygote.
        heard: Called with what they say.
        lost: Called once if the nest has ended.
    """

    def __init__(
        self, nest: socket.socket, zygote: socket.socket, heard: Callable[[Any], None], lost: Callable[[], None]
    ) -> None:
        self._nest, self._zygote = _Line(nest), _Line(zygote)
        self._heard, self._lost = heard, lost
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ready: set[tuple[str, ...]] = set()
        self._asked: set[tuple[str, ...]] = set()
        self._from_template: set[int] = set()

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Listen."""
        self._loop = loop
        for line in (self._nest, self._zygote):
            line.sock.setblocking(False)
            loop.add_reader(line.sock, self._read, line)

    def has_template(self, libraries: Sequence[str]) -> bool:
        """Whether a runner can be forked that has these libraries imported."""
        return tuple(libraries) in self._ready

    def fork(self, order: talk.Fork, fds: list[int]) -> bool:
        """Ask for a runner; from the template of its libraries if that is ready. Whether it is.

        Raises:
            NoForker: The nest has ended.
            OSError: The request could not be sent.
        """
        if self.has_template(order.libraries):
            try:
                self._zygote.send(order, fds)
            except (NoForker, OSError):
                self._ready.clear()
            else:
                self._from_template.add(order.runner)
                return True
        self._nest.send(order._replace(libraries=[]), fds)
        return False

    def want_template(self, libraries: Sequence[str], env: Mapping[str, str]) -> None:
        """Have a template made for these libraries."""
        if libraries and tuple(libraries) not in self._asked:
            self._asked.add(tuple(libraries))
            try:
                self._zygote.send(talk.Template(list(libraries), env), [])
            except (NoForker, OSError):
                pass  # Without the zygote there are no templates, and everything still works.

    def signal(self, runner: int, number: int) -> bool:
        """Signal a runner: who asks its parent cannot hit another process. False if nobody can be asked."""
        line = self._zygote if runner in self._from_template else self._nest
        try:
            line.send(talk.End(runner, number), [])
        except (NoForker, OSError):
            return False
        return True

    def _read(self, line: _Line) -> None:
        while line.is_open:
            try:
                body = line.sock.recv(1 << 20)
            except BlockingIOError:
                return
            except OSError:
                body = b""
            if not body:
                self._close(line)
                if line is self._nest:
                    self._lost()
                return
            self._take(talk.unpack(body))

    def _take(self, message: Any) -> None:
        if isinstance(message, talk.Settled):
            if not message.refused:
                self._ready.add(tuple(message.libraries))
            return
        if isinstance(message, talk.Unborn) and message.runner in self._from_template:
            self._ready.clear()
            self._asked.clear()
        if isinstance(message, talk.Reaped | talk.Unborn):
            self._from_template.discard(message.runner)
        self._heard(message)

    def _close(self, line: _Line) -> None:
        if line.is_open:
            line.is_open = False
            if self._loop is not None:
                self._loop.remove_reader(line.sock)
            line.sock.close()

    def close(self) -> None:
        """Hang up."""
        self._close(self._nest)
        self._close(self._zygote)
