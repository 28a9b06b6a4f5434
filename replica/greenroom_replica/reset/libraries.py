"""What calls put in the place of libraries' functions and modules: taken back before anything else is done.

The runner stands on the standard library too: a call that leaves ``os.getpid = None`` behind would take its own
outcome along. Only what is clearly the call's own is taken back: a function or class of user code, a mock, something
that cannot be called, a name that is gone. What libraries do to each other (``gevent.monkey.patch_all``) is left whole.
"""

from __future__ import annotations

import builtins
import sys
from collections.abc import Iterator
from itertools import compress
from operator import is_not
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

from greenroom_replica.reset.images import Word, dict_body, dict_heads
from greenroom_replica.reset.rows.base import MISSING
from greenroom_replica.reset.rows.interpreter import HOOKS, SYS_NAMES
from greenroom_replica.reset.usercode import Territory, is_ours
from greenroom_replica.reset.watch import Watch

_KINDS = frozenset({FunctionType, BuiltinFunctionType, MethodType, type})
_DEEPER = frozenset({"concurrent.futures", "http.client", "urllib.request"})
_OWN_ROWS = frozenset({"__main__", "__mp_main__", "builtins"})
_OWN_NAMES = {"sys": SYS_NAMES, **{module: frozenset(names) for module, names in HOOKS.items()}}
"""Names that have rows of their own."""


class _Space:
    """One namespace, as something to watch."""

    row = None
    hot = True
    grows = False

    def __init__(self, name: str, space: dict[str, Any]) -> None:
        self.name = name
        self.space = space
        self.kept = self._wanted()

    def _wanted(self) -> dict[str, Any]:
        if self.name == "":
            return dict(self.space)
        other = _OWN_NAMES.get(self.name, ())
        return {name: value for name, value in self.space.items() if type(value) in _KINDS and name not in other}

    def keep(self) -> None:
        """Take what is there now as what is right."""
        self.kept = self._wanted()

    def differing(self) -> list[str]:
        """Names of which something else stands there."""
        kept, space = self.kept, self.space
        return list(compress(kept, map(is_not, map(space.get, kept), kept.values())))

    def heads(self) -> list[Word]:
        """See `Watched.heads`."""
        return dict_heads(self.space)

    def body(self) -> tuple[int, int] | None:
        """See `Watched.body`."""
        return dict_body(self.space)

    def changed(self) -> bool:
        """See `Watched.changed`."""
        return bool(self.differing())


class Libraries:
    """The functions and classes of the standard library and of libraries' topmost modules, and who stands for whom.

    Args:
        territory: Which code is the user's.
    """

    def __init__(self, territory: Territory) -> None:
        self._territory = territory
        self._modules = _Space("", sys.modules)
        self._builtins = _Space("builtins", vars(builtins))
        self._spaces: dict[str, _Space] = {}
        self.watch = Watch()
        """Tells whether anything has moved since the last look; asked after every call."""
        self._seen = 0
        self.accept()

    def accept(self) -> None:
        """Take everything as it is now as what is right: an import or a load has done that."""
        self._keep(self.watch.dirty())

    def _keep(self, dirty: list[Any]) -> None:
        for item in dirty:
            item.keep()
        self.watch.rearm(dirty)
        if len(sys.modules) == self._seen:
            return
        self._seen = len(sys.modules)
        for name, module in self._watched_modules():
            if name not in self._spaces or self._spaces[name].space is not vars(module):
                self._spaces[name] = _Space(name, vars(module))
        self.watch = Watch([self._modules, self._builtins, *self._spaces.values()])

    def _watched_modules(self) -> Iterator[tuple[str, ModuleType]]:
        for name, module in list(sys.modules.items()):
            if type(module) is not ModuleType or name in _OWN_ROWS or name in self._territory.names or is_ours(name):
                continue
            if "." not in name or name in _DEEPER:
                yield name, module

    def put_back(self) -> list[str]:
        """Take back what the call has done; names of what that was. Builtins have their own row."""
        found: list[str] = []
        dirty: list[Any] = self.watch.dirty()
        for item in dirty:
            if item is self._modules:
                found += self._put_back_modules()
            elif item is not self._builtins:
                found += self._put_back_names(item)
        self._keep(dirty)
        return found

    def _put_back_names(self, item: Any) -> list[str]:
        found = []
        for name in item.differing():
            if self._is_the_calls(item.space.get(name, MISSING)):
                item.space[name] = item.kept[name]
                found.append(f"{item.name}.{name}")
        return found

    def _is_the_calls(self, value: Any) -> bool:
        return (
            value is MISSING
            or not callable(value)
            or type(value).__module__ == "unittest.mock"
            or self._territory.owns_callable(value)
        )

    def _put_back_modules(self) -> list[str]:
        kept, names = self._modules.kept, self._territory.names
        found = []
        for name in self._modules.differing():
            now = sys.modules.get(name)
            imported_again = isinstance(now, ModuleType) and vars(now).get("__spec__") is not None
            if name not in names and not imported_again:
                sys.modules[name] = kept[name]
                found.append(f"sys.modules[{name!r}]")
        everything: dict[str, Any] = sys.modules
        for name in [name for name, module in everything.items() if module is None and name not in kept]:
            del sys.modules[name]
            found.append(f"sys.modules[{name!r}]")
        return found
