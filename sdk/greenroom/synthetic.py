"""Dynamic tasks that Greenroom makes itself, where a graph holds what only a running task can lay out.

A map over workflows, and a workflow that handles a failure, have nodes whose number or inputs are known at run time
only: a dynamic task yields them. Their functions are partials of functions here, so that replicas find them by name.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from greenroom.options import Options
from greenroom.task import DynamicTask, Task
from greenroom_core.program import Mode

if TYPE_CHECKING:
    from greenroom.mapping import MapTask
    from greenroom.types import Interface


class SyntheticTask(DynamicTask[Any, Any]):
    """A dynamic task that is made anew from what it was made of, wherever it is unpickled."""

    def __init__(self, entity: Any, key: str, function: Any, interface: Interface, made_by: tuple[Any, ...]) -> None:
        self.made_by = made_by
        options = Options(mode=Mode.DYNAMIC, hints=(entity,))
        super().__init__(function, options, name=str(entity.name), key=key, interface=interface)

    def portable(self) -> Any:
        """Itself: its function says nothing about its inputs."""
        return self

    def __reduce__(self) -> Any:
        return self.made_by


def handler_of(entity: Any) -> SyntheticTask:
    """A dynamic task that calls an entity with what it takes."""
    function = partial(call, entity)
    return SyntheticTask(entity, f"call:{entity.name}", function, entity.interface, (handler_of, (entity,)))


def call(entity: Any, **inputs: Any) -> Any:
    """The body of `handler_of`."""
    return entity(**inputs)


def replaced_by(entity: Any, stand_in: Any) -> Task[Any, Any]:
    """A task that calls what a test has put in the place of a workflow."""
    return Task(stand_in, Options(), name=entity.name, key=f"mock:{entity.name}", interface=entity.interface)


def map_of(mapping: MapTask[Any], over: tuple[str, ...]) -> SyntheticTask:
    """A dynamic task that calls a map's target once for each item of its lists."""
    target, concurrency = mapping.target, mapping.concurrency
    key = f"map:{target.name}:{','.join(over)}:{concurrency or 0}"
    body = partial(call_each, target, over, concurrency)
    return SyntheticTask(target, key, body, mapping.interface_over(over), (map_of, (mapping, over)))


def call_each(entity: Any, over: tuple[str, ...], concurrency: int | None, **inputs: Any) -> Any:
    """The body of `map_of`.

    Raises:
        ValueError: The lists have different lengths.
    """
    lengths = {name: len(inputs[name]) for name in over}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} has {n}" for name, n in lengths.items())
        raise ValueError(f"the lists that it maps over have different lengths: {told}")
    results: list[Any] = []
    for index in range(next(iter(lengths.values()))):
        result = entity(**{name: value[index] if name in over else value for name, value in inputs.items()})
        if concurrency and index >= concurrency:
            results[index - concurrency] >> result
        results.append(result)
    return _columns(results, len(entity.interface.outputs))


def _columns(results: list[Any], outputs: int) -> Any:
    if outputs == 0:
        return None
    if outputs == 1:
        return [result[0] if isinstance(result, tuple) else result for result in results]
    return tuple([result[position] for result in results] for position in range(outputs))
