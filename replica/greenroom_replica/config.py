"""What a replica is told at its birth: who it is, where its hub is, and what it may use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any


class ConfigFault(ValueError):
    """A replica's configuration that cannot be read."""


@dataclass(frozen=True, slots=True)
class Timings:
    """How long things may take, seconds. Tests make them short; the hub's `Welcome` may change some."""

    orphan_after: float = 55.0
    """Without a hub for so long, and with no call running, a replica leaves: a minute after it nothing is there."""
    heartbeat: float = 3.0
    """After so long without a word from the hub a ping is sent."""
    silent_after: float = 8.0
    """After so long without a word the connection counts as dead: below the hub's grace of 10 s, so that the replica
    is back before its calls are given up."""
    reconnect_most: float = 2.0
    """The longest pause between two attempts to reach the hub; the first is 50 ms, and each one is jittered."""
    started_after: float = 0.25
    """The hub hears of a call's start only when it has run for so long."""
    term_after: float = 10.0
    """What a call that has read `cancelled` gets before SIGTERM; any other gets SIGTERM at once."""
    kill_after: float = 10.0
    """From SIGTERM to SIGKILL, which costs the runner."""
    fork_silent: float = 5.0
    """A forked child that has not come to the user's code after so long hangs in a lock, and is replaced."""
    ahead: float = 0.002
    """Work that waits in a runner beyond the call that runs, by measured durations."""
    output_after: float = 0.1
    """A call that runs for so long has its output shipped while it runs, and its memory watched."""
    stats: float = 5.0
    """Between two reports of a replica's figures, if they changed."""
    blocked_after: float = 1.0
    """A coroutine that holds its event loop for so long is named, with its stack."""
    recycle_after: float = 60.0
    """How long a replica past its limits waits for the hub to bring a replacement before it leaves by itself."""
    reset_patience: float = 5.0
    """Clearing away after a call that takes longer (a pool of processes whose lock died with a worker) is ended, with
    the runner; the call keeps its outcome."""
    birth_patience: float = 2.0
    """A template that has not forked a runner after so long is not asked again; another process does it."""


@dataclass(frozen=True, slots=True)
class ReplicaConfig:
    """One replica's configuration, as the launcher writes it and the supervisor reads it."""

    replica: str
    """Its id, unique in the hub."""
    generation: int
    """Raised by the launcher each time the replica's process starts anew."""
    environment: str
    """The environment's name, for people."""
    hub: str
    """`http://host:port`, `https://...`, or `unix:///path/of/the/socket`."""
    token: str
    """Minted for this replica alone."""
    scratch: str
    """A folder of its own (0700): working folders, spooled output. Emptied when the replica leaves."""
    blobs: str | None = None
    """The hub's blob folder on this host; None to read and write blobs over HTTP."""
    blobs_writable: bool = True
    """Whether blobs may be put there; else they are sent to the hub."""
    index: int = 0
    """Its place in the pool, 0 to n-1; stable, and told to user code."""
    slots: int = 1
    """Fresh runners at a time, for regular tasks; 1 for a warm replica."""
    concurrency: int = 1
    """Coroutines at a time in the warm runner."""
    memory_limit: int | None = None
    """Bytes that the replica's user code may use, all its processes together; None for no limit."""
    pids_limit: int | None = None
    """Processes and threads that user code may have at a time; None for no limit."""
    cgroups: bool = True
    """Whether limits may be set by control groups where these can be written."""
    cache_memory: int | None = None
    """Bytes that the actor cache may hold; None for what the cache decides."""
    cache_gpu_memory: int | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    """The container's environment variables: set before anything of the user's is imported."""
    max_calls: int | None = None
    """Calls after which the replica is replaced."""
    max_memory: int | None = None
    """Resident bytes of the runner after which the replica is replaced."""
    max_age: float | None = None
    """Seconds after which the replica is replaced."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Told back to the hub in `Hello.facts`; for launchers."""
    timings: Timings = field(default_factory=Timings)

    def to_wire(self) -> dict[str, Any]:
        """Plain data, for a `Spawn` message."""
        return asdict(self)

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> ReplicaConfig:
        """Read what `to_wire` gave; what is unknown here (from a newer launcher) is left out.

        Raises:
            ConfigFault: A field without a default is missing, or one has the wrong shape.
        """
        try:
            known = {spec.name for spec in fields(cls)}
            given = {key: value for key, value in wire.items() if key in known}
            given["timings"] = replace_known(Timings(), given.get("timings") or {})
            return cls(**given)
        except (TypeError, AttributeError) as fault:
            raise ConfigFault(f"a replica's configuration: {fault}") from fault


def replace_known(timings: Timings, changes: Mapping[str, Any]) -> Timings:
    """`timings` with those of `changes` that it has."""
    known = {spec.name for spec in fields(Timings)}
    return replace(timings, **{key: float(value) for key, value in changes.items() if key in known})


_SETTINGS = {
    "started_after_ms": ("started_after", 0.001),
    "heartbeat_s": ("heartbeat", 1.0),
    "term_after_s": ("term_after", 1.0),
    "kill_after_s": ("kill_after", 1.0),
    "orphan_after_s": ("orphan_after", 1.0),
    "blocked_after_s": ("blocked_after", 1.0),
}


def with_settings(timings: Timings, settings: Mapping[str, Any]) -> Timings:
    """`timings` as a hub's `Welcome.settings` change them."""
    changes = {
        name: settings[key] * scale
        for key, (name, scale) in _SETTINGS.items()
        if isinstance(settings.get(key), int | float)
    }
    return replace(timings, **changes) if changes else timings
