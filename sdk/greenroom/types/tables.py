"""Data frames of pandas, polars and pyarrow: parquet on the wire, read as whatever the next task asks for."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from greenroom.errors import GreenroomError, MissingPackage, NotReadable, TypeMismatch
from greenroom.types.codec import Codec, ExtType, extension, given, given_plain, type_name
from greenroom.types.notes import advise
from greenroom.types.spec import TypeSpec
from greenroom.workspaces import current_workspace, new_place
from greenroom_core.values import INLINE_LIMIT, Ext, Plain, unpack

if TYPE_CHECKING:
    from greenroom.blobs import BlobStore

PARQUET: Final = "parquet"
CSV: Final = "csv"

_CLASSES: Final[Mapping[str, str]] = {
    "pandas.DataFrame": "pandas", "polars.DataFrame": "polars", "polars.LazyFrame": "polars lazy",
    "pyarrow.Table": "pyarrow", "pyarrow.RecordBatch": "pyarrow batch",
}  # fmt: skip
"""The classes that are tables, and what we call each form."""


def form_of(kind: Any) -> str | None:
    """Which form of table a class is; None if it is none, or a subclass, which has more than columns."""
    root = getattr(kind, "__module__", "").partition(".")[0]
    for path, form in _CLASSES.items():
        module, _, name = path.partition(".")
        if root == module and getattr(sys.modules.get(module), name, None) is kind:
            return form
    return None


class TableCodec(Codec):
    """One class of data frame, whole or with some columns."""

    natives = frozenset({int(Ext.TABLE), int(Ext.PICKLE)})
    uploads = True

    def __init__(self, of: type, columns: Sequence[str] | None = None, file_format: str = PARQUET) -> None:
        self._of, self._form = of, form_of(of) or "pandas"
        self._columns, self._format = None if columns is None else list(columns), file_format or PARQUET
        self.name, self.classes = _public_name(of), (of,)

    def to_plain(self, obj: Any, store: BlobStore) -> Plain:
        """The table's file, with its columns and its number of rows."""
        from greenroom.types.datasets import StructuredDataset

        if isinstance(obj, StructuredDataset) and obj.dataframe is not None:
            obj = obj.dataframe
        if not isinstance(obj, self._of):
            raise TypeMismatch(self.name, given(obj))
        return table_to_plain(obj, store, self._format)

    def from_plain(self, plain: Plain, store: BlobStore) -> Any:
        """The table, with the columns that are asked for, in the class that is asked for."""
        if type(plain) is ExtType and plain.code == Ext.TABLE:
            return read_table(unpack(plain.data), store, self._form, self._columns)
        if type(plain) is ExtType and plain.code == Ext.PICKLE:
            from greenroom.types.opaque import unpickled

            obj = unpickled(plain, store)
            if isinstance(obj, self._of):
                return obj
            raise TypeMismatch(self.name, given_plain(plain))
        return self.otherwise(plain, store)

    def describe(self) -> TypeSpec:
        """The type as plain data."""
        return TypeSpec("table", self.name, options={"columns": self._columns} if self._columns else {})

    def from_json(self, json: Any) -> Any:
        """The path of a parquet or csv file, or an array of objects."""
        if isinstance(json, str):
            return self.from_text(json)
        if not isinstance(json, list):
            raise TypeMismatch(self.name, given(json))
        return _from_rows(json, self._form)

    def from_text(self, text: str) -> Any:
        """The path of a parquet or csv file."""
        if not os.path.isfile(text):
            raise TypeMismatch(self.name, repr(text), "no such file; give a parquet or csv file")
        return _READ[_format_of(text)](text, self._form, self._columns)


def _public_name(of: type) -> str:
    return next((path for path in _CLASSES if form_of(of) == _CLASSES[path]), type_name(of))


# Writing ------------------------------------------------------------------------------------------------------------


def table_to_plain(table: Any, store: BlobStore, file_format: str = PARQUET) -> Plain:
    """What stands for a table; one that cannot be a parquet file is pickled, with a warning."""
    form = form_of(type(table))
    if form is None:
        return _pickled(table, store, f"a {type_name(type(table))} is more than its columns")
    if form == "polars lazy":
        table, form = table.collect(), "polars"
    place = new_place(current_workspace(), f"table.{file_format}")
    try:
        _WRITE[file_format](table, form, place)
        return table_content(place, table, form, file_format, store)
    except MissingPackage as fault:
        return _pickled(table, store, str(fault))
    except GreenroomError:
        raise
    except Exception as fault:  # Whatever its library says about columns that a parquet file cannot hold.
        return _pickled(table, store, f"{type(fault).__name__}: {fault}")
    finally:
        _remove(place)


def _pickled(table: Any, store: BlobStore, reason: str) -> Plain:
    from greenroom.types.opaque import pickled

    advise(f"a {type_name(type(table))} is pickled, so that only Python with the same library reads it: {reason}")
    return pickled(table, store)


def table_content(place: str, table: Any, form: str, file_format: str, store: BlobStore) -> Plain:
    """The extension for a table that was written to a file of ours, which is given up."""
    size = os.stat(place).st_size
    content: dict[str, Any] = {
        "format": file_format, "library": form, "columns": columns_of(table, form), "rows": rows_of(table, form),
        "size": size,
    }  # fmt: skip
    if size > INLINE_LIMIT:
        content["blob"], _ = store.put_file(place, give=True)
    else:
        with open(place, "rb") as file:
            content["data"] = file.read()
    return extension(Ext.TABLE, content)


def columns_of(table: Any, form: str) -> list[list[str]]:
    """Names and types of a table's columns, as its library calls them."""
    if form.startswith("pyarrow"):
        return [[field.name, str(field.type)] for field in table.schema]
    return [[str(name), str(kind)] for name, kind in zip(table.columns, table.dtypes, strict=True)]


def rows_of(table: Any, form: str) -> int:
    """How many rows a table has."""
    return int(table.num_rows if form.startswith("pyarrow") else len(table))


def _write_parquet(table: Any, form: str, place: str) -> None:
    if form == "polars":
        table.write_parquet(place)
        return
    if form == "pandas" and not _has("pyarrow"):
        if not _has("fastparquet"):
            raise MissingPackage("a data frame", "pyarrow")
        table.to_parquet(place, engine="fastparquet")
        return
    pyarrow, parquet = _arrow()
    if form == "pandas":
        table = pyarrow.Table.from_pandas(table)
    elif form == "pyarrow batch":
        table = pyarrow.Table.from_batches([table])
    parquet.write_table(table, place)


def _write_csv(table: Any, form: str, place: str) -> None:
    if form == "pandas":
        table.to_csv(place, index=False)
    elif form == "polars":
        table.write_csv(place)
    else:
        _arrow()
        from pyarrow import csv

        csv.write_csv(table, place)


_WRITE: Final[Mapping[str, Callable[[Any, str, str], None]]] = {PARQUET: _write_parquet, CSV: _write_csv}


# Reading ------------------------------------------------------------------------------------------------------------


def table_from_plain(plain: Any, store: BlobStore) -> Any:
    """A table of no declared type: what it was before."""
    content = unpack(plain.data)
    return read_table(content, store, content.get("library") or "pandas", None)


def read_table(content: Mapping[str, Any], store: BlobStore, form: str, columns: Sequence[str] | None) -> Any:
    """The table of an extension, in the form that is wanted.

    Raises:
        TypeMismatch: It lacks a column that is wanted.
        MissingPackage: The library of that form is not installed.
        NotReadable: The file is none of its format.
    """
    known = [name for name, _ in content.get("columns") or ()]
    lacking = [name for name in columns or () if known and name not in known]
    if lacking:
        raise TypeMismatch(f"a table with column {lacking[0]!r}", f"one with {', '.join(known[:8])}")
    place, ours = _place_of(content, store)
    try:
        return _READ[content.get("format") or PARQUET](place, form, columns)
    except (GreenroomError, OSError):
        raise
    except Exception as fault:
        raise NotReadable("table", f"{type(fault).__name__}: {fault}") from fault
    finally:
        if ours:
            _remove(place)


def _place_of(content: Mapping[str, Any], store: BlobStore) -> tuple[str, bool]:
    """A local file with the table, and whether it is ours to remove."""
    if content.get("blob"):
        return os.fspath(store.path(content["blob"])), False
    place = new_place(current_workspace(), f"table.{content.get('format') or PARQUET}")
    if content.get("data") is not None:
        with open(place, "wb") as file:
            file.write(content["data"])
    else:
        from greenroom.transfer import fetch_into

        fetch_into(content["uri"], place)
    return place, True


def _read_parquet(place: str, form: str, columns: Sequence[str] | None) -> Any:
    wanted = None if columns is None else list(columns)
    if form.startswith("polars"):
        polars = _library("polars")
        return (
            polars.scan_parquet(place).select(wanted or polars.all()).collect().lazy()
            if form == "polars lazy"
            else (polars.read_parquet(place, columns=wanted))
        )
    if form == "pandas" and not _has("pyarrow") and _has("fastparquet"):
        return _library("pandas").read_parquet(place, columns=wanted, engine="fastparquet")
    _, parquet = _arrow()
    table = parquet.read_table(place, columns=wanted)
    return _from_arrow(table, form)


def _read_csv(place: str, form: str, columns: Sequence[str] | None) -> Any:
    wanted = None if columns is None else list(columns)
    if form == "pandas":
        return _library("pandas").read_csv(place, usecols=wanted)
    if form.startswith("polars"):
        frame = _library("polars").read_csv(place, columns=wanted)
        return frame.lazy() if form == "polars lazy" else frame
    _arrow()
    from pyarrow import csv

    table = csv.read_csv(place)
    return _from_arrow(table.select(wanted) if wanted is not None else table, form)


def _from_arrow(table: Any, form: str) -> Any:
    if form == "pandas":
        _library("pandas")
        return table.to_pandas()
    if form == "pyarrow batch":
        batches = table.combine_chunks().to_batches()
        return batches[0] if batches else _arrow()[0].RecordBatch.from_pylist([], schema=table.schema)
    return table


_READ: Final[Mapping[str, Callable[[str, str, Sequence[str] | None], Any]]] = {PARQUET: _read_parquet, CSV: _read_csv}


def _from_rows(rows: list[Any], form: str) -> Any:
    if form == "pandas":
        return _library("pandas").DataFrame(rows)
    if form.startswith("polars"):
        frame = _library("polars").DataFrame(rows)
        return frame.lazy() if form == "polars lazy" else frame
    return _from_arrow(_arrow()[0].Table.from_pylist(rows), form)


# Libraries ----------------------------------------------------------------------------------------------------------


def _format_of(path: str) -> str:
    return CSV if path.lower().endswith((".csv", ".csv.gz")) else PARQUET


def _has(name: str) -> bool:
    from importlib.util import find_spec

    return name in sys.modules or find_spec(name) is not None


def _library(name: str) -> Any:
    from importlib import import_module

    try:
        return import_module(name)
    except ImportError:
        raise MissingPackage("a data frame", name) from None


def _arrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise MissingPackage("a data frame", "pyarrow") from None
    return pyarrow, parquet


def _remove(place: str) -> None:
    from greenroom.copying import remove

    remove(place)
    try:
        os.rmdir(os.path.dirname(place))
    except OSError:
        pass
