"""Data frames: parquet on the wire, any library at the ends, only the columns that are asked for."""

import os
import pathlib
import sys
from typing import Annotated, Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from greenroom.errors import GreenroomWarning, MissingFile, MissingPackage, TypeMismatch
from greenroom.types import Interface, StructuredDataset, codec_for, kwtypes, parse_json, parse_text, tables
from greenroom_core.refs import blobs_of, digest
from greenroom_core.show import to_json
from greenroom_core.values import Ext, ext_code, unpack

FRAME = pd.DataFrame({"a": [1, 2], "b": ["x", None], "c": [1.5, 2.5]}, index=pd.Index([10, 20], name="i"))


def travel(annotation, value, store, to=None):
    return codec_for(to or annotation).decode(codec_for(annotation).encode(value, store), store)


class TestFrames:
    def test_a_frame_survives(self, store):
        """
        Columns, types, missing values, and the index.
        """
        pd.testing.assert_frame_equal(travel(pd.DataFrame, FRAME, store), FRAME)

    @pytest.mark.parametrize("source", ["pandas", "arrow", "batch"])
    @pytest.mark.parametrize("target", ["pandas", "arrow", "batch", "dataset"])
    def test_any_library_reads_what_any_wrote(self, store, source, target):
        """
        The next task says what it wants.
        """
        kinds = {"pandas": pd.DataFrame, "arrow": pa.Table, "batch": pa.RecordBatch, "dataset": StructuredDataset}
        bare = FRAME.reset_index(drop=True)
        table = pa.Table.from_pandas(bare)
        given = {"pandas": bare, "arrow": table, "batch": table.to_batches()[0]}[source]

        found = travel(kinds[source], given, store, kinds[target])

        assert type(found) is kinds[target]
        if target == "dataset":
            found = found.open(pa.Table).all()
        assert (
            found.to_pydict() if target != "pandas" else pa.Table.from_pandas(found).to_pydict()
        ) == table.to_pydict()

    def test_only_columns_that_are_asked_for(self, store):
        """
        `kwtypes` behind the class reads these and no others.
        """
        found = travel(pd.DataFrame, FRAME, store, Annotated[pd.DataFrame, kwtypes(c=float, a=int)])

        assert set(found.columns) == {"a", "c"}

    def test_a_column_that_is_not_there_is_named(self, store):
        """
        With those that are.
        """
        with pytest.raises(TypeMismatch, match="expected a table with column 'z', got one with a, b, c"):
            travel(pd.DataFrame, FRAME, store, Annotated[pd.DataFrame, kwtypes(z=int)])

    def test_the_hub_sees_columns_and_rows(self, store):
        """
        Without any library.
        """
        value = codec_for(pd.DataFrame).encode(FRAME, store)
        content = unpack(unpack(value).data)

        assert ext_code(value) is Ext.TABLE
        assert (content["rows"], [name for name, _ in content["columns"]]) == (2, ["a", "b", "c"])
        assert to_json(value)["preview"] == "table of 2 rows, 3 columns"

    def test_a_large_one_is_a_blob_and_equal_ones_have_equal_digests(self, store):
        """
        Its file goes into the store, and nothing is left in the workspace.
        """
        large = pd.DataFrame({"a": range(100_000)})
        codec = codec_for(pd.DataFrame)

        one, other = codec.encode(large, store), codec.encode(large.copy(), store)

        assert len(blobs_of(one)) == 1
        assert digest(one) == digest(other)
        assert [names for _, _, names in os.walk("../workspace") if names] == []
        pd.testing.assert_frame_equal(codec.decode(one, store), large)

    def test_no_declared_type(self, store):
        """
        `Any` gives back what it was.
        """
        assert type(travel(Any, [FRAME], store)[0]) is pd.DataFrame
        assert type(travel(Any, pa.Table.from_pandas(FRAME), store)) is pa.Table

    def test_what_parquet_cannot_hold_is_pickled_with_a_warning(self, store):
        """
        The frame arrives; the sentence says why it is opaque.
        """
        odd = pd.DataFrame({"a": [object(), 1]}, dtype=object)
        odd.loc[0, "a"] = 1j

        def task() -> pd.DataFrame: ...

        warnings: list[str] = []
        payload = Interface.of(task).encode_outputs(odd, store, warnings.append)

        assert ext_code(payload) is Ext.PICKLE
        assert warnings and "is pickled, so that only Python with the same library reads it" in warnings[0]
        pd.testing.assert_frame_equal(Interface.of(task).decode_outputs(payload, store), odd)
        with pytest.warns(GreenroomWarning, match="is pickled"):
            codec_for(pd.DataFrame).encode(odd, store)

    def test_without_a_parquet_library_it_is_pickled_and_says_what_to_install(self, store, monkeypatch):
        """
        Programs on a bare pandas still run.
        """
        monkeypatch.setattr(tables, "_has", lambda name: False)

        with pytest.warns(GreenroomWarning, match="a data frame needs pyarrow: pip install pyarrow"):
            value = codec_for(pd.DataFrame).encode(FRAME, store)

        pd.testing.assert_frame_equal(codec_for(pd.DataFrame).decode(value, store), FRAME)

    def test_reading_without_the_library_says_what_to_install(self, store, monkeypatch):
        """
        One sentence.
        """
        value = codec_for(pd.DataFrame).encode(FRAME, store)
        monkeypatch.setitem(sys.modules, "pyarrow", None)

        with pytest.raises(MissingPackage, match="a data frame needs pyarrow"):
            codec_for(pd.DataFrame).decode(value, store)

    def test_a_subclass_is_more_than_its_columns(self, store):
        """
        It is pickled whole.
        """

        class Frame(pd.DataFrame):
            _metadata = ["unit"]

            @property
            def _constructor(self):
                return Frame

        sys.modules[__name__].Frame = Frame
        Frame.__qualname__ = "Frame"
        frame = Frame({"a": [1]})
        frame.unit = "m"

        with pytest.warns(GreenroomWarning, match="is more than its columns"):
            assert travel(pd.DataFrame, frame, store).unit == "m"

    def test_something_else_is_refused(self, store):
        """
        A dict is no frame.
        """
        with pytest.raises(TypeMismatch, match="expected pandas.DataFrame, got"):
            codec_for(pd.DataFrame).encode({"a": [1]}, store)

    def test_it_can_be_typed_as_a_path_or_written_as_json(self):
        """
        Parquet and csv files, arrays of objects.
        """
        FRAME.to_csv("t.csv")
        pq.write_table(pa.Table.from_pandas(FRAME), "t.parquet")

        assert list(parse_text(pd.DataFrame, "t.csv")["a"]) == [1, 2]
        pd.testing.assert_frame_equal(parse_text(pd.DataFrame, "t.parquet"), FRAME)
        assert list(parse_json(pd.DataFrame, [{"a": 1}, {"a": 2}])["a"]) == [1, 2]
        with pytest.raises(ValueError, match="no such file; give a parquet or csv file"):
            parse_text(pd.DataFrame, "nowhere.parquet")


class TestDatasets:
    def test_it_is_read_when_it_is_opened(self, store):
        """
        As whatever its reader asks for.
        """
        found = travel(StructuredDataset, StructuredDataset(dataframe=FRAME), store)

        pd.testing.assert_frame_equal(found.open(pd.DataFrame).all(), FRAME)
        assert found.open(pa.Table).all().num_rows == 2
        assert [part.num_rows for part in found.open(pa.Table).iter()] == [2]
        assert type(found.all()) is pa.Table

    def test_a_frame_given_for_one_is_taken_as_it(self, store):
        """
        Tasks may return the frame itself.
        """
        found = travel(StructuredDataset, FRAME, store)

        pd.testing.assert_frame_equal(found.open(pd.DataFrame).all(), FRAME)

    def test_one_given_for_a_frame_is_taken_as_it(self, store):
        """
        And the other way round.
        """
        pd.testing.assert_frame_equal(travel(pd.DataFrame, StructuredDataset(dataframe=FRAME), store), FRAME)

    def test_passing_it_on_costs_nothing(self, store):
        """
        What was not opened is not read; another store gets the blob.
        """
        large = pd.DataFrame({"a": range(100_000)})
        value = codec_for(StructuredDataset).encode(large, store)

        found = codec_for(StructuredDataset).decode(value, store)

        assert codec_for(StructuredDataset).encode(found, store) == value

    def test_only_columns_that_are_asked_for(self, store):
        """
        The annotation of who reads decides.
        """
        found = travel(StructuredDataset, FRAME, store, Annotated[StructuredDataset, kwtypes(a=int)])

        assert list(found.open(pd.DataFrame).all().columns) == ["a"]

    @pytest.mark.parametrize("file_format", ["parquet", "csv"])
    def test_a_file_of_this_host_is_uploaded(self, store, file_format):
        """
        `uri=` may be a path.
        """
        bare = FRAME[["a"]].reset_index(drop=True)
        bare.to_csv("t.csv", index=False) if file_format == "csv" else bare.to_parquet("t.parquet")

        found = travel(StructuredDataset, StructuredDataset(uri=f"t.{file_format}"), store)
        pathlib.Path(f"t.{file_format}").unlink()

        pd.testing.assert_frame_equal(found.open(pd.DataFrame).all(), bare)

    def test_an_address_is_passed_on(self, store, tmp_path):
        """
        And read by who opens it.
        """
        FRAME.to_parquet(tmp_path / "t.parquet")

        found = travel(StructuredDataset, StructuredDataset(uri=f"file://{tmp_path}/t.parquet"), store)

        assert found.uri == f"file://{tmp_path}/t.parquet"
        pd.testing.assert_frame_equal(found.open(pd.DataFrame).all(), FRAME)

    def test_csv_if_that_is_declared(self, store):
        """
        `Annotated[pd.DataFrame, "csv"]` writes csv.
        """
        annotation = Annotated[pd.DataFrame, "csv"]
        value = codec_for(annotation).encode(FRAME[["a"]], store)

        assert unpack(unpack(value).data)["data"] == b"a\n1\n2\n"
        assert list(codec_for(pd.DataFrame).decode(value, store)["a"]) == [1, 2]

    def test_in_this_process_it_works_without_travelling(self):
        """
        Opened where it was made.
        """
        dataset = StructuredDataset(dataframe=FRAME)

        assert dataset.all() is FRAME
        assert dataset.open(pa.Table).all().num_rows == 2

    @pytest.mark.parametrize(
        ("dataset", "error"),
        [(StructuredDataset(), TypeMismatch), (StructuredDataset(uri="nowhere.parquet"), MissingFile)],
    )
    def test_one_without_a_table_is_refused(self, store, dataset, error):
        """
        The error says what is missing.
        """
        with pytest.raises(error):
            codec_for(StructuredDataset).encode(dataset, store)

    def test_only_data_frames_can_be_asked_for(self):
        """
        The error says which classes there are.
        """
        with pytest.raises(TypeMismatch, match="use pandas, polars or pyarrow ones"):
            StructuredDataset(dataframe=FRAME).open(dict)
