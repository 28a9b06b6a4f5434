"""Tells when an import begins and ends: what it does to the process stays, as the module does."""

from __future__ import annotations

import os
import sys
import sysconfig
from _thread import get_ident
from collections.abc import Callable
from importlib.machinery import PathFinder
from types import FunctionType, MethodType
from typing import Any

from greenroom_replica.reset.usercode import is_ours

_BOOTSTRAP: Any = sys.modules["_frozen_importlib"]

_LIBRARIES = tuple(
    {os.path.join(os.path.realpath(path), "") for name in ("stdlib", "platstdlib", "purelib", "platlib")
     if (path := sysconfig.get_path(name))}
)  # fmt: skip


def is_library(name: str) -> bool:
    """Tell whether a module about to be imported is a library's: what it does to the process is every bundle's."""
    top = name.partition(".")[0]
    if top in sys.stdlib_module_names or is_ours(top):
        return True
    module = sys.modules.get(top)
    spec = module.__spec__ if module is not None else PathFinder.find_spec(top)
    origin = spec.origin if spec is not None else None
    if origin is None or origin in ("built-in", "frozen"):
        return spec is not None and origin is not None
    return os.path.realpath(origin).startswith(_LIBRARIES)


class ImportGuard:
    """Stands before the interpreter's import of a module that is not loaded yet, and nowhere else.

    An import of a loaded module, such as an ``import`` in a function that runs in every call, never comes here. Of
    nested imports, those inside a library are the library's own business.
    """

    def __init__(self, begin: Callable[[bool], Any], end: Callable[[bool, Any], None]) -> None:
        self._begin = begin
        self._end = end
        self._original: Callable[..., Any] | None = None
        self._inside = False
        self._thread = get_ident()
        self.on = False
        """Whether there is anything to tell: user code is being imported, or a call runs."""

    def install(self) -> None:
        """Stand before ``importlib._bootstrap._find_and_load``, where there is one."""
        original = getattr(_BOOTSTRAP, "_find_and_load", None)
        if original is None:
            return
        guard = self

        def _call_with_frames_removed(name: str, import_: Any) -> Any:
            if not guard.on or guard._inside or get_ident() != guard._thread:
                return original(name, import_)
            return guard._load(original, name, import_)

        # Under the file name and the function name that the interpreter cuts from tracebacks.
        _BOOTSTRAP._find_and_load = _hidden(_call_with_frames_removed)
        self._load = _hidden(self._told)
        self._original = original

    def _told(self, original: Callable[..., Any], name: str, import_: Any) -> Any:
        library = is_library(name)
        before = self._begin(library)
        self._inside = library
        try:
            return original(name, import_)
        finally:
            self._inside = False
            self._end(library, before)

    def uninstall(self) -> None:
        """Put the function back."""
        if self._original is not None:
            _BOOTSTRAP._find_and_load = self._original
            self._original = None


def _hidden(function: Any) -> Any:
    """Dress a function as the import system's own, which the interpreter leaves out of tracebacks."""
    plain = function.__func__ if isinstance(function, MethodType) else function
    code = plain.__code__.replace(co_filename="<frozen importlib._bootstrap>", co_name="_call_with_frames_removed")
    made = FunctionType(code, plain.__globals__, "_find_and_load", plain.__defaults__, plain.__closure__)
    return MethodType(made, function.__self__) if isinstance(function, MethodType) else made
