"""`ActorEnvironment`: named resources, an image and limits of a pool, for the tasks that share warm replicas."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, ParamSpec, TypeVar, overload

from greenroom.accelerators import BaseAccelerator
from greenroom.definition_errors import BadArgument
from greenroom.pods import PodTemplate
from greenroom.quantities import Seconds, Size, seconds, size, whole
from greenroom.resources import Resources
from greenroom.secrets import Secret
from greenroom_protocol.ids import NAME

if TYPE_CHECKING:
    from datetime import timedelta

    from greenroom.options import Cache, Retry
    from greenroom.task import DynamicTask, Task

P = ParamSpec("P")
R = TypeVar("R")

Isolation = Literal["reset", "fork", "none"]

STRICTNESS: Final[Mapping[str, int]] = {"none": 0, "reset": 1, "fork": 2}
"""What a call leaves behind, from most to least; a task may only be stricter than its environment."""

_LAUNCHERS: Final = ("process", "docker", "kubernetes", "external")


@dataclass(frozen=True)
class ActorEnvironment:
    """An environment whose replicas stay warm between calls.

    Attributes:
        name: Lower case letters, digits, `-` and `.`; at most 63 characters. Environments of one name and with equal
            containers share one pool, whatever file or workflow they stand in.
        container_image: Name of an image, or an `ImageSpec`. None for the hub's default.
        replica_count: The most replicas that are kept for it.
        ttl_seconds: How long the pool is kept when no task uses it; seconds. None for the hub's default (90 s; 15
            minutes on a local hub).
        environment: Environment variables of its replicas.
        requests: Resources that each replica needs.
        limits: Resources that each replica must not exceed.
        accelerator: The kind of GPU that it needs.
        secret_requests: Secrets that its tasks may read.
        pod_template: Further wishes for containers and pods.
        interruptible: Whether its replicas may stand on machines that can be taken away.
        min_replicas: Replicas that are kept although nothing uses them.
        scaledown_ttl: How long a single idle replica of a busy pool is kept; seconds.
        concurrency: Calls of async tasks that one replica runs at a time.
        isolation: What a call leaves behind: `reset` restores state, `fork` runs each call in a clean child, `none`
            keeps everything.
        prewarm: Loads to do before the first call: `(load_model.bind(state=3),)`.
        cache_memory: The most memory that the actor cache of one replica takes; bytes or text like `"8Gi"`.
        cache_gpu_memory: The same on its GPU.
        max_calls: Calls after which a replica is replaced.
        max_memory: Memory above which a replica is replaced after its call; bytes or text.
        max_age: Age at which a replica is replaced after its call; seconds.
        launcher: What starts its replicas: `process`, `docker`, `kubernetes` or `external`. None for the hub's choice.
    """

    name: str
    container_image: str | None = None
    replica_count: int = 1
    ttl_seconds: float | None = None
    environment: Mapping[str, str] | None = None
    requests: Resources | None = None
    limits: Resources | None = None
    accelerator: BaseAccelerator | None = None
    secret_requests: Sequence[Secret] | None = None
    pod_template: PodTemplate | None = None
    interruptible: bool | None = None
    _: KW_ONLY
    min_replicas: int = 0
    scaledown_ttl: Seconds | None = None
    concurrency: int = 1
    isolation: Isolation = "reset"
    prewarm: Sequence[Any] = ()
    cache_memory: Size | None = None
    cache_gpu_memory: Size | None = None
    max_calls: int | None = None
    max_memory: Size | None = None
    max_age: Seconds | None = None
    launcher: str | None = None

    def __post_init__(self) -> None:
        _check_name(self.name)
        self._check_types()
        self._check_numbers()

    def __hash__(self) -> int:
        return hash((type(self), self.name))

    def _check_types(self) -> None:
        for name, taken, word in _TYPES:
            value = getattr(self, name)
            if value is not None and not isinstance(value, taken):
                raise BadArgument(self._who, name, value, word)
        check_variables(self._who, self.environment)
        for secret in self.secret_requests or ():
            if not isinstance(secret, Secret):
                raise BadArgument(self._who, "secret_requests", secret, 'a list of Secret(key="...")')
        if isinstance(self.prewarm, str) or not isinstance(self.prewarm, Sequence):
            raise BadArgument(
                self._who, "prewarm", self.prewarm, "a tuple of bound loaders, like (load_model.bind(state=3),)"
            )
        for name in ("requests", "limits"):
            if (asked := getattr(self, name)) is not None and asked.pairs():
                raise BadArgument(self._who, name, asked, "one amount for each resource: pairs are for resources=")
        for name, taken_words in (("isolation", tuple(STRICTNESS)), ("launcher", (None, *_LAUNCHERS))):
            if (word_given := getattr(self, name)) not in taken_words:
                raise BadArgument(self._who, name, word_given, f"one of {', '.join(repr(w) for w in taken_words if w)}")

    def _check_numbers(self) -> None:
        whole(self.replica_count, f"{self._who}: replica_count")
        whole(self.min_replicas, f"{self._who}: min_replicas", 0)
        whole(self.concurrency, f"{self._who}: concurrency")
        if self.min_replicas > self.replica_count:
            most = f"at most replica_count, which is {self.replica_count}"
            raise BadArgument(self._who, "min_replicas", self.min_replicas, most)
        if self.concurrency > 1 and self.isolation == "fork":
            raise BadArgument(self._who, "isolation", "fork", "'reset' or 'none' beside concurrency > 1")
        if self.max_calls is not None:
            whole(self.max_calls, f"{self._who}: max_calls")
        for name in ("ttl_seconds", "scaledown_ttl", "max_age"):
            if (given := getattr(self, name)) is not None:
                seconds(given, f"{self._who}: {name}")
        for name in ("cache_memory", "cache_gpu_memory", "max_memory"):
            if (given := getattr(self, name)) is not None:
                size(given, f"{self._who}: {name}")

    @property
    def _who(self) -> str:
        return f"ActorEnvironment({self.name!r})"

    def __str__(self) -> str:
        return self.name

    @overload
    def task(self, _task_function: Callable[P, R], /) -> Task[P, R]: ...

    @overload
    def task(
        self,
        /,
        *,
        cache: bool | Cache = False,
        retries: int | Retry = 0,
        timeout: float | timedelta | None = None,
        cache_version: str = "",
        cache_serialize: bool = False,
        cache_ignore_input_vars: Sequence[str] = (),
        deprecated: str = "",
        docs: object = None,
        execution_mode: object = None,
        node_dependency_hints: Sequence[object] | None = None,
        task_resolver: object = None,
        disable_deck: bool | None = None,
        enable_deck: bool | None = None,
        deck_fields: Sequence[object] | None = None,
        pod_template_name: str | None = None,
        pickle_untyped: bool = False,
        shared_memory: bool | str | None = None,
        resources: Resources | None = None,
        labels: Mapping[str, str] | None = None,
        annotations: Mapping[str, str] | None = None,
        isolation: Isolation | None = None,
        affinity: Callable[..., object] | None = None,
        queue_timeout: float | timedelta | None = None,
    ) -> Callable[[Callable[P, R]], Task[P, R]]: ...

    def task(self, _task_function: Any = None, /, **options: Any) -> Any:
        """Make a function a task of this environment; bare, or with the arguments of `greenroom.task`.

        What belongs to the environment (requests, limits, image, variables, secrets, pod template, accelerator,
        interruptible) is refused here.

        Raises:
            TaskArgumentRefused: An argument is unknown, or belongs to the environment.
        """
        from greenroom.task import actor_task

        return actor_task(self, _task_function, options)

    def dynamic(self, _task_function: Callable[P, R], /) -> DynamicTask[P, R]:
        """Make a function a dynamic task whose body runs on this environment's replicas."""
        made: DynamicTask[P, R] = self.task(execution_mode="dynamic")(_task_function)  # type: ignore[assignment]
        return made


_TYPES: Final[tuple[tuple[str, type | tuple[type, ...], str], ...]] = (
    ("container_image", str, "the name of an image, or an ImageSpec"),
    ("environment", Mapping, 'a dict of text, like {"MODE": "fast"}'),
    ("requests", Resources, 'Resources(cpu="2", mem="4Gi")'),
    ("limits", Resources, 'Resources(cpu="2", mem="4Gi")'),
    ("accelerator", BaseAccelerator, "an accelerator, like greenroom.accelerators.A10G"),
    ("secret_requests", (list, tuple), 'a list of Secret(key="...")'),
    ("pod_template", PodTemplate, "PodTemplate(pod_spec=...)"),
    ("interruptible", bool, "True, False or None"),
)


def _check_name(name: object) -> None:
    taken = "lower case letters, digits, '-' and '.', with a letter or digit at both ends, at most 63 characters"
    if not isinstance(name, str) or not NAME.fullmatch(name) or len(name) > 63:
        remedy = ""
        if isinstance(name, str) and name:
            made = re.sub(r"[^a-z0-9.-]+", "-", name.lower())[:63].strip("-.")
            remedy = f"; {made!r} would do" if made else ""
        raise BadArgument("ActorEnvironment", "name", name, f"{taken}{remedy}")


def check_variables(who: str, variables: object) -> None:
    """Refuse environment variables that are no dict of text to text.

    Raises:
        BadArgument: With the entry in question.
    """
    if variables is None:
        return
    if not isinstance(variables, Mapping):
        raise BadArgument(who, "environment", variables, 'a dict of text, like {"MODE": "fast"}')
    for name, value in variables.items():
        if not isinstance(name, str) or not name or "=" in name or "\0" in name:
            raise BadArgument(who, "environment", name, "names that an environment variable can have")
        if not isinstance(value, str) or "\0" in value:
            raise BadArgument(who, "environment", {name: value}, f"text for {name}, like {str(value)!r}")
