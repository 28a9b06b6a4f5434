"""Following names through text alone: imports inside functions, statements that make a global, searched modules."""

from __future__ import annotations

import ast
import os
from collections.abc import Collection, Iterable, Iterator
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

from greenroom.digest.facts import Chain, Facts, Imported, chain_of, facts_of
from greenroom.digest.modules import absolute
from greenroom.digest.sources import source_of
from greenroom.digest.spaces import MISSING, Space, space_of_module, static_space

if TYPE_CHECKING:
    from greenroom.digest.walk import Walk

MAX_FILES: Final = 5_000
"""Source files that count where modules are imported by a computed name; of more, only those that are loaded do."""


READ_AS_TEXT: Final = 256 * 1024
"""Bytes of source up to which those files count by what they say; beyond, by their bytes, since parsing takes long."""


_CHANCY: Final = frozenset({"time", "uuid", "random", "secrets", "tempfile", "rng"})
_CHANCE: Final = frozenset(
    {"time", "time_ns", "monotonic", "perf_counter", "now", "utcnow", "today", "getpid", "urandom", "uuid1", "uuid4"}
    | {
        "token_hex",
        "token_bytes",
        "token_urlsafe",
        "mkdtemp",
        "mkstemp",
        "gettempdir",
        "default_rng",
        "gethostname",
        "id",
    }
)
"""Modules and functions whose results differ from process to process."""


class Texts:
    """The part of a walk that reads and never looks at objects."""

    def __init__(self, walk: Walk) -> None:
        self.walk = walk

    def imported(self, space: Space, one: Imported, chains: Iterable[Chain]) -> None:
        """Add what an import statement brings in, as far as the chains use it."""
        module = absolute(one.module, one.level, space.package)
        if one.name == "*":
            self._module(module)
        elif one.name is None:
            for chain in chains:
                path = tuple(one.bound.split("."))
                if chain[: len(path)] == path:
                    self._member(module, chain[len(path) :])
                elif path[: len(chain)] == chain:
                    self._module(module)
        else:
            rests = {chain[1:] for chain in chains if chain[0] == one.bound}
            for rest in rests:
                self._member(module, (one.name, *rest))

    def attribute(self, module: str, name: str, rests: Collection[Chain], space: Space) -> None:
        """Add `module.name` where the loaded module has no such name: a submodule, or something that it makes up."""
        if self._static(f"{module}.{name}") is not None:
            for rest in rests:
                self._member(f"{module}.{name}", rest)
        else:
            self.walk.module(space)

    def binding(self, space: Space, name: str, label: str) -> None:
        """Add the statements that make a global whose value cannot be read, or is no definition."""
        source = space.source
        if source is None or not name.isidentifier():
            return
        nodes = [node for node in source.binding(name) if not isinstance(node, ast.FunctionDef | ast.ClassDef)]
        if nodes and self._first_time("binding", label):
            facts = facts_of(nodes, lambda chain: self.walk.ours(space, chain))
            self._put(label + " =", space.where(getattr(nodes[0], "lineno", 0)), facts)
            self._refer(space, facts, leave=name)

    def is_made_anew(self, space: Space, name: str) -> bool:
        """Whether what makes a global asks a clock, or for something random, so that each process has another."""
        key = ("anew", space.name, name)
        if key not in self.walk._seen:
            source = space.source if name.isidentifier() else None
            nodes = source.binding(name) if source is not None else []
            self.walk._seen[key] = any(self._asks_chance(space, node, name) for node in nodes)
        return bool(self.walk._seen[key])

    def _asks_chance(self, space: Space, node: ast.AST, name: str) -> bool:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            return False
        if isinstance(node, ast.ImportFrom):
            there = self._static(absolute(node.module or "", node.level, space.package))
            names = [alias.name for alias in node.names if (alias.asname or alias.name) == name]
            return there is not None and bool(names) and self.is_made_anew(there, names[0])
        for part in ast.walk(node):
            chain = chain_of(part.func) if isinstance(part, ast.Call) else ()
            if chain and (chain[-1] in _CHANCE or not _CHANCY.isdisjoint(chain[:-1])):
                return True
        return False

    def whole(self, space: Space) -> None:
        """Add all of a module's text, and all that it imports from other modules of the user's."""
        if not self._first_time("whole", space.name):
            return
        source = space.source
        tree = source.whole() if source is not None else None
        if tree is None:
            for found in list((space.globals or {}).values()):
                self.walk.add(space, found, ())
            return
        facts = facts_of([tree], lambda chain: self.walk.ours(space, chain))
        self._put(f"{space.name}:*", space.where(0), facts)
        for one in facts.imports:
            module = absolute(one.module, one.level, space.package)
            if one.name is None or one.name == "*":
                self._module(module)
            else:
                self._member(module, (one.name,))

    def everything(self, space: Space) -> None:
        """Add every source file that could be imported by name."""
        if not self._first_time("everything", ""):
            return
        files = list(_python_files(self.walk.digester.roots))
        small = sum(os.path.getsize(file) for _, file in files) <= READ_AS_TEXT
        for root, file in files:
            self._file(root, file, as_text=small)
        if files:
            return
        self.whole(space)
        import sys

        for name, loaded in sorted(sys.modules.items()):
            path = getattr(loaded, "__file__", None)
            if isinstance(path, str) and self.walk.is_user(name, path):
                self.whole(space_of_module(loaded, self.walk.since, self.walk.is_user))

    def _file(self, root: str, file: str, *, as_text: bool) -> None:
        from greenroom.digest.reading import Unrecorded

        name = os.path.relpath(file, root).replace(os.sep, "/")
        content = text_digest(file) if as_text else None
        if content is None:
            with Unrecorded(), open(file, "rb") as stream:
                content = blake2b(stream.read(), digest_size=12).hexdigest()
        self.walk.put(f"file {name}", name, f"#{content[:8]}", content)

    # Modules by name.

    def _static(self, module: str) -> Space | None:
        spaces = self.walk.static_spaces
        if module not in spaces:
            spaces[module] = static_space(module, self.walk.roots, self.walk.is_user)
        return spaces[module]

    def _module(self, module: str) -> None:
        space = self._static(module)
        if space is not None:
            self.whole(space)

    def _member(self, module: str, chain: Chain) -> None:
        """Add `module.a.b`: a definition of the module's, a submodule's, or the module itself."""
        if not chain:
            self._module(module)
            return
        space = self._static(module)
        name, rest = chain[0], chain[1:]
        if space is not None and self._defined(space, name, rest):
            return
        if self._static(f"{module}.{name}") is not None:
            self._member(f"{module}.{name}", rest)
        elif space is not None:
            self.whole(space)  # A star import, or a module with a `__getattr__`.

    def _defined(self, space: Space, name: str, rest: Chain) -> bool:
        """Add a name by the statements that bind it; False where the module's text has none."""
        source = space.source
        nodes = source.binding(name) if source is not None else []
        if not nodes:
            return False
        if self._first_time("text", space.name, name, *rest):
            imports = [node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]
            others = [node for node in nodes if node not in imports]
            for one in _imports(imports, name):
                self.imported(
                    space,
                    one,
                    [(name, *rest)] if one.name is not None or "." not in one.bound else [(one.bound, *rest)],
                )
            if others:
                facts = facts_of(others, lambda chain: self.walk.ours(space, chain))
                self._put(f"{space.name}:{name}", space.where(getattr(others[0], "lineno", 0)), facts)
                self._refer(space, facts, leave=name)
        return True

    def _refer(self, space: Space, facts: Facts, leave: str) -> None:
        """Add what some text refers to: live where the module is, else in text again."""
        for name in sorted(facts.names - {leave}):
            chains = {chain for chain in facts.chains if chain[0] == name}
            if space.globals is not None:
                self.walk.name(space, space.globals, name, chains, f"{space.name}:{name}")
            else:
                for chain in sorted(chains):
                    self._defined(space, name, chain[1:])
        for one in facts.imports:
            self.imported(space, one, facts.chains)
        if facts.anything:
            self.everything(space)
        for chain in sorted(facts.dynamic):
            found: Any = self.walk._resolve(space, chain, None) if chain else MISSING
            if found is MISSING:
                self.whole(space)

    def _put(self, label: str, where: str, facts: Facts) -> None:
        self.walk.put(label, where, f"#{facts.text[:8]}", facts.text)

    def _first_time(self, *key: Any) -> bool:
        if key in self.walk._seen:
            return False
        self.walk._seen[key] = True
        return True


def _imports(nodes: Iterable[ast.AST], name: str) -> Iterator[Imported]:
    """The imports among statements that bind one name."""
    facts = facts_of(list(nodes), lambda _: False)
    for one in facts.imports:
        if one.bound.partition(".")[0] == name or one.name == "*":
            yield one


def _python_files(roots: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Every source file below the roots, in a fixed order; none at all where there are too many."""
    found: list[tuple[str, str]] = []
    for root in roots:
        for folder, folders, files in os.walk(root):
            folders[:] = sorted(one for one in folders if not one.startswith((".", "__pycache__")))
            found.extend((root, os.path.join(folder, file)) for file in sorted(files) if file.endswith(".py"))
            if len(found) > MAX_FILES:
                return
    yield from found


def text_digest(file: str) -> str | None:
    """The digest of a source file's text, comments and formatting aside; None where there is none that can be read."""
    source = source_of(file)
    if source is None:
        return None
    tree = source.whole()
    if tree is None:
        return blake2b(source.text.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()
    return facts_of([tree], lambda _: False).text
