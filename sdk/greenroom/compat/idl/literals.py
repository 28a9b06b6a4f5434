"""Values, in Flyte's words."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from greenroom.compat.idl.message import Message
from greenroom.compat.idl.types import BlobType as BlobType
from greenroom.compat.idl.types import Error, LiteralType, OutputReference, SchemaType, StructuredDatasetType


def _first(message: Message) -> Any:
    """The value of the one field that is set."""
    return next((value for value in vars(message).values() if value is not None), None)


@dataclass(eq=False)
class RetryStrategy(Message):
    """How often a failed call is repeated."""

    retries: int


@dataclass(eq=False)
class Primitive(Message):
    """A number, a text, a time."""

    integer: int | None = None
    float_value: float | None = None
    string_value: str | None = None
    boolean: bool | None = None
    datetime: dt.datetime | None = None
    duration: dt.timedelta | None = None

    def __post_init__(self) -> None:
        if self.datetime is not None and self.datetime.tzinfo is None:
            self.datetime = self.datetime.replace(tzinfo=dt.UTC)

    @property
    def value(self) -> Any:
        """The value that is set."""
        return _first(self)


@dataclass(eq=False)
class Binary(Message):
    """Bytes, and how they are to be read."""

    value: bytes
    tag: str | None = None


@dataclass(eq=False)
class BlobMetadata(Message):
    """What kind of file it is."""

    type: BlobType


@dataclass(eq=False)
class Blob(Message):
    """A file or folder, by its address."""

    metadata: BlobMetadata
    uri: str


@dataclass(eq=False)
class Void(Message):
    """None."""


@dataclass(eq=False)
class Schema(Message):
    """A table, by its address, as programs before StructuredDataset wrote it."""

    uri: str
    type: SchemaType


@dataclass(eq=False)
class Union(Message):
    """A value, and which variant of its union it is."""

    value: Literal
    stored_type: LiteralType


@dataclass(eq=False)
class StructuredDatasetMetadata(Message):
    """What kind of table it is."""

    structured_dataset_type: StructuredDatasetType | None = None


@dataclass(eq=False)
class StructuredDataset(Message):
    """A table, by its address."""

    uri: str
    metadata: StructuredDatasetMetadata | None = None


@dataclass(eq=False)
class Scalar(Message):
    """A value without items: exactly one field is set."""

    primitive: Primitive | None = None
    blob: Blob | None = None
    binary: Binary | None = None
    schema: Schema | None = None
    union: Union | None = None
    none_type: Void | None = None
    error: Error | None = None
    generic: Any = None
    structured_dataset: StructuredDataset | None = None

    @property
    def value(self) -> Any:
        """The value that is set."""
        return _first(self)


@dataclass(eq=False)
class LiteralCollection(Message):
    """Values in an order."""

    literals: list[Literal] = field(default_factory=list)


@dataclass(eq=False)
class LiteralMap(Message):
    """Values by name."""

    literals: Mapping[str, Literal] = field(default_factory=dict)


@dataclass(eq=False)
class LiteralOffloadedMetadata(Message):
    """Where a value lies that is too large to be carried."""

    uri: str | None = None
    size_bytes: int | None = None
    inferred_type: LiteralType | None = None


@dataclass(eq=False)
class Literal(Message):
    """A value: exactly one of its first three fields is set."""

    scalar: Scalar | None = None
    collection: LiteralCollection | None = None
    map: LiteralMap | None = None
    hash: str | None = None
    metadata: Mapping[str, str] | None = None
    offloaded_metadata: LiteralOffloadedMetadata | None = None

    @property
    def value(self) -> Any:
        """The scalar, the collection or the map."""
        return self.scalar or self.collection or self.map

    def set_metadata(self, metadata: Mapping[str, str]) -> None:
        """Attach data to the value."""
        self.metadata = metadata


@dataclass(eq=False)
class BindingDataMap(Message):
    """Where the entries of a dict come from."""

    bindings: Mapping[str, BindingData] = field(default_factory=dict)


@dataclass(eq=False)
class BindingDataCollection(Message):
    """Where the items of a list come from."""

    bindings: list[BindingData] = field(default_factory=list)


@dataclass(eq=False)
class BindingData(Message):
    """Where an input comes from: a constant, a promise, or a list or dict of such."""

    scalar: Scalar | None = None
    collection: BindingDataCollection | None = None
    promise: OutputReference | None = None
    map: BindingDataMap | None = None

    @property
    def value(self) -> Any:
        """What is set of these."""
        return _first(self)

    def to_literal_model(self) -> Literal:
        """The constant.

        Raises:
            ValueError: It is a promise.
        """
        if self.promise is not None:
            raise ValueError("a promise has no value while a workflow is defined")
        if self.collection is not None:
            return Literal(collection=LiteralCollection([item.to_literal_model() for item in self.collection.bindings]))
        if self.map is not None:
            return Literal(map=LiteralMap({name: item.to_literal_model() for name, item in self.map.bindings.items()}))
        return Literal(scalar=self.scalar)


@dataclass(eq=False)
class Binding(Message):
    """An input, and where it comes from."""

    var: str
    binding: BindingData
