"""From objects to literals and back, by annotation."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import os
import typing
from collections.abc import Mapping
from typing import Any, Final

import msgpack

from greenroom.compat.engine.literal_types import PICKLE, UNIONS, bared, is_record, is_table, literal_type
from greenroom.compat.idl import literals as idl
from greenroom.compat.idl.literals import Literal, Primitive, Scalar, Void
from greenroom.compat.idl.types import BlobType, LiteralType
from greenroom.errors import TypeMismatch
from greenroom.files import Content
from greenroom.types import codec_for
from greenroom.types.codec import given, type_name

MESSAGEPACK: Final = "msgpack"
"""Tag of the bytes that hold a record."""

_FIELDS: Final[Mapping[Any, str]] = {
    bool: "boolean", int: "integer", float: "float_value", str: "string_value", dt.datetime: "datetime",
    dt.timedelta: "duration",
}  # fmt: skip


def to_literal(ctx: Any, value: Any, annotation: Any, expected: LiteralType) -> Literal:
    """The literal of an object that is annotated so.

    Raises:
        TypeMismatch: The object is something else.
    """
    made = _literal(ctx, value, bared(annotation), expected)
    if made.hash is None:
        made.hash = _hash(value, annotation)
    return made


def _hash(value: Any, annotation: Any) -> str | None:
    for item in getattr(annotation, "__metadata__", ()):
        if hasattr(item, "calculate"):
            return str(item.calculate(value))
    return None


def _literal(ctx: Any, value: Any, annotation: Any, expected: LiteralType) -> Literal:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    kind = origin or annotation
    if annotation in (None, type(None)):
        return Literal(scalar=Scalar(none_type=Void())) if value is None else _refuse("None", value)
    if annotation in _FIELDS:
        return _primitive(value, annotation)
    if annotation is dt.date:
        return _primitive(dt.datetime.combine(_of(value, dt.date), dt.time(), dt.UTC), dt.datetime)
    if origin in UNIONS:
        return _union(ctx, value, arguments, expected)
    if kind is list:
        item = arguments[0] if arguments else Any
        inner = expected.collection_type or literal_type(item)
        return Literal(
            collection=idl.LiteralCollection([to_literal(ctx, part, item, inner) for part in _of(value, list)])
        )
    if kind is dict and len(arguments) == 2 and arguments[0] is str:
        inner = expected.map_value_type or literal_type(arguments[1])
        parts = {name: to_literal(ctx, part, arguments[1], inner) for name, part in _of(value, dict).items()}
        return Literal(map=idl.LiteralMap(parts))
    return _of_class(ctx, value, annotation, kind, expected)


def _of_class(ctx: Any, value: Any, annotation: Any, kind: Any, expected: LiteralType) -> Literal:
    from greenroom.compat.engine.base import waited
    from greenroom.compat.engine.registry import TypeEngine

    own = TypeEngine.registered(kind)
    if own is not None:
        made: Literal = waited(own.to_literal(ctx, value, annotation, expected))
        return made
    if isinstance(kind, type):
        if issubclass(kind, enum.Enum):
            member = kind(value) if not isinstance(value, enum.Enum) else _of(value, kind)
            return Literal(scalar=Scalar(primitive=Primitive(string_value=str(member.value))))
        if issubclass(kind, Content) or kind is os.PathLike:
            return _content(value, kind, expected)
        if is_table(kind):
            return _table(ctx, value, expected)
    if is_record(kind) or kind is dict or annotation is bytes:
        return Literal(scalar=Scalar(binary=idl.Binary(packed(_of(value, kind)), MESSAGEPACK)))
    return _pickle(ctx, _of(value, kind) if isinstance(kind, type) and kind is not Any else value)


def _of(value: Any, kind: Any) -> Any:
    return value if isinstance(value, kind) else _refuse(type_name(kind), value)


def _refuse(expected: str, value: Any) -> Any:
    raise TypeMismatch(expected, given(value))


def _primitive(value: Any, annotation: Any) -> Literal:
    if annotation is float and type(value) is int:
        value = float(value)
    fits = isinstance(value, annotation) and (annotation is bool or not isinstance(value, bool))
    if not fits:
        _refuse(type_name(annotation), value)
    return Literal(scalar=Scalar(primitive=Primitive(**{_FIELDS[annotation]: value})))


def _union(ctx: Any, value: Any, members: tuple[Any, ...], expected: LiteralType) -> Literal:
    variants = expected.union_type.variants if expected.union_type else [literal_type(member) for member in members]
    for member, variant in zip(members, variants, strict=False):
        try:
            made = to_literal(ctx, value, member, variant)
        except (TypeError, ValueError, AssertionError):
            continue
        return Literal(scalar=Scalar(union=idl.Union(made, variant)), hash=made.hash)
    names = " or ".join(type_name(member) for member in members)
    return _refuse(names, value)  # type: ignore[no-any-return]


def _content(value: Any, kind: Any, expected: LiteralType) -> Literal:
    if not isinstance(value, (str, os.PathLike)):
        _refuse(type_name(kind), value)
    kind_of_blob = expected.blob or BlobType("", 0)
    if isinstance(value, Content):
        uri = value.remote_source or value._given or value.path
    else:
        uri = os.fspath(value)
    if "://" not in uri and not os.path.exists(uri):
        raise TypeMismatch(type_name(kind), repr(uri), "nothing is at this path")
    return Literal(scalar=Scalar(blob=idl.Blob(idl.BlobMetadata(kind_of_blob), uri)))


def _table(ctx: Any, value: Any, expected: LiteralType) -> Literal:
    from greenroom.types.datasets import StructuredDataset

    dataset = value if isinstance(value, StructuredDataset) else StructuredDataset(dataframe=value)
    uri = dataset.uri
    if uri is None:
        folder = ctx.file_access.get_random_local_directory()
        uri = os.path.join(folder, "00000")
        written = dataset.dataframe
        if hasattr(written, "to_parquet"):
            written.to_parquet(uri)
        elif hasattr(written, "write_parquet"):
            written.write_parquet(uri)
        else:
            import pyarrow.parquet as pq

            pq.write_table(written, uri)
    metadata = idl.StructuredDatasetMetadata(expected.structured_dataset_type)
    return Literal(scalar=Scalar(structured_dataset=idl.StructuredDataset(uri, metadata)))


def _pickle(ctx: Any, value: Any) -> Literal:
    import cloudpickle

    if value is None:
        raise TypeMismatch("a value to pickle", "None", "annotate it as Optional")
    uri = ctx.file_access.get_random_local_path("pickle")
    with open(uri, "wb") as file:
        cloudpickle.dump(value, file)
    blob = idl.Blob(idl.BlobMetadata(BlobType(PICKLE, BlobType.BlobDimensionality.SINGLE)), uri)
    return Literal(scalar=Scalar(blob=blob))


# Records ------------------------------------------------------------------------------------------------------------


def packed(value: Any) -> bytes:
    """The bytes of a record: MessagePack of its parts."""
    return bytes(msgpack.packb(parts_of(value)))


def parts_of(value: Any) -> Any:
    """An object as what JSON can say of it, records and files included."""
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Content):
        return {"path": value.remote_source or value._given or value.path}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {part.name: parts_of(getattr(value, part.name)) for part in dataclasses.fields(value)}
    if hasattr(type(value), "model_fields"):
        return {name: parts_of(getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, Mapping):
        return {parts_of(key): parts_of(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [parts_of(item) for item in value]
    if isinstance(value, (dt.datetime, dt.date, dt.time)):
        return value.isoformat()
    if isinstance(value, dt.timedelta):
        return value.total_seconds()
    return value


# Reading ------------------------------------------------------------------------------------------------------------


def to_python(ctx: Any, literal: Literal, annotation: Any) -> Any:
    """The object of a literal, for an annotation.

    Raises:
        TypeMismatch: The literal is something else.
    """
    annotation = bared(annotation)
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    kind = origin or annotation
    if origin in UNIONS:
        return _from_union(ctx, literal, arguments)
    if literal.scalar is not None and literal.scalar.union is not None:
        return to_python(ctx, literal.scalar.union.value, annotation)
    if annotation in (None, type(None)):
        none = literal.scalar is not None and literal.scalar.none_type is not None
        return None if none else _refuse("None", literal)
    if kind is list and literal.collection is not None:
        item = arguments[0] if arguments else Any
        return [to_python(ctx, part, item) for part in literal.collection.literals]
    if kind is dict and literal.map is not None:
        item = arguments[1] if len(arguments) == 2 else Any
        return {name: to_python(ctx, part, item) for name, part in literal.map.literals.items()}
    return _object(ctx, literal, annotation, kind)


def _object(ctx: Any, literal: Literal, annotation: Any, kind: Any) -> Any:
    from greenroom.compat.engine.base import waited
    from greenroom.compat.engine.registry import TypeEngine

    own = TypeEngine.registered(kind)
    if own is not None:
        return waited(own.to_python_value(ctx, literal, annotation))
    scalar = literal.scalar
    if scalar is None:
        return _refuse(type_name(annotation), literal)
    if scalar.binary is not None:
        parts = msgpack.unpackb(scalar.binary.value, strict_map_key=False)
        return codec_for(annotation).from_json(parts) if kind is not dict else parts
    if scalar.primitive is not None:
        return _from_primitive(scalar.primitive.value, annotation, kind)
    if scalar.blob is not None:
        return _from_blob(ctx, scalar.blob, kind)
    if scalar.structured_dataset is not None:
        return _from_table(scalar.structured_dataset, kind)
    return _refuse(type_name(annotation), literal)


def _from_union(ctx: Any, literal: Literal, members: tuple[Any, ...]) -> Any:
    inner, stored = literal, None
    if literal.scalar is not None and literal.scalar.union is not None:
        inner, stored = literal.scalar.union.value, literal.scalar.union.stored_type
    tag = stored.structure.tag if stored is not None and stored.structure is not None else None
    from greenroom.compat.engine.literal_types import transformer_name

    named = [member for member in members if tag is not None and transformer_name(member) == tag]
    for member in (*named, *members):
        try:
            return to_python(ctx, inner, member)
        except (TypeError, ValueError, AssertionError):
            continue
    return _refuse(" or ".join(type_name(member) for member in members), literal)


def _from_primitive(value: Any, annotation: Any, kind: Any) -> Any:
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return next((m for m in kind if str(m.value) == value), None) or _refuse(type_name(kind), value)
    if annotation is dt.date and isinstance(value, dt.datetime):
        return value.date()
    if annotation is float and type(value) is int:
        return float(value)
    if annotation in _FIELDS and (
        not isinstance(value, annotation) or (isinstance(value, bool) and annotation is not bool)
    ):
        _refuse(type_name(annotation), value)
    return value


def _from_blob(ctx: Any, blob: idl.Blob, kind: Any) -> Any:
    if blob.metadata.type.format == PICKLE:
        import cloudpickle

        with open(ctx.file_access.brought(blob.uri), "rb") as file:
            return cloudpickle.load(file)
    if isinstance(kind, type) and issubclass(kind, Content):
        of: Any = kind
        return of(blob.uri)
    if kind is os.PathLike or (isinstance(kind, type) and issubclass(kind, os.PathLike)):
        from greenroom.files import File

        made: Any = File if kind is os.PathLike else kind
        return made(blob.uri)
    return _refuse(type_name(kind), blob)


def _from_table(table: idl.StructuredDataset, kind: Any) -> Any:
    from greenroom.types.datasets import StructuredDataset

    dataset = StructuredDataset(uri=table.uri)
    return dataset if kind is StructuredDataset else dataset.open(kind).all()
