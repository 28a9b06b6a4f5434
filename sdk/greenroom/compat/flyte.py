"""The names whose meaning differs for programs that were written for Flyte or Union.

`retries=n` there repeats a call only if it raised `FlyteRecoverableException`: such programs' side effects were written
for that, so through the alias it stays so. Everything else of `flytekit` and `union` is Greenroom's own object.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

from greenroom.dynamic import dynamic as _dynamic
from greenroom.eager import eager as _eager
from greenroom.environment import ActorEnvironment as _ActorEnvironment
from greenroom.options import Retry as _Retry
from greenroom.task import task as _task
from greenroom_core.retry import Retry as _PlainRetry

logger = logging.getLogger("flytekit")
"""What `from flytekit import logger` gives."""


@dataclass(frozen=True)
class FlyteRetry(_Retry):
    """A number of retries as Flyte means it: for errors that ask for one."""

    def compiled(self, recoverable_only: bool = False) -> _PlainRetry:
        """In a program's terms."""
        return super().compiled(recoverable_only=True)


def _as_flyte(options: dict[str, Any]) -> dict[str, Any]:
    """A decorator's options with `retries` as Flyte means it; what is no number is left for the SDK to refuse."""
    retries = options.get("retries", 0)
    if isinstance(retries, int) and not isinstance(retries, bool) and retries >= 0:
        return {**options, "retries": FlyteRetry(retries)}
    return options


def _decorator(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def decorate(*function: Any, **options: Any) -> Any:
        # `@task` alone gets no options there, and is told ours here: so the function is decorated in a second step.
        made = original(**_as_flyte(options))
        return made(*function) if function else made

    decorate.__module__ = __name__
    return decorate


task = _decorator(_task)
dynamic = _decorator(_dynamic)
eager = _decorator(_eager)


class ActorEnvironment(_ActorEnvironment):
    """An actor environment whose tasks' `retries` are for errors that ask for one."""

    recoverable_only: ClassVar[bool] = True


@runtime_checkable
class CachePolicy(Protocol):
    """What makes a version for cached results: an object with this method, for `Cache(policies=...)`."""

    def get_version(self, salt: str, params: Any) -> str:
        """The version."""


def load_implicit_plugins() -> None:
    """Flyte loads plugins here; Greenroom has none to load."""
