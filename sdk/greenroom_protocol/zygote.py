"""What a hub's process launcher and a zygote say to each other, over a unix socket of the same user.

A message is four bytes of length (little-endian) and a msgpack array: its kind, then its fields by position. Nothing
here does I/O: `ZygoteTalk` turns messages into bytes and bytes into messages, for a blocking socket as for a loop.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, TypeAlias

import msgpack

ZYGOTE_PROTOCOL: Final = 1
"""Raised whenever a message here changes its meaning or its fields."""

MAX_MESSAGE: Final = 4 * 1024 * 1024
"""Bytes of the largest message; a replica's configuration is a few KiB."""

_LENGTH: Final = struct.Struct("<I")


class ZygoteFault(ValueError):
    """Bytes that are no message of this conversation."""


# Launcher -> zygote -------------------------------------------------------------------------------------------------


class Spawn(NamedTuple):
    """Fork a supervisor; answered by `Spawned` or `Refused`, and once by `Exited`."""

    replica: str
    generation: int
    config: Mapping[str, Any]
    """A `greenroom_replica.config.ReplicaConfig` as plain data."""


class Kill(NamedTuple):
    """Send a signal to a replica's supervisor: SIGTERM lets it end its calls, SIGKILL takes its runners with it."""

    replica: str
    generation: int
    signal: int


class Count(NamedTuple):
    """Ask which replicas live; answered by `Living`. A hub that came back adopts what it finds."""


class Exit(NamedTuple):
    """End everything: replicas, templates, the zygote itself."""

    reason: str


# Zygote -> launcher -------------------------------------------------------------------------------------------------


class Ready(NamedTuple):
    """The zygote's first words on every connection."""

    protocol: int
    pid: int
    python: str
    replicas: list[list[Any]]
    """`[replica, generation, pid]` of each that lives, as in `Living`."""


class Spawned(NamedTuple):
    """The supervisor runs; it dials the hub by itself."""

    replica: str
    generation: int
    pid: int


class Exited(NamedTuple):
    """A supervisor ended; its runners and all their children are being ended too."""

    replica: str
    generation: int
    pid: int
    code: int
    """Its exit code; minus the signal's number if one killed it."""
    figures: Mapping[str, Any]
    """`cpu_s`, `max_rss` (bytes), `age_s`."""


class Living(NamedTuple):
    """The answer to `Count`."""

    replicas: list[list[Any]]
    """`[replica, generation, pid]` of each."""


class Refused(NamedTuple):
    """A `Spawn` or a message that cannot be served, and why."""

    replica: str
    generation: int
    reason: str


ToZygote: TypeAlias = Spawn | Kill | Count | Exit
FromZygote: TypeAlias = Ready | Spawned | Exited | Living | Refused

LAUNCHER_KINDS: Final[Mapping[int, type[Any]]] = {1: Spawn, 2: Kill, 3: Count, 4: Exit}
"""What a launcher may say, by the number that starts the message."""

ZYGOTE_KINDS: Final[Mapping[int, type[Any]]] = {20: Ready, 21: Spawned, 22: Exited, 23: Living, 24: Refused}
"""What a zygote may say, by the number that starts the message."""


class ZygoteTalk:
    """One side of a connection between launcher and zygote, without the socket.

    Args:
        kinds: What the other side may say: `ZYGOTE_KINDS` for the launcher, `LAUNCHER_KINDS` for the zygote.
    """

    def __init__(self, kinds: Mapping[int, type[Any]] = ZYGOTE_KINDS) -> None:
        self._kinds = kinds
        self._buffer = bytearray()

    @staticmethod
    def pack(message: ToZygote | FromZygote) -> bytes:
        """The bytes to send for `message`."""
        body: bytes = msgpack.packb((_NUMBERS[type(message)], *message), unicode_errors="surrogatepass")
        return _LENGTH.pack(len(body)) + body

    def feed(self, data: bytes) -> list[Any]:
        """Take what a read of the socket gave; returns the messages that it completed.

        Raises:
            ZygoteFault: The bytes are no message, or one too large; the connection cannot go on.
        """
        self._buffer += data
        messages = []
        while len(self._buffer) >= _LENGTH.size:
            (size,) = _LENGTH.unpack_from(self._buffer)
            if size > MAX_MESSAGE:
                raise ZygoteFault(f"a message of {size} bytes; at most {MAX_MESSAGE} are taken")
            end = _LENGTH.size + size
            if len(self._buffer) < end:
                break
            messages.append(self._read(bytes(self._buffer[_LENGTH.size : end])))
            del self._buffer[:end]
        return messages

    def _read(self, body: bytes) -> Any:
        try:
            raw = msgpack.unpackb(body, strict_map_key=False, unicode_errors="surrogatepass")
            kind = self._kinds[raw[0]]
        except (ValueError, TypeError, LookupError, msgpack.UnpackException) as fault:
            raise ZygoteFault(f"not a message: {type(fault).__name__}: {fault}") from fault
        if len(raw) - 1 != len(kind._fields):
            raise ZygoteFault(f"a {kind.__name__} message has {len(kind._fields)} fields, got {len(raw) - 1}")
        return kind._make(raw[1:])


_NUMBERS: Final = {kind: number for kinds in (LAUNCHER_KINDS, ZYGOTE_KINDS) for number, kind in kinds.items()}
