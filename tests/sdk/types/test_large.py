# ruff: noqa: UP007, UP045
"""Large values are blobs, long lists are sliced, a map's results are read from the log; the hub can tell without us."""

from typing import Any, Optional, Union

import pytest

from greenroom.blobs import LocalBlobs
from greenroom.errors import NotReadable, TooLarge
from greenroom.types import HashMethod, codec_for
from greenroom_core.refs import blob_ref, blobs_of, digest
from greenroom_core.values import INLINE_LIMIT, NIL, Ext, ListView, ext, ext_code, list_length, pack, unpack
from tests.sdk.types.shapes import Plain, Point

LARGE = "x" * (INLINE_LIMIT + 1)


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (str, LARGE),
        (bytes, LARGE.encode()),
        (list[int], list(range(100_000))),
        (dict[str, str], {"a": LARGE}),
        (Any, [LARGE, (1,)]),
        (Optional[str], LARGE),
        (int, 10**200_000),
        (Plain, Plain(LARGE)),
        (Union[int, str], LARGE),
        (set[str], {LARGE}),
    ],
    ids=["str", "bytes", "list", "dict", "any", "optional", "int", "pickle", "union", "set"],
)
def test_what_travels_is_small(store, annotation, value):
    """
    Above the limit a reference stands for the value, and leads back to it.
    """
    codec = codec_for(annotation)

    encoded = codec.encode(value, store)

    assert len(encoded) < 1000
    assert all(store.has(sha256) for sha256 in blobs_of(encoded))
    assert codec.decode(encoded, store) == value


def test_a_value_at_the_limit_stays_inline(store):
    """
    The limit is on the encoded bytes.
    """
    codec = codec_for(bytes)

    assert blob_ref(codec.encode(b"x" * (INLINE_LIMIT - 3), store)) is None
    assert blob_ref(codec.encode(b"x" * (INLINE_LIMIT - 2), store)) is not None


@pytest.mark.parametrize("annotation", [list[int], list[Any], Any, Optional[list[int]], tuple[int, ...], list[Point]])
def test_a_long_list_is_sliced_without_being_decoded(store, annotation):
    """
    Each item can be cut out, and is a value of the item's type.
    """
    items = [Point(n) for n in range(100)] if annotation == list[Point] else list(range(100))
    whole = tuple(items) if annotation == tuple[int, ...] else items

    value = codec_for(annotation).encode(whole, store)

    assert ext_code(value) is Ext.LIST
    assert list_length(value) == 100
    assert codec_for(type(items[0])).decode(ListView(value)[41], store) == items[41]


def test_a_short_list_is_a_plain_array(store):
    """
    Sixty-four items and fewer have no offsets.
    """
    value = codec_for(list[int]).encode(list(range(64)), store)

    assert unpack(value) == list(range(64))


def test_large_items_of_a_list_are_blobs_of_their_own(store):
    """
    A map over the list sends references, not megabytes.
    """
    codec = codec_for(list[str])

    value = codec.encode([LARGE, "small", LARGE + "y"], store)

    assert [blob_ref(item) is not None for item in ListView(value)] == [True, False, True]
    assert len(blobs_of(value)) == 2
    assert codec.decode(value, store) == [LARGE, "small", LARGE + "y"]
    assert codec_for(str).decode(ListView(value)[0], store) == LARGE


def test_a_large_list_says_its_length_and_can_be_sliced_from_its_blob(store):
    """
    The reference alone tells how many items a map has.
    """
    value = codec_for(list[int]).encode(list(range(100_000)), store)

    assert (blob_ref(value).kind, list_length(value)) == ("list", 100_000)
    assert unpack(ListView(store.get(blob_ref(value).sha256))[99_999]) == 99_999


def test_a_digest_of_ones_own_stays_readable_outside_of_the_blob(store):
    """
    `HashMethod` decides about cached results, however large the value.
    """
    from typing import Annotated

    codec = codec_for(Annotated[list[int], HashMethod(lambda numbers: "v1")])

    one, other = codec.encode(list(range(100_000)), store), codec.encode([1], store)

    assert ext_code(one) is Ext.HASHED
    assert digest(one) == digest(other)
    assert list_length(one) == 100_000
    assert codec_for(list[int]).decode(one, store) == list(range(100_000))


def test_a_maps_results_are_read_from_the_log(tmp_path):
    """
    Items come as values; a failed one as None.
    """
    log = {("wf-1", "n", "o0"): [pack(1), NIL, pack(3)]}
    store = LocalBlobs(tmp_path, manifests=lambda *address: iter(log[address]))
    value = pack(ext(Ext.MANIFEST, ["wf-1", "n", "o0", 3]))

    assert codec_for(list[Optional[int]]).decode(value, store) == [1, None, 3]
    assert codec_for(Any).decode(value, store) == [1, None, 3]
    assert codec_for(Union[list[Optional[int]], str]).decode(value, store) == [1, None, 3]


def test_a_maps_results_that_are_not_all_there_are_refused(tmp_path):
    """
    A list is never shorter than it says.
    """
    store = LocalBlobs(tmp_path, manifests=lambda *address: iter([pack(1)]))

    with pytest.raises(NotReadable, match="1 of 3 items"):
        codec_for(list[int]).decode(pack(ext(Ext.MANIFEST, ["wf-1", "n", "o0", 3])), store)


def test_a_list_of_lists_may_come_in_either_form(store):
    """
    Items that were made as values of their own, with offsets, are read inside of others.
    """
    inner = codec_for(list[int]).encode(list(range(100)), store)
    value = pack([unpack(inner), [1]])

    assert codec_for(list[list[int]]).decode(value, store) == [list(range(100)), [1]]


def test_what_is_larger_than_the_wire_carries_says_what_to_do(store, monkeypatch):
    """
    Four GiB in one string of bytes: msgpack's limit, told in our words.
    """

    def refuse(plain):
        raise ValueError("bytes object is too large")

    monkeypatch.setattr("greenroom.types.codec.pack", refuse)

    with pytest.raises(TooLarge, match="this bytes is larger than 4 GiB; write it to a file and return a File"):
        codec_for(bytes).encode(b"", store)
