"""Who may say what: the owner's token, invited ones, tokens of replicas; and the Host and Origin of a request."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import os
import secrets
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from aiohttp import web

from greenroom_hub.edge.invites import Invites, Role


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request."""

    role: Role
    name: str = ""
    """Of who was invited; empty for the owner and for replicas that a launcher started."""
    replica: str = ""
    """For a replica that a launcher started: its id."""
    generation: int = 0
    environment: str = ""
    """For a replica that was invited: the only one that it may serve."""
    project: str = ""


CALLER: web.RequestKey[Caller] = web.RequestKey("caller", Caller)


class Auth:
    """Checks tokens in constant time; replicas' tokens are derived, so that they outlive a restart of the hub."""

    def __init__(self, token: str, invites: Invites) -> None:
        self._token = token
        self._key = hashlib.sha256(b"replica tokens" + token.encode()).digest()
        self.invites = invites

    @classmethod
    def at(cls, folder: Path) -> Auth:
        """Read the token file of a state folder, or make one (mode 0600)."""
        invites = Invites(folder / "invites.json")
        path = folder / "token"
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return cls(path.read_text().strip(), invites)
        token = secrets.token_urlsafe(32)
        with os.fdopen(descriptor, "w") as file:
            file.write(token + "\n")
        return cls(token, invites)

    @property
    def identity(self) -> str:
        """Names this hub among others, also after a restart; tells nothing of its token."""
        return hashlib.sha256(b"identity" + self._token.encode()).hexdigest()[:16]

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
        invite = self.invites.find(token)
        if invite is not None:
            return Caller(invite.role, invite.name, environment=invite.environment, project=invite.project)
        parts = token.split(":")
        if len(parts) == 4 and parts[0] == "replica" and parts[2].isdigit():
            replica, generation = parts[1], int(parts[2])
            if hmac.compare_digest(parts[3].encode(), self._sign(replica, generation).encode()):
                return Caller(Role.REPLICA, replica=replica, generation=generation)
        return None


def forbidden(caller: Caller, method: str, path: str) -> str | None:
    """Why a caller may not do this; None if it may."""
    if caller.role is Role.OWNER:
        return None
    if caller.role is Role.REPLICA:
        return None if _for_replicas(method, path) else f"a replica's token does not allow {method} {path}"
    if path.startswith("/api/invites") or path in ("/api/hub/stop", "/api/clean"):
        return f"{caller.name} has role {caller.role}: only the hub's owner may do this"
    if caller.role is Role.READ and method not in ("GET", "HEAD"):
        return f"{caller.name} has role read, which does not allow {method} {path}: ask for role submit"
    return None


def _for_replicas(method: str, path: str) -> bool:
    if path in ("/api/replica", "/api/me") or path.startswith("/api/blobs/"):
        return True
    if not path.startswith("/api/executions/"):
        return False
    return path.endswith("/checkpoint") or (method == "GET" and "/outputs/" in path)


_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class Names:
    """The names by which requests may call this hub. Any other one is a page's that had its name point here.

    Args:
        host: Where the hub listens.
        more: Names that its operator gave it, such as that of a proxy in front.
    """

    def __init__(self, host: str, more: Iterable[str] = ()) -> None:
        self._host = host
        self._names = {*_LOOPBACK, host, *(name.lower() for name in more)}
        self._far = host not in _LOOPBACK
        if self._far:
            self._names |= {socket.gethostname().lower(), socket.getfqdn().lower()}

    def knows(self, asked: str) -> bool:
        """Whether the hub goes by this name; a number is nobody's name, so that no page can have it point here."""
        return asked in self._names or (self._far and _is_number(asked))

    def refusal(self, request: web.Request) -> str | None:
        """Why a request cannot come from a program of the owner's: a page of another site, or a rebound name."""
        if request.transport is not None and request.transport.get_extra_info("sockname") in ("", None):
            return None
        if isinstance(request.transport.get_extra_info("sockname") if request.transport else "", str):
            return None  # A unix socket: no browser reaches it.
        asked = (urlsplit(f"//{request.host}").hostname or "").lower()
        if not self.knows(asked):
            return f"Host {request.host!r} is not this hub's: it listens as {self._host}; --allow-host {asked} adds it"
        origin = request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc != request.host:
            return f"Origin {origin!r} is not this hub's"
        return None


def _is_number(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
