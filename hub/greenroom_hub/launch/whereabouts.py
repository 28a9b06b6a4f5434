"""A hub in a container asks its engine for containers beside it: folders of its own have other names out there."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from aiodocker import Docker
from aiodocker.exceptions import DockerError


class Unshared(RuntimeError):
    """A folder that only the hub's own container has, so that no other can be given it."""

    def __init__(self, place: str) -> None:
        super().__init__(place)
        self.place = place

    def __str__(self) -> str:
        return (
            f"the hub runs in a container, and {self.place} lies in none of its volumes: start it with -v "
            "greenroom:/var/lib/greenroom, or have replicas dial it by --docker-hub URL"
        )


async def paths_of_engine(docker: Docker, places: Sequence[Path]) -> list[str]:
    """Folders of this process as the engine's machine calls them.

    Raises:
        Unshared: This is a container, and a folder lies on nothing that was mounted into it.
    """
    mounts = await _own_mounts(docker)
    return [str(place) if mounts is None else _outside(place, mounts) for place in places]


async def _own_mounts(docker: Docker) -> list[Mapping[str, Any]] | None:
    """What is mounted into the container that this is; None if it is none of this engine's."""
    if not Path("/.dockerenv").exists():
        return None
    try:
        container = await docker.containers.get(socket.gethostname())
    except DockerError as fault:
        if fault.status == 404:
            return None
        raise
    mounts: list[Mapping[str, Any]] = container["Mounts"]
    return mounts


def _outside(place: Path, mounts: Sequence[Mapping[str, Any]]) -> str:
    inside = PurePosixPath(place)
    best: tuple[int, str] | None = None
    for mount in mounts:
        target = PurePosixPath(str(mount["Destination"]))
        if inside == target or target in inside.parents:
            rest = inside.relative_to(target)
            found = str(PurePosixPath(str(mount["Source"])) / rest)
            if best is None or len(target.parts) > best[0]:
                best = (len(target.parts), found)
    if best is None:
        raise Unshared(str(place))
    return best[1]
