"""Names of things: ids of executions, addresses of calls.

Nothing here draws randomness: who makes an id brings the entropy, so that the same events make the same ids.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's: no i, l, o, u, which people misread.

NAME: Final = re.compile(r"[a-z0-9]([-.a-z0-9]*[a-z0-9])?")
"""What an environment may be called, up to 63 characters."""


def slug(name: str, limit: int = 24) -> str:
    """`name` in the letters that ids, folders and labels allow: `My_Flow` becomes `my-flow`."""
    text = re.sub(r"[^a-z0-9]+", "-", name.rsplit(".", 1)[-1].lower()).strip("-")
    return text[:limit].rstrip("-") or "x"


def execution_id(name: str, entropy: bytes, length: int = 4) -> str:
    """A short id for an execution of `name`, such as `wf-7k2m`; 5 bits of entropy a character.

    Args:
        name: The entity that runs; its last part is used.
        entropy: At least `length` bytes from the caller's random source.
        length: Characters behind the dash; the hub asks for more when an id is taken.
    """
    return f"{slug(name)}-{''.join(_ALPHABET[byte & 31] for byte in entropy[:length])}"


@dataclass(frozen=True, slots=True)
class Address:
    """Where something happened, written `ID`, `ID/NODE` or `ID/NODE/ITEM`."""

    execution: str
    node: str | None = None
    item: int | None = None

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read an address.

        Raises:
            ValueError: The text has more than three parts, or its last part is no number.
        """
        parts = text.strip("/").split("/")
        if not all(parts) or len(parts) > 3:
            raise ValueError(f"address {text!r}: expected ID, ID/NODE or ID/NODE/ITEM")
        if len(parts) == 3 and not (parts[2].isascii() and parts[2].isdigit()):
            raise ValueError(f"address {text!r}: the item must be a number, got {parts[2]!r}")
        return cls(parts[0], parts[1] if len(parts) > 1 else None, int(parts[2]) if len(parts) == 3 else None)

    def __str__(self) -> str:
        parts = [self.execution, self.node, None if self.item is None else str(self.item)]
        return "/".join(part for part in parts if part is not None)
