"""The version of what travels between hub, replicas and clients."""

from __future__ import annotations

from typing import Final

VERSION: Final = "0.1.0"
"""Of the distribution, as in pyproject.toml: read from here because `importlib.metadata` takes 20 ms."""

PROTOCOL: Final = 1
"""Raised whenever a message changes its meaning or its fields."""

OLDEST: Final = 1
"""The oldest protocol that this side still speaks."""


def refusal(theirs: int, who: str) -> str | None:
    """Why `who`, who speaks protocol `theirs`, cannot be understood here; None if it can."""
    if OLDEST <= theirs <= PROTOCOL:
        return None
    remedy = f"upgrade greenroom on the {who}" if theirs < OLDEST else "upgrade greenroom on the hub"
    return f"the {who} speaks protocol {theirs}, this hub speaks {OLDEST} to {PROTOCOL}: {remedy}"
