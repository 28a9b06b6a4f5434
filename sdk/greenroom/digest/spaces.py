"""Where names are looked up: in a module that runs, or in the text of one that may not have been imported."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import FunctionType, ModuleType
from typing import Any, Final

from greenroom.digest.modules import file_of, locate, package_of, public_name
from greenroom.digest.sources import Source, source_of

MISSING: Final = object()
"""What a name has that is not there."""


class Space:
    """The names of one module. A live one has the module's globals; another's are read from its text alone."""

    __slots__ = ("file", "globals", "name", "package", "since", "user")

    def __init__(
        self, name: str, file: str | None, names: Mapping[str, Any] | None, *, user: bool, since: int | None = None
    ) -> None:
        self.name = public_name(name, names)
        self.file, self.globals, self.user, self.since = file, names, user, since
        given = names.get("__package__") if names is not None else None
        self.package = given if isinstance(given, str) and given else package_of(name, file)

    @property
    def source(self) -> Source | None:
        """The module's text, if it is the text that runs."""
        return source_of(self.file, self.since) if self.user else None

    def where(self, line: int) -> str:
        """`helpers.py:12`, with the package's folders."""
        tail = (self.file or self.name).replace("\\", "/").rsplit("/", 1)[-1]
        folders = self.name.split(".")[: -1 if tail != "__init__.py" else None]
        place = "/".join([*folders, tail]) if not tail.startswith("<") else tail
        return f"{place}:{line}" if line else place


def space_of_function(function: FunctionType, since: int | None, is_user: Any) -> Space:
    """The space of the module whose code a function runs, whatever its decorators say of `__module__`."""
    names = function.__globals__
    name = names.get("__name__") or function.__module__ or "__main__"
    file = function.__code__.co_filename
    if file.startswith("<") and isinstance(names.get("__file__"), str):
        file = names["__file__"]  # Made by `exec`, as dataclasses do.
    return Space(name, file, names, user=is_user(name, file), since=since)


def space_of_module(module: ModuleType, since: int | None, is_user: Any) -> Space:
    """The space of a module that is loaded."""
    file = file_of(module)
    return Space(module.__name__, file, vars(module), user=is_user(module.__name__, file), since=since)


def space_of_class(cls: type, since: int | None, is_user: Any) -> Space:
    """The space of the class's module: found through its methods, since another module may go by that name now."""
    for value in vars(cls).values():
        function = getattr(value, "__func__", None) or getattr(value, "fget", None) or value
        if isinstance(function, FunctionType) and function.__globals__.get("__name__") == cls.__module__:
            return space_of_function(function, since, is_user)
    module = sys.modules.get(cls.__module__)
    if module is not None:
        return space_of_module(module, since, is_user)
    return Space(cls.__module__, None, {}, user=is_user(cls.__module__, None), since=since)


def static_space(name: str, roots: tuple[str, ...], is_user: Any) -> Space | None:
    """The space of a user module by its text, which is what an import reads; None for a library's, or for none."""
    file = locate(name, roots)
    if file is None or not is_user(name, file):
        return None
    return Space(name, file, None, user=True)
