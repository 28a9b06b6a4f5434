"""A runner's stdout and stderr: files in memory that the supervisor holds too.

Nothing is sent while a call prints: the bytes stand in the file, whoever wrote them (Python, C, a child process), and
the offsets at a call's start and end say which are its own. What was written survives the runner's death.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import time
from collections.abc import Callable
from typing import Any, Final, NoReturn

from greenroom_replica.core.page import ERR_AT, ERR_SHIPPED, OUT_AT, OUT_SHIPPED

AHEAD: Final = 16 * 1024 * 1024
"""Bytes that Python code may print before the supervisor has read them: memory, until then."""

_PATIENCE: Final = 5.0
"""Seconds that a print waits for a supervisor that reads nothing at all; then it goes on."""

START: Final = 1
"""Where output starts. Not at 0: a descriptor at another offset than ours is then always another file."""


class _Throttled(io.FileIO):
    """A raw stream whose writer waits when its reader is far behind, so that a gigabyte of prints needs no memory."""

    def __init__(self, fd: int, shipped: Callable[[], int]) -> None:
        super().__init__(fd, "w", closefd=False)
        self._shipped = shipped
        self._unchecked = 0

    def write(self, data: object, /) -> int:
        written = super().write(data)  # type: ignore[arg-type]
        self._unchecked += written or 0
        if self._unchecked > AHEAD // 4:
            self._unchecked = 0
            self._wait()
        return written

    def _wait(self) -> None:
        deadline = time.monotonic() + _PATIENCE
        seen = self._shipped()
        while os.lseek(self.fileno(), 0, os.SEEK_CUR) - seen > AHEAD and time.monotonic() < deadline:
            time.sleep(0.001)
            before, seen = seen, self._shipped()
            if seen != before:
                deadline = time.monotonic() + _PATIENCE


class _Noting(_Throttled):
    """A raw stream that says of each write where it stands."""

    sink: Callable[[int, int], None] = staticmethod(lambda start, end: None)

    def write(self, data: object, /) -> int:
        written = super().write(data)
        end = os.lseek(self.fileno(), 0, os.SEEK_CUR)
        self.sink(end - (written or 0), end)
        return written


class Output:
    """Descriptors 1 and 2 of a runner, and Python's text streams on them.

    Args:
        out: Descriptor of the stdout file, out of user code's way.
        err: Of the stderr file.
        words: The page's words.
    """

    def __init__(self, out: int, err: int, words: memoryview) -> None:
        self._files = (out, err)
        self._words = words
        self._sink: Callable[[int, int, int], None] | None = None
        for fd in self._files:
            os.lseek(fd, START, os.SEEK_SET)
        os.dup2(out, 1)
        os.dup2(err, 2)
        self.stdout = self._text(1, "<stdout>", lambda: words[OUT_SHIPPED])
        self.stderr = self._text(2, "<stderr>", lambda: words[ERR_SHIPPED])
        self.out = self.err = START
        """Where the next call's output starts."""
        self._publish()
        self.install()

    def _publish(self) -> None:
        self._words[OUT_AT], self._words[ERR_AT] = self.out, self.err

    def install(self) -> None:
        """Make the streams Python's own."""
        sys.stdout = sys.__stdout__ = self.stdout  # type: ignore[misc]
        sys.stderr = sys.__stderr__ = self.stderr  # type: ignore[misc]

    def route(self, sink: Callable[[int, int, int], None]) -> None:
        """Tell `sink` of every write by Python code: stream, start and end. For calls that print at the same time."""
        self._sink = sink
        self._renew(0)
        self._renew(1)

    def _text(self, fd: int, name: str, shipped: Callable[[], int]) -> io.TextIOWrapper:
        sink = self._sink
        if sink is not None:
            noting = _Noting(fd, shipped)
            noting.name = name
            noting.sink = lambda start, end: sink(fd, start, end)
            unbuffered: Any = noting  # As `python -u` does it: what is buffered for two could not be told apart.
            return io.TextIOWrapper(unbuffered, "utf-8", "backslashreplace", write_through=True)
        raw = _Throttled(fd, shipped)
        raw.name = name
        buffered = io.BufferedWriter(raw, 8192)
        return io.TextIOWrapper(buffered, "utf-8", "backslashreplace", line_buffering=True)

    def mark(self) -> tuple[int, int, int, int] | None:
        """End a call's output: where its stdout starts and ends, then its stderr; None for a silent call."""
        out, err = self.out, self.err
        try:
            self.stdout.flush()
            self.stderr.flush()
            self.out = os.lseek(1, 0, os.SEEK_CUR)
            self.err = os.lseek(2, 0, os.SEEK_CUR)
            if self.out == out and self.err == err:
                return None
        except (OSError, ValueError):  # Closed, the descriptor or the stream.
            pass
        try:
            return self._mark_carefully(out, err)
        except OSError:  # Even our own descriptors are closed: the outcome is saved, and another runner takes over.
            return None

    def _mark_carefully(self, out: int, err: int) -> tuple[int, int, int, int] | None:
        """The same where something was printed, or where a descriptor or a stream is not what it was."""
        for place, (file, fd) in enumerate(zip(self._files, (1, 2), strict=True)):
            if not _same_file(file, fd):
                os.dup2(file, fd)
            if (self.stdout, self.stderr)[place].closed:
                self._renew(place)
        self.skip()
        return None if (self.out, self.err) == (out, err) else (out, self.out, err, self.err)

    def _renew(self, place: int) -> None:
        words = self._words
        if place == 0:
            self.stdout = self._text(1, "<stdout>", lambda: words[OUT_SHIPPED])
        else:
            self.stderr = self._text(2, "<stderr>", lambda: words[ERR_SHIPPED])
        self.install()

    def flush(self) -> None:
        """Write what Python's streams hold back."""
        for stream in (self.stdout, self.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()

    def leave(self) -> NoReturn:
        """End a process that is none of ours, with all that it has printed."""
        self.flush()
        os._exit(0)

    def skip(self) -> None:
        """What was printed since the last call belongs to no call."""
        self.out = os.lseek(self._files[0], 0, os.SEEK_CUR)
        self.err = os.lseek(self._files[1], 0, os.SEEK_CUR)
        self._publish()


def _same_file(file: int, fd: int) -> bool:
    try:
        ours, theirs = os.fstat(file), os.fstat(fd)
    except OSError:
        return False
    if (ours.st_dev, ours.st_ino) != (theirs.st_dev, theirs.st_ino):
        return False
    return os.lseek(file, 0, os.SEEK_CUR) == os.lseek(fd, 0, os.SEEK_CUR)
