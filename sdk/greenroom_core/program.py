"""What a client submits: a program (compiled once, named by its digest) and one submission of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from greenroom_core.entities import Query, Reference, Webhook
from greenroom_core.graph import Graph, check
from greenroom_core.retry import Retry
from greenroom_core.values import pack, unpack
from greenroom_core.wire import WireFault, from_wire, to_wire


class Mode(StrEnum):
    """What the hub makes of a task's result."""

    CALL = "call"
    """The result is the output."""
    DYNAMIC = "dynamic"
    """The result is a graph that runs in the task's place."""
    EAGER = "eager"
    """The task calls others while it runs, as nodes of the same execution."""


@dataclass(frozen=True, slots=True)
class Cached:
    """How a task's outputs are reused across executions."""

    version: str
    """Given by the user, or derived from the function's code."""
    ignore: tuple[str, ...] = ()
    """Inputs that do not count."""
    serialize: bool = False
    """One of equal concurrent calls runs, the others wait for it."""
    salt: str = ""


@dataclass(frozen=True, slots=True)
class Task:
    """A user's function and how its calls are treated."""

    name: str
    """`module.function`."""
    environment: str
    """Key of its environment in the program."""
    module: str = ""
    qualname: str = ""
    pickled: bytes | None = None
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    interface: Mapping[str, Any] = field(default_factory=dict)
    """Types of inputs and outputs as `greenroom.types` describes them, and defaults; for people and checks."""
    mode: Mode = Mode.CALL
    isolation: str = "reset"
    """`reset`, `fork`, `none`; `fresh` for a regular task."""
    retry: Retry = Retry()
    timeout: float | None = None
    queue_timeout: float | None = None
    interruptible: bool | None = None
    cached: Cached | None = None
    secrets: tuple[str, ...] = ()
    """Names (environment variables) of the secrets that it may read."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """For the replica, carried as they are."""


@dataclass(frozen=True, slots=True)
class Resources:
    """What one replica needs, in plain units."""

    cpu: float | None = None
    """Cores."""
    memory: int | None = None
    """Bytes."""
    gpu: int | None = None
    disk: int | None = None
    """Bytes."""
    accelerator: str | None = None


@dataclass(frozen=True, slots=True)
class Environment:
    """An actor environment as the hub needs it; `regular` for the one behind plain tasks."""

    name: str
    image: str | None = None
    from_spec: bool = False
    """Whether `image` names an ImageSpec rather than an image that exists."""
    packages: tuple[str, ...] = ()
    """What an ImageSpec asks for, as requirements."""
    image_notes: tuple[str, ...] = ()
    """What of an ImageSpec cannot be honoured in a process (apt packages, commands), for people."""
    replica_count: int = 1
    ttl: float | None = None
    """Seconds; None for the hub's default."""
    min_replicas: int = 0
    scaledown_ttl: float | None = None
    concurrency: int = 1
    env: Mapping[str, str] = field(default_factory=dict)
    requests: Resources = Resources()
    limits: Resources = Resources()
    secrets: tuple[str, ...] = ()
    pod: Mapping[str, Any] = field(default_factory=dict)
    """The rest of a pod template, as plain data; processes say once that they cannot apply it."""
    interruptible: bool | None = None
    regular: bool = False
    cache_memory: int | None = None
    cache_gpu_memory: int | None = None
    max_calls: int | None = None
    max_memory: int | None = None
    max_age: float | None = None
    prewarm: tuple[Mapping[str, Any], ...] = ()
    launcher: str | None = None


@dataclass(frozen=True, slots=True)
class Interpreter:
    """The Python that user code runs on when replicas are processes."""

    executable: str
    version: str
    """`3.11.7`."""
    distributions: str
    """Digest of what is installed."""
    paths: tuple[str, ...] = ()
    """Folders put before the interpreter's own, where it has no greenroom of its own."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Variables that must stand before Python starts (LD_*, PYTHON*, MALLOC_*)."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A launch plan that nodes of the program call."""

    name: str
    graph: Graph
    inputs: Mapping[str, bytes] = field(default_factory=dict)
    """Defaults of the inputs that the caller leaves out."""
    fixed: Mapping[str, bytes] = field(default_factory=dict)
    """Inputs that the caller cannot change."""
    reference: Reference | None = None
    """The registered entity that runs in place of `graph`, which is empty then."""
    interface: Mapping[str, Any] = field(default_factory=dict)
    """Of a reference: the types that its stub says, checked against those that were registered."""


@dataclass(frozen=True, slots=True)
class Program:
    """A compiled entity with everything that it needs to run. Its digest names it; the hub keeps one copy."""

    entity: str
    """`module.name`, for people."""
    project: str
    graph: Graph
    tasks: Mapping[str, Task]
    environments: Mapping[str, Environment]
    plans: Mapping[str, Plan] = field(default_factory=dict)
    bundle: str | None = None
    """Hash of the user's code."""
    origin: str = ""
    """The user's root folder, for tracebacks."""
    cwd: str = ""
    """Where calls stand within the bundle."""
    alias: bool = False
    """Whether `union` and `flytekit` are served by Greenroom."""
    interpreter: Interpreter | None = None
    interface: Mapping[str, Any] = field(default_factory=dict)

    def pack(self) -> bytes:
        """Encode; the same program always gives the same bytes."""
        return pack(to_wire(self))

    @classmethod
    def unpack(cls, packed: bytes) -> Program:
        """Read and check a program from outside.

        Raises:
            WireFault: A field is missing or wrong, or the graph cannot run.
        """
        program = from_wire(cls, unpack(packed), "program")
        program.check()
        return program

    def check(self) -> None:
        """Refuse a program whose parts do not fit together.

        Raises:
            WireFault: With the part in question.
        """
        for graph in [self.graph, *(plan.graph for plan in self.plans.values())]:
            check(graph, self.tasks, self.plans)
        for key, task in self.tasks.items():
            if task.environment not in self.environments:
                raise WireFault(f"task {key!r} runs in {task.environment!r}, which the program does not define")
            _check_task(key, task)
        for environment in self.environments.values():
            _check_environment(environment)


def _check_task(key: str, task: Task) -> None:
    for seconds in (task.timeout, task.queue_timeout):
        if seconds is not None and seconds <= 0:
            raise WireFault(f"task {key!r} has a timeout of {seconds} s: it must be above 0")
    if task.retry.times < 0 or task.retry.backoff < 0 or task.retry.max_backoff < 0 or not 0 <= task.retry.jitter <= 1:
        raise WireFault(f"task {key!r} has {task.retry}: counts and delays are not negative, jitter is from 0 to 1")


def _check_environment(environment: Environment) -> None:
    least = {
        "replica_count": (environment.replica_count, 1),
        "concurrency": (environment.concurrency, 1),
        "min_replicas": (environment.min_replicas, 0),
        "ttl": (environment.ttl, 0),
        "scaledown_ttl": (environment.scaledown_ttl, 0),
        "max_calls": (environment.max_calls, 1),
        "max_memory": (environment.max_memory, 1),
        "max_age": (environment.max_age, 0),
        "cache_memory": (environment.cache_memory, 0),
        "cache_gpu_memory": (environment.cache_gpu_memory, 0),
    }
    for asked, told in (("requests", environment.requests), ("limits", environment.limits)):
        for name in ("cpu", "memory", "gpu", "disk"):
            least[f"{asked}.{name}"] = (getattr(told, name), 0)
    for name, (value, most) in least.items():
        if value is not None and value < most:
            raise WireFault(f"environment {environment.name!r} has {name}={value}: it must be at least {most}")


def program_digest(packed: bytes) -> str:
    """The name of a packed program: 32 hex digits."""
    return hashlib.sha256(packed).hexdigest()[:32]


class CachedResults(StrEnum):
    """How an execution treats cached results."""

    USE = "use"
    REFRESH = "refresh"
    OFF = "off"


class Reuse(StrEnum):
    """What an execution takes over from the earlier one that it repeats."""

    NOTHING = "nothing"
    UNFAILED = "unfailed"
    """All calls that succeeded: failed items of maps run again, and what depends on them."""
    SUCCEEDED = "succeeded"
    """All nodes that succeeded, with the items that failed in them; and succeeded items of maps that failed."""


@dataclass(frozen=True, slots=True)
class Submission:
    """One wish to run a program."""

    program: str
    """Digest of the program, which the hub must know or get along."""
    inputs: Mapping[str, bytes] = field(default_factory=dict)
    """Encoded; what is missing takes the graph's defaults, which the client filled in."""
    name: str | None = None
    """The execution's id, if the user chose one."""
    by: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    """Environment variables for every call: those of the submitting shell on a local hub, else `--env`."""
    secrets: Mapping[str, str] = field(default_factory=dict)
    """Values of the secrets that were found where the program was submitted, by environment variable."""
    cached_results: CachedResults = CachedResults.USE
    priority: int = 0
    deadline: float | None = None
    """Seconds from submission after which the execution is cancelled as timed out."""
    strict: bool = False
    """Refuse what a local hub would cut to the machine's size."""
    key: str = ""
    """Idempotency key: a second submission with it finds the first one's execution."""
    rerun_of: str = ""
    """The execution that it repeats."""
    reuse: Reuse = Reuse.NOTHING
    """What is taken over from that one."""
    registered: Reference | None = None
    """The registered entity that it runs; its program, defaults and fixed inputs count, whatever is said here."""
    nominal_ms: int | None = None
    """The time of its plan's schedule that it was started for, milliseconds since the epoch; the hub sets it."""
    webhooks: tuple[Webhook, ...] = ()
    """Who is told of its end."""
    queries: Mapping[str, Query] = field(default_factory=dict)
    """Inputs that the hub looks up as artifacts."""
