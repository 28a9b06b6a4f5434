"""Blobs that a container is given to read: the hub's own folder, mounted; what it makes itself is sent to the hub."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from greenroom.blobs import LocalBlobs
from greenroom.copying import Bytes, StrPath
from greenroom.errors import BlobMissing
from greenroom.remote_blobs import HttpBlobs
from greenroom_core.values import Value

if TYPE_CHECKING:
    from pathlib import Path


class MountedBlobs:
    """Reads from a folder, and asks the hub where that has nothing (or may not be read); writes to the hub.

    Args:
        folder: The hub's blobs, read-only.
        remote: The way to the hub.
    """

    def __init__(self, folder: StrPath, remote: HttpBlobs) -> None:
        self._mounted, self._remote = LocalBlobs(folder, durable=False), remote

    def __repr__(self) -> str:
        return f"MountedBlobs({self._mounted.folder!r}, {self._remote!r})"

    def put(self, data: Bytes) -> str:
        """Send bytes, unless the hub has them; answers their sha256."""
        return self._remote.put(data)

    def put_file(self, path: StrPath, *, give: bool = False) -> tuple[str, int]:
        """Send a file's content, unless the hub has it. See `greenroom.blobs.BlobStore.put_file`."""
        return self._remote.put_file(path, give=give)

    def batch(self) -> AbstractContextManager[None]:
        """Let many puts share one question for what the hub lacks."""
        return self._remote.batch()

    def has(self, sha256: str) -> bool:
        """Whether the hub has the blob."""
        return self._mounted.has(sha256) or self._remote.has(sha256)

    def get(self, sha256: str) -> bytes:
        """A blob's bytes."""
        try:
            return self._mounted.get(sha256)
        except (BlobMissing, PermissionError):
            return self._remote.get(sha256)

    def read(self, sha256: str, start: int, stop: int) -> bytes:
        """Bytes `start` to `stop` (not included) of a blob."""
        try:
            return self._mounted.read(sha256, start, stop)
        except (BlobMissing, PermissionError):
            return self._remote.read(sha256, start, stop)

    def path(self, sha256: str) -> Path:
        """A local file with a blob's bytes."""
        try:
            place = self._mounted.path(sha256)
            place.open("rb").close()
        except (BlobMissing, PermissionError):
            return self._remote.path(sha256)
        return place

    def manifest(self, execution: str, node: str, output: str) -> Iterable[Value]:
        """The results of a map, one value an item."""
        return self._remote.manifest(execution, node, output)
