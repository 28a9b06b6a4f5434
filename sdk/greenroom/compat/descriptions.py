"""What programs say about their tasks and executions: descriptions, options, and arguments that several tasks share."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from greenroom.compat.idl.message import Message


@dataclass(eq=False)
class Description(Message):
    """A long text about an entity."""

    class DescriptionFormat(enum.Enum):
        """How it is written."""

        UNKNOWN = 0
        MARKDOWN = 1
        HTML = 2
        RST = 3

    value: str | None = None
    uri: str | None = None
    icon_link: str | None = None
    format: DescriptionFormat = DescriptionFormat.RST


@dataclass(eq=False)
class SourceCode(Message):
    """Where an entity's code is."""

    link: str | None = None


@dataclass(eq=False)
class Documentation(Message):
    """What is said about an entity: `@task(docs=Documentation(short_description="..."))`."""

    short_description: str | None = None
    long_description: Description | None = None
    source_code: SourceCode | None = None


@dataclass
class Options:
    """What executions of a workflow's default plan carry."""

    labels: Any = None
    annotations: Any = None
    raw_output_data_config: Any = None
    security_context: Any = None
    max_parallelism: int | None = None
    notifications: list[Any] | None = None
    disable_notifications: bool | None = None
    overwrite_cache: bool | None = None


class Environment:
    """Arguments that several tasks share: `env = Environment(retries=2)`, then `@env.task` and `@env.dynamic`."""

    def __init__(self, **overrides: Any) -> None:
        self.overrides = overrides

    def update(self, **overrides: Any) -> None:
        """Change arguments for the tasks that are still to be defined."""
        self.overrides = {**self.overrides, **overrides}

    def extend(self, **overrides: Any) -> Environment:
        """Another environment with these arguments and further ones."""
        return Environment(**{**self.overrides, **overrides})

    def show(self) -> None:
        """Print the arguments."""
        print("\n".join(f"{name}={value!r}" for name, value in self.overrides.items()))  # noqa: T201

    def task(self, _task_function: Callable[..., Any] | None = None, /, **overrides: Any) -> Any:
        """As `task`, with the environment's arguments where none are given."""
        from greenroom.compat.flyte import task

        return _applied(task, {**self.overrides, **overrides}, _task_function)

    def dynamic(self, _task_function: Callable[..., Any] | None = None, /, **overrides: Any) -> Any:
        """As `dynamic`, with the environment's arguments where none are given."""
        from greenroom.compat.flyte import dynamic

        return _applied(dynamic, {**self.overrides, **overrides}, _task_function)

    __call__ = task


def _applied(decorator: Callable[..., Any], options: dict[str, Any], function: Callable[..., Any] | None) -> Any:
    made = decorator(**options)
    return made if function is None else made(function)
