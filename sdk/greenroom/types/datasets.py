"""`StructuredDataset`: a table that is opened as whatever its reader likes, when its reader likes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from greenroom.errors import MissingFile, TypeMismatch
from greenroom.types.codec import Codec, ExtType, extension, given
from greenroom.types.spec import TypeSpec
from greenroom.types.tables import CSV, PARQUET, form_of, read_table, table_to_plain
from greenroom_core.values import Ext, Plain, unpack

if TYPE_CHECKING:
    from greenroom.blobs import BlobStore


class StructuredDataset:
    """A table by itself (`dataframe=`) or where it is (`uri=`).

    ```python
    @task
    def mean(table: Annotated[StructuredDataset, kwtypes(age=int)]) -> float:
        return table.open(pd.DataFrame).all()["age"].mean()
    ```
    """

    def __init__(
        self,
        dataframe: Any = None,
        uri: str | None = None,
        metadata: Any = None,
        file_format: str = PARQUET,
        **_: Any,
    ) -> None:
        """Hold a table.

        Args:
            dataframe: A data frame of pandas, polars or pyarrow; or a path or address of its file.
            uri: The path or address of a parquet or csv file; a path of this host is uploaded.
            metadata: Kept as it is, for the program's own use; does not travel.
            file_format: `parquet` or `csv`; the format that a data frame is written in.
        """
        if isinstance(dataframe, (str, os.PathLike)):
            dataframe, uri = None, os.fspath(dataframe)
        self._dataframe, self.uri, self.metadata = dataframe, uri, metadata
        self.file_format = CSV if (uri or "").lower().endswith(".csv") else file_format or PARQUET
        self._content: Mapping[str, Any] | None = None
        self._store: BlobStore | None = None
        self._columns: Sequence[str] | None = None
        self._as: Any = None

    @classmethod
    def of_content(
        cls, content: Mapping[str, Any], store: BlobStore, columns: Sequence[str] | None
    ) -> StructuredDataset:
        """The table that stands in a value, not read yet."""
        dataset = cls(uri=content.get("uri"), file_format=content.get("format") or PARQUET)
        dataset._content, dataset._store, dataset._columns = content, store, columns
        return dataset

    @property
    def dataframe(self) -> Any:
        """The data frame that it was made of; None if it came with a value."""
        return self._dataframe

    def open(self, dataframe_type: Any) -> StructuredDataset:
        """Say as what it is read: `pd.DataFrame`, `pl.DataFrame`, `pl.LazyFrame`, `pa.Table`, `pa.RecordBatch`."""
        if form_of(dataframe_type) is None:
            raise TypeMismatch("a class of data frames", given(dataframe_type), "use pandas, polars or pyarrow ones")
        self._as = dataframe_type
        return self

    def all(self) -> Any:
        """Read the table, as `open` said, else as what it was."""
        if self._dataframe is not None and self._as in (None, type(self._dataframe)):
            return self._dataframe
        if self._content is None:
            self._content, self._store = self._written(), _nowhere()
        form = form_of(self._as) if self._as is not None else None
        assert self._store is not None
        form = form or self._content.get("library") or "pandas"
        return read_table(self._content, self._store, form, self._columns)

    def iter(self) -> Iterator[Any]:
        """The table in parts; one, since it is one file."""
        yield self.all()

    def _written(self) -> Mapping[str, Any]:
        """What stands for a table that has not travelled yet."""
        if self._dataframe is not None:
            plain = table_to_plain(self._dataframe, _nowhere(), self.file_format)
            content: Mapping[str, Any] = unpack(plain.data)
            return content
        return {"format": self.file_format, "uri": self.uri}

    def __repr__(self) -> str:
        if self._dataframe is not None:
            return f"StructuredDataset({type(self._dataframe).__name__})"
        known = self._content or {}
        rows = f", {known['rows']} rows" if known.get("rows") is not None else ""
        return f"StructuredDataset({self.uri or self.file_format!r}{rows})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, StructuredDataset):
            return NotImplemented
        if self._dataframe is not None or other._dataframe is not None:
            return self._dataframe is other._dataframe
        return (self.uri, self._content) == (other.uri, other._content)

    __hash__ = None  # type: ignore[assignment]


def _nowhere() -> Any:
    """A store for what stays in this process."""
    from greenroom.blobs import LocalBlobs
    from greenroom.workspaces import current_workspace, new_place

    return LocalBlobs(new_place(current_workspace(), "blobs"), durable=False)


class DatasetCodec(Codec):
    """`StructuredDataset`, whole or with some columns; a data frame given for one is taken as it."""

    natives = frozenset({int(Ext.TABLE), int(Ext.PICKLE)})
    classes = (StructuredDataset,)
    uploads = True
    name = "StructuredDataset"

    def __init__(
        self,
        columns: Sequence[str] | None = None,
        file_format: str = "",
        of: type[StructuredDataset] = StructuredDataset,
    ) -> None:
        self._columns, self._format = None if columns is None else list(columns), file_format
        self._of = of

    def to_plain(self, obj: Any, store: BlobStore) -> Plain:
        """The table's file, or where it is."""
        if not isinstance(obj, StructuredDataset):
            if form_of(type(obj)) is None:
                raise TypeMismatch(self.name, given(obj))
            return table_to_plain(obj, store, self._format or PARQUET)
        if obj.dataframe is not None:
            return table_to_plain(obj.dataframe, store, self._format or obj.file_format)
        if obj._content is not None and obj._store is not None:
            return extension(Ext.TABLE, _brought_over(obj._content, obj._store, store))
        return extension(Ext.TABLE, _of_address(obj, store))

    def from_plain(self, plain: Plain, store: BlobStore) -> Any:
        """The table, not read yet."""
        if type(plain) is ExtType and plain.code == Ext.TABLE:
            return self._of.of_content(unpack(plain.data), store, self._columns)
        if type(plain) is ExtType and plain.code == Ext.PICKLE:
            from greenroom.types.opaque import unpickled

            return self._of(dataframe=unpickled(plain, store))
        return self.otherwise(plain, store)

    def describe(self) -> TypeSpec:
        """The type as plain data."""
        return TypeSpec("table", self.name, options={"columns": self._columns} if self._columns else {})

    def from_json(self, json: Any) -> Any:
        """The path or address of a parquet or csv file."""
        if not isinstance(json, str):
            raise TypeMismatch(self.name, given(json))
        return self.from_text(json)

    def from_text(self, text: str) -> Any:
        """The path or address of a parquet or csv file."""
        if "://" not in text and not os.path.isfile(text):
            raise TypeMismatch(self.name, repr(text), "no such file; give a parquet or csv file")
        return self._of(uri=text)


def _of_address(dataset: StructuredDataset, store: BlobStore) -> dict[str, Any]:
    uri = dataset.uri
    if not uri:
        raise TypeMismatch("a StructuredDataset with dataframe= or uri=", "an empty one")
    content: dict[str, Any] = {"format": dataset.file_format, "rows": None}
    if "://" in uri:
        return {**content, "uri": uri}
    if not os.path.exists(uri):
        raise MissingFile(uri, os.getcwd())
    sha256, size = store.put_file(uri)
    return {**content, "blob": sha256, "size": size}


def _brought_over(content: Mapping[str, Any], source: BlobStore, target: BlobStore) -> dict[str, Any]:
    blob = content.get("blob")
    if blob and source is not target and not target.has(blob):
        target.put_file(source.path(blob))
    return dict(content)
