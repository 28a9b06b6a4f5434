"""Values: lists that are sliced undecoded, parts that are read on the way, bytes from anywhere."""

from __future__ import annotations

import json

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenroom_core import refs, show, values
from greenroom_core.values import (
    INLINE_LIMIT,
    SHORT_LIST,
    Ext,
    ListView,
    ValueFault,
    access,
    ext,
    ext_bounds,
    ext_code,
    kind_of,
    list_length,
    pack,
    pack_dict,
    pack_list,
    pack_long_list,
    split,
    unpack,
    untag,
)

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=8)
    | st.binary(max_size=8)
)
PLAIN = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


class TestRoundTrip:
    """Plain data in, plain data out."""

    @given(PLAIN)
    def test_plain_data_comes_back(self, obj):
        """
        What is packed is what is unpacked.
        """
        assert unpack(pack(obj)) == obj

    @given(st.lists(PLAIN, max_size=4))
    def test_values_behind_each_other_are_told_apart(self, objects):
        """
        A payload is its values one after the other; they are cut where each ends.
        """
        parts = [pack(obj) for obj in objects]

        assert split(b"".join(parts), len(parts)) == parts

    @pytest.mark.parametrize(
        ("payload", "count"), [(b"", 1), (b"\x01\x02", 1), (b"\x01", 2), (b"\x92\x01", 1), (b"\xc1", 1)]
    )
    def test_a_payload_of_another_shape_is_refused(self, payload, count):
        """
        Too few values, too many, or half a value.
        """
        with pytest.raises(ValueFault):
            split(payload, count)

    @given(st.dictionaries(st.text(max_size=5), PLAIN, max_size=4))
    def test_dicts_are_joined_from_encoded_items(self, obj):
        """
        Encoded items are put together without being decoded.
        """
        assert unpack(pack_dict((key, pack(item)) for key, item in obj.items())) == obj

    def test_lone_surrogates_survive(self):
        """
        Text that is no UTF-8 (file names) travels.
        """
        assert unpack(pack("caf\udce9")) == "caf\udce9"


class TestLists:
    """Short lists are arrays, long ones carry their offsets; both are sliced by range."""

    @pytest.mark.parametrize("n", [0, 1, 15, 16, SHORT_LIST, SHORT_LIST + 1, 1000, 70_000])
    def test_a_list_is_cut_anywhere(self, n):
        """
        Whatever its length, items and ranges come out as they went in.
        """
        items = [pack({"n": k}) for k in range(n)]
        view = ListView(pack_list(items))

        assert (len(view), list_length(pack_list(items))) == (n, n)
        for start, stop in ((0, n), (0, 0), (n // 2, n), (n // 3, n // 2)):
            part = view.slice(start, stop)
            assert list(part.items()) == items[start:stop]
            assert part.count == stop - start
        if n:
            assert (view[0], view[-1], view[n // 2]) == (items[0], items[-1], items[n // 2])

    @given(st.lists(st.binary(max_size=6).map(pack), max_size=200))
    def test_any_list_comes_back(self, items):
        """
        Joined and cut, a list is the same; walked or by index.
        """
        view = ListView(pack_list(items))

        assert list(view) == items == [view[k] for k in range(len(items))]

    def test_a_list_is_made_of_columns(self):
        """
        Ready columns make a long list without touching its items.
        """
        items = [pack(k) for k in range(100)]
        ends = b"".join((k + 1).to_bytes(8, "little") for k in range(100))

        assert pack_long_list(100, ends, b"".join(items)) == pack_list(items)

    def test_an_index_beyond_the_list_is_named(self):
        """
        Both the index and the length are told.
        """
        with pytest.raises(ValueFault, match="index 3 of a list of 3"):
            ListView(pack([1, 2, 3]))[3]

    @pytest.mark.parametrize(
        "value",
        [
            pack(5),
            pack({"a": 1}),
            b"\xdd\xff\xff\xff\xff",
            b"\x93\x01\x02",
            pack(msgpack.ExtType(1, b"")),
            pack(msgpack.ExtType(1, b"\xff" * 8)),
            pack(msgpack.ExtType(1, (2).to_bytes(8, "little") + bytes(16) + b"xx")),
            pack(msgpack.ExtType(1, bytes(8) + b"behind")),
        ],
    )
    def test_what_is_no_list_is_refused(self, value):
        """
        Claims that the bytes do not bear out are refused before memory is taken for them.
        """
        with pytest.raises(ValueFault):
            ListView(value)


class TestParts:
    """Steps from a value to a part of it."""

    @pytest.mark.parametrize(
        ("obj", "path", "part"),
        [
            ({"a": {"b": [1, 2]}}, ("a", "b", 1), 2),
            ([[1], [2, 3]], (1, -1), 3),
            ({1: "one"}, (1,), "one"),
            ("whole", (), "whole"),
        ],
    )
    def test_a_path_leads_to_a_part(self, obj, path, part):
        """
        Keys and indices, any number of them.
        """
        assert unpack(access(pack(obj), path)) == part

    def test_wrappers_are_looked_through(self):
        """
        A Union's tag, an own digest and a transformer's name add nothing on the way.
        """
        inner = pack_list([pack(k) for k in range(100)])
        value = pack(ext(Ext.TAGGED, ["t", ext(Ext.HASHED, ["d", ext(Ext.CUSTOM, ["c", unpack(inner)])])]))

        assert untag(value) == inner
        assert unpack(access(value, (7,))) == 7
        assert list_length(value) == 100

    @pytest.mark.parametrize(
        ("obj", "path", "words"),
        [
            ({"a": 1}, ("b",), "value has no 'b'; it has 'a'"),
            ({"x": {"a": 1}}, ("x", "b"), "value['x'] has no 'b'; it has 'a'"),
            ({}, ("b",), "it has nothing"),
            ([1], (5,), "index 5 of a list of 1"),
            ([1], ("b",), "value is of kind list"),
            (5, ("b",), "value is of kind int: its part 'b' cannot be read on the hub"),
            (ext(Ext.PICKLE, ["m.C", "C()", b"", None]), ("b",), "of kind pickle"),
            (ext(Ext.BLOB, ["ab" * 32, 5, "list", 9, "[...]"]), (0,), "of kind list"),
        ],
    )
    def test_a_part_that_is_not_there_is_named(self, obj, path, words):
        """
        The error says where, what was asked for and what there is.
        """
        with pytest.raises(ValueFault, match=words.replace("[", r"\[").replace("(", r"\(")):
            access(pack(obj), path)


class TestKinds:
    """Words for people."""

    @pytest.mark.parametrize(
        ("obj", "kind"),
        [
            (None, "none"),
            (True, "bool"),
            (1, "int"),
            (1.5, "float"),
            ("x", "str"),
            (b"x", "bytes"),
            ([1], "list"),
            ({}, "dict"),
            (ext(Ext.PICKLE, []), "pickle"),
            (msgpack.ExtType(9, b"1" * 30), "int"),
            (ext(Ext.BLOB, ["ab", 5, "table", None, ""]), "table"),
        ],
    )
    def test_every_value_has_a_word(self, obj, kind):
        """
        The kind of a large value is that of what it stands for.
        """
        assert kind_of(pack(obj)) == kind

    @pytest.mark.parametrize("size", [1, 2, 3, 4, 8, 16, 17, 255, 256, 65_535, 65_536])
    def test_the_bounds_of_an_extension_are_found(self, size):
        """
        Each of msgpack's eight ways to write an extension is read.
        """
        value = pack(msgpack.ExtType(5, b"x" * size))

        code, start, length = ext_bounds(value)

        assert (code, length, value[start : start + length]) == (5, size, b"x" * size)
        assert ext_code(value) is Ext.PICKLE

    def test_codes_that_are_unknown_are_refused(self):
        """
        A kind of value that only a newer version knows is named.
        """
        with pytest.raises(ValueFault, match="unknown kind 99"):
            ext_code(pack(msgpack.ExtType(99, b"")))


# From anywhere --------------------------------------------------------------------------------------------------------

CODES = st.sampled_from([*map(int, Ext), 16, 99, 127])
HOSTILE = st.recursive(
    SCALARS | st.builds(msgpack.ExtType, CODES, st.binary(max_size=24)),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=4) | st.integers(0, 99), inner, max_size=4)
        | st.builds(lambda code, obj: msgpack.ExtType(code, pack(obj)), CODES, inner)
    ),
    max_leaves=12,
)
NEST = st.integers(1, 1200).map(lambda n: b"\x91" * n + b"\x01")
TRUNCATED = st.tuples(HOSTILE.map(pack), st.integers(0, 60)).map(lambda pair: pair[0][: pair[1]])
BYTES = st.binary(max_size=60) | HOSTILE.map(pack) | NEST | TRUNCATED

READERS = {
    "unpack": unpack,
    "split": lambda value: split(value, 2),
    "list_length": list_length,
    "ListView": lambda value: [ListView(value).slice(k, k + 1) for k in range(min(3, len(ListView(value))))],
    "access": lambda value: [access(value, path) for path in ((0,), ("a",), (-1, "k"))],
    "untag": untag,
    "kind_of": kind_of,
    "ext_bounds": ext_bounds,
    "ext_code": ext_code,
    "blob_ref": refs.blob_ref,
    "blobs_of": refs.blobs_of,
    "digest": refs.digest,
    "preview": show.preview,
    "to_json": lambda value: json.dumps(show.to_json(value), allow_nan=False),
    "refer": lambda value: show.refer(value, "ab" * 32),
}


@pytest.mark.parametrize("reader", READERS)
@given(value=BYTES)
def test_bytes_from_anywhere_are_read_or_refused(reader, value):
    """
    Whatever a replica or a client sends as a value, each reader reads it or says `ValueFault`, nothing else.
    """
    try:
        READERS[reader](value)
    except ValueFault:
        pass


@given(HOSTILE)
def test_a_preview_is_one_line(obj):
    """
    However odd the value, its preview is one printable line of bounded length.
    """
    try:
        text = show.preview(pack(obj), 60)
    except ValueFault:
        return

    assert len(text) <= 60
    assert text.isprintable()


def test_the_bounds_of_inline_values_are_what_the_design_says():
    """
    64 KiB, and 64 items: above, blobs and offsets.
    """
    assert (INLINE_LIMIT, SHORT_LIST) == (65_536, 64)
    assert values.NIL == pack(None)
