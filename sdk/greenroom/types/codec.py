"""What every codec does: turn an object into plain data and back, and a whole value into bytes."""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

import msgpack

from greenroom.errors import CyclicValue, GreenroomError, NotReadable, TooDeep, TooLarge, TypeMismatch
from greenroom.types.spec import TypeSpec
from greenroom_core.refs import read_ref
from greenroom_core.values import (
    INLINE_LIMIT,
    SHORT_LIST,
    Ext,
    ListView,
    Plain,
    Value,
    ValueFault,
    ext_bounds,
    pack,
    pack_list,
    unpack,
)

if TYPE_CHECKING:
    from greenroom.blobs import BlobStore

ExtType: Final = msgpack.ExtType
"""What an extension is as plain data: a named tuple (code, data)."""

_DEEPEST: Final = 511
"""Levels that msgpack nests; Python's own recursion limit may come first."""


class Codec:
    """How the values of one annotation travel.

    `to_plain` and `from_plain` are for values inside of others; `encode` and `decode` for a value by itself, which may
    be kept as a blob.
    """

    name: str = "object"
    """The type as a person writes it."""
    passes: frozenset[type] = frozenset()
    """Exact classes whose objects are plain data already: whole lists of them are passed on unseen, both ways."""
    natives: frozenset[type | int] | None = None
    """What `to_plain` may give: classes of plain data and codes of extensions. None: anything. A Union looks at it."""
    classes: tuple[type, ...] = ()
    """Exact classes of the objects that it takes; a Union chooses by them first."""
    nullable: bool = False
    """Whether None is one of its values."""
    uploads: bool = False
    """Whether encoding may store files, so that a batch pays."""

    def to_plain(self, obj: Any, store: BlobStore) -> Plain:
        """The plain data that stands for an object inside of a value.

        Raises:
            TypeMismatch: The object is not of this type.
        """
        raise NotImplementedError

    def from_plain(self, plain: Plain, store: BlobStore) -> Any:
        """The object that plain data stands for; the inverse of `to_plain`.

        Raises:
            TypeMismatch: It stands for no object of this type.
        """
        raise NotImplementedError

    def describe(self) -> TypeSpec:
        """The type as plain data."""
        raise NotImplementedError

    def from_json(self, json: Any) -> Any:
        """The object that JSON data says.

        Raises:
            TypeMismatch: It says none of this type.
        """
        raise TypeMismatch(self.name, given(json), "this type cannot be written as JSON")

    def from_text(self, text: str) -> Any:
        """The object that somebody typed on a command line; JSON unless the type has a form of its own."""
        from greenroom.types.parse import json_of

        return self.from_json(json_of(text, self.name))

    def encode(self, obj: Any, store: BlobStore) -> Value:
        """The bytes that stand for an object; a large one goes to the store, and a reference stands for it."""
        try:
            return self.value_of(obj, store)
        except RecursionError:
            raise endless(self.name, obj) from None

    def value_of(self, obj: Any, store: BlobStore) -> Value:
        """`encode`, where the object is known to have an end."""
        return kept(pack_plain(self.to_plain(obj, store)), store)

    def decode(self, value: Value, store: BlobStore) -> Any:
        """The object that bytes stand for."""
        try:
            return self.from_plain(unpack(value), store)
        except RecursionError:
            raise TooDeep(self.name, _DEEPEST) from None
        except GreenroomError:
            raise
        except STUMBLES as fault:
            raise stumbled(fault, self.name) from fault

    def accepts(self, other: TypeSpec) -> str | None:
        """Why no value of another type can come here; None if some can."""
        from greenroom.types.spec import mismatch

        return mismatch(self.describe(), other)

    def mismatch(self, obj: Any, hint: str = "") -> TypeMismatch:
        """The error about an object that is not of this type."""
        return TypeMismatch(self.name, given(obj), hint)

    def otherwise(self, plain: Plain, store: BlobStore) -> Any:
        """Read what stands for a value in a form of another producer: wrapped, or kept as a blob."""
        if type(plain) is ExtType:
            inner = opened(plain, store)
            if inner is not plain:
                return self.from_plain(inner, store)
        raise TypeMismatch(self.name, given_plain(plain))

    def __repr__(self) -> str:
        return f"<codec for {self.name}>"


class Scalar(Codec):
    """A type whose values are plain data of one class."""

    kind: ClassVar[str]

    def describe(self) -> TypeSpec:
        """The type as plain data."""
        return TypeSpec(self.kind, self.name)

    def encode(self, obj: Any, store: BlobStore) -> Value:
        """The bytes that stand for an object."""
        return self.value_of(obj, store)


# Packing ------------------------------------------------------------------------------------------------------------


def pack_plain(plain: Plain) -> Value:
    """Pack plain data in which ints may be of any size.

    Raises:
        RecursionError: It is nested too deep.
        TooLarge: A text or bytes in it are longer than the wire carries.
    """
    try:
        return pack(plain)
    except OverflowError:
        return pack(_widened(plain))
    except ValueError as fault:
        raise _too_much(fault) from None


def _too_much(fault: ValueError) -> Exception:
    """What msgpack's refusal means: one of its two limits."""
    return RecursionError() if "recursion" in str(fault) else TooLarge(str(fault).partition(" ")[0])


def _widened(plain: Plain) -> Plain:
    """The same data with an extension for each int that does not fit 64 bits."""
    kind = type(plain)
    if kind is int:
        return plain if -(1 << 63) <= plain < 1 << 64 else big_int(plain)
    if kind is list:
        return [_widened(item) for item in plain]
    if isinstance(plain, dict):
        return {_widened(key): _widened(item) for key, item in plain.items()}
    return plain


def big_int(number: int) -> Plain:
    """An int outside of 64 bits as plain data; above Python's limit of digits in hexadecimal, which has none."""
    text = str(number) if number.bit_length() < 13_000 else hex(number)
    return ExtType(int(Ext.BIGINT), text.encode())


def extension(code: Ext, content: Plain) -> Plain:
    """An extension whose content is plain data, ints of any size included."""
    return ExtType(int(code), pack_plain(content))


def wrapped(code: Ext, head: str, value: Value) -> Value:
    """A wrapper with a word around a value; the value stays as it is, also if it is a blob's reference."""
    return pack(ExtType(int(code), b"\x92" + pack(head) + value))


def kept(value: Value, store: BlobStore) -> Value:
    """The value, or if it is large the reference to the blob that it becomes."""
    if len(value) <= INLINE_LIMIT:
        return value
    from greenroom_core.show import refer

    return refer(value, store.put(value))


def list_value(plains: Sequence[Plain], store: BlobStore) -> Value:
    """A list by itself: sliced without being decoded above `SHORT_LIST` items; each large item a blob of its own."""
    if len(plains) <= SHORT_LIST:
        value = pack_plain(list(plains))
        if len(value) <= INLINE_LIMIT:
            return value
    packer = msgpack.Packer(unicode_errors="surrogatepass")
    try:
        items = list(map(packer.pack, plains))
    except OverflowError:
        items = [pack_plain(plain) for plain in plains]
    except ValueError as fault:
        raise _too_much(fault) from None
    if max(map(len, items)) > INLINE_LIMIT:
        with store.batch():
            items = [kept(item, store) for item in items]
    return kept(pack_list(items), store)


# Opening ------------------------------------------------------------------------------------------------------------


def opened(plain: Any, store: BlobStore) -> Plain:
    """What is inside of an extension that only says how a value is kept; any other extension as it is."""
    code = plain.code
    if code == Ext.BLOB:
        return unpack(store.get(read_ref(plain.data).sha256))
    if code == Ext.BIGINT:
        return int(plain.data, 0)
    if code in (Ext.TAGGED, Ext.HASHED, Ext.CUSTOM):
        return unpack(plain.data)[1]
    if code == Ext.LIST:
        return long_list(plain.data)
    if code == Ext.MANIFEST:
        execution, node, output, n = unpack(plain.data)
        items = [unpack(value) for value in store.manifest(execution, node, output)]
        if len(items) != n:
            raise NotReadable("map's results", f"{len(items)} of {n} items were read")
        return items
    return plain


def long_list(data: bytes) -> list[Plain]:
    """The items of a long list, unpacked at once."""
    view = ListView(pack(ExtType(int(Ext.LIST), data)))
    items: list[Plain] = unpack(bytes(msgpack.Packer().pack_array_header(len(view))) + view.slice(0, len(view)).payload)
    return items


def plain_list(codec: Codec, plain: Plain, store: BlobStore) -> list[Plain]:
    """The items of whatever stands for a list.

    Raises:
        TypeMismatch: It stands for something else.
    """
    while type(plain) is not list:
        inner = opened(plain, store) if type(plain) is ExtType else plain
        if inner is plain:
            raise TypeMismatch(codec.name, given_plain(plain))
        plain = inner
    return plain


# Saying -------------------------------------------------------------------------------------------------------------

_short = reprlib.Repr()
_short.maxstring = _short.maxother = 60
_short.maxlist = _short.maxtuple = _short.maxdict = _short.maxset = 3


STUMBLES: Final = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, msgpack.UnpackException)
"""What reading damaged bytes may run into; an error of the disk or the network is none of these."""


def stumbled(fault: Exception, name: str) -> NotReadable:
    """The error about bytes that somebody stumbled over."""
    if isinstance(fault, ValueFault):
        return NotReadable(name, str(fault))
    return NotReadable(name, f"{type(fault).__name__}: {fault}")


def type_name(kind: Any) -> str:
    """A class as a person writes it: builtins bare, others with their module."""
    name = getattr(kind, "__qualname__", None)
    if name is None:
        return str(kind).replace("typing.", "")
    module = getattr(kind, "__module__", "")
    return name if module in ("builtins", "typing", "greenroom.files", "greenroom.directories") else f"{module}.{name}"


def given(obj: Any) -> str:
    """What somebody gave, for an error: `'x' (str)`, `None`, `an instance of m.C`."""
    if obj is None:
        return "None"
    kind = type(obj)
    if kind in (bool, int, float, str, bytes, list, tuple, dict, set, frozenset):
        try:
            return f"{_short.repr(obj)} ({kind.__name__})"
        except Exception:  # Somebody's __repr__, of an item.
            return f"a {kind.__name__}"
    if isinstance(obj, type):
        return f"the class {type_name(obj)}"
    return f"an instance of {type_name(kind)}"


def given_plain(plain: Plain) -> str:
    """What came on the wire, for an error."""
    if plain is None:
        return "None"
    from greenroom_core.show import preview
    from greenroom_core.values import kind_of

    value = pack_plain(plain)
    bounds = ext_bounds(value)
    if bounds is not None and bounds[0] == Ext.PICKLE:
        return f"a pickled {unpack(value[bounds[1] : bounds[1] + bounds[2]])[0]}"
    return f"{preview(value)} ({kind_of(value)})"


def endless(name: str, obj: Any) -> CyclicValue | TooDeep:
    """The error about an object whose plain form has no end, or nearly none."""
    cycle = _cycle(obj)
    return CyclicValue(type_name(type(obj)), cycle) if cycle else TooDeep(name, _DEEPEST)


def _cycle(root: Any) -> str | None:
    """The path to the first part that holds itself, found without recursion."""
    above, done = {id(root)}, set()
    stack = [(root, "", iter(_parts(root)))]
    while stack:
        obj, path, parts = stack[-1]
        for step, part in parts:
            if id(part) in above:
                return path + step
            if id(part) not in done:
                above.add(id(part))
                stack.append((part, path + step, iter(_parts(part))))
                break
        else:
            above.discard(id(obj))
            done.add(id(obj))  # It holds no cycle, wherever it is met again.
            stack.pop()
    return None


def _parts(obj: Any) -> Sequence[tuple[str, Any]]:
    if isinstance(obj, dict):
        return [(f"[{_short.repr(key)}]", item) for key, item in obj.items()]
    if isinstance(obj, (list, tuple)):
        return [(f"[{index}]", item) for index, item in enumerate(obj)]
    if isinstance(obj, (str, bytes, int, float, type(None), type)):
        return ()
    fields = getattr(obj, "__dict__", None)
    if fields is None:
        fields = {name: getattr(obj, name) for name in getattr(type(obj), "__slots__", ()) if hasattr(obj, name)}
    return [(f".{name}", item) for name, item in fields.items()]
