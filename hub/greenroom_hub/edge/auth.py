"""Who may say what: the owner's token, tokens of replicas, and the Host and Origin that a request must have."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

from aiohttp import web


class Role(StrEnum):
    """What a token allows."""

    OWNER = "owner"
    REPLICA = "replica"
    """Being one replica: its conversation, blobs, results that its calls take as inputs. Nothing else."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request."""

    role: Role
    replica: str = ""
    generation: int = 0


class Auth:
    """Checks tokens in constant time; replicas' tokens are derived, so that they outlive a restart of the hub."""

    def __init__(self, token: str) -> None:
        self._token = token
        self._key = hashlib.sha256(b"replica tokens" + token.encode()).digest()

    @classmethod
    def at(cls, path: Path) -> Auth:
        """Read the token file, or make one (mode 0600)."""
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return cls(path.read_text().strip())
        token = secrets.token_urlsafe(32)
        with os.fdopen(descriptor, "w") as file:
            file.write(token + "\n")
        return cls(token)

    def mint(self, replica: str, generation: int) -> str:
        """The token of one replica."""
        return f"replica:{replica}:{generation}:{self._sign(replica, generation)}"

    def _sign(self, replica: str, generation: int) -> str:
        return hmac.digest(self._key, f"{replica}:{generation}".encode(), "sha256").hex()

    def caller(self, header: str | None) -> Caller | None:
        """Who an `Authorization` header speaks for; None if it is missing or wrong."""
        if header is None or not header.startswith("Bearer "):
            return None
        token = header.removeprefix("Bearer ").strip()
        if hmac.compare_digest(token.encode(), self._token.encode()):
            return Caller(Role.OWNER)
        parts = token.split(":")
        if len(parts) == 4 and parts[0] == "replica" and parts[2].isdigit():
            replica, generation = parts[1], int(parts[2])
            if hmac.compare_digest(parts[3], self._sign(replica, generation)):
                return Caller(Role.REPLICA, replica, generation)
        return None


_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def wrong_origin(request: web.Request, host: str) -> str | None:
    """Why a request cannot come from a program of the owner's: a page of another site, or a rebound name."""
    if request.transport is not None and request.transport.get_extra_info("sockname") in ("", None):
        return None
    if isinstance(request.transport.get_extra_info("sockname") if request.transport else "", str):
        return None  # A unix socket: no browser reaches it.
    asked = urlsplit(f"//{request.host}").hostname or ""
    if asked not in _LOOPBACK and asked != host:
        return f"Host {request.host!r} is not this hub's: it listens as {host}"
    origin = request.headers.get("Origin")
    if origin is not None and urlsplit(origin).netloc != request.host:
        return f"Origin {origin!r} is not this hub's"
    return None
