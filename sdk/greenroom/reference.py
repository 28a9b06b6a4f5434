"""References: tasks, workflows and plans that were registered on a hub, called by their names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn, ParamSpec, TypeVar

from greenroom.definition_errors import BadArgument
from greenroom.errors import ReferenceUnresolved
from greenroom.interfaces import interface_of
from greenroom.launch_plan import LaunchPlan
from greenroom.options import Options
from greenroom.task import Task
from greenroom.workflow import WorkflowBase

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


class ReferenceTask(Task[P, R]):
    """A task that was registered elsewhere; the function here says only what it takes and gives."""

    is_reference = True

    def __init__(self, function: Callable[P, R], reference: ReferenceId) -> None:
        self.reference = reference
        super().__init__(function, Options(), name=reference.name, key=_key(reference))
        self.function = _unresolved(reference)


class ReferencePlan(LaunchPlan):
    """A launch plan, or a workflow, that was registered elsewhere."""

    is_reference = True

    def __init__(self, function: Callable[..., Any], reference: ReferenceId) -> None:
        self.reference = reference
        super().__init__(_key(reference), _ReferredWorkflow(function, reference))

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
