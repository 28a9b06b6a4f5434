"""The container of a replica as the engine is asked for it. Pure: what is decided here is what the tests hold."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from greenroom_hub.core.commands import StartReplica
from greenroom_hub.launch.configuration import Handed, configuration, pool_of, variables_of

CONFIG_VARIABLE: Final = "GREENROOM_REPLICA_CONFIG"
"""What `python -m greenroom_replica` reads."""

LINK: Final = "/greenroom/link"
"""Folder of the hub's socket inside containers: a folder, since a hub that starts again makes a new socket in it."""

BLOBS: Final = "/greenroom/blobs"
SCRATCH: Final = "/tmp/greenroom"

HUB: Final = "greenroom.hub"
REPLICA: Final = "greenroom.replica"
GENERATION: Final = "greenroom.generation"
"""Labels: whose a container is, and which replica it is. Others are for people."""

_LOGS: Final = {"Type": "json-file", "Config": {"max-size": "1m", "max-file": "2"}}
"""A replica writes a few lines; what calls print goes to the hub."""

_SHARED_MEMORY: Final = 1 << 30
"""Bytes of /dev/shm where no memory limit says less: 64 MiB, the engine's default, is too little for data loaders."""


class BadMount(ValueError):
    """A mount that cannot be read."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return (
            f"mount {self.text!r}: expected /on/this/machine:/in/containers, or VOLUME:/in/containers, and :ro or :rw"
        )


@dataclass(frozen=True, slots=True)
class Mount:
    """A folder or volume that the operator gives to all containers."""

    source: str
    target: str
    read_only: bool = False

    @classmethod
    def read(cls, text: str) -> Mount:
        """Read `SOURCE:TARGET[:ro]`.

        Raises:
            BadMount: It is something else.
        """
        parts = text.split(":")
        mode = parts.pop() if len(parts) == 3 else "rw"
        if len(parts) != 2 or not parts[0] or not parts[1].startswith("/") or mode not in ("ro", "rw"):
            raise BadMount(text)
        return cls(parts[0], parts[1], mode == "ro")

    def told(self) -> dict[str, Any]:
        """As the engine takes it."""
        kind = "bind" if self.source.startswith("/") else "volume"
        return {"Type": kind, "Source": self.source, "Target": self.target, "ReadOnly": self.read_only}


@dataclass(frozen=True, slots=True)
class Shape:
    """What all containers of a hub have in common."""

    hub: str
    """Names the hub in labels: containers of others are left alone."""
    user: str
    """`uid:gid`."""
    mounts: tuple[Mount, ...] = ()
    network: str = ""
    """Empty for the engine's default."""


def name_of(shape: Shape, command: StartReplica) -> str:
    """The container's name, for people who look at `docker ps`."""
    return f"greenroom-{shape.hub[:6]}-{command.replica}-{command.generation:x}"


def labels_of(shape: Shape, command: StartReplica) -> dict[str, str]:
    """What tells whose a container is, also to a hub that was started anew."""
    return {
        HUB: shape.hub,
        REPLICA: command.replica,
        GENERATION: str(command.generation),
        "greenroom.pool": pool_of(command.replica),
        "greenroom.environment": command.environment.name,
        "greenroom.project": command.project,
    }


def container_of(command: StartReplica, shape: Shape, handed: Handed, image: str, token: str) -> dict[str, Any]:
    """The body of the engine's `create`."""
    config = configuration(command, handed, token, f"{SCRATCH}/{command.replica}.{command.generation:x}")
    variables = {
        "HOME": "/tmp",
        "GREENROOM_IMAGE": command.environment.image or image,
        **variables_of(command, handed),
        CONFIG_VARIABLE: json.dumps(config, separators=(",", ":")),
    }
    return {
        "Image": image,
        "Entrypoint": ["python3", "-P", "-m", "greenroom_replica"],
        "Cmd": [],
        "User": shape.user,
        "Env": [f"{name}={value}" for name, value in variables.items()],
        "Labels": labels_of(shape, command),
        "HostConfig": {
            **_limits(command, handed),
            "Mounts": [mount.told() for mount in shape.mounts],
            "NetworkMode": shape.network or "default",
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges:true"],
            "RestartPolicy": {"Name": "no"},
            "LogConfig": _LOGS,
        },
    }


def _limits(command: StartReplica, handed: Handed) -> dict[str, Any]:
    """`limits` are walls; `requests` are what the engine prefers when the machine is short of something."""
    asked, most = command.environment.requests, command.environment.limits
    told: dict[str, Any] = {"ShmSize": min(most.memory or _SHARED_MEMORY, _SHARED_MEMORY)}
    if most.memory:
        told.update(Memory=most.memory, MemorySwap=most.memory)
    if asked.memory and asked.memory <= (most.memory or asked.memory):
        told["MemoryReservation"] = asked.memory
    if most.cpu:
        told["NanoCpus"] = int(most.cpu * 10**9)
    if asked.cpu:
        told["CpuShares"] = max(2, int(asked.cpu * 1024))
    if handed.pids_limit:
        told["PidsLimit"] = handed.pids_limit + _RUNTIME_PIDS
    if command.gpus:
        told["DeviceRequests"] = [{"Driver": "nvidia", "DeviceIDs": list(command.gpus), "Capabilities": [["gpu"]]}]
    return told


_RUNTIME_PIDS: Final = 32
"""Processes and threads of ours, beside the user's."""


def replica_of(labels: Mapping[str, str]) -> tuple[str, int] | None:
    """The replica that a container is; None for one that is something else."""
    name, generation = labels.get(REPLICA), labels.get(GENERATION, "")
    return (name, int(generation)) if name and generation.isdigit() else None
