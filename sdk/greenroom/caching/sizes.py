"""How much memory a value takes, and which classes of the user's are in it, found in one walk over its objects."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Collection
from types import (
    BuiltinFunctionType,
    CodeType,
    FrameType,
    FunctionType,
    GeneratorType,
    MethodType,
    ModuleType,
)
from typing import Any, Final, NamedTuple

MAX_OBJECTS: Final = 10_000
"""Objects that are looked at; numbers, texts and other leaves do not count."""

_LEAVES: Final = frozenset({int, float, complex, bool, str, bytes, bytearray, type(None), range, type(...)})
_STOPS: Final = (ModuleType, type, FrameType, CodeType, GeneratorType, BuiltinFunctionType)
_SAMPLE: Final = 1_000
"""Leaves of a long list that are weighed, for all of them."""

_KNOWN: Final = (
    "builtins",
    "collections",
    "datetime",
    "decimal",
    "enum",
    "fractions",
    "functools",
    "pathlib",
    "types",
    "uuid",
    "weakref",
)
"""Modules of types whose own word on their size is the whole of it."""


class Size(NamedTuple):
    """What a walk found."""

    bytes: int
    gpu_bytes: int
    exact: bool
    """Whether every object could be weighed; False where one keeps memory of its own that Python cannot see."""
    searched: bool
    """Whether all objects were looked at."""
    classes: frozenset[type]
    """The user's classes that the objects are of."""


def measure(value: Any, is_user_class: Callable[[type], bool], known: Collection[int] = ()) -> Size:
    """Weigh a value and all that it refers to, modules, classes and globals of functions not counted.

    Args:
        value: What a loader returned.
        is_user_class: Says which classes are the user's.
        known: Identities of objects that are weighed elsewhere, such as other entries' values.
    """
    walk = _Walk(is_user_class)
    walk.seen.update(known)
    walk.run(value)
    return Size(walk.bytes, walk.gpu_bytes, walk.exact, walk.searched, frozenset(walk.classes))


class _Walk:
    def __init__(self, is_user_class: Callable[[type], bool]) -> None:
        self.seen: set[int] = set()
        self.bytes = self.gpu_bytes = 0
        self.exact = self.searched = True
        self.classes: set[type] = set()
        self._is_user_class = is_user_class
        self._kinds: dict[type, bool] = {}

    def run(self, value: Any) -> None:
        pending = [value]
        looked = 0
        while pending:
            one = pending.pop()
            if id(one) in self.seen:
                continue
            kind = type(one)
            if kind in _LEAVES:
                self.bytes += sys.getsizeof(one)
                continue
            if isinstance(one, _STOPS):
                continue
            self.seen.add(id(one))
            looked += 1
            if looked > MAX_OBJECTS:
                self.searched = self.exact = False
                return
            self._note(kind)
            if not self._weigh_array(one):
                self.bytes += _own_size(one)
                pending.extend(self._inside(one))

    def _note(self, kind: type) -> None:
        transparent = self._kinds.get(kind)
        if transparent is None:
            if self._is_user_class(kind):
                self.classes.add(kind)
            transparent = self._kinds[kind] = _is_transparent(kind)
        self.exact = self.exact and transparent

    def _inside(self, one: Any) -> list[Any]:
        """What an object refers to; long runs of leaves are weighed by sample."""
        if isinstance(one, FunctionType):
            held: list[Any] = [one.__defaults__, one.__kwdefaults__, vars(one)]
            return held + [_content(cell) for cell in one.__closure__ or ()]
        if isinstance(one, MethodType):
            return [one.__self__, one.__func__]
        if isinstance(one, list | tuple | set | frozenset) and len(one) > _SAMPLE and set(map(type, one)) <= _LEAVES:
            items = list(one)[:: len(one) // _SAMPLE]
            self.bytes += sum(map(sys.getsizeof, items)) * len(one) // len(items)
            return []
        return gc.get_referents(one)

    def _weigh_array(self, one: Any) -> bool:
        """Arrays, tables and tensors know their size; what they refer to is part of it."""
        library = type(one).__module__.partition(".")[0]
        if library == "torch" and hasattr(one, "element_size"):
            size = one.element_size() * one.nelement()
            if getattr(one, "is_cuda", False):
                self.gpu_bytes += size
            else:
                self.bytes += size
            return True
        if library == "pandas" and hasattr(one, "memory_usage"):
            used = one.memory_usage(deep=True)
            self.bytes += int(used if isinstance(used, int) else used.sum())
            return True
        size = getattr(one, "nbytes", None) if library in ("numpy", "pyarrow", "polars", "builtins", "array") else None
        if not isinstance(size, int):
            return False
        if library == "numpy":
            base = one
            while getattr(base, "base", None) is not None and id(base.base) not in self.seen:
                base = base.base
                self.seen.add(id(base))
            size = max(size, getattr(base, "nbytes", 0))
            if one.dtype.hasobject:
                self.run(one.tolist())
        self.bytes += size
        return True


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return None


def _own_size(one: Any) -> int:
    try:
        return sys.getsizeof(one)
    except Exception:  # A `__sizeof__` of the user's.
        return 0


def _is_transparent(kind: type) -> bool:
    """Whether Python sees all the memory of a type's objects: its own types, and classes that are written in Python."""
    for base in kind.__mro__:
        if base.__module__ in _KNOWN or base.__module__.partition(".")[0] in ("numpy", "pandas", "pyarrow", "torch"):
            continue
        if base.__module__ in ("ctypes", "_ctypes"):
            return False
        module = sys.modules.get(base.__module__)
        file = getattr(module, "__file__", None) or ""
        if not file.endswith((".py", ".pyc")) and base.__module__ != "__main__":
            return False
    return True
