"""A supervisor's line to its zygote: runners are asked for, and their deaths told, on it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

from greenroom_replica import system
from greenroom_replica.core import talk


class ZygoteGone(Exception):
    """The zygote has ended: this replica can get no new runner."""

    def __str__(self) -> str:
        return "the replica's zygote has ended, so no new runner can be had"


class Forks:
    """Asks the zygote for runners.

    Args:
        sock: The supervisor's end of the socket pair that was made at its fork.
        heard: Called with what the zygote says.
        lost: Called once if the zygote has ended.
    """

    def __init__(self, sock: socket.socket, heard: Callable[[Any], None], lost: Callable[[], None]) -> None:
        self._sock = sock
        self._heard, self._lost = heard, lost
        self._loop: asyncio.AbstractEventLoop | None = None
        self.is_gone = False

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Listen."""
        self._sock.setblocking(False)
        self._loop = loop
        loop.add_reader(self._sock, self._read)

    def send(self, message: talk.ZygoteMessage, fds: list[int] | None = None) -> None:
        """Say something to the zygote.

        Raises:
            ZygoteGone: It has ended.
        """
        try:
            system.send_with_fds(self._sock, talk.pack(message), fds or [])
        except (BrokenPipeError, ConnectionError) as fault:
            raise ZygoteGone from fault

    def _read(self) -> None:
        while not self.is_gone:
            try:
                body = self._sock.recv(1 << 20)
            except BlockingIOError:
                return
            except OSError:
                body = b""
            if not body:
                self.close()
                self._lost()
                return
            self._heard(talk.unpack(body))

    def close(self) -> None:
        """Hang up."""
        if not self.is_gone:
            self.is_gone = True
            if self._loop is not None:
                self._loop.remove_reader(self._sock)
            self._sock.close()
