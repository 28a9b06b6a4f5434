"""What a module of a bundle depends on, and a key that changes whenever any of it does.

Two bundles may share a module object if its key is equal in both: its own text, the files that it read while it was
imported, and the same of all modules whose contents it could have taken in. Rather too much is counted than too little,
since a module that is imported anew costs warmth, and a stale one gives wrong results.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

from greenroom.bundling.modules import Found, Modules, package_of
from greenroom_protocol.bundle import Manifest
from greenroom_replica.bundles.code import Codes


class Text(NamedTuple):
    """A module's own text, independent of any bundle."""

    name: str
    path: str
    digest: str
    filename: str
    """The user's own path, which its code objects carry."""


class Learned:
    """What importing has taught: files that modules read meanwhile, folders that they put on `sys.path`.

    Paths are relative to the bundle's root. Never forgotten, and true for all bundles.
    """

    def __init__(self) -> None:
        self.roots: dict[str, None] = {}
        """Folders that modules were imported from although no manifest names them."""
        self._files: dict[Text, set[str]] = {}
        self._folders: dict[Text, set[str]] = {}
        self.version = 0
        """Raised with everything that is learned."""

    def add_root(self, folder: str) -> None:
        """Remember that modules are imported from `folder`."""
        if folder not in self.roots:
            self.roots[folder] = None
            self.version += 1

    def add(self, text: Text, path: str, listed: bool) -> None:
        """Remember that the module opened the file `path`, or listed the folder `path`."""
        known = (self._folders if listed else self._files).setdefault(text, set())
        if path not in known:
            known.add(path)
            self.version += 1

    def of(self, text: Text) -> tuple[set[str], set[str]]:
        """Files opened and folders listed."""
        return self._files.get(text, set()), self._folders.get(text, set())


class Graph:
    """The modules of one bundle in one checkout, and their keys."""

    def __init__(self, manifest: Manifest, origin: str, codes: Codes, learned: Learned) -> None:
        self._manifest, self._origin, self._codes, self._learned = manifest, origin, codes, learned
        self.modules = self._modules()
        self._edges: dict[str, tuple[str, ...]] = {}
        self._keys: dict[str, bytes] = {}
        self._roots = len(learned.roots)
        self._version = learned.version
        self._all: bytes | None = None

    def _modules(self) -> Modules:
        manifest = self._manifest
        roots = dict.fromkeys((*manifest.roots, *self._learned.roots, *manifest.late_roots))
        return Modules(manifest.by_path, tuple(roots), entry=manifest.entry, entry_path=manifest.entry_path)

    def _refresh(self) -> None:
        """Drop what was concluded before something new was learned."""
        if self._version != self._learned.version:
            self._version, self._keys = self._learned.version, {}
            if self._roots != len(self._learned.roots):
                self._roots = len(self._learned.roots)
                self.modules, self._edges = self._modules(), {}

    def find(self, name: str) -> Found | None:
        """Where the module `name` lies in the bundle."""
        self._refresh()
        return self.modules.find(name)

    def text(self, name: str, found: Found) -> Text:
        """The text of a module that was found."""
        file = self._manifest.by_path[found.path]
        return Text(name, found.path, file.digest, self._manifest.origin_of(found.path, self._origin))

    def edges(self, name: str) -> tuple[str, ...]:
        """Modules of the bundle whose contents `name` may have taken in."""
        edges = self._edges.get(name)
        if edges is None:
            found = self.find(name)
            edges = self._edges[name] = tuple(self._find_edges(name, found)) if found else ()
        return edges

    def _find_edges(self, name: str, found: Found) -> Iterator[str]:
        if not self._has_text(found):
            return
        text = self.text(name, found)
        imports = self._codes.imports(text.digest, text.filename)
        package = package_of(name, found)
        seen = {name}
        bound = [(imported, False) for imported in imports.names(package)]
        plain = {module for level, module, names in imports.statements if not level and not names}
        for imported, quoted in [*bound, *((dotted, True) for dotted in imports.dotted_strings())]:
            # `import a.b` binds `a`; `from a.b import c` takes from `a.b` alone: an edit of `a` need not reach it.
            for part in _prefixes(imported) if quoted or imported in plain else (imported,):
                if part not in seen and self.find(part) is not None:
                    seen.add(part)
                    yield part

    def _has_text(self, found: Found) -> bool:
        return found.is_source or (bool(found.path) and found.path == self._manifest.entry_path)

    def is_dynamic(self, name: str) -> bool:
        """Whether a module imports by other means than statements, so that nobody knows what."""
        found = self.find(name)
        if found is None or not self._has_text(found):
            return False
        text = self.text(name, found)
        return self._codes.imports(text.digest, text.filename).dynamic

    def key(self, name: str) -> bytes:
        """Changes with anything that the module depends on; equal in two bundles if they can share it."""
        self._refresh()
        key = self._keys.get(name)
        if key is None:
            self._key_component(name)
            key = self._keys[name]
        return key

    def _key_component(self, start: str) -> None:
        """Key `start` and all that it reaches: modules that import each other have one key (Tarjan's components)."""
        index: dict[str, int] = {}
        low: dict[str, int] = {}
        stack: list[str] = []
        on_stack: set[str] = set()
        work: list[tuple[str, Iterator[str]]] = []

        def enter(name: str) -> None:
            index[name] = low[name] = len(index)
            stack.append(name)
            on_stack.add(name)
            work.append((name, iter(self.edges(name))))

        enter(start)
        while work:
            name, edges = work[-1]
            for edge in edges:
                if edge in self._keys:
                    continue
                if edge not in index:
                    enter(edge)
                    break
                if edge in on_stack:
                    low[name] = min(low[name], index[edge])
            else:
                work.pop()
                if work:
                    above = work[-1][0]
                    low[above] = min(low[above], low[name])
                if low[name] == index[name]:
                    at = stack.index(name)
                    members, stack[at:] = stack[at:], []
                    on_stack.difference_update(members)
                    self._key_members(members)

    def _key_members(self, members: list[str]) -> None:
        inside = set(members)
        below = {edge for name in members for edge in self.edges(name)} - inside
        digest = hashlib.sha256()
        for part in sorted(self._own(name) for name in members):
            digest.update(hashlib.sha256(part.encode("utf-8", "surrogatepass")).digest())
        for edge in sorted(below):
            digest.update(self._keys[edge])
        if any(self.is_dynamic(name) for name in members):
            digest.update(self._all_texts())
        for name in members:
            self._keys[name] = hashlib.sha256(digest.digest() + name.encode()).digest()

    def _own(self, name: str) -> str:
        """All that a module depends on by itself."""
        found = self.find(name)
        if found is None or not found.path:
            return repr((name, found))
        text = self.text(name, found)
        files, folders = self._learned.of(text)
        by_path = self._manifest.by_path
        read = [(path, by_path[path].digest if path in by_path else "") for path in sorted(files)]
        return repr((text, found.search, read, [(folder, self._names_in(folder)) for folder in sorted(folders)]))

    def _names_in(self, folder: str) -> list[str]:
        prefix = f"{folder}/" if folder else ""
        below = (path[len(prefix) :] for path in self._manifest.by_path if path.startswith(prefix))
        return sorted({rest.partition("/")[0] for rest in below})

    def _all_texts(self) -> bytes:
        """Stands for every module of the bundle: what a dynamic import may have reached."""
        if self._all is None:
            digest = hashlib.sha256()
            for path, content, _, _ in self._manifest.files:
                if path.endswith(".py"):
                    digest.update(f"{path}\0{content}\0".encode())
            self._all = digest.digest()
        return self._all


def _prefixes(name: str) -> Iterator[str]:
    at = name.find(".")
    while at > 0:
        yield name[:at]
        at = name.find(".", at + 1)
    yield name
