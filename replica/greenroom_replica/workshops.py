"""The workshop of a real runner: bundles, typed values, the actor cache, and the reset, put together."""

from __future__ import annotations

import contextvars
import hashlib
import inspect
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from greenroom import compat
from greenroom.blobs import LocalBlobs
from greenroom.caching import use_store as use_cache
from greenroom.context import Context
from greenroom.errors import GreenroomError
from greenroom.files import use_store
from greenroom.types import Interface
from greenroom.workspaces import FOLDER, set_workspace
from greenroom_core.failure import Cause
from greenroom_protocol.bundle import BadManifest, Manifest
from greenroom_protocol.calls import Definition
from greenroom_replica.bundles import Active, BundleFailed, Bundles, ImportFailed
from greenroom_replica.cache import ReplicaCache
from greenroom_replica.cache_files import BundleView
from greenroom_replica.config import ReplicaConfig
from greenroom_replica.no_reset import NoReset
from greenroom_replica.reports import Reporter
from greenroom_replica.reset import Owner, Report, Reset
from greenroom_replica.runner_failures import Paths
from greenroom_replica.runner_setup import Place, RunnerSettings
from greenroom_replica.workshop import Callee, Elsewhere, NotReady, Workshop

if TYPE_CHECKING:
    from greenroom.blobs import BlobStore
    from greenroom.caching.calls import Call
    from greenroom.remote_blobs import HttpBlobs

NOT_SHORT: Final = 100_000
"""Nanoseconds of a call from which on it may have made files: opening one takes a good part of that."""

LONGEST_TEMPLATE: Final = 500
"""Modules that a template is asked to import."""

_BY_VALUE: Final = "<greenroom task>"
"""Name of a function that came by value among its own globals; no program can spell it."""


class Code:
    """A bundle as definitions use it: its modules, and the names under which reset and cache know it."""

    def __init__(self, name: str, active: Active | None, cwd: str) -> None:
        self.name = name
        self.active = active
        self.cwd = cwd
        self.view: BundleView | None = None


class _Ownership:
    """Has the reset own what loads make, and knows which files those are."""

    def __init__(self, reset: Reset | NoReset) -> None:
        self._reset = reset
        self._owners: list[Owner] = []

    @contextmanager
    def owned(self, name: str = "entry") -> Iterator[Owner]:
        """Around a load."""
        with self._reset.owned(name) as owner:
            yield owner
        self._owners.append(owner)

    def release(self, owner: Owner) -> list[str]:
        """The entry has gone."""
        if owner in self._owners:
            self._owners.remove(owner)
        return self._reset.release(owner)

    def holds(self, folder: str) -> bool:
        """Whether an entry owns something in a folder."""
        return any(path.startswith(folder) for owner in self._owners for path in owner.files)


class RealWorkshop:
    """One runner's.

    Args:
        settings: The runner's.
        place: Where it stands.
    """

    def __init__(self, settings: RunnerSettings, place: Place) -> None:
        config = settings.config
        self._place = place
        self._store = make_store(config, place.tmp)
        use_store(self._store)
        self._files = os.path.join(place.tmp, FOLDER)
        set_workspace(place.tmp)
        tree = Path(place.work) / "tree"
        self._bundles = Bundles(tree, BundleBlobs(self._store), codes=_codes(config), on_import=self._imported)
        self._reset = Reset([place.tmp, place.work]) if settings.kind == "warm" else NoReset()
        self._ownership = _Ownership(self._reset)
        self._said: list[str] = []
        self._cache = ReplicaCache(
            memory=config.cache_memory,
            gpu_memory=config.cache_gpu_memory,
            ownership=self._ownership,
            run_async=place.run_async,
            tell=self._said.append,
        )
        use_cache(self._cache)
        self._codes: dict[str, Code] = {}
        self._current: Code | None = None
        self._warned: set[str] = set()
        self.call: Call | None = None
        """The call that runs, as the cache knows it."""

    # Getting ready --------------------------------------------------------------------------------------------------

    def prepare(self, definition: Definition) -> Callee:
        """Fetch and import what a definition names."""
        try:
            code, found = self._find(definition)
            fn = getattr(found, "fn", found)
            return self._callee(definition, fn, interface_of(found, fn), code)
        except ImportFailed as fault:
            if fault.fresh_runner:
                raise Elsewhere(f"{fault} beside modules of another bundle", alone=False) from fault
            raise NotReady(Cause.IMPORT) from (fault.__cause__ or fault)
        except (BundleFailed, GreenroomError) as fault:
            raise NotReady(Cause.IMPORT) from fault

    def _find(self, definition: Definition) -> tuple[Code, Any]:
        """The user's object: from its module, or by value."""
        options = definition.options
        origin, cwd = str(options.get("origin") or ""), str(options.get("cwd") or "")
        if definition.bundle is None:
            name = f"value:{hashlib.sha256(definition.pickled or b'').hexdigest()[:32]}"
        else:
            name = f"{definition.bundle}:{origin}:{cwd}"
        code = self._codes.get(name)
        if code is None or (code.active is not None and code.active not in self._bundles.held):
            return self._find_first(definition, Code(name, None, cwd), origin)
        self._enter(code)
        self._reset.before(name)  # What is imported now is imported by a call, for all that the reset knows.
        try:
            return code, self._open(definition, code)
        except BaseException:
            self._reset.after()
            raise

    def _find_first(self, definition: Definition, code: Code, origin: str) -> tuple[Code, Any]:
        """The same for code that is new here: what its import does to the process is what its calls start from."""
        manifest = self._manifest(definition.bundle) if definition.bundle is not None else None
        self._reset.forget(code.name)
        with self._reset.importing(code.name):
            self._current = code
            if definition.options.get("alias") and not compat.is_installed():
                compat.install()  # Part of what this code's calls start from, as its imports are.
            if manifest is None or definition.bundle is None:
                os.chdir(self._place.work)
            else:
                code.active = self._bundles.activate(definition.bundle, manifest, origin)
                here = code.active.stand(code.cwd)
                os.chdir(here)
                files = {file.path: file.digest for file in manifest.files}
                code.view = BundleView(code.name, (str(code.active.folder), origin), files=files)
                self._forget_others()
            self._cache.switch_bundle(code.view)
            self._codes[code.name] = code
            return code, self._open(definition, code)

    def _forget_others(self) -> None:
        """Bundles that had to make room are forgotten everywhere."""
        held = self._bundles.held
        for name, code in list(self._codes.items()):
            if code.active is not None and code.active not in held:
                del self._codes[name]
                self._reset.forget(name)
                self._cache.forget_bundle(name)

    def _manifest(self, bundle: str) -> Manifest:
        try:
            return Manifest.decode(self._store.get(bundle), bundle)
        except (GreenroomError, OSError, BadManifest) as fault:
            raise NotReady(Cause.INPUT) from fault

    def _open(self, definition: Definition, code: Code) -> Any:
        if definition.pickled is None:
            assert code.active is not None, "a definition names a bundle, or carries its function"
            return code.active.function(definition.module, definition.qualname)
        import pickle

        try:
            found = pickle.loads(definition.pickled)
        except Exception as fault:
            raise NotReady(Cause.IMPORT) from fault
        fn = inspect.unwrap(getattr(found, "fn", found))
        if inspect.isfunction(fn):
            fn.__globals__[_BY_VALUE] = fn  # So that what it closes over is found as what a global's would be.
            self._reset.adopt(code.name, (), (fn,))
        return found

    def _imported(self, module: ModuleType) -> None:
        if self._current is not None:
            self._reset.imported(self._current.name, module)

    def _callee(self, definition: Definition, fn: Callable[..., Any], interface: Interface, code: Code) -> Callee:
        store = self._store
        warnings: list[str] = []
        varying = _reader(interface, definition.params, store)
        decode = varying
        if definition.bound:
            values = b"".join(definition.bound.values())
            bound = _reader(interface, list(definition.bound), store)

            def decode(payload: bytes) -> Mapping[str, Any]:
                return {**bound(values), **varying(payload)}  # Anew for each call: a list could be changed by one.

        def encode(result: Any) -> bytes:
            body = interface.encode_outputs(result, store, warnings.append)
            self._leave_cache()
            return body

        folders = {}
        if code.active is not None:
            folders[str(code.active.folder)] = code.active.origin
        paths = Paths(folders, tuple(definition.secrets.values()))
        is_async = inspect.iscoroutinefunction(inspect.unwrap(fn)) or inspect.iscoroutinefunction(fn)
        callee = Callee(definition, fn, decode, encode, is_async, paths, code, warnings)
        options = definition.options
        callee.reporter = Reporter(store, bool(options.get("deck")), tuple(options.get("deck_fields") or ()))
        return callee

    def learned(self, callee: Callee) -> Sequence[str]:
        """Libraries that the callee's code has imported: their modules down to the second level."""
        code: Code = callee.bundle
        if code.active is None:
            return ()
        tops = code.active.libraries - set(sys.stdlib_module_names)
        names = [name for name in sys.modules if name.partition(".")[0] in tops and _is_public(name)]
        return sorted(names)[:LONGEST_TEMPLATE]

    # Around calls ---------------------------------------------------------------------------------------------------

    def switch(self, callee: Callee) -> None:
        """Make the callee's code current, for a call in a forked child."""
        if self._current is not callee.bundle:
            self._enter(callee.bundle)

    def begin(self, callee: Callee, context: Context) -> contextvars.Context:
        """Make the callee's code and environment current."""
        code: Code = callee.bundle
        if self._current is not code:
            self._enter(code)
        inside = self._reset.before(code.name, callee.environment)
        self.call = inside.run(self._cache.begin_call, _address(context))
        return inside

    def steady(self, callee: Callee) -> None:
        """Put back what the runner itself stands on."""
        if callee.definition.isolation != "none":
            self._reset.steady()

    def _leave_cache(self) -> None:
        """The call uses no entry any more.

        Raises:
            EntryChanged: It has changed one that is frozen.
        """
        call, self.call = self.call, None
        if call is not None:
            telemetry = self._cache.end_call(call)
            if telemetry is not None and telemetry.errors:
                raise telemetry.errors[0]

    def end(self, callee: Callee, extras: dict[str, Any], took: int) -> str | None:
        """Undo what the call left behind, and tell what is worth telling."""
        if self.call is not None:  # It failed before it had a result.
            call, self.call = self.call, None
            self._cache.end_call(call)
        report = self._reset.check_strays() if callee.definition.isolation == "none" else self._reset.after()
        if took > NOT_SHORT:
            self._remove_files()
        if report is None and not self._said and callee.bundle.name in self._warned:
            return None
        return self._tell(callee, report, extras)

    def _tell(self, callee: Callee, report: Report | None, extras: dict[str, Any]) -> str | None:
        sentences, self._said[:] = list(self._said), ()
        name = callee.bundle.name
        if name not in self._warned:
            self._warned.add(name)
            if callee.definition.isolation == "reset":
                sentences += self._reset.not_checked(name)
        if report is not None:
            sentences += [str(one) for one in report.costly] + report.sentences
            if report.leaks:
                extras["leaks"] = dict(report.leaks)
            if report.restored:
                extras["restored"] = list(report.restored)
        if sentences:
            extras["warnings"] = [*extras.get("warnings", ()), *sentences]
        return report.reason if report is not None and report.retire else None

    def _remove_files(self) -> None:
        """Remove what calls have downloaded, save what entries own."""
        try:
            names = os.listdir(self._files)
        except OSError:
            return
        for name in names:
            folder = os.path.join(self._files, name)
            if not self._ownership.holds(folder):
                shutil.rmtree(folder, ignore_errors=True)

    def _enter(self, code: Code) -> None:
        """Switch to code that lives here."""
        self._current = code
        active = code.active
        if active is not None and self._bundles.current is not active:
            self._bundles.activate(active.hash, active.manifest, active.origin)
        self._cache.switch_bundle(code.view)

    # Calls that run at once -----------------------------------------------------------------------------------------

    def open(self, callee: Callee) -> contextvars.Context:
        """Calls that run at once are about to start."""
        code: Code = callee.bundle
        if self._current is not code:
            self._enter(code)
        return self._reset.before(code.name, callee.environment)

    def join(self, callee: Callee, context: Context) -> None:
        """One of them starts."""
        self._cache.begin_call(_address(context))

    def part(self, callee: Callee, extras: dict[str, Any]) -> None:
        """One of them has ended.

        Raises:
            EntryChanged: It has changed an entry that is frozen.
        """
        telemetry = self._cache.end_call()
        if telemetry is not None and telemetry.errors:
            raise telemetry.errors[0]

    def quit(self, callee: Callee) -> None:
        """One of them has failed."""
        self._cache.end_call()

    def settle(self, callee: Callee, extras: dict[str, Any]) -> str | None:
        """None of them runs any more."""
        return self.end(callee, extras, NOT_SHORT + 1)

    # The actor cache ------------------------------------------------------------------------------------------------

    def telemetry(self) -> list[Mapping[str, Any]]:
        """What the actor cache did."""
        return self._cache.telemetry()

    def gone(self) -> list[list[str]]:
        """Entries that went, and were not told of otherwise."""
        return self._cache.gone()

    def entries(self) -> list[Mapping[str, Any]]:
        """What it holds."""
        return self._cache.entries()

    def prewarm(self, callee: Callee, recipes: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """Load entries by recipe."""
        code: Code = callee.bundle
        inside = self._reset.before(code.name, callee.environment)
        try:
            find = code.active.module if code.active is not None else None
            return list(inside.run(self._cache.prewarm, recipes, find))
        finally:
            self._reset.after()
            self._remove_files()

    def evict(self, loader: str, key: str) -> list[list[str]]:
        """Drop entries."""
        return self._cache.evict(loader, key)

    # Life -----------------------------------------------------------------------------------------------------------

    def forked(self) -> None:
        """This process was forked from the runner."""
        self._reset.reseed_after_fork()

    def close(self) -> None:
        """The runner ends: its entries hear of it."""
        self._cache.close()


class BundleBlobs:
    """A blob store, as bundles ask it."""

    def __init__(self, store: BlobStore) -> None:
        self._store = store

    def open_blob(self, digest: str) -> bytes:
        """The bytes of a blob."""
        return self._store.get(digest)

    def blob_path(self, digest: str) -> Path:
        """A file that holds them."""
        return self._store.path(digest)


def _address(context: Context) -> str:
    where = context._surroundings
    return f"{where.execution.name}/{where.node}/{context.item}"


def make_store(config: ReplicaConfig, cache: str) -> BlobStore:
    """Where the replica's values and files are: a folder of this host, or behind the hub's API."""

    def remote() -> HttpBlobs:
        from greenroom import remote_blobs

        return remote_blobs.HttpBlobs(config.hub, config.token, os.path.join(cache, "blobs"))

    if config.blobs is None:
        return remote()
    if not config.blobs_writable:
        from greenroom_replica.mounted import MountedBlobs

        return MountedBlobs(config.blobs, remote())
    return LocalBlobs(config.blobs, manifests=lambda *place: remote().manifest(*place))


def _codes(config: ReplicaConfig) -> Path | None:
    """Where compiled modules are kept for all runners of this user on this host."""
    if config.blobs is None or not config.blobs_writable:
        return None
    return Path(config.blobs).parent / "compiled"


def interface_of(found: Any, fn: Callable[..., Any]) -> Interface:
    """The inputs and outputs of what a definition names."""
    known = getattr(found, "interface", None)
    return known if isinstance(known, Interface) else Interface.of(fn)


def _reader(interface: Interface, names: Sequence[str], store: BlobStore) -> Callable[[bytes], Mapping[str, Any]]:
    """Opens values that stand one after the other."""
    if not names:
        return _no_inputs
    read: Any = interface.input_decoder(names)
    return partial(read, store=store)


def _no_inputs(payload: bytes) -> Mapping[str, Any]:
    return {}


def _is_public(name: str) -> bool:
    return name.count(".") <= 1 and not any(part.startswith("_") for part in name.split("."))


def make(settings: RunnerSettings, place: Place) -> Workshop:
    """The workshop of a runner."""
    return RealWorkshop(settings, place)
