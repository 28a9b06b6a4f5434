"""Names of entities and executions, labels and notifications, in Flyte's words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from greenroom.compat.idl.message import Message


class ResourceType:
    """Numbers that name the kinds of entities."""

    UNSPECIFIED: Final = 0
    TASK: Final = 1
    WORKFLOW: Final = 2
    LAUNCH_PLAN: Final = 3


@dataclass(eq=False)
class Identifier(Message):
    """An entity."""

    resource_type: int
    project: str
    domain: str
    name: str
    version: str

    def resource_type_name(self) -> str:
        """The kind as a word."""
        return {1: "TASK", 2: "WORKFLOW", 3: "LAUNCH_PLAN"}.get(self.resource_type, "UNSPECIFIED")


@dataclass(eq=False)
class WorkflowExecutionIdentifier(Message):
    """An execution."""

    project: str
    domain: str
    name: str


@dataclass(eq=False)
class NodeExecutionIdentifier(Message):
    """A node of an execution."""

    node_id: str
    execution_id: WorkflowExecutionIdentifier


@dataclass(eq=False)
class TaskExecutionIdentifier(Message):
    """An attempt of a node."""

    task_id: Identifier
    node_execution_id: NodeExecutionIdentifier
    retry_attempt: int


@dataclass(eq=False)
class Labels(Message):
    """Labels of executions."""

    values: Mapping[str, str] = field(default_factory=dict)


@dataclass(eq=False)
class Annotations(Message):
    """Annotations of executions."""

    values: Mapping[str, str] = field(default_factory=dict)


@dataclass(eq=False)
class AuthRole(Message):
    """As whom executions run elsewhere; here they run as whoever the replica runs as."""

    assumable_iam_role: str | None = None
    kubernetes_service_account: str | None = None


@dataclass(eq=False)
class RawOutputDataConfig(Message):
    """Where files of executions should go; here they go to the hub's blobs."""

    output_location_prefix: str = ""


@dataclass(eq=False)
class Identity(Message):
    """As whom a task runs elsewhere."""

    iam_role: str | None = None
    k8s_service_account: str | None = None
    oauth2_client: Any = None
    execution_identity: str | None = None


@dataclass(eq=False)
class SecurityContext(Message):
    """As whom a task runs elsewhere, and its secrets."""

    run_as: Identity | None = None
    secrets: list[Any] | None = None
    tokens: list[Any] | None = None
