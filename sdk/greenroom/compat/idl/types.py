"""Types of values, in Flyte's words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from greenroom.compat.idl.message import Message


class SimpleType:
    """Numbers that name the types without parts."""

    NONE: Final = 0
    INTEGER: Final = 1
    FLOAT: Final = 2
    STRING: Final = 3
    BOOLEAN: Final = 4
    DATETIME: Final = 5
    DURATION: Final = 6
    BINARY: Final = 7
    ERROR: Final = 8
    STRUCT: Final = 9


@dataclass(eq=False)
class BlobType(Message):
    """A file or a folder."""

    class BlobDimensionality:
        """One file, or many."""

        SINGLE: Final = 0
        MULTIPART: Final = 1

    format: str
    dimensionality: int


@dataclass(eq=False)
class EnumType(Message):
    """One of some texts."""

    values: list[str] = field(default_factory=list)


@dataclass(eq=False)
class SchemaType(Message):
    """A table, as programs before StructuredDataset wrote it."""

    @dataclass(eq=False)
    class SchemaColumn(Message):
        """A column."""

        class SchemaColumnType:
            """Numbers that name the types of columns."""

            INTEGER: Final = 0
            FLOAT: Final = 1
            STRING: Final = 2
            DATETIME: Final = 3
            DURATION: Final = 4
            BOOLEAN: Final = 5

        name: str
        type: int

    columns: list[Any] = field(default_factory=list)


@dataclass(eq=False)
class StructuredDatasetType(Message):
    """A table."""

    @dataclass(eq=False)
    class DatasetColumn(Message):
        """A column."""

        name: str
        literal_type: LiteralType

    columns: list[Any] = field(default_factory=list)
    format: str = ""
    external_schema_type: str | None = None
    external_schema_bytes: bytes | None = None

    def __post_init__(self) -> None:
        self.columns = list(self.columns or [])


@dataclass(eq=False)
class UnionType(Message):
    """One of some types."""

    variants: list[LiteralType] = field(default_factory=list)


@dataclass(eq=False)
class TypeStructure(Message):
    """What tells one variant of a union from the others."""

    tag: str
    dataclass_type: Mapping[str, LiteralType] | None = None


@dataclass(eq=False)
class TypeAnnotation(Message):
    """Data that a program attached to a type."""

    annotations: Mapping[str, Any] = field(default_factory=dict)


@dataclass(eq=False)
class LiteralType(Message):
    """A type: exactly one of its first fields is set."""

    simple: int | None = None
    schema: SchemaType | None = None
    collection_type: LiteralType | None = None
    map_value_type: LiteralType | None = None
    blob: BlobType | None = None
    enum_type: EnumType | None = None
    union_type: UnionType | None = None
    structured_dataset_type: StructuredDatasetType | None = None
    metadata: Mapping[str, Any] | None = None
    structure: TypeStructure | None = None
    annotation: TypeAnnotation | None = None

    _KINDS: ClassVar[Sequence[str]] = (
        "simple", "schema", "collection_type", "map_value_type", "blob", "enum_type", "union_type",
        "structured_dataset_type",
    )  # fmt: skip


@dataclass(eq=False)
class Error(Message):
    """What failed, and why."""

    failed_node_id: str
    message: str


@dataclass(eq=False)
class OutputReference(Message):
    """An output of a node, or a part of one."""

    node_id: str
    var: str
    attr_path: list[str | int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.attr_path = list(self.attr_path or [])
