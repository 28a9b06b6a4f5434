"""The grammar of what hub and replica say: what is written is what is read, and nothing else is."""

from __future__ import annotations

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenroom_protocol import frames
from greenroom_protocol.frames import HUB_KINDS, REPLICA_KINDS, FrameFault, decode, encode

TEXT = st.text(max_size=20)
NUMBER = st.integers(0, 2**63 - 1)
PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | TEXT
    | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=8,
)
FIELDS = {
    "int": st.integers(-(2**63), 2**64 - 1),
    "str": TEXT,
    "bytes": st.binary(max_size=30),
    "bool": st.booleans(),
    "Items": NUMBER | st.lists(NUMBER, max_size=5),
    "Attempts": NUMBER | st.lists(NUMBER, max_size=5),
    "list[int]": st.lists(NUMBER, min_size=3, max_size=3),
    "list[bytes]": st.lists(st.binary(max_size=9), max_size=4),
    "list[list[Any]]": st.lists(st.tuples(TEXT, TEXT, NUMBER, NUMBER).map(list), max_size=3),
    "list[list[str]]": st.lists(st.lists(TEXT, min_size=2, max_size=3), max_size=3),
    "list[Mapping[str, Any]]": st.lists(st.dictionaries(TEXT, PLAIN, max_size=3), max_size=3),
    "Mapping[str, Any]": st.dictionaries(TEXT, PLAIN, max_size=4),
}


def messages(kinds):
    """Messages of any of these kinds, with any fields that they may have."""

    def fields(kind):
        return [FIELDS[getattr(text, "__forward_arg__", text)] for text in kind.__annotations__.values()]

    return st.one_of([st.builds(kind, *fields(kind)) for kind in kinds.values()])


class TestRoundTrip:
    """What is written is what is read."""

    @given(st.lists(messages(REPLICA_KINDS), max_size=4))
    def test_what_a_replica_says_arrives(self, said):
        """
        Any messages of a replica come out of their frame as they went in.
        """
        assert decode(encode(said), REPLICA_KINDS) == said

    @given(st.lists(messages(HUB_KINDS), max_size=4))
    def test_what_a_hub_says_arrives(self, said):
        """
        Any messages of a hub come out of their frame as they went in.
        """
        assert decode(encode(said), HUB_KINDS) == said

    def test_lone_surrogates_survive(self):
        """
        Paths that are not UTF-8 (surrogateescape) travel inside texts.
        """
        said = [frames.Bye("caf\udce9")]

        assert decode(encode(said), REPLICA_KINDS) == said

    def test_every_kind_has_a_number_of_its_own(self):
        """
        A number means one kind of message, whichever side says it.
        """
        both = {**REPLICA_KINDS, **HUB_KINDS}

        assert len(both) == len(REPLICA_KINDS) + len(HUB_KINDS) - 2
        assert len(set(both.values())) == len(both)


class TestRefusals:
    """Everything else closes the connection that it came from, with a reason."""

    @pytest.mark.parametrize(
        ("frame", "reason"),
        [
            (b"", "not msgpack"),
            (b"\xc1", "not msgpack"),
            (b"hello", "not msgpack"),
            (msgpack.packb([[40, 1]]) + b"x", "not msgpack"),
            (b"\x91" * 2000, "not msgpack"),
            (b"\x81\x90\x01", "not msgpack"),
            (msgpack.packb({"a": 1}), "must be an array of messages, not dict"),
            (msgpack.packb([5]), "must be an array that starts with its kind"),
            (msgpack.packb([[]]), "must be an array that starts with its kind"),
            (msgpack.packb([["x"]]), "must be an array that starts with its kind"),
            (msgpack.packb([[True]]), "must be an array that starts with its kind"),
            (msgpack.packb([[99, 1]]), "unknown kind 99"),
            (msgpack.packb([[20, 1]]), "unknown kind 20"),
            (msgpack.packb([[40]]), "a Ping message has 1 fields, got 0"),
            (msgpack.packb([[40, 1, 2]]), "a Ping message has 1 fields, got 2"),
            (msgpack.packb([[40, "1"]]), "Ping.number must be int, got str"),
            (msgpack.packb([[40, True]]), "Ping.number must be int, got bool"),
            (msgpack.packb([[9, None]]), "Bye.reason must be str, got NoneType"),
            (msgpack.packb([[6, {1: 2}]]), "Stats.figures must have str keys"),
            (msgpack.packb([[6, [1]]]), "Stats.figures must be dict, got list"),
            (msgpack.packb([[7, "e", "n", ["1"], [1]]]), "Returned.items must hold numbers from 0"),
            (msgpack.packb([[7, "e", "n", [-1], [1]]]), "Returned.items must hold numbers from 0"),
            (msgpack.packb([[7, "e", "n", [1, 2], [1]]]), "a Returned message has 2 items and 1 attempts"),
            (msgpack.packb([[8, "e", "n", [1], [], True, {}]]), "a Lost message has 1 items and 0 attempts"),
            (msgpack.packb([[8, "e", "n", [1], [1], 1, {}]]), "Lost.charged must be bool, got int"),
            (msgpack.packb([[4, [1], []]]), "Cache.loaded must hold maps with str keys"),
            (msgpack.packb([[4, [], ["x"]]]), "Cache.gone must hold .loader, key, "),
            (msgpack.packb([[4, [], [["f"]]]]), "Cache.gone must hold .loader, key, "),
            (msgpack.packb([[4, [{"load_ms": "9"}], []]]), "Cache.loaded must hold figures: load_ms is '9'"),
            (msgpack.packb([[4, [{"bytes": -1}], []]]), "Cache.loaded must hold figures: bytes is -1"),
            (msgpack.packb([[4, [{"hits": float("nan")}], []]]), "Cache.loaded must hold figures: hits is nan"),
            (msgpack.packb([[4, [{"depends": 5}], []]]), "Cache.loaded must hold lists: depends is 5"),
            (
                msgpack.packb([[1, 1, "r", 1, 0, [["e", "n", 1]], [], [], [], {}]]),
                "Hello.held must hold .execution, node, item, attempt.",
            ),
            (msgpack.packb([[1, 1, "r", 1, 0, [], [], ["d"], [], {}]]), "Hello.definitions must hold bytes alone"),
        ],
    )
    def test_a_bad_frame_is_refused_with_a_reason(self, frame, reason):
        """
        Not msgpack, of another shape, of an unknown kind, or with wrong fields: each is named.
        """
        with pytest.raises(FrameFault, match=reason):
            decode(frame, REPLICA_KINDS)

    def test_a_large_frame_is_refused_unread(self):
        """
        A frame above the limit is not decoded at all; both sizes are named.
        """
        with pytest.raises(FrameFault, match="a frame of 11 bytes; at most 10 are taken"):
            decode(b"\xc1" * 11, REPLICA_KINDS, limit=10)

    def test_a_hub_does_not_take_what_only_hubs_say(self):
        """
        A replica that speaks as if it were the hub is refused.
        """
        with pytest.raises(FrameFault, match="unknown kind 27"):
            decode(encode([frames.Drain("now")]), REPLICA_KINDS)

    @given(st.binary(max_size=200))
    def test_noise_is_refused_and_nothing_worse(self, frame):
        """
        Whatever bytes come, a frame is read or refused; no other error escapes.
        """
        for kinds in (REPLICA_KINDS, HUB_KINDS):
            try:
                decode(frame, kinds)
            except FrameFault:
                pass

    @given(
        st.lists(
            st.tuples(st.sampled_from(sorted({**REPLICA_KINDS, **HUB_KINDS})), st.lists(PLAIN, max_size=10)).map(
                lambda pair: [pair[0], *pair[1]]
            ),
            max_size=3,
        )
    )
    def test_wrong_fields_are_refused_and_nothing_worse(self, raw):
        """
        Well-formed msgpack with any fields is read or refused; no other error escapes.
        """
        try:
            decode(msgpack.packb(raw), {**REPLICA_KINDS, **HUB_KINDS})
        except FrameFault:
            pass

    @given(messages(REPLICA_KINDS), st.data())
    def test_a_frame_with_one_wrong_byte_is_refused_or_another_message(self, message, data):
        """
        A byte that changed on its way gives a refusal or another sound message, never another error.
        """
        frame = bytearray(encode([message]))
        frame[data.draw(st.integers(0, len(frame) - 1))] ^= data.draw(st.integers(1, 255))

        try:
            decode(bytes(frame), REPLICA_KINDS)
        except FrameFault:
            pass
