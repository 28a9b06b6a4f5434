"""Workflows that are put together step by step, without a function: `ImperativeWorkflow`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from greenroom import building
from greenroom.building import Builder, Compiled, Wire
from greenroom.calls import wire
from greenroom.conditions import Conditional, close
from greenroom.definition_errors import BadArgument, UnknownArgument, WrongOutputs, WrongPlace
from greenroom.interfaces import from_types
from greenroom.lines import caller, caller_module
from greenroom.naming import find, place_of
from greenroom.nodes import Node
from greenroom.promises import Promise, promises_in
from greenroom.workflow import WorkflowBase, failure_handler
from greenroom_core.graph import FailurePolicy

if TYPE_CHECKING:
    from greenroom.types import Interface


class ImperativeWorkflow(WorkflowBase):
    """A workflow whose inputs, nodes and outputs are added one by one.

        wb = ImperativeWorkflow("my.workflow")
        wb.add_workflow_input("n", int)
        node = wb.add_entity(double, n=wb.inputs["n"])
        wb.add_workflow_output("doubled", node.outputs["o0"])

    Attributes:
        name: The workflow's name.
        inputs: Its inputs' promises.
    """

    def __init__(
        self, name: str, failure_policy: FailurePolicy | None = None, interruptible: bool | None = None
    ) -> None:
        super().__init__()
        if not isinstance(name, str) or not name:
            raise BadArgument("ImperativeWorkflow", "name", name, 'text, like "my.workflow"')
        self.name = name
        self.line = caller()
        self._module = caller_module()
        self.failure_policy = failure_policy or FailurePolicy.FAIL_IMMEDIATELY
        self.interruptible = interruptible
        self.inputs: dict[str, Promise] = {}
        self._builder = Builder(name)
        self._input_types: dict[str, Any] = {}
        self._outputs: dict[str, Wire] = {}
        self._output_types: dict[str, Any] = {}
        self._used: set[str] = set()

    @property
    def interface(self) -> Interface:  # type: ignore[override]
        """Inputs and outputs, as far as they were added."""
        return from_types(self.name, self._input_types, self._output_types)

    @property
    def nodes(self) -> list[str]:
        """Ids of the nodes, in the order in which they were added."""
        return [draft.id for draft in self._builder.drafts]

    @property
    def output_bindings(self) -> Mapping[str, Wire]:
        """Where the outputs come from."""
        return self._outputs

    def add_workflow_input(self, input_name: str, python_type: Any) -> Promise:
        """Add an input.

        Args:
            input_name: Its name.
            python_type: Its type.

        Returns:
            Its promise, for `add_entity`.

        Raises:
            BadArgument: There is one of this name.
        """
        from greenroom.types import codec_for

        if input_name in self._input_types:
            raise BadArgument(self.name, "input_name", input_name, "a name that no other input has")
        self._input_types[input_name] = python_type
        self.inputs[input_name] = Promise(self._builder, None, input_name, codec_for(python_type).describe())
        self._changed()
        return self.inputs[input_name]

    def add_entity(self, entity: Any, **kwargs: Any) -> Node:
        """Add a call.

        Args:
            entity: A task, workflow, launch plan or map.
            **kwargs: Its inputs: promises or constants.
        """
        line = caller()
        if not hasattr(type(entity), "node"):
            raise BadArgument(self.name, "entity", entity, "a task, workflow, launch plan or map").at(line)
        for promise in promises_in(kwargs):
            if isinstance(promise, Promise) and promise._draft is None:
                self._used.add(promise._output)
        with building.building(self._builder):
            node = Node(*entity.node(self._builder, (), kwargs, line))
        self._changed()
        return node

    add_task = add_subwf = add_launch_plan = add_entity

    def add_workflow_output(self, output_name: str, p: Any, python_type: Any = None) -> None:
        """Add an output.

        Args:
            output_name: Its name.
            p: A promise, or a list or dict of promises.
            python_type: Its type; needed only where `p` is a list or dict.

        Raises:
            BadArgument: There is one of this name.
            WrongOutputs: The type is needed and not given.
        """
        line = caller()
        if output_name in self._outputs:
            raise BadArgument(self.name, "output_name", output_name, "a name that no other output has").at(line)
        if python_type is None:
            python_type = self._type_of(p, output_name, line)
        self._outputs[output_name] = wire(self._builder, p, python_type, f"{self.name}, output {output_name!r}", line)
        self._output_types[output_name] = python_type
        self._changed()

    def _type_of(self, p: Any, output_name: str, line: str) -> Any:
        if isinstance(p, Promise) and p._draft is None and not p._path:
            return self._input_types[p._output]
        if isinstance(p, Promise) and p._draft is not None and not p._path:
            interface = getattr(p._draft.target, "interface", None)
            if interface is not None and p._output in interface.outputs:
                return interface.outputs[p._output].annotation
        raise WrongOutputs(f"{self.name}, output {output_name!r}", "python_type=", f"none for {p!r}").at(line)

    def add_on_failure_handler(self, entity: Any) -> None:
        """Run a task or workflow after a failure, with the workflow's inputs that it takes.

        Args:
            entity: The task or workflow.
        """
        self._builder.failure_handler = failure_handler(self._builder, entity, self.inputs, self.name, caller())
        self._changed()

    def create_conditional(self, name: str) -> Conditional:
        """A branch among the nodes; see `conditional`.

        Args:
            name: Id of its node.
        """
        self._changed()
        return Conditional(self._builder, name)

    def ready(self) -> bool:
        """Whether there is something to run, and every input is used."""
        return bool(self._builder.drafts) and self._input_types.keys() <= self._used | self._passed_on()

    def _passed_on(self) -> set[str]:
        return {wire._output for wire in self._outputs.values() if isinstance(wire, Promise) and wire._draft is None}

    def _changed(self) -> None:
        self._compiled = None
        self.__dict__.pop("_here", None)

    def compile(self) -> Compiled:
        """Make the graph of what was added so far.

        Raises:
            CycleFound: Nodes wait for each other.
        """
        builder, outputs = self.laid_out()
        return builder.finish(self._input_types, outputs, self.failure_policy, self.interruptible)

    def laid_out(self) -> tuple[Builder, dict[str, Wire]]:
        """The nodes that were added so far, and where the outputs come from."""
        for draft in self._builder.drafts:
            close(draft)
        return self._builder, self._outputs

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if args:
            raise UnknownArgument(self.name, repr(args[0]), list(self._input_types))
        return self.call((), kwargs)

    def __reduce__(self) -> Any:
        place = place_of(self, self._module)
        if place is None:
            raise WrongPlace(f"{self!r} is pickled", "assign it to a name at the top of a module")
        return (find, place)

    def __repr__(self) -> str:
        return f"<ImperativeWorkflow {self.name}>"
