"""Small values that have one way of being written: decimals, fractions, UUIDs, network addresses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from greenroom.errors import TypeMismatch
from greenroom.types.codec import Codec, given, type_name
from greenroom.types.spec import TypeSpec
from greenroom_core.values import Plain

if TYPE_CHECKING:
    from greenroom.blobs import BlobStore


class TextCodec(Codec):
    """A class whose `str` its constructor reads back."""

    natives = frozenset({str})

    def __init__(self, of: Any) -> None:
        self._of, self.name, self.classes = of, type_name(of), (of,)

    def to_plain(self, obj: Any, store: BlobStore) -> Plain:
        """The text."""
        if not isinstance(obj, self._of):
            raise TypeMismatch(self.name, given(obj))
        return str(obj)

    def from_plain(self, plain: Plain, store: BlobStore) -> Any:
        """The object that the text says."""
        return self.from_text(plain) if isinstance(plain, str) else self.otherwise(plain, store)

    def describe(self) -> TypeSpec:
        """The type as plain data."""
        return TypeSpec("text", self.name)

    def from_json(self, json: Any) -> Any:
        """The object that a string says; for numbers a JSON number too."""
        if isinstance(json, str) or (type(json) in (int, float) and self.name.startswith(("decimal", "fractions"))):
            return self.from_text(str(json))
        raise TypeMismatch(self.name, given(json))

    def from_text(self, text: str) -> Any:
        """The object that a text says."""
        try:
            return self._of(text)
        except (ValueError, ArithmeticError):
            raise TypeMismatch(self.name, repr(text)) from None


def text_codec(kind: type) -> Codec | None:
    """The codec of such a class; None for others of its module."""
    known = ("Decimal", "Fraction", "UUID", "IPv4Address", "IPv6Address", "IPv4Network", "IPv6Network")
    return TextCodec(kind) if kind.__name__ in known else None
