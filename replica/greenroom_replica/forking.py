"""The loop that zygote and templates share: a single thread that waits for words and for the deaths of children."""

from __future__ import annotations

import os
import select
import signal
import socket
import time
from collections.abc import Callable
from typing import Any, Final

from greenroom_replica.brood import Brood, Ended

_READABLE: Final = select.POLLIN | select.POLLHUP | select.POLLERR


class ForkLoop:
    """Waits on sockets and on SIGCHLD, and calls who is concerned. Forks happen inside its callbacks.

    No asyncio, no threads: what is forked from here inherits as little as possible.
    """

    def __init__(self) -> None:
        self.brood = Brood(self._close_all)
        self._poll = select.poll()
        self._sockets: dict[int, tuple[socket.socket, Callable[[], None]]] = {}
        self._wake_read, self._wake_write = os.pipe()
        for fd in (self._wake_read, self._wake_write):
            os.set_blocking(fd, False)
        self._poll.register(self._wake_read, select.POLLIN)
        self._before = {number: signal.getsignal(number) for number in (signal.SIGCHLD,)}
        signal.signal(signal.SIGCHLD, _wake)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        self.stopped = False

    def watch(self, sock: socket.socket, readable: Callable[[], None]) -> None:
        """Call `readable` whenever the socket has something, or has been closed by its peer."""
        self._sockets[sock.fileno()] = (sock, readable)
        self._poll.register(sock, _READABLE)

    def forget(self, sock: socket.socket) -> None:
        """Stop watching a socket, and close it."""
        if self._sockets.pop(sock.fileno(), None) is not None:
            self._poll.unregister(sock)
        sock.close()

    def keep_open(self, sock: socket.socket) -> socket.socket:
        """Take a socket out of the loop's hands without closing it: the child of a fork needs it."""
        self._sockets.pop(sock.fileno(), None)
        return sock

    def run(self, on_end: Callable[[Ended], None], on_turn: Callable[[], float]) -> None:
        """Turn until `stopped`.

        Args:
            on_end: Hears of each child that ended.
            on_turn: Called once a turn; returns after how many seconds it wants to be called again at the latest.
        """
        while not self.stopped:
            pause = on_turn()
            try:
                ready = self._poll.poll(max(0.0, pause) * 1000)
            except InterruptedError:
                continue
            for fd, _ in ready:
                if fd == self._wake_read:
                    self._on_deaths(on_end)
                elif fd in self._sockets:
                    self._sockets[fd][1]()

    def _on_deaths(self, on_end: Callable[[Ended], None]) -> None:
        try:
            os.read(self._wake_read, 4096)
        except BlockingIOError:
            pass
        ends = self.brood.reap()
        for ended in ends:
            on_end(ended)
        self.brood.sweep()

    def close(self) -> None:
        """End all children and give back signals and descriptors."""
        self.brood.kill_all()
        self._release()
        for sock, _ in list(self._sockets.values()):
            sock.close()
        self._sockets.clear()

    def _close_all(self) -> None:
        """In a new child: nothing of the parent's stays open."""
        self._release()
        for sock, _ in self._sockets.values():
            sock.close()
        self._sockets.clear()

    def _release(self) -> None:
        signal.set_wakeup_fd(-1)
        for number, handler in self._before.items():
            signal.signal(number, handler or signal.SIG_DFL)
        for fd in (self._wake_read, self._wake_write):
            os.close(fd)


def _wake(*_: Any) -> None:
    """A Python-level handler, so that the wake-up descriptor is written at all."""


def read_all(sock: socket.socket, size: int = 1 << 16) -> bytes | None:
    """What a readable socket holds now; None if its peer has closed it."""
    try:
        data = sock.recv(size)
    except BlockingIOError:
        return b""
    except OSError:
        return None
    return data or None


def send_all(sock: socket.socket, data: bytes, patience: float = 5.0) -> bool:
    """Send everything on a non-blocking socket; False if its peer is gone or does not read for `patience` seconds."""
    deadline = time.monotonic() + patience
    view = memoryview(data)
    while view:
        try:
            view = view[sock.send(view) :]
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            select.select([], [sock], [], 0.1)
        except OSError:
            return False
    return True
