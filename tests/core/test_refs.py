"""References to blobs, and digests that are equal for equal values."""

import msgpack

from greenroom_core.refs import BlobRef, blob_ref, blobs_of, digest
from greenroom_core.show import refer, to_json
from greenroom_core.values import Ext, access, ext, list_length, pack, pack_list, unpack


def file(sha256, name="x.txt"):
    return ext(Ext.FILE, {"name": name, "size": 1, "blob": sha256})


class TestBlobs:
    def test_a_list_of_files_refers_to_each_blob(self):
        """
        Blobs are found at any depth, also in a list long enough to carry offsets.
        """
        value = pack_list([pack({"file": file(f"{n:064x}")}) for n in range(100)])

        found = blobs_of(value)

        assert [f"{n:064x}" for n in range(100)] == found

    def test_a_value_kept_as_blob_says_how_many_blobs_it_holds(self):
        """
        Without reading, only the blob itself is named, with the count of those that it holds.
        """
        inner = pack([file("a" * 64), file("b" * 64)])
        value = refer(inner, "c" * 64)

        assert blobs_of(value) == ["c" * 64]
        assert blob_ref(value).holds == 2

    def test_with_a_reader_the_kept_value_is_looked_into(self):
        """
        Garbage collection finds what a large value refers to.
        """
        inner = pack([file("a" * 64), file("b" * 64)])
        value = refer(inner, "c" * 64)

        found = blobs_of(value, {"c" * 64: inner}.__getitem__)

        assert found == ["c" * 64, "a" * 64, "b" * 64]

    def test_a_kept_value_that_holds_none_is_not_read(self):
        """
        A list of numbers costs garbage collection nothing.
        """
        value = refer(pack(list(range(50))), "c" * 64)

        found = blobs_of(value, lambda sha256: (_ for _ in ()).throw(AssertionError(sha256)))

        assert found == ["c" * 64]

    def test_a_pickle_names_the_blobs_of_the_files_in_it(self):
        """
        A file inside a pickle is kept as long as the pickle.
        """
        value = pack(ext(Ext.PICKLE, ["m.C", "C()", b"..", None, ["d" * 64]]))

        assert blobs_of(value) == ["d" * 64]

    def test_an_empty_folder_in_a_directory_refers_to_nothing(self):
        """
        An entry without a hash is no blob.
        """
        value = pack(ext(Ext.DIRECTORY, {"name": "d", "size": 1, "entries": [["a", "e" * 64, 1], ["b/", None, 0]]}))

        assert blobs_of(value) == ["e" * 64]

    def test_references_of_five_parts_are_read(self):
        """
        What an older version wrote stays readable.
        """
        value = pack(ext(Ext.BLOB, ["f" * 64, 9, "list", 3, "[1, 2, 3]"]))

        assert BlobRef("f" * 64, 9, "list", 3, "[1, 2, 3]") == blob_ref(value)
        assert list_length(value) == 3


class TestDigest:
    def test_the_order_of_a_dict_does_not_count(self):
        """
        Equal dicts have equal digests, at any depth.
        """
        one = {"a": 1, "b": {"x": [1], "y": {2: 3}}}
        other = {"b": {"y": {2: 3}, "x": [1]}, "a": 1}

        assert digest(pack(one)) == digest(pack(other))

    def test_the_form_of_a_list_does_not_count(self):
        """
        A list with offsets equals the same list without.
        """
        items = [pack({"n": n}) for n in range(100)]

        assert digest(pack_list(items)) == digest(pack([{"n": n} for n in range(100)]))

    def test_a_dict_is_not_the_list_of_its_pairs(self):
        """
        Different values have different digests even where their parts agree.
        """
        values = [{}, [], "", b"", None, 0, False, {"a": 1}, [["a", 1]], [b"a", 1], {"a": "1"}, 0.0]

        assert len(values) == len({digest(pack(value)) for value in values})

    def test_a_file_counts_by_its_content(self):
        """
        Name and place of a file do not change what it is equal to.
        """
        assert digest(pack(file("a" * 64, "x"))) == digest(pack(file("a" * 64, "y")))
        assert digest(pack(file("a" * 64))) != digest(pack(file("b" * 64)))

    def test_a_value_that_brings_its_own_digest_counts_by_that_alone(self):
        """
        `HashMethod` decides, not the bytes.
        """
        one, other = pack(ext(Ext.HASHED, ["d", [1]])), pack(ext(Ext.HASHED, ["d", [2]]))

        assert digest(one) == digest(other)

    def test_a_value_kept_as_blob_keeps_its_digest(self):
        """
        Being large does not change what a value is equal to.
        """
        inner = pack({"b": "x" * 70_000, "a": 1})
        reordered = pack({"a": 1, "b": "x" * 70_000})

        assert digest(inner) == digest(refer(inner, "1" * 64)) == digest(refer(reordered, "2" * 64))

    def test_a_pickle_counts_by_its_bytes_not_by_its_preview(self):
        """
        A preview may show an address in memory, which says nothing.
        """
        one = pack(ext(Ext.PICKLE, ["m.C", "<C at 0x1>", b"same", None]))
        other = pack(ext(Ext.PICKLE, ["m.C", "<C at 0x2>", b"same", None]))

        assert digest(one) == digest(other)


class TestBigNumbers:
    def test_an_int_beyond_what_python_converts_is_shown_in_hexadecimal(self):
        """
        JSON of a result never fails on the digits of an int.
        """
        assert to_json(pack(msgpack.ExtType(int(Ext.BIGINT), b"0xff"))) == "0xff"
        assert to_json(pack(msgpack.ExtType(int(Ext.BIGINT), str(1 << 70).encode()))) == 1 << 70


class TestPack:
    def test_a_failed_pack_leaves_nothing_behind(self):
        """
        The packer that met an object it cannot pack does not spoil the next value.
        """
        for _ in range(3):
            try:
                pack([1, object()])
            except TypeError:
                pass

        assert unpack(pack([1, "a"])) == [1, "a"]

    def test_a_part_of_a_short_list_is_reached(self):
        """
        The hub reads `p[1]` without opening more than the list.
        """
        assert unpack(access(pack([1, 2, 3]), (1,))) == 2
