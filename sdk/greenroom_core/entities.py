"""Tasks, workflows and launch plans that a hub keeps by name and version, and when plans run by themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Kind(StrEnum):
    """What a registered entity is."""

    TASK = "task"
    WORKFLOW = "workflow"
    LAUNCH_PLAN = "launch_plan"

    @property
    def words(self) -> str:
        """For people."""
        return self.value.replace("_", " ")


class CatchUp(StrEnum):
    """What becomes of times that passed while no hub was running, or while the plan ran as often as it may."""

    SKIP = "skip"
    LAST = "last"
    """The latest of them is run."""
    ALL = "all"
    """Each of them is run, the oldest first."""


@dataclass(frozen=True, slots=True)
class Reference:
    """One registered entity."""

    kind: Kind
    project: str
    name: str
    version: str = ""
    """Empty for the newest."""

    def __str__(self) -> str:
        return f"{self.kind.words} {self.project}/{self.name}{f'@{self.version}' if self.version else ''}"


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a launch plan runs by itself: at cron's times, or again and again."""

    cron: str = ""
    """Five fields; empty for a fixed rate."""
    every_s: int = 0
    """Seconds from one run to the next, counted from the activation."""
    offset_s: int = 0
    """Seconds that are added to cron's times."""
    timezone: str = "UTC"
    kickoff: str = ""
    """The input that gets the time at which the run was due; empty for none."""
    catch_up: CatchUp = CatchUp.SKIP


@dataclass(frozen=True, slots=True)
class Made:
    """What an output of a task is called, as an artifact."""

    name: str
    project: str = ""
    """Empty for the program's."""
    partitions: Mapping[str, str] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)
    """Partitions whose values are those of inputs, by their names."""
    keys: tuple[str, ...] = ()
    """Names of all its partitions."""


@dataclass(frozen=True, slots=True)
class Query:
    """The newest value of an artifact, for an input that nobody gives."""

    name: str
    project: str = ""
    partitions: Mapping[str, str] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)


ENDS: tuple[str, ...] = ("succeeded", "failed", "aborted", "timed_out")
"""Ends of an execution that a webhook may be told of. A scheduled run that could not start counts as failed."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where the ends of executions are told: a `POST` of JSON."""

    url: str
    outcomes: tuple[str, ...] = ENDS


@dataclass(frozen=True, slots=True)
class Registration:
    """One wish to keep an entity under a name and a version."""

    kind: Kind
    name: str
    version: str
    program: str
    """Digest of the program, which the hub must know or get along."""
    derived: bool = False
    """Whether the version is the bundle's hash: then the same code may be registered again with other constants."""
    by: str = ""
    inputs: Mapping[str, bytes] = field(default_factory=dict)
    """Values of inputs that a caller may leave out."""
    fixed: Mapping[str, bytes] = field(default_factory=dict)
    """Values of inputs that a caller cannot change."""
    queries: Mapping[str, Query] = field(default_factory=dict)
    """Inputs that are looked up as artifacts where a caller leaves them out."""
    labels: Mapping[str, str] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    """Values of the secrets that its tasks ask for, as they were found where it was registered."""
    schedule: Schedule | None = None
    webhooks: tuple[Webhook, ...] = ()
    concurrency: int | None = None
    """Executions of the launch plan at a time; None for no limit."""
    refresh: bool = False
    """Whether its executions make cached results anew."""
