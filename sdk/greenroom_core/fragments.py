"""What a dynamic task yields: a graph that runs in its place, with what it needs beside the program's own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from greenroom_core.bindings import Binding, Constant, Gathered, Promise, Record
from greenroom_core.conditions import Both, Compare, Condition
from greenroom_core.graph import Case, Graph, Node, check
from greenroom_core.program import Environment, Plan, Task
from greenroom_core.values import Ext, Value, ValueFault, ext, ext_bounds, pack, unpack
from greenroom_core.wire import WireFault, from_wire, to_wire


@dataclass(frozen=True, slots=True)
class Fragment:
    """A graph made while an execution runs."""

    nodes: tuple[Node, ...] = ()
    outputs: Mapping[str, Binding] = field(default_factory=dict)
    """Of the dynamic node."""
    tasks: Mapping[str, Task] = field(default_factory=dict)
    environments: Mapping[str, Environment] = field(default_factory=dict)
    plans: Mapping[str, Plan] = field(default_factory=dict)

    def to_value(self) -> Value:
        """The value that a dynamic task returns."""
        return pack(ext(Ext.GRAPH, to_wire(self)))

    @classmethod
    def read(cls, value: Value) -> Fragment:
        """Read what `to_value` made.

        Raises:
            ValueFault: The value is no graph.
        """
        bounds = ext_bounds(value)
        if bounds is None or bounds[0] != Ext.GRAPH:
            raise ValueFault("a dynamic task must yield a graph")
        return from_wire(cls, unpack(value[bounds[1] : bounds[1] + bounds[2]]), "fragment")

    def within(self, owner: str) -> Fragment:
        """The same graph with its nodes' ids behind `owner`, so that they are unique in the execution."""
        nodes = tuple(_node(node, owner) for node in self.nodes)
        return replace(self, nodes=nodes, outputs={name: _binding(b, owner) for name, b in self.outputs.items()})

    def beside(self, environments: Mapping[str, Environment]) -> Fragment:
        """The same graph with other keys for environments that are called like different ones which are there already.

        Args:
            environments: Those of the execution so far.
        """
        keys: dict[str, str] = {}
        for key, environment in self.environments.items():
            free, number = key, 2
            while environments.get(free, environment) != environment or free in keys.values():
                free, number = f"{key}#{number}", number + 1
            keys[key] = free
        if all(key == free for key, free in keys.items()):
            return self
        tasks = {
            key: replace(task, environment=keys.get(task.environment, task.environment))
            for key, task in self.tasks.items()
        }
        return replace(self, tasks=tasks, environments={keys[key]: one for key, one in self.environments.items()})

    def check(
        self,
        tasks: Mapping[str, Task],
        environments: Mapping[str, Environment],
        plans: Mapping[str, Plan],
        outputs: Iterable[str],
    ) -> None:
        """Refuse a fragment that cannot run in its place.

        Args:
            tasks: All that its nodes may call, those of the program included.
            environments: All that these may run in.
            plans: All that its nodes may start.
            outputs: What the dynamic node must give.

        Raises:
            WireFault: With the part in question.
        """
        check(Graph(self.nodes, self.outputs), tasks, plans)
        for key, task in self.tasks.items():
            if task.environment not in environments:
                raise WireFault(f"task {key!r} runs in {task.environment!r}, which nobody defines")
        for plan in self.plans.values():
            check(plan.graph, tasks, plans)
        for name in outputs:
            if name not in self.outputs:
                raise WireFault(f"the graph does not give output {name!r}")


def _node(node: Node, owner: str) -> Node:
    return replace(
        node,
        id=f"{owner}.{node.id}",
        inputs={name: _binding(binding, owner) for name, binding in node.inputs.items()},
        after=tuple(f"{owner}.{name}" for name in node.after),
        cases=tuple(_case(case, owner) for case in node.cases),
        within=None if node.within is None else (f"{owner}.{node.within[0]}", node.within[1]),
    )


def _case(case: Case, owner: str) -> Case:
    when = None if case.when is None else _condition(case.when, owner)
    return replace(case, when=when, outputs={name: _binding(b, owner) for name, b in case.outputs.items()})


def _condition(condition: Condition, owner: str) -> Condition:
    if isinstance(condition, Both):
        return Both(_condition(condition.left, owner), condition.join, _condition(condition.right, owner))
    return Compare(_binding(condition.left, owner), condition.operator, _binding(condition.right, owner))


def _binding(binding: Binding, owner: str) -> Binding:
    if isinstance(binding, Constant):
        return binding
    if isinstance(binding, Promise):
        return replace(binding, node=f"{owner}.{binding.node}") if binding.node else binding
    if isinstance(binding, Gathered):
        return Gathered(tuple(_binding(item, owner) for item in binding.items))
    return Record({name: _binding(item, owner) for name, item in binding.items.items()})
