"""HTTP as far as hubs speak it."""

from __future__ import annotations

import socket
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenroom.http import Connection, Endpoint, HttpFault, Parser, Request, render
from greenroom.hub_errors import Unreachable
from tests.sdk.client.fake_hub import Answer, FakeHub, as_json


@pytest.mark.parametrize(
    ("url", "expected", "shown"),
    [
        ("http://127.0.0.1:43117", ("http", "127.0.0.1", 43117, ""), "http://127.0.0.1:43117"),
        ("https://hub.example.com", ("https", "hub.example.com", 443, ""), "https://hub.example.com"),
        ("https://Example.com/rooms/", ("https", "example.com", 443, "/rooms"), "https://example.com/rooms"),
        ("http://[::1]:80/", ("http", "::1", 80, ""), "http://[::1]"),
        ("http://[::1]", ("http", "::1", 80, ""), "http://[::1]"),
        ("unix:/run/hub.sock", ("unix", "localhost", 0, "/run/hub.sock"), "unix:/run/hub.sock"),
        ("unix:///run/hub.sock", ("unix", "localhost", 0, "/run/hub.sock"), "unix:/run/hub.sock"),
    ],
)
def test_an_address_is_read(url, expected, shown):
    """
    Hubs are named by URL or by socket, and are shown in one form.
    """
    endpoint = Endpoint.parse(url)

    assert expected == tuple(endpoint)
    assert shown == str(endpoint)


@pytest.mark.parametrize("url", ["", "prod", "ftp://x", "http://", "http://u:p@host", "unix:relative", "localhost:1"])
def test_what_is_no_address_is_refused(url):
    """
    Anything else is refused with what was expected.
    """
    with pytest.raises(ValueError, match="expected http://HOST:PORT"):
        Endpoint.parse(url)


def test_a_request_carries_token_and_length():
    """
    A request with a body says whose it is and how long.
    """
    endpoint = Endpoint.parse("http://h:81/base")

    head = render(Request("POST", "/api/x", b"{}"), endpoint, "tok")

    assert head == (
        b"POST /base/api/x HTTP/1.1\r\nHost: h:81\r\nAuthorization: Bearer tok\r\n"
        b"Content-Type: application/json\r\nContent-Length: 2\r\n\r\n"
    )


PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Y: z\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nhel\r\n2\r\nlo\r\n0\r\nTrailer: 1\r\n\r\n"
EMPTY = b"HTTP/1.1 204 No Content\r\n\r\n"
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n" + PLAIN


@given(st.sampled_from([PLAIN, CHUNKED, INTERIM]), st.lists(st.integers(1, 20), max_size=40), st.booleans())
def test_portions_do_not_matter(raw, portions, twice):
    """
    However an answer is cut on its way, it reads the same, and so does the next one on the same connection.
    """
    parser, data = Parser(), raw * 2 if twice else raw
    bodies = []
    parser.start("GET")
    for size in [*portions, len(data)]:
        part, data = data[:size], data[size:]
        if part:
            parser.feed(part)
        while parser.head() is not None:
            bodies.append(parser.body())
            if not parser.done:
                break
            bodies.append(b"|")
            parser.start("GET")

    assert b"hello|" * (2 if twice else 1) == b"".join(bodies)


def test_an_answer_may_have_no_body():
    """
    204 and answers to HEAD end with their head.
    """
    for method, raw in (("DELETE", EMPTY), ("HEAD", PLAIN[:-5])):
        parser = Parser()
        parser.start(method)
        parser.feed(raw)

        assert parser.head() is not None
        assert parser.done


def test_an_answer_without_length_ends_with_the_connection():
    """
    Old proxies close to say that the body is over.
    """
    parser = Parser()
    parser.start("GET")
    parser.feed(b"HTTP/1.0 200 OK\r\n\r\nab")
    assert parser.head() is not None

    first = parser.body()
    parser.feed(b"c")
    second = parser.body()
    parser.feed(b"")

    assert (first, second, parser.done, parser.keep) == (b"ab", b"c", True, False)


@pytest.mark.parametrize(
    "raw",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"a" * 70_000,
    ],
)
def test_what_is_no_http_is_refused(raw):
    """
    A server of another kind at the hub's address gives a clear error, not a hang.
    """
    parser = Parser()
    parser.start("GET")
    parser.feed(raw)

    with pytest.raises(HttpFault):
        assert parser.head() is not None
        parser.body()


def test_a_connection_is_kept(hub: FakeHub):
    """
    Requests one after the other use one connection.
    """
    connection = Connection(Endpoint.parse(hub.url), hub.token)

    statuses = [connection.request(Request("GET", "/api/hub")).status for _ in range(5)]
    connection.close()

    assert (statuses, hub.accepted) == ([200] * 5, 1)


def test_a_kept_connection_that_broke_is_opened_again(hub: FakeHub):
    """
    A hub that restarted between two requests is no news to the caller.
    """
    connection = Connection(Endpoint("unix", "localhost", 0, hub.socket_path), hub.token)
    connection.request(Request("GET", "/api/hub"))

    hub.cut()
    status = connection.request(Request("GET", "/api/hub")).status
    connection.close()

    assert (status, hub.accepted) == (200, 2)


def test_large_bodies_go_both_ways(hub: FakeHub):
    """
    16 MiB there and back.
    """
    data = bytes(range(256)) * 65536
    hub.route("POST", "/echo", lambda asked: Answer(200, asked.body, "application/octet-stream"))
    connection = Connection(Endpoint.parse(hub.url), hub.token)

    answer = connection.request(Request("POST", "/echo", memoryview(data)))
    connection.close()

    assert data == answer.body


def test_a_body_can_be_read_in_portions(hub: FakeHub):
    """
    What is large is read as it comes, and the connection can be used again afterwards.
    """
    data = b"x" * 3_000_000
    hub.route("GET", "/big", lambda asked: Answer(200, data, "application/octet-stream"))
    connection = Connection(Endpoint.parse(hub.url), hub.token)

    head = connection.open(Request("GET", "/big"))
    parts = list(connection.stream())
    again = connection.request(Request("GET", "/api/hub"))
    connection.close()

    assert (200, data, 200, 1) == (head.status, b"".join(parts), again.status, hub.accepted)
    assert len(parts) > 2


def test_nobody_there_is_said_with_the_address(tmp_path):
    """
    An address at which nobody listens is named, with the reason.
    """
    path = str(tmp_path / "no.sock")

    with pytest.raises(Unreachable, match=rf"no hub answers at unix:{path}: No such file or directory"):
        Connection(Endpoint("unix", "localhost", 0, path)).request(Request("GET", "/"))


def test_a_proxy_never_stands_before_this_machine(hub: FakeHub, monkeypatch):
    """
    `http_proxy` with a dead address does not keep anyone from the local hub.
    """
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    connection = Connection(Endpoint.parse(hub.url), hub.token)

    status = connection.request(Request("GET", "/api/hub")).status
    connection.close()

    assert status == 200


def test_a_remote_hub_is_reached_through_the_proxy(hub: FakeHub, monkeypatch):
    """
    A hub elsewhere is reached through a tunnel of the proxy that the environment names.
    """
    proxy = socket.create_server(("127.0.0.1", 0))
    seen = []

    def tunnel() -> None:
        client, _ = proxy.accept()
        seen.append(client.recv(4096))
        client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        seen.append(client.recv(4096).split(b"\r\n")[0])
        client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        client.close()

    thread = threading.Thread(target=tunnel)
    thread.start()
    monkeypatch.setenv("http_proxy", f"http://me:p%40ss@127.0.0.1:{proxy.getsockname()[1]}")
    connection = Connection(Endpoint.parse("http://hub.invalid:8080"), "t")
    answer = connection.request(Request("GET", "/api/hub"))
    connection.close()
    thread.join()
    proxy.close()

    assert answer.body == b"{}"
    assert seen[0].startswith(b"CONNECT hub.invalid:8080 HTTP/1.1\r\nHost: hub.invalid:8080\r\nProxy-Authorization: ")
    assert seen[1] == b"GET /api/hub HTTP/1.1"


def test_a_proxy_that_refuses_is_named(monkeypatch):
    """
    A tunnel that the proxy does not give is told with its address.
    """
    proxy = socket.create_server(("127.0.0.1", 0))

    def refuse() -> None:
        client, _ = proxy.accept()
        client.recv(4096)
        client.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        client.close()

    thread = threading.Thread(target=refuse)
    thread.start()
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.getsockname()[1]}")
    with pytest.raises(HttpFault, match=r"refuses a tunnel to hub.invalid:80: status 403; see no_proxy"):
        Connection(Endpoint.parse("http://hub.invalid"), "t").request(Request("GET", "/api/hub"))
    thread.join()
    proxy.close()


def test_a_slow_answer_is_waited_for(hub: FakeHub):
    """
    An answer that comes in time comes; nobody gives up early.
    """
    gate = threading.Event()

    def later(asked: object) -> Answer:
        gate.wait(5)
        return as_json({"ok": True})

    hub.route("GET", "/slow", later)
    connection = Connection(Endpoint.parse(hub.url), hub.token)
    threading.Timer(0.05, gate.set).start()

    answer = connection.request(Request("GET", "/slow", wait=5))
    connection.close()

    assert answer.body == b'{"ok": true}'
