"""Notes that a function was called whose effect is dear to look for after every call.

Asking for 64 signal handlers costs 2.6 microseconds, for 16 limits 3; asking whether ``signal.signal`` was called costs
nothing. What native code does behind these functions is found by the deep look after calls that took longer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any


class Tripwires:
    """Thin functions before the interpreter's own, which note the row that has to be asked."""

    def __init__(self) -> None:
        self.tripped: set[str] = set()
        """Rows to ask; emptied by whoever asked them."""
        self._plain: dict[tuple[str, str], Callable[..., Any]] = {}
        self._undo: list[tuple[ModuleType, str, Callable[..., Any]]] = []

    def lay_all(self, modules: Iterable[ModuleType], names: str, row: str) -> None:
        """Note `row` whenever one of these functions is called, by whichever of the modules."""
        for module in modules:
            for name in names.split():
                self.lay(module, name, row)

    def lay(self, module: ModuleType, name: str, row: str, also: Callable[[], None] | None = None) -> None:
        """Note `row`, and call `also`, whenever ``module.name`` is called; what this platform has not is skipped."""
        original = vars(module).get(name)
        if original is None:
            return
        self._plain[module.__name__, name] = original
        tripped = self.tripped

        def noting(*args: Any, **named: Any) -> Any:
            tripped.add(row)
            if also is not None:
                also()
            return original(*args, **named)

        noting.__name__ = noting.__qualname__ = name
        noting.__module__ = module.__name__
        noting.__doc__ = original.__doc__
        setattr(module, name, noting)
        self._undo.append((module, name, original))

    def plain(self, module: ModuleType, name: str) -> Callable[..., Any]:
        """Get the function itself, to put things back without noting it."""
        found = self._plain.get((module.__name__, name))
        return found if found is not None else vars(module).get(name, _absent)

    def uninstall(self) -> None:
        """Put the functions back."""
        while self._undo:
            module, name, original = self._undo.pop()
            setattr(module, name, original)


def _absent(*args: object) -> None:
    """Stand in for a function that this platform has not."""
