"""Packages that lie elsewhere than the project but are its author's: editable installs, PYTHONPATH, path installs.

What an index delivers is named by its version and is part of the pool's key. These are not: their text changes under
one version, so they travel with the bundle, if the program imports them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from greenroom.bundling.interpreter import package_folders
from greenroom.bundling.modules import ALIASED, OWN
from greenroom.bundling.snapshot import mtime_of


class Outside(NamedTuple):
    """Where a top-level module outside the project lies."""

    name: str
    """Of the module."""
    path: str
    """Its package's folder, or its file."""


class OutsidePackages:
    """Finds modules that are the author's own but lie outside the project's root."""

    def __init__(self, root: str, search: Sequence[str] | None = None) -> None:
        self._root = root.rstrip("/") + "/"
        self._search = [entry for entry in (sys.path if search is None else search) if entry]
        self._known: dict[str, Outside | None] = {}
        self._mapped: dict[str, str] | None = None

    def state(self) -> list[tuple[str, int]]:
        """Changes when something is installed, removed or put beside what is importable."""
        return [(entry, mtime_of(entry)) for entry in self._search]

    def find(self, name: str) -> Outside | None:
        """The top-level module `name`, if it is one of these."""
        if name in OWN or name in ALIASED or name in sys.stdlib_module_names:
            return None
        if name not in self._known:
            self._known[name] = self._find(name)
        return self._known[name]

    def _find(self, name: str) -> Outside | None:
        if self._mapped is None:
            self._mapped = dict(self._mappings())
        path = self._mapped.get(name) or self._on_path(name)
        return Outside(name, path) if path and not (path + "/").startswith(self._root) else None

    def _on_path(self, name: str) -> str:
        """The module in a folder of `sys.path` that no installer writes to (a .pth file's target, PYTHONPATH)."""
        installers = set(package_folders(self._search))
        portion = ""
        for entry in self._search:
            folder = os.path.abspath(entry)
            package = f"{folder}/{name}"
            if os.path.exists(f"{package}/__init__.py"):
                return "" if folder in installers else package
            if os.path.isfile(f"{package}.py"):
                return "" if folder in installers else f"{package}.py"
            if not portion and folder not in installers and os.path.isdir(package) and _holds_modules(package):
                portion = package
        return portion

    def _mappings(self) -> Iterator[tuple[str, str]]:
        """Modules that an installer maps to a folder by name: setuptools' finders, and installs from a path."""
        for folder in package_folders(self._search):
            for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
                path = f"{folder}/{name}"
                if name.startswith("__editable__") and name.endswith("_finder.py"):
                    yield from _finder_mapping(path).items()
                elif name.endswith(".dist-info") and _is_from_path(f"{path}/direct_url.json"):
                    yield from ((module, f"{folder}/{file}") for module, file in _top_level(folder, path))


def _holds_modules(folder: str) -> bool:
    return any(name.endswith(".py") for name in os.listdir(folder))


def _finder_mapping(path: str) -> dict[str, str]:
    """The MAPPING of a finder that setuptools writes for an editable install: module name to folder or file."""
    import ast

    try:
        with open(path, "rb") as file:
            tree = ast.parse(file.read(512 * 1024))
    except (OSError, SyntaxError, ValueError):
        return {}
    for node in tree.body:
        target = (
            node.target
            if isinstance(node, ast.AnnAssign)
            else node.targets[0]
            if isinstance(node, ast.Assign)
            else None
        )
        value = node.value if isinstance(node, ast.AnnAssign | ast.Assign) else None
        if not isinstance(target, ast.Name) or target.id != "MAPPING" or value is None:
            continue
        try:
            mapping = ast.literal_eval(value)
        except ValueError:
            return {}
        found = {}
        for name, place in mapping.items():
            if "." not in name:
                found[name] = place if os.path.exists(place) else f"{place}.py"
        return found
    return {}


def _is_from_path(path: str) -> bool:
    """Whether a distribution was installed from a folder of this machine, and not editably."""
    try:
        with open(path, "rb") as file:
            text = file.read(64 * 1024)
    except OSError:
        return False
    import json

    try:
        origin = json.loads(text)
    except ValueError:
        return False
    if not isinstance(origin, dict) or not str(origin.get("url", "")).startswith("file:"):
        return False
    return "dir_info" in origin and not (origin["dir_info"] or {}).get("editable")


def _top_level(folder: str, info: str) -> Iterator[tuple[str, str]]:
    """Top-level modules of an installed distribution and their paths in `folder`, from its RECORD."""
    seen = set()
    try:
        with open(f"{info}/RECORD", encoding="utf-8") as file:
            lines = file.read().splitlines()
    except OSError:
        return
    for line in lines:
        path = line.split(",", 1)[0]
        top, _, rest = path.partition("/")
        name = top if rest else top.removesuffix(".py")
        if name.isidentifier() and name not in seen and (rest.endswith(".py") or (not rest and top.endswith(".py"))):
            seen.add(name)
            yield name, top
