"""Answering the gates of executions on a hub: approving, rejecting, giving the input that is waited for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from greenroom.link import Operation
from greenroom.operations import get, path_to, post
from greenroom.types import TypeSpec

if TYPE_CHECKING:
    from greenroom.blobs import BlobStore


def shown(execution: str, gate: str) -> Operation[dict[str, Any]]:
    """What a gate waits for, and what it shows to who is asked."""
    told: dict[str, Any] = yield from get(path_to(execution, "nodes", gate, "gate"))
    return told


def answer(execution: str, gate: str, value: Any, by: str, blobs: BlobStore) -> Operation[None]:
    """Answer a gate: True or False for one that waits for approval, the value for one that waits for input.

    Raises:
        TypeMismatch: The value is not of the type that is waited for.
    """
    told = yield from shown(execution, gate)
    if told["gate"] == "approve":
        yield from decide(execution, gate, bool(value), by)
        return
    codec, _ = codec_of(told)
    given = codec.encode(value, blobs)
    yield from post(path_to(execution, "nodes", gate, "gate"), {"value": given.hex(), "by": by})


def answer_text(execution: str, gate: str, text: str, by: str, blobs: BlobStore) -> Operation[None]:
    """Give the input that a gate waits for, as somebody typed it.

    Raises:
        BadText: It says no value of the type that is waited for.
    """
    from greenroom.errors import BadText, TypeMismatch

    told = yield from shown(execution, gate)
    if told["gate"] != "input":
        yield from post(
            path_to(execution, "nodes", gate, "gate"), {"value": b"\xc0".hex(), "by": by}
        )  # It says why not.
        return
    codec, _ = codec_of(told)
    try:
        value = codec.from_text(text)
    except TypeMismatch as fault:
        raise BadText(gate + fault.path, fault.expected, fault.given, fault.hint) from None
    given = codec.encode(value, blobs)
    yield from post(path_to(execution, "nodes", gate, "gate"), {"value": given.hex(), "by": by})


def decide(execution: str, gate: str, approved: bool, by: str) -> Operation[None]:
    """Approve a gate's value, or reject it."""
    yield from post(path_to(execution, "nodes", gate, "gate"), {"approved": approved, "by": by})


def codec_of(told: dict[str, Any]) -> tuple[Any, Any]:
    """How the value travels that a gate waits for, and its annotation."""
    from greenroom.registered import codec_of as of

    wire = told.get("type")
    return of(wire if wire else TypeSpec("any", "Any").to_wire())
