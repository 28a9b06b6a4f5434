"""`workflow`: a function whose body, run once with promises, says which tasks run with what."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, overload

from greenroom import building, redefinition
from greenroom.building import Builder, Compiled, Draft, Wire
from greenroom.calls import arguments, wire, wires
from greenroom.conditions import Condition, close
from greenroom.definition_errors import BadArgument, WrongOutputs, WrongPlace
from greenroom.described import Described
from greenroom.errors import GreenroomWarning
from greenroom.interfaces import interface_of, output_types, tuple_name
from greenroom.lines import caller, defined
from greenroom.naming import find, module_of, name_of
from greenroom.promises import Done, Outputs, Promise, outputs_of
from greenroom.returns import check_returns
from greenroom_core.graph import FailurePolicy, NodeKind
from greenroom_core.graph import FailurePolicy as WorkflowFailurePolicy

if TYPE_CHECKING:
    from greenroom.task import Task
    from greenroom.types import Interface

__all__ = ["FailedNode", "Workflow", "WorkflowBase", "WorkflowFailurePolicy", "workflow"]

P = ParamSpec("P")
R = TypeVar("R")


@dataclass
class FailedNode:
    """What an `on_failure` handler gets as its input `err`, if it has one.

    Attributes:
        message: What went wrong: the class and the text of the error.
        failed_node_id: The node that failed first.
    """

    message: str
    failed_node_id: str


class WorkflowBase(Described):
    """What can be called as a workflow, however its graph is made.

    Attributes:
        name: `module.function`.
        interface: Its inputs and outputs.
        line: `file:line` of the definition.
    """

    name: str
    interface: Interface
    line: str = ""
    docs: object = None
    default_options: object = None

    def __init__(self) -> None:
        self._compiled: Compiled | None = None
        self._compiled_at = -1
        self._stand_in: Callable[..., Any] | None = None

    @property
    def short_name(self) -> str:
        """The function's name: what its nodes are called."""
        return self.name.rsplit(".", 1)[-1]

    @property
    def compiled(self) -> Compiled:
        """Its graph and what that calls; made anew if a task of its module was defined again since."""
        now = redefinition.generation()
        if self._compiled is None or self._compiled_at != now:
            self._compiled, self._compiled_at = self.compile(), now
        return self._compiled

    def compile(self) -> Compiled:
        """Make the graph."""
        raise NotImplementedError

    def node(
        self, builder: Builder, args: Sequence[object], kwargs: Mapping[str, object], line: str
    ) -> tuple[Draft, Any]:
        """Add a call to a graph, with this workflow's nodes behind it; answers its last node and its promises."""
        if self._stand_in is not None:
            from greenroom.synthetic import replaced_by

            return replaced_by(self, self._stand_in).node(builder, args, kwargs, line)
        graph = self.compiled.graph
        if graph.on_failure is not None or graph.policy is not FailurePolicy.FAIL_IMMEDIATELY:
            # A graph has one handler and one policy: a workflow with its own runs as an execution of its own.
            from greenroom.launch_plan import LaunchPlan

            return LaunchPlan.get_default_launch_plan(None, self).node(builder, args, kwargs, line)
        given = arguments(self.short_name, self.interface, args, kwargs, line)
        inputs = wires(builder, f"workflow {self.name!r}", self.interface, given, line)
        draft = Draft(
            builder,
            NodeKind.GROUP,
            self.short_name,
            line=line,
            inputs=inputs,
            outputs=self.interface.outputs,
            body=self.compiled,
            called=self,
        )
        builder.add(draft)
        return draft, outputs_of(builder, draft, output_types(self.interface), tuple_name(self.interface))

    def call(self, args: Sequence[object], kwargs: Mapping[str, object]) -> Any:
        """Add a call to the graph that is being defined, or run it here."""
        builder = building.current()
        if builder is not None:
            return self.node(builder, args, kwargs, caller())[1]
        from greenroom.running import call_workflow

        return call_workflow(self, tuple(args), kwargs)


class Workflow(WorkflowBase, Generic[P, R]):
    """A workflow from a function.

    Called while another workflow is being defined, its nodes become part of that one. Called anywhere else it runs
    here and now, on the same state machine as on a hub.

    Attributes:
        function: What was decorated.
        failure_policy: What becomes of the other nodes when one fails.
        on_failure: A task or workflow that runs after a failure, with the workflow's inputs.
        interruptible: For its tasks that don't say themselves.
    """

    def __init__(
        self,
        function: Callable[P, R],
        *,
        failure_policy: FailurePolicy = FailurePolicy.FAIL_IMMEDIATELY,
        interruptible: bool | None = None,
        on_failure: Task[Any, Any] | WorkflowBase | None = None,
        docs: object = None,
        default_options: object = None,
    ) -> None:
        super().__init__()
        self.function = function
        self.name = name_of(function)
        self.line = defined(function)
        self.failure_policy = failure_policy
        self.interruptible = interruptible
        self.on_failure = on_failure
        self.docs = docs
        self.default_options = default_options
        self.interface = interface_of(function, self.name)
        self.__wrapped__ = function
        for name in ("__module__", "__name__", "__qualname__", "__doc__"):
            if (value := getattr(function, name, None)) is not None:
                setattr(self, name, value)
        check_returns(function, self.interface, self.name)
        redefinition.define(self.name, function)
        if building.compile_at_definition:
            self._try()

    @property
    def module(self) -> str:
        """The module that the function is defined in."""
        return module_of(self.function)

    def _try(self) -> None:
        """Compile, so that mistakes are said where they are written."""
        try:
            _ = self.compiled
        except NameError as problem:
            # The body may speak of what the module defines further down: then it is compiled when it is first used.
            if problem.name is None or problem.name in getattr(inspect.unwrap(self.function), "__globals__", {}):
                raise

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.call(args, kwargs)  # type: ignore[no-any-return]

    def __get__(self, instance: object, owner: type | None = None) -> Workflow[P, R]:
        return self

    def __repr__(self) -> str:
        return f"<Workflow {self.name}>"

    def __reduce__(self) -> Any:
        module, qualname = self.function.__module__, getattr(self.function, "__qualname__", "")
        if module != "__main__" and find(module, qualname) is self:
            return (find, (module, qualname))
        return (_restored, (self.function, self.failure_policy, self.interruptible, self.on_failure))

    def compile(self) -> Compiled:
        """Run the body with promises; answers the graph.

        Raises:
            DefinitionError: As `laid_out`.
        """
        builder, outputs = self.laid_out()
        return builder.finish(self.interface.inputs, outputs, self.failure_policy, self.interruptible)

    def laid_out(self) -> tuple[Builder, dict[str, Wire]]:
        """Run the body with promises; answers its nodes as it called them, and where the outputs come from.

        Raises:
            DefinitionError: It does with promises what only values allow, or gives back what it does not promise.
        """
        builder = Builder(self.name)
        promises = {
            name: Promise(builder, None, name, parameter.codec.describe())
            for name, parameter in self.interface.inputs.items()
        }
        with building.building(builder):
            try:
                returned = self.function(**promises)  # type: ignore[arg-type,call-arg]
            except Exception as problem:
                problem.add_note(f"while workflow {self.name} was being defined")
                raise
            for draft in builder.drafts:
                close(draft)
            outputs = bind_outputs(builder, returned, self.interface, f"workflow {self.name}", self.line)
            if self.on_failure is not None:
                builder.failure_handler = failure_handler(builder, self.on_failure, promises, self.name, self.line)
        return builder, outputs


def _restored(function: Callable[..., Any], policy: FailurePolicy, interruptible: bool | None, on_failure: Any) -> Any:
    return Workflow(function, failure_policy=policy, interruptible=interruptible, on_failure=on_failure)


def bind_outputs(builder: Builder, returned: object, interface: Interface, who: str, line: str) -> dict[str, Wire]:
    """Where the outputs of a workflow come from, given what its body returned.

    Raises:
        WrongOutputs: It does not fit the annotation.
    """
    names = list(interface.outputs)
    if not names:
        if isinstance(returned, (Promise, Outputs)):
            remedy = "annotate what it returns, to have it as output"
            warnings.warn(f"{line}: {who} returns {returned!r} and drops it: {remedy}", GreenroomWarning, stacklevel=2)
        return {}
    if isinstance(returned, Condition):
        missing = f"{returned!r}, which has no output"
        raise WrongOutputs(who, "promises", f"{missing}; end it with .else_().then(...) or .else_().fail(...)").at(line)
    if isinstance(returned, Done) or (returned is None and len(names) > 1):
        raise WrongOutputs(who, _outputs_told(interface), f"{returned!r}, which has no output").at(line)
    parts = _output_parts(returned, names, interface)
    if len(parts) != len(names):
        raise WrongOutputs(who, _outputs_told(interface), f"{len(parts)}: {returned!r}").at(line)
    return {
        name: wire(builder, part, interface.outputs[name].annotation, f"{who}, output {name!r}", line)
        for name, part in zip(names, parts, strict=True)
    }


def _output_parts(returned: object, names: list[str], interface: Interface) -> list[object]:
    if interface.shape in ("tuple", "named"):
        if isinstance(returned, (tuple, list)):
            return list(returned)
        return [returned]
    if isinstance(returned, Outputs) and len(returned) == 1:  # A single named output, handed on as a plain one.
        return [returned[0]]
    return [returned]


def _outputs_told(interface: Interface) -> str:
    told = ", ".join(f"{name}: {part.codec.name}" for name, part in interface.outputs.items())
    return f"{len(interface.outputs)} output{'s' if len(interface.outputs) > 1 else ''} ({told})"


def failure_handler(builder: Builder, entity: Any, promises: Mapping[str, Promise], workflow: str, line: str) -> Draft:
    """The node that runs after a failure: with the workflow's inputs that it takes, and perhaps `err`.

    Raises:
        BadArgument: It needs an input that the workflow does not have.
    """
    from greenroom.synthetic import handler_of
    from greenroom.task import Task

    if not isinstance(entity, (Task, WorkflowBase)):
        raise BadArgument(f"workflow {workflow}", "on_failure", entity, "a task or a workflow").at(line)
    task = entity if isinstance(entity, Task) else handler_of(entity)
    inputs: dict[str, Wire] = {}
    for name, parameter in task.interface.inputs.items():
        if name in promises:
            inputs[name] = wire(builder, promises[name], parameter.annotation, f"on_failure of {workflow}", line)
        elif name != "err" and parameter.required:
            have = ", ".join([*promises, "err"])
            raise BadArgument(
                f"workflow {workflow}", "on_failure", entity, f"inputs among {have}; it needs {name!r}"
            ).at(line)
        elif name != "err":
            inputs[name] = wire(builder, parameter.default, parameter.annotation, f"on_failure of {workflow}", line)
    return Draft(
        builder,
        NodeKind.TASK,
        task.short_name,
        line=line,
        target=task,
        inputs=inputs,
        outputs=task.interface.outputs,
    )


@overload
def workflow(_workflow_function: Callable[P, R], /) -> Workflow[P, R]: ...


@overload
def workflow(
    *,
    failure_policy: FailurePolicy | None = None,
    interruptible: bool | None = None,
    on_failure: Task[Any, Any] | WorkflowBase | None = None,
    docs: object = None,
    default_options: object = None,
) -> Callable[[Callable[P, R]], Workflow[P, R]]: ...


def workflow(
    _workflow_function: Callable[..., Any] | None = None,
    /,
    *,
    failure_policy: FailurePolicy | None = None,
    interruptible: bool | None = None,
    on_failure: Task[Any, Any] | WorkflowBase | None = None,
    docs: object = None,
    default_options: object = None,
) -> Any:
    """Make a function a workflow: its body is run now, with promises, to learn its graph.

    Args:
        _workflow_function: The function, for `@workflow` without arguments.
        failure_policy: FAIL_IMMEDIATELY ends the rest when a node fails, FAIL_AFTER_EXECUTABLE_NODES_COMPLETE runs what
            does not depend on the failed one.
        interruptible: For its tasks that don't say themselves.
        on_failure: A task or workflow that runs after a failure, with the workflow's inputs (and `err`).
        docs: A description.
        default_options: Labels and the like of executions of its default launch plan.

    Raises:
        DefinitionError: The body misuses promises, or returns what it does not promise.
        AnnotationProblem: A parameter has no type.
    """
    policy = FailurePolicy.FAIL_IMMEDIATELY if failure_policy is None else failure_policy
    if not isinstance(policy, FailurePolicy):
        raise BadArgument("workflow", "failure_policy", policy, "a WorkflowFailurePolicy")
    if interruptible is not None and not isinstance(interruptible, bool):
        raise BadArgument("workflow", "interruptible", interruptible, "True, False or None")

    def decorate(function: Callable[..., Any]) -> Workflow[..., Any]:
        if isinstance(function, WorkflowBase):
            raise WrongPlace(f"@workflow around {function!r}", "decorate the function once")
        if inspect.iscoroutinefunction(function):
            raise BadArgument(
                "workflow", "the decorated object", function, "a plain function; async bodies are @eager's"
            )
        return Workflow(
            function,
            failure_policy=policy,
            interruptible=interruptible,
            on_failure=on_failure,
            docs=docs,
            default_options=default_options,
        )

    return decorate if _workflow_function is None else decorate(_workflow_function)
