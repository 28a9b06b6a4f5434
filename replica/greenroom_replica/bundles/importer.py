"""How Python finds and loads the modules of the active bundle.

A path hook, not a finder of its own: Python asks it for the folders of the bundle's tree, in the order of `sys.path`,
so that namespace packages, `pkgutil` and everything else behave as they always do. Names are looked up in the manifest
and texts come from blobs; the tree is there for `__file__`, for data, and for modules that a program writes itself.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from importlib.machinery import (
    BYTECODE_SUFFIXES,
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    ModuleSpec,
    SourceFileLoader,
    SourcelessFileLoader,
)
from importlib.util import decode_source, spec_from_file_location
from types import CodeType, FrameType, ModuleType
from typing import Protocol

from greenroom.bundling.modules import Found
from greenroom_replica.opens import unwatched

_DETAILS = (
    (ExtensionFileLoader, EXTENSION_SUFFIXES),
    (SourceFileLoader, SOURCE_SUFFIXES),
    (SourcelessFileLoader, BYTECODE_SUFFIXES),
)


class Library(Protocol):
    """The active bundle, as finders and loaders see it."""

    def look(self, name: str, folder: str) -> Found | None:
        """The module `name` if it lies in `folder` (relative to the bundle's root)."""

    def entry(self, name: str) -> Found | None:
        """The entry module, if that is its name: its file need not be called so."""

    def names_in(self, folder: str) -> Iterator[tuple[str, bool]]:
        """Modules in `folder`, and whether each is a package."""

    def note(self, name: str, *, written: bool = False) -> None:
        """A module `name` is of the bundle, or was written into its tree."""

    def kept(self, name: str, path: str) -> ModuleType | None:
        """The module as another bundle has loaded it from `path`, if this one can share it."""

    def run(self, module: ModuleType, load: BundleLoader | BundleExtensionLoader) -> None:
        """Execute a module that is not shared."""

    def code(self, path: str) -> CodeType:
        """The code of a module's file."""

    def source(self, path: str) -> bytes:
        """The text of a module's file."""


class BundleLoader(SourceFileLoader):
    """Loads one module of a bundle from its blob."""

    def __init__(self, name: str, location: str, path: str, library: Library) -> None:
        super().__init__(name, location)
        self.bundle_path = path
        """Its file, relative to the bundle's root."""
        self.shared: ModuleType | None = None
        """The module that it need not run."""
        self._library = library

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """The shared module, or None for a new one."""
        self.shared = self._library.kept(spec.name, self.bundle_path)
        return self.shared

    def exec_module(self, module: ModuleType) -> None:
        """Run its text, unless it is shared and has run already."""
        self._library.run(module, self)

    def load(self, module: ModuleType) -> None:
        """Run its text."""
        exec(self._library.code(self.bundle_path), module.__dict__)  # As importlib does.

    def get_code(self, fullname: str) -> CodeType:
        """Its code."""
        return self._library.code(self.bundle_path)

    def get_source(self, fullname: str) -> str:
        """Its text, as it was submitted."""
        return decode_source(self._library.source(self.bundle_path))

    def get_data(self, path: str) -> bytes:
        """A file beside it, for `pkgutil.get_data`."""
        with open(path, "rb") as file:
            return file.read()


class BundleExtensionLoader(ExtensionFileLoader):
    """Loads a compiled module of a bundle, from its file in the tree."""

    def __init__(self, name: str, location: str, path: str, library: Library) -> None:
        super().__init__(name, location)
        self.bundle_path = path
        self.shared: ModuleType | None = None
        self._library = library

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """The shared module, or a new one."""
        self.shared = self._library.kept(spec.name, self.bundle_path)
        return super().create_module(spec) if self.shared is None else self.shared

    def exec_module(self, module: ModuleType) -> None:
        """Run its initialisation, unless it is shared."""
        self._library.run(module, self)

    def load(self, module: ModuleType) -> None:
        """Run its initialisation."""
        super().exec_module(module)


class BundleFinder:
    """Finds modules in one folder of the tree."""

    def __init__(self, location: str, folder: str, library: Library, root: str) -> None:
        self._location, self._folder, self._library, self._root = location, folder, library, root
        self._on_disk = FileFinder(location, *_DETAILS)

    def find_spec(self, fullname: str, target: ModuleType | None = None) -> ModuleSpec | None:
        """The module `fullname`, if it lies in this folder."""
        found = self._library.look(fullname, self._folder)
        if found is None:
            return self._written(fullname)
        if "." not in fullname and fullname in sys.stdlib_module_names and not _asked_by_user():
            return None  # A library means Python's own module, not a file of the user's that has its name.
        self._library.note(fullname)
        places = [f"{self._root}/{folder}" if folder else self._root for folder in found.search]
        if not found.path:
            spec = ModuleSpec(fullname, None, is_package=True)
            spec.submodule_search_locations = places
            return spec
        location = f"{self._root}/{found.path}"
        kind = BundleExtensionLoader if found.path.endswith(tuple(EXTENSION_SUFFIXES)) else BundleLoader
        loader = kind(fullname, location, found.path, self._library)
        return spec_from_file_location(
            fullname, location, loader=loader, submodule_search_locations=places if found.search else None
        )

    def _written(self, fullname: str) -> ModuleSpec | None:
        """A module that a call wrote into the tree; the bundle does not know it."""
        with unwatched():
            spec = self._on_disk.find_spec(fullname)
        if spec is None or (spec.loader is None and not spec.submodule_search_locations):
            return None
        if "." not in fullname and fullname in sys.stdlib_module_names and not _asked_by_user():
            return None
        self._library.note(fullname, written=True)
        return spec

    def iter_modules(self, prefix: str = "") -> Iterator[tuple[str, bool]]:
        """For `pkgutil`: the modules in this folder."""
        for name, is_package in self._library.names_in(self._folder):
            yield prefix + name, is_package

    def invalidate_caches(self) -> None:
        """For `importlib.invalidate_caches`."""
        self._on_disk.invalidate_caches()


class EntryFinder:
    """Finds the entry module where its file's name is not its own (`my-flow.v2.py`); last in `sys.meta_path`."""

    def __init__(self, library: Library, root: str) -> None:
        self._library, self._root = library, root

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The entry module, if it is the one that is asked for."""
        found = self._library.entry(fullname)
        if found is None:
            return None
        self._library.note(fullname)
        location = f"{self._root}/{found.path}"
        return spec_from_file_location(
            fullname, location, loader=BundleLoader(fullname, location, found.path, self._library)
        )

    def invalidate_caches(self) -> None:
        """Nothing is kept."""


def _asked_by_user() -> bool:
    """Whether the import that runs now stands in a module of a bundle."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        scope = frame.f_globals
        name = scope.get("__name__", "")
        if name != __name__ and not name.startswith("importlib"):
            return isinstance(scope.get("__loader__"), BundleLoader)
        frame = frame.f_back
    return False
