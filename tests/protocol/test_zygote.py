"""What launcher and zygote say, as bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenroom_protocol.zygote import (
    LAUNCHER_KINDS,
    MAX_MESSAGE,
    Count,
    Exit,
    Exited,
    Kill,
    Ready,
    Spawn,
    ZygoteFault,
    ZygoteTalk,
)

MESSAGES = [Spawn("r", 1, {"hub": "unix:///h"}), Kill("r", 1, 9), Count(), Exit("stop")]


@given(st.lists(st.sampled_from(MESSAGES), max_size=8), st.integers(1, 50))
def test_messages_come_out_wherever_the_bytes_are_cut(messages: list[object], size: int) -> None:
    """
    A stream of messages is understood whatever a read returns.
    """
    data = b"".join(map(ZygoteTalk.pack, messages))  # type: ignore[arg-type]
    talk = ZygoteTalk(LAUNCHER_KINDS)

    heard = [message for at in range(0, len(data), size) for message in talk.feed(data[at : at + size])]

    assert heard == messages


def test_a_launcher_hears_what_a_zygote_says() -> None:
    """
    Both directions have their own kinds.
    """
    said = [Ready(1, 42, "3.11", [["r", 1, 43]]), Exited("r", 1, 43, -9, {"cpu_s": 0.1})]

    assert ZygoteTalk().feed(b"".join(map(ZygoteTalk.pack, said))) == said


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"\x01\x00\x00\x00\xc1", "not a message"),
        (b"\x01\x00\x00\x00\x05", "not a message"),
        (b"\x02\x00\x00\x00\x91\x63", "not a message"),
        (b"\x03\x00\x00\x00\x92\x01\x02", "has 3 fields, got 1"),
        ((MAX_MESSAGE + 1).to_bytes(4, "little"), "at most"),
    ],
)
def test_what_is_no_message_is_a_fault_that_says_why(data: bytes, word: str) -> None:
    """
    Bytes that are no message of this conversation end it.
    """
    with pytest.raises(ZygoteFault, match=word):
        ZygoteTalk(LAUNCHER_KINDS).feed(data)
