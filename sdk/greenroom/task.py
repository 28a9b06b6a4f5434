"""`task`: a function whose calls are nodes of workflows, and which runs here and now where no workflow is defined."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Generic, ParamSpec, TypeVar, overload

from greenroom import building, redefinition
from greenroom.building import Builder, Draft
from greenroom.calls import arguments, wires
from greenroom.definition_errors import BadArgument, DefinitionError, WrongPlace
from greenroom.described import Described
from greenroom.environment import ActorEnvironment, Isolation
from greenroom.interfaces import GraphInterface, interface_of, output_types, tuple_name
from greenroom.lines import caller, defined
from greenroom.naming import find, module_of, name_of
from greenroom.options import Cache, Options, Retry, affinity_paths, read_options
from greenroom.promises import outputs_of
from greenroom.returns import check_returns
from greenroom_core.graph import NodeKind
from greenroom_core.program import Mode

if TYPE_CHECKING:
    from datetime import timedelta

    from greenroom.accelerators import BaseAccelerator
    from greenroom.metadata import TaskMetadata
    from greenroom.pods import PodTemplate
    from greenroom.resources import Resources
    from greenroom.secrets import Secret
    from greenroom.types import Interface

P = ParamSpec("P")
R = TypeVar("R")


class Task(Described, Generic[P, R]):
    """A user's function with what its decorator said.

    Called while a workflow (or the body of a dynamic task) is being defined, it becomes a node and gives promises.
    Called in a running task, it is the plain function. Called anywhere else it runs here and now as on a hub: on the
    same state machine, with its retries and timeout, its values through their codecs.

    Attributes:
        function: What was decorated.
        name: `module.function`.
        options: What the decorator said.
        interface: Its inputs and outputs.
        line: `file:line` of the definition.
    """

    is_reference: ClassVar[bool] = False
    """Whether it stands for a task that was registered elsewhere."""

    def __init__(
        self,
        function: Callable[P, R],
        options: Options,
        *,
        key: str | None = None,
        name: str | None = None,
        interface: Interface | None = None,
    ) -> None:
        self.function = function
        self.options = options
        self.name = name or name_of(function)
        self.key = key or self.name
        """What the graph calls it: the name, and for a variant what it is of."""
        self.line = defined(function)
        self.interface = interface or interface_of(function, self.name, options.untyped)
        self._stand_in: Callable[..., Any] | None = None
        if key is None:
            self._check()
            redefinition.define(self.name, function)
        self.__wrapped__ = function
        for attribute in ("__module__", "__name__", "__qualname__", "__doc__", "__annotations__"):
            if (value := getattr(function, attribute, None)) is not None:  # Not __dict__: its names could be ours.
                setattr(self, attribute, value)

    def _check(self) -> None:
        self.check_body()
        who = f"task {self.name}"
        for name in self.options.cache.ignored if self.options.cache else ():
            if name not in self.interface.inputs:
                raise BadArgument(who, "cache_ignore_input_vars", name, f"inputs: {', '.join(self.interface.inputs)}")
        _ = self.affinity  # What is wrong with it is said now.
        environment = self.options.environment
        if environment is not None and environment.concurrency > 1 and not self.is_async:
            most = f"async def functions, since {environment.name!r} has concurrency={environment.concurrency}"
            raise BadArgument(f"environment {environment.name!r}", "task", self.short_name, most).at(self.line)

    def check_body(self) -> None:
        """Refuse a body that cannot give what its annotation promises."""
        check_returns(self.function, self.interface, self.name)

    @property
    def short_name(self) -> str:
        """The function's name: its nodes are called so."""
        return self.name.rsplit(".", 1)[-1]

    @property
    def module(self) -> str:
        """The module that the function is defined in."""
        return module_of(self.function)

    @property
    def task_function(self) -> Callable[P, R]:
        """What was decorated."""
        return self.function

    @property
    def metadata(self) -> TaskMetadata:
        """What its decorator said of retries, timeout and caching, as programs for Flyte read it."""
        from greenroom.metadata import TaskMetadata

        return TaskMetadata.of(self.options)

    @property
    def mode(self) -> Mode:
        """What is made of its result."""
        return self.options.mode

    @property
    def is_async(self) -> bool:
        """Whether its calls are to be awaited."""
        function = self.function
        return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(inspect.unwrap(function))

    @property
    def environment(self) -> ActorEnvironment | None:
        """Its actor environment; None for a plain task."""
        return self.options.environment

    @property
    def recoverable_only(self) -> bool:
        """Whether `retries` counts only for errors that ask for it."""
        return self.options.retry.recoverable_only

    @property
    def affinity(self) -> list[list[str | int]]:
        """The inputs (or parts of them) that decide where its calls are warm; empty if the hub finds out."""
        if self.options.affinity is None:
            return []
        return affinity_paths(f"task {self.name}", self.options.affinity, list(self.interface.inputs))

    def variant(self, options: Options) -> Task[P, R]:
        """The same function, treated otherwise."""
        if options == self.options:
            return self
        return type(self)(self.function, options, key=f"{self.name}@{_mark(options)}")

    def same_text(self, other: Task[Any, Any]) -> bool:
        """Whether another task of this name is the same one, defined again."""
        return self.options == other.options and _code(self.function) == _code(other.function)

    @property
    def is_plain(self) -> bool:
        """Whether nothing is to be done about its function but to call it."""
        return self.mode is Mode.CALL and not self.is_async

    @property
    def fn(self) -> Callable[..., Any]:
        """What a replica calls: the function, with what an async one needs around it."""
        if self.is_plain:
            return self.function
        from greenroom.attempts import in_scope

        @functools.wraps(self.function)
        async def body(**inputs: Any) -> Any:
            return await in_scope(self.function(**inputs))  # type: ignore[arg-type,call-arg]

        return body

    def execute(self, **inputs: Any) -> Any:
        """Call the function with values, here and now and nothing around it; tests put mocks in the place of this."""
        return (self._stand_in or self.function)(**inputs)  # type: ignore[call-arg]

    @property
    def is_replaced(self) -> bool:
        """Whether a test has put something else in its place."""
        return self._stand_in is not None or "execute" in self.__dict__

    def portable(self) -> Any:
        """What travels where the task has no name to be found by."""
        if self.is_plain:
            return self.function
        return type(self)(self.function, Options(mode=self.mode, untyped=self.options.untyped), key=self.key)

    def node(
        self, builder: Builder, args: Sequence[object], kwargs: Mapping[str, object], line: str
    ) -> tuple[Draft, Any]:
        """Add a call to a graph; answers its node and its promises."""
        given = arguments(self.short_name, self.interface, args, kwargs, line)
        inputs = wires(builder, f"task {self.name!r}", self.interface, given, line)
        draft = builder.add(
            Draft(
                builder,
                NodeKind.TASK,
                self.short_name,
                line=line,
                target=self,
                inputs=inputs,
                outputs=self.interface.outputs,
            )
        )
        return draft, outputs_of(builder, draft, output_types(self.interface), tuple_name(self.interface))

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        builder = building.current()
        if builder is not None:
            return self.node(builder, args, kwargs, caller())[1]  # type: ignore[no-any-return]
        from greenroom.running import call_task

        return call_task(self, args, kwargs)  # type: ignore[no-any-return]

    def __get__(self, instance: object, owner: type | None = None) -> Task[P, R]:
        # A task in a class is a function beside the class, as a staticmethod is.
        return self

    def __rshift__(self, other: object) -> Any:
        remedy = f"order its calls: {self.short_name}(...) >> other(...)"
        raise WrongPlace(f"{self.short_name} >> {other!r}: a task has no place in the order", remedy)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.key}>"

    def __reduce__(self) -> Any:
        module, qualname = self.function.__module__, getattr(self.function, "__qualname__", "")
        if module != "__main__" and find(module, qualname) is self:
            return (find, (module, qualname))
        return (type(self)._restored, (self.function, self.options, self.key))

    @classmethod
    def _restored(cls, function: Callable[..., Any], options: Options, key: str) -> Task[Any, Any]:
        return cls(function, options, key=key)


class ActorTask(Task[P, R]):
    """A task of an actor environment."""

    @classmethod
    def from_task(
        cls, task: Task[P, R], replica_count: int, ttl_seconds: float = 60, name: str | None = None
    ) -> ActorTask[P, R]:
        """A plain task's function as a task of an environment that is made for it.

        Args:
            task: The plain task; its container becomes the environment's.
            replica_count: The most replicas.
            ttl_seconds: How long the pool is kept idle.
            name: Of the environment; the function's name with `-` for `_` unless given.
        """
        from dataclasses import replace

        container = task.options.container
        environment = ActorEnvironment(
            name or task.short_name.replace("_", "-").lower().strip("-"),
            container.image,
            replica_count,
            ttl_seconds,
            dict(container.environment) or None,
            container.requests,
            container.limits,
            container.accelerator,
            list(container.secrets) or None,
            container.pod_template,
            container.interruptible,
        )
        options = replace(task.options, environment=environment, isolation=environment.isolation)
        return cls(task.function, options)


class DynamicTask(Task[P, R]):
    """A task whose body, run with real values, yields a graph that runs in its place."""

    def __init__(
        self,
        function: Callable[P, R],
        options: Options,
        *,
        key: str | None = None,
        name: str | None = None,
        interface: Interface | None = None,
    ) -> None:
        super().__init__(function, options, key=key, name=name, interface=interface)
        self.interface = GraphInterface.like(self.interface)

    @property
    def fn(self) -> Callable[..., Any]:
        """What a replica calls: it gives the graph, which the interface encodes."""
        from greenroom.dynamic import lay_out

        @functools.wraps(self.function)
        def body(**inputs: Any) -> Any:
            return lay_out(self, inputs)

        return body


class EagerTask(Task[P, R]):
    """An async task whose body calls other tasks while it runs."""


def _mark(options: Options) -> str:
    import hashlib

    return hashlib.sha256(repr(options).encode()).hexdigest()[:6]


def _code(function: Any) -> Any:
    code = getattr(inspect.unwrap(function), "__code__", None)
    if code is None:
        return function
    return (code.co_code, _constants(code), code.co_names, code.co_varnames, function.__defaults__)


def _constants(code: Any) -> tuple[Any, ...]:
    parts = (_constants(const) if inspect.iscode(const) else (type(const), const) for const in code.co_consts)
    return (code.co_code, code.co_names, *parts)


@overload
def task(_task_function: Callable[P, R], /) -> Task[P, R]: ...


@overload
def task(
    *,
    cache: bool | Cache = False,
    retries: int | Retry = 0,
    interruptible: bool | None = None,
    deprecated: str = "",
    timeout: float | timedelta | None = None,
    container_image: str | None = None,
    environment: Mapping[str, str] | None = None,
    requests: Resources | None = None,
    limits: Resources | None = None,
    secret_requests: Sequence[Secret] | None = None,
    execution_mode: object = None,
    node_dependency_hints: Sequence[object] | None = None,
    task_resolver: object = None,
    docs: object = None,
    disable_deck: bool | None = None,
    enable_deck: bool | None = None,
    deck_fields: Sequence[object] | None = None,
    pod_template: PodTemplate | None = None,
    pod_template_name: str | None = None,
    accelerator: BaseAccelerator | None = None,
    pickle_untyped: bool = False,
    shared_memory: bool | str | None = None,
    resources: Resources | None = None,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    cache_serialize: bool = False,
    cache_version: str = "",
    cache_ignore_input_vars: Sequence[str] = (),
    isolation: Isolation | None = None,
    affinity: Callable[..., object] | None = None,
    queue_timeout: float | timedelta | None = None,
    task_config: ActorEnvironment | None = None,
) -> Callable[[Callable[P, R]], Task[P, R]]: ...


def task(_task_function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Make a function a task: each call runs by itself, in a fresh runner (process, container or pod).

    Every parameter needs a type, and so does the result if there is one.

    Args:
        _task_function: The function, for `@task` without arguments.
        **options: `cache` (True or `Cache(...)`), `cache_version`, `cache_serialize`, `cache_ignore_input_vars`;
            `retries` (a number or `Retry(...)`), `timeout` and `queue_timeout` (seconds or timedelta); the container:
            `container_image`, `environment`, `requests`, `limits`, `resources`, `accelerator`, `shared_memory`,
            `secret_requests`, `pod_template`, `pod_template_name`, `labels`, `annotations`, `interruptible`;
            `isolation` and `affinity` for placement; `execution_mode`, `node_dependency_hints`, `docs`,
            `enable_deck`, `deck_fields`, `pickle_untyped`, `deprecated`.

    Raises:
        TaskArgumentRefused: An argument is unknown.
        BadArgument: An argument's value is not taken.
        AnnotationProblem: A parameter has no type.
        MissingReturn: The body returns nothing, though an output is promised.
    """
    environment = options.pop("task_config", None)
    if environment is not None and not isinstance(environment, ActorEnvironment):
        raise BadArgument("task", "task_config", environment, "an ActorEnvironment, or none")
    return _decorator("task", environment, _task_function, options)


def actor_task(environment: ActorEnvironment, function: Callable[..., Any] | None, options: Mapping[str, Any]) -> Any:
    """What `ActorEnvironment.task` does."""
    return _decorator(f"@{environment.name}.task", environment, function, options)


def _decorator(
    who: str, environment: ActorEnvironment | None, function: Callable[..., Any] | None, options: Mapping[str, Any]
) -> Any:
    line = caller()
    recoverable_only = getattr(environment, "recoverable_only", False)

    def decorate(function: Callable[..., Any]) -> Task[..., Any]:
        return make_task(who, environment, function, options, recoverable_only)

    try:
        if function is None:
            read_options(who, options, environment)  # What is wrong with them is said at the decorator's line.
            return decorate
        return decorate(function)
    except DefinitionError as problem:
        raise problem.at(line) from None


def make_task(
    who: str,
    environment: ActorEnvironment | None,
    function: Callable[..., Any],
    options: Mapping[str, Any],
    recoverable_only: bool = False,
) -> Task[..., Any]:
    """A task of the class that its arguments ask for.

    Args:
        who: The decorator, for errors.
        environment: The actor environment; None for a plain task.
        function: The user's function.
        options: The decorator's arguments.
        recoverable_only: Only errors that ask for it are retried, as programs written for Flyte expect.
    """
    if isinstance(function, Task):
        raise WrongPlace(f"{who} around {function!r}: it is a task already", "decorate the function once")
    if not callable(function):
        raise BadArgument(who, "the decorated object", function, "a function")
    read = read_options(who, options, environment, recoverable_only)
    if read.mode is Mode.DYNAMIC:
        return DynamicTask(function, read)
    if read.mode is Mode.EAGER:
        return EagerTask(function, read)
    return ActorTask(function, read) if environment is not None else Task(function, read)
