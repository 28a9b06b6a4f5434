"""Replicas as containers of a Docker engine."""

from __future__ import annotations

import asyncio
import json
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import structlog
from aiodocker import Docker
from aiodocker.containers import DockerContainer
from aiodocker.exceptions import DockerError

from greenroom_hub.core.commands import StartReplica, StopReplica
from greenroom_hub.core.events import Event, LaunchFailed, ReplicaExited
from greenroom_hub.core.ledger import Capacity
from greenroom_hub.launch import docker_words as words
from greenroom_hub.launch.configuration import Handed, Mint
from greenroom_hub.launch.containers import BLOBS, HUB, LINK, Mount, Shape, container_of, name_of, replica_of
from greenroom_hub.launch.contents import Contents
from greenroom_hub.launch.images import Images, NoImage, check, choose, not_here
from greenroom_hub.launch.whereabouts import Unshared, paths_of_engine

log = structlog.get_logger("greenroom.docker")

Key = tuple[str, int]
"""A replica and its generation."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
"""Seconds between two attempts to hear an engine that is gone."""

_AT_ONCE: Final = 32
"""Requests that the engine gets side by side."""

_KEPT_WORDS: Final = 200
"""Ended replicas whose last lines are kept."""


@dataclass(frozen=True, slots=True)
class DockerSettings:
    """What the launcher is told."""

    host: str
    """Of the engine: `unix:///path` or `tcp://host:port`."""
    handed: Handed
    """What replicas are handed; `hub` empty to mount the socket, `blobs` None not to mount them."""
    shape: Shape
    images: Images
    link: Path
    """Folder of the socket that containers dial."""
    blobs: Path


@dataclass(slots=True)
class _Home:
    """Where a replica lives."""

    container: DockerContainer | None = None
    """None until the engine has made it."""
    image: str = ""
    started: bool = False
    unwanted: bool = False


class DockerLauncher:
    """Starts containers, hears of their ends, and removes them.

    Args:
        settings: What it is told.
        capacity: What all replicas together may use.
        mint: Makes a token for a replica and its generation.
        post: Puts an event into the hub's inbox.
    """

    name = "docker"

    def __init__(self, settings: DockerSettings, capacity: Capacity, mint: Mint, post: Callable[[Event], None]) -> None:
        self._settings, self._capacity, self._mint, self._post = settings, capacity, mint, post
        self._docker = Docker(url=settings.host)
        self._contents = Contents(self._docker, settings.shape.hub)
        self._homes: dict[Key, _Home] = {}
        self._shared: asyncio.Task[tuple[Shape, Handed]] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._ending: dict[str, asyncio.Task[None]] = {}
        self._said: OrderedDict[Key, str] = OrderedDict()
        self._turns = asyncio.Semaphore(_AT_ONCE)

    def capacity(self) -> Capacity:
        """What all its replicas together can use."""
        return self._capacity

    # Starting -------------------------------------------------------------------------------------------------------

    async def start(self, command: StartReplica) -> None:
        """Make a container for a replica and start it; a failure is posted as `LaunchFailed`."""
        key = (command.replica, command.generation)
        home = self._homes[key] = _Home()
        self._watch()
        why, final = "", False
        try:
            async with self._turns:
                await self._launch(command, home)
        except (NoImage, Unshared) as fault:
            why, final = str(fault), True
        except DockerError as fault:
            why = words.refused(fault.status, fault.message, self._settings.host, home.image)
        except (OSError, TimeoutError) as fault:
            why = words.engine_gone(self._settings.host, str(fault) or type(fault).__name__)
        if why or home.unwanted:
            self._homes.pop(key, None)
            await self._remove(home.container)
            end = LaunchFailed(*key, why, final) if why else ReplicaExited(*key, "it was stopped while it started")
            self._post(end)

    async def _launch(self, command: StartReplica, home: _Home) -> None:
        home.image = await self._image(command, home)
        shape, handed = await self._share()
        token = self._mint(command.replica, command.generation)
        body = container_of(command, shape, handed, home.image, token)
        home.container = await self._docker.containers.create(body, name=name_of(shape, command))
        if not home.unwanted:
            await home.container.start()
            home.started = True
            log.info("container started", replica=command.replica, image=home.image, id=home.container.id[:12])

    async def _image(self, command: StartReplica, home: _Home) -> str:
        """The image of a replica's container, checked against what its environment wants.

        Raises:
            NoImage: It is not here, or lacks something.
        """
        choice = choose(command.environment, self._settings.images)
        home.image = choice.image
        try:
            found = await self._docker.images.inspect(choice.image)
        except DockerError as fault:
            if fault.status == 404:
                raise NoImage(command.environment.name, not_here(command.environment, choice)) from fault
            raise
        if choice.wants:
            have = await self._contents.of(str(found["Id"]))
            check(command.environment, choice, have)
        return choice.image

    async def _share(self) -> tuple[Shape, Handed]:
        """What containers are given of the hub's folders, by the paths that the engine knows them by."""
        if self._shared is None or (self._shared.done() and self._shared.exception() is not None):
            self._shared = asyncio.get_running_loop().create_task(self._find_shared(), name="docker mounts")
        return await asyncio.shield(self._shared)

    async def _find_shared(self) -> tuple[Shape, Handed]:
        settings = self._settings
        wanted = []
        if not settings.handed.hub:
            wanted.append((settings.link, LINK))
        if settings.handed.blobs is not None:
            wanted.append((settings.blobs, BLOBS))
        places = await paths_of_engine(self._docker, [place for place, _ in wanted])
        mounts = [Mount(place, target, True) for place, (_, target) in zip(places, wanted, strict=True)]
        shape = replace(settings.shape, mounts=(*mounts, *settings.shape.mounts))
        hub = settings.handed.hub or f"unix://{LINK}/hub.sock"
        blobs = BLOBS if settings.handed.blobs is not None else None
        return shape, replace(settings.handed, hub=hub, blobs=blobs, blobs_writable=False)

    # Ending ---------------------------------------------------------------------------------------------------------

    async def stop(self, command: StopReplica) -> None:
        """Kill a replica's container; its end is posted when the engine tells it."""
        home = self._homes.get((command.replica, command.generation))
        if home is None:
            return
        home.unwanted = True
        if home.started and home.container is not None:
            try:
                await home.container.kill()
            except (DockerError, OSError) as fault:
                log.warning("a container cannot be killed", replica=command.replica, why=str(fault))

    async def close(self, keep: bool) -> None:
        """Leave containers to the next hub, or remove every one of this hub's."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        await asyncio.gather(*self._ending.values(), return_exceptions=True)
        try:
            if not keep:
                await asyncio.gather(*(self._remove(one) for one in await self._ours()))
        except (DockerError, OSError) as fault:
            log.warning("containers may be left", why=str(fault))
        finally:
            await self._docker.close()

    async def _remove(self, container: DockerContainer | None) -> None:
        if container is None:
            return
        try:
            async with self._turns:
                await container.delete(force=True, v=True)
        except (DockerError, OSError) as fault:
            if getattr(fault, "status", 0) not in (404, 409):  # Gone, or going.
                log.warning("a container cannot be removed", id=container.id[:12], why=str(fault))

    # Watching -------------------------------------------------------------------------------------------------------

    async def adopt(self) -> list[Key]:
        """Containers that an earlier hub left and that still run; those that have ended are removed."""
        try:
            await self._reconcile()
        except (DockerError, OSError) as fault:
            log.warning("no Docker engine answers yet", host=self._settings.host, why=str(fault))
        self._watch()
        return list(self._homes)

    def _watch(self) -> None:
        if self._watching is None:
            self._watching = asyncio.get_running_loop().create_task(self._hear(), name="docker events")

    async def _hear(self) -> None:
        """Hear of containers' ends for as long as the hub lives, through the engine's own restarts."""
        pause = _FIRST_PAUSE
        while True:
            stream: Any = self._docker.events
            heard = stream.subscribe(create_task=False)
            ours = f"{HUB}={self._settings.shape.hub}"
            filters = json.dumps({"type": ["container"], "event": ["die"], "label": [ours]})
            work = stream.run(filters=filters, since=str(int(time.time())))
            telling = asyncio.get_running_loop().create_task(work, name="docker events stream")
            try:
                await self._reconcile()  # What ended while nobody listened.
                pause = _FIRST_PAUSE
                while (event := await heard.get()) is not None:
                    self._died(event["Actor"])
                log.warning("the Docker engine has hung up", host=self._settings.host)
            except (DockerError, OSError) as fault:
                log.warning("the Docker engine does not answer", host=self._settings.host, why=str(fault))
            finally:
                telling.cancel()
                await asyncio.gather(telling, return_exceptions=True)
            await asyncio.sleep(pause)
            pause = min(_LONGEST_PAUSE, 2 * pause)

    async def _ours(self) -> list[DockerContainer]:
        filters = json.dumps({"label": [f"{HUB}={self._settings.shape.hub}"]})
        return await self._docker.containers.list(all=True, filters=filters)

    async def _reconcile(self) -> None:
        """Make what is known of containers what the engine knows."""
        seen: set[Key] = set()
        for container in await self._ours():
            key = replica_of(container["Labels"] or {})
            if key is None:
                continue
            seen.add(key)
            home = self._homes.get(key)
            if home is None:
                home = self._homes[key] = _Home(container, started=True)
            if home.started and container["State"] not in ("running", "paused", "restarting"):
                self._end(key)
        for key, home in list(self._homes.items()):
            if home.started and key not in seen:
                self._end(key)

    def _died(self, actor: dict[str, Any]) -> None:
        key = replica_of(actor.get("Attributes") or {})
        if key is not None and key in self._homes:
            self._end(key)

    def _end(self, key: Key) -> None:
        """A container has ended: say why, and remove it; once."""
        home = self._homes.pop(key)
        name = f"end of {key[0]}.{key[1]}"
        task = asyncio.get_running_loop().create_task(self._tell_end(key, home), name=name)
        self._ending[name] = task
        task.add_done_callback(lambda _: self._ending.pop(name, None))

    async def _tell_end(self, key: Key, home: _Home) -> None:
        reason = "its container is gone"
        try:
            if home.container is not None:
                told = await home.container.show()
                text = await self._tail(home.container)
                self._remember(key, text)
                reason = words.exit_words(told, text)
        except (DockerError, OSError, KeyError) as fault:
            log.info("a container's end is not known", replica=key[0], why=str(fault))
        self._post(ReplicaExited(*key, "it was stopped" if home.unwanted else reason))
        await self._remove(home.container)

    # Words ----------------------------------------------------------------------------------------------------------

    async def _tail(self, container: DockerContainer) -> str:
        return "".join(await container.log(stdout=True, stderr=True, tail=100))

    def _remember(self, key: Key, text: str) -> None:
        self._said[key] = text
        while len(self._said) > _KEPT_WORDS:
            self._said.popitem(last=False)

    async def logs(self, replica: str, generation: int) -> str | None:
        """The last lines that a replica's own processes wrote; None for one that is not known here."""
        key = (replica, generation)
        home = self._homes.get(key)
        if home is None or home.container is None:
            return self._said.get(key)
        try:
            return await self._tail(home.container)
        except (DockerError, OSError):
            return self._said.get(key)
