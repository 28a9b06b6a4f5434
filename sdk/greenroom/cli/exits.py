"""Exit codes, and the sentence for an error that ends a command."""

from __future__ import annotations

from typing import Final

SUCCEEDED: Final = 0
FAILED: Final = 1
"""The user's code failed."""
USAGE: Final = 2
"""The command line, or what it names, is wrong."""
HUB: Final = 3
"""The hub, or something below it, did not do its part."""
CANCELLED: Final = 4
"""Cancelled or timed out."""
INTERRUPTED: Final = 130
"""Left by Ctrl-C, or because the terminal went away."""


class Usage(Exception):
    """What was typed cannot be done; the sentence says what was expected."""


class Exit(Exception):
    """End the command now, with this code and without a word."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code
