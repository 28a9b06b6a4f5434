"""Values for people: a line of preview, and JSON for the command line and the API."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import islice
from math import isfinite
from typing import Any, Final

import msgpack

from greenroom_core.refs import BlobRef, blobs_of, digest, read_ref
from greenroom_core.values import (
    Ext,
    ListView,
    Plain,
    Value,
    ext_bounds,
    ext_of,
    kind_of,
    list_length,
    reading,
    unpack,
)

_DEEPEST: Final = 8
"""Levels that a preview opens: more would not fit a line anyway."""


@reading
def preview(value: Value, limit: int = 60) -> str:
    """A line of text that shows the value to a person, at most `limit` characters long.

    What a terminal or a log would act upon (line ends, escapes) is written out.

    Raises:
        ValueFault: The bytes are not a value.
    """
    bounds = ext_bounds(value)
    if bounds is not None and bounds[0] == Ext.LIST:  # Not unpacked: it may be large.
        text = _preview_list(ListView(value), limit, _DEEPEST)
    else:
        text = _preview(unpack(value), limit, _DEEPEST)
    if not text.isprintable():
        text = "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _preview(obj: Plain, limit: int, depth: int) -> str:
    if isinstance(obj, msgpack.ExtType):
        return _preview_ext(ext_of(obj.code), obj.data, limit, depth)
    if isinstance(obj, str):
        return '"' + (obj if len(obj) <= limit else obj[:limit] + "...") + '"'
    if isinstance(obj, bytes):
        return f"{len(obj)} bytes"
    if isinstance(obj, (list, dict)) and not depth:
        return "[...]" if isinstance(obj, list) else "{...}"
    if isinstance(obj, dict):
        pairs = [(_preview(k, limit, depth - 1), _preview(v, limit, depth - 1)) for k, v in islice(obj.items(), 3)]
        return "{" + _with_rest([f"{key}: {item}" for key, item in pairs], len(obj)) + "}"
    if isinstance(obj, list):
        return "[" + _with_rest([_preview(item, limit, depth - 1) for item in obj[:3]], len(obj)) + "]"
    return {None: "null", True: "true", False: "false"}[obj] if obj is None or isinstance(obj, bool) else repr(obj)


def _preview_list(view: ListView, limit: int, depth: int) -> str:
    shown = [_preview(unpack(view[at]), limit, depth - 1) for at in range(min(len(view), 3))] if depth else ["..."]
    return "[" + _with_rest(shown, len(view)) + "]"


def _with_rest(shown: list[str], count: int) -> str:
    return ", ".join(shown) + (f", ... {count - 3} more" if count > 3 else "")


def _preview_ext(code: Ext, data: bytes, limit: int, depth: int) -> str:
    if code == Ext.BLOB:
        return read_ref(data).preview
    if code == Ext.LIST:
        return _preview_list(ListView.over(data), limit, depth)
    if code == Ext.BIGINT:
        return data.decode()
    content = unpack(data)
    if code in (Ext.FILE, Ext.DIRECTORY):
        return str(content.get("name") or content.get("uri"))
    if code == Ext.PICKLE:
        return str(content[1])
    if code in (Ext.TAGGED, Ext.HASHED, Ext.CUSTOM):
        return _preview(content[1], limit, depth - 1) if depth else "..."
    if code == Ext.TIME:
        return str(content[1])
    if code == Ext.TABLE:
        return f"table of {content.get('rows')} rows, {len(content.get('columns') or ())} columns"
    if code == Ext.ARRAY:
        return f"{content.get('dtype')} array of {'x'.join(map(str, content.get('shape') or ()))}"
    if code == Ext.MANIFEST:
        return f"list of {content[3]}"
    return f"{code.name.lower()} of {len(data)} bytes"


@reading
def to_json(value: Value) -> Any:
    """What the command line and the API show of a value: JSON data; files and opaque things as their description."""
    return _json(unpack(value))


def _json(obj: Plain) -> Any:
    if isinstance(obj, msgpack.ExtType):
        return _json_ext(ext_of(obj.code), obj.data)
    if isinstance(obj, list):
        return [_json(item) for item in obj]
    if isinstance(obj, dict):
        return {key if isinstance(key, str) else _json_key(key): _json(item) for key, item in obj.items()}
    if isinstance(obj, bytes):
        try:
            return obj.decode()
        except UnicodeDecodeError:
            return {"type": "bytes", "preview": obj[:32].hex(), "size": len(obj)}
    if isinstance(obj, float):
        return obj if isfinite(obj) else None  # JSON has no word for it; null is what browsers write.
    return obj if obj is None or isinstance(obj, (bool, int, str)) else str(obj)


def _json_key(key: Plain) -> str:
    """A key as JSON writes it: `true`, `null`, `1.5`; what is no plain value by its text."""
    told = _json(key)
    return told if isinstance(told, str) else json.dumps(told)


def _json_ext(code: Ext, data: bytes) -> Any:
    if code == Ext.LIST:
        return [_json(unpack(item)) for item in ListView.over(data)]
    if code == Ext.BIGINT:
        return int(data) if not data.lstrip(b"-").startswith(b"0x") else data.decode()
    if code == Ext.BLOB:
        ref = read_ref(data)
        return {"type": ref.kind, "preview": ref.preview, "uri": f"blob:{ref.sha256}", "size": ref.size}
    content = unpack(data)
    if code in (Ext.TAGGED, Ext.HASHED, Ext.CUSTOM):
        return _json(content[1])
    if code == Ext.SET:
        return _json(content)
    if code == Ext.TIME:
        return _json(content[1])
    if code in (Ext.FILE, Ext.DIRECTORY):
        return _json_file(content, "file" if code == Ext.FILE else "directory")
    if code == Ext.PICKLE:
        uri = f"blob:{content[3]}" if content[3] else None
        return {"type": _json(content[0]), "preview": _json(content[1]), "uri": uri}
    kind = {Ext.TABLE: "table", Ext.ARRAY: "array"}.get(code, code.name.lower())
    uri = _uri(content) if isinstance(content, Mapping) else None
    return {"type": kind, "preview": _preview_ext(code, data, 60, _DEEPEST), "uri": uri}


def _json_file(content: Mapping[str, Any], word: str) -> dict[str, Any]:
    shown = {word: content.get("name"), "uri": _uri(content), "size": content.get("size")}
    if content.get("path"):
        shown["path"] = content["path"]
    return {key: _json(item) for key, item in shown.items() if item is not None}


def _uri(content: Mapping[str, Any]) -> Any:
    return _json(content.get("uri")) or (f"blob:{content['blob']}" if content.get("blob") else None)


@reading
def refer(value: Value, sha256: str) -> Value:
    """The reference that stands for a value which was stored as blob `sha256`."""
    length = list_length(value)
    kind = "list" if length is not None else kind_of(value)
    semantic = None if kind in _CANONICAL else digest(value)
    holds = 0 if kind in _CANONICAL else len(blobs_of(value))
    return BlobRef(sha256, len(value), kind, length, preview(value), semantic, holds).to_value()


_CANONICAL = frozenset({"bytes", "str", "int"})  # Equal exactly if their bytes are: no need to read them once more.
