"""`dynamic`: a task whose body, run with real values, lays out a graph that runs in its place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast, overload

from greenroom import building
from greenroom.building import Builder, Compiled
from greenroom.conditions import close
from greenroom.task import DynamicTask, task
from greenroom.workflow import bind_outputs

if TYPE_CHECKING:
    from greenroom.task import Task

P = ParamSpec("P")
R = TypeVar("R")


@overload
def dynamic(_task_function: Callable[P, R], /) -> DynamicTask[P, R]: ...


@overload
def dynamic(**options: Any) -> Callable[[Callable[P, R]], DynamicTask[P, R]]: ...


def dynamic(_task_function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Make a function a dynamic task: when its turn comes its body runs with real values, and the calls in it run then.

    In the body, calls of tasks give promises, as in a workflow; inputs are values, so that loops and conditions on
    them are plain Python.

    Args:
        _task_function: The function, for `@dynamic` without arguments.
        **options: As for `task`.
    """
    made = task(**{**options, "execution_mode": "dynamic"})
    return made if _task_function is None else cast("DynamicTask[Any, Any]", made(_task_function))


def laid_out(entity: Any, args: tuple[Any, ...], kwargs: Mapping[str, object]) -> Compiled:
    """The graph of a single call, with values as its inputs: what an async task asks its hub to run.

    Raises:
        DefinitionError: The call is not in order.
    """
    builder = Builder(str(entity.short_name))
    with building.building(builder):
        returned = entity(*args, **kwargs)
        for draft in builder.drafts:
            close(draft)
        outputs = bind_outputs(builder, returned, entity.interface, f"call of {entity.name}", "")
    return builder.finish((), outputs)


def lay_out(entity: Task[Any, Any], inputs: Mapping[str, object]) -> Compiled:
    """Run a dynamic task's body; answers the graph that it makes.

    Args:
        entity: The task.
        inputs: Its inputs, as values.

    Raises:
        DefinitionError: The body misuses promises, or returns what it does not promise.
    """
    builder = Builder(entity.name)
    with building.building(builder):
        returned = (entity._stand_in or entity.function)(**inputs)
        for draft in builder.drafts:
            close(draft)
        outputs = bind_outputs(builder, returned, entity.interface, f"dynamic task {entity.name}", entity.line)
    return builder.finish((), outputs)
