"""Follow a program's imports: which files beyond those that are listed are its own too.

A bare file has no others. A project's are listed, but it may import modules that git ignores (generated ones), and
packages of its author's that lie elsewhere. What was found is remembered with the conditions under which it holds.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from greenroom.bundling.listing import Listed, Listing, list_folder
from greenroom.bundling.modules import OWN, Found, Modules, package_of, suffixes
from greenroom.bundling.packages import Outside, OutsidePackages
from greenroom.bundling.places import Layout
from greenroom.bundling.snapshot import mtime_of
from greenroom.bundling.stats import StatCache
from greenroom_protocol.bundle import MOUNTS, BundleFile


class _Module(NamedTuple):
    """A module that the program reaches, and where it was found."""

    name: str
    found: Found


class Reach:
    """Adds to a listing what a program imports."""

    def __init__(
        self,
        root: Path,
        place: Layout,
        listing: Listing,
        stats: StatCache,
        outside: OutsidePackages,
        *,
        bare: bool,
    ) -> None:
        self._root, self._layout, self._listing, self._stats = root, place, listing, stats
        self._outside, self._bare = outside, bare
        self._names: dict[str, set[str]] = {}
        self._taken: list[tuple[str, bool]] = []
        self._mounted: list[Outside] = []
        self.mounts: dict[str, str] = {}
        """Folders of the bundle whose files come from elsewhere than the root, and where from."""
        self.package_roots: list[str] = []
        """Folders of the bundle that packages from elsewhere are imported from."""

    def again(self, hash_all: Callable[[], list[BundleFile]]) -> list[BundleFile] | None:
        """Add what was found the last time; the hashed files if nothing has changed since, else None and all undone."""
        try:
            conditions, taken, mounted, folders = self._stats.reached
        except (TypeError, ValueError):
            return None
        if any(mtime_of(f"{self._root}/{folder}") != mtime for folder, mtime in folders):
            return None
        listed, left_out = list(self._listing.files), dict(self._listing.left_out)
        for path, any_size in taken:
            self._take(path, any_size=any_size)
        for name, path in mounted:
            self._mount(Outside(name, path))
        files = hash_all()
        if self._conditions(files) == conditions:
            self._names = {folder: set() for folder, _ in folders}
            return files
        self._listing.drop(listed)
        self._listing.left_out = left_out
        self.mounts, self.package_roots, self._mounted, self._taken = {}, [], [], []
        return None

    def remember(self, files: Iterable[BundleFile]) -> None:
        """Keep what was found for the next time."""
        mounted = [tuple(package) for package in self._mounted]
        self._stats.remember((self._conditions(files), tuple(self._taken), tuple(mounted), self.folders()))

    def folders(self) -> tuple[tuple[str, int], ...]:
        """Folders of the root in which modules were looked for, with their mtimes."""
        return tuple((folder, mtime_of(f"{self._root}/{folder}")) for folder in self._names)

    def _conditions(self, files: Iterable[BundleFile]) -> bytes:
        """Stands for all that decides what is found: the files' names and contents, and what is importable besides."""
        state = hashlib.sha256(repr((self._layout, self._bare, self._outside.state())).encode())
        for path, digest, _, _ in files:
            state.update(f"{path}\0{digest}\0".encode())
        return state.digest()

    def follow(self) -> None:
        """Take the program's file, all that it imports, and so on.

        Where there is no file but a folder (a notebook's), the modules that this process has imported from there.
        """
        place = self._layout
        if place.path:
            self._take(place.path)
            self._reach([_Module(place.module, Found(place.path, _search_of(place)))])
        else:
            self._reach(list(self._imported_here()))

    def _imported_here(self) -> Iterator[_Module]:
        prefix = f"{self._root}/"
        python = tuple(f"{folder}/" for folder in {sys.prefix, sys.base_prefix} - {str(self._root)})
        for name, module in list(sys.modules.items()):
            file = getattr(module, "__file__", None)
            if not isinstance(file, str) or not file.startswith(prefix) or name == "__main__":
                continue
            if file.startswith(python) or "site-packages" in file or name.partition(".")[0] in OWN:
                continue  # An interpreter may lie there too: in a home folder it often does.
            path = file[len(prefix) :]
            if self._take(path):
                yield _Module(name, Found(path, (os.path.dirname(path),) if hasattr(module, "__path__") else ()))

    def _take(self, path: str, *, any_size: bool = True) -> Listed | None:
        """Take one file of the root, whatever git says of it."""
        known = self._listing.files.get(path)
        if known is not None:
            return known
        source = f"{self._root}/{path}"
        try:
            status = os.stat(source)
        except OSError:
            return None
        if self._listing.add(path, os.path.realpath(source), status, any_size=any_size):
            self._listing.left_out.pop(path, None)
            self._taken.append((path, any_size))
        return self._listing.files.get(path)

    def _reach(self, start: Iterable[_Module]) -> None:
        """Follow the imports of some modules: what git ignores or what lies outside is the program's too."""
        modules = self._known_modules()
        pending = deque(start)
        seen = {module.name for module in pending}
        while pending:
            module = pending.popleft()
            for name in self._imported_by(module):
                for prefix in _prefixes(name):
                    if prefix in seen:
                        continue
                    seen.add(prefix)
                    found = modules.find(prefix) or self._on_disk(prefix, modules)
                    if found is None and "." not in prefix and (outside := self._outside.find(prefix)):
                        self._mount(outside)
                        modules = self._known_modules()
                        found = modules.find(prefix)
                    if found is not None and found.path:
                        pending.append(_Module(prefix, found))

    def _known_modules(self) -> Modules:
        place = self._layout
        roots = (*place.roots, *self.package_roots, *place.late_roots)
        return Modules(set(self._listing.files), roots, entry=place.module, entry_path=place.path)

    def _imported_by(self, module: _Module) -> list[str]:
        listed = self._take(module.found.path)
        if listed is None or not (module.found.is_source or module.found.path == self._layout.path):
            return []
        imports = self._stats.imports(listed.source, listed.status)
        if self._bare:
            self._take_named(module.found.path, imports.strings)
        package = package_of(module.name, module.found)
        return [*imports.names(package), *(name for name in imports.dotted_strings() if self._is_local(name))]

    def _is_local(self, dotted: str) -> bool:
        top = dotted.partition(".")[0]
        return any(top in self._names_in(root) for root in self._layout.roots)

    def _take_named(self, module: str, names: Iterable[str]) -> None:
        """Take the data files that a module of a bare program names, beside it or in the root."""
        for name in names:
            for folder in dict.fromkeys((os.path.dirname(module), "")):
                path = os.path.normpath(f"{folder}/{name}").lstrip("/")
                if not path.startswith("..") and os.path.isfile(f"{self._root}/{path}"):
                    self._take(path, any_size=False)

    def _on_disk(self, name: str, modules: Modules) -> Found | None:
        """A module that lies in the root but is not listed: all of a bare program, and what git ignores."""
        parent, _, last = name.rpartition(".")
        if parent:
            package = modules.find(parent) or self._on_disk(parent, modules)
            folders = package.search if package else ()
        else:
            folders = (*self._layout.roots, *self._layout.late_roots)
        for folder in folders:
            base = f"{folder}/{last}" if folder else last
            if folder.startswith(MOUNTS) or (not parent and self._outside.find(last)):
                continue
            found = self._file_on_disk(base)
            if found is not None:
                return found
        return None

    def _file_on_disk(self, base: str) -> Found | None:
        folder, _, last = base.rpartition("/")
        names = self._names_in(folder)
        is_folder = last in names and os.path.isdir(f"{self._root}/{base}")
        for suffix in suffixes():
            if is_folder and f"__init__{suffix}" in self._names_in(base) and self._take(f"{base}/__init__{suffix}"):
                return Found(f"{base}/__init__{suffix}", (base,))
            if last + suffix in names and self._take(base + suffix):
                return Found(base + suffix, ())
        return Found("", (base,)) if is_folder else None

    def _names_in(self, folder: str) -> set[str]:
        """What lies in a folder of the root."""
        names = self._names.get(folder)
        if names is None:
            try:
                names = set(os.listdir(f"{self._root}/{folder}"))
            except OSError:
                names = set()
            self._names[folder] = names
        return names

    def _mount(self, outside: Outside) -> None:
        """Take a package from outside the root: its modules and its small data files."""
        folder = f"{MOUNTS}/{outside.name}"
        self._mounted.append(outside)
        self.package_roots.append(folder)
        if os.path.isdir(outside.path):
            self.mounts[f"{folder}/{outside.name}"] = outside.path
            list_folder(Path(outside.path), self._listing, prefix=f"{folder}/{outside.name}/")
        else:
            self.mounts[folder] = os.path.dirname(outside.path)
            name = os.path.basename(outside.path)
            self._listing.add(f"{folder}/{name}", outside.path, os.stat(outside.path), any_size=True)


def _search_of(place: Layout) -> tuple[str, ...]:
    folder, _, name = place.path.rpartition("/")
    return (folder,) if name == "__init__.py" else ()


def _prefixes(name: str) -> Iterator[str]:
    """`a`, `a.b`, `a.b.c` of `a.b.c`."""
    at = name.find(".")
    while at > 0:
        yield name[:at]
        at = name.find(".", at + 1)
    if name:
        yield name
