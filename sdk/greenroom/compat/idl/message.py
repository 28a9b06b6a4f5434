"""The base of Flyte's words as plain data."""

from __future__ import annotations

from typing import Any


class Message:
    """Plain data, equal by its fields. It is its own wire form, since no protobuf is sent here."""

    def to_flyte_idl(self) -> Any:
        """The message itself."""
        return self

    @classmethod
    def from_flyte_idl(cls, message: Any) -> Any:
        """The message itself."""
        return message

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash(repr(self))
