"""`LaunchPlan`: a workflow with some inputs settled, which runs as an execution of its own where it is called."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

from greenroom import building
from greenroom.artifacts import ArtifactQuery
from greenroom.building import Builder, Draft
from greenroom.calls import arguments, check, wires
from greenroom.definition_errors import BadArgument, PlanExists, TaskArgumentRefused, UnknownArgument
from greenroom.described import Described
from greenroom.interfaces import output_types, tuple_name, with_defaults
from greenroom.lines import caller, caller_module
from greenroom.naming import find, place_of
from greenroom.notifications import limit_of, webhooks_in
from greenroom.promises import outputs_of
from greenroom.schedules import CronSchedule, FixedRate
from greenroom_core.graph import NodeKind

if TYPE_CHECKING:
    from greenroom.compat.idl.interface import ParameterMap
    from greenroom.types import Interface
    from greenroom.workflow import WorkflowBase

__all__ = ["CronSchedule", "FixedRate", "LaunchPlan"]

_PROPERTIES: Final = (
    "raw_output_data_config",
    "max_parallelism",
    "security_context",
    "auth_role",
    "trigger",
    "overwrite_cache",
    "auto_activate",
    "concurrency",
)


class LaunchPlan(Described):
    """A workflow with defaults and fixed inputs, perhaps with a schedule.

    Called while a workflow is being defined, it is a node that starts an execution of its own.

    Attributes:
        name: The workflow's name for the default plan, else what the user chose.
        workflow: What it runs.
        default_inputs: Values of inputs that a caller may leave out.
        fixed_inputs: Values of inputs that a caller cannot give.
        schedule: When it runs by itself, once it is activated.
        limit: Executions of it at a time; None for no limit.
        webhooks: Who is told of its executions' ends.
    """

    is_reference: ClassVar[bool] = False
    """Whether it stands for a plan that was registered elsewhere."""

    CACHE: ClassVar[dict[str, LaunchPlan]] = {}
    """Every plan, by its name."""

    def __init__(
        self,
        name: str,
        workflow: WorkflowBase,
        default_inputs: Mapping[str, Any] | None = None,
        fixed_inputs: Mapping[str, Any] | None = None,
        **properties: Any,
    ) -> None:
        self.name = name
        self.workflow = workflow
        self.default_inputs = dict(default_inputs or {})
        self.fixed_inputs = dict(fixed_inputs or {})
        self.properties = {key: value for key, value in properties.items() if value is not None}
        self.line = caller()
        self._module = caller_module()
        self._stand_in: Any = None
        self._check()

    def _check(self) -> None:
        known = self.workflow.interface.inputs
        for given in (self.default_inputs, self.fixed_inputs):
            for name, value in given.items():
                if name not in known:
                    raise UnknownArgument(f"launch plan {self.name!r}", name, list(known)).at(self.line)
                if isinstance(value, ArtifactQuery) and given is self.default_inputs:
                    continue  # The hub looks it up.
                check(value, known[name].codec, f"launch plan {self.name!r}, input {name!r}")
        for name in self.default_inputs.keys() & self.fixed_inputs.keys():
            raise BadArgument(f"launch plan {self.name!r}", "default_inputs", name, "inputs that are not fixed").at(
                self.line
            )
        self.limit = limit_of(f"launch plan {self.name!r}", self.properties.get("concurrency"))
        self.webhooks = webhooks_in(f"launch plan {self.name!r}", self.properties.get("notifications"))
        kickoff = getattr(self.schedule, "kickoff_time_input_arg", None)
        if kickoff is not None and kickoff not in known:
            raise UnknownArgument(f"launch plan {self.name!r}", kickoff, list(known)).at(self.line)

    @property
    def key(self) -> str:
        """What graphs call it: its name."""
        return self.name

    @property
    def short_name(self) -> str:
        """What its nodes are called."""
        return self.name.rsplit(".", 1)[-1]

    @property
    def schedule(self) -> CronSchedule | FixedRate | None:
        """When it runs by itself."""
        given = self.properties.get("schedule") or self.properties.get("trigger")
        return given if isinstance(given, (CronSchedule, FixedRate)) else None

    @property
    def interface(self) -> Interface:
        """The workflow's inputs, without the fixed ones and with the plan's defaults; its outputs."""
        return with_defaults(self.workflow.interface, self.default_inputs, without=self.fixed_inputs)

    @property
    def parameters(self) -> ParameterMap:
        """Its inputs in Flyte's words: needed, or with a default."""
        from greenroom.compat.contexts import FlyteContextManager
        from greenroom.compat.interfaces import python_interface, transform_inputs_to_parameters

        interface = python_interface(self.interface, getattr(self.workflow, "__doc__", None))
        return transform_inputs_to_parameters(FlyteContextManager.current_context(), interface)

    @classmethod
    def get_default_launch_plan(cls, ctx: object, workflow: WorkflowBase) -> LaunchPlan:
        """The plan that every workflow has: no input settled, the workflow's own name.

        Args:
            ctx: Not used; programs pass their context.
            workflow: What it runs.
        """
        known = cls.CACHE.get(workflow.name)
        if known is not None and known.workflow is workflow:
            return known
        cls.CACHE[workflow.name] = cls(workflow.name, workflow)
        return cls.CACHE[workflow.name]

    @classmethod
    def get_or_create(
        cls,
        workflow: WorkflowBase,
        name: str | None = None,
        default_inputs: Mapping[str, Any] | None = None,
        fixed_inputs: Mapping[str, Any] | None = None,
        schedule: CronSchedule | FixedRate | None = None,
        notifications: Sequence[Any] | None = None,
        labels: Any = None,
        annotations: Any = None,
        raw_output_data_config: Any = None,
        max_parallelism: int | None = None,
        security_context: Any = None,
        auth_role: Any = None,
        trigger: Any = None,
        overwrite_cache: bool | None = None,
        auto_activate: bool = False,
        concurrency: Any = None,
    ) -> LaunchPlan:
        """The plan of this name, made if there is none.

        Raises:
            PlanExists: There is one with other properties.
            BadArgument: It has no name, though it has properties.
        """
        properties = {
            "schedule": schedule,
            "notifications": notifications,
            "labels": labels,
            "annotations": annotations,
            "raw_output_data_config": raw_output_data_config,
            "max_parallelism": max_parallelism,
            "security_context": security_context,
            "auth_role": auth_role,
            "trigger": trigger,
            "overwrite_cache": overwrite_cache,
            "auto_activate": auto_activate or None,
            "concurrency": concurrency,
        }
        given = [key for key, value in properties.items() if value is not None]
        if name is None:
            if default_inputs or fixed_inputs or given:
                told = next(iter(given), "default_inputs" if default_inputs else "fixed_inputs")
                raise BadArgument("LaunchPlan.get_or_create", "name", None, f"a name, where {told} is given").at(
                    caller()
                )
            return cls.get_default_launch_plan(None, workflow)
        made = cls(name, workflow, default_inputs, fixed_inputs, **properties)
        known = cls.CACHE.get(name)
        if known is not None and _is_replaced(known, made):
            known = None
        if known is None:
            known = cls.CACHE[name] = made
        elif differs := _difference(known, made):
            raise PlanExists(name, known.workflow.name, differs).at(made.line)
        return known

    @classmethod
    def create(
        cls,
        name: str,
        workflow: WorkflowBase,
        default_inputs: Mapping[str, Any] | None = None,
        fixed_inputs: Mapping[str, Any] | None = None,
        schedule: CronSchedule | FixedRate | None = None,
        notifications: Sequence[Any] | None = None,
        labels: Any = None,
        annotations: Any = None,
        **properties: Any,
    ) -> LaunchPlan:
        """A plan of this name; the last one counts.

        Args:
            name: Of the plan.
            workflow: What it runs.
            default_inputs: Values of inputs that a caller may leave out.
            fixed_inputs: Values of inputs that a caller cannot give.
            schedule: When it runs by itself.
            notifications: Who is told of its ends.
            labels: Of its executions.
            annotations: Of its executions.
            **properties: As in `get_or_create`.
        """
        for key in properties:
            if key not in _PROPERTIES:
                raise TaskArgumentRefused("LaunchPlan.create", key, f"it takes {', '.join(_PROPERTIES)}")
        told = {"schedule": schedule, "notifications": notifications, "labels": labels, "annotations": annotations}
        made = cls(name, workflow, default_inputs, fixed_inputs, **told, **properties)
        cls.CACHE[name] = made
        return made

    def node(
        self, builder: Builder, args: Sequence[object], kwargs: Mapping[str, object], line: str
    ) -> tuple[Draft, Any]:
        """Add a call to a graph; answers its node and its promises."""
        interface = self.interface
        self._refuse_fixed(kwargs, line)
        given = arguments(self.short_name, interface, args, kwargs, line)
        inputs = wires(builder, f"launch plan {self.name!r}", interface, given, line)
        draft = builder.add(
            Draft(
                builder,
                NodeKind.CHILD,
                self.short_name,
                line=line,
                target=self,
                inputs=inputs,
                outputs=interface.outputs,
            )
        )
        return draft, outputs_of(builder, draft, output_types(interface), tuple_name(interface))

    def _refuse_fixed(self, kwargs: Mapping[str, object], line: str) -> None:
        for name in kwargs:
            if name in self.fixed_inputs:
                expected = f"no value: this plan has fixed it to {self.fixed_inputs[name]!r}"
                raise BadArgument(f"launch plan {self.name!r}", name, kwargs[name], expected).at(line)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self._refuse_fixed(kwargs, caller())
        builder = building.current()
        if builder is not None:
            return self.node(builder, args, kwargs, caller())[1]
        from greenroom.running import call_plan

        return call_plan(self, args, kwargs)

    def __reduce__(self) -> Any:
        place = place_of(self, self._module)
        if place is not None:
            return (find, place)
        return (_restored, (self.name, self.workflow, self.default_inputs, self.fixed_inputs, self.properties))

    def __repr__(self) -> str:
        return f"<LaunchPlan {self.name} of {self.workflow.name}>"


def _restored(
    name: str, workflow: WorkflowBase, defaults: Any, fixed: Any, properties: Mapping[str, Any]
) -> LaunchPlan:
    return LaunchPlan(name, workflow, defaults, fixed, **properties)


def _is_replaced(known: LaunchPlan, made: LaunchPlan) -> bool:
    """Whether a plan of the same name is that one, defined again: the last one counts."""
    again = known.workflow.name == made.workflow.name and known.workflow is not made.workflow
    cell = made._module == "__main__" and not hasattr(sys.modules["__main__"], "__file__")
    replica = not building.compile_at_definition  # It may have seen another version of the program.
    return again or cell or replica


def _difference(one: LaunchPlan, other: LaunchPlan) -> str:
    """The first property in which two plans differ; empty if they are alike."""
    if one.workflow is not other.workflow:
        return "workflow"
    for name in ("default_inputs", "fixed_inputs"):
        if getattr(one, name) != getattr(other, name):
            return name
    names = dict.fromkeys((*one.properties, *other.properties))
    return next((name for name in names if one.properties.get(name) != other.properties.get(name)), "")
