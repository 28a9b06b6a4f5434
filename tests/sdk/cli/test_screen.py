"""Drawing on terminals and into files."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import termios

from greenroom.cli.screen import LiveScreen, PlainScreen, screen_for


def emulate(data: str, rows: int = 24) -> list[str]:
    """What a terminal shows after `data`: just enough of one for what screens send."""
    lines, row = [""], 0
    at = 0
    while at < len(data):
        if data.startswith("\x1b[", at):
            end = at + 2
            while not data[end].isalpha():
                end += 1
            number, letter = data[at + 2 : end], data[end]
            if letter == "F":
                row -= int(number)
            elif letter == "J":
                del lines[row:]
                lines.append("")
            at = end + 1
        elif data[at] == "\n":
            row += 1
            if row == len(lines):
                lines.append("")
            at += 1
        else:
            lines[row] += data[at]
            at += 1
    return lines[:-1] if lines[-1] == "" else lines


class Captured(LiveScreen):
    def __init__(self, columns: int = 80, rows: int = 24) -> None:
        super().__init__()
        self.sent, self.color = "", False
        self._given = columns, rows

    def _send(self, text: str) -> None:
        self.sent += text

    def _size(self) -> tuple[int, int]:
        return self._given


def test_plain_lines_go_out_as_they_are():
    """
    A file or a pipe gets lines, and nothing of what changes.
    """
    ours, theirs = os.pipe()
    screen = PlainScreen(theirs)

    screen.write(["one", "zwei ö"])
    screen.show([], ["changes"])
    screen.close()
    os.close(theirs)
    with open(ours, encoding="utf-8") as file:
        text = file.read()

    assert text == "one\nzwei ö\n"


def test_a_reader_that_left_does_not_matter():
    """
    `2>&1 | head` must not end the watch.
    """
    ours, theirs = os.pipe()
    os.close(ours)

    PlainScreen(theirs).write(["x"])
    os.close(theirs)


def test_the_region_stays_below_what_scrolls():
    """
    Kept lines go above it, and it is redrawn in its place.
    """
    screen = Captured()

    screen.show([], ["a 1/3", "b 0/3"])
    screen.write(["kept 1"])
    screen.show([], ["a 2/3"])
    screen.write(["kept 2"])

    assert emulate(screen.sent) == ["kept 1", "kept 2", "a 2/3"]
    screen.close()
    assert emulate(screen.sent) == ["kept 1", "kept 2"]


def test_what_does_not_change_is_not_sent():
    """
    A terminal over a slow line gets only what is new.
    """
    screen = Captured()
    screen.show([], ["a"])
    sent = screen.sent

    screen.show([], ["a"])

    assert screen.sent == sent


def test_no_line_wraps_and_no_region_outgrows_the_terminal():
    """
    A line that wrapped, or a region above the top, could not be erased again.
    """
    screen = Captured(columns=10, rows=4)

    screen.show([], ["x" * 30, "y", "z", "more"])

    assert emulate(screen.sent) == ["xxxxxx...", "y"]


def test_a_terminal_gets_a_live_screen(monkeypatch):
    """
    By its descriptor and TERM; its size is asked each time.
    """
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    monkeypatch.setenv("TERM", "xterm")

    live = screen_for(follower)
    size = live._size() if isinstance(live, LiveScreen) else None
    monkeypatch.setenv("TERM", "dumb")
    dumb = screen_for(follower)
    os.close(leader)
    os.close(follower)

    assert (size, type(dumb)) == ((100, 30), PlainScreen)


def test_marks_are_coloured_unless_told_otherwise(monkeypatch):
    """
    NO_COLOR is honoured.
    """
    monkeypatch.delenv("NO_COLOR", raising=False)
    with_color = LiveScreen()._paint(" ok  a  1 s")
    monkeypatch.setenv("NO_COLOR", "1")
    without = LiveScreen()._paint(" ok  a  1 s")

    assert (with_color, without) == ("\x1b[32m ok \x1b[0m a  1 s", " ok  a  1 s")
