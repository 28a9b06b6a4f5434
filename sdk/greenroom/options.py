"""What a task's decorator takes besides the function, validated: `Options`, with `Cache` and `Retry`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from greenroom.containers import Container, check_secrets, split_resources
from greenroom.definition_errors import BadArgument, TaskArgumentRefused
from greenroom.environment import STRICTNESS, ActorEnvironment, check_variables
from greenroom.quantities import Seconds, seconds, whole
from greenroom_core.program import Mode
from greenroom_core.retry import Retry as PlainRetry

if TYPE_CHECKING:
    from datetime import timedelta

POOL: Final = (
    "requests",
    "limits",
    "container_image",
    "environment",
    "secret_requests",
    "pod_template",
    "accelerator",
    "interruptible",
)
"""Arguments of plain tasks that belong to the environment of an actor's."""

_MODES: Final = {"default": Mode.CALL, "dynamic": Mode.DYNAMIC, "eager": Mode.EAGER}


@dataclass(frozen=True)
class Cache:
    """How a task's outputs are reused across executions.

    Attributes:
        version: Changes when old outputs are no longer right. None: derived from the function's code and all that it
            refers to.
        serialize: Of equal concurrent calls one runs, the others wait for it.
        ignored_inputs: Inputs that do not count.
        salt: Joins the version.
        policies: Objects with `get_version(salt, params)`, whose answers make the version where none is given.
    """

    version: str | None = None
    serialize: bool = False
    ignored_inputs: Sequence[str] | str = ()
    salt: str = ""
    policies: Sequence[Any] | Any | None = None

    def __post_init__(self) -> None:
        if self.version is not None and not isinstance(self.version, str):
            raise BadArgument("Cache", "version", self.version, 'text, like "v1"')

    @property
    def ignored(self) -> tuple[str, ...]:
        """The ignored inputs' names."""
        return (self.ignored_inputs,) if isinstance(self.ignored_inputs, str) else tuple(self.ignored_inputs)

    def get_version(self, function: Callable[..., Any]) -> str | None:
        """The version where it does not come from the function's code: given, or made by the policies."""
        if self.version is not None or not self.policies:
            return self.version
        import hashlib

        policies = self.policies if isinstance(self.policies, Iterable) else [self.policies]
        params = VersionParameters(function)
        told = "".join(str(policy.get_version(self.salt, params)) for policy in policies)
        return hashlib.sha256(told.encode()).hexdigest()


@dataclass(frozen=True)
class VersionParameters:
    """What a cache policy may make its version of."""

    func: Callable[..., Any]
    container_image: object = None
    pod_template: object = None
    pod_template_name: str | None = None


@dataclass(frozen=True)
class Retry:
    """A task's budget of further attempts.

    Attributes:
        times: How many follow the first.
        backoff: Delay before the second attempt, doubled with each further one; seconds or a timedelta.
        max_backoff: The longest delay.
        jitter: Largest share of the delay that is added by chance; 0 to 1.
        on: Exception classes that are retried; empty for all. `Recoverable` always is, `NonRecoverable` never.
    """

    times: int
    backoff: Seconds = 0.0
    max_backoff: Seconds = 60.0
    jitter: float = 0.0
    on: Sequence[type[BaseException]] | type[BaseException] = ()

    def __post_init__(self) -> None:
        whole(self.times, "Retry(times)", 0)
        if isinstance(self.jitter, bool) or not isinstance(self.jitter, (int, float)) or not 0 <= self.jitter <= 1:
            raise BadArgument("Retry", "jitter", self.jitter, "a share from 0 to 1")
        for cls in self._classes:
            if not (isinstance(cls, type) and issubclass(cls, BaseException)):
                raise BadArgument("Retry", "on", cls, "exception classes, like on=(ValueError, OSError)")
        self.compiled()

    @property
    def _classes(self) -> tuple[Any, ...]:
        return tuple(self.on) if isinstance(self.on, (tuple, list)) else (self.on,)

    def compiled(self, recoverable_only: bool = False) -> PlainRetry:
        """The same in a program's terms."""
        return PlainRetry(
            times=self.times,
            backoff=seconds(self.backoff, "Retry(backoff=)", zero=True),
            max_backoff=seconds(self.max_backoff, "Retry(max_backoff=)", zero=True),
            jitter=float(self.jitter),
            on=tuple(dict.fromkeys(name for cls in self._classes for name in (cls.__name__, cls.__qualname__))),
            recoverable_only=recoverable_only,
        )


def read_retries(who: str, given: object, recoverable_only: bool = False) -> PlainRetry:
    """A retry budget, from a number or a `Retry`.

    Raises:
        BadArgument: It is neither.
    """
    if isinstance(given, Retry):
        return given.compiled()
    if isinstance(given, bool) or not isinstance(given, int) or given < 0:
        raise BadArgument(who, "retries", given, "a number of further attempts, 0 or more, or Retry(n, backoff=...)")
    return PlainRetry(times=given, recoverable_only=recoverable_only)


def read_timeout(who: str, name: str, given: float | timedelta | None) -> float | None:
    """Seconds, or None for no limit (None, 0).

    Raises:
        BadAmount: It is neither a number nor a timedelta, or negative.
    """
    if given is None:
        return None
    return seconds(given, f"{who}: {name}", zero=True) or None


@dataclass(frozen=True)
class Options:
    """Everything that a task's decorator was told."""

    environment: ActorEnvironment | None = None
    container: Container = field(default_factory=Container)
    mode: Mode = Mode.CALL
    cache: Cache | None = None
    retry: PlainRetry = PlainRetry()
    timeout: float | None = None
    queue_timeout: float | None = None
    interruptible: bool | None = None
    isolation: str = "fresh"
    affinity: Callable[..., object] | None = None
    hints: tuple[Any, ...] = ()
    """Entities that a dynamic task says it may call."""
    docs: object = None
    deck: bool = False
    deck_fields: tuple[str, ...] | None = None
    untyped: bool = False
    """Parameters without annotations are taken, and pickled."""
    deprecated: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    """What was asked for and has no effect, for people."""


_GIVEN: Final[dict[str, Any]] = {
    "cache": False,
    "retries": 0,
    "interruptible": None,
    "deprecated": "",
    "timeout": None,
    "container_image": None,
    "environment": None,
    "requests": None,
    "limits": None,
    "secret_requests": None,
    "execution_mode": None,
    "node_dependency_hints": None,
    "task_resolver": None,
    "docs": None,
    "disable_deck": None,
    "enable_deck": None,
    "deck_fields": None,
    "pod_template": None,
    "pod_template_name": None,
    "accelerator": None,
    "pickle_untyped": False,
    "shared_memory": None,
    "resources": None,
    "labels": None,
    "annotations": None,
    "cache_serialize": False,
    "cache_version": "",
    "cache_ignore_input_vars": (),
    "isolation": None,
    "affinity": None,
    "queue_timeout": None,
}


def read_options(
    who: str, given: Mapping[str, Any], environment: ActorEnvironment | None, recoverable_only: bool = False
) -> Options:
    """Options from a decorator's arguments.

    Args:
        who: The decorator, for errors.
        given: Its arguments.
        environment: The actor environment whose decorator it is; None for a plain task.
        recoverable_only: Only errors that ask for it are retried.

    Raises:
        TaskArgumentRefused: An argument is unknown, or belongs to the environment.
        BadArgument: An argument's value is not taken.
    """
    _check_names(who, given, environment)
    told = {**_GIVEN, **given}
    notes = _without_effect(environment, told)
    container = Container.of(environment) if environment is not None else _container(who, told)
    return Options(
        environment=environment,
        container=container,
        mode=_mode(who, told["execution_mode"]),
        cache=_cache(who, told),
        retry=read_retries(who, told["retries"], recoverable_only),
        timeout=read_timeout(who, "timeout", told["timeout"]),
        queue_timeout=read_timeout(who, "queue_timeout", told["queue_timeout"]),
        interruptible=environment.interruptible if environment is not None else told["interruptible"],
        isolation=_isolation(who, told["isolation"], environment),
        affinity=_callable(who, "affinity", told["affinity"]),
        hints=tuple(told["node_dependency_hints"] or ()),
        docs=told["docs"],
        deck=_deck(who, told),
        deck_fields=None if told["deck_fields"] is None else tuple(map(_word, told["deck_fields"])),
        untyped=bool(told["pickle_untyped"]),
        deprecated=str(told["deprecated"] or ""),
        labels=dict(told["labels"] or {}),
        annotations=dict(told["annotations"] or {}),
        notes=notes,
    )


def _check_names(who: str, given: Mapping[str, Any], environment: ActorEnvironment | None) -> None:
    for name, value in given.items():
        if environment is not None and name in POOL:
            remedy = f"it belongs to the environment: ActorEnvironment({environment.name!r}, {name}={value!r})"
            raise TaskArgumentRefused(who, name, remedy)
        if environment is not None and name == "task_config":
            raise TaskArgumentRefused(who, name, "an environment is all the configuration that its tasks have")
        if name not in _GIVEN:
            import difflib

            near = difflib.get_close_matches(name, _GIVEN, 1)
            known = ", ".join(known for known in _GIVEN if environment is None or known not in POOL)
            raise TaskArgumentRefused(who, name, f"did you mean {near[0]}=?" if near else f"it takes {known}")


def _container(who: str, told: Mapping[str, Any]) -> Container:
    check_variables(who, told["environment"])
    requests, limits = split_resources(who, told["requests"], told["limits"], told["resources"])
    return Container(
        image=told["container_image"],
        environment=told["environment"] or {},
        requests=requests,
        limits=limits,
        accelerator=told["accelerator"],
        secrets=check_secrets(who, told["secret_requests"]),
        pod_template=told["pod_template"],
        pod_template_name=told["pod_template_name"],
        shared_memory=told["shared_memory"],
        labels=told["labels"] or {},
        annotations=told["annotations"] or {},
        interruptible=told["interruptible"],
    )


def _without_effect(environment: ActorEnvironment | None, told: Mapping[str, Any]) -> tuple[str, ...]:
    notes = []
    if told["task_resolver"] is not None:
        notes.append("task_resolver= has no effect: replicas find functions by their modules and names")
    if environment is not None:
        remedy = f"a replica is shared by all tasks of {environment.name!r}: set it there"
        names = ("resources", "shared_memory", "pod_template_name")
        notes += [f"{name}={told[name]!r} has no effect on an actor task; {remedy}" for name in names if told[name]]
    return tuple(notes)


def _mode(who: str, given: Any) -> Mode:
    if given is None:
        return Mode.CALL
    word = str(getattr(given, "name", given)).lower()
    if word not in _MODES:
        raise BadArgument(who, "execution_mode", given, f"one of {', '.join(map(repr, _MODES))}")
    return _MODES[word]


def _cache(who: str, told: Mapping[str, Any]) -> Cache | None:
    cache, version = told["cache"], told["cache_version"]
    serialize, ignored = told["cache_serialize"], tuple(told["cache_ignore_input_vars"] or ())
    if isinstance(cache, Cache):
        if version or serialize or ignored:
            raise BadArgument(who, "cache", cache, "Cache(...) without cache_version=, cache_serialize= and the like")
        return cache
    if not isinstance(cache, bool):
        raise BadArgument(who, "cache", cache, "True, False or Cache(version=...)")
    if not isinstance(version, str):
        raise BadArgument(who, "cache_version", version, 'text, like "v1"')
    if cache:
        return Cache(version or None, bool(serialize), ignored)
    for name, value in (("cache_serialize", serialize), ("cache_ignore_input_vars", ignored)):
        if value:
            raise BadArgument(who, name, value, "a value only beside cache=True")
    return None


def _isolation(who: str, given: str | None, environment: ActorEnvironment | None) -> str:
    if environment is None:
        if given not in (None, "fresh", *STRICTNESS):
            raise BadArgument(who, "isolation", given, "one of 'fresh', 'fork', 'reset', 'none'")
        return given or "fresh"
    if given is None:
        return environment.isolation
    if given not in STRICTNESS:
        raise BadArgument(who, "isolation", given, f"one of {', '.join(map(repr, STRICTNESS))}")
    if STRICTNESS[given] < STRICTNESS[environment.isolation]:
        least = f"{environment.isolation!r}, as its environment, or stricter"
        raise BadArgument(who, "isolation", given, least)
    if given == "fork" and environment.concurrency > 1:
        raise BadArgument(who, "isolation", given, "'reset' or 'none' in an environment with concurrency > 1")
    return given


def _callable(who: str, name: str, given: Any) -> Callable[..., object] | None:
    if given is not None and not callable(given):
        raise BadArgument(who, name, given, "a function of the task's inputs")
    return given  # type: ignore[no-any-return]


def _deck(who: str, told: Mapping[str, Any]) -> bool:
    enabled, disabled = told["enable_deck"], told["disable_deck"]
    if enabled is not None and disabled is not None:
        raise BadArgument(who, "disable_deck", disabled, "none beside enable_deck")
    return bool(enabled) if enabled is not None else disabled is False


def _word(given: Any) -> str:
    return str(getattr(given, "value", given))


def affinity_paths(who: str, affinity: Callable[..., object], inputs: Sequence[str]) -> list[list[str | int]]:
    """Which inputs (or parts of them) decide where calls are warm, from a function that picks them.

    The function is called once, with stand-ins, so that the hub need not run it: it picks, it does not compute.

    Raises:
        BadArgument: It takes something that is no input, or gives back something that is none of them.
    """
    from greenroom.building import Builder
    from greenroom.promises import Promise

    taken = "a function that picks inputs, like lambda model, **_: model"
    stand_ins = {name: Promise(Builder(who), None, name, None) for name in inputs}
    parameters = inspect.signature(affinity).parameters.values()
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        unknown = [parameter.name for parameter in parameters if parameter.name not in stand_ins]
        if unknown:
            raise BadArgument(who, "affinity", affinity, f"{taken}; the task has no input {unknown[0]!r}")
        stand_ins = {parameter.name: stand_ins[parameter.name] for parameter in parameters}
    picked = affinity(**stand_ins)
    parts = picked if isinstance(picked, (tuple, list)) else [picked]
    promises = [part for part in parts if isinstance(part, Promise)]
    if not parts or len(promises) != len(parts):
        raise BadArgument(who, "affinity", affinity, taken)
    return [[promise._output, *promise._path] for promise in promises]
