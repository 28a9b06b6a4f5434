"""Stand-ins for what Greenroom does not serve: a file may mention them, and using one says what to write instead."""

from __future__ import annotations

from typing import Any, NoReturn

from greenroom.errors import GreenroomError


class NotServed(GreenroomError, NotImplementedError):
    """A program uses something of Flyte's or Union's that Greenroom does not have."""

    def __init__(self, name: str, remedy: str) -> None:
        super().__init__(name, remedy)
        self.name, self.remedy = name, remedy

    def __str__(self) -> str:
        return f"{self.name} is not part of Greenroom: {self.remedy}"


class _Base:
    """What classes that derive from a placeholder derive from: it can be subclassed, and not instantiated."""

    _placeholder: Placeholder

    def __new__(cls, *args: Any, **options: Any) -> NoReturn:
        raise cls._placeholder._refusal()


class Placeholder:
    """Takes the place of a class, a function or an object.

    It can be imported, annotated with, indexed (`Name[int]`), combined (`Name | None`), derived from, tested for and
    put around a function. Calling it, or what it was put around, raises `NotServed`.
    """

    def __init__(self, module: str, name: str, remedy: str) -> None:
        self.__module__, self.__name__ = module, name
        self.__qualname__ = name
        self._remedy = remedy

    def _refusal(self) -> NotServed:
        return NotServed(f"{self.__module__}.{self.__name__}", self._remedy)

    def __call__(self, *args: Any, **options: Any) -> Any:
        if len(args) == 1 and not options and callable(args[0]) and not isinstance(args[0], type):
            return self._around(args[0])
        raise self._refusal()

    def _around(self, function: Any) -> Any:
        """As a decorator: the function's module can be imported, calling it fails."""
        from functools import wraps

        @wraps(function)
        def refuse(*args: Any, **options: Any) -> NoReturn:
            raise self._refusal()

        return refuse

    def __getattr__(self, name: str) -> Placeholder:
        if name.startswith("_"):
            raise AttributeError(name)
        return Placeholder(self.__module__, f"{self.__name__}.{name}", self._remedy)

    def __getitem__(self, item: Any) -> Placeholder:
        return self

    def __or__(self, other: Any) -> Any:
        return self

    __ror__ = __or__

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[type, ...]:
        return (
            type(self.__name__.rpartition(".")[2], (_Base,), {"_placeholder": self, "__module__": self.__module__}),
        )

    def __instancecheck__(self, instance: object) -> bool:
        return False

    def __subclasscheck__(self, cls: type) -> bool:
        return getattr(cls, "_placeholder", None) is self

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Placeholder) and (self.__module__, self.__name__) == (other.__module__, other.__name__)

    def __hash__(self) -> int:
        return hash((self.__module__, self.__name__))

    def __reduce__(self) -> tuple[Any, ...]:
        return Placeholder, (self.__module__, self.__name__, self._remedy)

    def __repr__(self) -> str:
        return f"<{self.__module__}.{self.__name__}: not part of Greenroom>"


def stand_in(module: str, name: str, remedy: str) -> Any:
    """A placeholder; for what is an error, a real exception class, so that `except` clauses can name it."""
    if name.endswith(("Error", "Exception", "Exceptions")):
        from greenroom.errors import GreenroomError

        return type(name, (GreenroomError,), {"__module__": module, "__doc__": f"Never raised by Greenroom: {remedy}"})
    return Placeholder(module, name, remedy)
