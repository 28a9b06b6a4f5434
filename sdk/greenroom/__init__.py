"""Greenroom: typed Python workflows on warm replicas.

    import greenroom

    actor = greenroom.ActorEnvironment(name="my-actor", replica_count=2)

    @actor.task
    def double(n: int) -> int:
        return 2 * n

    @greenroom.workflow
    def wf(ns: list[int] = [1, 2, 3]) -> list[int]:
        return greenroom.map(double)(n=ns)

Every public name is imported when it is first used: `import greenroom` costs next to nothing, on replicas too.
"""

import sys

TYPE_CHECKING = False  # As `typing` has it, whose import would cost more than this module.

if TYPE_CHECKING:
    from typing import Any

    from greenroom.accelerators import BaseAccelerator as BaseAccelerator
    from greenroom.accelerators import GPUAccelerator as GPUAccelerator
    from greenroom.actor_cache import actor_cache as actor_cache
    from greenroom.client import AsyncClient as AsyncClient
    from greenroom.client import Client as Client
    from greenroom.client import run as run
    from greenroom.conditions import conditional as conditional
    from greenroom.context import current_context as current_context
    from greenroom.deck import Deck as Deck
    from greenroom.definition_errors import DefinitionError as DefinitionError
    from greenroom.directories import Directory as Directory
    from greenroom.dynamic import dynamic as dynamic
    from greenroom.eager import eager as eager
    from greenroom.environment import ActorEnvironment as ActorEnvironment
    from greenroom.errors import EagerException as EagerException
    from greenroom.errors import GreenroomError as GreenroomError
    from greenroom.errors import GreenroomWarning as GreenroomWarning
    from greenroom.errors import NonRecoverable as NonRecoverable
    from greenroom.errors import Recoverable as Recoverable
    from greenroom.files import File as File
    from greenroom.gates import approve as approve
    from greenroom.gates import sleep as sleep
    from greenroom.gates import wait_for_input as wait_for_input
    from greenroom.images import ImageSpec as ImageSpec
    from greenroom.imperative import ImperativeWorkflow as ImperativeWorkflow
    from greenroom.launch_plan import LaunchPlan as LaunchPlan
    from greenroom.mapping import map as map
    from greenroom.mapping import map_task as map_task
    from greenroom.nodes import create_node as create_node
    from greenroom.notifications import Webhook as Webhook
    from greenroom.options import Cache as Cache
    from greenroom.options import Retry as Retry
    from greenroom.pods import PodTemplate as PodTemplate
    from greenroom.promises import Promise as Promise
    from greenroom.reference import reference_launch_plan as reference_launch_plan
    from greenroom.reference import reference_task as reference_task
    from greenroom.reference import reference_workflow as reference_workflow
    from greenroom.resources import Resources as Resources
    from greenroom.schedules import CronSchedule as CronSchedule
    from greenroom.schedules import FixedRate as FixedRate
    from greenroom.secrets import Secret as Secret
    from greenroom.task import ActorTask as ActorTask
    from greenroom.task import DynamicTask as DynamicTask
    from greenroom.task import EagerTask as EagerTask
    from greenroom.task import Task as Task
    from greenroom.task import task as task
    from greenroom.types import BatchSize as BatchSize
    from greenroom.types import HashMethod as HashMethod
    from greenroom.types import StructuredDataset as StructuredDataset
    from greenroom.types import kwtypes as kwtypes
    from greenroom.types import register_transformer as register_transformer
    from greenroom.workflow import FailedNode as FailedNode
    from greenroom.workflow import Workflow as Workflow
    from greenroom.workflow import WorkflowFailurePolicy as WorkflowFailurePolicy
    from greenroom.workflow import workflow as workflow

_HOMES = {
    "accelerators": "BaseAccelerator GPUAccelerator",
    "actor_cache": "actor_cache",
    "client": "AsyncClient Client run",
    "conditions": "conditional",
    "context": "current_context",
    "deck": "Deck",
    "definition_errors": "DefinitionError",
    "directories": "Directory",
    "dynamic": "dynamic",
    "eager": "eager",
    "environment": "ActorEnvironment",
    "errors": "EagerException GreenroomError GreenroomWarning NonRecoverable Recoverable",
    "files": "File",
    "gates": "approve sleep wait_for_input",
    "images": "ImageSpec",
    "imperative": "ImperativeWorkflow",
    "launch_plan": "LaunchPlan",
    "mapping": "map map_task",
    "nodes": "create_node",
    "notifications": "Webhook",
    "options": "Cache Retry",
    "pods": "PodTemplate",
    "promises": "Promise",
    "reference": "reference_launch_plan reference_task reference_workflow",
    "resources": "Resources",
    "schedules": "CronSchedule FixedRate",
    "secrets": "Secret",
    "task": "ActorTask DynamicTask EagerTask Task task",
    "types": "BatchSize HashMethod StructuredDataset kwtypes register_transformer",
    "workflow": "FailedNode Workflow WorkflowFailurePolicy workflow",
}
"""Modules, and the public names that they define."""

_HOME_OF = {name: module for module, names in _HOMES.items() for name in names.split()}

__all__ = [
    "ActorEnvironment",
    "ActorTask",
    "AsyncClient",
    "BaseAccelerator",
    "BatchSize",
    "Cache",
    "Client",
    "CronSchedule",
    "Deck",
    "DefinitionError",
    "Directory",
    "DynamicTask",
    "EagerException",
    "EagerTask",
    "FailedNode",
    "File",
    "FixedRate",
    "GPUAccelerator",
    "GreenroomError",
    "GreenroomWarning",
    "HashMethod",
    "ImageSpec",
    "ImperativeWorkflow",
    "LaunchPlan",
    "NonRecoverable",
    "PodTemplate",
    "Promise",
    "Recoverable",
    "Resources",
    "Retry",
    "Secret",
    "StructuredDataset",
    "Task",
    "Webhook",
    "Workflow",
    "WorkflowFailurePolicy",
    "actor_cache",
    "approve",
    "conditional",
    "create_node",
    "current_context",
    "dynamic",
    "eager",
    "kwtypes",
    "map",
    "map_task",
    "reference_launch_plan",
    "reference_task",
    "reference_workflow",
    "register_transformer",
    "run",
    "sleep",
    "task",
    "wait_for_input",
    "workflow",
]


if not TYPE_CHECKING:  # Checkers know the names by the imports above, and no others.

    def __getattr__(name: str) -> object:
        module = _HOME_OF.get(name)
        if module is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        value = globals()[name] = getattr(import_module(f"{__name__}.{module}"), name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME_OF})


class _Package(type(sys)):  # type: ignore[misc]
    """This package: where a function and its module have one name (`task`, `workflow`), the name is the function's."""

    def __setattr__(self, name: str, value: "Any") -> None:
        # The import system sets every submodule as an attribute of its package.
        if not (name in _HOME_OF and isinstance(value, type(sys))):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
