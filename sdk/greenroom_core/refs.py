"""What a value refers to and what it is equal to: blob references and semantic digests."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import msgpack

from greenroom_core.values import (
    Ext,
    ListView,
    Plain,
    Value,
    ValueFault,
    ext,
    ext_bounds,
    ext_of,
    pack,
    reading,
    unpack,
)


@dataclass(frozen=True, slots=True)
class BlobRef:
    """A value kept in the blob store because of its size."""

    sha256: str
    size: int
    kind: str
    """`list` if it is one (a map slices it by range), else the name of what it is, for people."""
    length: int | None
    """Items, for a list."""
    preview: str
    digest: str | None = None
    """The semantic digest of what is kept; None where equal values have equal bytes."""
    holds: int = 0
    """Blobs that the kept value itself refers to: whoever collects garbage must look into it if there are any."""

    def to_value(self) -> Value:
        """Encode the reference; it stands wherever the value would."""
        parts = [self.sha256, self.size, self.kind, self.length, self.preview, self.digest, self.holds]
        return pack(ext(Ext.BLOB, parts))


@reading
def blob_ref(value: Value) -> BlobRef | None:
    """The reference, if the value is one."""
    bounds = ext_bounds(value)
    if bounds is None or bounds[0] != Ext.BLOB:
        return None
    return read_ref(value[bounds[1] : bounds[1] + bounds[2]])


@reading
def read_ref(content: bytes) -> BlobRef:
    """The reference from its extension's content."""
    parts = unpack(content)
    if not isinstance(parts, list) or not 5 <= len(parts) <= 7:
        raise ValueFault("a blob reference has five to seven parts")
    ref = BlobRef(*parts)
    if not (_is_text(ref.sha256, ref.kind, ref.preview) and isinstance(ref.size, int) and isinstance(ref.holds, int)):
        raise ValueFault("a blob reference holds text and numbers")
    if not isinstance(ref.length, (int, type(None))) or not isinstance(ref.digest, (str, type(None))):
        raise ValueFault("a blob reference holds text and numbers")
    return ref


def _is_text(*parts: Any) -> bool:
    return all(isinstance(part, str) for part in parts)


@reading
def blobs_of(value: Value, read: Callable[[str], bytes | memoryview] | None = None) -> list[str]:
    """All blobs that a value refers to, at any depth: what garbage collection must keep for it.

    Args:
        value: What refers to them.
        read: Gives a blob's bytes. With it, values that were stored as blobs are looked into if they refer to more.
    """
    found: list[str] = []
    _collect(unpack(value), found, read)
    return found


_HOLDERS: Final = frozenset({Ext.FILE, Ext.TABLE, Ext.ARRAY, Ext.DIRECTORY})
_SCALARS: Final = frozenset({type(None), bool, int, float, str, bytes})
_Read = Callable[[str], "bytes | memoryview"]


def _collect(obj: Plain, found: list[str], read: _Read | None) -> None:
    if isinstance(obj, msgpack.ExtType):
        _collect_ext(ext_of(obj.code), obj.data, found, read)
    elif isinstance(obj, list):
        if _SCALARS.issuperset(map(type, obj)):
            return
        for item in obj:
            _collect(item, found, read)
    elif isinstance(obj, dict):
        if not _SCALARS.issuperset(map(type, obj)):
            for key in obj:
                _collect(key, found, read)
        if not _SCALARS.issuperset(map(type, obj.values())):
            for item in obj.values():
                _collect(item, found, read)


def _collect_ext(code: Ext, data: bytes, found: list[str], read: _Read | None) -> None:
    if code == Ext.LIST:
        _collect(_items(data), found, read)
    elif code == Ext.BLOB:
        ref = read_ref(data)
        found.append(ref.sha256)
        if ref.holds and read is not None:
            _collect(unpack(read(ref.sha256)), found, read)
    elif code in _HOLDERS:
        content = unpack(data)
        if content.get("blob"):
            found.append(content["blob"])
        found.extend(entry[1] for entry in content.get("entries") or () if entry[1])
    elif code == Ext.PICKLE:
        _, _, _, sha256, *held = unpack(data)
        found.extend([sha256] if sha256 else [])
        found.extend(held[0] if held else [])
    elif code in (Ext.TAGGED, Ext.HASHED, Ext.CUSTOM):
        _collect(unpack(data)[1], found, read)
    elif code == Ext.SET:
        _collect(unpack(data), found, read)


def _items(data: bytes) -> list[Plain]:
    view = ListView.over(data)
    joined = view.slice(0, len(view)).payload
    items: list[Plain] = unpack(bytes(msgpack.Packer().pack_array_header(len(view))) + joined)
    return items


@reading
def digest(value: Value) -> str:
    """The semantic digest, 32 hex digits: equal for equal values, whatever the order of a dict or a set.

    A file counts by its content, a `HASHED` value by the digest that it brings, a pickle by its bytes alone.

    Raises:
        ValueFault: The bytes are not a value.
    """
    ref = blob_ref(value)
    if ref is not None and ref.digest is not None:
        return ref.digest
    return hashlib.sha256(pack(_canonical(unpack(value)))).hexdigest()[:32]


# What hashes alike is rewritten to be alike, then hashed at once: three times as fast as hashing piece by piece.
_TEXT: Final = frozenset({str})
_DICT, _DIGEST = 120, 121  # Extension codes that no value has.


def _canonical(obj: Plain) -> Plain:
    if isinstance(obj, msgpack.ExtType):
        return _canonical_ext(ext_of(obj.code), obj.data)
    if isinstance(obj, list):
        return obj if _SCALARS.issuperset(map(type, obj)) else [_canonical(item) for item in obj]
    if isinstance(obj, dict):
        if _TEXT.issuperset(map(type, obj)):
            return {key: _canonical(obj[key]) for key in sorted(obj)}
        by_key = {pack(_canonical(key)): item for key, item in obj.items()}
        return msgpack.ExtType(_DICT, pack([[key, _canonical(by_key[key])] for key in sorted(by_key)]))
    return obj


def _canonical_ext(code: Ext, data: bytes) -> Plain:
    if code == Ext.LIST:
        return _canonical(_items(data))
    if code == Ext.BIGINT:
        return msgpack.ExtType(int(code), data)
    content: Any = unpack(data)
    if code == Ext.HASHED:
        return msgpack.ExtType(_DIGEST, str(content[0]).encode())
    if code == Ext.BLOB:
        ref = read_ref(data)
        return ext(code, ref.digest or ref.sha256)
    if code in (Ext.FILE, Ext.DIRECTORY):
        return ext(code, content.get("blob") or content.get("entries") or [content.get("uri"), content.get("etag")])
    if code == Ext.PICKLE:
        return ext(code, [content[0], content[3] or hashlib.sha256(content[2]).hexdigest()])
    if code in (Ext.TAGGED, Ext.CUSTOM):
        return ext(code, [content[0], _canonical(content[1])])
    if code == Ext.SET:
        return ext(code, sorted(pack(_canonical(item)) for item in content))
    return ext(code, _canonical(content))
