"""A TCP proxy that misbehaves on demand: cuts, delays, swallows, truncates in the middle of a frame."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Proxy:
    """Stands between replicas and a hub."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self.delay = 0.0
        """Seconds that every piece is held back."""
        self.swallows = False
        """Half-open: connections stay, and nothing passes in either direction."""
        self.truncate_after: int | None = None
        """Bytes from the hub's side after which a connection is cut, wherever in a frame that is."""
        self.refuses = False
        """New connections are closed at once."""
        self.connections = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self.refuses:
            writer.close()
            return
        self.swallows = False
        try:
            there, back = await asyncio.open_connection(*self._target)
        except OSError:
            writer.close()
            return
        self._writers |= {writer, back}
        for source, sink, is_down in ((reader, back, False), (there, writer, True)):
            task = asyncio.create_task(self._pump(source, sink, is_down))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, is_down: bool) -> None:
        try:
            while data := await source.read(1 << 16):
                if self.delay:
                    await asyncio.sleep(self.delay)
                if self.swallows:
                    continue
                if is_down and self.truncate_after is not None:
                    passed = data[: self.truncate_after]
                    self.truncate_after -= len(passed)
                    sink.write(passed)
                    if self.truncate_after <= 0:
                        self.truncate_after = None
                        self.cut()
                        return
                    continue
                sink.write(data)
                await sink.drain()
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            if not self.swallows:
                sink.close()

    def cut(self) -> None:
        """Break every connection, without a word."""
        for writer in self._writers:
            transport = writer.transport
            if transport is not None:
                transport.abort()
        self._writers.clear()

    async def close(self) -> None:
        self.cut()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def proxied(url: str) -> AsyncIterator[tuple[Proxy, str]]:
    """A proxy before a hub's address, and its own."""
    host, _, port = url.removeprefix("http://").partition(":")
    proxy = Proxy(host, int(port))
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    try:
        yield proxy, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await proxy.close()
