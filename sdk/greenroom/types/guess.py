"""Values of no declared type (`Any`, `object`): what describes itself stays readable, the rest is pickled."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from greenroom.errors import TypeMismatch
from greenroom.types.codec import Codec, ExtType, extension, list_value, opened, pack_plain
from greenroom.types.spec import ANY, TypeSpec
from greenroom_core.values import Ext, Plain, Value, unpack

if TYPE_CHECKING:
    from greenroom.blobs import BlobStore

SCALARS: Final = frozenset({type(None), bool, int, float, str, bytes})

_TIMES: Final = frozenset({dt.datetime, dt.date, dt.time, dt.timedelta})

_LIBRARIES: Final = frozenset({"numpy", "pandas", "polars", "pyarrow", "torch"})
"""Modules with classes that have a form of their own; others are not worth a look."""


class AnyCodec(Codec):
    """Anything at all."""

    name = "Any"
    nullable = True
    uploads = True

    def to_plain(self, obj: Any, store: BlobStore) -> Plain:
        """Plain data as it is, containers piece by piece, files by content, the rest pickled."""
        return plain_of(obj, store)

    def from_plain(self, plain: Plain, store: BlobStore) -> Any:
        """What the data says that it is."""
        return read_plain(plain, store)

    def value_of(self, obj: Any, store: BlobStore) -> Value:
        """The bytes that stand for an object; a long list can be sliced."""
        if type(obj) is list:
            return list_value(plain_of(obj, store), store)
        return super().value_of(obj, store)

    def describe(self) -> TypeSpec:
        """The type as plain data."""
        return ANY

    def from_json(self, json: Any) -> Any:
        """The JSON data itself."""
        return json

    def from_text(self, text: str) -> Any:
        """JSON if it is some, else the text."""
        import json

        try:
            return json.loads(text)
        except ValueError:
            return text


def is_self_describing(obj: Any) -> bool:
    """Whether an object is plain data through and through, so that nothing of it has to be pickled."""
    kind = type(obj)
    if kind in SCALARS or kind in _TIMES:
        return True
    if kind in (list, tuple, set, frozenset):
        return all(map(is_self_describing, obj))
    return kind is dict and all(map(is_self_describing, obj)) and all(map(is_self_describing, obj.values()))


def plain_of(obj: Any, store: BlobStore | None = None) -> Plain:
    """The plain data that stands for an object of no declared type.

    Args:
        obj: The object.
        store: Where files and large things go; not needed for what is self-describing.
    """
    kind = type(obj)
    if kind in SCALARS:
        return obj
    make = _MAKERS.get(kind)
    return make(obj, store) if make is not None else _plain_of_instance(obj, store)


def _plain_of_instance(obj: Any, store: Any) -> Plain:
    from greenroom.types.custom import transformer_of

    kind = type(obj)
    root = kind.__module__.partition(".")[0]
    if root in _LIBRARIES or root == "greenroom" or transformer_of(kind) is not None:
        from greenroom.types.registry import codec_for

        return codec_for(kind).to_plain(obj, store)
    from greenroom.files import Content

    if isinstance(obj, Content):
        from greenroom.types.filetypes import content_to_plain

        return content_to_plain(obj, store)
    from greenroom.types.opaque import pickled

    return pickled(obj, store)


def _list(obj: list[Any], store: Any) -> Plain:
    return obj if SCALARS.issuperset(map(type, obj)) else [plain_of(item, store) for item in obj]


def _dict(obj: dict[Any, Any], store: Any) -> Plain:
    return {key_of(plain_of(key, store), key): plain_of(item, store) for key, item in obj.items()}


def _time(obj: Any, store: Any) -> Plain:
    from greenroom.types.times import time_to_plain

    return time_to_plain(obj)


_MAKERS: Final[Mapping[type, Callable[[Any, Any], Plain]]] = {
    list: _list,
    dict: _dict,
    tuple: lambda obj, store: extension(Ext.TAGGED, ["tuple", _list(list(obj), store)]),
    set: lambda obj, store: set_of(plain_of(item, store) for item in obj),
    frozenset: lambda obj, store: extension(Ext.TAGGED, ["frozenset", set_of(plain_of(item, store) for item in obj)]),
    **dict.fromkeys(_TIMES, _time),
}


def set_of(plains: Any) -> Plain:
    """A set's extension: items sorted by their bytes, so that equal sets have equal ones."""
    items = sorted(map(pack_plain, plains))
    import msgpack

    return ExtType(int(Ext.SET), bytes(msgpack.Packer().pack_array_header(len(items))) + b"".join(items))


def key_of(plain: Plain, key: Any) -> Plain:
    """The plain data that stands for a dict's key: hashable when it is read, and equal to itself.

    Raises:
        TypeMismatch: The key is NaN, which nobody could look up again.
    """
    if plain != plain:
        raise TypeMismatch("keys that equal themselves", f"the key {key!r}", "NaN can never be looked up")
    if type(plain) is list or isinstance(plain, dict):
        return extension(Ext.TAGGED, ["key", plain])
    return plain


# Reading ------------------------------------------------------------------------------------------------------------


def read_plain(plain: Plain, store: Any) -> Any:
    """The object that plain data says it is."""
    kind = type(plain)
    if kind in SCALARS:
        return plain
    if kind is list:
        return plain if SCALARS.issuperset(map(type, plain)) else [read_plain(item, store) for item in plain]
    if kind is dict:
        return {read_plain(key, store): read_plain(item, store) for key, item in plain.items()}
    read = _READERS.get(plain.code)
    return read(plain, store) if read is not None else _read_kept(plain, store)


def _read_kept(plain: Any, store: Any) -> Any:
    inner = opened(plain, store)
    if inner is plain:
        raise TypeMismatch("a value", f"an extension of code {plain.code}")
    return read_plain(inner, store)


def _read_tagged(plain: Any, store: Any) -> Any:
    tag, inner = unpack(plain.data)
    obj = read_plain(inner, store)
    if tag == "tuple" or (tag == "key" and isinstance(obj, list)):
        return tuple(obj)
    return frozenset(obj) if tag == "frozenset" else obj


def _read_set(plain: Any, store: Any) -> Any:
    return {read_plain(item, store) for item in unpack(plain.data)}


def _read_time(plain: Any, store: Any) -> Any:
    from greenroom.types.times import time_from_plain

    return time_from_plain(plain)


def _read_content(plain: Any, store: Any) -> Any:
    from greenroom.types.filetypes import content_from_plain

    return content_from_plain(plain, store)


def _read_pickle(plain: Any, store: Any) -> Any:
    from greenroom.types.opaque import unpickled

    return unpickled(plain, store)


def _read_array(plain: Any, store: Any) -> Any:
    from greenroom.types.arrays import array_from_plain

    return array_from_plain(plain, store)


def _read_table(plain: Any, store: Any) -> Any:
    from greenroom.types.tables import table_from_plain

    return table_from_plain(plain, store)


def _read_custom(plain: Any, store: Any) -> Any:
    from greenroom.types.custom import custom_from_plain

    return custom_from_plain(plain, store)


_READERS: Final[Mapping[int, Callable[[Any, Any], Any]]] = {
    Ext.TAGGED: _read_tagged,
    Ext.SET: _read_set,
    Ext.TIME: _read_time,
    Ext.FILE: _read_content,
    Ext.DIRECTORY: _read_content,
    Ext.PICKLE: _read_pickle,
    Ext.ARRAY: _read_array,
    Ext.TABLE: _read_table,
    Ext.CUSTOM: _read_custom,
}
