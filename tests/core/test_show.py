"""Values for people: previews and JSON."""

from __future__ import annotations

import json

import msgpack
import pytest

from greenroom_core.refs import blob_ref
from greenroom_core.show import preview, refer, to_json
from greenroom_core.values import Ext, ext, pack, pack_list

LONG = pack_list([pack(n) for n in range(100)])
FILE = ext(Ext.FILE, {"name": "a.txt", "size": 3, "blob": "ab" * 32})
BIG = msgpack.ExtType(9, b"123456789012345678901234567890")


class TestPreview:
    """A line that shows the value."""

    @pytest.mark.parametrize(
        ("obj", "line"),
        [
            (None, "null"),
            (True, "true"),
            (7, "7"),
            (1.5, "1.5"),
            ("text", '"text"'),
            ("two\nlines\x1b[31m", '"two\\nlines\\x1b[31m"'),
            (b"abc", "3 bytes"),
            ([], "[]"),
            ([1, "a", None], '[1, "a", null]'),
            ([1, 2, 3, 4, 5], "[1, 2, 3, ... 2 more]"),
            ({"a": 1}, '{"a": 1}'),
            ({str(n): n for n in range(5)}, '{"0": 0, "1": 1, "2": 2, ... 2 more}'),
            ([[[[[[[[[[1]]]]]]]]]], "[[[[[[[[[...]]]]]]]]]"),
            (FILE, "a.txt"),
            (BIG, "123456789012345678901234567890"),
            (ext(Ext.PICKLE, ["m.C", "C(x=1)", b"", None]), "C(x=1)"),
            (ext(Ext.TAGGED, ["t", [1, 2]]), "[1, 2]"),
            (ext(Ext.TIME, ["date", "2026-11-22"]), "2026-11-22"),
            (ext(Ext.TABLE, {"rows": 5, "columns": [["a", "int"]]}), "table of 5 rows, 1 columns"),
            (ext(Ext.ARRAY, {"dtype": "float64", "shape": [2, 3]}), "float64 array of 2x3"),
            (ext(Ext.MANIFEST, ["e", "n", "o0", 9]), "list of 9"),
        ],
    )
    def test_each_kind_has_its_line(self, obj, line):
        """
        Plain data looks like JSON, everything else like itself.
        """
        assert preview(pack(obj)) == line

    def test_long_lists_are_not_decoded(self):
        """
        A list with offsets shows its first items and how many follow.
        """
        assert preview(LONG) == "[0, 1, 2, ... 97 more]"

    def test_a_line_has_an_end(self):
        """
        What does not fit is cut.
        """
        assert preview(pack("x" * 500), 20) == '"' + "x" * 16 + "..."
        assert len(preview(pack(["y" * 50] * 9))) == 60


class TestJson:
    """What the command line prints and the API answers."""

    @pytest.mark.parametrize(
        ("obj", "shown"),
        [
            ({"a": [1, None, True, 1.5, "x"]}, {"a": [1, None, True, 1.5, "x"]}),
            ({2: "a", True: "b", None: "c", 1.5: "d"}, {"2": "a", "true": "b", "null": "c", "1.5": "d"}),
            (float("nan"), None),
            ([float("inf")], [None]),
            (b"text", "text"),
            (b"\xff\x00", {"type": "bytes", "preview": "ff00", "size": 2}),
            (BIG, 123456789012345678901234567890),
            (msgpack.ExtType(9, b"-0x1f"), "-0x1f"),
            (FILE, {"file": "a.txt", "uri": "blob:" + "ab" * 32, "size": 3}),
            (ext(Ext.DIRECTORY, {"name": "d", "uri": "s3://b/d"}), {"directory": "d", "uri": "s3://b/d"}),
            (ext(Ext.PICKLE, ["m.C", "C()", b"", None]), {"type": "m.C", "preview": "C()", "uri": None}),
            (ext(Ext.SET, [1, 2]), [1, 2]),
            (ext(Ext.TIME, ["date", "2026-11-22"]), "2026-11-22"),
            (ext(Ext.TAGGED, ["t", {"a": ext(Ext.HASHED, ["d", 5])}]), {"a": 5}),
            (
                ext(Ext.TABLE, {"rows": 1, "blob": "cd"}),
                {"type": "table", "preview": "table of 1 rows, 0 columns", "uri": "blob:cd"},
            ),
        ],
    )
    def test_each_kind_has_its_form(self, obj, shown):
        """
        JSON data stays what it is; files and opaque things are described.
        """
        told = to_json(pack(obj))

        assert told == shown
        json.dumps(told, allow_nan=False)

    def test_long_lists_are_lists(self):
        """
        A list with offsets looks like any list.
        """
        assert to_json(LONG) == list(range(100))


class TestRefer:
    """What stands for a value that was stored as a blob."""

    def test_a_reference_tells_what_it_stands_for(self):
        """
        Kind, size, length and preview are there without reading the blob.
        """
        ref = blob_ref(refer(LONG, "ab" * 32))

        assert (ref.sha256, ref.size, ref.kind, ref.length) == ("ab" * 32, len(LONG), "list", 100)
        assert to_json(refer(LONG, "ab" * 32)) == {
            "type": "list",
            "preview": "[0, 1, 2, ... 97 more]",
            "uri": "blob:" + "ab" * 32,
            "size": len(LONG),
        }
