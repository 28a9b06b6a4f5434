"""How figures read: durations, sizes, counts, tables. Pure; the tests hold the exact text."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence


def duration(seconds: float, *, fine: bool = False) -> str:
    """How long something took: `40 ms`, `3.4 s`, `12 s`, `31m36s`, `2h05m`, `3d04h`.

    Args:
        seconds: The time.
        fine: Two decimals below a second, for single calls: `0.12 s`.
    """
    if seconds < (0.00995 if fine else 0.0995):
        return f"{seconds * 1000:.0f} ms"
    if fine and seconds < 0.995:
        return f"{seconds:.2f} s"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes}m{rest:02d}s"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours}h{minutes:02d}m"
    return f"{hours // 24}d{hours % 24:02d}h"


def about(seconds: float) -> str:
    """A time that is told loosely: `2 s`, `14 min`, `3 h`, `2 days`."""
    if seconds < 59.5:
        return f"{max(0, round(seconds))} s"
    if seconds < 59.5 * 60:
        return f"{round(seconds / 60)} min"
    if seconds < 36 * 3600:
        return f"{round(seconds / 3600)} h"
    return f"{round(seconds / 86400)} days"


def size(count: float) -> str:
    """Bytes in a column: `812`, `398M`, `1.2G`."""
    for unit in ("", "K", "M", "G"):
        if count < 999.5 or (unit == "" and count < 1000):
            return f"{count:.1f}{unit}" if unit and count < 9.95 else f"{count:.0f}{unit}"
        count /= 1024
    return f"{count:.1f}T" if count < 9.95 else f"{count:.0f}T"


def bytes_text(count: float) -> str:
    """Bytes in a sentence: `812 bytes`, `16 GiB`, `1.5 MiB`."""
    if count < 1024:
        return f"{count:.0f} bytes" if count != 1 else "1 byte"
    units = iter(("KiB", "MiB", "GiB", "TiB", "PiB", "EiB"))
    unit = ""
    while count >= 1023.95 or not unit:
        count, unit = count / 1024, next(units)
    return f"{count:.1f}".removesuffix(".0") + f" {unit}"


def many(count: int, word: str, plural: str | None = None) -> str:
    """A count and its noun: `1 replica`, `2 replicas`, `3,412 lines`."""
    return f"{count:,} {word if count == 1 else plural or word + 's'}"


_SGR = re.compile(r"\x1b\[[0-9;:]*m")
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")


def tame(text: str, *, color: bool) -> str:
    """User output as it may go to somebody's terminal: colours stay where wanted, whatever moves the cursor goes."""

    def keep(match: re.Match[str]) -> str:
        return match[0] if color and _SGR.fullmatch(match[0]) else ""

    calm = _ESCAPES.sub(keep, text) if "\x1b" in text else text
    return "".join(letter for letter in calm if letter in "\t\x1b" or letter.isprintable())


def width_of(text: str) -> int:
    """Columns that a text takes on a terminal; colours take none, most Asian letters and emoji two."""
    if text.isascii():
        return len(text) if "\x1b" not in text else len(_SGR.sub("", text))
    plain = _SGR.sub("", text)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in plain)


def fit(text: str, width: int) -> str:
    """A text cut to at most `width` columns, its end replaced by dots if it is cut; colours are closed again."""
    if width_of(text) <= width:
        return text
    kept: list[str] = []
    used, at = 0, 0
    while at < len(text):
        colour = _SGR.match(text, at)
        if colour:
            kept.append(colour[0])
            at = colour.end()
            continue
        columns = width_of(text[at])
        if used + columns > max(0, width - 3):
            break
        kept.append(text[at])
        used, at = used + columns, at + 1
    closing = "\x1b[0m" if "\x1b" in text else ""
    return "".join(kept) + "..."[:width] + closing


def pad(text: str, width: int) -> str:
    """A text with blanks behind it up to `width` columns."""
    return text + " " * max(0, width - width_of(text))


def table(header: Sequence[str], rows: Iterable[Sequence[str]], right: Iterable[str] = ()) -> list[str]:
    """Lines of a table, two blanks between columns, no line longer than it must be.

    Args:
        header: Names of the columns.
        rows: One text for each column; a row may be shorter, then its last text runs free.
        right: Columns whose texts stand at the right.
    """
    body = [list(row) for row in rows]
    aligned = [[header[index] in set(right) for index in range(len(header))]]
    full = [list(header), *[row for row in body if len(row) == len(header)]]
    widths = [max(width_of(row[index]) for row in full) for index in range(len(header))]
    for row in body:
        for index, text in enumerate(row[:-1]):
            widths[index] = max(widths[index], width_of(text))
    lines = []
    for row in [list(header), *body]:
        cells = []
        for index, text in enumerate(row):
            last = index == len(row) - 1
            if aligned[0][index] and (not last or len(row) == len(header)):
                cells.append(" " * (widths[index] - width_of(text)) + text)
            else:
                cells.append(text if last else pad(text, widths[index]))
        lines.append("  ".join(cells).rstrip())
    return lines
