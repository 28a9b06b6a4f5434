"""Who answers the gates of runs in this process: a test, or the person at the terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from greenroom.errors import GateUnanswered
from greenroom_core.bindings import Constant
from greenroom_core.graph import GateKind, Node
from greenroom_core.values import Value, pack

if TYPE_CHECKING:
    from greenroom.blobs import BlobStore
    from greenroom.types import Codec

_NONE: Final[Mapping[str, Any]] = MappingProxyType({})

_given: ContextVar[Mapping[str, Any]] = ContextVar("greenroom_gate_answers", default=_NONE)


class Answer(NamedTuple):
    """What a gate was told."""

    approved: bool = True
    value: Value | None = None


@contextmanager
def gate_answers(**answers: Any) -> Iterator[None]:
    """Answer gates of runs in this block: `gate_answers(review=True, threshold=0.5)`, by the gates' names.

    Args:
        **answers: For `approve` True or False, for `wait_for_input` the value. `-` in a name is written `_`.
    """
    token = _given.set({**_given.get(), **{name.replace("-", "_"): answer for name, answer in answers.items()}})
    try:
        yield
    finally:
        _given.reset(token)


def ask(node: Node, shown: Value | None, store: BlobStore) -> Answer:
    """Get a gate's answer.

    Raises:
        GateUnanswered: There is nobody to ask.
    """
    own = node.id.rsplit(".", 1)[-1]
    answers = _given.get()
    known = own.replace("-", "_") in answers
    answer = answers.get(own.replace("-", "_"))
    if node.gate is GateKind.APPROVE:
        agreed = bool(answer) if known else _agreed(own, shown)
        return Answer(agreed, shown)
    codec = _codec(node)
    if not known:
        answer = codec.from_text(_line(own, f"{own} ({codec.name}): "))
    return Answer(value=codec.encode(answer, store))


_codecs: dict[bytes, Codec] = {}


def expected(codec: Codec) -> list[Any]:
    """The type that a gate's input must have, as its node carries it."""
    told = codec.describe().to_wire()
    _codecs[pack(told)] = codec
    return told


def _codec(node: Node) -> Codec:
    """The codec of what a gate waits for: it was made by this program, in this process."""
    told = node.inputs["type"]
    assert isinstance(told, Constant)
    return _codecs[told.value]


def _agreed(name: str, shown: Value | None) -> bool:
    from greenroom_core.show import preview

    what = f" of {preview(shown)}" if shown is not None else ""
    return _line(name, f"approve {name}{what}? [y/N] ").strip().lower() in ("y", "yes")


def _line(name: str, prompt: str) -> str:
    if not sys.stdin or not sys.stdin.isatty():
        raise GateUnanswered(name)
    return input(prompt)
