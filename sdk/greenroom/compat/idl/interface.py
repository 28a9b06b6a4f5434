"""Inputs and outputs, in Flyte's words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from greenroom.compat.idl.literals import Literal
from greenroom.compat.idl.message import Message
from greenroom.compat.idl.types import LiteralType


@dataclass(eq=False)
class Variable(Message):
    """An input or an output."""

    type: LiteralType
    description: str | None = None
    artifact_partial_id: Any = None
    artifact_tag: Any = None


@dataclass(eq=False)
class VariableMap(Message):
    """Inputs or outputs by name."""

    variables: Mapping[str, Variable] = field(default_factory=dict)


@dataclass(eq=False)
class TypedInterface(Message):
    """Inputs and outputs of a task or workflow."""

    inputs: Mapping[str, Variable] = field(default_factory=dict)
    outputs: Mapping[str, Variable] = field(default_factory=dict)

    def transform_interface_to_list(self) -> TypedInterface:
        """The interface of a map over it."""
        return TypedInterface(_listed(self.inputs), _listed(self.outputs))


def _listed(variables: Mapping[str, Variable]) -> dict[str, Variable]:
    return {
        name: Variable(LiteralType(collection_type=variable.type), variable.description)
        for name, variable in variables.items()
    }


@dataclass(eq=False)
class Parameter(Message):
    """An input of a launch plan: needed, or with a default."""

    var: Variable
    default: Literal | None = None
    required: bool | None = None
    artifact_query: Any = None
    artifact_id: Any = None

    @property
    def behavior(self) -> str:
        """Which of them it is."""
        return "default" if self.default is not None else "required"


@dataclass(eq=False)
class ParameterMap(Message):
    """Inputs of a launch plan by name."""

    parameters: Mapping[str, Parameter] = field(default_factory=dict)
