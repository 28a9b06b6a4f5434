"""What a call does where no workflow is being defined: it runs here, or belongs to an async task that waits for it."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from typing import TYPE_CHECKING, Any

from greenroom.context import in_call
from greenroom.lines import caller
from greenroom.scopes import scope
from greenroom_core.program import Mode

if TYPE_CHECKING:
    from greenroom.launch_plan import LaunchPlan
    from greenroom.mapping import MapTask
    from greenroom.task import Task
    from greenroom.workflow import WorkflowBase


def call_task(task: Task[Any, Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """A task is called by user code: inside a running task it is its function, elsewhere it runs as on a hub."""
    inside = scope()
    if inside is not None:
        return inside.call(task, args, kwargs)
    if in_call() and task.mode is Mode.CALL:
        return task.function(*args, **kwargs) if not task.is_replaced else task.execute(**_named(task, args, kwargs))
    if task.is_async:
        return _awaitable(task, args, kwargs)
    return _run(task, args, kwargs)


def _named(task: Task[Any, Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    return {**dict(zip(task.interface.inputs, args, strict=False)), **kwargs}


def call_workflow(workflow: WorkflowBase, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """A workflow is called by user code."""
    return _call(workflow, args, kwargs)


def call_plan(plan: LaunchPlan, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """A launch plan is called by user code."""
    return _call(plan, args, kwargs)


def call_map(mapping: MapTask[Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """A map is called by user code: what is given is a list, what is not keeps its default."""
    narrowed, lists = mapping.for_call(args, kwargs, caller())
    return _call(narrowed, (), lists)


def _call(entity: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    inside = scope()
    return inside.call(entity, args, kwargs) if inside is not None else _run(entity, args, kwargs)


def _run(entity: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    from greenroom.local import run

    return run(entity, args, kwargs)


def _awaitable(entity: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Coroutine[Any, Any, Any]:
    from greenroom.local import run_async

    return run_async(entity, args, kwargs)
