"""Artifacts: names for outputs, by which later executions find the newest value."""

from __future__ import annotations

import typing
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from greenroom.definition_errors import BadArgument, UnknownArgument
from greenroom_core.entities import Made, Query

TIME: Final = "time_partition"
"""The partition that a time stands for."""


class InputName:
    """Stands for an input of the task, workflow or plan: its value is known when it runs."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"Inputs.{self.name}"


class _Inputs:
    """`Inputs.x`."""

    def __getattr__(self, name: str) -> InputName:
        if name.startswith("__"):
            raise AttributeError(name)
        return InputName(name)


Inputs: Final = _Inputs()


class Artifact:
    """A name for outputs: `-> Annotated[str, Artifact(name="model")]`.

    The hub keeps the newest value of each partition.

    Attributes:
        name: What it is called, within a project.
        project: Of who makes it unless given.
        partition_keys: Names of its partitions, the time's among them.
        partitions: Values of them, as far as they are known: texts, or `Inputs.x`.
    """

    def __init__(
        self,
        *args: Any,
        name: str | None = None,
        project: str | None = None,
        domain: str | None = None,
        version: str | None = None,
        time_partitioned: bool = False,
        time_partition: Any = None,
        time_partition_granularity: Any = None,
        partition_keys: Sequence[str] | None = None,
        partitions: Mapping[str, Any] | None = None,
        **_: Any,
    ) -> None:
        """Name an artifact.

        Args:
            *args: None: all is given by name.
            name: What it is called.
            project: Of who makes it unless given.
            domain: Not used.
            version: Refused: the newest value counts.
            time_partitioned: Whether there is a value for each time.
            time_partition: That time.
            time_partition_granularity: Kept: times count as they are given.
            partition_keys: Names of its partitions.
            partitions: Their values.
        """
        if args or not isinstance(name, str) or not name or "/" in name:
            raise BadArgument(
                "Artifact", "name", args[0] if args else name, 'a name without slashes: Artifact(name="m")'
            )
        if version is not None:
            raise BadArgument("Artifact", "version", version, "none: the newest value of a partition is kept")
        self.name, self.project = name, project or ""
        timed = time_partitioned or time_partition is not None
        keys = [*(partition_keys or partitions or ()), *([TIME] if timed else ())]
        self.partition_keys: tuple[str, ...] = tuple(dict.fromkeys(keys))
        given = {**(partitions or {}), **({TIME: time_partition} if time_partition is not None else {})}
        self.partitions = {key: _partition(value) for key, value in given.items()}

    def __call__(self, *_: Any, **partitions: Any) -> Artifact:
        """The same artifact with values of its partitions: `model(region="eu", time_partition=Inputs.day)`."""
        for key in partitions:
            if key not in self.partition_keys:
                raise UnknownArgument(f"artifact {self.name!r}", key, list(self.partition_keys))
        made = Artifact(name=self.name, project=self.project, partition_keys=self.partition_keys)
        made.partitions = {**self.partitions, **{key: _partition(value) for key, value in partitions.items()}}
        return made

    def query(self, *_: Any, project: str | None = None, domain: str | None = None, **partitions: Any) -> ArtifactQuery:
        """The newest value, as a default of an input of a workflow or launch plan."""
        return ArtifactQuery(self(**partitions), project or self.project)

    def create_from(self, value: Any, *cards: Any, **partitions: Any) -> Any:
        """Say from inside the task which partitions the value that it returns belongs to; gives the value."""
        from greenroom.context import current_context

        named = {key: _text(_partition(given)) for key, given in self(**partitions).partitions.items()}
        current_context().artifacts[self.name] = named
        return value

    def made(self) -> Made:
        """As the hub takes it."""
        return Made(self.name, self.project, *_split(self.partitions), self.partition_keys)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Artifact) and self.made() == other.made()

    def __hash__(self) -> int:
        return hash((self.name, self.project))

    def __repr__(self) -> str:
        return f"<Artifact {self.name} {self.partitions or ''}>"


class ArtifactQuery:
    """The newest value of an artifact; the hub looks it up when an execution is submitted."""

    def __init__(self, artifact: Artifact, project: str) -> None:
        self.artifact, self.project = artifact, project

    def told(self) -> Query:
        """As the hub takes it."""
        return Query(self.artifact.name, self.project, *_split(self.artifact.partitions))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ArtifactQuery) and self.told() == other.told()

    def __hash__(self) -> int:
        return hash(self.artifact)

    def __repr__(self) -> str:
        return f"<query of {self.artifact!r}>"


def _partition(value: Any) -> str | InputName:
    if isinstance(value, (InputName, str)):
        return value
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC).isoformat()
    return str(value)


def _text(value: str | InputName) -> str:
    if isinstance(value, InputName):
        raise BadArgument("create_from", "a partition", value, "a value: inside of a task its inputs are known")
    return value


def _split(partitions: Mapping[str, str | InputName]) -> tuple[dict[str, str], dict[str, str]]:
    """Partitions that are known, and those that inputs give."""
    known = {key: value for key, value in partitions.items() if isinstance(value, str)}
    return known, {key: value.name for key, value in partitions.items() if isinstance(value, InputName)}


def artifact_in(annotation: Any) -> Artifact | None:
    """The artifact that an annotation names."""
    if typing.get_origin(annotation) is not typing.Annotated:
        return None
    return next((one for one in annotation.__metadata__ if isinstance(one, Artifact)), None)
