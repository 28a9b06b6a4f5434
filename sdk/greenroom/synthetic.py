"""Dynamic tasks that Greenroom makes itself, where a graph holds what only a running task can lay out.

A map over workflows, and a workflow that handles a failure, have nodes whose number or inputs are known at run time
only: a dynamic task yields them. Their functions are partials of functions here, so that replicas find them by name.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

from greenroom.options import Options
from greenroom.task import DynamicTask, EagerTask, Task
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


class SyntheticEager(EagerTask[Any, Any]):
    """An eager task that is made anew from what it was made of, wherever it is unpickled."""

    def __init__(self, entity: Any, key: str, function: Any, interface: Interface, made_by: tuple[Any, ...]) -> None:
        self.made_by = made_by
        options = Options(mode=Mode.EAGER, hints=(entity,))
        super().__init__(function, options, name=str(entity.name), key=key, interface=interface)

    def portable(self) -> Any:
        """Itself: its function says nothing about its inputs."""
        return self

    def __reduce__(self) -> Any:
        return self.made_by


def tolerant_map_of(mapping: MapTask[Any], over: tuple[str, ...]) -> SyntheticEager:
    """An eager task that calls a map's target for each item, and bears as many failures as the map may."""
    figures = (mapping.concurrency, mapping.min_successes, mapping.min_success_ratio)
    key = f"map:{mapping.target.name}:{','.join(over)}:{figures}"
    body = partial(bear_each, mapping.target, over, *figures)
    return SyntheticEager(mapping.target, key, body, mapping.interface_over(over), (tolerant_map_of, (mapping, over)))


async def bear_each(
    entity: Any,
    over: tuple[str, ...],
    concurrency: int | None,
    successes: int | None,
    ratio: float,
    **inputs: Any,
) -> Any:
    """The body of `tolerant_map_of`.

    Raises:
        ValueError: The lists have different lengths.
        Exception: The first item's that failed, where too many have.
    """
    import asyncio  # Not above: who defines a map does not run it.

    from greenroom.eager import awaited

    count = _length(over, inputs)
    needed = min(count, successes if successes is not None else math.ceil(count * ratio - 1e-9))
    room = asyncio.Semaphore(concurrency or max(1, count))
    errors: list[Exception] = []

    async def one(index: int) -> Any:
        async with room:
            if count - len(errors) < needed:
                return None  # It can only fail; the first error tells why.
            try:
                return await awaited(entity(**_item_of(over, inputs, index)))
            except Exception as error:
                errors.append(error.__cause__ if isinstance(error.__cause__, Exception) else error)
                return None

    results = await asyncio.gather(*(one(index) for index in range(count)))
    if count - len(errors) < needed:
        raise errors[0]
    outputs = len(entity.interface.outputs)
    if outputs < 2:
        return results if outputs else None
    return tuple([None if row is None else row[place] for row in results] for place in range(outputs))


def _item_of(over: tuple[str, ...], inputs: dict[str, Any], index: int) -> dict[str, Any]:
    return {name: value[index] if name in over else value for name, value in inputs.items()}


def _length(over: tuple[str, ...], inputs: dict[str, Any]) -> int:
    """How many items there are.

    Raises:
        ValueError: The lists have different lengths.
    """
    lengths = {name: len(inputs[name]) for name in over}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} has {n}" for name, n in lengths.items())
        raise ValueError(f"the lists that it maps over have different lengths: {told}")
    return next(iter(lengths.values()))


def call_each(entity: Any, over: tuple[str, ...], concurrency: int | None, **inputs: Any) -> Any:
    """The body of `map_of`.

    Raises:
        ValueError: The lists have different lengths.
    """
    results: list[Any] = []
    for index in range(_length(over, inputs)):
        result = entity(**_item_of(over, inputs, index))
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
