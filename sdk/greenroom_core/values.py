"""Values as they travel: self-describing msgpack, readable without unpickling anything.

A value is the msgpack encoding of plain data, with one extension type for each thing that plain data cannot say
(a long list, a file, a pickle, ...). The hub reads lengths, previews, blob references and digests from it, carries
the rest as it is, and never runs a line of user code to do so.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import wraps
from typing import Any, Final, ParamSpec, TypeAlias, TypeVar

import msgpack

Value: TypeAlias = bytes
"""One encoded input or output: msgpack, see the module's text."""

Plain: TypeAlias = Any
"""What `unpack` gives: None, bool, int, float, str, bytes, list, dict or `msgpack.ExtType`."""

Path: TypeAlias = "tuple[str | int, ...]"
"""Steps from a value to a part of it, as in `promise[0].field`."""

INLINE_LIMIT: Final = 64 * 1024
"""Bytes above which a value goes to the blob store: 1 MiB values in the database cost three quarters of the speed."""

SHORT_LIST: Final = 64
"""Items up to which a list stays a plain msgpack array; longer ones carry offsets: a map slices them undecoded."""

NIL: Final[Value] = b"\xc0"


class Ext(IntEnum):
    """Extension codes of msgpack, one for each kind of value that plain data cannot say."""

    LIST = 1
    """`<Q n>`, then n ends (`<Q`), then the items' bytes: a list that is sliced without being decoded."""
    BLOB = 2
    """`[sha256 hex, size, kind, n or None, preview, digest or None, blobs in it]`: a value above `INLINE_LIMIT`.

    It stands innermost: wrappers (`TAGGED`, `HASHED`, `CUSTOM`) stay around it, inline.
    """
    FILE = 3
    """`{"name", "size", "blob" | "uri", "format", "exec"}`: `exec` only on what may be executed."""
    DIRECTORY = 4
    """`{"name", "size", "entries": [[path, sha256, size, may be executed?], ...] | "uri", "format"}`.

    An empty folder is an entry whose path ends in a slash and whose sha256 is nil.
    """
    PICKLE = 5
    """`[type name, preview, pickle bytes | None, sha256 | None, blobs in it?]`: opaque; who asked for it opens it."""
    TAGGED = 6
    """`[tag, value]`: one member of a Union."""
    HASHED = 7
    """`[digest, value]`: a value that brings its own semantic digest (`HashMethod`)."""
    TIME = 8
    """`[kind, text, zone?]`, kind `datetime`, `date`, `time` (ISO 8601, zone a name) or `timedelta` (microseconds)."""
    BIGINT = 9
    """Digits of an int outside 64 bits: decimal, or `0x...` where Python refuses to convert that many."""
    SET = 10
    """A msgpack array, sorted by its items' bytes."""
    TABLE = 11
    """`{"format": "parquet", "columns": [[name, type], ...], "rows", "size", "blob" | "data"}`: a data frame."""
    ARRAY = 12
    """`{"dtype", "shape", "library", "blob" | "data", "order"?}`: a numeric array; `order` "F" if not C."""
    MANIFEST = 13
    """`[execution, node, output, n]`: a map's results, read chunk by chunk from the log; never concatenated."""
    CUSTOM = 14
    """`[type name, value]`: encoded by a registered transformer."""
    GRAPH = 15
    """What a dynamic task yields: a graph that the hub runs in its place."""


class ValueFault(ValueError):
    """Bytes that are not a value, or a value that does not have the part that was asked for."""


_P = ParamSpec("_P")
_R = TypeVar("_R")

_FAULTS: Final = (ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError, struct.error)


def reading(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Make a reader of values safe for bytes from anywhere: what it stumbles over leaves as a `ValueFault`."""

    @wraps(function)
    def read(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return function(*args, **kwargs)
        except ValueFault:
            raise
        except _FAULTS as fault:
            raise ValueFault(f"not a value: {type(fault).__name__}: {fault}") from fault

    return read


_LIST_HEAD = struct.Struct("<Q")


_IDLE: list[msgpack.Packer] = []  # A new packer costs four times what packing a short value does.
_LARGEST_IDLE: Final = 1 << 20  # Bytes: a packer keeps the buffer that its largest value needed.


def pack(obj: Plain) -> Value:
    """Encode plain data (and `msgpack.ExtType`) as a value.

    Raises:
        OverflowError: An int does not fit 64 bits.
        ValueError: Nested more than 511 levels deep.
        TypeError: It is not plain data.
    """
    try:
        packer = _IDLE.pop()  # Taken out, so that no other thread can use it meanwhile.
    except IndexError:
        packer = msgpack.Packer(unicode_errors="surrogatepass")
    value: Value = packer.pack(obj)
    if len(value) <= _LARGEST_IDLE:
        _IDLE.append(packer)
    return value


def unpack(value: Value | memoryview) -> Plain:
    """Decode one level: containers are opened, extensions stay `msgpack.ExtType`.

    Raises:
        ValueFault: The bytes are not one complete msgpack object.
    """
    try:
        return msgpack.unpackb(value, strict_map_key=False, unicode_errors="surrogatepass")
    except (ValueError, TypeError, msgpack.UnpackException, RecursionError) as fault:  # TypeError: a list as key.
        raise ValueFault(f"not a value: {type(fault).__name__}: {fault}") from fault


def ext(code: Ext, content: Plain) -> msgpack.ExtType:
    """An extension whose content is itself plain data."""
    return msgpack.ExtType(int(code), pack(content))


def split(payload: bytes | memoryview, count: int) -> list[Value]:
    """Cut `count` values that stand one after the other into single ones."""
    unpacker = msgpack.Unpacker(strict_map_key=False, max_buffer_size=max(len(payload), 1))
    unpacker.feed(payload)
    values, start = [], 0
    try:
        for _ in range(count):
            unpacker.skip()
            values.append(bytes(payload[start : unpacker.tell()]))
            start = unpacker.tell()
    except (ValueError, msgpack.UnpackException) as fault:
        raise ValueFault(f"expected {count} values, found {len(values)}") from fault
    if start != len(payload):
        raise ValueFault(f"{len(payload) - start} bytes follow {count} values")
    return values


# Lists --------------------------------------------------------------------------------------------------------------


def pack_list(items: Sequence[Value]) -> Value:
    """Join encoded items to a list value: an array up to `SHORT_LIST` items, offsets and payload above."""
    if len(items) <= SHORT_LIST:
        return bytes(msgpack.Packer().pack_array_header(len(items))) + b"".join(items)
    ends, end = bytearray(8 * len(items)), 0
    place = memoryview(ends).cast("Q")
    for index, item in enumerate(items):
        end += len(item)
        place[index] = end
    return pack_long_list(len(items), ends, b"".join(items))


def pack_long_list(n: int, ends: bytes | bytearray, payload: bytes) -> Value:
    """Build a long list from ready columns: n ends of 8 bytes each, and the items' bytes one after the other."""
    return pack(msgpack.ExtType(int(Ext.LIST), b"".join((_LIST_HEAD.pack(n), ends, payload))))


@dataclass(frozen=True, slots=True)
class Slice:
    """Neighbouring items of a list, as columns: item k is `payload[ends[k-1] - base : ends[k] - base]`."""

    count: int
    base: int
    ends: bytes
    """`count` ends as little-endian u64, measured from the list's start; `base` is where the first item starts."""
    payload: bytes

    def items(self) -> Iterator[bytes]:
        """Each item's bytes, in order."""
        start = 0
        for end in memoryview(self.ends).cast("Q"):
            stop = end - self.base
            yield self.payload[start:stop]
            start = stop


class ListView:
    """A list value, sliced without being decoded; also over a blob mapped into memory.

    Raises:
        ValueFault: It is no list, or its offsets do not fit it.
    """

    __slots__ = ("_ends", "_payload", "n")

    def __init__(self, value: bytes | memoryview) -> None:
        view = memoryview(value)
        bounds = ext_bounds(view)
        if bounds is not None and bounds[0] == Ext.LIST:
            self._open(view[bounds[1] : bounds[1] + bounds[2]])
        else:
            self.n, self._ends, self._payload = _short_list(view)

    @classmethod
    def over(cls, content: bytes | memoryview) -> ListView:
        """A view over the content of an `Ext.LIST`, without the extension around it."""
        view = cls.__new__(cls)
        view._open(memoryview(content))
        return view

    def _open(self, content: memoryview) -> None:
        self.n = _LIST_HEAD.unpack_from(content)[0] if len(content) >= 8 else -1
        first = 8 + 8 * self.n
        if self.n < 0 or first > len(content):
            raise ValueFault("a list's offsets reach beyond its end")
        self._ends = content[8:first].cast("Q")
        self._payload = content[first:]
        if (self._ends[-1] if self.n else 0) != len(self._payload):
            raise ValueFault("a list's last offset is not its end")

    def slice(self, start: int, stop: int) -> Slice:
        """Items `start` to `stop` (not included)."""
        base = self._ends[start - 1] if start else 0
        end = self._ends[stop - 1] if stop else 0
        return Slice(stop - start, base, bytes(self._ends[start:stop]), bytes(self._payload[base:end]))

    def __getitem__(self, index: int) -> Value:
        if not -self.n <= index < self.n:
            raise ValueFault(f"index {index} of a list of {self.n}")
        index %= self.n
        return bytes(self._payload[self._ends[index - 1] if index else 0 : self._ends[index]])

    def __len__(self) -> int:
        return self.n

    def __iter__(self) -> Iterator[Value]:
        start = 0
        for end in self._ends:
            yield bytes(self._payload[start:end])
            start = end


def _short_list(view: memoryview) -> tuple[int, memoryview, memoryview]:
    unpacker = msgpack.Unpacker(strict_map_key=False, max_buffer_size=max(len(view), 1))
    unpacker.feed(view)
    try:
        n = unpacker.read_array_header()
        head = unpacker.tell()
        if n > len(view) - head:  # An item has a byte at least: no memory for what cannot be there.
            raise ValueFault(f"a list that claims {n} items in {len(view) - head} bytes")
        ends = bytearray(8 * n)
        place = memoryview(ends).cast("Q")
        for index in range(n):
            unpacker.skip()
            place[index] = unpacker.tell() - head
    except ValueFault:
        raise
    except (ValueError, msgpack.UnpackException) as fault:
        raise ValueFault("not a list") from fault
    return n, place, view[head:]


_WRAPPERS: Final = frozenset({Ext.TAGGED, Ext.HASHED, Ext.CUSTOM})

_FIXEXT: Final = {0xD4: 1, 0xD5: 2, 0xD6: 4, 0xD7: 8, 0xD8: 16}
_VAREXT: Final = {0xC7: 1, 0xC8: 2, 0xC9: 4}
"""Bytes of the length behind the first byte."""


def ext_bounds(view: memoryview | bytes) -> tuple[int, int, int] | None:
    """Of a value that is an extension: its code, where its content starts, and how long it is; else None.

    Raises:
        ValueFault: There are no bytes, or fewer than the extension says.
    """
    if not len(view):
        raise ValueFault("not a value: no bytes")
    head = view[0]
    if head in _FIXEXT:
        at, size = 2, _FIXEXT[head]
    elif head in _VAREXT:
        width = _VAREXT[head]
        at, size = 2 + width, int.from_bytes(view[1 : 1 + width], "big")
    else:
        return None
    if at + size > len(view):
        raise ValueFault(f"not a value: an extension of {size} bytes in {max(0, len(view) - at)}")
    return view[at - 1], at, size


def ext_of(code: int) -> Ext:
    """The kind of an extension.

    Raises:
        ValueFault: There is no such kind, in this version.
    """
    try:
        return Ext(code)
    except ValueError:
        raise ValueFault(f"a value of unknown kind {code}: written by a newer version?") from None


def ext_code(value: Value) -> Ext | None:
    """The extension code of a value that is one, without opening it."""
    bounds = ext_bounds(value)
    return ext_of(bounds[0]) if bounds is not None else None


# Reading ------------------------------------------------------------------------------------------------------------


@reading
def list_length(value: Value) -> int | None:
    """Items of a list value (inline, long, blob or manifest); None if it is no list."""
    if not value:
        raise ValueFault("not a value: no bytes")
    head = value[0]
    if 0x90 <= head <= 0x9F:
        return head & 0x0F
    if head == 0xDC:
        return int.from_bytes(value[1:3], "big")
    if head == 0xDD:
        return int.from_bytes(value[1:5], "big")
    bounds = ext_bounds(value)
    if bounds is None:
        return None
    code, start, size = bounds
    if code == Ext.LIST:
        return int(_LIST_HEAD.unpack_from(value, start)[0])
    if code == Ext.BLOB:
        length = unpack(value[start : start + size])[3]
        return None if length is None else int(length)
    if code == Ext.MANIFEST:
        return int(unpack(value[start : start + size])[3])
    return list_length(untag(value)) if code in _WRAPPERS else None


@reading
def access(value: Value, path: Path) -> Value:
    """The part of a value that `path` leads to.

    Raises:
        ValueFault: There is no such part, or the value is opaque.
    """
    for depth, step in enumerate(path):
        value = _step(value, step, path[:depth])
    return value


def _step(value: Value, step: str | int, before: Path) -> Value:
    value = untag(value)
    if isinstance(step, int) and list_length(value) is not None and ext_code(value) != Ext.BLOB:
        return ListView(value)[step]
    obj = unpack(value)
    if isinstance(obj, dict) and step in obj:
        return pack(obj[step])
    where = "".join(f"[{part!r}]" for part in before)
    if isinstance(obj, dict):
        known = ", ".join(repr(key) for key in list(obj)[:8])
        raise ValueFault(f"value{where} has no {step!r}; it has {known or 'nothing'}")
    raise ValueFault(f"value{where} is of kind {kind_of(value)}: its part {step!r} cannot be read on the hub")


@reading
def untag(value: Value) -> Value:
    """The value inside wrappers that add nothing to it (a Union's tag, its own digest, a transformer's name)."""
    bounds = ext_bounds(value)
    while bounds is not None and bounds[0] in _WRAPPERS:
        value = pack(unpack(value[bounds[1] : bounds[1] + bounds[2]])[1])
        bounds = ext_bounds(value)
    return value


def pack_dict(items: Iterable[tuple[str, Value]]) -> Value:
    """Join encoded items to a dict value with text keys."""
    pairs = list(items)
    return bytes(msgpack.Packer().pack_map_header(len(pairs))) + b"".join(pack(key) + value for key, value in pairs)


@reading
def kind_of(value: Value) -> str:
    """A word for what the value is, for people: `int`, `str`, `list`, `file`, `pickle`, ..."""
    obj = unpack(value)
    if isinstance(obj, msgpack.ExtType):
        if obj.code == Ext.BLOB:
            return str(unpack(obj.data)[2])
        return ext_of(obj.code).name.lower() if obj.code != Ext.BIGINT else "int"
    return "none" if obj is None else type(obj).__name__
