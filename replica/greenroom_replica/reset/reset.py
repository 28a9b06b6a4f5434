"""The door of the reset: what a runner calls around each call."""

from __future__ import annotations

import contextvars
import os
import sys
from _thread import _count
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from gc import collect
from operator import is_
from time import perf_counter
from types import FunctionType, ModuleType
from typing import Any

from greenroom_replica.reset.figures import Figures, count_descriptors
from greenroom_replica.reset.ground import TOUCHES, Ground
from greenroom_replica.reset.imports import ImportGuard
from greenroom_replica.reset.libraries import Libraries
from greenroom_replica.reset.opaque import sentences
from greenroom_replica.reset.owners import Owner, list_folders, remove
from greenroom_replica.reset.plan import Bundle
from greenroom_replica.reset.process import Baseline, Ledger, Process, merge_into
from greenroom_replica.reset.report import Report
from greenroom_replica.reset.strays import Children, Threads, children_of, end
from greenroom_replica.reset.streams import SEEDS
from greenroom_replica.reset.usercode import Territory
from greenroom_replica.reset.watch import Watch, Watched

SHORT = 100e-6
"""Seconds; a call below has not started a process: a fork alone takes longer."""

LONG = 2e-3
"""Seconds; a call above pays, with less than a hundredth of its own time, for a look at everything."""

_EVERY = 64
"""Calls between two looks at the descriptors where calls are short."""


class Reset:
    """Gives every call what a fresh process would have: made once per runner, in its main thread, before user code.

    The runner's order is: ``with reset.importing(bundle)`` around the import of a bundle, `adopt` for its modules,
    then `before`, the call, `after` for each call. Nothing here raises into the runner's loop.

    Args:
        folders: Private folders of this replica; what a loader puts there is its entry's, and removed with it.
    """

    def __init__(self, folders: Iterable[str] = ()) -> None:
        self._folders = tuple(folders)
        self._ground = Ground(self._folders)
        self._territory = Territory()
        self._process = Process(self._territory)
        self._process.install()
        self._exits = self._process.exits
        self._tripped = self._process.tripwires.tripped
        self._guard = ImportGuard(self._import_begins, self._import_ends)
        self._guard.install()
        self._threads = Threads(self._territory, self._process.tripwires)
        self._children = Children()
        self._figures = Figures(self._territory)
        self._libraries = Libraries(self._territory)
        self._is_steady = True
        self._steadied: list[str] = []
        self._pristine: Baseline = self._process.read()
        self._process.use(self._pristine)
        self._bundles: dict[str, Bundle] = {}
        self._current: Bundle | None = None
        self._rows = Watch(self._process.items())
        self._watch = Watch()
        self._watches: dict[str, Watch] = {}
        self._owners: list[Owner] = []
        self._pending: list[tuple[str, str, dict[str, Any]]] = []
        self._ledger: Ledger | None = None
        self._importing = False
        self._depth = 0
        """How deep in imports of user modules a call is."""
        self._calling = False
        self._modules = len(sys.modules)
        self._started = 0.0
        self._calls = 0
        self._take_context()
        self.reseed_after_fork()

    # -- Bundles ---------------------------------------------------------------------------------------------------

    @contextmanager
    def importing(self, bundle_id: str) -> Iterator[None]:
        """Import a bundle's modules in here: what happens to the process becomes this bundle's baseline.

        It starts from the process as it was before any bundle (or as this bundle had it), so that the bundle's own
        ``sys.path`` and folder are set in here too. Modules that are adopted meanwhile are walked at the end.
        """
        if self._importing or self._calling:
            yield
            return
        bundle = self._bundle(bundle_id)
        self._process.switch(bundle.baseline or self._pristine)
        self._current = None
        self._ledger = ledger = Ledger(self._process)
        before = dict(ledger.reading)
        SEEDS.begin()
        self._importing = self._guard.on = True
        try:
            yield
        finally:
            self._importing = self._guard.on = False
            now = {**ledger.sync(), self._process.chance.name: self._process.chance.read()}
            SEEDS.end()
            before[self._process.chance.name] = {}
            # Libraries that were imported on the way have already put what they did into what this starts from.
            bundle.baseline = merge_into(bundle.baseline or self._pristine, ledger.changes(before, now))
            self._ledger = None
            self._settle_in()

    def adopt(self, bundle_id: str, modules: Iterable[ModuleType], definitions: Iterable[FunctionType] = ()) -> None:
        """Take a snapshot of user modules, at the end of their import; again for modules that come later.

        Args:
            bundle_id: The bundle whose calls use them.
            modules: Modules that hold user code.
            definitions: Functions that came by value, whose globals are no module's.
        """
        found = [(bundle_id, module.__name__, vars(module)) for module in modules]
        found += [(bundle_id, str(function.__module__), function.__globals__) for function in definitions]
        for _, name, space in found:
            self._territory.add(name, space)
        self._pending += found
        if self._importing or self._depth:
            return  # Walked at the end of the outermost import: others may still fill their registries.
        bundle = self._bundle(bundle_id)
        if self._calling:
            self._walk_late(bundle)
            return
        if bundle.baseline is None:
            bundle.baseline = self._process.read()
        self._settle_in()

    def imported(self, bundle_id: str, module: ModuleType) -> None:
        """Tell that a user module's import has ended: the importer's hook."""
        self.adopt(bundle_id, (module,))

    def not_checked(self, bundle_id: str) -> list[str]:
        """Say what of a bundle is not looked into, with the remedy; each thing once."""
        bundle = self._bundles.get(bundle_id)
        return sentences(bundle.take_opaque()) if bundle is not None else []

    def forget(self, bundle_id: str) -> None:
        """Forget a bundle that is dropped from this runner."""
        bundle = self._bundles.pop(bundle_id, None)
        self._watches.pop(bundle_id, None)
        if bundle is not None and bundle is self._current:
            self._current = None

    def _bundle(self, bundle_id: str) -> Bundle:
        bundle = self._bundles.get(bundle_id)
        if bundle is None:
            bundle = self._bundles[bundle_id] = Bundle(bundle_id, self._territory)
        return bundle

    def _settle_in(self) -> None:
        """Walk the modules that were adopted, and let live what their import started."""
        pending, self._pending = self._pending, []
        for bundle_id, name, space in pending:
            self._bundle(bundle_id).adopt(name, space)
        self._threads.accept()
        self._children.accept()
        self._libraries.accept()
        if not self._calling:
            self._take_context()
            for bundle_id in {bundle_id for bundle_id, _, _ in pending}:
                for variable, value in self._context.items():
                    self._bundle(bundle_id).adopt_value(value, variable.name)
        self._watches.clear()
        self._current = None
        self._rows = Watch(self._process.items())
        self._modules = len(sys.modules)

    def _take_context(self) -> None:
        self._context = contextvars.copy_context()
        self._context_values = list(self._context.values())

    # -- Around a call ---------------------------------------------------------------------------------------------

    def before(self, bundle_id: str, environment: Mapping[str, str] | None = None) -> contextvars.Context:
        """Make a bundle's baseline current, and set the submitter's variables.

        Args:
            bundle_id: The bundle of the call.
            environment: Variables for this call, on top of the bundle's; the same mapping again costs nothing.

        Returns:
            The context to run the call in: what it sets in context variables ends with it.
        """
        bundle = self._current
        if bundle is None or bundle.name != bundle_id:
            self._switch(bundle_id)
        if environment is not self._process.environ.overlay:
            self._process.environ.lay(environment)
            self._rearm_rows([self._process.environ])
        self._calling = self._guard.on = self._exits.noting = True
        self._is_steady = False
        self._started = perf_counter()
        return self._context.copy()

    def steady(self) -> None:
        """Put back, right after the user's function, what the runner itself stands on: builtins and libraries."""
        self._is_steady = True
        if not self._libraries.watch.clean():
            self._process.builtins.heal()  # First: what follows is written with these.
            self._steadied = self._libraries.put_back()

    def after(self) -> Report | None:
        """Restore everything; None for a call that left nothing to tell."""
        if not self._is_steady:
            self.steady()
        self._guard.on = self._exits.noting = False
        taken = perf_counter() - self._started
        quick = mine = rows = False
        try:
            if self._territory.finalizes:
                collect(1)  # Now, not in the middle of the next call.
            if (
                taken < LONG
                and not self._steadied
                and (quick := self._process.quick())
                and (rows := self._rows.clean())  # Before the rest: where it is not, `len` may be any function.
                and (mine := self._watch.clean())
                and _count() == self._threads.expected
                and len(sys.modules) == self._modules
                and not self._exits.pending
                and self._context_clean()
                and (taken < SHORT or self._children.keeps_some or not self._children.any())
                and (taken < TOUCHES or not self._ground.lost())
            ):
                self._calling = False
                self._calls += 1
                return self._figures.count(self._owned_descriptors()) if not self._calls % _EVERY else None
            if not rows:
                self._process.builtins.heal()
            return self._settle(taken, quick, mine, rows and not self._territory.finalizes)
        except BaseException as error:  # A cancel that came too late, or a fault of ours: never the runner's end.
            return self._settle_again(taken, error)

    def check_strays(self) -> Report | None:
        """Look after threads and processes only: all that ``isolation='none'`` asks for."""
        report = Report()
        self._guard.on = self._exits.noting = self._calling = False
        taken = perf_counter() - self._started
        started = self._threads.row in self._tripped
        self._tripped.discard(self._threads.row)
        if self._may_have_strays(taken, started):
            self._look_for_strays(report, started)
        return report if report else None

    def _may_have_strays(self, taken: float, started: bool) -> bool:
        """Tell whether a call of this length can have left a thread or a process; to look costs time."""
        return (
            taken >= LONG or started or _count() != self._threads.expected or (taken >= SHORT and self._children.any())
        )

    def _switch(self, bundle_id: str) -> None:
        bundle = self._bundle(bundle_id)
        if bundle.baseline is None:
            bundle.baseline = dict(self._pristine)
        rows = self._process.switch(bundle.baseline, clean=self._current is not None)
        self._current = bundle
        watch = self._watches.get(bundle_id)
        if watch is None:
            watch = self._watches[bundle_id] = Watch(bundle.nodes)
        self._watch = watch
        self._rearm_rows(rows)

    def _context_clean(self) -> bool:
        now = contextvars.copy_context()
        values = self._context_values
        return len(now) == len(values) and (not values or all(map(is_, now.values(), values)))

    def _settle(self, taken: float, quick: bool, mine: bool, rows: bool) -> Report | None:
        """Do all that is not the hot path."""
        report = Report()
        report.restored, self._steadied = self._steadied, []
        deep = taken >= LONG
        started = self._threads.row in self._tripped
        if self._may_have_strays(taken, started):
            self._look_for_strays(report, started)
            quick = mine = rows = False  # What they did meanwhile counts as well.
        if self._exits.pending:
            report.sentences += self._exits.run()
            quick = mine = rows = False
        grown = self._figures.look(report, taken, self._owned_descriptors()) if deep else 0
        self._restore(report, taken if deep else 0.0, grown, quick, mine, rows)
        if taken >= TOUCHES and (lost := self._ground.lost()):
            report.sentences.append(f"{lost}; this runner is replaced")
            report.must_retire(lost)
        self._calling = False
        return report if report else None

    def _look_for_strays(self, report: Report, started: bool) -> None:
        self._children.finish(report)
        threads = self._threads.sweep(report, started)
        if self._children.sweep(report) and threads:
            report.must_retire("threads and processes outlived their call, and may start each other again")

    def _restore(self, report: Report, taken: float, grown: int, quick: bool, mine: bool, rows_clean: bool) -> None:
        """Put back user state, then the process; once more for what finalizers of the dropped values did."""
        bundle, process, watch = self._current, self._process, self._watch
        for _ in range(3):
            if bundle is not None and not mine:
                dirty = watch.dirty()
                bundle.restore(dirty, report, taken, grown)
                if self._territory.finalizes:  # What was dropped may have changed what was just put back.
                    bundle.restore([node for node in dirty if node.changed()], report, 0.0, 0)
                watch.rearm(dirty)
            rows = taken > 0 or not quick or not (rows_clean or self._rows.clean())
            rows_clean = False
            if rows:
                self._restore_rows(report, quick, everything=taken > 0)
            if not self._context_clean():
                self._restore_context()
            if watch.clean() and not (rows and not self._rows.clean()):
                break
            taken, quick, mine = 0.0, process.quick(), False
        if len(sys.modules) != self._modules:
            process.chance.discover()
            self._modules = len(sys.modules)
            self._rows = Watch(process.items())

    def _restore_rows(self, report: Report, quick: bool, everything: bool) -> None:
        """Put back those of the rows that changed; after a long call each of them is compared."""
        process = self._process
        dirty = self._rows.dirty()
        rows = process.suspects(dirty, quick)
        process.restore(process.rows if everything else rows, report)
        self._rows.rearm(dirty)
        self._rearm_rows(rows)

    def _rearm_rows(self, rows: Iterable[Any]) -> None:
        """Look anew at the rows that were written; all anew where a row has other dicts and lists now."""
        mine = {id(row): row for row in rows}
        items: dict[int, list[Watched]] = {key: [] for key in mine}
        for item in self._rows.items:
            if id(item.row) in mine:
                items[id(item.row)].append(item)
        for key, row in mine.items():
            watched = [id(space) for item in items[key] if (space := getattr(item, "space", None)) is not None]
            if watched and [id(space) for space in row.spaces()] != watched:
                self._rows = Watch(self._process.items())
                return
        for found in items.values():
            self._rows.rearm(found)

    def _restore_context(self) -> None:
        """Set back context variables, for a call that did not run in the context that `before` made."""
        now = contextvars.copy_context()
        for variable, value in now.items():
            if variable not in self._context:
                default = contextvars.Context().run(_default_of, variable)
                if default is not variable:
                    variable.set(default)
            elif self._context[variable] is not value:
                variable.set(self._context[variable])
        if not self._context_clean():
            self._take_context()  # A variable without a default cannot be unset from here.

    def _settle_again(self, taken: float, error: BaseException) -> Report:
        """Try once more after an interruption; a second failure retires the runner."""
        self._process.builtins.heal()
        report = Report()
        try:
            self._restore(report, 0.0, 0, quick=False, mine=False, rows_clean=False)
        except BaseException as again:
            error = again
            report.must_retire(f"the reset failed: {type(error).__name__}: {error}")
        if not isinstance(error, Exception):
            report.sentences.append(f"the reset was interrupted by {type(error).__name__} and done again")
        else:
            report.sentences.append(f"the reset stumbled over {type(error).__name__}: {error}; this runner is replaced")
            report.must_retire(f"the reset failed: {type(error).__name__}: {error}")
        self._calling = False
        return report

    # -- Cache entries ---------------------------------------------------------------------------------------------

    @contextmanager
    def owned(self, name: str = "entry") -> Iterator[Owner]:
        """Run a cache entry's loader in here: what it makes is the entry's, kept until `release`.

        A loader that raises owns nothing: what it left is the call's.
        """
        owner = Owner(name)
        environ, exits = self._process.environ, self._exits
        variables, threads, children = environ.raw(), self._threads.alive(), children_of(os.getpid())
        files, descriptors, pending = list_folders(self._folders), count_descriptors(), len(exits.pending)
        yield owner
        inner = [other for other in self._owners if other.threads or other.children or other.files]
        owner.threads = self._threads.alive() - threads - {ident for other in inner for ident in other.threads}
        owner.children = children_of(os.getpid()) - children - {pid for other in inner for pid in other.children}
        owner.files = sorted(list_folders(self._folders) - files - {path for other in inner for path in other.files})
        owner.descriptors = max(0, count_descriptors() - descriptors)
        owner.exits, exits.pending[pending:] = exits.pending[pending:], []
        owner.loops = [loop for loop in (self._process.loops.read()["event loop"],) if loop is not None]
        self._process.loops.kept += owner.loops
        self._threads.accept(owner.threads)
        self._children.accept(owner.children)
        self._libraries.accept()
        environ.own(owner, variables, environ.raw())
        self._owners.append(owner)

    def release(self, owner: Owner, grace: float = 2.0) -> list[str]:
        """End what an evicted entry owned; call after its `on_evict`. Return sentences about what went wrong.

        Args:
            owner: What `owned` gave.
            grace: Seconds that its processes get between SIGTERM and SIGKILL.
        """
        if owner not in self._owners:
            return []
        self._owners.remove(owner)
        failures = self._exits.run(owner.exits)
        self._children.forget(owner.children)
        end(owner.children & children_of(os.getpid()), grace)
        self._threads.forget(owner.threads)
        self._process.environ.disown(owner)
        self._rearm_rows([self._process.environ])
        for loop in owner.loops:
            self._process.loops.kept[:] = [kept for kept in self._process.loops.kept if kept is not loop]
            if not loop.is_running() and not loop.is_closed():
                loop.close()
        remove(owner.files)
        return failures

    def _owned_descriptors(self) -> int:
        return sum(owner.descriptors for owner in self._owners)

    def own_threads(self) -> None:
        """Let all threads live that there are now: the runner's own, started after this was made."""
        self._threads.accept()

    # -- Imports and forks -----------------------------------------------------------------------------------------

    def _import_begins(self, library: bool) -> Any:
        if self._ledger is None:
            self._ledger = Ledger(self._process)
        before = dict(self._ledger.sync())
        alive = (self._threads.alive(), self._children.present()) if self._calling else (set(), set())
        if library or not self._calling:
            return before, alive, None, False
        self._depth += 1
        started = not SEEDS.recording
        if started:
            SEEDS.begin()
        nodes = self._current.nodes if self._current is not None else []
        return before, alive, [(node, node.peek()) for node in nodes], started

    def _import_ends(self, library: bool, taken: Any) -> None:
        before, alive, nodes, started = taken
        if nodes is not None:
            self._depth -= 1
        ledger = self._ledger
        if ledger is None:
            return
        now = dict(ledger.sync())
        chance = self._process.chance
        if library:
            before[chance.name] = now[chance.name] = {}
        elif started:
            now[chance.name] = chance.read()
            SEEDS.end()
        if not library and not self._calling:
            return  # The whole import of a bundle is read at its end.
        changes = ledger.changes(before, now)
        if library:
            self._pristine = merge_into(self._pristine, changes)
        else:
            self._libraries.accept()
        bundles = self._bundles.values() if library else [self._current] if self._current is not None else []
        for bundle in bundles:
            if bundle.baseline is not None:
                bundle.baseline = merge_into(bundle.baseline, changes)
        if self._calling:
            self._threads.accept(self._threads.alive() - alive[0])
            self._children.accept(self._children.present() - alive[1])
            self._keep_import(nodes, started)

    def _keep_import(self, nodes: list[tuple[Any, Any]] | None, outermost: bool) -> None:
        """Keep what an import inside a call did: it will not run again."""
        bundle = self._current
        if bundle is not None and bundle.baseline is not None:
            self._process.use(bundle.baseline)
        for node, before in nodes or ():
            now = node.peek()
            if not node.same(before, now):
                node.absorb(before, now)
        if outermost and bundle is not None:
            self._walk_late(bundle)
            self._ledger = None

    def _walk_late(self, bundle: Bundle) -> None:
        """Take a snapshot, in the middle of a call, of modules that it imported."""
        pending, self._pending = self._pending, []
        fresh = [node for _, name, space in pending for node in bundle.adopt(name, space)]
        if bundle is self._current:
            self._watch.add(fresh)
        else:
            self._watches.pop(bundle.name, None)

    def reseed_after_fork(self) -> None:
        """Give this process random numbers of its own; what user code seeded on purpose stays as it is."""
        chance = self._process.chance
        chance.write(chance.base)
        self._rows.rearm([chance])
        for bundle in self._bundles.values():
            renewed = []
            for node in bundle.nodes:
                renew: Callable[[], None] | None = getattr(node, "renew", None)
                if renew is not None:
                    renew()
                    renewed.append(node)
            if renewed and bundle.name in self._watches:
                self._watches[bundle.name].rearm(renewed)

    def close(self) -> None:
        """Put back every function that was replaced; for tests, and a runner that hands its process on."""
        self._guard.uninstall()
        self._process.uninstall()


def _default_of(variable: contextvars.ContextVar[Any]) -> Any:
    try:
        return variable.get()
    except LookupError:
        return variable
