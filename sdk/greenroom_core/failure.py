"""How a failure travels: text first, pickle second, so that it can always be shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

import msgpack

MAX_TEXT: Final = 16 * 1024
"""Characters of a message or a traceback that are kept; the middle of longer ones is cut."""

MAX_PICKLE: Final = 256 * 1024
"""Bytes of a pickled exception that are carried; larger ones travel as text alone."""


class Cause(StrEnum):
    """What ended a call or a node badly. Decides who retries it, and what a person is told."""

    USER = "user"
    """The user's code raised."""
    RECOVERABLE = "recoverable"
    """It raised an error that asks to be retried."""
    EXIT = "exit"
    """It left the process (`sys.exit`, `os._exit`)."""
    CRASH = "crash"
    """Its process died by a signal."""
    MEMORY = "memory"
    """It was ended at its memory limit."""
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    RESULT = "result"
    """What it returned does not fit its annotation or cannot be encoded."""
    INPUT = "input"
    """An input could not be decoded or fetched."""
    IMPORT = "import"
    """The module that holds it could not be imported."""
    LOST = "lost"
    """Its replica went away."""
    INFRASTRUCTURE = "infrastructure"
    """The hub or a launcher could not do its part."""
    DEPENDENCY = "dependency"
    """Something that it needs failed first."""


RETRIED_BY_USER: Final = frozenset(
    {Cause.USER, Cause.RECOVERABLE, Cause.TIMEOUT, Cause.MEMORY, Cause.CRASH, Cause.EXIT}
)
"""Causes that count against a task's own `retries`."""


_CAUSES: Final[Mapping[str, Cause]] = {str(cause): cause for cause in Cause}


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a call, a node or an execution failed."""

    cause: Cause
    type: str
    """Name of the exception's class, as the user knows it."""
    message: str
    traceback: str = ""
    """The user's frames with the user's paths, as Python prints them; empty where there is none."""
    where: str = ""
    """`file:line` of the user's innermost frame."""
    pickle: bytes | None = None
    """The exception itself, where it could be pickled; opened only by who asks for it."""
    recoverable: bool | None = None
    """True and False override what the cause says about retries."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """Figures: exit code, signal, limit and peak in bytes, seconds, ..."""

    def to_wire(self) -> dict[str, Any]:
        """Plain data for a message or a row; empty fields are left out."""
        wire = {
            "cause": str(self.cause),
            "type": self.type,
            "message": clip(self.message),
            "traceback": clip(self.traceback),
            "where": self.where,
            "pickle": self.pickle if self.pickle is None or len(self.pickle) <= MAX_PICKLE else None,
            "recoverable": self.recoverable,
            "details": dict(self.details),
        }
        return {key: value for key, value in wire.items() if value not in (None, "", {})}

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Failure:
        """Read what `to_wire` gave. An unknown cause counts as infrastructure, a field that is no such is left out."""
        cause, pickle, recoverable = wire.get("cause"), wire.get("pickle"), wire.get("recoverable")
        details = wire.get("details")
        return cls(
            cause=_CAUSES.get(cause, Cause.INFRASTRUCTURE) if isinstance(cause, str) else Cause.INFRASTRUCTURE,
            type=str(wire.get("type", "Error")),
            message=str(wire.get("message", "")),
            traceback=str(wire.get("traceback", "")),
            where=str(wire.get("where", "")),
            pickle=pickle if isinstance(pickle, bytes) else None,
            recoverable=recoverable if isinstance(recoverable, bool) else None,
            details=details if isinstance(details, Mapping) else {},
        )

    def pack(self) -> bytes:
        """The bytes that a failed call's payload holds."""
        packed: bytes = msgpack.packb(self.to_wire(), unicode_errors="surrogatepass")
        return packed

    @classmethod
    def unpack(cls, packed: bytes) -> Failure:
        """Read what `pack` made; bytes that are none become a failure that says so."""
        try:
            return cls.from_wire(msgpack.unpackb(packed, strict_map_key=False, unicode_errors="surrogatepass"))
        except (ValueError, TypeError, AttributeError, RecursionError, msgpack.UnpackException) as fault:
            return cls(Cause.INFRASTRUCTURE, "UnreadableFailure", f"a failure that cannot be read: {fault}")

    def line(self) -> str:
        """`ValueError: bad pixel`, as a person reads it first."""
        return f"{self.type}: {self.message}" if self.message else self.type


def clip(text: str, limit: int = MAX_TEXT) -> str:
    """`text` with its middle cut out if it is longer than `limit` characters."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n... {len(text) - 2 * half:,} characters left out ...\n{text[-half:]}"
