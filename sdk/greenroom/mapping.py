"""`map`: one call for each item of a list (or of several, side by side)."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Generic, ParamSpec, TypeVar

from greenroom import building
from greenroom.building import Builder, Draft, Wire
from greenroom.calls import arguments, wires
from greenroom.definition_errors import BadArgument, UnknownArgument
from greenroom.interfaces import mapped, output_types, tuple_name, with_defaults
from greenroom.lines import caller
from greenroom.promises import outputs_of
from greenroom.quantities import whole
from greenroom.task import EagerTask, Task
from greenroom.workflow import WorkflowBase
from greenroom_core.graph import NodeKind
from greenroom_core.program import Mode

if TYPE_CHECKING:
    from greenroom.compat.interfaces import Interface as PythonInterface
    from greenroom.metadata import TaskMetadata
    from greenroom.types import Interface

P = ParamSpec("P")
R = TypeVar("R")

_TARGETS: Final = "a task, a workflow, a launch plan, or functools.partial of one"


class MapTask(Generic[R]):
    """A task (or what else is called) that goes over lists.

    Attributes:
        target: What is called for each item.
        bound: Inputs that are the same for all items.
        interface: Inputs and outputs: lists where the target has single values.
    """

    def __init__(
        self,
        target: Any,
        bound: Mapping[str, object],
        *,
        concurrency: int | None = None,
        min_successes: int | None = None,
        min_success_ratio: float | None = None,
    ) -> None:
        self.target = target
        self.bound = dict(bound)
        self.concurrency = concurrency or None
        self.min_successes = min_successes
        self.min_success_ratio = 1.0 if min_success_ratio is None else float(min_success_ratio)
        self.metadata: dict[str, Any] = {}

    @property
    def name(self) -> str:
        """`module.map_function`, with a mark for what it does otherwise than a plain map."""
        module, _, function = str(self.target.name).rpartition(".")
        told = (sorted(self.bound), self.concurrency, self.min_successes, self.min_success_ratio)
        mark = "" if told == ([], None, None, 1.0) else f"_{zlib.crc32(repr(told).encode()):08x}"
        return f"{module}.map_{function}{mark}" if module else f"map_{function}{mark}"

    @property
    def short_name(self) -> str:
        """The function's name: what its node is called."""
        return str(self.target.short_name)

    @property
    def tolerant(self) -> bool:
        """Whether items may fail: their results are None then."""
        return self.min_successes is not None or self.min_success_ratio < 1

    @property
    def interface(self) -> Interface:
        """Inputs and outputs of the map if every input that is not bound is a list."""
        over = [name for name in self.target.interface.inputs if name not in self.bound]
        return with_defaults(self.interface_over(over), {}, without=self.bound)

    @property
    def python_interface(self) -> PythonInterface:
        """Inputs and outputs by their Python types; what is bound keeps its own."""
        from greenroom.compat.interfaces import python_interface

        return python_interface(
            self.interface_over([name for name in self.target.interface.inputs if name not in self.bound])
        )

    def interface_over(self, over: Sequence[str]) -> Interface:
        """Inputs and outputs of the map over some of its inputs."""
        interface: Interface = self.target.interface
        return mapped(interface, over, self.tolerant)

    def over(self, given: Mapping[str, object]) -> tuple[str, ...]:
        """Which inputs are lists: all that are given and not bound. What is not given keeps its default."""
        inputs = self.target.interface.inputs
        return tuple(
            name
            for name, parameter in inputs.items()
            if name not in self.bound and (name in given or parameter.required)
        )

    def with_overrides(self, **overrides: Any) -> MapTask[R]:
        """The same map whose items are treated otherwise than the task says."""
        copy = self._copy()
        copy.metadata.update(overrides)
        return copy

    def _copy(self) -> MapTask[R]:
        copy = MapTask[R](
            self.target,
            self.bound,
            concurrency=self.concurrency,
            min_successes=self.min_successes,
            min_success_ratio=self.min_success_ratio,
        )
        copy.metadata = dict(self.metadata)
        return copy

    def node(
        self, builder: Builder, args: Sequence[object], kwargs: Mapping[str, object], line: str
    ) -> tuple[Draft, Any]:
        """Add the map to a graph; answers its node and its promises."""
        given, over = self._given(args, kwargs, line)
        interface = self.interface_over(over)
        target = self._task(over)
        inputs = wires(builder, f"map over {self.target.name!r}", interface, given, line)
        _check_lengths(inputs, over, self.target.name, line)
        kind = NodeKind.MAP if target is self.target else NodeKind.TASK
        outputs = interface.outputs
        draft = builder.add(
            Draft(
                builder,
                kind,
                self.short_name,
                line=line,
                target=target,
                inputs=inputs,
                outputs=outputs,
                called=self,
            )
        )
        if kind is NodeKind.MAP:
            draft.over = over
            draft.concurrency = self.concurrency
            draft.min_successes = self.min_successes
            draft.min_success_ratio = self.min_success_ratio
        promises = outputs_of(builder, draft, output_types(interface), tuple_name(interface))
        if self.metadata:
            promises.with_overrides(**self.metadata)
        return draft, promises

    def for_call(
        self, args: Sequence[object], kwargs: Mapping[str, object], line: str
    ) -> tuple[MapTask[R], dict[str, object]]:
        """The map of exactly the lists that are given, everything else bound; and the lists."""
        given, over = self._given(args, kwargs, line)
        narrowed = self._copy()
        narrowed.bound = {name: value for name, value in given.items() if name not in over}
        return narrowed, {name: given[name] for name in over}

    def _given(
        self, args: Sequence[object], kwargs: Mapping[str, object], line: str
    ) -> tuple[dict[str, object], tuple[str, ...]]:
        """All inputs of the target, bound ones and defaults included, and which of them are lists."""
        inputs = self.target.interface.inputs
        free = [name for name in inputs if name not in self.bound]
        by_name = dict(zip(free, args, strict=False))
        for name, value in kwargs.items():
            if name in self.bound and name in inputs:
                raise UnknownArgument(self.name, name, [*free, f"({name} is bound by partial)"]).at(line)
            if name in by_name:
                raise UnknownArgument(self.name, name, free).at(line)
            by_name[name] = value
        over = self.over(by_name)
        if not over:
            raise BadArgument(self.name, "inputs", {}, "at least one list to go over").at(line)
        positional = args[len(free) :]
        given = arguments(self.short_name, self.target.interface, (), {**self.bound, **by_name}, line)
        if positional:
            raise BadArgument(self.name, "inputs", len(args), f"at most {len(free)} by position").at(line)
        return given, over

    def _task(self, over: tuple[str, ...]) -> Task[Any, Any]:
        """The task that the node calls: the target, or one of our own that calls what else is mapped."""
        from greenroom.synthetic import map_of, tolerant_map_of

        if isinstance(self.target, Task) and self.target.mode is not Mode.DYNAMIC and not self.target.is_reference:
            return self.target
        return tolerant_map_of(self, over) if self.tolerant else map_of(self, over)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Go over lists.

        Args:
            *args: By position, the inputs that are not bound: lists.
            **kwargs: By name.

        Returns:
            A list of results in the order of the items; for a target with several outputs a tuple of lists.
        """
        builder = building.current()
        if builder is not None:
            return self.node(builder, args, kwargs, caller())[1]
        from greenroom.running import call_map

        return call_map(self, args, kwargs)

    def __reduce__(self) -> Any:
        figures = (self.concurrency, self.min_successes, self.min_success_ratio, self.metadata)
        return (_restored, (self.target, self.bound, *figures))

    def __repr__(self) -> str:
        return f"<map of {self.target.name}>"


def _restored(target: Any, bound: Any, concurrency: Any, successes: Any, ratio: Any, metadata: Any) -> MapTask[Any]:
    made = MapTask[Any](target, bound, concurrency=concurrency, min_successes=successes, min_success_ratio=ratio)
    made.metadata = dict(metadata)
    return made


def _check_lengths(inputs: Mapping[str, Wire], over: Sequence[str], name: str, line: str) -> None:
    """Refuse lists of different lengths, as far as they are known.

    Raises:
        BadArgument: With both lengths.
    """
    from greenroom.building import ListOf
    from greenroom.inlining import Given

    lengths: dict[str, int] = {}
    for key in over:
        given = inputs[key]
        if isinstance(given, ListOf):
            lengths[key] = len(given.items)
        elif isinstance(given, Given) and isinstance(given.value, Sequence):
            lengths[key] = len(given.value)
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{key} has {n}" for key, n in lengths.items())
        raise BadArgument(f"map over {name}", "the lists", told, "one length").at(line)


def map_task(
    target: Any,
    concurrency: int | None = None,
    min_successes: int | None = None,
    min_success_ratio: float | None = None,
    *,
    bound_inputs: Mapping[str, object] | None = None,
    run_all_sub_nodes: bool = False,
    metadata: TaskMetadata | None = None,
) -> MapTask[Any]:
    """A task that goes over lists; `map_task(t)(x=[1, 2])` calls `t(x=1)` and `t(x=2)`.

    Args:
        target: A task, workflow or launch plan, or `functools.partial` of one (with constants, promises or lists).
        concurrency: Items at a time; None or 0 for as many as replicas take.
        min_successes: Items that must succeed; failed ones give None.
        min_success_ratio: The same as a share of the items, 0 to 1.
        bound_inputs: Inputs that are the same for all items, as in `partial`.
        run_all_sub_nodes: Items that cannot change the outcome any more are run all the same: refused, since items of a
            map that has failed are always ended.
        metadata: Retries, timeout and caching of the items, where they differ from the task's.

    Raises:
        BadArgument: The target cannot be mapped, or a figure is out of bounds.
    """
    line = caller()
    bound = dict(bound_inputs or {})
    while isinstance(target, partial):
        names = list(getattr(getattr(target.func, "interface", None), "inputs", {}))
        if len(target.args) > len(names):
            raise BadArgument("map", "partial", target, "arguments that the task has").at(line)
        bound = {**dict(zip(names, target.args, strict=False)), **target.keywords, **bound}
        target = target.func
    _check_target(target, line)
    _check_figures(concurrency, min_successes, min_success_ratio, line)
    if run_all_sub_nodes:
        raise BadArgument("map_task", "run_all_sub_nodes", True, "False; with min_success_ratio=0 all items run").at(
            line
        )
    for name in bound:
        if name not in target.interface.inputs:
            raise UnknownArgument(target.short_name, name, list(target.interface.inputs)).at(line)
    made = MapTask[Any](
        target, bound, concurrency=concurrency, min_successes=min_successes, min_success_ratio=min_success_ratio
    )
    return made if metadata is None else made.with_overrides(**metadata.overrides())


def map(
    target: Any,
    bound_inputs: Mapping[str, object] | None = None,
    concurrency: int | None = None,
    min_successes: int | None = None,
    min_success_ratio: float | None = 1.0,
) -> MapTask[Any]:
    """Call a task for each item of a list: `map(classify)(batch=batches)`.

    Args:
        target: A task, workflow or launch plan, or `functools.partial` of one (with constants, promises or lists).
        bound_inputs: Inputs that are the same for all items, as in `partial`.
        concurrency: Items at a time; None or 0 for as many as replicas take.
        min_successes: Items that must succeed; failed ones give None.
        min_success_ratio: The same as a share of the items, 0 to 1.

    Raises:
        BadArgument: The target cannot be mapped, or a figure is out of bounds.
    """
    return map_task(target, concurrency, min_successes, min_success_ratio, bound_inputs=bound_inputs)


def _check_target(target: Any, line: str) -> None:
    from greenroom.launch_plan import LaunchPlan

    if isinstance(target, EagerTask):
        raise BadArgument("map", "the target", target, f"{_TARGETS}; gather the calls of @eager with asyncio").at(line)
    if isinstance(target, MapTask):
        raise BadArgument(
            "map", "the target", target, f"{_TARGETS}; to map in a map, map over a @workflow that maps"
        ).at(line)
    if not isinstance(target, (Task, WorkflowBase, LaunchPlan)):
        hint = "; decorate the function with @task" if isinstance(target, Callable) else ""  # type: ignore[arg-type]
        raise BadArgument("map", "the target", target, f"{_TARGETS}{hint}").at(line)


def _check_figures(concurrency: object, min_successes: object, ratio: object, line: str) -> None:
    if concurrency is not None:
        whole(concurrency, "map(concurrency=)", 0)
    if min_successes is not None:
        whole(min_successes, "map(min_successes=)", 0)
    if ratio is not None and (isinstance(ratio, bool) or not isinstance(ratio, (int, float)) or not 0 <= ratio <= 1):
        raise BadArgument("map", "min_success_ratio", ratio, "a share from 0 to 1").at(line)
