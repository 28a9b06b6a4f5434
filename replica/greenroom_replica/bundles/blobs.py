"""Where a replica's code lies: blobs, which are files named by the sha256 of what they hold."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Protocol

from greenroom_replica.bundles.errors import BlobMissing


class Blobs(Protocol):
    """Where bytes are had by their hash."""

    def open_blob(self, digest: str) -> bytes:
        """The bytes of a blob."""

    def blob_path(self, digest: str) -> Path:
        """A file that holds them."""


class LocalBlobs:
    """Blobs in a folder of this host: `ab/abcdef...`. Several processes may add to it at once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def blob_path(self, digest: str) -> Path:
        """Where a blob lies, or would."""
        return self._folder / digest[:2] / digest

    def has(self, digest: str) -> bool:
        """Whether it is here."""
        return self.blob_path(digest).exists()

    def open_blob(self, digest: str) -> bytes:
        """The bytes of a blob.

        Raises:
            BlobMissing: It is not here, or is not what its name says.
        """
        try:
            with open(f"{self._folder}/{digest[:2]}/{digest}", "rb", buffering=0) as file:
                content = file.read()
        except OSError as fault:
            raise BlobMissing(digest, "is not on this replica") from fault
        if hashlib.sha256(content).hexdigest() != digest:
            raise BlobMissing(digest, "is damaged on this replica's disk")
        return content

    def put(self, content: bytes) -> str:
        """Add a blob and return its name."""
        digest = hashlib.sha256(content).hexdigest()
        path = self.blob_path(digest)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            spare = path.with_name(f"{digest}.{os.getpid()}")
            spare.write_bytes(content)
            spare.replace(path)
        return digest
