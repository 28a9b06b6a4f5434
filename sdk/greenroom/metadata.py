"""What decorators were told, in the words of programs for Flyte: `task.metadata`, `workflow_metadata`."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from greenroom.definition_errors import BadArgument
from greenroom_core.graph import FailurePolicy

if TYPE_CHECKING:
    from greenroom.options import Options


@dataclass
class TaskMetadata:
    """How calls of a task are treated; `map_task(t, metadata=TaskMetadata(retries=2))` treats a map's items so."""

    cache: bool = False
    cache_serialize: bool = False
    cache_version: str = ""
    cache_ignore_input_vars: tuple[str, ...] = ()
    interruptible: bool | None = None
    deprecated: str = ""
    retries: int = 0
    timeout: dt.timedelta | int | None = None
    pod_template_name: str | None = None
    generates_deck: bool = False
    is_eager: bool = False
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None

    def __post_init__(self) -> None:
        if self.timeout:
            if isinstance(self.timeout, int):
                self.timeout = dt.timedelta(seconds=self.timeout)
            elif not isinstance(self.timeout, dt.timedelta):
                raise BadArgument("TaskMetadata", "timeout", self.timeout, "seconds or a timedelta")
        for name, needs in (("cache_serialize", "cache=True"), ("cache_ignore_input_vars", "cache=True")):
            if getattr(self, name) and not self.cache:
                raise BadArgument("TaskMetadata", name, getattr(self, name), f"a value only beside {needs}")
        if self.cache and not self.cache_version:
            raise BadArgument("TaskMetadata", "cache_version", self.cache_version, "text, where cache=True is given")

    @property
    def retry_strategy(self) -> Any:
        """The retries, as Flyte wraps them."""
        from greenroom.compat.idl.literals import RetryStrategy

        return RetryStrategy(self.retries)

    @classmethod
    def of(cls, options: Options) -> TaskMetadata:
        """What a task's decorator was told."""
        cache = options.cache
        made = cls(
            interruptible=options.interruptible,
            deprecated=options.deprecated,
            retries=options.retry.times,
            timeout=None if options.timeout is None else dt.timedelta(seconds=options.timeout),
            pod_template_name=options.container.pod_template_name,
            generates_deck=options.deck,
            is_eager=options.mode.name == "EAGER",
            labels=dict(options.labels) or None,
            annotations=dict(options.annotations) or None,
        )
        if cache is not None:  # A version that comes from the code is found when the program is sent.
            made.cache, made.cache_serialize = True, cache.serialize
            made.cache_version, made.cache_ignore_input_vars = cache.version or "", cache.ignored
        return made

    def overrides(self) -> dict[str, Any]:
        """What differs from saying nothing, as `with_overrides` takes it."""
        told: dict[str, Any] = {}
        if self.retries:
            told["retries"] = self.retries
        if self.timeout:
            told["timeout"] = self.timeout
        if self.interruptible is not None:
            told["interruptible"] = self.interruptible
        if self.cache:
            told |= {"cache": True, "cache_version": self.cache_version}
            if self.cache_serialize:
                told["cache_serialize"] = True
        return told


@dataclass
class WorkflowMetadata:
    """What becomes of a workflow's other nodes when one fails."""

    on_failure: FailurePolicy

    def __post_init__(self) -> None:
        if not isinstance(self.on_failure, FailurePolicy):
            raise BadArgument("WorkflowMetadata", "on_failure", self.on_failure, "a WorkflowFailurePolicy")


@dataclass
class WorkflowMetadataDefaults:
    """What a workflow's nodes are where they don't say themselves."""

    interruptible: bool

    def __post_init__(self) -> None:
        if not isinstance(self.interruptible, bool):
            raise BadArgument("WorkflowMetadataDefaults", "interruptible", self.interruptible, "True or False")
