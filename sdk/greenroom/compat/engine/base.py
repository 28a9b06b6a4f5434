"""What a transformer is: the class that programs derive from to say how objects of a class become literals."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from typing import Any, Generic, NoReturn, TypeVar

from greenroom.compat.idl.literals import Literal
from greenroom.compat.idl.types import LiteralType
from greenroom.errors import GreenroomError, TypeMismatch
from greenroom.types.codec import given, type_name

T = TypeVar("T")


class RestrictedTypeError(GreenroomError, TypeError):
    """A type means something else where it is written than a value."""


class TypeTransformer(Generic[T]):
    """How objects of one class become literals, and literals such objects."""

    def __init__(self, name: str, t: type[T], enable_type_assertions: bool = True, hash_overridable: bool = False):
        self._name, self._t = name, t
        self._type_assertions_enabled = enable_type_assertions
        self._hash_overridable = hash_overridable

    @property
    def name(self) -> str:
        """What values are marked with."""
        return self._name

    @property
    def python_type(self) -> type[T]:
        """The class."""
        return self._t

    @property
    def is_async(self) -> bool:
        """Whether it is awaited."""
        return False

    @property
    def type_assertions_enabled(self) -> bool:
        """Whether values are checked to be of the class."""
        return self._type_assertions_enabled

    def isinstance_generic(self, obj: Any, generic_alias: Any) -> bool:
        """Whether an object is of the class behind `list[int]` and the like."""
        from typing import get_origin

        origin = get_origin(generic_alias)
        return isinstance(obj, origin or generic_alias)

    def assert_type(self, t: type[T], v: T) -> None:
        """Refuse what is not of the class.

        Raises:
            TypeMismatch: It is not.
        """
        if not self.isinstance_generic(v, t):
            raise TypeMismatch(type_name(t), given(v))

    def get_literal_type(self, t: type[T]) -> LiteralType:
        """The type in Flyte's words."""
        raise NotImplementedError(f"{type(self).__name__} does not say the literal type of {type_name(t)}")

    def guess_python_type(self, literal_type: LiteralType) -> type[T]:
        """The class that a literal type stands for.

        Raises:
            ValueError: It is none of this transformer's.
        """
        raise ValueError(f"{self.name} does not know the type of {literal_type}")

    def to_literal(self, ctx: Any, python_val: T, python_type: type[T], expected: LiteralType) -> Literal:
        """The literal of an object."""
        raise NotImplementedError(f"{type(self).__name__} makes no literals")

    def to_python_value(self, ctx: Any, lv: Literal, expected_python_type: type[T]) -> T | None:
        """The object of a literal."""
        raise NotImplementedError(f"{type(self).__name__} reads no literals")

    def to_html(self, ctx: Any, python_val: T, expected_python_type: type[T]) -> str:
        """The object for a page."""
        import html

        return html.escape(str(python_val))

    def __repr__(self) -> str:
        return f"{self.name} transforms ({type_name(self._t)}) to Flyte native"

    __str__ = __repr__


class AsyncTypeTransformer(TypeTransformer[T]):
    """A transformer whose literals are awaited."""

    @property
    def is_async(self) -> bool:
        """It is."""
        return True

    async def async_to_literal(self, ctx: Any, python_val: T, python_type: type[T], expected: LiteralType) -> Literal:
        """The literal of an object."""
        raise NotImplementedError(f"{type(self).__name__} makes no literals")

    async def async_to_python_value(self, ctx: Any, lv: Literal, expected_python_type: type[T]) -> T | None:
        """The object of a literal."""
        raise NotImplementedError(f"{type(self).__name__} reads no literals")

    def to_literal(self, ctx: Any, python_val: T, python_type: type[T], expected: LiteralType) -> Literal:
        """The literal of an object, for who does not await it."""
        made: Literal = waited(self.async_to_literal(ctx, python_val, python_type, expected))
        return made

    def to_python_value(self, ctx: Any, lv: Literal, expected_python_type: type[T]) -> T | None:
        """The object of a literal, for who does not await it."""
        made: T | None = waited(self.async_to_python_value(ctx, lv, expected_python_type))
        return made


def waited(answer: Any) -> Any:
    """What a coroutine gives, also where a loop runs already; what is no coroutine, as it is."""
    if not inspect.iscoroutine(answer):
        return answer
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(answer)
    return _in_a_thread(answer)


def _in_a_thread(answer: Coroutine[Any, Any, Any]) -> Any:
    import contextvars
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(contextvars.copy_context().run, asyncio.run, answer).result()


class SimpleTransformer(TypeTransformer[T]):
    """A transformer made of two functions."""

    def __init__(
        self,
        name: str,
        t: type[T],
        lt: LiteralType,
        to_literal_transformer: Callable[[T], Literal],
        from_literal_transformer: Callable[[Literal], T | None],
    ) -> None:
        super().__init__(name, t)
        self._lt = lt
        self._to, self._from = to_literal_transformer, from_literal_transformer

    @property
    def base_type(self) -> type:
        """The class."""
        return self._t

    def get_literal_type(self, t: type[T] | None = None) -> LiteralType:
        """The type that was given."""
        return self._lt

    def to_literal(self, ctx: Any, python_val: T, python_type: type[T], expected: LiteralType | None = None) -> Literal:
        """What the first function gives."""
        if type(python_val) is not self._t:
            raise TypeMismatch(type_name(self._t), given(python_val))
        return self._to(python_val)

    def to_python_value(self, ctx: Any, lv: Literal, expected_python_type: type[T]) -> T | None:
        """What the second function gives."""
        made = self._from(lv)
        if made is None:
            raise TypeMismatch(type_name(expected_python_type), f"the literal {lv}")
        return made

    def guess_python_type(self, literal_type: LiteralType) -> type[T]:
        """The class, if the type is the one that was given."""
        if literal_type == self._lt:
            return self._t
        raise ValueError(f"{self.name} does not know the type of {literal_type}")


class RestrictedTypeTransformer(TypeTransformer[T]):
    """Refuses a class that means something else in annotations."""

    def __init__(self, name: str, t: type[T]) -> None:
        super().__init__(name, t)

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise RestrictedTypeError(
            f"{type_name(self._t)} is restricted here: it stands for several outputs, not a value"
        )

    get_literal_type = to_literal = to_python_value = _refuse
