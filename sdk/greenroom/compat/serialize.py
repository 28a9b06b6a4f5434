"""`get_serializable`: tasks, workflows and launch plans in Flyte's words, for tools and tests that look at one.

Nothing is sent anywhere so. A workflow is shown as its author wrote it, sub-workflows and branches with their nodes,
not as the graph that runs.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any, Final

from greenroom.building import Builder, DictOf, Draft, ListOf, Wire
from greenroom.compat.docstrings import described
from greenroom.compat.engine import TypeEngine
from greenroom.compat.idl import graph as idl
from greenroom.compat.idl.identity import Identifier, ResourceType
from greenroom.compat.idl.interface import TypedInterface, Variable
from greenroom.compat.idl.literals import (
    Binding,
    BindingData,
    BindingDataCollection,
    BindingDataMap,
    Literal,
    LiteralMap,
    RetryStrategy,
)
from greenroom.compat.idl.types import Error, OutputReference
from greenroom.conditions import Comparison, Conjunction
from greenroom.definition_errors import BadArgument
from greenroom.inlining import Given
from greenroom.launch_plan import LaunchPlan
from greenroom.mapping import MapTask
from greenroom.task import Task
from greenroom.workflow import WorkflowBase
from greenroom_core.conditions import Join, Operator
from greenroom_core.graph import FailurePolicy, GateKind, NodeKind

_OPERATORS: Final[Mapping[Operator, int]] = {
    Operator.EQ: 0, Operator.NE: 1, Operator.GT: 2, Operator.GE: 3, Operator.LT: 4, Operator.LE: 5,
}  # fmt: skip

_INPUTS: Final = ""
"""Id of the node that a workflow's own inputs come from."""


def get_serializable(entity_mapping: MutableMapping[Any, Any], settings: Any, entity: Any, options: Any = None) -> Any:
    """Describe an entity in Flyte's words, and what it calls.

    Args:
        entity_mapping: Takes every description by its entity.
        settings: `SerializationSettings`: project, domain and version.
        entity: A task, a map, a workflow or a launch plan.
        options: Labels and annotations of a launch plan.

    Raises:
        BadArgument: The entity is none of these.
    """
    if entity in entity_mapping:
        return entity_mapping[entity]
    made: Any
    if isinstance(entity, (Task, MapTask)):
        made = _task(settings, entity)
    elif isinstance(entity, WorkflowBase):
        made = _Laid(entity_mapping, settings, entity).spec()
    elif isinstance(entity, LaunchPlan):
        get_serializable(entity_mapping, settings, entity.workflow)
        made = _plan(settings, entity, options)
    else:
        raise BadArgument("get_serializable", "entity", entity, "a task, a map, a workflow or a launch plan")
    entity_mapping[entity] = made
    return made


def _id(settings: Any, kind: int, name: str) -> Identifier:
    return Identifier(kind, settings.project, settings.domain, name, settings.version)


def _interface(entity: Any) -> TypedInterface:
    interface, told = entity.interface, described(getattr(entity, "__doc__", None))
    return TypedInterface(
        {name: Variable(part.type, told.inputs.get(name, name)) for name, part in interface.inputs.items()},
        {name: Variable(part.type, told.outputs or name) for name, part in interface.outputs.items()},
    )


def _task(settings: Any, task: Any) -> idl.TaskSpec:
    kind = "python-task"
    custom: dict[str, Any] = {}
    if isinstance(task, MapTask):
        kind, custom = "container_array", {"minSuccessRatio": task.min_success_ratio}
        if task.concurrency is not None:
            custom["parallelism"] = str(task.concurrency)
    elif task.environment is not None:
        kind = "actor"
    metadata = task.metadata if isinstance(task, Task) else task.target.metadata
    template = idl.TaskTemplate(_id(settings, ResourceType.TASK, task.name), kind, metadata, _interface(task), custom)
    return idl.TaskSpec(template)


def _plan(settings: Any, plan: LaunchPlan, options: Any) -> idl.LaunchPlan:
    own = plan.workflow.interface.inputs
    fixed = {
        name: TypeEngine.to_literal(_context(), value, own[name].annotation, own[name].type)
        for name, value in plan.fixed_inputs.items()
    }
    told = plan.properties
    spec = idl.LaunchPlanSpec(
        _id(settings, ResourceType.WORKFLOW, plan.workflow.name),
        idl.LaunchPlanMetadata(plan.schedule, list(told.get("notifications") or [])),
        plan.parameters,
        LiteralMap(fixed),
        getattr(options, "labels", None) or told.get("labels"),
        getattr(options, "annotations", None) or told.get("annotations"),
        told.get("max_parallelism"),
        told.get("overwrite_cache"),
    )
    return idl.LaunchPlan(_id(settings, ResourceType.LAUNCH_PLAN, plan.name), spec)


def _context() -> Any:
    from greenroom.compat.contexts import FlyteContextManager

    return FlyteContextManager.current_context()


class _Laid:
    """A workflow that is being described."""

    def __init__(self, mapping: MutableMapping[Any, Any], settings: Any, workflow: Any) -> None:
        self._mapping, self._settings, self._workflow = mapping, settings, workflow
        self._builder: Builder
        self._builder, self._outputs = workflow.laid_out()
        self._names: dict[Draft, str] = {}
        self._called: dict[str, idl.WorkflowTemplate] = {}
        self._number(None, 0)

    def _number(self, branch: Draft | None, _: int) -> None:
        """Give the nodes of the workflow, or of one branch, their ids: n0, n1, ... in the order of their calls."""
        members = [
            draft
            for draft in self._builder.drafts
            if (draft.within is None if branch is None else draft.within is not None and draft.within[0] is branch)
        ]
        for index, draft in enumerate(members):
            self._names[draft] = draft.id if draft.named else f"n{index}"
            if draft.kind is NodeKind.BRANCH:
                self._number(draft, index)

    def spec(self) -> idl.WorkflowSpec:
        """The whole of it."""
        workflow, settings = self._workflow, self._settings
        nodes = [self._node(draft) for draft in self._builder.drafts if draft.within is None]
        handler = self._builder.failure_handler
        if handler is not None:
            self._names[handler] = "efn"
        policy = int(workflow.failure_policy is not FailurePolicy.FAIL_IMMEDIATELY)
        template = idl.WorkflowTemplate(
            _id(settings, ResourceType.WORKFLOW, workflow.name),
            idl.WorkflowMetadata(policy),
            idl.WorkflowMetadataDefaults(bool(workflow.interruptible)),
            _interface(workflow),
            nodes,
            [self._binding(name, wire, workflow.interface.outputs[name]) for name, wire in self._outputs.items()],
            None if handler is None else self._node(handler),
        )
        return idl.WorkflowSpec(template, list(self._called.values()))

    def _node(self, draft: Draft) -> idl.Node:
        before = [self._names[other] for other in draft.after]
        for wire in draft.inputs.values():
            before += [self._names[source] for source in _sources(wire)]
        if draft.kind is NodeKind.BRANCH:
            before += [self._names[source] for way in draft.ways if way.when is not None for source in _asked(way.when)]
        overrides = draft.overrides
        metadata = idl.NodeMetadata(
            overrides.name or draft.called.name if draft.called is not None else draft.id,
            dt.timedelta(seconds=overrides.timeout or 0),
            RetryStrategy(overrides.retries.times if overrides.retries is not None else self._retries(draft)),
            overrides.interruptible,
        )
        inputs = _inputs_of(draft)
        bound = {} if draft.kind is NodeKind.GATE else draft.inputs  # A gate's are told by the gate itself.
        return idl.Node(
            self._names[draft],
            metadata,
            sorted((self._binding(n, w, inputs.get(n)) for n, w in bound.items()), key=lambda made: made.var),
            list(dict.fromkeys(before)),
            [idl.Alias(var, alias) for var, alias in draft.aliases.items()],
            **self._target(draft),
        )

    def _retries(self, draft: Draft) -> int:
        return draft.called.options.retry.times if isinstance(draft.called, Task) else 0

    def _target(self, draft: Draft) -> dict[str, Any]:
        called = draft.called
        if draft.kind is NodeKind.BRANCH:
            return {"branch_node": idl.BranchNode(self._branch(draft))}
        if draft.kind is NodeKind.GATE:
            return {"gate_node": _gate(draft)}
        spec = get_serializable(self._mapping, self._settings, called)
        if isinstance(called, MapTask):
            target = called.target
            get_serializable(self._mapping, self._settings, target)
            node = idl.Node("n0", idl.NodeMetadata(target.name), [], **_reference(self._settings, target))
            return {
                "array_node": idl.ArrayNode(node, called.concurrency, called.min_successes, called.min_success_ratio)
            }
        if isinstance(called, WorkflowBase) and draft.kind is NodeKind.GROUP:
            for template in (spec.template, *spec.sub_workflows):
                self._called.setdefault(template.id.name, template)
        return _reference(self._settings, draft.target if draft.kind is NodeKind.CHILD else called)

    def _branch(self, draft: Draft) -> idl.IfElseBlock:
        members: list[Any] = [None] * len(draft.ways)
        for member in self._builder.drafts:
            if member.within is not None and member.within[0] is draft:
                members[member.within[1]] = member
        blocks, last, error = [], None, None
        for way, member in zip(draft.ways, members, strict=True):
            node = None if member is None else self._node(member)
            if way.when is not None:
                blocks.append(idl.IfBlock(self._condition(way.when), node))
            elif way.fail is not None:
                error = Error(self._names[draft], way.fail)
            else:
                last = node
        return idl.IfElseBlock(blocks[0], blocks[1:], last, error)

    def _condition(self, when: Comparison | Conjunction) -> idl.BooleanExpression:
        if isinstance(when, Conjunction):
            sides = self._condition(when.left), self._condition(when.right)
            return idl.BooleanExpression(idl.ConjunctionExpression(int(when.join is not Join.AND), *sides))
        sides_of = self._operand(when.left), self._operand(when.right)
        return idl.BooleanExpression(None, idl.ComparisonExpression(_OPERATORS[when.operator], *sides_of))

    def _operand(self, wire: Wire) -> idl.Operand:
        if isinstance(wire, Given):
            literal = TypeEngine.to_literal(
                _context(), wire.value, type(wire.value), TypeEngine.to_literal_type(type(wire.value))
            )
            return idl.Operand(primitive=literal.scalar.primitive if literal.scalar is not None else None)
        draft, output = wire._draft, wire._output  # type: ignore[union-attr]
        return idl.Operand(var=output if draft is None else f"{self._names[draft]}.{output}")

    def _binding(self, name: str, wire: Wire, part: Any) -> Binding:
        return Binding(name, self._data(wire, part.annotation if part is not None else Any))

    def _data(self, wire: Wire, annotation: Any) -> BindingData:
        from greenroom.interfaces import part_annotation

        if isinstance(wire, Given):
            kind = annotation if annotation is not Any else type(wire.value)
            literal = TypeEngine.to_literal(_context(), wire.value, kind, TypeEngine.to_literal_type(kind))
            return _constant(literal)
        if isinstance(wire, ListOf):
            items = [self._data(item, part_annotation(annotation, n)) for n, item in enumerate(wire.items)]
            return BindingData(collection=BindingDataCollection(items))
        if isinstance(wire, DictOf):
            entries = {key: self._data(item, part_annotation(annotation, key)) for key, item in wire.items.items()}
            return BindingData(map=BindingDataMap(entries))
        node = _INPUTS if wire._draft is None else self._names[wire._draft]
        return BindingData(promise=OutputReference(node, wire._output, list(wire._path)))


def _inputs_of(draft: Draft) -> Mapping[str, Any]:
    """The inputs that a node's bindings are for."""
    called = draft.called
    if called is None:
        return {}
    if isinstance(called, MapTask):
        return called.interface_over(draft.over).inputs
    inputs: Mapping[str, Any] = called.interface.inputs
    return inputs


def _reference(settings: Any, called: Any) -> dict[str, Any]:
    if isinstance(called, Task):
        return {"task_node": idl.TaskNode(_id(settings, ResourceType.TASK, called.name))}
    if isinstance(called, LaunchPlan):
        return {"workflow_node": idl.WorkflowNode(_id(settings, ResourceType.LAUNCH_PLAN, called.name))}
    return {"workflow_node": idl.WorkflowNode(None, _id(settings, ResourceType.WORKFLOW, called.name))}


def _gate(draft: Draft) -> idl.GateNode:
    if draft.gate is GateKind.APPROVE:
        return idl.GateNode(approve=idl.ApproveCondition(draft.id))
    if draft.gate is GateKind.INPUT:
        return idl.GateNode(signal=idl.SignalCondition(draft.id))
    seconds = next((wire.value for wire in draft.inputs.values() if isinstance(wire, Given)), 0)
    duration = seconds if isinstance(seconds, dt.timedelta) else dt.timedelta(seconds=float(str(seconds)))
    return idl.GateNode(sleep=idl.SleepCondition(duration))


def _constant(literal: Literal) -> BindingData:
    if literal.collection is not None:
        return BindingData(collection=BindingDataCollection([_constant(item) for item in literal.collection.literals]))
    if literal.map is not None:
        return BindingData(map=BindingDataMap({name: _constant(item) for name, item in literal.map.literals.items()}))
    return BindingData(scalar=literal.scalar)


def _sources(wire: Wire) -> Iterator[Draft]:
    if isinstance(wire, ListOf):
        for item in wire.items:
            yield from _sources(item)
    elif isinstance(wire, DictOf):
        for item in wire.items.values():
            yield from _sources(item)
    elif not isinstance(wire, Given) and wire._draft is not None:
        yield wire._draft


def _asked(when: Comparison | Conjunction) -> Iterator[Draft]:
    for side in (when.left, when.right):
        yield from _asked(side) if isinstance(side, (Comparison, Conjunction)) else _sources(side)
