"""Which file a module's name means, given a list of files and of roots: Python's own rules, without a disk."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

from greenroom_protocol.bundle import add_folders

OWN: Final = frozenset({"greenroom", "greenroom_core", "greenroom_hub", "greenroom_protocol", "greenroom_replica"})
"""Greenroom's packages: always the installed ones, also for programs that live in a checkout of Greenroom."""

ALIASED: Final = frozenset({"flytekit", "flytekitplugins", "union", "unionai"})
"""Names that the alias may serve; no bundle's file is taken for them while it does."""


class Found(NamedTuple):
    """Where a module's text lies."""

    path: str
    """Its file; "" for a namespace package, which has none."""
    search: tuple[str, ...]
    """Folders in which its submodules are looked for; empty if it is no package."""

    @property
    def is_source(self) -> bool:
        """Whether it is Python text."""
        return self.path.endswith(".py")


def suffixes() -> tuple[str, ...]:
    """What a module's file may end in, in the order in which Python looks."""
    from importlib.machinery import EXTENSION_SUFFIXES

    return (*EXTENSION_SUFFIXES, ".py")


def is_builtin(name: str) -> bool:
    """Whether a top-level module is found before any file is looked at."""
    return name in sys.builtin_module_names or name in ("__main__", "zipimport")


class Modules:
    """Finds modules among `paths`. Answers are remembered: the list of files does not change."""

    def __init__(self, paths: Collection[str], roots: Sequence[str], *, entry: str = "", entry_path: str = "") -> None:
        self._paths = paths if isinstance(paths, set | frozenset | dict) else frozenset(paths)
        self._roots = tuple(roots)
        self._entry, self._entry_path = entry, entry_path
        self._folders: set[str] = set()
        for path in self._paths:
            add_folders(path, self._folders)
        self._known: dict[str, Found | None] = {}
        self._suffixes = suffixes()

    @property
    def folders(self) -> set[str]:
        """Every folder that holds a file."""
        return self._folders

    def find(self, name: str) -> Found | None:
        """The file of the module `name`; None if no file of ours is meant by it."""
        try:
            return self._known[name]
        except KeyError:
            found = self._known[name] = self._find(name)
            return found

    def _find(self, name: str) -> Found | None:
        found = self._by_rules(name)
        if name != self._entry or not self._entry_path or (found and found.path == self._entry_path):
            return found
        return Found(self._entry_path, ())  # A file whose name is no module's (`my-flow.v2.py`), or hidden by another.

    def _by_rules(self, name: str) -> Found | None:
        parent, _, last = name.rpartition(".")
        if not parent:
            return None if is_builtin(name) or name in OWN else self.in_folders(last, self._roots)
        package = self.find(parent)
        return None if package is None else self.in_folders(last, package.search)

    def in_folders(self, last: str, folders: Sequence[str]) -> Found | None:
        """The module `last` (one part of a name) in `folders`; the first regular one wins over namespace portions."""
        portions = []
        for folder in folders:
            base = f"{folder}/{last}" if folder else last
            found = self.in_folder(base)
            if found is not None:
                if found.path:
                    return found
                portions.append(base)
        return Found("", tuple(portions)) if portions else None

    def in_folder(self, base: str) -> Found | None:
        """The module whose path without its ending is `base`; a portion of a namespace if it is a mere folder."""
        is_folder = base in self._folders
        if is_folder:
            for suffix in self._suffixes:
                if (path := f"{base}/__init__{suffix}") in self._paths:
                    return Found(path, (base,))
        for suffix in self._suffixes:
            if (path := base + suffix) in self._paths:
                return Found(path, ())
        return Found("", (base,)) if is_folder else None


def package_of(name: str, found: Found) -> str:
    """What relative imports in the module `name` are relative to."""
    return name if found.search else name.rpartition(".")[0]
