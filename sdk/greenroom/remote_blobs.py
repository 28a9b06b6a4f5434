"""Blobs behind the hub's API, with a folder of this host as cache."""

from __future__ import annotations

import contextlib
import mmap
import os
import struct
import time
from _thread import _local
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

from greenroom.blobs import LocalBlobs, Manifests
from greenroom.copying import Bytes, StrPath
from greenroom.errors import BlobDamaged, BlobMissing, TransferFailed
from greenroom_core.values import Value, pack, unpack

if TYPE_CHECKING:
    from pathlib import Path

    from greenroom.blobs import Received
    from greenroom.http import Connection, Response

_ASK_FIRST: Final = 256 * 1024
"""Bytes from which it pays to ask whether the hub has a blob before it is sent."""

_MANY: Final = 8
"""Connections that send a batch: a hub that is milliseconds away answers so many at once."""

_FIRST_PAUSE: Final = 0.2
"""Seconds, about, before a request is tried again; doubled each time."""

_ITEMS: Final = 10_000
"""Results of a map that are asked for at once."""


class HttpBlobs:
    """Blobs at a hub: sent once, fetched once, checked against their names, resumed where a transfer broke off."""

    def __init__(
        self,
        url: str,
        token: str,
        cache_folder: StrPath,
        *,
        cache_limit: int = 20 << 30,
        attempts: int = 6,
        manifests: Manifests | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Reach the hub at `url` (`http://`, `https://` or `unix:///path`).

        Args:
            url: The hub's address, without `/api`.
            token: Sent as bearer token.
            cache_folder: Where fetched and sent blobs are kept on this host.
            cache_limit: Bytes that the cache may hold; the longest unwanted blobs go first.
            attempts: Times that a request is tried before it counts as failed: with the pauses between, about 6 s.
            manifests: How a map's results are read; by the hub's API unless given.
            sleep: Waits between attempts.
        """
        from greenroom.http import Endpoint

        self.url = url
        self._endpoint, self._token = Endpoint.parse(url), token
        self.cache = LocalBlobs(cache_folder, durable=False)
        self._cache_limit, self._added = cache_limit, 0
        self._attempts, self._sleep = attempts, sleep
        self._manifests = manifests
        self._mine: Any = _local()

    def __repr__(self) -> str:
        return f"HttpBlobs({self.url!r})"

    # Writing

    def put(self, data: Bytes) -> str:
        """Send bytes, unless the hub has them; answers their sha256."""
        sha256 = self.cache.put(data)
        self._offer(sha256, len(data))
        return sha256

    def put_file(self, path: StrPath, *, give: bool = False) -> tuple[str, int]:
        """Send a file's content, unless the hub has it. See `BlobStore.put_file`."""
        sha256, size = self.cache.put_file(path, give=give)
        self._offer(sha256, size)
        return sha256, size

    def _offer(self, sha256: str, size: int) -> None:
        pending: dict[str, int] | None = getattr(self._mine, "pending", None)
        if pending is not None:
            pending[sha256] = size
        elif size < _ASK_FIRST or not self.has(sha256):
            self._send(sha256)
        self._keep_house(size)

    @contextlib.contextmanager
    def batch(self) -> Iterator[None]:
        """Let many puts of this thread share one question for what the hub lacks, and several connections."""
        if getattr(self._mine, "pending", None) is not None:
            yield
            return
        pending: dict[str, int] = {}
        self._mine.pending = pending
        try:
            yield
        finally:
            self._mine.pending = None
        self._send_all(self._missing(list(pending)))

    def _missing(self, names: list[str]) -> list[str]:
        if len(names) < 2:
            return names
        answer = self._ask("POST", "/api/blobs/missing", pack(names))
        missing: list[str] = unpack(answer.body)
        return missing

    def _send_all(self, names: list[str]) -> None:
        if len(names) < 2:
            for name in names:
                self._send(name)
            return
        from concurrent.futures import ThreadPoolExecutor

        opened: list[Connection] = []
        count = min(_MANY, len(names))
        with ThreadPoolExecutor(count, "greenroom-blobs", lambda: opened.append(self._connection())) as pool:
            try:
                for _ in pool.map(self._send, names):
                    pass
            finally:
                pool.shutdown(cancel_futures=True)
                for connection in opened:
                    connection.close()

    def _send(self, sha256: str) -> None:
        with open(self.cache.path(sha256), "rb") as file:
            if not os.fstat(file.fileno()).st_size:
                self._ask("PUT", f"/api/blobs/{sha256}", b"")
                return
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped, memoryview(mapped) as body:
                self._ask("PUT", f"/api/blobs/{sha256}", body)

    # Reading

    def has(self, sha256: str) -> bool:
        """Whether the hub has the blob."""
        answer = self._ask("HEAD", f"/api/blobs/{sha256}", accept=(404,))
        return answer.status != 404

    def get(self, sha256: str) -> bytes:
        """A blob's bytes.

        Raises:
            BlobMissing: The hub does not have it.
            BlobDamaged: What the hub sends is something else.
            TransferFailed: The hub cannot be reached, or refuses.
        """
        try:
            return self.cache.get(sha256)
        except BlobMissing:
            self._fetch(sha256)
            return self.cache.get(sha256)

    def path(self, sha256: str) -> Path:
        """A local file with a blob's bytes, fetched first if need be. Raises what `get` raises."""
        if not self.cache.has(sha256):
            self._fetch(sha256)
        return self.cache.path(sha256)

    def read(self, sha256: str, start: int, stop: int) -> bytes:
        """Bytes `start` to `stop` (not included) of a blob, without fetching the rest of it."""
        if self.cache.has(sha256):
            return self.cache.read(sha256, start, stop)
        if start >= stop:
            return b""
        headers = (("Range", f"bytes={start}-{stop - 1}"),)
        answer = self._ask("GET", f"/api/blobs/{sha256}", headers=headers, accept=(404, 416))
        if answer.status == 404:
            raise BlobMissing(sha256, repr(self))
        if answer.status == 416:
            return b""
        return answer.body if answer.status == 206 else answer.body[start:stop]

    def _fetch(self, sha256: str) -> None:
        """Bring a blob into the cache; a transfer that breaks off goes on where it stopped."""
        with self.cache.receive() as received:
            answer = self._persist(f"/api/blobs/{sha256}", lambda: self._receive(sha256, received), (404,))
            if answer is not None:
                raise BlobMissing(sha256, repr(self))
            if received.sha256 != sha256:
                raise BlobDamaged(sha256, received.sha256, repr(self))
            received.keep()
        self._keep_house(received.size)

    def _receive(self, sha256: str, received: Received) -> Response | None:
        from greenroom.http import Request, Response

        headers = (("Range", f"bytes={received.size}-"),) if received.size else ()
        connection = self._connection()
        head = connection.open(Request("GET", f"/api/blobs/{sha256}", headers=headers))
        if head.status not in (200, 206):
            return Response(head.status, head.headers, b"".join(connection.stream()))
        if head.status == 200:
            received.restart()
        for part in connection.stream():
            received.write(part)
        return None

    def manifest(self, execution: str, node: str, output: str) -> Iterable[Value]:
        """The results of a map, one value an item, read in portions; a failed item's is null."""
        if self._manifests is not None:
            return self._manifests(execution, node, output)
        return self._items(f"/api/executions/{execution}/nodes/{node}/outputs/{output}")

    def _items(self, path: str) -> Iterator[Value]:
        start = 0
        while True:
            first = start
            for _, ends, payload in unpack(self._ask("GET", f"{path}?start={start}&count={_ITEMS}").body):
                begin = 0
                for (end,) in struct.iter_unpack("<I", ends):
                    yield payload[begin:end]
                    begin, start = end, start + 1
            if start - first < _ITEMS:
                return

    # The connection

    def _ask(
        self,
        method: str,
        path: str,
        body: bytes | memoryview = b"",
        *,
        headers: tuple[tuple[str, str], ...] = (),
        accept: tuple[int, ...] = (),
    ) -> Response:
        from greenroom.http import MSGPACK, Request

        kind = MSGPACK if method == "POST" else "application/octet-stream"
        request = Request(method, path, body, kind, headers)
        answer = self._persist(path, lambda: self._connection().request(request), accept)
        assert answer is not None
        return answer

    def _persist(
        self, path: str, attempt: Callable[[], Response | None], accept: tuple[int, ...] = ()
    ) -> Response | None:
        """Try until the hub says something that counts: every request here may be repeated."""
        from greenroom.hub_errors import HubError

        reason = ""
        for number in range(self._attempts):
            if number:
                self._sleep(_FIRST_PAUSE * 2 ** (number - 1) * (0.5 + os.urandom(1)[0] / 255))
            try:
                answer = attempt()
            except HubError as fault:
                reason = str(fault)
                continue
            if answer is None or answer.status < 300 or answer.status in accept:
                return answer
            reason = f"the hub answers {answer.status}{_told(answer)}"
            if answer.status < 500 and answer.status not in (408, 429):
                raise TransferFailed(self.url + path, reason)
        raise TransferFailed(self.url + path, f"{reason} ({self._attempts} attempts)")

    def _connection(self) -> Connection:
        """This thread's connection; a forked child opens its own, or two processes would read each other's answers."""
        from greenroom.http import Connection

        if getattr(self._mine, "pid", None) != os.getpid():
            self._mine.pid, self._mine.connection = os.getpid(), Connection(self._endpoint, self._token)
        connection: Connection = self._mine.connection
        return connection

    def close(self) -> None:
        """Close this thread's connection; the next request opens it again."""
        self._connection().close()

    def _keep_house(self, added: int) -> None:
        self._added += added
        if self._added > self._cache_limit // 10:
            self._added = 0
            self.cache.trim(self._cache_limit, spare_since=time.time() - 60)


def _told(answer: Response) -> str:
    """The hub's own sentence about a refusal, if it gave one."""
    import json

    try:
        message = json.loads(answer.body).get("message")
    except (ValueError, AttributeError):
        message = None
    return f": {message}" if message else ""
