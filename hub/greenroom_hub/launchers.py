"""The launchers of a hub, made from its settings, and all of them as one."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from greenroom_hub.config import HubConfig
from greenroom_hub.core.events import Event
from greenroom_hub.core.ledger import Capacity
from greenroom_hub.core.pools import EXTERNAL
from greenroom_hub.edge.auth import Auth
from greenroom_hub.edge.replicas import ReplicaLinks
from greenroom_hub.launch.configuration import Handed
from greenroom_hub.launch.containers import Mount, Shape
from greenroom_hub.launch.external import ExternalLauncher
from greenroom_hub.launch.images import Images
from greenroom_hub.launch.process import ProcessLauncher
from greenroom_hub.shell.ports import Launcher

LAUNCHERS = ("process", "docker", EXTERNAL)


class BadLauncher(ValueError):
    """A launcher that cannot be had."""

    def __init__(self, told: str) -> None:
        super().__init__(told)
        self.told = told

    def __str__(self) -> str:
        return self.told


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What launchers need of the hub around them."""

    state: Path
    socket: Path
    """What replicas on this machine dial."""
    link: Path
    """Folder of the socket that containers dial."""
    capacity: Capacity
    auth: Auth
    links: ReplicaLinks
    post: Callable[[Event], None]


class Launchers:
    """All of them; every hub takes replicas that were started by hand."""

    def __init__(self, config: HubConfig, around: Surroundings) -> None:
        made: dict[str, Launcher] = {}
        for name in config.launcher_names:
            if name == "process":
                made[name] = _process(config, around)
            elif name == "docker":
                made[name] = _docker(config, around)
            elif name != EXTERNAL:
                raise BadLauncher(f"no launcher is called {name!r}: {', '.join(LAUNCHERS)}")
        external = ExternalLauncher(around.state / "joined.json", config.grace_s, around.links.hang_up, around.post)
        around.links.on_joined, around.links.on_left = external.joined, external.left
        made[EXTERNAL] = external
        self.by_name: Mapping[str, Launcher] = made

    async def adopt(self) -> list[tuple[str, int]]:
        """Replicas of an earlier hub that still live."""
        found = await asyncio.gather(*(one.adopt() for one in self.by_name.values()))
        return [replica for replicas in found for replica in replicas]

    async def logs(self, replica: str, generation: int) -> str | None:
        """The last lines of a replica's own processes, from whichever launcher knows it."""
        for launcher in self.by_name.values():
            text = await launcher.logs(replica, generation)
            if text is not None:
                return text
        return None

    async def close(self, keep: bool) -> None:
        """Leave replicas to the next hub, or end them all."""
        await asyncio.gather(*(one.close(keep) for one in self.by_name.values()))


def _handed(config: HubConfig) -> Handed:
    timings = {
        "orphan_after": config.orphan_after_s,
        "heartbeat": config.heartbeat_s,
        "started_after": config.started_after_ms / 1000,
        "term_after": config.term_after_s,
        "kill_after": config.kill_after_s,
        "silent_after": min(8.0, config.grace_s * 0.8),
    }
    return Handed("", None, timings=timings, pids_limit=config.pids_limit or None, hide_gpus=not config.local)


def _process(config: HubConfig, around: Surroundings) -> ProcessLauncher:
    handed = replace(_handed(config), hub=f"unix://{around.socket}", blobs=str(around.state / "blobs"))
    return ProcessLauncher(
        handed, around.state, around.capacity, around.auth.mint, around.post, stand_in=not config.local
    )


def _docker(config: HubConfig, around: Surroundings) -> Launcher:
    if find_spec("aiodocker") is None:
        raise BadLauncher("launcher docker needs aiodocker: pip install 'greenroom[hub,docker]'")
    from greenroom_hub.launch.docker import DockerLauncher, DockerSettings

    shape = Shape(
        around.auth.identity,
        config.docker_user or _user(),
        tuple(Mount.read(text) for text in config.mount_texts),
        config.docker_network,
    )
    blobs = around.state / "blobs"
    handed = replace(
        _handed(config),
        hub=config.docker_hub,
        blobs=None if config.docker_hub else str(blobs),
        cgroups=False,
        assign_gpus=False,
    )
    host = config.docker_host or os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
    images = Images.read(config.replica_image, config.images)
    settings = DockerSettings(host, handed, shape, images, around.link, blobs)
    return DockerLauncher(settings, around.capacity, around.auth.mint, around.post)


def _user() -> str:
    """Containers run as the hub's own user; a hub that is root runs them as nobody in particular."""
    return f"{os.getuid()}:{os.getgid()}" if os.getuid() else "65532:65532"
