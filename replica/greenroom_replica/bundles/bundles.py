"""The bundles of a runner: which one is active, which modules they share."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterator
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from threading import RLock
from types import CodeType, ModuleType
from typing import Any, Final

from greenroom.bundling.modules import Found
from greenroom_protocol.bundle import Manifest
from greenroom_replica.bundles.active import Active, Record, prime, relative
from greenroom_replica.bundles.blobs import Blobs
from greenroom_replica.bundles.code import Codes, Lines
from greenroom_replica.bundles.errors import ExtensionChanged
from greenroom_replica.bundles.graph import Graph, Learned, Text
from greenroom_replica.bundles.importer import (
    BundleExtensionLoader,
    BundleFinder,
    BundleLoader,
    EntryFinder,
)
from greenroom_replica.bundles.tree import Tree
from greenroom_replica.opens import watch

MOST: Final = 4
"""Bundles that live in one runner; the least recently used one goes."""


def _nothing(_: ModuleType) -> None:
    """Nobody wants to know."""


class Bundles:
    """Lets one process run calls of several bundles, one at a time.

    Not for calls that run at once: a bundle is activated between calls, when no user code runs.
    """

    def __init__(
        self,
        folder: Path,
        blobs: Blobs,
        *,
        codes: Path | None = None,
        on_import: Callable[[ModuleType], None] = _nothing,
        most: int = MOST,
    ) -> None:
        """Set up; nothing of Python's is touched before the first bundle is activated.

        Args:
            folder: Where the active bundle's files are laid out; this runner's own, and always the same one.
            blobs: Where the files' bytes are had.
            codes: Folder for compiled modules, shared by all runners of this user on this host; None for none.
            on_import: Told of each user module at the end of its import, innermost first; not of shared ones.
            most: Bundles that are kept.
        """
        self.tree = Tree(folder, blobs)
        self._blobs, self._on_import, self._most = blobs, on_import, most
        self._codes = Codes(blobs, codes)
        self._learned = Learned()
        self._known: dict[tuple[str, str], Active] = {}
        self._index: dict[bytes, Record] = {}
        self._extensions: dict[str, str] = {}
        self._running: list[Record] = []
        self._loaded: list[Record] = []
        self._lock = RLock()
        self._root = str(self.tree.folder)
        self._entries = EntryFinder(self, self._root)
        self._main: ModuleType | None = None
        self._sys_path: list[str] | None = None
        self._ran = False
        self._unwatch: Callable[[], None] | None = None
        self.current: Active | None = None
        """The bundle whose modules are importable now."""

    # For callers ------------------------------------------------------------------------------------------------------

    def activate(self, hash: str, manifest: Manifest, origin: str) -> Active:
        """Switch this process to a bundle: its files, `sys.path`, modules, `__main__`. Imports nothing.

        Args:
            hash: The bundle's name.
            manifest: Its files.
            origin: The user's root folder, for tracebacks; two checkouts share no modules.
        """
        active = self._known.pop((hash, origin), None)
        is_new = active is None
        if active is None:
            graph = Graph(manifest, origin, self._codes, self._learned)
            active = Active(hash, manifest, origin, graph, self.tree.folder)
            active.pristine = not self._ran
        self._known[hash, origin] = active
        if active is self.current:
            return active
        self._leave()
        try:
            self.tree.switch(manifest)
            self._enter(active, is_new)
        except BaseException:  # A blob is missing, the disk is full: the next call may find it otherwise.
            self._leave()
            if is_new:
                self._known.pop((hash, origin), None)
            raise
        return active

    def close(self) -> None:
        """Take everything out of Python again that was put in."""
        self._leave()
        if self._hook in sys.path_hooks:
            sys.path_hooks.remove(self._hook)
            sys.meta_path.remove(self._entries)
            self._forget_finders()
        self._known, self._index = {}, {}

    @property
    def held(self) -> list[Active]:
        """The bundles that live here, least recently used first."""
        return list(self._known.values())

    # Switching --------------------------------------------------------------------------------------------------------

    def _leave(self) -> None:
        active, self.current = self.current, None
        if active is None:
            return
        active.park(spare=self._mixed(active))
        active.show_libraries()
        active.sys_path = list(sys.path)
        sys.path[:] = self._sys_path or ()
        if self._main is not None:
            sys.modules["__main__"], self._main = self._main, None

    def _mixed(self, active: Active) -> Iterator[str]:
        """Namespace packages that have portions outside the tree: libraries live in them, so they stay."""
        for name in active.names:
            module = sys.modules.get(name)
            if module is None or getattr(module, "__file__", None) is not None:
                continue
            places = list(getattr(module, "__path__", ()))
            if any(relative(str(place), self._root) is None for place in places):
                yield name

    def _enter(self, active: Active, is_new: bool) -> None:
        self._install()
        while len(self._known) > self._most:
            self._known.pop(next(iter(self._known)))
        self._index = {
            record.key: record
            for known in self._known.values()
            for record in (*known.shared.values(), *known.records.values())
            if record.alive and record.key
        }
        if is_new:
            active.shared = self._sharable(active)
            live = active.live_roots()  # What was edited since, or is in no bundle, must not be imported from there.
            others = [entry for entry in self._sys_path or () if entry not in live]
            active.sys_path = [*active.bundle_roots(), *others, *active.late_roots()]
        sys.path[:] = active.sys_path
        self.current = active
        active.hide_libraries()
        active.unpark()
        active.show_lines(self._lines)
        self._look_again()
        entry = sys.modules.get(active.manifest.entry) if active.manifest.entry else None
        if entry is not None:
            self._become_main(entry)

    def _sharable(self, active: Active) -> dict[str, Record]:
        """Modules of other bundles that the new one can use, newest bundle first."""
        found: dict[str, Record] = {}
        good: set[Record] = set()
        for record in self._index.values():
            if active.fits(record, self._index.get, good):
                found[record.name] = record
        return found

    def _install(self) -> None:
        if self._hook not in sys.path_hooks:
            self._forget_finders()
            self._sys_path = list(sys.path)
            sys.path_hooks.insert(0, self._hook)
            sys.meta_path.append(self._entries)

    def _forget_finders(self) -> None:
        for path in [path for path in sys.path_importer_cache if relative(path, self._root) is not None]:
            del sys.path_importer_cache[path]

    def _hook(self, path: str) -> BundleFinder:
        path = os.path.normpath(path) if isinstance(path, str) else ""  # Programs add `HERE + "/.."`.
        folder = relative(path, self._root)
        if folder is None:
            raise ImportError("not of a bundle", path=path)
        return BundleFinder(path, folder, self, self._root)

    def _look_again(self) -> None:
        """Let namespace packages that stay see the folders of the new bundle."""
        from importlib import _bootstrap_external

        namespace: Any = getattr(_bootstrap_external, "_NamespacePath", None)
        if hasattr(namespace, "_epoch"):
            namespace._epoch += 1  # What `importlib.invalidate_caches` does, without listing site-packages again.

    def _become_main(self, module: ModuleType) -> None:
        if self._main is None:
            self._main = sys.modules["__main__"]
        sys.modules["__main__"] = module

    def _lines(self, digest: str) -> Lines:
        return Lines(self._blobs, digest)

    # For finders and loaders (`Library`) ------------------------------------------------------------------------------

    def look(self, name: str, folder: str) -> Found | None:
        """The module `name` in `folder`; what Python's rules find elsewhere is not this folder's."""
        active = self.current
        if active is None:
            return None
        parent, _, last = name.rpartition(".")
        found = active.graph.modules.in_folders(last, (folder,))
        if found is not None and found.path and not parent and active.graph.find(name) is None:
            self._learned.add_root(folder)  # A program put it on `sys.path`.
        return found

    def entry(self, name: str) -> Found | None:
        """The entry module, when no folder has it under its name."""
        active = self.current
        if active is None or name != active.manifest.entry:
            return None
        return Found(active.manifest.entry_path, ())

    def names_in(self, folder: str) -> Iterator[tuple[str, bool]]:
        """Modules in a folder of the active bundle."""
        if self.current is None:
            return
        modules = self.current.graph.modules
        prefix = f"{folder}/" if folder else ""
        below = {path[len(prefix) :] for path in self.current.manifest.by_path if path.startswith(prefix)}
        for name in sorted({_stem(rest.partition("/")[0]) for rest in below} - {"__init__"}):
            found = modules.in_folders(name, (folder,)) if name.isidentifier() else None
            if found is not None and found.path:
                yield name, bool(found.search)

    def note(self, name: str, *, written: bool = False) -> None:
        """Remember that a module is of the active bundle, or was written into its tree by a call."""
        if self.current is not None:
            self.current.names[name] = None
        if written:
            for record in self._running:
                record.sealed = True  # It takes something in that no manifest names.

    def kept(self, name: str, path: str) -> ModuleType | None:
        """The module of another bundle that the active one can share."""
        active = self.current
        if active is None or name in active.records:  # It was taken out of `sys.modules` to be run anew.
            return None
        record = active.shared.get(name) or self._index.get(active.graph.key(name))
        if record is None or record.text.path != path or not active.fits(record, self._index.get, set()):
            return None
        active.records[name] = record
        return record.module

    def run(self, module: ModuleType, load: BundleLoader | BundleExtensionLoader) -> None:
        """Execute a module, unless it is a shared one."""
        active, name = self.current, load.name
        assert active is not None, "a bundle's module is loaded while no bundle is active"
        if load.shared is module:
            prime(active.records[name].text, self._lines)
            _bring_along(active.records[name])
        else:
            self._execute(active, module, load)
        if name == active.manifest.entry:
            self._become_main(sys.modules.get(name, module))

    def _execute(self, active: Active, module: ModuleType, load: BundleLoader | BundleExtensionLoader) -> None:
        name = load.name
        text = active.place(name, Found(load.bundle_path, ()))
        compiled = load.bundle_path.endswith(tuple(EXTENSION_SUFFIXES))
        if compiled and self._extensions.setdefault(name, text.digest) != text.digest:
            raise ExtensionChanged(name)
        self._ran = True
        for other in self._known.values():
            other.pristine = other.pristine and other is active
        prime(text, self._lines)
        record = active.records[name] = Record(name, module, text)
        with self._lock:
            self._running.append(record)
            if self._unwatch is None:
                self._unwatch = watch(self._opened)
        try:
            load.load(module)
        except BaseException:
            record.alive = False
            active.records.pop(name, None)
            raise
        finally:
            self._ended(record)
        record.module = sys.modules.get(name, module)  # Some put another object in their place.
        self._loaded.append(record)
        if not self._running:  # Only now is known what modules that import each other have read.
            loaded, self._loaded = self._loaded, []
            for new in loaded:
                self._settle(active, new)
        self._on_import(module)

    def _settle(self, active: Active, record: Record) -> None:
        """Note what a module that was imported depends on."""
        graph, name = active.graph, record.name
        found = graph.find(name)
        if record.sealed or found is None or found.path != record.text.path:
            return  # Another file than the bundle's rules would find: it cannot be compared, so it is not shared.
        edges = active.records if graph.is_dynamic(name) else graph.edges(name)
        bound = (active.records.get(edge) for edge in edges)
        record.bound = tuple(other for other in bound if other is not None and other is not record)
        record.key = graph.key(name)
        self._index[record.key] = record

    def _ended(self, record: Record) -> None:
        with self._lock:
            self._running.remove(record)
            if not self._running and self._unwatch is not None:
                self._unwatch()
                self._unwatch = None

    def _opened(self, path: str, listed: bool) -> None:
        """A file was opened while a module was being imported: the module depends on it, if it is the bundle's."""
        inside = relative(path, self._root)
        if inside is not None and self._running:
            self._learned.add(self._running[-1].text, inside, listed)

    def code(self, path: str) -> CodeType:
        """The code of a file of the active bundle."""
        text = self._text(path)
        return self._codes.get(text.digest, text.filename).code

    def source(self, path: str) -> bytes:
        """The text of a file of the active bundle."""
        return self._codes.source(self._text(path).digest)

    def _text(self, path: str) -> Text:
        assert self.current is not None
        return self.current.place("", Found(path, ()))


def _bring_along(record: Record) -> None:
    """Import what a shared module had imported, as running it would have: it is shared likewise, and costs nothing.

    Whoever looks for the module of a class by its name (a pickle, the code digest) finds it then.
    """
    for other in record.bound:
        if other.name not in sys.modules:
            importlib.import_module(other.name)


def _stem(name: str) -> str:
    return name.partition(".")[0]
