"""One bundle in one runner: its modules, and which of them it shares with others."""

from __future__ import annotations

import importlib
import linecache
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

from greenroom.bundling.modules import OWN, Found
from greenroom_protocol.bundle import Manifest, refusal
from greenroom_replica.bundles.code import Lines
from greenroom_replica.bundles.errors import ImportFailed, NotDefined
from greenroom_replica.bundles.graph import Graph, Text

_RUNTIME = OWN | {"cloudpickle", "msgpack", "websockets", "click", "__main__"}
"""Modules that the runtime itself goes on importing from."""


class Record:
    """A module that was loaded, and what it was loaded from."""

    __slots__ = ("alive", "bound", "key", "module", "name", "sealed", "text")

    def __init__(self, name: str, module: ModuleType, text: Text) -> None:
        self.name, self.module, self.text = name, module, text
        self.key = b""
        """The graph's key when its import ended."""
        self.bound: tuple[Record, ...] = ()
        """Records of the modules whose contents it may have taken in."""
        self.sealed = False
        """Whether it took something in that no manifest names, so that nobody can tell whether it is up to date."""
        self.alive = True
        """False once its import has failed: who took something from it is not shared either."""


class Active:
    """A bundle as a runner uses it. Made by `Bundles.activate`."""

    def __init__(self, hash: str, manifest: Manifest, origin: str, graph: Graph, folder: Path) -> None:
        self.hash = hash
        self.manifest = manifest
        self.origin = origin
        """The user's root folder."""
        self.graph = graph
        self.folder = folder
        """Where the bundle's files lie."""
        self.records: dict[str, Record] = {}
        """Modules with a text that were loaded for it or that it shares, by name."""
        self.shared: dict[str, Record] = {}
        """What it may share when it comes to import it: held, so that it is still there then."""
        self.names: dict[str, None] = {}
        """Every name that was found in the tree, also namespaces and what calls wrote."""
        self.parked: dict[str, ModuleType] = {}
        """Its modules while another bundle is active."""
        self.hidden: dict[str, ModuleType] = {}
        """Libraries' modules that have the name of one of its own, while it is active."""
        self._tops: set[str] | None = None
        self.libraries: set[str] = set()
        """Top-level modules from elsewhere that its imports have loaded first."""
        self.pristine = True
        """Whether nothing of another bundle has run in this process."""
        self.sys_path: list[str] = []
        """What `sys.path` is while it is active, as its modules left it."""

    @property
    def modules(self) -> dict[str, ModuleType]:
        """Its loaded modules by name; the user's own, no libraries."""
        return {name: module for name in self.names if (module := sys.modules.get(name)) is not None}

    def module(self, name: str) -> ModuleType:
        """Import a module of the user's, if it is not there yet. `__main__` is the file that the user ran.

        Raises:
            ImportFailed: It raised; the user's error is the cause.
        """
        if name == "__main__" and self.manifest.entry:
            name = self.manifest.entry
        known = sys.modules.get(name)
        if known is not None and not _is_loading(known):
            return known
        before = set(sys.modules)
        try:
            return importlib.import_module(name)
        except (Exception, SystemExit) as fault:
            reason = f"{type(fault).__name__}: {fault}" if str(fault) else type(fault).__name__
            fault.with_traceback(_users_part(fault.__traceback__))
            raise ImportFailed(name, reason, fresh_runner=not self.pristine) from fault
        finally:
            new = {module.partition(".")[0] for module in sys.modules.keys() - before}
            self.libraries |= {top for top in new if top not in self.names and top != "__main__"}

    def function(self, module: str, qualname: str) -> Any:
        """What the user calls `qualname` in `module`: a task, a function, a class's method.

        Raises:
            ImportFailed: The module cannot be imported.
            NotDefined: It holds no such name.
        """
        at: Any = self.module(module)
        for name in qualname.split("."):
            try:
                at = getattr(at, name)
            except AttributeError:
                raise self._not_defined(module, qualname, at) from None
        return at

    def _not_defined(self, module: str, qualname: str, at: Any) -> NotDefined:
        from difflib import get_close_matches

        found = self.graph.find(self.manifest.entry if module == "__main__" else module)
        file = found.path if found is not None and found.path else module
        near = get_close_matches(qualname, [name for name in vars(at) if not name.startswith("__")], 2)
        return NotDefined(module, qualname, file, near)

    def stand(self, cwd: str = "") -> Path:
        """The folder that calls stand in: where the user submitted from, inside the bundle's tree."""
        folder = self.folder / cwd if cwd and refusal(cwd) is None else self.folder
        folder.mkdir(parents=True, exist_ok=True)  # It may hold no file of the bundle, or a call removed it.
        return folder

    def place(self, name: str, found: Found) -> Text:
        """What a module is loaded from."""
        return self.graph.text(name, found)

    def fits(self, record: Record, index: Callable[[bytes], Record | None], good: set[Record]) -> bool:
        """Whether this bundle can use a module that was loaded before, in this bundle or in another.

        Its key must be equal here, and every module that it holds on to must be the one that is used here too, so that
        there are never two of a class.

        Args:
            record: The module.
            index: Finds the module of a key that is used everywhere.
            good: Modules that are known to fit; gets what was found to.
        """
        trail: set[Record] = set()
        pending = [record]
        while pending:
            at = pending.pop()
            if at in good or at in trail:
                continue
            if not at.alive or self.graph.find(at.name) is None or self.graph.key(at.name) != at.key:
                return False
            trail.add(at)
            for other in at.bound:
                if (self.records.get(other.name) or index(other.key)) is not other:
                    return False
                pending.append(other)
        good |= trail
        return True

    def park(self, spare: Iterable[str] = ()) -> None:
        """Take its modules out of `sys.modules`; `spare` are names that stay."""
        stay = set(spare)
        for name in self.names:
            if name in stay:
                continue
            module = sys.modules.pop(name, None)
            if module is None:
                continue
            self.parked[name] = module
            parent, _, child = name.rpartition(".")
            holder = self.parked.get(parent) or sys.modules.get(parent)
            if isinstance(holder, ModuleType) and holder.__dict__.get(child) is module:
                del holder.__dict__[child]  # The package may be shared; its submodule need not be.

    def unpark(self) -> None:
        """Put its modules back."""
        sys.modules.update(self.parked)
        for name, module in self.parked.items():
            parent, _, child = name.rpartition(".")
            holder = sys.modules.get(parent) if parent else None
            if isinstance(holder, ModuleType):
                holder.__dict__.setdefault(child, module)
        self.parked = {}

    def hide_libraries(self) -> None:
        """Take modules out of `sys.modules` that another bundle's imports brought and that this one has a file for.

        Python would find the program's own first. Its own library's modules stay: libraries need them.
        """
        if self._tops is None:
            self._tops = set(self._top_names()) - _RUNTIME - sys.stdlib_module_names
        tops = self._tops
        taken = [name for name in sys.modules if name.partition(".")[0] in tops and name not in self.names]
        self.hidden = {name: sys.modules.pop(name) for name in taken}

    def _top_names(self) -> Iterator[str]:
        modules = self.graph.modules
        for root in self.manifest.roots:
            prefix = f"{root}/" if root else ""
            names = {path[len(prefix) :].partition("/")[0] for path in self.manifest.by_path if path.startswith(prefix)}
            for name in {name.partition(".")[0] for name in names}:
                found = modules.find(name)
                if found is not None and found.path:
                    yield name

    def show_libraries(self) -> None:
        """Undo `hide_libraries`."""
        for name, module in self.hidden.items():
            sys.modules.setdefault(name, module)
        self.hidden = {}

    def show_lines(self, lines: Callable[[str], Lines]) -> None:
        """Let tracebacks and `inspect` find the texts of its modules, which may not be what lies at the user's path."""
        for record in self.records.values():
            prime(record.text, lines)

    def bundle_roots(self) -> Iterator[str]:
        """What goes in front of `sys.path`."""
        for root in self.manifest.roots:
            yield f"{self.folder}/{root}" if root else str(self.folder)

    def live_roots(self) -> set[str]:
        """The same folders on the user's disk: an editable install may have put them on `sys.path` here too."""
        return (
            {f"{self.origin.rstrip('/')}/{root}".rstrip("/") for root in self.manifest.roots} if self.origin else set()
        )

    def late_roots(self) -> Iterator[str]:
        """What goes behind everything else there."""
        for root in self.manifest.late_roots:
            yield f"{self.folder}/{root}" if root else str(self.folder)

    def __repr__(self) -> str:
        return f"<Active {self.hash[:12]} {self.manifest.entry or '-'}, {len(self.records)} modules>"


def prime(text: Text, lines: Callable[[str], Lines]) -> None:
    """Let `linecache` find a text under the user's own path."""
    known = linecache.cache.get(text.filename)
    if known is None or len(known) != 4 or getattr(known[2], "digest", None) != text.digest:
        entry: Any = (1, None, lines(text.digest), text.filename)  # No mtime: `checkcache` leaves it alone.
        linecache.cache[text.filename] = entry


def _users_part(trace: TracebackType | None) -> TracebackType | None:
    """A traceback without the frames of Python's import system and of ours, between those of the user's modules."""
    frames = []
    while trace is not None:
        name = trace.tb_frame.f_globals.get("__name__", "")
        if not name.startswith(("greenroom_replica.", "importlib.")) and name != "importlib":
            frames.append(trace)
        trace = trace.tb_next
    kept: TracebackType | None = None
    for frame in reversed(frames):
        kept = TracebackType(kept, frame.tb_frame, frame.tb_lasti, frame.tb_lineno)
    return kept


def _is_loading(module: ModuleType) -> bool:
    return bool(getattr(getattr(module, "__spec__", None), "_initializing", False))


def relative(path: str, folder: str) -> str | None:
    """`path` relative to `folder`, with `/`; None if it lies elsewhere."""
    if path == folder:
        return ""
    return path[len(folder) + 1 :].replace(os.sep, "/") if path.startswith(folder + os.sep) else None
