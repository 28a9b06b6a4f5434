"""`TypeEngine`: transformers by class, and values to literals and back."""

from __future__ import annotations

import dataclasses
import enum
import typing
from collections.abc import Mapping
from typing import Any, ClassVar

from greenroom.compat.engine.base import AsyncTypeTransformer, RestrictedTypeError, TypeTransformer, waited
from greenroom.compat.idl.interface import Variable, VariableMap
from greenroom.compat.idl.literals import Literal, LiteralMap
from greenroom.compat.idl.types import LiteralType
from greenroom.errors import TypeMismatch
from greenroom.types.codec import given, type_name

T = typing.TypeVar("T")


class BuiltinTransformer(TypeTransformer[Any]):
    """What Greenroom does with types of its own, as a transformer that can be asked."""

    def get_literal_type(self, t: Any) -> LiteralType:
        """The type in Flyte's words."""
        from greenroom.compat.engine.literal_types import literal_type

        return literal_type(t)

    def guess_python_type(self, literal_type: LiteralType) -> Any:
        """The annotation that a literal type stands for."""
        from greenroom.compat.engine.literal_types import python_type

        return python_type(literal_type)

    def to_literal(self, ctx: Any, python_val: Any, python_type: Any, expected: LiteralType) -> Literal:
        """The literal of an object."""
        from greenroom.compat.engine.values import to_literal

        return to_literal(ctx, python_val, python_type, expected or self.get_literal_type(python_type))

    def to_python_value(self, ctx: Any, lv: Literal, expected_python_type: Any) -> Any:
        """The object of a literal."""
        from greenroom.compat.engine.values import to_python

        return to_python(ctx, lv, expected_python_type)

    async def async_to_literal(self, ctx: Any, python_val: Any, python_type: Any, expected: LiteralType) -> Literal:
        """The literal of an object."""
        return self.to_literal(ctx, python_val, python_type, expected)

    async def async_to_python_value(self, ctx: Any, lv: Literal, expected_python_type: Any) -> Any:
        """The object of a literal."""
        return self.to_python_value(ctx, lv, expected_python_type)


class DataclassTransformer(BuiltinTransformer):
    """Dataclasses."""

    def __init__(self) -> None:
        super().__init__("Object-Dataclass-Transformer", object)

    def get_literal_type(self, t: Any) -> LiteralType:
        """The type in Flyte's words.

        Raises:
            TypeMismatch: It is no dataclass.
        """
        if not dataclasses.is_dataclass(t):
            raise TypeMismatch("a dataclass", given(t))
        return super().get_literal_type(t)

    def to_literal(self, ctx: Any, python_val: Any, python_type: Any, expected: LiteralType) -> Literal:
        """The literal of an object.

        Raises:
            TypeMismatch: It is no dataclass.
        """
        if not dataclasses.is_dataclass(python_val):
            raise TypeMismatch("a dataclass", given(python_val))
        return super().to_literal(ctx, python_val, python_type, expected)


class ListTransformer(BuiltinTransformer):
    """Lists."""

    def __init__(self) -> None:
        super().__init__("Typed List", list)

    @staticmethod
    def get_sub_type(t: Any) -> Any:
        """The items' type.

        Raises:
            ValueError: It has none.
        """
        found = ListTransformer.get_sub_type_or_none(t)
        if found is None:
            raise ValueError(f"only generic univariate typing.List[T] has an item type, not {t}")
        return found

    @staticmethod
    def get_sub_type_or_none(t: Any) -> Any:
        """The items' type, or None."""
        if typing.get_origin(t) is typing.Annotated:
            return ListTransformer.get_sub_type_or_none(typing.get_args(t)[0])
        arguments = typing.get_args(t)
        return arguments[0] if typing.get_origin(t) is list and arguments else None


class DictTransformer(BuiltinTransformer):
    """Dicts."""

    def __init__(self) -> None:
        super().__init__("Typed Dict", dict)

    @staticmethod
    def extract_types(t: Any) -> Any:
        """The types of keys and values."""
        if typing.get_origin(t) is typing.Annotated:
            return DictTransformer.extract_types(typing.get_args(t)[0])
        return typing.get_args(t) or (None, None)


class UnionTransformer(BuiltinTransformer):
    """Unions."""

    def __init__(self) -> None:
        super().__init__("Typed Union", typing.Any)

    @staticmethod
    def is_optional_type(t: Any) -> bool:
        """Whether None is one of its members."""
        return type(None) in typing.get_args(t)

    @staticmethod
    def get_sub_type_in_optional(t: Any) -> Any:
        """The member that is not None."""
        return typing.get_args(t)[0]


class EnumTransformer(BuiltinTransformer):
    """Enums."""

    def __init__(self) -> None:
        super().__init__("DefaultEnumTransformer", enum.Enum)

    def get_literal_type(self, t: Any) -> LiteralType:
        """The type in Flyte's words.

        Raises:
            TypeMismatch: Its values are no texts.
        """
        if any(not isinstance(member.value, str) for member in t):
            raise TypeMismatch("an Enum whose values are texts", given(t))
        return super().get_literal_type(t)


class TypeEngine(typing.Generic[T]):
    """What every type is, and how its values travel."""

    _REGISTRY: ClassVar[dict[Any, TypeTransformer[Any]]] = {}
    _RESTRICTED_TYPES: ClassVar[list[Any]] = []

    @classmethod
    def register(cls, transformer: TypeTransformer[Any], additional_types: list[Any] | None = None) -> None:
        """Let a transformer make the literals of its class; values of the class travel so from now on.

        Raises:
            ValueError: Another transformer has the class.
        """
        from greenroom.compat.engine.travel import let_travel

        kinds = [transformer.python_type, *(additional_types or [])]
        for kind in kinds:
            if kind in cls._REGISTRY:
                raise ValueError(
                    f"Transformer {cls._REGISTRY[kind].name} for type {type_name(kind)} is already registered."
                )
        for kind in kinds:
            cls._REGISTRY[kind] = transformer
            let_travel(transformer, kind)

    @classmethod
    def register_additional_type(
        cls, transformer: TypeTransformer[Any], additional_type: Any, override: bool = False
    ) -> None:
        """Let a transformer serve one more class."""
        from greenroom.compat.engine.travel import let_travel

        if additional_type not in cls._REGISTRY or override:
            cls._REGISTRY[additional_type] = transformer
            let_travel(transformer, additional_type)

    @classmethod
    def register_restricted_type(cls, name: str, type: Any) -> None:
        """Refuse a class."""
        from greenroom.compat.engine.base import RestrictedTypeTransformer

        cls._RESTRICTED_TYPES.append(type)
        cls._REGISTRY[type] = RestrictedTypeTransformer(name, type)

    @classmethod
    def registered(cls, kind: Any) -> TypeTransformer[Any] | None:
        """What a program registered for a class or the nearest of its bases."""
        if not cls._REGISTRY or not isinstance(kind, type):
            return None
        return next((cls._REGISTRY[base] for base in kind.__mro__ if base in cls._REGISTRY), None)

    @classmethod
    def get_transformer(cls, python_type: Any) -> TypeTransformer[Any]:
        """Who makes the literals of a type."""
        from greenroom.compat.engine.literal_types import UNIONS, bared, transformer_name

        bare = bared(python_type)
        origin = typing.get_origin(bare)
        own = cls.registered(origin or bare)
        if own is not None:
            return own
        if origin in UNIONS:
            return UnionTransformer()
        if (origin or bare) is list:
            return ListTransformer()
        if (origin or bare) is dict:
            return DictTransformer()
        if isinstance(bare, type) and issubclass(bare, enum.Enum):
            return EnumTransformer()
        if dataclasses.is_dataclass(bare):
            return DataclassTransformer()
        return BuiltinTransformer(transformer_name(bare), bare)

    @classmethod
    def to_literal_type(cls, python_type: Any) -> LiteralType:
        """The type in Flyte's words."""
        from greenroom.compat.engine.literal_types import literal_type

        return literal_type(python_type)

    @classmethod
    def to_literal_checks(cls, python_val: Any, python_type: Any, expected: LiteralType | None) -> None:
        """Refuse what cannot be a value.

        Raises:
            RestrictedTypeError: It is a tuple.
        """
        if isinstance(python_val, tuple) and hasattr(python_type, "_fields"):
            raise RestrictedTypeError("a NamedTuple stands for several outputs, not a value")
        if (python_val is None and python_type is not type(None)) and expected and expected.union_type is None:
            raise TypeMismatch(type_name(python_type), "None")

    @classmethod
    def to_literal(cls, ctx: Any, python_val: Any, python_type: Any, expected: LiteralType) -> Literal:
        """The literal of an object.

        Raises:
            TypeMismatch: It is something else.
        """
        from greenroom.compat.engine.values import to_literal

        cls.to_literal_checks(python_val, python_type, expected)
        return to_literal(ctx, python_val, python_type, expected or cls.to_literal_type(python_type))

    @classmethod
    async def async_to_literal(cls, ctx: Any, python_val: Any, python_type: Any, expected: LiteralType) -> Literal:
        """The literal of an object."""
        return cls.to_literal(ctx, python_val, python_type, expected)

    @classmethod
    def to_python_value(cls, ctx: Any, lv: Literal, expected_python_type: Any) -> Any:
        """The object of a literal.

        Raises:
            TypeMismatch: The literal is something else.
        """
        from greenroom.compat.engine.values import to_python

        return to_python(ctx, lv, expected_python_type)

    @classmethod
    async def async_to_python_value(cls, ctx: Any, lv: Literal, expected_python_type: Any) -> Any:
        """The object of a literal."""
        return cls.to_python_value(ctx, lv, expected_python_type)

    @classmethod
    def guess_python_type(cls, flyte_type: LiteralType) -> Any:
        """The annotation that a literal type stands for."""
        from greenroom.compat.engine.literal_types import python_type

        for transformer in dict.fromkeys(cls._REGISTRY.values()):
            try:
                return transformer.guess_python_type(flyte_type)
            except (ValueError, NotImplementedError):
                continue
        return python_type(flyte_type)

    @classmethod
    def guess_python_types(cls, flyte_variable_dict: Mapping[str, Variable]) -> dict[str, Any]:
        """The annotations of inputs or outputs."""
        return {name: cls.guess_python_type(variable.type) for name, variable in flyte_variable_dict.items()}

    @classmethod
    def named_tuple_to_variable_map(cls, t: Any) -> VariableMap:
        """The outputs that a NamedTuple stands for."""
        hints = typing.get_type_hints(t, include_extras=True)
        return VariableMap({name: Variable(cls.to_literal_type(kind), "") for name, kind in hints.items()})

    @classmethod
    def literal_map_to_kwargs(
        cls, ctx: Any, lm: LiteralMap, python_types: Mapping[str, Any] | None = None, literal_types: Any = None
    ) -> dict[str, Any]:
        """The objects of literals, by name.

        Raises:
            ValueError: No types were given, or too few.
        """
        if python_types is None and literal_types is None:
            raise ValueError("one of python_types and literal_types is needed")
        types = python_types if python_types is not None else cls.guess_python_types(literal_types)
        if len(lm.literals) > len(types):
            raise ValueError(f"{len(lm.literals)} literals for {len(types)} types")
        return {name: cls.to_python_value(ctx, lm.literals[name], types[name]) for name in lm.literals}

    @classmethod
    def dict_to_literal_map(
        cls, ctx: Any, d: Mapping[str, Any], type_hints: Mapping[str, Any] | None = None
    ) -> LiteralMap:
        """Literals of objects, by name."""
        hints = type_hints or {}
        kinds = {name: hints.get(name, type(value)) for name, value in d.items()}
        return LiteralMap(
            {
                name: cls.to_literal(ctx, value, kinds[name], cls.to_literal_type(kinds[name]))
                for name, value in d.items()
            }
        )

    @classmethod
    def get_available_transformers(cls) -> typing.KeysView[Any]:
        """The classes that programs registered transformers for."""
        return cls._REGISTRY.keys()

    @classmethod
    def lazy_import_transformers(cls) -> None:
        """Nothing is to be imported."""

    @classmethod
    def calculate_hash(cls, python_val: Any, python_type: Any) -> str | None:
        """What the annotation's HashMethod says of a value."""
        from greenroom.compat.engine.values import _hash

        return _hash(python_val, python_type)

    @classmethod
    def to_html(cls, ctx: Any, python_val: Any, expected_python_type: Any) -> str:
        """A value for a page."""
        return cls.get_transformer(expected_python_type).to_html(ctx, python_val, expected_python_type)

    @classmethod
    def unwrap_offloaded_literal(cls, ctx: Any, lv: Literal) -> Literal:
        """The literal itself: none is put elsewhere here."""
        return lv


__all__ = ["AsyncTypeTransformer", "BuiltinTransformer", "TypeEngine", "waited"]
