"""Hubs by name: what `greenroom login` and `greenroom use` keep, for this user alone, in one small file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from greenroom.hub_errors import HubError, NoSuchHub

LOCAL: Final = "local"
"""The hub of this user on this host; always there."""

EPHEMERAL: Final = "ephemeral"
"""A hub that starts and ends with the command."""


class UnreadableProfiles(HubError):
    """The file of profiles was damaged by hand."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        return f"{self.path} cannot be read ({self.reason}): repair it, or remove it and log in again"


class Profile(NamedTuple):
    """One hub that this user logged in to."""

    name: str
    url: str
    token: str


class Profiles(NamedTuple):
    """All of them, and the one in use."""

    hubs: Mapping[str, Profile]
    current: str = LOCAL

    def get(self, name: str) -> Profile:
        """The profile called `name`.

        Raises:
            NoSuchHub: There is none.
        """
        try:
            return self.hubs[name]
        except KeyError:
            raise NoSuchHub(name, sorted(self.hubs)) from None

    def token_for(self, url: str) -> str:
        """The token of the profile with this address; empty if none has it."""
        wanted = url.rstrip("/")
        return next((profile.token for profile in self.hubs.values() if profile.url == wanted), "")

    def with_hub(self, profile: Profile) -> Profiles:
        """These, with one more or one replaced."""
        return self._replace(hubs={**self.hubs, profile.name: profile})

    def using(self, name: str) -> Profiles:
        """These, with another one in use.

        Raises:
            NoSuchHub: There is none of that name.
        """
        if name != LOCAL:
            self.get(name)
        return self._replace(current=name)


def profiles_file() -> str:
    """Where they are kept: `$XDG_CONFIG_HOME/greenroom/hubs.json`, else below `~/.config`."""
    base = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return os.path.join(base, "greenroom", "hubs.json")


def load_profiles(path: str | None = None) -> Profiles:
    """Read them; none yet is no error.

    Raises:
        UnreadableProfiles: The file is there and is not what `save_profiles` writes.
    """
    path = path or profiles_file()
    try:
        with open(path, "rb") as file:
            raw: Any = json.loads(file.read())
        hubs = {
            str(name): Profile(str(name), str(hub["url"]), str(hub.get("token", "")))
            for name, hub in raw["hubs"].items()
        }
        return Profiles(hubs, str(raw.get("current", LOCAL)))
    except FileNotFoundError:
        return Profiles({})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as fault:
        raise UnreadableProfiles(path, f"{type(fault).__name__}: {fault}") from fault


def save_profiles(profiles: Profiles, path: str | None = None) -> None:
    """Write them, readable for this user alone, in one step."""
    path = path or profiles_file()
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    hubs = {name: {"url": hub.url, "token": hub.token} for name, hub in profiles.hubs.items()}
    body = json.dumps({"current": profiles.current, "hubs": hubs}, indent=2) + "\n"
    part = f"{path}.{os.getpid()}"
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(body)
    os.replace(part, path)
