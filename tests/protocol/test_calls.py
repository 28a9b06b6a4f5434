"""Definitions and outcomes: the two bodies that the hub carries without opening."""

from __future__ import annotations

import struct

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenroom_protocol.calls import Definition, Outcomes, Status, digest_of
from greenroom_protocol.frames import FrameFault


def u32(*numbers: int) -> bytes:
    return struct.pack(f"<{len(numbers)}I", *numbers)


def outcomes(**columns) -> Outcomes:
    """Three successful calls of items 5, 6 and 7, or what `columns` makes of them."""
    sound = Outcomes(5, 1, b"\0", u32(1, 3, 6), b"abbccc", 10**15, u32(0, 1, 2), u32(9, 9, 9), {}, [])
    return sound._replace(**columns)


DEFINITION = Definition(
    "m.f", "e", "b" * 64, "m", "f", None, ["x"], {"k": b"\x01"}, ["o0"], "reset", 1, None, {"A": "1"}, {}, {"cwd": ""}
)


class TestDefinition:
    """Everything of a call that does not vary, named by its digest."""

    def test_it_comes_back_as_it_was(self):
        """
        Packed and unpacked, a definition is the same.
        """
        assert Definition.unpack(DEFINITION.pack()) == DEFINITION

    def test_equal_definitions_have_one_name(self):
        """
        The same definition gives the same 16 bytes, another one others.
        """
        again = Definition.unpack(DEFINITION.pack())

        assert digest_of(again.pack()) == digest_of(DEFINITION.pack())
        assert digest_of(DEFINITION._replace(qualname="g").pack()) != digest_of(DEFINITION.pack())
        assert len(digest_of(b"")) == 16

    @pytest.mark.parametrize("body", [b"", b"\xc1", msgpack.packb(7), msgpack.packb([1, 2]), msgpack.packb({"a": 1})])
    def test_another_body_is_refused(self, body):
        """
        Bytes that are no definition are refused with one kind of error.
        """
        with pytest.raises(FrameFault, match="a definition that cannot be read"):
            Definition.unpack(body)


class TestOutcomes:
    """Columns of a batch."""

    def test_neighbours_are_written_by_their_first(self):
        """
        A batch of neighbouring items in one attempt says both numbers once.
        """
        batch = Outcomes.unpack(outcomes().pack())

        assert batch == outcomes()
        assert (list(batch.item_list()), list(batch.attempt_list())) == ([5, 6, 7], [1, 1, 1])
        assert batch.status_list() == bytes(3)
        assert list(batch.payloads()) == [b"a", b"bb", b"ccc"] == [batch.payload_of(k) for k in range(3)]

    def test_scattered_items_are_written_one_by_one(self):
        """
        Items that are no neighbours, attempts and statuses that differ have a number each.
        """
        batch = outcomes(items=[9, 2, 4], attempts=[1, 3, 1], statuses=bytes([0, 1, 2]))

        again = Outcomes.unpack(batch.pack())

        assert (list(again.item_list()), list(again.attempt_list())) == ([9, 2, 4], [1, 3, 1])
        assert list(again.status_list()) == [Status.SUCCEEDED, Status.FAILED, Status.CANCELLED]

    def test_payloads_may_be_empty(self):
        """
        A call without outputs has an empty payload.
        """
        batch = Outcomes.unpack(outcomes(ends=u32(0, 0, 0), payload=b"").pack())

        assert list(batch.payloads()) == [b"", b"", b""]

    @pytest.mark.parametrize(
        ("columns", "reason"),
        [
            ({"ends": b"", "payload": b""}, "0 outcomes"),
            ({"ends": u32(1, 3, 6) + b"x"}, "3 outcomes"),
            ({"items": [1, 2]}, "items holds 2 of 3"),
            ({"items": [1, 2, 2]}, "an item has two outcomes"),
            ({"items": [1, 2, "3"]}, "items must be numbers from 0"),
            ({"items": -1}, "items must be numbers from 0"),
            ({"items": True}, "items must be list, got bool"),
            ({"items": "5"}, "items must be list, got str"),
            ({"attempts": [1]}, "attempts holds 1 of 3"),
            ({"attempts": [1, 1, -1]}, "attempts must be numbers"),
            ({"statuses": b"\0\0"}, "statuses holds 2 of 3"),
            ({"statuses": b"\7"}, "statuses hold one that is unknown"),
            ({"statuses": "\0"}, "statuses must be bytes, got str"),
            ({"ends": u32(1, 3, 5)}, "do not follow each other to the end"),
            ({"ends": u32(4, 3, 6)}, "do not follow each other to the end"),
            ({"payload": b"abbcc"}, "do not follow each other to the end"),
            ({"started": u32(1)}, "started holds 1 of 3"),
            ({"started": u32(1, 1, 1) + b"x"}, "started holds 3.25 of 3"),
            ({"durations": b""}, "durations holds 0 of 3"),
            ({"base_us": 1.5}, "base_us must be int, got float"),
            ({"extras": {"0": {}}}, "extras must be maps by position"),
            ({"extras": {0: []}}, "extras must be maps by position"),
            ({"cache": [1]}, "cache must hold maps with str keys"),
            ({"cache": [{"load_ms": "fast"}]}, "cache must hold figures: load_ms is 'fast'"),
            ({"cache": [{"evicted": [["f"]]}]}, "cache must hold .loader, key, "),
        ],
    )
    def test_columns_that_no_batch_has_are_refused(self, columns, reason):
        """
        Columns must agree with each other; the one that does not is named.
        """
        with pytest.raises(FrameFault, match=f"a result's body cannot be read: .*{reason}"):
            Outcomes.unpack(outcomes(**columns).pack())

    @pytest.mark.parametrize(
        "body", [b"", b"\xc1", msgpack.packb(7), msgpack.packb([1] * 9), msgpack.packb([None] * 10)]
    )
    def test_another_body_is_refused(self, body):
        """
        Bytes that are no columns are refused with one kind of error.
        """
        with pytest.raises(FrameFault, match="cannot be read"):
            Outcomes.unpack(body)

    @given(st.data())
    def test_a_wrong_byte_is_refused_or_still_sound(self, data):
        """
        A changed byte gives a refusal, or columns that every reader can walk.
        """
        body = bytearray(outcomes(items=[9, 2, 4], extras={1: {"log": 1}}, cache=[{"loader": "f"}]).pack())
        for _ in range(data.draw(st.integers(1, 3))):
            body[data.draw(st.integers(0, len(body) - 1))] ^= data.draw(st.integers(1, 255))

        try:
            batch = Outcomes.unpack(bytes(body))
        except FrameFault:
            return

        assert len(batch.item_list()) == len(batch.attempt_list()) == len(batch.status_list()) == batch.size
        assert b"".join(batch.payloads()) == batch.payload
        assert [batch.payload_of(k) for k in range(batch.size)] == list(batch.payloads())
