"""A quick look at an entry that must not change: equal before and after a call that left it alone."""

from __future__ import annotations

from typing import Any, Final

from greenroom.keys import ByName, Encoder

WHOLE: Final = 1 << 20
"""Bytes of an array that are read; of a larger one, its ends and some places between."""

MAX_LOOKED: Final = 20_000
"""Objects that are looked at; changes beyond are not found."""

_PIECES: Final = 64
_PIECE: Final = 4096


def fingerprint(value: Any) -> bytes:
    """A mark of a value's content: plain data, arrays (large ones by sample), and the attributes of objects."""
    seen: dict[int, Any] = {}

    def look(encoder: Encoder, one: Any) -> bool:
        kind = type(one)
        library = kind.__module__.partition(".")[0]
        if library == "numpy" and hasattr(one, "dtype"):
            return _look_at_array(encoder, one)
        if library in ("pandas", "torch"):
            return False
        encoder.tag(f"{kind.__qualname__} {id(one):x}")
        if id(one) in seen or len(seen) >= MAX_LOOKED:
            return True
        seen[id(one)] = one
        for attribute in _attributes(one):
            encoder.put(attribute)
        if isinstance(one, list | tuple | set | frozenset | dict):
            encoder.put(list(one.items()) if isinstance(one, dict) else list(one))
        return True

    encoder = Encoder(ByName(), look)
    try:
        encoder.put(value)
    except Exception as fault:  # A value that cannot be looked at is taken to stay as it is.
        return type(fault).__name__.encode()
    return encoder.digest()


def _attributes(one: Any) -> list[Any]:
    found: list[Any] = [getattr(one, "__dict__", None)]
    for base in type(one).__mro__:
        slots = base.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            found.append(getattr(one, name, None))
    return found


def _look_at_array(encoder: Encoder, array: Any) -> bool:
    size = getattr(array, "nbytes", 0)
    if size <= WHOLE or array.dtype.hasobject or not array.flags.c_contiguous:
        return False
    raw = memoryview(array).cast("B")
    encoder.tag(f"array {array.dtype.str} {array.shape}")
    for piece in range(_PIECES):
        at = piece * (size - _PIECE) // (_PIECES - 1)
        encoder.raw(bytes(raw[at : at + _PIECE]))
    return True
