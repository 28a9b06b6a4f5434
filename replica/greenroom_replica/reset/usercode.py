"""Which code, functions and classes are the user's, and which a library's."""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator
from types import CodeType, FunctionType, MethodType
from typing import Any

_OURS = frozenset({"greenroom", "greenroom_core", "greenroom_protocol", "greenroom_replica"})


class Territory:
    """The user modules that were adopted, by name and by namespace.

    A function that cloudpickle brought by value has a namespace of its own, which is no module's: it is the user's too.
    """

    def __init__(self) -> None:
        self.names: set[str] = set()
        self._spaces: dict[int, dict[str, Any]] = {}
        self.finalizes = False
        """Whether user code has finalizers, which change state after the calls that made their objects."""

    def add(self, name: str, space: dict[str, Any]) -> None:
        """Count a module's name and namespace as the user's."""
        self.names.add(name)
        self._spaces[id(space)] = space
        self.finalizes = self.finalizes or _speaks_of_finalizers(space)

    def owns_space(self, space: object) -> bool:
        """Tell whether a frame's or a function's globals are the user's."""
        return id(space) in self._spaces

    def owns_function(self, function: FunctionType) -> bool:
        """Tell whether a function is the user's: defined in user code, or dressed as such by ``functools.wraps``."""
        return self.owns_space(function.__globals__) or function.__module__ in self.names

    def owns_class(self, kind: type) -> bool:
        """Tell whether a class was defined in user code."""
        module = type.__getattribute__(kind, "__dict__").get("__module__")
        return type(module) is str and module in self.names

    def owns_callable(self, value: object) -> bool:
        """Tell whether calling this runs user code first: through partials, bound methods and instances too."""
        while True:
            kind = type(value)
            if kind is functools.partial:
                value = value.func  # type: ignore[attr-defined]
            elif kind is MethodType:
                if self.owns_class(type(value.__self__)):  # type: ignore[attr-defined]
                    return True
                value = value.__func__  # type: ignore[attr-defined]
            elif kind is FunctionType:
                return self.owns_function(value)  # type: ignore[arg-type]
            else:
                return self.owns_class(value if issubclass(kind, type) else kind)  # type: ignore[arg-type]

    def runs_in(self, frame: Any) -> bool:
        """Tell whether any frame from this one outwards is user code."""
        while frame is not None:
            if id(frame.f_globals) in self._spaces:
                return True
            frame = frame.f_back
        return False


def _speaks_of_finalizers(space: dict[str, Any]) -> bool:
    """Tell whether a module's source has a word of them; by its functions' names where there is no source."""
    try:
        with open(space["__file__"], "rb") as file:
            text = file.read()
    except (KeyError, TypeError, OSError):
        text = " ".join(_names_in([value.__code__ for value in space.values() if type(value) is FunctionType])).encode()
    return any(word in text for word in _FINALIZERS)


def _names_in(codes: list[CodeType]) -> Iterator[str]:
    while codes:
        code = codes.pop()
        yield from (*code.co_names, code.co_name)
        codes += [value for value in code.co_consts if type(value) is CodeType]


_FINALIZERS = (b"__del__", b"weakref", b"finalize")


def is_ours(module: str) -> bool:
    """Tell whether a module belongs to Greenroom itself."""
    return module.partition(".")[0] in _OURS


def is_standard(module: str) -> bool:
    """Tell whether a module belongs to Python's standard library."""
    return module.partition(".")[0] in sys.stdlib_module_names
