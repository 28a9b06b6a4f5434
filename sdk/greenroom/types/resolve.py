"""Annotations as objects: text and forward references resolved, wherever their names can be found."""

from __future__ import annotations

import builtins
import sys
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from greenroom.errors import AnnotationProblem

_FRAMES: Final = 40
"""Callers that are searched for the names of classes defined inside of functions, as tests do."""

_NOT_THEIRS: Final = ("greenroom.", "typing")
"""Modules whose local names mean nothing to a program."""


def hints_of(obj: Any, what: str) -> dict[str, Any]:
    """The annotations of a function or class, resolved.

    Names are looked for where Python looks, then in the function's closure, its type parameters, and among the local
    names of who is calling: classes that are defined inside of a function have no other place.

    Args:
        obj: The function or class.
        what: How errors call it.

    Raises:
        AnnotationProblem: A name is nowhere.
    """
    try:
        return typing.get_type_hints(obj, include_extras=True)
    except (NameError, AttributeError, TypeError, SyntaxError):
        pass
    scope = _Scope(obj)
    try:
        return typing.get_type_hints(obj, localns=scope, include_extras=True)
    except (NameError, AttributeError, TypeError, SyntaxError) as fault:
        raise AnnotationProblem(*_culprit(obj, what, scope, fault)) from fault


def resolve_text(text: str, what: str) -> Any:
    """The object that one annotation in quotes means, by the names of who is calling.

    Raises:
        AnnotationProblem: A name in it is nowhere.
    """
    scope = _Scope(None)
    try:
        return eval(text, {}, scope)  # The annotation is the program's own code.
    except Exception as fault:
        raise AnnotationProblem(what, f"annotation {text!r} cannot be resolved: {fault}") from fault


class _Scope(dict[str, Any]):
    """Names for `eval`: what this mapping does not answer, it looks for among globals and builtins."""

    def __init__(self, obj: Any) -> None:
        super().__init__()
        function = _innermost(obj)
        self._globals = list(_globals_of(obj, function))
        self.update(_closure_of(function))
        for owner in (obj, function):
            self.update({parameter.__name__: parameter for parameter in getattr(owner, "__type_params__", ())})
        if isinstance(obj, type):
            self.setdefault(obj.__name__, obj)

    def __missing__(self, name: str) -> Any:
        for names in self._globals:
            if name in names:
                return names[name]
        if hasattr(builtins, name):
            raise KeyError(name)
        frame: Any = sys._getframe(1)
        for _ in range(_FRAMES):
            if frame is None:
                break
            if not str(frame.f_globals.get("__name__")).startswith(_NOT_THEIRS):
                for names in (frame.f_locals, frame.f_globals):
                    if name in names:
                        return names[name]
            frame = frame.f_back
        raise KeyError(name)


def _innermost(obj: Any) -> Any:
    while hasattr(obj, "__wrapped__"):
        obj = obj.__wrapped__
    return getattr(obj, "func", obj)


def _globals_of(obj: Any, function: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(obj, type):
        for base in obj.__mro__:
            module = sys.modules.get(base.__module__)
            if module is not None:
                yield vars(module)
    for owner in (function, obj):
        if hasattr(owner, "__globals__"):
            yield owner.__globals__


def _closure_of(function: Any) -> dict[str, Any]:
    code, cells = getattr(function, "__code__", None), getattr(function, "__closure__", None)
    if code is None or not cells:
        return {}
    found = {}
    for name, cell in zip(code.co_freevars, cells, strict=True):
        try:
            found[name] = cell.cell_contents
        except ValueError:
            pass  # Not assigned yet.
    return found


def _culprit(obj: Any, what: str, scope: _Scope, fault: Exception) -> tuple[str, str]:
    """Which annotation cannot be resolved, and what to do about it."""
    import inspect

    annotations: dict[str, Any] = {}
    for owner in reversed(obj.__mro__) if isinstance(obj, type) else (obj,):
        annotations.update(inspect.get_annotations(owner))
    for name, annotation in annotations.items():
        meaning = annotation
        try:
            while isinstance(meaning, str):  # Text in text: quotes where annotations are text already.
                meaning = eval(meaning, {}, scope)
        except Exception as cause:
            return f"{what}, {name!r}", f"annotation {meaning!r} cannot be resolved: {cause}{_remedy(cause)}"
    return what, f"its annotations cannot be resolved: {fault}{_remedy(fault)}"


def _remedy(fault: Exception) -> str:
    if isinstance(fault, NameError):
        return "; import the name at the top of the module, outside of `if TYPE_CHECKING:`"
    if isinstance(fault, TypeError) and "subscriptable" in str(fault):
        return "; put the class's own generic form there, or leave the brackets out"
    return ""


def substituted(annotation: Any, meanings: Mapping[Any, Any]) -> Any:
    """An annotation with its type variables replaced by what they mean."""
    if isinstance(annotation, typing.TypeVar):
        return meanings.get(annotation, annotation)
    parameters = getattr(annotation, "__parameters__", ())
    if not parameters or isinstance(annotation, type) or not any(name in meanings for name in parameters):
        return annotation
    return annotation[tuple(meanings.get(name, name) for name in parameters)]


def type_arguments(origin: Any, arguments: tuple[Any, ...]) -> dict[Any, Any]:
    """What the type variables of a generic class and its bases mean: `Box[int]` gives `{T: int}`."""
    meanings: dict[Any, Any] = dict(zip(getattr(origin, "__parameters__", ()), arguments, strict=False))
    todo: list[Any] = [origin]
    while todo:
        for base in getattr(todo.pop(), "__orig_bases__", ()):
            of = typing.get_origin(base)
            if of is None:
                continue
            for name, argument in zip(getattr(of, "__parameters__", ()), typing.get_args(base), strict=False):
                meanings.setdefault(name, substituted(argument, meanings))
            todo.append(of)
    return meanings


def embed(function: Callable[..., Any], hints: Mapping[str, Any]) -> None:
    """Let a function that travels by value take its annotations' objects along, where it holds them as text.

    Its globals are sent only as far as its code uses them: on a replica nobody could resolve the text again.
    """
    inner = _innermost(function)
    by_value = "<locals>" in getattr(inner, "__qualname__", "") or getattr(inner, "__module__", "") == "__main__"
    annotations = getattr(inner, "__annotations__", None)
    if by_value and annotations and any(isinstance(value, str) for value in annotations.values()):
        inner.__annotations__ = {name: hints.get(name, value) for name, value in annotations.items()}
