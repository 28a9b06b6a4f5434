"""Workflows, nodes, tasks and launch plans, in Flyte's words."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from greenroom.compat.idl.identity import Identifier
from greenroom.compat.idl.interface import ParameterMap, TypedInterface
from greenroom.compat.idl.literals import Binding, LiteralMap, RetryStrategy
from greenroom.compat.idl.message import Message
from greenroom.compat.idl.types import Error


@dataclass(eq=False)
class NodeMetadata(Message):
    """How a node is called, and how its calls are treated."""

    name: str
    timeout: dt.timedelta = dt.timedelta()
    retries: RetryStrategy = field(default_factory=lambda: RetryStrategy(0))
    interruptible: bool | None = None
    cacheable: bool | None = None
    cache_version: str | None = None
    cache_serializable: bool | None = None


@dataclass(eq=False)
class TaskNodeOverrides(Message):
    """What a call asks for otherwise than its task."""

    resources: Any = None
    extended_resources: Any = None
    container_image: str | None = None
    pod_template: Any = None


@dataclass(eq=False)
class TaskNode(Message):
    """A call of a task."""

    reference_id: Identifier
    overrides: TaskNodeOverrides | None = None


@dataclass(eq=False)
class WorkflowNode(Message):
    """A call of a workflow or of a launch plan."""

    launchplan_ref: Identifier | None = None
    sub_workflow_ref: Identifier | None = None

    @property
    def reference(self) -> Identifier | None:
        """What is called."""
        return self.launchplan_ref or self.sub_workflow_ref


@dataclass(eq=False)
class Operand(Message):
    """A side of a comparison."""

    primitive: Any = None
    var: str | None = None
    scalar: Any = None


@dataclass(eq=False)
class ComparisonExpression(Message):
    """A comparison."""

    class Operator:
        """Numbers that name the comparisons."""

        EQ: Final = 0
        NEQ: Final = 1
        GT: Final = 2
        GTE: Final = 3
        LT: Final = 4
        LTE: Final = 5

    operator: int
    left_value: Operand
    right_value: Operand


@dataclass(eq=False)
class ConjunctionExpression(Message):
    """Two conditions, joined."""

    class LogicalOperator:
        """Numbers that name the joins."""

        AND: Final = 0
        OR: Final = 1

    operator: int
    left_expression: BooleanExpression
    right_expression: BooleanExpression


@dataclass(eq=False)
class BooleanExpression(Message):
    """A condition."""

    conjunction: ConjunctionExpression | None = None
    comparison: ComparisonExpression | None = None


@dataclass(eq=False)
class IfBlock(Message):
    """A way, and when it is taken."""

    condition: BooleanExpression
    then_node: Node | None


@dataclass(eq=False)
class IfElseBlock(Message):
    """The ways of a branch."""

    case: IfBlock
    other: list[IfBlock] | None = None
    else_node: Node | None = None
    error: Error | None = None


@dataclass(eq=False)
class BranchNode(Message):
    """A branch."""

    if_else: IfElseBlock


@dataclass(eq=False)
class ApproveCondition(Message):
    """Somebody agrees."""

    signal_id: str


@dataclass(eq=False)
class SignalCondition(Message):
    """Somebody gives a value."""

    signal_id: str
    type: Any = None
    output_variable_name: str = "o0"


@dataclass(eq=False)
class SleepCondition(Message):
    """Some time passes."""

    duration: dt.timedelta


@dataclass(eq=False)
class GateNode(Message):
    """What a node waits for."""

    signal: SignalCondition | None = None
    sleep: SleepCondition | None = None
    approve: ApproveCondition | None = None

    @property
    def condition(self) -> Any:
        """The one that is set."""
        return self.signal or self.sleep or self.approve


@dataclass(eq=False)
class ArrayNode(Message):
    """A map: a node that is repeated for each item."""

    node: Node
    parallelism: int | None = None
    min_successes: int | None = None
    min_success_ratio: float | None = None


@dataclass(eq=False)
class Alias(Message):
    """Another name of an output."""

    var: str
    alias: str


@dataclass(eq=False)
class Node(Message):
    """A node: one of its last fields is set."""

    id: str
    metadata: NodeMetadata
    inputs: list[Binding]
    upstream_node_ids: list[str] = field(default_factory=list)
    output_aliases: list[Alias] = field(default_factory=list)
    task_node: TaskNode | None = None
    workflow_node: WorkflowNode | None = None
    branch_node: BranchNode | None = None
    gate_node: GateNode | None = None
    array_node: ArrayNode | None = None

    @property
    def target(self) -> Any:
        """The one that is set."""
        return self.task_node or self.workflow_node or self.branch_node or self.gate_node or self.array_node


@dataclass(eq=False)
class WorkflowMetadata(Message):
    """What becomes of the other nodes when one fails."""

    class OnFailurePolicy:
        """Numbers that name the policies."""

        FAIL_IMMEDIATELY: Final = 0
        FAIL_AFTER_EXECUTABLE_NODES_COMPLETE: Final = 1

    on_failure: int | None = None


@dataclass(eq=False)
class WorkflowMetadataDefaults(Message):
    """What nodes are where they don't say themselves."""

    interruptible: bool | None = None


@dataclass(eq=False)
class WorkflowTemplate(Message):
    """A workflow."""

    id: Identifier
    metadata: WorkflowMetadata
    metadata_defaults: WorkflowMetadataDefaults
    interface: TypedInterface
    nodes: list[Node]
    outputs: list[Binding]
    failure_node: Node | None = None


@dataclass(eq=False)
class WorkflowSpec(Message):
    """A workflow, and those that it calls."""

    template: WorkflowTemplate
    sub_workflows: list[WorkflowTemplate]
    docs: Any = None


@dataclass(eq=False)
class TaskTemplate(Message):
    """A task."""

    id: Identifier
    type: str
    metadata: Any
    interface: TypedInterface
    custom: Mapping[str, Any] | None = None


@dataclass(eq=False)
class TaskSpec(Message):
    """A task."""

    template: TaskTemplate
    docs: Any = None


@dataclass(eq=False)
class LaunchPlanMetadata(Message):
    """When a plan runs, and who is told."""

    schedule: Any = None
    notifications: list[Any] = field(default_factory=list)


@dataclass(eq=False)
class LaunchPlanSpec(Message):
    """What a plan runs."""

    workflow_id: Identifier
    entity_metadata: LaunchPlanMetadata
    default_inputs: ParameterMap
    fixed_inputs: LiteralMap
    labels: Any = None
    annotations: Any = None
    max_parallelism: int | None = None
    overwrite_cache: bool | None = None


@dataclass(eq=False)
class LaunchPlan(Message):
    """A launch plan."""

    id: Identifier
    spec: LaunchPlanSpec
