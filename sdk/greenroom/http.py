"""HTTP/1.1 to the hub: the grammar without I/O, and one keep-alive connection that blocks.

Written by hand because a person waits for it: `http.client` takes 40 ms to import and 100 µs for a request, this
takes 1 ms and 15 µs (ADR 0071). It speaks to hubs and their proxies, not to the web at large.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from greenroom.hub_errors import HubError, Unreachable

if TYPE_CHECKING:
    import ssl

MAX_HEAD: Final = 64 * 1024
"""Bytes of a response's head; more comes from no hub."""

MAX_BODY: Final = 4 * 1024**3
"""Bytes of a response's body that are taken into memory; blobs above this are streamed."""

CONNECT_TIMEOUT: Final = 10.0
"""Seconds to reach a hub; a local one answers in microseconds, one behind a VPN in a second."""

ANSWER_TIMEOUT: Final = 60.0
"""Seconds that a hub may think, on top of what the request asked it to wait."""

MSGPACK: Final = "application/msgpack"
JSON: Final = "application/json"


class HttpFault(HubError):
    """The other side speaks no HTTP that we understand, or went away in the middle of it."""


class Endpoint(NamedTuple):
    """Where a hub listens."""

    scheme: str
    """`http`, `https` or `unix`."""
    host: str
    port: int
    path: str
    """`unix`: the socket's path. Else what stands before `/api`, without a slash at its end."""

    @classmethod
    def parse(cls, url: str) -> Endpoint:
        """Read `http://host:port`, `https://host/prefix` or `unix:/path/to/socket`.

        Raises:
            ValueError: It is none of these.
        """
        scheme, colon, rest = url.partition(":")
        if scheme == "unix" and rest.startswith("/"):
            return cls("unix", "localhost", 0, "/" + rest.lstrip("/"))
        place, _, path = rest.removeprefix("//").partition("/")
        host, _, port = place.rpartition(":") if _has_port(place) else (place, "", "")
        if not colon or scheme not in ("http", "https") or not host or "@" in place:
            raise ValueError(f"hub address {url!r}: expected http://HOST:PORT, https://HOST or unix:/PATH")
        number = int(port) if port else {"http": 80, "https": 443}[scheme]
        return cls(scheme, host.strip("[]").lower(), number, "/" + path.strip("/") if path.strip("/") else "")

    @property
    def loopback(self) -> bool:
        """Whether it is on this machine, so that no proxy may stand between."""
        return self.scheme == "unix" or self.host in ("localhost", "::1") or self.host.startswith("127.")

    @property
    def authority(self) -> str:
        """What the `Host` header says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        plain = self.scheme == "unix" or self.port == {"http": 80, "https": 443}[self.scheme]
        return host if plain else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"unix:{self.path}" if self.scheme == "unix" else f"{self.scheme}://{self.authority}{self.path}"


def _has_port(place: str) -> bool:
    return place.rpartition(":")[2].isdigit() and (place.count(":") == 1 or "]:" in place)


class Request(NamedTuple):
    """One wish to the hub. Every one may be sent twice: submissions carry a key, all others repeat harmlessly."""

    method: str
    path: str
    body: bytes | memoryview = b""
    type: str = JSON
    headers: tuple[tuple[str, str], ...] = ()
    wait: float = 0.0
    """Seconds that the hub was asked to wait before it answers."""


class Response(NamedTuple):
    """The hub's answer."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes


class Head(NamedTuple):
    """An answer's status and headers; its body follows."""

    status: int
    headers: Mapping[str, str]


def render(request: Request, endpoint: Endpoint, token: str) -> bytes:
    """The bytes of a request's head; its body follows as it is."""
    base = "" if endpoint.scheme == "unix" else endpoint.path
    lines = [f"{request.method} {base}{request.path} HTTP/1.1", f"Host: {endpoint.authority}"]
    if token:
        lines.append(f"Authorization: Bearer {token}")
    if request.body or request.method in ("POST", "PUT"):
        lines.append(f"Content-Type: {request.type}")
        lines.append(f"Content-Length: {len(request.body)}")
    lines.extend(f"{name}: {value}" for name, value in request.headers)
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


class Parser:
    """Reads one answer after the other from bytes, whatever their portions."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._head: Head | None = None
        self._left: int | None = 0
        """Bytes that the body (or its chunk) still has; None until the connection's end."""
        self._chunked = False
        self._method = "GET"
        self.done = True
        """Whether the answer was read to its end."""
        self.keep = True
        """Whether the connection may be used again."""

    def start(self, method: str) -> None:
        """Expect the answer to a request with this method."""
        self._head, self._method, self.done = None, method, False

    def feed(self, data: bytes) -> None:
        """Take what came in; nothing means that the other side closed.

        Raises:
            HttpFault: It closed in the middle of an answer.
        """
        if data:
            self._buffer += data
            return
        self.keep = False
        if self._head is not None and self._left is None and not self._chunked:
            self.done = True
        elif not self.done:
            raise HttpFault("the hub closed the connection in the middle of an answer")

    def head(self) -> Head | None:
        """Status and headers, once they are complete.

        Raises:
            HttpFault: They are no HTTP, or far too long.
        """
        if self._head is None:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                if len(self._buffer) > MAX_HEAD:
                    raise HttpFault(f"an answer's head is longer than {MAX_HEAD:,} bytes")
                return None
            head = _read_head(bytes(self._buffer[:end]))
            del self._buffer[: end + 4]
            if head.status == 100:
                return self.head()
            self._head = head
            self._measure(head)
        return self._head

    def _measure(self, head: Head) -> None:
        headers = head.headers
        self.keep = headers.get("connection", "").lower() != "close"
        self._chunked = headers.get("transfer-encoding", "").lower() == "chunked"
        if self._method == "HEAD" or head.status in (101, 204, 304):
            self._left, self._chunked, self.done = 0, False, True
        elif self._chunked:
            self._left = None
        else:
            length = headers.get("content-length")
            if length is not None and not length.isdigit():
                raise HttpFault(f"an answer says that it is {length!r} bytes long")
            self._left = int(length) if length is not None else None
            self.done = self._left == 0

    def body(self) -> bytes:
        """What of the body has come in since the last time; `done` says whether it is all.

        Raises:
            HttpFault: A chunk's size is no number.
        """
        if self._chunked:
            return self._chunks()
        if self._left is None or len(self._buffer) < self._left:
            part = bytes(self._buffer)
            self._buffer.clear()
            if self._left is not None:
                self._left -= len(part)
            return part
        part = bytes(self._buffer[: self._left])
        del self._buffer[: self._left]
        self._left, self.done = 0, True
        return part

    def _chunks(self) -> bytes:
        parts = []
        while not self.done:
            if self._left is None:
                end = self._buffer.find(b"\r\n")
                if end < 0:
                    break
                try:
                    size = int(self._buffer[:end].split(b";")[0], 16)
                except ValueError:
                    raise HttpFault(f"a chunk's size is {bytes(self._buffer[:20])!r}") from None
                if size == 0:
                    if self._buffer.find(b"\r\n\r\n", end) < 0:
                        break
                    del self._buffer[: self._buffer.find(b"\r\n\r\n", end) + 4]
                    self.done = True
                    break
                del self._buffer[: end + 2]
                self._left = size + 2  # The chunk's own line end comes with it.
            taken = bytes(self._buffer[: self._left])
            del self._buffer[: len(taken)]
            self._left -= len(taken)
            parts.append(taken[: len(taken) - max(0, 2 - self._left)] if self._left < 2 else taken)
            if self._left:
                break
            self._left = None
        return b"".join(parts)

    def rest(self) -> bytes:
        """What came behind the head of an answer that switched protocols."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        return rest


def _read_head(raw: bytes) -> Head:
    lines = raw.decode("latin-1").split("\r\n")
    status = lines[0][9:12]
    if not lines[0].startswith("HTTP/1.") or not status.isdigit():
        raise HttpFault(f"not HTTP: {lines[0][:60]!r}")
    headers = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    return Head(int(status), headers)


class Connection:
    """One connection to a hub that stays open between requests. Not for several threads at once."""

    def __init__(self, endpoint: Endpoint, token: str = "") -> None:
        self.endpoint, self.token = endpoint, token
        self._socket: socket.socket | None = None
        self._parser = Parser()

    def request(self, request: Request) -> Response:
        """Ask, and wait for the whole answer.

        Raises:
            HttpFault: The hub cannot be reached, or what it says is no HTTP.
        """
        head = self.open(request)
        parser = self._parser
        body = parser.body()
        if not parser.done:
            parts, size = [body], len(body)
            for part in self._more():
                parts.append(part)
                size += len(part)
                if size > MAX_BODY:
                    self.close()
                    raise HttpFault(f"an answer is longer than {MAX_BODY:,} bytes")
            body = b"".join(parts)
        self._settle()
        return Response(head.status, head.headers, body)

    def open(self, request: Request) -> Head:
        """Ask, and wait for the answer's head only; `stream` gives its body."""
        fresh = self._socket is None
        try:
            return self._ask(request)
        except TimeoutError as fault:
            self.close()
            raise Unreachable(str(self.endpoint), "no answer in time") from fault
        except (OSError, HttpFault) as fault:
            self.close()
            if fresh:
                raise self._broken(fault) from fault
        return self._again(request)  # A kept connection may have been closed meanwhile, by a restart or an idle limit.

    def _again(self, request: Request) -> Head:
        try:
            return self._ask(request)
        except (OSError, HttpFault) as fault:
            self.close()
            raise self._broken(fault) from fault

    def _broken(self, fault: Exception) -> HttpFault:
        return HttpFault(f"the connection to {self.endpoint} broke: {fault}")

    def _ask(self, request: Request) -> Head:
        if self._socket is None:
            self._socket = connect(self.endpoint)
            self._parser = Parser()
        self._socket.settimeout(ANSWER_TIMEOUT + request.wait)
        head = render(request, self.endpoint, self.token)
        if len(request.body) <= 65536:
            self._socket.sendall(head + request.body)
        else:
            self._socket.sendall(head)
            self._socket.sendall(request.body)
        parser = self._parser
        parser.start(request.method)
        answer = None
        while answer is None:
            parser.feed(self._socket.recv(262144))
            answer = parser.head()
        return answer

    def stream(self) -> Iterator[bytes]:
        """The rest of the answer that `open` began, in portions as they come."""
        yield self._parser.body()
        yield from self._more()
        self._settle()

    def _more(self) -> Iterator[bytes]:
        assert self._socket is not None
        while not self._parser.done:
            try:
                self._parser.feed(self._socket.recv(262144))
            except OSError as fault:
                self.close()
                raise self._broken(fault) from fault
            yield self._parser.body()

    def _settle(self) -> None:
        if not self._parser.keep:
            self.close()

    def detach(self) -> tuple[socket.socket, bytes]:
        """Hand over the socket of an answer that switched protocols, with what has come in behind its head."""
        assert self._socket is not None
        raw, self._socket = self._socket, None
        return raw, self._parser.rest()

    @property
    def idle(self) -> bool:
        """Whether it is open and holds no half-read answer."""
        return self._socket is not None and self._parser.done

    def close(self) -> None:
        """Close it; the next request opens it again."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def __del__(self) -> None:
        self.close()  # Many hold one for as long as they live, and have no end of their own to close it at.


def connect(endpoint: Endpoint, *, secured: bool = True) -> socket.socket:
    """A socket to a hub, through the proxy that the environment names unless the hub is on this machine.

    Args:
        endpoint: Where the hub listens.
        secured: Whether TLS is spoken already, where the hub wants it; asyncio brings its own.

    Raises:
        Unreachable: With the reason that the system gives.
    """
    try:
        if endpoint.scheme == "unix":
            return _connect_unix(endpoint.path)
        raw = _connect_far(endpoint)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return secure(raw, endpoint.host) if secured and endpoint.scheme == "https" else raw
    except OSError as fault:
        raise Unreachable(str(endpoint), fault.strerror or str(fault)) from fault


def _connect_far(endpoint: Endpoint) -> socket.socket:
    if not endpoint.loopback:
        from greenroom.proxies import connect_through, proxy_of

        proxy = proxy_of(endpoint)
        if proxy is not None:
            return connect_through(proxy, endpoint)
    return socket.create_connection((endpoint.host, endpoint.port), CONNECT_TIMEOUT)


def _connect_unix(path: str) -> socket.socket:
    raw = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    raw.settimeout(CONNECT_TIMEOUT)
    try:
        raw.connect(path)
    except OSError:
        raw.close()
        raise
    return raw


def secure(raw: socket.socket, host: str) -> socket.socket:
    """TLS over a socket, checked against the system's certificates."""
    try:
        return tls_context().wrap_socket(raw, server_hostname=host)
    except OSError:
        raw.close()
        raise


def tls_context() -> ssl.SSLContext:
    """How a hub's certificate is checked; `SSL_CERT_FILE` names a company's own authorities."""
    import ssl

    return ssl.create_default_context(cafile=os.environ.get("SSL_CERT_FILE") or None)
