"""The client's half of WebSocket (RFC 6455) as far as reading a stream of events needs it: the grammar, and a reader.

`websockets` speaks for replicas, where it lives for hours; importing it takes 100 ms, which is half of what a warm
`greenroom run` may take in all (ADR 0071).
"""

from __future__ import annotations

import binascii
import hashlib
import os
import select
import socket
import struct
from collections.abc import Iterator
from typing import Final

from greenroom.http import Connection, Head, HttpFault, Request

MAX_MESSAGE: Final = 64 * 1024 * 1024
"""Bytes of one message; a page of events is far below it."""

_GUID: Final = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0, 1, 2, 8, 9, 10


class Frames:
    """Turns bytes from the server into messages, and says what must be sent back."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._message = bytearray()
        self.closed: int | None = None
        """The close code, once the server has closed; 1006 for a connection that just ended."""
        self.reason = ""
        self.reply = bytearray()
        """Bytes to send: pongs, and the echo of a close."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take what came in and give the messages that are complete; nothing means that the connection ended.

        Raises:
            HttpFault: A frame that a server must not send, or a message that is too large.
        """
        if not data and self.closed is None:
            self.closed = 1006
        self._buffer += data
        while self.closed is None:
            frame = self._next()
            if frame is None:
                return
            final, opcode, payload = frame
            if opcode in (_TEXT, _BINARY, _CONTINUATION):
                self._message += payload
                if len(self._message) > MAX_MESSAGE:
                    raise HttpFault(f"a message is longer than {MAX_MESSAGE:,} bytes")
                if final:
                    message = bytes(self._message)
                    self._message.clear()
                    yield message
            elif opcode == _PING:
                self.reply += frame_of(_PONG, payload)
            elif opcode == _CLOSE:
                self.closed = struct.unpack_from("!H", payload)[0] if len(payload) >= 2 else 1005
                self.reason = payload[2:].decode("utf-8", "replace")
                self.reply += frame_of(_CLOSE, payload[:2])
            elif opcode != _PONG:
                raise HttpFault(f"a frame of unknown kind {opcode}")

    def _next(self) -> tuple[bool, int, bytes] | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        if buffer[1] & 0x80 or buffer[0] & 0x70:
            raise HttpFault("a frame that a hub would not send: masked or compressed")
        size, start = buffer[1] & 0x7F, 2
        if size >= 126:
            start = 4 if size == 126 else 10
            if len(buffer) < start:
                return None
            size = int.from_bytes(buffer[2:start], "big")
        if size > MAX_MESSAGE:
            raise HttpFault(f"a message is longer than {MAX_MESSAGE:,} bytes")
        if len(buffer) < start + size:
            return None
        frame = bool(buffer[0] & 0x80), buffer[0] & 0x0F, bytes(buffer[start : start + size])
        del buffer[: start + size]
        return frame


def frame_of(opcode: int, payload: bytes) -> bytes:
    """A client's frame around a short payload; masked, as the standard wants it."""
    mask = os.urandom(4)
    masked = bytes(byte ^ mask[index & 3] for index, byte in enumerate(payload[:125]))
    return bytes((0x80 | opcode, 0x80 | len(masked))) + mask + masked


def handshake(path: str) -> tuple[Request, str]:
    """The request that asks for a WebSocket, and the key that its answer must know."""
    key = _base64(os.urandom(16))
    headers = (
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", key),
    )
    return Request("GET", path, headers=headers), key


def _base64(data: bytes) -> str:
    return binascii.b2a_base64(data, newline=False).decode()


def agreed(head: Head, key: str) -> bool:
    """Whether an answer with status 101 is the hub's and not some proxy's."""
    proof = _base64(hashlib.sha1((key + _GUID).encode(), usedforsecurity=False).digest())
    return head.headers.get("sec-websocket-accept") == proof


class WebSocket:
    """A stream of messages from the hub over one socket, for one thread; can be waited for with others by `fileno`."""

    def __init__(self, raw: socket.socket, rest: bytes = b"") -> None:
        raw.setblocking(False)
        self._socket = raw
        self._frames = Frames()
        self._early = rest

    def read(self, timeout: float | None = None) -> list[bytes] | None:
        """Messages as soon as there are any; none when the time is over; None once the stream has ended.

        Raises:
            HttpFault: The hub sent what no hub sends.
        """
        messages: list[bytes] = []
        if self._early:
            messages.extend(self._frames.feed(self._early))
            self._early = b""
        if not messages and self._frames.closed is None and self.wait(timeout):
            try:
                messages.extend(self._frames.feed(self._socket.recv(262144)))
            except BlockingIOError:
                pass
            except OSError:
                messages.extend(self._frames.feed(b""))
        self._answer()
        return None if not messages and self._frames.closed is not None else messages

    def wait(self, timeout: float | None) -> bool:
        """Whether something is there to be read before the time is over."""
        poller = select.poll()
        poller.register(self._socket, select.POLLIN)
        return bool(poller.poll(None if timeout is None else max(0, timeout * 1000)))

    def _answer(self) -> None:
        if self._frames.reply:
            try:
                self._socket.send(bytes(self._frames.reply))
            except OSError:
                pass  # The next read finds out what happened.
            self._frames.reply.clear()

    @property
    def code(self) -> int | None:
        """The close code, once the stream has ended."""
        return self._frames.closed

    @property
    def reason(self) -> str:
        """Why the hub closed."""
        return self._frames.reason

    def fileno(self) -> int:
        """The socket's descriptor, for `select`."""
        return self._socket.fileno()

    def close(self) -> None:
        """Leave; the hub learns it from the closed socket."""
        try:
            if self._frames.closed is None:
                self._socket.send(frame_of(_CLOSE, struct.pack("!H", 1000)))
        except OSError:
            pass
        self._socket.close()


def open_websocket(connection: Connection, path: str) -> WebSocket | Head:
    """Ask for a WebSocket on a connection, which is used up by it; a refusal is the answer's head, its body unread."""
    request, key = handshake(path)
    head = connection.open(request)
    if head.status != 101:
        return head
    raw, rest = connection.detach()
    if not agreed(head, key):
        raw.close()
        raise HttpFault(f"{connection.endpoint} does not answer as a WebSocket; is a proxy in between?")
    return WebSocket(raw, rest)
