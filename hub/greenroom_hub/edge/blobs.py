"""Blobs over HTTP: for clients and replicas that do not share the hub's disk."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from pathlib import Path

from aiohttp import web

from greenroom_core.values import pack, unpack
from greenroom_hub.edge.errors import ApiError

_SHA256 = re.compile(r"[0-9a-f]{64}")


class Blobs:
    """One folder of files, named by the sha256 of their bytes: `ab/abcdef...`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._uploads = folder / "uploads"
        self._uploads.mkdir(parents=True, exist_ok=True, mode=0o700)

    def path(self, sha256: str) -> Path:
        """Where a blob lies, or would.

        Raises:
            ApiError: The name is no sha256.
        """
        if not _SHA256.fullmatch(sha256):
            raise ApiError("bad_request", f"{sha256[:80]!r} is no sha256: 64 hex digits in lower case")
        return self._folder / sha256[:2] / sha256

    async def missing(self, request: web.Request) -> web.Response:
        """Which of these blobs the hub lacks."""
        try:
            asked = unpack(await request.read())
            names = [str(name) for name in asked]
        except (ValueError, TypeError) as fault:
            raise ApiError("bad_request", f"expected a list of sha256 names: {fault}") from fault
        lacking = [name for name in names if not _wanted(self.path(name))]
        return web.Response(body=pack(lacking), content_type="application/msgpack")

    async def get(self, request: web.Request) -> web.StreamResponse:
        """A blob's bytes, or a range of them."""
        path = self.path(request.match_info["sha256"])
        if not path.exists():
            raise ApiError("not_found", f"blob {path.name} is not here")
        return web.FileResponse(path, headers={"Content-Type": "application/octet-stream"})

    async def put(self, request: web.Request) -> web.Response:
        """Store a blob: streamed to disk, checked, then put in place in one step."""
        path = self.path(request.match_info["sha256"])
        if _wanted(path):
            await request.release()
            return web.Response(status=204)
        descriptor, name = tempfile.mkstemp(dir=self._uploads)
        try:
            state = hashlib.sha256()
            with os.fdopen(descriptor, "wb") as file:
                async for part in request.content.iter_chunked(1 << 18):
                    state.update(part)
                    file.write(part)
                file.flush()
                os.fsync(file.fileno())
            if state.hexdigest() != path.name:
                raise ApiError("invalid", f"the bytes are those of {state.hexdigest()}, not of {path.name}")
            path.parent.mkdir(exist_ok=True)
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        return web.Response(status=201)


def _wanted(path: Path) -> bool:
    """Whether a blob is here; says that somebody wants it, so that no cleaning takes it for old."""
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    return True
