"""What a value refers to and what it is equal to: blob references and semantic digests."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import msgpack

from greenroom_core.values import Ext, ListView, Plain, Value, ValueFault, ext, ext_bounds, pack, unpack


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

    def to_value(self) -> Value:
        """Encode the reference; it stands wherever the value would."""
        return pack(ext(Ext.BLOB, [self.sha256, self.size, self.kind, self.length, self.preview]))


def blob_ref(value: Value) -> BlobRef | None:
    """The reference, if the value is one."""
    bounds = ext_bounds(value)
    if bounds is None or bounds[0] != Ext.BLOB:
        return None
    return read_ref(value[bounds[1] : bounds[1] + bounds[2]])


def read_ref(content: bytes) -> BlobRef:
    """The reference from its extension's content."""
    try:
        sha256, size, kind, length, text = unpack(content)
        return BlobRef(sha256, size, kind, length, text)
    except (TypeError, ValueError) as fault:
        raise ValueFault("a blob reference has five parts") from fault


def blobs_of(value: Value) -> list[str]:
    """All blobs that a value refers to, at any depth: what garbage collection must keep for it."""
    found: list[str] = []
    _collect(unpack(value), found)
    return found


_HOLDERS = frozenset({Ext.FILE, Ext.TABLE, Ext.ARRAY, Ext.DIRECTORY})


def _collect(obj: Plain, found: list[str]) -> None:
    if isinstance(obj, msgpack.ExtType):
        _collect_ext(Ext(obj.code), obj.data, found)
    elif isinstance(obj, list):
        for item in obj:
            _collect(item, found)
    elif isinstance(obj, dict):
        for key, item in obj.items():
            _collect(key, found)
            _collect(item, found)


def _collect_ext(code: Ext, data: bytes, found: list[str]) -> None:
    if code == Ext.LIST:
        for item in ListView(pack(msgpack.ExtType(int(code), data))):
            _collect(unpack(item), found)
    elif code == Ext.BLOB:
        found.append(read_ref(data).sha256)
    elif code in _HOLDERS:
        content = unpack(data)
        if content.get("blob"):
            found.append(content["blob"])
        found.extend(entry[1] for entry in content.get("entries") or ())
    elif code == Ext.PICKLE:
        sha256 = unpack(data)[3]
        if sha256:
            found.append(sha256)
    elif code in (Ext.TAGGED, Ext.HASHED, Ext.CUSTOM):
        _collect(unpack(data)[1], found)
    elif code == Ext.SET:
        _collect(unpack(data), found)


def digest(value: Value) -> str:
    """The semantic digest, 32 hex digits: equal for equal values, whatever the order of a dict or a set.

    A file counts by its content, a `HASHED` value by the digest that it brings.
    """
    state = hashlib.sha256()
    _feed(unpack(value), state)
    return state.hexdigest()[:32]


def _feed(obj: Plain, state: Any) -> None:
    if isinstance(obj, msgpack.ExtType):
        _feed_ext(Ext(obj.code), obj.data, state)
    elif isinstance(obj, list):
        state.update(b"[%d" % len(obj))
        for item in obj:
            _feed(item, state)
    elif isinstance(obj, dict):
        state.update(b"{%d" % len(obj))
        pairs = (
            sorted((pack(key), item) for key, item in obj.items())
            if len(obj) > 1
            else [(pack(k), v) for k, v in obj.items()]
        )
        for key, item in pairs:
            state.update(key)
            _feed(item, state)
    else:
        state.update(pack(obj))


def _feed_ext(code: Ext, data: bytes, state: Any) -> None:
    if code == Ext.LIST:
        view = ListView(pack(msgpack.ExtType(int(code), data)))
        state.update(b"[%d" % len(view))
        for item in view:
            _feed(unpack(item), state)
    elif code == Ext.HASHED:
        state.update(b"#" + str(unpack(data)[0]).encode())
    elif code in (Ext.FILE, Ext.DIRECTORY):
        content = unpack(data)
        identity = {key: content.get(key) for key in ("blob", "entries", "uri", "etag", "format") if content.get(key)}
        state.update(b"@%d" % code)
        _feed(identity, state)
    else:
        state.update(b"!%d" % code + data)
