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

_UTF8: Final = "utf-8"
_ESCAPED: Final = "backslashreplace"
_NULL: Final = os.stat(os.devnull).st_rdev
_seek: Final = os.lseek

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
        self._shipped = (lambda: words[OUT_SHIPPED], lambda: words[ERR_SHIPPED])
        self.stdin = _read_nothing()
        self.stdout = self._text(1)
        self.stderr = self._text(2)
        self.out = self.err = START
        """Where the next call's output starts."""
        self._publish()
        self.install()

    def _publish(self) -> None:
        self._words[OUT_AT], self._words[ERR_AT] = self.out, self.err

    def install(self) -> None:
        """Make the streams Python's own."""
        sys.stdin = sys.__stdin__ = self.stdin  # type: ignore[misc]
        sys.stdout = sys.__stdout__ = self.stdout  # type: ignore[misc]
        sys.stderr = sys.__stderr__ = self.stderr  # type: ignore[misc]

    def route(self, sink: Callable[[int, int, int], None]) -> None:
        """Tell `sink` of every write by Python code: stream, start and end. For calls that print at the same time."""
        self._sink = sink
        self._text(1, self.stdout)
        self._text(2, self.stderr)

    def _text(self, fd: int, old: io.TextIOWrapper | None = None) -> io.TextIOWrapper:
        """A text stream on a descriptor; where there is one, that is begun anew, for everybody has its name."""
        sink, raw = self._sink, (_Throttled if self._sink is None else _Noting)(fd, self._shipped[fd - 1])
        raw.name = ("<stdout>", "<stderr>")[fd - 1]
        binary: Any = raw  # As `python -u` does it: what is buffered for two could not be told apart.
        if sink is None:
            binary = io.BufferedWriter(raw, 8192)
        elif isinstance(raw, _Noting):
            raw.sink = lambda start, end: sink(fd, start, end)
        stream = io.TextIOWrapper.__new__(io.TextIOWrapper) if old is None else old
        io.TextIOWrapper.__init__(
            stream, binary, _UTF8, _ESCAPED, line_buffering=sink is None, write_through=sink is not None
        )
        return stream

    def mark(self) -> tuple[int, int, int, int] | None:
        """End a call's output: where its stdout starts and ends, then its stderr; None for a silent call."""
        out, err = self.out, self.err
        stdout, stderr = self.stdout, self.stderr
        try:
            stdout.flush()
            stderr.flush()
            self.out = _seek(1, 0, 1)
            self.err = _seek(2, 0, 1)
            if (
                self.out == out
                and self.err == err
                and not _seek(0, 1, 0)  # A place that every file can be set to, but not the null device.
                and stdout.encoding == stderr.encoding == _UTF8
                and not self.stdin.closed
            ):
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
            stream = (self.stdout, self.stderr)[place]
            if not _is_as_made(stream, self._sink is None):
                self._text(fd, stream)
        if not _reads_nothing():
            _open_nothing()
        if self.stdin.closed:
            io.TextIOWrapper.__init__(self.stdin, open(0, "rb", closefd=False), _UTF8)  # noqa: SIM115
        self.skip()
        return None if (self.out, self.err) == (out, err) else (out, self.out, err, self.err)

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


def _is_as_made(stream: io.TextIOWrapper, is_buffered: bool) -> bool:
    try:
        return (
            not stream.closed
            and stream.encoding == _UTF8
            and stream.errors == _ESCAPED
            and stream.line_buffering == is_buffered
        )
    except ValueError:  # Detached.
        return False


def _read_nothing() -> io.TextIOWrapper:
    """Standard input: nobody could type there."""
    _open_nothing()
    stream = io.TextIOWrapper(open(0, "rb", closefd=False), _UTF8)  # noqa: SIM115
    return stream


def _open_nothing() -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    if null != 0:
        os.dup2(null, 0)
        os.close(null)


def _reads_nothing() -> bool:
    try:
        return os.fstat(0).st_rdev == _NULL
    except OSError:
        return False


def _same_file(file: int, fd: int) -> bool:
    try:
        ours, theirs = os.fstat(file), os.fstat(fd)
    except OSError:
        return False
    if (ours.st_dev, ours.st_ino) != (theirs.st_dev, theirs.st_ino):
        return False
    return os.lseek(file, 0, os.SEEK_CUR) == os.lseek(fd, 0, os.SEEK_CUR)
