"""Replicas that a crashed hub left: they wait a minute for the next one, unless they are told that there is none."""

from __future__ import annotations

import glob
import os
import shutil
import signal
import socket
import time
from typing import Final

from greenroom.state import StateFolder
from greenroom_protocol.zygote import Exit, Ready, ZygoteFault, ZygoteTalk

_PATIENCE: Final = 10.0
"""Seconds that a zygote may take to end its replicas, before it is killed and they with it."""

_PAUSE: Final = 0.5
"""Seconds of one wait for its words."""


def end_orphans(state: StateFolder) -> int:
    """End the zygotes of a hub that is not there any more, with all their replicas; gives how many there were.

    Nothing may start a hub meanwhile: it would adopt what is being ended.
    """
    folder = _sockets(state)
    ended = sum(_end(path) for path in sorted(glob.glob(os.path.join(glob.escape(folder), "zygotes", "*.sock"))))
    if folder != state.path:
        shutil.rmtree(folder, ignore_errors=True)
    return ended


def _sockets(state: StateFolder) -> str:
    """Where the hub had its sockets: in its state folder, or elsewhere if that one's path is too long for them."""
    record = state.record()
    return os.path.dirname(record.socket) if record is not None and record.socket else state.path


def _end(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_PAUSE)
        try:
            connection.connect(path)
        except OSError:
            return False  # Its process is gone.
        pid = _tell(connection)
    if pid is not None:
        _kill(pid)
    return True


def _tell(connection: socket.socket) -> int | None:
    """Have a zygote end everything; its pid if it does not."""
    talk, pid = ZygoteTalk(), None
    deadline = time.monotonic() + _PATIENCE
    try:
        connection.sendall(ZygoteTalk.pack(Exit("its hub is gone")))
    except OSError:
        pass  # It is ending.
    while time.monotonic() < deadline:
        try:
            data = connection.recv(65536)
            messages = talk.feed(data)
        except TimeoutError:
            continue
        except (OSError, ZygoteFault):
            return pid
        if not data:
            return None
        pid = next((message.pid for message in messages if isinstance(message, Ready)), pid)
    return pid


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
