"""Values for people: a line of preview, and JSON for the command line and the API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgpack

from greenroom_core.refs import BlobRef, blobs_of, digest, read_ref
from greenroom_core.values import Ext, ListView, Plain, Value, ext_bounds, kind_of, list_length, pack, unpack


def preview(value: Value, limit: int = 60) -> str:
    """A line of text that shows the value to a person, at most `limit` characters long."""
    text = _preview(value, limit)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _preview(value: Value, limit: int) -> str:
    n = list_length(value)
    bounds = ext_bounds(value)
    if n is not None and (bounds is None or bounds[0] == Ext.LIST):
        view = ListView(value)
        shown = [_preview(view[index], limit) for index in range(min(n, 3))]
        return f"[{', '.join(shown)}{f', ... {n - 3} more' if n > 3 else ''}]"
    return _preview_plain(unpack(value), limit)


def _preview_plain(obj: Plain, limit: int) -> str:
    if isinstance(obj, msgpack.ExtType):
        return _preview_ext(Ext(obj.code), obj.data, limit)
    if isinstance(obj, str):
        return '"' + (obj if len(obj) <= limit else obj[:limit] + "...") + '"'
    if isinstance(obj, bytes):
        return f"{len(obj)} bytes"
    if isinstance(obj, dict):
        shown = [f"{_preview_plain(k, limit)}: {_preview_plain(v, limit)}" for k, v in list(obj.items())[:3]]
        return "{" + ", ".join(shown) + (f", ... {len(obj) - 3} more" if len(obj) > 3 else "") + "}"
    if isinstance(obj, list):
        return _preview(pack(obj), limit)
    return (
        {None: "null", True: "true", False: "false"}.get(obj, repr(obj))
        if obj is None or obj is True or obj is False
        else repr(obj)
    )


def _preview_ext(code: Ext, data: bytes, limit: int) -> str:
    if code == Ext.BLOB:
        return read_ref(data).preview
    if code == Ext.LIST:
        return _preview(pack(msgpack.ExtType(int(code), data)), limit)
    if code == Ext.BIGINT:
        return data.decode()
    content = unpack(data)
    if code in (Ext.FILE, Ext.DIRECTORY):
        return str(content.get("name") or content.get("uri"))
    if code == Ext.PICKLE:
        return str(content[1])
    if code in (Ext.TAGGED, Ext.HASHED, Ext.CUSTOM):
        return _preview_plain(content[1], limit)
    if code == Ext.TIME:
        return str(content[1])
    if code == Ext.TABLE:
        return f"table of {content.get('rows')} rows, {len(content.get('columns') or ())} columns"
    if code == Ext.ARRAY:
        return f"{content.get('dtype')} array of {'x'.join(map(str, content.get('shape') or ()))}"
    if code == Ext.MANIFEST:
        return f"list of {content[3]}"
    return f"{code.name.lower()} of {len(data)} bytes"


def to_json(value: Value) -> Any:
    """What the command line and the API show of a value: JSON data; files and opaque things as their description."""
    return _json(unpack(value))


def _json(obj: Plain) -> Any:
    if isinstance(obj, msgpack.ExtType):
        return _json_ext(Ext(obj.code), obj.data)
    if isinstance(obj, list):
        return [_json(item) for item in obj]
    if isinstance(obj, dict):
        return {key if isinstance(key, str) else _json_key(key): _json(item) for key, item in obj.items()}
    if isinstance(obj, bytes):
        try:
            return obj.decode()
        except UnicodeDecodeError:
            return {"type": "bytes", "preview": obj[:32].hex(), "size": len(obj)}
    return obj


def _json_key(key: Plain) -> str:
    return str(_json(key)) if not isinstance(key, list) else ",".join(map(str, key))


def _json_ext(code: Ext, data: bytes) -> Any:
    if code == Ext.LIST:
        return [_json(unpack(item)) for item in ListView(pack(msgpack.ExtType(int(code), data)))]
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
        return content[1]
    if code in (Ext.FILE, Ext.DIRECTORY):
        return _json_file(content, "file" if code == Ext.FILE else "directory")
    if code == Ext.PICKLE:
        return {"type": content[0], "preview": content[1], "uri": f"blob:{content[3]}" if content[3] else None}
    kind = {Ext.TABLE: "table", Ext.ARRAY: "array"}.get(code, code.name.lower())
    uri = (
        content.get("uri") or (f"blob:{content['blob']}" if content.get("blob") else None)
        if isinstance(content, Mapping)
        else None
    )
    return {"type": kind, "preview": _preview_ext(code, data, 60), "uri": uri}


def _json_file(content: Mapping[str, Any], word: str) -> dict[str, Any]:
    uri = content.get("uri") or (f"blob:{content['blob']}" if content.get("blob") else None)
    shown = {word: content.get("name"), "uri": uri, "size": content.get("size")}
    if content.get("path"):
        shown["path"] = content["path"]
    return {key: item for key, item in shown.items() if item is not None}


def refer(value: Value, sha256: str) -> Value:
    """The reference that stands for a value which was stored as blob `sha256`."""
    length = list_length(value)
    kind = "list" if length is not None else kind_of(value)
    semantic = None if kind in _CANONICAL else digest(value)
    holds = 0 if kind in _CANONICAL else len(blobs_of(value))
    return BlobRef(sha256, len(value), kind, length, preview(value), semantic, holds).to_value()


_CANONICAL = frozenset({"bytes", "str", "int"})  # Equal exactly if their bytes are: no need to read them once more.
