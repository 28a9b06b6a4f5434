"""Which of a call's output is kept: its first bytes and its last ones, whatever lies between. Pure bookkeeping."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final, NamedTuple

PIECE: Final = 16 * 1024
"""Bytes of the largest piece in the part that moves: how finely the oldest of it is let go."""


class Piece(NamedTuple):
    """Neighbouring bytes of one stream of one call."""

    id: int
    stream: int
    start: int
    """Where it begins in its stream, bytes."""
    missed: int
    """Bytes of the stream right before it that were not kept."""
    size: int


class Changes:
    """What must be done to what is stored."""

    __slots__ = ("added", "gone", "missed")

    def __init__(self) -> None:
        self.added: dict[int, tuple[Piece, bytes | memoryview]] = {}
        self.gone: list[Piece] = []
        """Pieces stored earlier that are not kept any more."""
        self.missed: dict[int, int] = {}
        """New `missed` of pieces stored earlier."""


class Kept:
    """The kept output of one call.

    Args:
        head: Bytes that are kept of the beginning.
        tail: Bytes that are kept of the end, at least.
    """

    __slots__ = ("_ends", "_moving", "_moving_size", "_room", "_tail", "_until")

    def __init__(self, head: int, tail: int) -> None:
        self._room, self._tail = head, tail
        self._moving: deque[Piece] = deque()
        self._moving_size = 0
        self._until: dict[int, int] = {}
        """For each stream, where the last kept piece ends: a later one misses what lies between."""
        self._ends: dict[int, int] = {}
        """For each stream, up to where it has come."""

    def restore(self, pieces: Iterable[Piece]) -> None:
        """Go on from what is stored. A stream of which nothing is stored any more may then be taken twice."""
        for piece in pieces:
            self._settle(piece)

    def _settle(self, piece: Piece) -> None:
        end = piece.start + piece.size
        self._ends[piece.stream] = end
        if self._room > 0:
            self._room -= piece.size
        else:
            self._moving.append(piece)
            self._moving_size += piece.size
        self._until[piece.stream] = end

    def take(self, stream: int, start: int, data: bytes, first_id: int, changes: Changes) -> int:
        """Take output as it came; the next free id.

        Bytes that came before are left out, so that a replica may say things twice after a cut.
        """
        seen = self._ends.get(stream, 0)
        view = memoryview(data)
        if start < seen:
            view, start = view[seen - start :], seen
        number = first_id
        while len(view):
            if self._room > 0:
                step = min(self._room, len(view))
            else:
                if len(view) > self._tail:  # What would be gone again at once is not even stored.
                    start += len(view) - self._tail
                    view = view[-self._tail :]
                step = min(PIECE, len(view))
            piece = Piece(number, stream, start, start - self._until.get(stream, 0), step)
            changes.added[number] = (piece, view[:step])
            self._settle(piece)
            view, start, number = view[step:], start + step, number + 1
        self._let_go(changes)
        return number

    def _let_go(self, changes: Changes) -> None:
        """Let go of the oldest of the moving part; what follows it in its stream says how much is missing."""
        while self._moving and self._moving_size - self._moving[0].size >= self._tail:
            oldest = self._moving.popleft()
            self._moving_size -= oldest.size
            if changes.added.pop(oldest.id, None) is None:
                changes.missed.pop(oldest.id, None)
                changes.gone.append(oldest)
            before = oldest.start - oldest.missed
            for index, piece in enumerate(self._moving):
                if piece.stream == oldest.stream:
                    self._moving[index] = piece = piece._replace(missed=piece.start - before)
                    if piece.id in changes.added:
                        changes.added[piece.id] = (piece, changes.added[piece.id][1])
                    else:
                        changes.missed[piece.id] = piece.missed
                    break
            else:
                self._until[oldest.stream] = before
