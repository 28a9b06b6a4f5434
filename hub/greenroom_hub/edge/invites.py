"""Who was invited to this hub: a name, a role, the digest of a token. The token itself is shown once, and not kept."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from greenroom_protocol.ids import NAME


class Role(StrEnum):
    """What a token allows."""

    OWNER = "owner"
    SUBMIT = "submit"
    """To run, cancel and read executions; not to stop the hub, nor to invite others."""
    READ = "read"
    """To look."""
    REPLICA = "replica"
    """To be one replica: its conversation, blobs, results that its calls take as inputs. Nothing else."""


INVITED = (Role.READ, Role.SUBMIT, Role.REPLICA)


class BadInvite(ValueError):
    """An invitation that cannot be made."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True, slots=True)
class Invite:
    """One that holds."""

    name: str
    role: Role
    digest: str
    """sha256 of the token, hex."""
    environment: str = ""
    """For replicas: the one environment that they may serve."""
    project: str = ""
    """For replicas: empty for the environment of that name in any project."""
    created: float = 0.0
    """Seconds since the epoch."""


class Invites:
    """All that hold, in one small file (mode 0600)."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._by_digest: dict[str, Invite] = {}
        for raw in _read(path):
            self._by_digest[raw["digest"]] = Invite(**{**raw, "role": Role(raw["role"])})

    def __iter__(self) -> Iterator[Invite]:
        return iter(sorted(self._by_digest.values(), key=lambda invite: invite.name))

    def find(self, token: str) -> Invite | None:
        """The invitation that a token belongs to."""
        return self._by_digest.get(_digest(token))

    def add(self, name: str, role: str, environment: str = "", project: str = "") -> str:
        """Invite somebody; the token, which is told to nobody again.

        Raises:
            BadInvite: The name is taken or none, the role is none, or a replica's environment is missing.
        """
        if not NAME.fullmatch(name) or len(name) > 63:
            raise BadInvite(f"name {name!r}: use a-z, 0-9, '-' and '.', at most 63")
        if any(invite.name == name for invite in self):
            raise BadInvite(f"{name!r} is invited already; greenroom hub revoke {name} ends that")
        if role not in INVITED:
            raise BadInvite(f"role {role!r}: one of {', '.join(INVITED)}")
        if (role == Role.REPLICA) != bool(environment):
            told = "needs the environment that it may serve" if role == Role.REPLICA else "has no environment"
            raise BadInvite(f"role {role} {told}")
        token = f"gr-{secrets.token_urlsafe(32)}"
        invite = Invite(name, Role(role), _digest(token), environment, project, time.time())
        self._by_digest[invite.digest] = invite
        self._write()
        return token

    def revoke(self, name: str) -> Invite | None:
        """End an invitation; None if there is none of that name."""
        found = next((invite for invite in self if invite.name == name), None)
        if found is not None:
            del self._by_digest[found.digest]
            self._write()
        return found

    def _write(self) -> None:
        fresh = self._path.with_suffix(".new")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump([asdict(invite) for invite in self], file, indent=1)
            file.flush()
            os.fsync(file.fileno())  # A revoked token must not come back with a crash.
        fresh.replace(self._path)


def _read(path: Path) -> list[dict[str, Any]]:
    try:
        found: list[dict[str, Any]] = json.loads(path.read_text())
    except FileNotFoundError:
        return []
    return found


def _digest(token: str) -> str:
    return hashlib.sha256(b"invite" + token.encode("utf-8", "replace")).hexdigest()
