"""None, bool, int, float, str, bytes: the hot path. A method here costs a call and a comparison of types."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgpack

from greenroom.errors import TypeMismatch
from greenroom.types.codec import Scalar, big_int, given, kept
from greenroom_core.values import INLINE_LIMIT, Ext, Plain, Value, pack

if TYPE_CHECKING:
    from greenroom.blobs import BlobStore

# One packer for all threads: packing a scalar runs no Python code and allocates nothing that the collector tracks, so
# that nobody else gets in between. Text goes without an error handler, which would.
_pack_scalar: Final = msgpack.Packer().pack
_unpack: Final = msgpack.unpackb

_BAD: Final = (ValueError, msgpack.UnpackException, TypeError)


class NoneCodec(Scalar):
    """None and nothing else."""

    kind = name = "none"
    passes = frozenset({type(None)})
    natives = frozenset({type(None)})
    classes = (type(None),)
    nullable = True

    def to_plain(self, obj: Any, store: BlobStore) -> Plain:
        """None."""
        if obj is None:
            return None
        raise TypeMismatch("None", given(obj))

    def from_plain(self, plain: Plain, store: BlobStore) -> Any:
        """None."""
        return None if plain is None else self.otherwise(plain, store)

    def from_json(self, json: Any) -> Any:
        """None, from null."""
        if json is None:
            return None
        raise TypeMismatch("null", given(json))

    def from_text(self, text: str) -> Any:
        """None, from `null` and its like."""
        if text.strip().lower() in ("null", "none", ""):
            return None
        raise TypeMismatch("null", repr(text))


class BoolCodec(Scalar):
    """True and False; nothing else is taken for one, except numpy's own."""

    kind = name = "bool"
    passes = frozenset({bool})
    natives = frozenset({bool})
    classes = (bool,)

    def to_plain(self, obj: Any, store: BlobStore) -> Plain:
        """The bool itself."""
        if obj is True or obj is False:
            return obj
        if type(obj).__module__ == "numpy" and type(obj).__name__ in ("bool", "bool_"):
            return bool(obj)
        raise TypeMismatch("bool", given(obj))

    def from_plain(self, plain: Plain, store: BlobStore) -> Any:
        """The bool itself."""
        return plain if plain is True or plain is False else self.otherwise(plain, store)

    def from_json(self, json: Any) -> Any:
        """True or false."""
        if json is True or json is False:
            return json
        raise TypeMismatch("bool", given(json))

    def from_text(self, text: str) -> Any:
        """`true`, `yes`, `on`, `1`, and their opposites, in any case."""
        word = text.strip().lower()
        if word in ("true", "t", "yes", "y", "on", "1"):
            return True
        if word in ("false", "f", "no", "n", "off", "0"):
            return False
        raise TypeMismatch("bool", repr(text), "write true or false")


class IntCodec(Scalar):
    """Whole numbers of any size; what counts as an index (numpy's) is one."""

    kind = name = "int"
    passes = frozenset({int})
    natives = frozenset({int, int(Ext.BIGINT)})
    classes = (int,)

    def to_plain(self, obj: Any, store: BlobStore) -> Plain:
        """The int itself, also for a bool, an IntEnum or a numpy integer."""
        if type(obj) is int:
            return obj
        if isinstance(obj, int):
            return int(obj)
        index = getattr(type(obj), "__index__", None)
        if index is not None:
            try:
                return int(index(obj))
            except TypeError:
                pass  # An array of several numbers.
        raise TypeMismatch("int", given(obj))

    def from_plain(self, plain: Plain, store: BlobStore) -> Any:
        """The int itself."""
        if type(plain) is int:
            return plain
        return int(plain) if type(plain) is bool else self.otherwise(plain, store)

    def value_of(self, obj: Any, store: BlobStore) -> Value:
        """The bytes that stand for an int."""
        try:
            if type(obj) is int:
                value: Value = _pack_scalar(obj)
                return value
        except OverflowError:
            return kept(pack(big_int(obj)), store)
        return self.value_of(self.to_plain(obj, store), store)

    encode = value_of

    def decode(self, value: Value, store: BlobStore) -> Any:
        """The int that bytes stand for."""
        try:
            plain = _unpack(value)
            if type(plain) is int:
                return plain
        except _BAD:
            pass  # Told by who reads it once more.
        return super().decode(value, store)

    def from_json(self, json: Any) -> Any:
        """A JSON number without a fraction."""
        if type(json) is int:
            return json
        raise TypeMismatch("int", given(json))

    def from_text(self, text: str) -> Any:
        """Decimal digits, `1_000`, or `0x10` and its like."""
        try:
            return int(text.strip(), 0 if text.strip().lower().lstrip("+-")[:2] in ("0x", "0o", "0b") else 10)
        except ValueError:
            raise TypeMismatch("int", repr(text)) from None


class FloatCodec(Scalar):
    """Floating point numbers; an int is one (PEP 484)."""

    kind = name = "float"
    passes = frozenset({float})
    natives = frozenset({float})
    classes = (float,)

    def to_plain(self, obj: Any, store: BlobStore) -> Plain:
        """The float itself, also for an int or a numpy number."""
        if type(obj) is float:
            return obj
        if isinstance(obj, (int, float)) or _is_numpy_number(obj):
            try:
                return float(obj)
            except OverflowError:
                raise TypeMismatch("float", given(obj), "it is too large for one") from None
        raise TypeMismatch("float", given(obj))

    def from_plain(self, plain: Plain, store: BlobStore) -> Any:
        """The float itself; an int becomes one."""
        if type(plain) is float:
            return plain
        if type(plain) is int or type(plain) is bool:
            return float(plain)
        return self.otherwise(plain, store)

    def value_of(self, obj: Any, store: BlobStore) -> Value:
        """The bytes that stand for a float."""
        value: Value = _pack_scalar(obj if type(obj) is float else self.to_plain(obj, store))
        return value

    encode = value_of

    def decode(self, value: Value, store: BlobStore) -> Any:
        """The float that bytes stand for."""
        try:
            plain = _unpack(value)
            if type(plain) is float:
                return plain
        except _BAD:
            pass
        return super().decode(value, store)

    def from_json(self, json: Any) -> Any:
        """A JSON number; `"nan"`, `"inf"` and `"-inf"`, which JSON has no numbers for."""
        if type(json) in (int, float):
            return float(json)
        if isinstance(json, str) and json.lower() in ("nan", "inf", "-inf", "infinity", "-infinity"):
            return float(json)
        raise TypeMismatch("float", given(json))

    def from_text(self, text: str) -> Any:
        """A number as Python writes it."""
        try:
            return float(text)
        except ValueError:
            raise TypeMismatch("float", repr(text)) from None


def _is_numpy_number(obj: Any) -> bool:
    return type(obj).__module__ == "numpy" and getattr(obj, "ndim", 1) == 0 and obj.dtype.kind in "fiub"


class StrCodec(Scalar):
    """Text, lone surrogates included."""

    kind = name = "str"
    passes = frozenset({str})
    natives = frozenset({str})
    classes = (str,)

    def to_plain(self, obj: Any, store: BlobStore) -> Plain:
        """The text itself, also for a StrEnum or a numpy string."""
        if type(obj) is str:
            return obj
        if isinstance(obj, str):
            return str.__str__(obj)
        raise TypeMismatch("str", given(obj))

    def from_plain(self, plain: Plain, store: BlobStore) -> Any:
        """The text itself."""
        return plain if type(plain) is str else self.otherwise(plain, store)

    def value_of(self, obj: Any, store: BlobStore) -> Value:
        """The bytes that stand for a text."""
        try:
            value: Value = _pack_scalar(obj if type(obj) is str else self.to_plain(obj, store))
        except UnicodeEncodeError:
            value = pack(self.to_plain(obj, store))
        return value if len(value) <= INLINE_LIMIT else kept(value, store)

    encode = value_of

    def decode(self, value: Value, store: BlobStore) -> Any:
        """The text that bytes stand for."""
        try:
            plain = _unpack(value)
            if type(plain) is str:
                return plain
        except _BAD:
            pass
        return super().decode(value, store)

    def from_json(self, json: Any) -> Any:
        """A JSON string."""
        if isinstance(json, str):
            return json
        raise TypeMismatch("str", given(json))

    def from_text(self, text: str) -> Any:
        """The text as it is."""
        return text


class BytesCodec(Scalar):
    """Bytes; `bytearray` comes back as one."""

    kind = "bytes"
    natives = frozenset({bytes})

    def __init__(self, of: type[bytes] | type[bytearray] = bytes) -> None:
        self._of, self.name, self.classes = of, of.__name__, (of,)
        self.passes = frozenset({bytes}) if of is bytes else frozenset()

    def to_plain(self, obj: Any, store: BlobStore) -> Plain:
        """The bytes themselves."""
        if type(obj) is bytes:
            return obj
        if isinstance(obj, (bytes, bytearray, memoryview)):
            return bytes(obj)
        raise TypeMismatch(self.name, given(obj))

    def from_plain(self, plain: Plain, store: BlobStore) -> Any:
        """The bytes themselves."""
        if type(plain) is bytes:
            return plain if self._of is bytes else bytearray(plain)
        return self.otherwise(plain, store)

    def from_json(self, json: Any) -> Any:
        """A JSON string: its UTF-8."""
        if isinstance(json, str):
            return self._of(json.encode("utf-8", "surrogateescape"))
        raise TypeMismatch(self.name, given(json))

    def from_text(self, text: str) -> Any:
        """The text's UTF-8."""
        return self.from_json(text)
