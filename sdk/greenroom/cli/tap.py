"""What of the user's output is shown while an execution runs: whole lines, by node, and not too many a second."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from greenroom.cli.words import tame

LINES_A_SECOND: Final = 50
"""A person cannot read more; a terminal that scrolls faster only slows the run down."""

_Key: TypeAlias = "tuple[str, int | None, int, Any]"
"""Node, item, attempt and stream."""

_LONGEST: Final = 4096  # Characters of a line that are shown, and that are held while it has no end.


class Tap:
    """Turns pieces of output into lines to show. Time comes in from outside."""

    def __init__(self, execution: str, *, color: bool = False, limit: int = LINES_A_SECOND) -> None:
        self._execution, self._color, self._limit = execution, color, limit
        self._partial: dict[_Key, str] = {}
        self._behind = True
        """Whether output from before the live stream may still come."""
        self._seen: dict[_Key, int] = {}
        """Bytes of each stream that were taken, as long as some may come twice: from the log, and live."""
        self._second = 0
        self._shown = 0
        self._held_back = 0

    def take(self, event: Mapping[str, Any], address: str, now: float) -> list[str]:
        """Lines to show now.

        Args:
            event: A `log` event.
            address: `NODE` or `NODE/ITEM`, put before each line.
            now: Seconds on any steady clock.
        """
        key = (event["node"], event.get("item"), event.get("attempt") or 0, event.get("stream") or "")
        text = self._partial.pop(key, "") + self._fresh(key, event)
        *lines, rest = text.split("\n")
        if len(rest) > _LONGEST:
            lines, rest = [*lines, rest], ""
        if rest:
            self._partial[key] = rest
        return self._pass([self._line(address, line) for line in lines], now)

    def _fresh(self, key: _Key, event: Mapping[str, Any]) -> str:
        """What of a piece was not taken before."""
        text, start = str(event.get("text") or ""), event.get("offset")
        seen = self._seen.get(key, 0)
        if start is None or not (self._behind or seen):
            return text
        if self._behind or start < seen:
            data = text.encode("utf-8", "surrogatepass")
            self._seen[key] = max(seen, start + len(data))
            return data[max(0, seen - start) :].decode("utf-8", "replace")
        del self._seen[key]  # The live stream has passed what the log gave: nothing of this call comes twice any more.
        return text

    def caught_up(self) -> None:
        """The log was read. What it gave may still come once more, live: it was on its way meanwhile."""
        self._behind = False

    def _line(self, address: str, line: str) -> str:
        # A progress bar redraws its line with carriage returns: what it showed last is the line.
        return f"{address} | {tame(line.rstrip(chr(13)).rpartition(chr(13))[2][:_LONGEST], color=self._color)}"

    def _pass(self, lines: list[str], now: float) -> list[str]:
        told = self._turn(now)
        room = max(0, self._limit - self._shown)
        self._shown += min(room, len(lines))
        self._held_back += max(0, len(lines) - room)
        return told + lines[:room]

    def _turn(self, now: float) -> list[str]:
        """At the start of a new second, tell what the last one held back."""
        if int(now) == self._second:
            return []
        self._second, self._shown = int(now), 0
        return self._told()

    def _told(self) -> list[str]:
        count, self._held_back = self._held_back, 0
        return [f"... {count:,} more: greenroom logs {self._execution}"] if count else []

    def tick(self, now: float) -> list[str]:
        """Lines that are due because time has passed."""
        return self._turn(now) if self._held_back else []

    def finish(self) -> list[str]:
        """What is left when nothing more comes: lines without an end, and the count of those held back."""
        rest = []
        for (node, item, *_), text in self._partial.items():
            address = node if item is None else f"{node}/{item}"
            rest.append(self._line(address, text))
        self._partial.clear()
        room = max(0, self._limit - self._shown)
        self._held_back += max(0, len(rest) - room)
        return rest[:room] + self._told()
