"""Results on stdout, and files under their names."""

from __future__ import annotations

import json
import os
from pathlib import Path

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenroom.blobs import LocalBlobs
from greenroom.cli.output import Outputs
from greenroom.cli.placing import place_file
from greenroom_core.refs import BlobRef
from greenroom_core.values import Ext, ext, pack, pack_list


@pytest.fixture
def blobs(tmp_path: Path) -> LocalBlobs:
    return LocalBlobs(tmp_path / "blobs", durable=False, manifests=lambda *name: [pack(n) for n in range(5000)])


def text_of(blobs: LocalBlobs, folder: str | None = None, **outputs: bytes) -> str:
    return "".join(Outputs(blobs, folder).json(outputs))


def test_how_outputs_are_joined(blobs):
    """
    null for none, the value for one, a list for several unnamed ones, an object for named ones.
    """
    assert text_of(blobs) == "null"
    assert text_of(blobs, o0=pack(3)) == "3"
    assert text_of(blobs, o0=pack("a"), o1=pack(None)) == '["a", null]'
    assert text_of(blobs, left=pack(1), right=pack([2])) == '{"left": 1, "right": [2]}'


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=80) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=120,
)


@given(JSON)
def test_plain_data_is_its_json(data):
    """
    Whatever its shape, short lists and long ones.
    """
    blobs = LocalBlobs("/nonexistent")
    value = pack_list([pack(item) for item in data]) if isinstance(data, list) else pack(data)

    assert json.loads("".join(Outputs(blobs).value(value, ("o0",)))) == data


def test_a_maps_results_are_written_as_they_come(blobs):
    """
    Piece by piece: the list is never one text, and never one object.
    """
    manifest = pack(ext(Ext.MANIFEST, ["wf-1", "m", "o0", 5000]))

    pieces = list(Outputs(blobs).json({"o0": manifest}))

    assert max(map(len, pieces)) <= 6000
    assert json.loads("".join(pieces)) == list(range(5000))


def test_large_values_are_printed_whole(blobs):
    """
    A text above 64 KiB is a blob on its way, and a text on stdout; what is opaque is described.
    """
    text = pack("x" * 100_000)
    raw = pack(b"\x00" * 100_000)
    ref = BlobRef(blobs.put(text), len(text), "str", None, "...").to_value()
    opaque = BlobRef(blobs.put(raw), len(raw), "bytes", None, "100000 bytes").to_value()

    assert json.loads(text_of(blobs, o0=ref)) == "x" * 100_000
    assert json.loads(text_of(blobs, o0=opaque))["preview"] == "100000 bytes"


def test_what_json_cannot_say_is_shown(blobs):
    """
    Times, sets, wrapped values, big numbers, keys that are no texts, halves of surrogate pairs.
    """
    value = pack(
        {
            1: ext(Ext.TIME, ["date", "2026-11-22"]),
            "set": msgpack.ExtType(int(Ext.SET), pack([1, 2])),
            "tagged": ext(Ext.TAGGED, ["int", 5]),
            "big": msgpack.ExtType(int(Ext.BIGINT), b"123456789012345678901234567890"),
        }
    )

    shown = json.loads(text_of(blobs, o0=value))

    assert shown == {"1": "2026-11-22", "set": [1, 2], "tagged": 5, "big": 123456789012345678901234567890}
    assert text_of(blobs, o0=pack("\udc80")).encode("utf-8", "backslashreplace") == b'"\\udc80"'


def file_value(blobs: LocalBlobs, name: str, content: bytes) -> msgpack.ExtType:
    return ext(Ext.FILE, {"name": name, "size": len(content), "blob": blobs.put(content)})


def test_files_get_their_names_back(blobs, tmp_path):
    """
    Each where its value stands, so that equal names never meet; the path is in the JSON.
    """
    value = pack([file_value(blobs, "out.txt", b"one"), file_value(blobs, "out.txt", b"two")])

    shown = json.loads(text_of(blobs, str(tmp_path / "to"), o0=value))

    assert [entry["file"] for entry in shown] == ["out.txt", "out.txt"]
    assert [Path(entry["path"]).read_bytes() for entry in shown] == [b"one", b"two"]
    assert [os.path.relpath(entry["path"], tmp_path) for entry in shown] == ["to/o0/0/out.txt", "to/o0/1/out.txt"]
    assert "uri" not in shown[0]


def test_without_a_folder_files_stay_where_they_are(blobs):
    """
    A remote hub's file is described, and fetched by who wants it.
    """
    shown = json.loads(text_of(blobs, o0=pack(file_value(blobs, "out.txt", b"one"))))

    assert shown == {"file": "out.txt", "uri": f"blob:{blobs.put(b'one')}", "size": 3}


def test_a_folder_keeps_its_shape(blobs, tmp_path):
    """
    A directory is a directory again.
    """
    entries = [["a/b.txt", blobs.put(b"b"), 1], ["c.txt", blobs.put(b"c"), 1]]
    value = pack(ext(Ext.DIRECTORY, {"name": "dir", "size": 2, "entries": entries}))

    shown = json.loads(text_of(blobs, str(tmp_path / "to"), o0=value))

    assert shown["path"] == str(tmp_path / "to/o0/dir")
    assert (tmp_path / "to/o0/dir/a/b.txt").read_bytes() == b"b"


def test_a_table_is_saved_beside_its_description(blobs, tmp_path):
    """
    As the parquet file that it is.
    """
    value = pack(ext(Ext.TABLE, {"format": "parquet", "columns": [], "rows": 0, "size": 3, "data": b"PAR"}))

    text_of(blobs, str(tmp_path), o0=value)

    assert (tmp_path / "o0.parquet").read_bytes() == b"PAR"


@pytest.mark.parametrize("name", ["../../evil", "/etc/evil", "..", "", "a\0b", "x" * 300])
def test_no_name_leads_out_of_the_folder(blobs, tmp_path, name):
    """
    Whatever a task calls its file.
    """
    text_of(blobs, str(tmp_path / "to"), o0=pack({name: file_value(blobs, name, b"x")}))

    written = [path for path in tmp_path.rglob("*") if path.is_file() and "blobs" not in path.parts]
    assert len(written) == 1
    assert (tmp_path / "to") in written[0].parents


def test_who_writes_to_a_copy_does_not_reach_the_blob(blobs, tmp_path):
    """
    A result may be edited; the store keeps what was returned.
    """
    sha256 = blobs.put(b"one")
    place_file(os.fspath(blobs.path(sha256)), str(tmp_path / "x" / "copy"))

    (tmp_path / "x" / "copy").write_bytes(b"other")

    assert blobs.get(sha256) == b"one"
    assert os.listdir(tmp_path / "x") == ["copy"]


def test_as_text(blobs):
    """
    For shell pipes: a text as it is, a list a line an item, nothing for nothing.
    """
    outputs = {"o0": pack(["a b", 1, None, {"k": 1}]), "o1": pack("end")}

    assert "".join(Outputs(blobs).text(outputs)) == 'a b\n1\n{"k": 1}\nend\n'
    assert "".join(Outputs(blobs).text({})) == ""
