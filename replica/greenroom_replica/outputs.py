"""What a runner prints, read from the files that it prints to, cut into calls, and sent on."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from greenroom_protocol.frames import Log
from greenroom_replica import system
from greenroom_replica.core.page import ERR_SHIPPED, OUT_SHIPPED
from greenroom_replica.core.redact import Redactor
from greenroom_replica.core.slots import Held

LIVE: Final = 8 * 1024 * 1024
"""Bytes of a call's output, on each stream, that are sent on as they come; what follows becomes a blob."""

TAIL: Final = 64 * 1024
"""Bytes at the end of a longer output that are sent too."""

REST: Final = 256 * 1024 * 1024
"""Bytes of a call's output that are kept as a blob; what lies between them and the tail is counted, and dropped."""

PIECE: Final = 256 * 1024
"""Bytes of one log message."""

TURN: Final = 32 * 1024 * 1024
"""Bytes that are read in one go, so that the supervisor goes on answering meanwhile."""


class Rest:
    """Output beyond what is sent live, in a file of the replica's until it becomes a blob."""

    def __init__(self, path: str, offset: int) -> None:
        self.path = path
        self.offset = offset
        """Where in the call's output it starts."""
        self.size = 0
        self.dropped = 0
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)

    def write(self, data: bytes) -> None:
        """Keep as much as there is room for."""
        room = max(0, REST - self.size)
        kept = data[:room]
        try:
            os.write(self._fd, kept)
        except OSError:  # The disk is full: the call must not suffer from what it says.
            kept = b""
        self.size += len(kept)
        self.dropped += len(data) - len(kept)

    def close(self) -> None:
        """No more follows."""
        os.close(self._fd)


class _Stream:
    """One of the two files."""

    def __init__(self, fd: int, words: memoryview, shipped: int) -> None:
        self.fd = fd
        self._words, self._shipped = words, shipped
        self.at = 1
        """Where reading goes on; `runner_output.START` at first."""
        self.start = 1
        """Where the output of the call that is being read starts."""
        self.sent = 0
        """Bytes of it that were passed on, as they were then: a secret is longer or shorter than its stars."""
        self.tail = b""
        self.rest: Rest | None = None
        self.redactor = Redactor(())

    def read(self, end: int) -> bytes:
        """The next piece before `end`."""
        data = os.pread(self.fd, min(PIECE, end - self.at), self.at)
        self.at += len(data)
        return data

    def done(self) -> None:
        """What was read needs no memory any more."""
        system.punch(self.fd, 0, self.at)
        self._words[self._shipped] = self.at

    def skip(self, to: int) -> None:
        """Leave out what no call has printed."""
        if to > self.at:
            self.at = to
            self.done()

    def begin(self, start: int, secrets: Iterable[str]) -> None:
        """Another call's output starts here."""
        self.skip(start)
        self.start, self.sent, self.tail, self.rest = start, 0, b"", None
        self.redactor = Redactor(secrets)


class Outputs:
    """A runner's two output files.

    Args:
        out: Descriptor of the stdout file.
        err: Of the stderr file.
        words: The runner's page: how far was read stands there.
    """

    def __init__(self, out: int, err: int, words: memoryview) -> None:
        self.descriptors = (out, err)
        self._streams = (_Stream(out, words, OUT_SHIPPED), _Stream(err, words, ERR_SHIPPED))
        self._call: Held | None = None
        self._mixed: dict[Held, dict[int, list[Any]]] = {}
        """Of each coroutine that has printed, by stream: bytes sent, and its redactor."""

    def ship(
        self,
        call: Held,
        bounds: tuple[int, int | None, int, int | None],
        secrets: Iterable[str],
        send: Callable[[Log], None],
        spool: Callable[[Held, int], str],
    ) -> bool:
        """Send what a call has printed since the last time.

        Args:
            call: Whose output it is.
            bounds: Where its stdout starts and ends, then its stderr; an end is None while the call runs.
            secrets: Values that must not be seen.
            send: Takes log messages.
            spool: Gives the path of a file for what is too much.

        Returns:
            Whether there is more to read already: it was cut off so that others get their turn.
        """
        if call != self._call:
            self._call = call
            for number, stream in enumerate(self._streams):
                stream.begin(bounds[2 * number] or 0, secrets)
        more = False
        for number, stream in enumerate(self._streams):
            end = bounds[2 * number + 1]
            is_last = end is not None
            limit = end if end is not None else os.fstat(stream.fd).st_size
            more = self._ship(call, number + 1, stream, limit, is_last, send, spool) or more
        return more

    def _ship(
        self,
        call: Held,
        number: int,
        stream: _Stream,
        end: int,
        is_last: bool,
        send: Callable[[Log], None],
        spool: Callable[[Held, int], str],
    ) -> bool:
        stop = end if is_last else min(end, stream.at + TURN)
        while stream.at < stop:
            data = stream.read(stop)
            if not data:
                break  # Something has made the file shorter.
            self._pass_on(call, number, stream, stream.redactor.feed(data), send, spool)
        if is_last:
            self._pass_on(call, number, stream, stream.redactor.feed(b"", is_last=True), send, spool)
            if stream.rest is not None:
                stream.rest.close()
                send(Log(*call, number, stream.sent - len(stream.tail), stream.tail))
        stream.done()
        return stream.at < end

    def _pass_on(
        self,
        call: Held,
        number: int,
        stream: _Stream,
        data: bytes,
        send: Callable[[Log], None],
        spool: Callable[[Held, int], str],
    ) -> None:
        if not data:
            return
        if stream.sent < LIVE:
            send(Log(*call, number, stream.sent, data))
        else:
            if stream.rest is None:
                stream.rest = Rest(spool(call, number), stream.sent)
            stream.rest.write(data)
            stream.tail = (stream.tail + data)[-TAIL:]
        stream.sent += len(data)

    def ship_segments(
        self,
        call: Held,
        segments: Iterable[Sequence[int]],
        secrets: Iterable[str],
        send: Callable[[Log], None],
        is_last: bool = False,
    ) -> None:
        """Send pieces of what a coroutine has printed; of more than `LIVE` bytes, the end is left out."""
        known = self._mixed.setdefault(call, {})
        for number, start, end in segments:
            stream = self._streams[number - 1]
            mine = known.setdefault(number, [0, Redactor(secrets)])
            for at in range(start, end, PIECE):
                data = mine[1].feed(os.pread(stream.fd, min(PIECE, end - at), at))
                if data and mine[0] < LIVE:
                    send(Log(*call, number, mine[0], data))
                mine[0] += len(data)
        if is_last:
            for number, (sent, redactor) in known.items():
                held = redactor.feed(b"", is_last=True)
                if held:
                    send(Log(*call, number, sent, held))
            del self._mixed[call]
            if not self._mixed:  # Nobody's output is under way: what was written so far was read.
                for number, size in enumerate(self.sizes()):
                    self._streams[number].skip(size)

    def rests(self) -> dict[int, Rest]:
        """What the call that was read last has left for blobs, by stream."""
        return {number + 1: stream.rest for number, stream in enumerate(self._streams) if stream.rest is not None}

    def sizes(self) -> tuple[int, int]:
        """Bytes in each file so far."""
        return os.fstat(self.descriptors[0]).st_size, os.fstat(self.descriptors[1]).st_size

    def close(self) -> None:
        """Let go of the files."""
        for fd in self.descriptors:
            os.close(fd)
