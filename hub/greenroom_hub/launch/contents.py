"""What is installed in a local image: asked of the image itself, once for each."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any, Final

from aiodocker import Docker
from aiodocker.exceptions import DockerError

from greenroom_core.requirements import normalised
from greenroom_hub.launch.containers import HUB

_ASK: Final = (
    "import json,sys;from importlib.metadata import distributions;"
    "print(json.dumps({d.metadata['Name']:d.version for d in distributions() if d.metadata['Name']}))"
)
_PATIENCE_S: Final = 60.0


class Contents:
    """Distributions by image; kept by the image's id, so that a rebuilt one is asked again."""

    def __init__(self, docker: Docker, hub: str) -> None:
        self._docker, self._hub = docker, hub
        self._known: dict[str, asyncio.Task[Mapping[str, str]]] = {}

    async def of(self, image_id: str) -> Mapping[str, str]:
        """Distributions in an image: normalised name to version.

        Raises:
            DockerError: It cannot be asked.
        """
        task = self._known.get(image_id)
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            work = self._ask(image_id)
            task = self._known[image_id] = asyncio.get_running_loop().create_task(work, name=f"contents of {image_id}")
        return await asyncio.shield(task)

    async def _ask(self, image_id: str) -> Mapping[str, str]:
        body: dict[str, Any] = {
            "Image": image_id,
            "Entrypoint": ["python3", "-c", _ASK],
            "Cmd": [],
            "Labels": {HUB: self._hub},
            "HostConfig": {"NetworkMode": "none", "CapDrop": ["ALL"], "SecurityOpt": ["no-new-privileges:true"]},
        }
        container = await self._docker.containers.create(body)
        try:
            await container.start()
            async with asyncio.timeout(_PATIENCE_S):
                await container.wait()
            told = "".join(await container.log(stdout=True))
        except TimeoutError:
            raise DockerError(0, f"image {image_id} does not answer within {_PATIENCE_S:g} s") from None
        finally:
            await container.delete(force=True, v=True)
        try:
            return {normalised(name): str(version) for name, version in json.loads(told).items()}
        except ValueError:
            raise DockerError(0, f"image {image_id} cannot say what is installed in it: {told[-200:]}") from None
