"""Inputs and outputs by their Python types, as programs for Flyte ask for them, and the same in Flyte's words."""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from greenroom.compat.idl.interface import Parameter, ParameterMap, TypedInterface, Variable
from greenroom.types import MISSING
from greenroom.types import Interface as OwnInterface


class Interface:
    """Inputs and outputs by name, with their Python types."""

    def __init__(
        self,
        inputs: Mapping[str, Any] | None = None,
        outputs: Mapping[str, Any] | None = None,
        output_tuple_name: str | None = None,
        docstring: Any = None,
    ) -> None:
        """Hold types; an input may be a pair of its type and its default."""
        self.inputs_with_defaults: dict[str, tuple[Any, Any]] = {
            name: told if isinstance(told, tuple) else (told, None) for name, told in (inputs or {}).items()
        }
        self.outputs = dict(outputs or {})
        self.output_tuple_name, self.docstring = output_tuple_name, docstring

    @property
    def inputs(self) -> dict[str, Any]:
        """The inputs' types."""
        return {name: told[0] for name, told in self.inputs_with_defaults.items()}

    @property
    def output_names(self) -> list[str] | None:
        """The outputs' names, if there are any."""
        return list(self.outputs) or None

    @property
    def default_inputs_as_kwargs(self) -> dict[str, Any]:
        """The defaults that are not None."""
        return {name: told[1] for name, told in self.inputs_with_defaults.items() if told[1] is not None}

    def remove_inputs(self, names: list[str] | None) -> Interface:
        """The interface without some inputs."""
        kept = {name: told for name, told in self.inputs_with_defaults.items() if name not in (names or ())}
        return Interface(kept, self.outputs, self.output_tuple_name, self.docstring)

    def with_inputs(self, extra_inputs: Mapping[str, Any] | None) -> Interface:
        """The interface with further inputs.

        Raises:
            ValueError: There is one of the same name.
        """
        for name in extra_inputs or {}:
            if name in self.inputs:
                raise ValueError(f"Input {name} cannot be added: there is one of this name")
        return Interface(
            {**self.inputs_with_defaults, **(extra_inputs or {})}, self.outputs, self.output_tuple_name, self.docstring
        )

    def with_outputs(self, extra_outputs: Mapping[str, Any] | None) -> Interface:
        """The interface with further outputs.

        Raises:
            ValueError: There is one of the same name.
        """
        for name in extra_outputs or {}:
            if name in self.outputs:
                raise ValueError(f"Output {name} cannot be added: there is one of this name")
        outputs = {**self.outputs, **(extra_outputs or {})}
        return Interface(self.inputs_with_defaults, outputs, self.output_tuple_name, self.docstring)


def python_interface(own: OwnInterface, doc: str | None = None) -> Interface:
    """An interface of ours by its Python types, and what a docstring says of its parts."""
    from greenroom.compat.docstrings import described

    inputs = {
        part.name: (part.annotation, None if part.default is MISSING else part.default) for part in own.inputs.values()
    }
    named = own.named.__name__ if own.shape == "named" else None
    outputs = {part.name: part.annotation for part in own.outputs.values()}
    return Interface(inputs, outputs, named, described(doc))


def transform_function_to_interface(
    fn: Callable[..., Any], docstring: Any = None, is_reference_entity: bool = False, pickle_untyped: bool = False
) -> Interface:
    """The interface of a function.

    Raises:
        AnnotationProblem: An annotation is missing, or is no type.
        MissingReturn: It promises an output and returns nothing.
    """
    from greenroom.returns import check_returns

    own = OwnInterface.of(fn, pickle_untyped=pickle_untyped)
    if not is_reference_entity:
        check_returns(fn, own, own.name)
    return python_interface(own)


def transform_variable_map(
    variables: Mapping[str, Any], descriptions: Mapping[str, str] | None = None
) -> dict[str, Variable]:
    """Inputs or outputs in Flyte's words."""
    told = descriptions or {}
    return {name: transform_type(annotation, told.get(name, name)) for name, annotation in variables.items()}


def transform_type(x: Any, description: str | None = None) -> Variable:
    """A type as an input or output in Flyte's words."""
    from greenroom.compat.engine import TypeEngine

    return Variable(TypeEngine.to_literal_type(x), description)


def transform_interface_to_typed_interface(interface: Interface | None, **_: Any) -> TypedInterface | None:
    """An interface in Flyte's words."""
    if interface is None:
        return None
    return TypedInterface(transform_variable_map(interface.inputs), transform_variable_map(interface.outputs))


def transform_inputs_to_parameters(ctx: Any, interface: Interface) -> ParameterMap:
    """Inputs as a launch plan has them: needed, or with a default."""
    from greenroom.compat.engine import TypeEngine

    made: dict[str, Parameter] = {}
    told = interface.docstring.inputs if interface.docstring is not None else {}
    for name, variable in transform_variable_map(interface.inputs, told).items():
        annotation, default = interface.inputs_with_defaults[name]
        optional = type(None) in typing.get_args(annotation)
        if default is None and not optional:
            made[name] = Parameter(variable, None, True)
        else:
            literal = TypeEngine.to_literal(ctx, default, annotation, variable.type)
            made[name] = Parameter(variable, literal, False)
    return ParameterMap(made)


def transform_types_to_list_of_type(m: Mapping[str, Any], bound_inputs: Any = (), optional: bool = False) -> Any:
    """Types of lists of such."""
    bound = bound_inputs or ()
    listed = {
        name: kind if name in bound else list[typing.Optional[kind] if optional else kind]  # type: ignore[misc]  # noqa: UP045
        for name, kind in m.items()
    }
    return listed


def transform_interface_to_list_interface(
    interface: Interface, bound_inputs: Any = (), optional_outputs: bool = False
) -> Interface:
    """The interface of a map over something of this interface."""
    inputs = transform_types_to_list_of_type(interface.inputs, bound_inputs)
    return Interface(inputs, transform_types_to_list_of_type(interface.outputs, (), optional_outputs))


def default_output_name(index: int = 0) -> str:
    """`o0`, `o1`, ..."""
    return f"o{index}"


def output_name_generator(length: int) -> Iterator[str]:
    """The first names of outputs."""
    return (default_output_name(index) for index in range(length))


def extract_return_annotation(return_annotation: Any) -> dict[str, Any]:
    """The outputs that a return annotation stands for."""
    from greenroom.types.interface import _outputs

    outputs, _, _ = _outputs("the function", return_annotation)
    return {part.name: part.annotation for part in outputs}
