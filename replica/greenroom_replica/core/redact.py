"""Secrets taken out of a stream of bytes that comes in pieces."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

STARS: Final = b"***"

SHORTEST: Final = 4
"""Bytes of a value below which it is not looked for: `1` or `yes` would take half of the output with it."""


class Redactor:
    """Replaces secrets by stars, also where one is cut in two by the pieces.

    Args:
        secrets: The values.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        values = sorted({value.encode("utf-8", "surrogatepass") for value in secrets}, key=len, reverse=True)
        self._values = [value for value in values if len(value) >= SHORTEST]
        self._pattern = re.compile(b"|".join(map(re.escape, self._values))) if self._values else None
        self._kept = b""

    def feed(self, piece: bytes, is_last: bool = False) -> bytes:
        """Clean a piece; its end is held back while it may be the beginning of a secret, unless it is the last."""
        if self._pattern is None:
            return piece
        text = self._pattern.sub(STARS, self._kept + piece)
        keep = 0 if is_last else self._open_end(text)
        self._kept = text[len(text) - keep :] if keep else b""
        return text[: len(text) - keep] if keep else text

    def _open_end(self, text: bytes) -> int:
        """Bytes at the end of `text` that a secret may begin with."""
        longest = min(len(text), len(self._values[0]) - 1)
        for length in range(longest, 0, -1):
            if any(value.startswith(text[-length:]) for value in self._values):
                return length
        return 0
