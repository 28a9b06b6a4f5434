"""Kept objects across an edit: instances of a class that was made anew become instances of the new one.

An entry outlives the bundle that loaded it. Where another bundle has the same class, with the same text, in a module
that was imported anew, `isinstance(model, Model)` would be false for ever. So the instances that can be reached from
the entry are re-pointed to the class of the bundle that is about to use it. Where that cannot be had, that bundle does
not get it.
"""

from __future__ import annotations

import enum
import gc
from collections.abc import Callable, Iterable, Iterator
from types import (
    AsyncGeneratorType,
    BuiltinFunctionType,
    CodeType,
    CoroutineType,
    FrameType,
    FunctionType,
    GeneratorType,
    MethodType,
    ModuleType,
)
from typing import Any, Final

MAX_INSTANCES: Final = 10_000
"""Instances that are re-pointed in one entry."""

MAX_SEARCHED: Final = 200_000
"""Objects that are searched for them; numbers, texts and other leaves do not count."""

Successor = Callable[[type], type | None]
"""Gives the class that instances of a class should have now: itself where nothing changed, None where there is none."""

_LEAVES: Final = frozenset({int, float, complex, bool, str, bytes, bytearray, type(None), range, type(...)})
_STOPS: Final = (ModuleType, CodeType, BuiltinFunctionType)
_RUNNING: Final = (FrameType, GeneratorType, CoroutineType, AsyncGeneratorType)


class CannotRebind(Exception):
    """An entry's objects cannot be given the classes of another bundle."""

    def __init__(self, why: str) -> None:
        super().__init__(why)  # Kept in args, so that it survives pickling.
        self.why = why

    def __str__(self) -> str:
        return f"the entry is not used by this version of the code: {self.why}"


def rebind_instances(
    roots: Iterable[Any],
    successor: Successor,
    *,
    is_current: Callable[[FunctionType], bool] = lambda _: True,
    most: int = MAX_INSTANCES,
    search: int = MAX_SEARCHED,
) -> int:
    """Re-point all instances that can be reached from the roots to the classes of now.

    Either all of them are re-pointed or none is.

    Args:
        roots: An entry's value, and the objects in its key.
        successor: Says which class takes the place of which.
        is_current: Says of a function that was found whether its code is what the code is now.
        most: Instances to re-point.
        search: Objects to look at.

    Returns:
        How many instances were re-pointed.

    Raises:
        CannotRebind: There are too many, or one cannot be: the entry must not be used with the classes of now.
    """
    found: list[tuple[Any, type, type]] = []
    for one in _reachable(roots, search):
        old = type(one)
        if isinstance(one, type):
            if successor(one) is not one:
                raise CannotRebind(f"it refers to the class {one.__qualname__} itself, which was made anew")
        elif isinstance(one, FunctionType):
            if not is_current(one):
                raise CannotRebind(f"it holds the function {one.__qualname__}, which has changed")
        else:
            new = successor(old)
            if new is None:
                raise CannotRebind(f"it holds a {old.__qualname__}, a class that has changed")
            if new is not old:
                _check(one, old)
                found.append((one, old, new))
                if len(found) > most:
                    raise CannotRebind(f"it holds more than {most:,} instances of classes that were made anew")
    _assign(found)
    return len(found)


def _reachable(roots: Iterable[Any], most: int) -> Iterator[Any]:
    """Every object that the roots refer to, in turn; not what modules, classes and the globals of functions hold."""
    pending = [one for one in roots if type(one) not in _LEAVES]
    seen: dict[int, Any] = {}
    while pending:
        one = pending.pop()
        if id(one) in seen or isinstance(one, _STOPS):
            continue
        if isinstance(one, _RUNNING):
            raise CannotRebind(f"it holds a {type(one).__name__}, which runs the code of its time")
        seen[id(one)] = one  # Held, so that no identity is met twice.
        if len(seen) > most:
            raise CannotRebind(f"it is made of more than {most:,} objects, too many to search")
        yield one
        pending.extend(inner for inner in _inside(one) if type(inner) not in _LEAVES and id(inner) not in seen)


def _inside(one: Any) -> Iterable[Any]:
    if isinstance(one, type):
        return ()
    if isinstance(one, FunctionType):
        held: list[Any] = [one.__defaults__, one.__kwdefaults__, vars(one)]
        return held + [_content(cell) for cell in one.__closure__ or ()]
    if isinstance(one, MethodType):
        return (one.__self__, one.__func__)
    if type(one).__module__ == "numpy" and getattr(getattr(one, "dtype", None), "hasobject", False):
        return [one.tolist()]  # Arrays of objects keep them from the collector.
    own = type(one)
    return [inner for inner in gc.get_referents(one) if inner is not own]


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return None


def _check(one: Any, old: type) -> None:
    if isinstance(one, enum.Enum):
        raise CannotRebind(f"it holds {old.__qualname__}.{one.name}, and members of an enum are compared by identity")


_set_class: Final = object.__dict__["__class__"].__set__
"""Assigns `__class__` past whatever `__setattr__` a class has."""


def _assign(found: list[tuple[Any, type, type]]) -> None:
    done: list[tuple[Any, type]] = []
    for one, old, new in found:
        try:
            _set_class(one, new)
        except TypeError as fault:
            for other, before in done:
                _set_class(other, before)
            raise CannotRebind(f"a {old.__qualname__} cannot become one of the new class ({fault})") from fault
        done.append((one, old))
