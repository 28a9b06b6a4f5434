"""Interfaces made of others: of maps, of launch plans, of workflows without a function."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, Final

from greenroom.errors import AnnotationProblem
from greenroom.lines import defined
from greenroom.types import Input, Interface, Output, TypeSpec, codec_for

if TYPE_CHECKING:
    from greenroom.blobs import BlobStore

_UNIONS: Final = (typing.Union, type(int | str))


class GraphInterface(Interface):
    """The interface of a dynamic task: its result on a replica is a graph, which travels as such."""

    @classmethod
    def like(cls, interface: Interface) -> GraphInterface:
        """The same inputs and outputs."""
        inputs, outputs = list(interface.inputs.values()), list(interface.outputs.values())
        return cls(interface.name, inputs, outputs, interface.shape, interface.named)

    def encode_outputs(self, result: Any, store: BlobStore, warn: Callable[[str], None] | None = None) -> bytes:
        """The graph, or the outputs' values where there are some already."""
        from greenroom.building import Compiled
        from greenroom.compile import fragment_of

        return (
            fragment_of(result, store) if isinstance(result, Compiled) else super().encode_outputs(result, store, warn)
        )


def interface_of(function: Callable[..., Any], name: str, pickle_untyped: bool = False) -> Interface:
    """The interface of a function that is being decorated.

    Raises:
        AnnotationProblem: An annotation is missing or means nothing; it starts with the line of the definition.
    """
    try:
        return Interface.of(function, name=name, pickle_untyped=pickle_untyped)
    except AnnotationProblem as problem:
        line = defined(function)
        raise AnnotationProblem(f"{line}: {problem.where}" if line else problem.where, problem.problem) from None


def from_types(name: str, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> Interface:
    """The interface of what has no function: inputs and outputs by their types."""
    taken = [Input(key, annotation, codec_for(annotation)) for key, annotation in inputs.items()]
    given = [Output(key, annotation, codec_for(annotation)) for key, annotation in outputs.items()]
    if len(given) > 1:
        return Interface(name, taken, given, "named", named_tuple("DefaultNamedTupleOutput", tuple(outputs)))
    return Interface(name, taken, given, "one" if given else "none")


def mapped(interface: Interface, over: Collection[str], tolerant: bool) -> Interface:
    """The interface of a map; inputs that are the same for all items stay as they are.

    Args:
        interface: Of what is mapped.
        over: The inputs that are lists.
        tolerant: Items may fail; their results are None then.
    """
    inputs = []
    for part in interface.inputs.values():
        listed: Any = typing.List[part.annotation]  # type: ignore[name-defined]  # noqa: UP006  (as programs ask for it)
        inputs.append(Input(part.name, listed, codec_for(listed)) if part.name in over else part)
    outputs = []
    for given in interface.outputs.values():
        one = typing.Optional[given.annotation] if tolerant else given.annotation  # noqa: UP045
        outputs.append(Output(given.name, list[one], codec_for(list[one])))  # type: ignore[valid-type]
    return Interface(f"map over {interface.name}", inputs, outputs, interface.shape, interface.named)


def with_defaults(interface: Interface, defaults: Mapping[str, Any], without: Collection[str] = ()) -> Interface:
    """The same interface with other defaults, and without some inputs."""
    inputs = [
        part._replace(default=defaults.get(part.name, part.default))
        for part in interface.inputs.values()
        if part.name not in without
    ]
    return Interface(interface.name, inputs, list(interface.outputs.values()), interface.shape, interface.named)


def output_types(interface: Interface) -> dict[str, TypeSpec | None]:
    """The types of the outputs, by name."""
    return {name: part.codec.describe() for name, part in interface.outputs.items()}


def tuple_name(interface: Interface) -> str | None:
    """Name of the NamedTuple that a function returns; None if it returns none."""
    return interface.named.__name__ if interface.shape == "named" else None


def named_tuple(name: str, fields: tuple[str, ...]) -> Any:
    """A class of named tuples; the same one for the same fields."""
    from collections import namedtuple

    key = (name, fields)
    if key not in _TUPLES:
        _TUPLES[key] = namedtuple(name, fields)
    return _TUPLES[key]


_TUPLES: dict[tuple[str, tuple[str, ...]], Any] = {}


def part_annotation(annotation: Any, step: str | int) -> Any:
    """The annotation of a part of a value: an item of a list, an entry of a dict, a field; Any if it has none."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return part_annotation(arguments[0], step)
    if origin in _UNIONS:
        found = [part_annotation(member, step) for member in arguments]
        return next((part for part in found if part is not Any), Any)
    if isinstance(step, int) and arguments and origin is tuple and Ellipsis not in arguments:
        return arguments[step] if step < len(arguments) else Any
    if len(arguments) == 2 and isinstance(origin, type) and issubclass(origin, Mapping):
        return arguments[1]
    if arguments and isinstance(step, int):
        return arguments[0]
    if isinstance(annotation, type) and isinstance(step, str) and _has_fields(annotation):
        return typing.get_type_hints(annotation, include_extras=True).get(step, Any)
    return Any


def _has_fields(kind: type) -> bool:
    marks = ("_fields", "__required_keys__", "model_fields")
    return dataclasses.is_dataclass(kind) or any(hasattr(kind, mark) for mark in marks)
