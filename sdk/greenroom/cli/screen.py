"""Where progress is drawn: plain lines for files and pipes, and a live region at the bottom of a terminal.

By hand rather than by `rich`: a screenful of lines that is redrawn needs three control sequences, and importing
`rich` takes longer than most warm executions (ADR 0073).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Final

from greenroom.cli.words import fit

_STYLES: Final = (
    (" ok ", "\x1b[32m", 4),
    (" FAIL", "\x1b[31m", 5),
    ("FAIL", "\x1b[31m", 4),
    ("ok ", "\x1b[32m", 2),
    (" .. ", "\x1b[36m", 4),
    (" -- ", "\x1b[2m", 4),
)
"""Colours of the marks that lines begin with."""


class PlainScreen:
    """Lines, one after the other, to a descriptor."""

    live: bool = False
    color: bool = False

    def __init__(self, descriptor: int = 2) -> None:
        self._descriptor = descriptor

    @property
    def width(self) -> int:
        """Columns of a bar; none where nothing is redrawn."""
        return 0

    def write(self, lines: Sequence[str]) -> None:
        """Print lines that stay."""
        if lines:
            self._send("".join(f"{line}\n" for line in lines))

    def show(self, lines: Sequence[str], region: Sequence[str]) -> None:
        """Print lines that stay, and show those that change; a plain screen has no place for the latter."""
        self.write(lines)

    def close(self) -> None:
        """Leave the screen as whoever comes next wants it."""

    def _send(self, text: str) -> None:
        """Write all of it; a reader that went away must not end the execution's watch."""
        data = text.encode("utf-8", "replace")
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:
                import select

                select.select([], [self._descriptor], [], 1.0)
            except OSError:
                return


class LiveScreen(PlainScreen):
    """A terminal: lines that stay scroll by above a region that is redrawn."""

    live = True

    def __init__(self, descriptor: int = 2) -> None:
        super().__init__(descriptor)
        self.color = not os.environ.get("NO_COLOR")
        self._drawn = 0
        self._last: list[str] = []

    @property
    def width(self) -> int:
        return 20

    def write(self, lines: Sequence[str]) -> None:
        if lines:
            self._send(self._erase() + self._text(lines) + self._redraw(self._last))

    def show(self, lines: Sequence[str], region: Sequence[str]) -> None:
        columns, rows = self._size()
        cut = [fit(line, columns - 1) for line in region[: max(1, rows - 2)]]
        if lines or cut != self._last:
            self._send(self._erase() + self._text(lines) + self._redraw(cut))

    def _text(self, lines: Sequence[str]) -> str:
        return "".join(f"{self._paint(line)}\n" for line in lines)

    def _redraw(self, lines: list[str]) -> str:
        self._last, self._drawn = lines, len(lines)
        return self._text(lines)

    def _erase(self) -> str:
        drawn, self._drawn = self._drawn, 0
        return f"\x1b[{drawn}F\x1b[J" if drawn else ""

    def _paint(self, line: str) -> str:
        if self.color:
            for start, style, columns in _STYLES:
                if line.startswith(start):
                    return f"{style}{line[:columns]}\x1b[0m{line[columns:]}"
        return line

    def _size(self) -> tuple[int, int]:
        try:
            columns, rows = os.get_terminal_size(self._descriptor)
        except OSError:
            columns, rows = 80, 24
        return columns or 80, rows or 24

    def close(self) -> None:
        self._last = []
        self._send(self._erase())


def screen_for(descriptor: int = 2) -> PlainScreen:
    """The screen that fits a descriptor: live on a terminal that can move its cursor."""
    if os.isatty(descriptor) and os.environ.get("TERM", "dumb") != "dumb" and sys.platform != "win32":
        return LiveScreen(descriptor)
    return PlainScreen(descriptor)
