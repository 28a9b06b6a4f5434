"""Facts of registered entities, launch plans and webhooks: what their streams hold.

A plan's stream is bounded: after some hundred facts a new one begins with a `PlanKept`, and the old one is dropped.
A webhook's stream is one fact long, and is dropped when what it tells was delivered.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, TypeAlias

from greenroom_core.entities import Reference, Registration


def entity_stream(reference: Reference) -> str:
    """The stream of an entity's versions."""
    return f"entity:{reference.kind}:{reference.project}:{reference.name}"


def plan_stream(project: str, name: str, number: int) -> str:
    """One of the streams of a plan's activations and firings."""
    return f"plan:{number}:{project}:{name}"


def notice_stream(id: str) -> str:
    """The stream of something that a webhook is to be told."""
    return f"webhook:{id}"


def is_of_entities(stream: str) -> bool:
    """Whether a stream is a registered entity's or an artifact's: what it names is kept."""
    return stream.startswith(("entity:", "artifact:"))


def artifact_stream(key: str, number: int) -> str:
    """The stream of an artifact's newest value; the next one takes its place."""
    return f"artifact:{number}:{key}"


@dataclass(frozen=True, slots=True)
class EntityRegistered:
    """A version of an entity is kept."""

    KIND: ClassVar[int] = 60
    project: str
    registration: Registration
    """Without environment variables and secrets: those are sealed."""
    sealed: bytes = b""


@dataclass(frozen=True, slots=True)
class PlanActivated:
    """A launch plan runs by itself from now on."""

    KIND: ClassVar[int] = 61
    project: str
    name: str
    version: str
    by: str = ""
    sealed: bytes = b""
    """Environment variables and secrets of who activated it."""


@dataclass(frozen=True, slots=True)
class PlanDeactivated:
    """A launch plan does not run by itself any more."""

    KIND: ClassVar[int] = 62
    project: str
    name: str
    by: str = ""


@dataclass(frozen=True, slots=True)
class PlanFired:
    """A launch plan was run for one time of its schedule; the submission is in the same batch."""

    KIND: ClassVar[int] = 63
    project: str
    name: str
    nominal_ms: int
    execution: str


@dataclass(frozen=True, slots=True)
class PlanSkipped:
    """Times up to this one are not run."""

    KIND: ClassVar[int] = 64
    project: str
    name: str
    until_ms: int
    count: int
    why: str


@dataclass(frozen=True, slots=True)
class PlanFailed:
    """A launch plan could not be run for one time of its schedule."""

    KIND: ClassVar[int] = 65
    project: str
    name: str
    nominal_ms: int
    why: str


@dataclass(frozen=True, slots=True)
class Fired:
    """A time that a plan was run for."""

    nominal_ms: int
    execution: str = ""
    """Empty where it could not be started."""
    why: str = ""


@dataclass(frozen=True, slots=True)
class Activation:
    """Which version of a plan runs by itself, since when."""

    version: str
    since_ms: int
    by: str = ""
    sealed: bytes = b""


@dataclass(frozen=True, slots=True)
class PlanKept:
    """What a plan's facts so far come to; the first fact of a new stream."""

    KIND: ClassVar[int] = 66
    project: str
    name: str
    number: int
    """Of the stream."""
    last_ms: int
    active: Activation | None = None
    fired: tuple[Fired, ...] = ()
    skipped: int = 0
    why: str = ""


@dataclass(frozen=True, slots=True)
class NoticeDue:
    """A webhook is to be told something."""

    KIND: ClassVar[int] = 67
    id: str
    url: str
    execution: str
    told: Mapping[str, object] = field(default_factory=dict)
    """Becomes the body, as JSON."""
    at_ms: int = 0


@dataclass(frozen=True, slots=True)
class ArtifactKept:
    """An output is found by a name."""

    KIND: ClassVar[int] = 68
    project: str
    name: str
    partitions: Mapping[str, str]
    number: int
    """Of the values of this name and these partitions."""
    value: bytes
    execution: str
    node: str
    output: str
    at_ms: int


PlanFact: TypeAlias = (
    ArtifactKept
    | EntityRegistered
    | PlanActivated
    | PlanDeactivated
    | PlanFired
    | PlanSkipped
    | PlanFailed
    | PlanKept
    | NoticeDue
)
