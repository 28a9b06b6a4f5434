"""From annotations to types in Flyte's words, and back."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import typing
from collections.abc import Mapping
from typing import Any, Final

from greenroom.compat.engine.base import RestrictedTypeError
from greenroom.compat.idl.types import (
    BlobType,
    EnumType,
    LiteralType,
    SimpleType,
    StructuredDatasetType,
    TypeAnnotation,
    TypeStructure,
    UnionType,
)
from greenroom.directories import Directory
from greenroom.files import File
from greenroom.types.codec import type_name

UNIONS: Final = (typing.Union, type(int | str))

SIMPLE: Final[Mapping[Any, int]] = {
    None: SimpleType.NONE, type(None): SimpleType.NONE, int: SimpleType.INTEGER, float: SimpleType.FLOAT,
    str: SimpleType.STRING, bool: SimpleType.BOOLEAN, dt.datetime: SimpleType.DATETIME, dt.date: SimpleType.DATETIME,
    dt.timedelta: SimpleType.DURATION, bytes: SimpleType.BINARY, dict: SimpleType.STRUCT,
}  # fmt: skip

PICKLE: Final = "PythonPickle"
"""Format of the blob that holds what has no type of its own."""


def bared(annotation: Any) -> Any:
    """An annotation without its metadata."""
    while typing.get_origin(annotation) is typing.Annotated:
        annotation = typing.get_args(annotation)[0]
    return annotation


def literal_type(annotation: Any) -> LiteralType:
    """The type that an annotation stands for.

    Raises:
        RestrictedTypeError: It stands for several outputs.
    """
    if typing.get_origin(annotation) is typing.Annotated:
        return _annotated(annotation)
    simple = SIMPLE.get(annotation) if isinstance(annotation, (type, type(None))) else None
    if simple is not None:
        return LiteralType(simple=simple)
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in UNIONS:
        return LiteralType(union_type=UnionType([_variant(member) for member in arguments]))
    if origin is typing.Literal:
        kinds = {type(value) for value in arguments}
        return literal_type(kinds.pop() if len(kinds) == 1 else str)
    kind = origin or annotation
    if kind in (list, typing.List):  # noqa: UP006
        return LiteralType(collection_type=literal_type(arguments[0] if arguments else Any))
    if kind in (dict, typing.Dict):  # noqa: UP006
        named = len(arguments) == 2 and arguments[0] is str
        return LiteralType(map_value_type=literal_type(arguments[1])) if named else LiteralType(simple=9)
    if kind in (tuple, typing.Tuple) or _is_named_tuple(kind):  # noqa: UP006
        raise RestrictedTypeError(f"{type_name(kind)} is restricted here: it stands for several outputs, not a value")
    return _of_class(annotation, kind)


def _annotated(annotation: Any) -> LiteralType:
    of, *metadata = typing.get_args(annotation)
    columns = next((item for item in metadata if isinstance(item, Mapping)), None)
    file_format = next((item for item in metadata if isinstance(item, str)), "")
    found = literal_type(of)
    if found.structured_dataset_type is not None and (columns or file_format):
        made = [StructuredDatasetType.DatasetColumn(name, literal_type(kind)) for name, kind in (columns or {}).items()]
        found = LiteralType(structured_dataset_type=StructuredDatasetType(made, file_format or ""))
    notes = [item for item in metadata if type(item).__name__ == "FlyteAnnotation"]
    if len(notes) > 1:
        raise ValueError(f"{annotation} has more than one FlyteAnnotation")
    if notes:
        found.annotation = TypeAnnotation(notes[0].data)
    return found


def _variant(member: Any) -> LiteralType:
    made = literal_type(member)
    made.structure = TypeStructure(transformer_name(member), getattr(made.structure, "dataclass_type", None))
    return made


_NAMES: Final[Mapping[int, str]] = {0: "none", 1: "int", 2: "float", 3: "str", 4: "bool", 5: "datetime", 6: "timedelta"}


def transformer_name(annotation: Any) -> str:
    """What tells the variant of a union from the others."""
    made = literal_type(annotation)
    if bared(annotation) is dt.date:
        return "date"
    if made.simple is not None and made.simple in _NAMES:
        return _NAMES[made.simple]
    if made.collection_type is not None:
        return "Typed List"
    if made.map_value_type is not None or bared(annotation) is dict:
        return "Typed Dict"
    if made.blob is not None:
        if made.blob.format == PICKLE:
            return "FlytePickle"
        return "FlyteDirectory" if made.blob.dimensionality else "FlyteFilePath"
    if made.structured_dataset_type is not None:
        return "StructuredDataset Transformer"
    return "DefaultEnumTransformer" if made.enum_type is not None else type_name(bared(annotation))


def _is_named_tuple(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, tuple) and hasattr(kind, "_fields")


def _of_class(annotation: Any, kind: Any) -> LiteralType:
    from greenroom.compat.engine.registry import TypeEngine

    own = TypeEngine.registered(kind)
    if own is not None:
        return own.get_literal_type(annotation)
    if isinstance(kind, type):
        if issubclass(kind, File):
            return LiteralType(blob=BlobType(kind.extension(), BlobType.BlobDimensionality.SINGLE))
        if issubclass(kind, Directory):
            return LiteralType(blob=BlobType(kind.extension(), BlobType.BlobDimensionality.MULTIPART))
        if issubclass(kind, enum.Enum):
            return LiteralType(enum_type=EnumType([str(member.value) for member in kind]))
        if is_record(kind):
            return LiteralType(simple=SimpleType.STRUCT, structure=TypeStructure("", _fields(kind)))
        if is_table(kind):
            return LiteralType(structured_dataset_type=StructuredDatasetType())
        if hasattr(kind, "__fspath__"):
            return LiteralType(blob=BlobType("", BlobType.BlobDimensionality.SINGLE))
    name = type_name(kind)
    return LiteralType(blob=BlobType(PICKLE, BlobType.BlobDimensionality.SINGLE), metadata={"python_class_name": name})


def _fields(kind: Any) -> dict[str, LiteralType]:
    if not dataclasses.is_dataclass(kind):
        return {}
    hints = typing.get_type_hints(kind, include_extras=True)
    found: dict[str, LiteralType] = {}
    for part in dataclasses.fields(kind):
        try:
            found[part.name] = literal_type(hints[part.name])
        except (RestrictedTypeError, RecursionError):  # A part that no words exist for: it is read by its class.
            continue
    return found


def is_record(kind: Any) -> bool:
    """Whether a class has named parts: a dataclass or a pydantic model."""
    return isinstance(kind, type) and (dataclasses.is_dataclass(kind) or hasattr(kind, "model_fields"))


def is_table(kind: type) -> bool:
    """Whether a class is one of tables."""
    root = kind.__module__.partition(".")[0]
    if root == "greenroom":
        return kind.__name__ in ("StructuredDataset", "FlyteSchema")
    if root not in ("pandas", "polars", "pyarrow"):
        return False
    from greenroom.types.tables import form_of

    return form_of(kind) is not None


_PYTHON: Final[Mapping[int, Any]] = {
    0: type(None), 1: int, 2: float, 3: str, 4: bool, 5: dt.datetime, 6: dt.timedelta, 7: bytes, 9: dict,
}  # fmt: skip


def python_type(made: LiteralType) -> Any:
    """The annotation that a type stands for.

    Raises:
        ValueError: No annotation is known for it.
    """
    if made.simple is not None and made.simple in _PYTHON:
        return _PYTHON[made.simple]
    if made.collection_type is not None:
        return list[python_type(made.collection_type)]  # type: ignore[misc]
    if made.map_value_type is not None:
        return dict[str, python_type(made.map_value_type)]  # type: ignore[misc]
    if made.union_type is not None:
        return typing.Union[tuple(python_type(variant) for variant in made.union_type.variants)]  # noqa: UP007
    if made.enum_type is not None:
        return enum.Enum("DynamicEnum", {value: value for value in made.enum_type.values})
    if made.structured_dataset_type is not None:
        from greenroom.types.datasets import StructuredDataset

        return StructuredDataset
    if made.blob is not None and made.blob.format != PICKLE:
        of: Any = Directory if made.blob.dimensionality else File
        return of[made.blob.format] if made.blob.format else of
    raise ValueError(f"no Python type is known for {made}")
