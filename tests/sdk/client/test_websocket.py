"""WebSocket as far as reading a hub's stream needs it."""

from __future__ import annotations

import json
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenroom.http import Connection, Endpoint, Head, HttpFault
from greenroom.websocket import Frames, WebSocket, open_websocket
from tests.sdk.client.fake_hub import FakeHub, server_frame


@given(st.lists(st.binary(max_size=200), max_size=8), st.lists(st.integers(1, 50), max_size=60))
def test_messages_survive_any_cut(messages, portions):
    """
    However the bytes are cut, the messages are the same.
    """
    data = b"".join(server_frame(2, message) for message in messages)
    frames, read = Frames(), []

    for size in [*portions, len(data) + 1]:
        part, data = data[:size], data[size:]
        if part:
            read.extend(frames.feed(part))

    assert messages == read


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536, 300_000])
def test_every_length_is_read(size):
    """
    Short, middle and long frames.
    """
    assert [b"x" * size] == list(Frames().feed(server_frame(1, b"x" * size)))


def test_fragments_join_around_a_ping():
    """
    A message in several frames is one, and a ping between them is answered at once.
    """
    frames = Frames()

    read = list(frames.feed(server_frame(1, b"ab", final=False) + server_frame(9, b"hi") + server_frame(0, b"cd")))

    assert read == [b"abcd"]
    assert (frames.reply[0], frames.reply[1]) == (0x8A, 0x82)
    mask, masked = frames.reply[2:6], frames.reply[6:]
    assert bytes(byte ^ mask[index] for index, byte in enumerate(masked)) == b"hi"


def test_a_close_is_told_with_its_reason():
    """
    The hub's close code and words are kept, and echoed.
    """
    frames = Frames()

    list(frames.feed(server_frame(8, struct.pack("!H", 1012) + b"restarting")))

    assert (frames.closed, frames.reason) == (1012, "restarting")
    assert frames.reply[0] == 0x88


@pytest.mark.parametrize(
    "raw",
    [b"\x81\x85abcdhello", b"\xc1\x01x", b"\x83\x00", b"\x82\x7f" + struct.pack("!Q", 1 << 40)],
    ids=["masked", "compressed", "unknown kind", "too large"],
)
def test_what_a_hub_would_not_send_is_refused(raw):
    """
    Broken or hostile frames end the stream with an error.
    """
    with pytest.raises(HttpFault):
        list(Frames().feed(raw))


def test_a_connection_that_just_ends_is_1006():
    """
    A stream without a close is told apart from one that was closed.
    """
    ours, theirs = socket.socketpair()
    stream = WebSocket(ours)
    theirs.close()

    assert stream.read(1) is None
    assert stream.code == 1006
    stream.close()


def test_a_stream_of_events_is_read_to_its_end(hub: FakeHub):
    """
    Over a real socket: upgrade, messages as they come, the end.
    """
    run = hub.run("wf-1").add("node_started", node="a")
    stream = open_websocket(Connection(Endpoint.parse(hub.url), hub.token), "/api/executions/wf-1/events?after=0")
    assert isinstance(stream, WebSocket)

    first = stream.read(5)
    nothing = stream.read(0)
    run.end()
    rest = stream.read(5)
    last = stream.read(5)
    stream.close()

    assert first and [event["kind"] for event in json.loads(first[0])] == ["node_started"]
    assert nothing == []
    assert rest and json.loads(rest[-1])[0]["kind"] == "execution_ended"
    assert (last, stream.code) == (None, 1000)


def test_a_refused_upgrade_is_an_answer(hub: FakeHub):
    """
    An unknown execution answers with its status instead of a stream.
    """
    connection = Connection(Endpoint.parse(hub.url), hub.token)

    answer = open_websocket(connection, "/api/executions/none/events")
    connection.close()

    assert isinstance(answer, Head)
    assert answer.status == 404
