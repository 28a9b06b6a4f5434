"""What a launcher hands to a replica at its birth, whatever the replica is: `greenroom_replica.config` reads it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from greenroom_hub.core.commands import StartReplica

Mint = Callable[[str, int], str]
"""Makes the token of a replica and its generation."""

_THREAD_VARIABLES: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_MAX_THREADS")


@dataclass(frozen=True, slots=True)
class Handed:
    """What all replicas of one launcher are handed alike."""

    hub: str
    """Where they dial: `unix:///path`, or a URL."""
    blobs: str | None
    """The blob folder as they see it; None to go through the hub."""
    blobs_writable: bool = True
    timings: Mapping[str, float] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    pids_limit: int | None = None
    """Processes and threads of one replica's user code; None for no limit."""
    cgroups: bool = True
    """Whether replicas may make control groups of their own; a container is one already."""
    assign_gpus: bool = True
    """Whether a replica finds its gpus by `CUDA_VISIBLE_DEVICES`; an engine gives containers theirs itself."""
    hide_gpus: bool = False
    """Whether who asks for no gpu sees none."""


def pool_of(replica: str) -> str:
    """The key of a replica's pool, from its id."""
    return replica.rsplit("-r", 1)[0]


def variables_of(command: StartReplica, handed: Handed) -> dict[str, str]:
    """The environment variables of a replica, before anything of the user's is imported."""
    threads = {name: f"{max(1, int(command.cpus))}" for name in _THREAD_VARIABLES}
    return {**threads, **_gpus(command, handed), **handed.env, **command.environment.env}


def _gpus(command: StartReplica, handed: Handed) -> dict[str, str]:
    if handed.assign_gpus and (command.gpus or handed.hide_gpus):
        return {"CUDA_VISIBLE_DEVICES": ",".join(command.gpus)}
    return {}


def configuration(command: StartReplica, handed: Handed, token: str, scratch: str) -> dict[str, Any]:
    """A replica's configuration, as plain data."""
    environment = command.environment
    return {
        "replica": command.replica,
        "generation": command.generation,
        "environment": environment.name,
        "hub": handed.hub,
        "token": token,
        "scratch": scratch,
        "blobs": handed.blobs,
        "blobs_writable": handed.blobs_writable,
        "index": command.index,
        "slots": command.slots if environment.regular else 1,
        "concurrency": environment.concurrency,
        "memory_limit": environment.limits.memory,
        "pids_limit": handed.pids_limit,
        "cgroups": handed.cgroups,
        "cache_memory": command.cache_memory,
        "cache_gpu_memory": environment.cache_gpu_memory,
        "env": variables_of(command, handed),
        "max_calls": environment.max_calls,
        "max_memory": environment.max_memory,
        "max_age": environment.max_age,
        "labels": {
            "pool": pool_of(command.replica),
            "project": command.project,
            "gpus": ",".join(command.gpus),
        },
        "timings": dict(handed.timings),
    }
