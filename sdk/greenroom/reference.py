"""References: tasks, workflows and plans that were registered on a hub, called by their names."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NoReturn, ParamSpec, TypeVar

from greenroom.definition_errors import BadArgument
from greenroom.errors import ReferenceUnresolved
from greenroom.interfaces import interface_of
from greenroom.launch_plan import LaunchPlan
from greenroom.options import Options
from greenroom.task import Task
from greenroom.workflow import WorkflowBase
from greenroom_core.entities import Kind, Reference
from greenroom_core.graph import Graph, Node, NodeKind
from greenroom_core.program import Plan

if TYPE_CHECKING:
    from greenroom.compat.idl.identity import Identifier

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class ReferenceId:
    """What a reference stands for."""

    kind: str
    project: str
    domain: str
    name: str
    version: str

    def __post_init__(self) -> None:
        for field in ("project", "domain", "name", "version"):
            value = getattr(self, field)
            if not isinstance(value, str):
                raise BadArgument(f"reference_{self.kind}", field, value, "text")

    def identifier(self) -> Identifier:
        """The same in Flyte's words."""
        from greenroom.compat.idl.identity import Identifier

        kind = {"task": 1, "workflow": 2}.get(self.kind, 3)
        return Identifier(kind, self.project, self.domain, self.name, self.version)


class ReferenceTask(Task[P, R]):
    """A task that was registered elsewhere; the function here says only what it takes and gives."""

    is_reference = True

    def __init__(self, function: Callable[P, R], reference: ReferenceId) -> None:
        self.reference = reference
        super().__init__(function, Options(), name=reference.name, key=_key(reference))
        self._stub = function
        self.function = _unresolved(reference)

    @property
    def id(self) -> Identifier:
        """What it stands for, in Flyte's words."""
        return self.reference.identifier()

    def __reduce__(self) -> Any:
        return (ReferenceTask, (self._stub, self.reference))


class ReferencePlan(LaunchPlan):
    """A launch plan, or a workflow, that was registered elsewhere."""

    is_reference = True

    def __init__(self, function: Callable[..., Any], reference: ReferenceId) -> None:
        self.reference = reference
        super().__init__(_key(reference), _ReferredWorkflow(function, reference))
        self._stub = function

    @property
    def id(self) -> Identifier:
        """What it stands for, in Flyte's words."""
        return self.reference.identifier()

    def __reduce__(self) -> Any:
        return (ReferencePlan, (self._stub, self.reference))

    @property
    def short_name(self) -> str:
        """What its nodes are called."""
        return self.reference.name.rsplit(".", 1)[-1]


class _ReferredWorkflow(WorkflowBase):
    def __init__(self, function: Callable[..., Any], reference: ReferenceId) -> None:
        super().__init__()
        self.name = reference.name
        self.reference = reference
        self.interface = interface_of(function, reference.name)

    def compile(self) -> NoReturn:
        raise ReferenceUnresolved(f"{self.reference.kind} reference", self.name)


def _key(reference: ReferenceId) -> str:
    return f"{reference.name}@{reference.version}" if reference.version else reference.name


def _unresolved(reference: ReferenceId) -> Callable[..., Any]:
    def call(**inputs: object) -> NoReturn:
        raise ReferenceUnresolved(f"{reference.kind} reference", reference.name)

    return call


# On the way to a hub --------------------------------------------------------------------------------------------------


def split_off(
    tasks: Mapping[str, Task[Any, Any]], plans: Mapping[str, LaunchPlan], project: str
) -> tuple[dict[str, Task[Any, Any]], dict[str, LaunchPlan], dict[str, Plan]]:
    """What a program defines itself, and what it only refers to: plans that the hub looks up by name.

    Args:
        tasks: All that its nodes call.
        plans: All that its nodes start.
        project: The program's, for references that name none.
    """
    own_tasks = {key: task for key, task in tasks.items() if not task.is_reference}
    own_plans = {key: plan for key, plan in plans.items() if not plan.is_reference}
    every: list[Any] = [*tasks.values(), *plans.values()]
    foreign = [entity for entity in every if entity.is_reference]
    return own_tasks, own_plans, {entity.key: _plan_of(entity, project) for entity in foreign}


def _plan_of(entity: Any, project: str) -> Plan:
    told: ReferenceId = entity.reference
    wanted = Reference(Kind(told.kind.replace(" ", "_")), told.project or project, told.name, told.version)
    return Plan(told.name, Graph(()), reference=wanted, interface=entity.interface.describe())


def as_children(nodes: Collection[Node], references: Collection[str]) -> tuple[Node, ...]:
    """Nodes, where calls of tasks that were registered elsewhere start executions of those."""
    return tuple(
        replace(node, kind=NodeKind.CHILD) if node.kind is NodeKind.TASK and node.target in references else node
        for node in nodes
    )


def with_children(graph: Graph, references: Collection[str]) -> Graph:
    """The same for a whole graph."""
    if not references:
        return graph
    handler = graph.on_failure
    made = as_children((handler,), references)[0] if handler is not None else None
    return replace(graph, nodes=as_children(graph.nodes, references), on_failure=made)


def reference_task(
    project: str, domain: str, name: str, version: str
) -> Callable[[Callable[P, R]], ReferenceTask[P, R]]:
    """A task that was registered on a hub; the decorated function is a stub that gives its types.

    Args:
        project: Where it was registered.
        domain: Where it was registered.
        name: Its name.
        version: Its version.
    """
    reference = ReferenceId("task", project, domain, name, version)
    return lambda function: ReferenceTask(function, reference)


def reference_workflow(
    project: str, domain: str, name: str, version: str
) -> Callable[[Callable[..., Any]], ReferencePlan]:
    """A workflow that was registered on a hub; it runs as an execution of its own.

    Args:
        project: Where it was registered.
        domain: Where it was registered.
        name: Its name.
        version: Its version.
    """
    reference = ReferenceId("workflow", project, domain, name, version)
    return lambda function: ReferencePlan(function, reference)


def reference_launch_plan(
    project: str, domain: str, name: str, version: str
) -> Callable[[Callable[..., Any]], ReferencePlan]:
    """A launch plan that was registered on a hub; it runs as an execution of its own.

    Args:
        project: Where it was registered.
        domain: Where it was registered.
        name: Its name.
        version: Its version.
    """
    reference = ReferenceId("launch plan", project, domain, name, version)
    return lambda function: ReferencePlan(function, reference)
