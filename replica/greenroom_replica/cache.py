"""The replica's actor cache: bounded, told of, and seen by each bundle as it may be."""

from __future__ import annotations

import traceback
import weakref
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from greenroom.caching.calls import Call
from greenroom.caching.entry import Entry, Family
from greenroom.caching.recipe import Recipe, remember
from greenroom.caching.sizes import measure
from greenroom.caching.store import Attempt
from greenroom.caching.telemetry import CallTelemetry, described, loaded
from greenroom_replica import opens
from greenroom_replica.cache_code import BundledStore, objects_in
from greenroom_replica.cache_loads import Ownership, ReplicaAttempt
from greenroom_replica.cache_memory import (
    NOISE,
    VERIFIED,
    GpuMemory,
    OwnGpuMemory,
    OwnMemory,
    ProcessMemory,
    holder_of,
    ran_out,
)
from greenroom_replica.core.entries import Budget, Need

if TYPE_CHECKING:
    from greenroom.caching.view import Ask


class ReplicaCache(BundledStore):
    """The store behind `@actor_cache` on a replica.

    Args:
        memory: Bytes that all entries may take together; None for no limit.
        gpu_memory: Bytes of GPU memory likewise.
        process: Tells the process's memory.
        gpu: Tells its GPU memory.
        ownership: Keeps what loads make; None where nothing is owned.
        watch: Tells of files that are opened; see `greenroom_replica.opens`.
        run_async: Runs the coroutine of an async loader that is loaded in advance.
        options: As `Store` takes them: `clock`, `patience`, `tell`.
    """

    attempt = ReplicaAttempt

    def __init__(
        self,
        *,
        memory: int | None = None,
        gpu_memory: int | None = None,
        process: ProcessMemory | None = None,
        gpu: GpuMemory | None = None,
        ownership: Ownership | None = None,
        watch: Callable[[Callable[[str, bool], None]], Callable[[], None]] = opens.watch,
        run_async: Callable[[Coroutine[Any, Any, Any]], Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.budget: Budget[Entry] = Budget(memory, gpu_memory)
        self.process: ProcessMemory = process or OwnMemory()
        self.gpu: GpuMemory = gpu or OwnGpuMemory()
        self.ownership, self.watch = ownership, watch
        self.running = self.started = 0
        """Loads under way, and loads that have ever begun."""
        self._run_async = run_async
        self._news: dict[Entry, list[int]] = {}
        """Hits, misses and waits of each entry since `telemetry` was last asked."""
        self._gone: list[list[str]] = []

    def close_at_exit(self) -> None:
        """A runner closes its cache itself."""

    # Loads ------------------------------------------------------------------------------------------------------------

    def weigh(self, entry: Entry, attempt: Attempt) -> None:
        """Measure a new entry, and note what it has to be known for later.

        What Python can see all of is weighed. For what it cannot see into (a model in a C library) the growth of the
        process is the better word, if nothing else was loaded meanwhile.
        """
        assert isinstance(attempt, ReplicaAttempt)
        attempt.furnish(entry)
        digester = self.digester
        call = self.call()
        others = {id(other.value) for other in call.touched} if call is not None else set()
        size = measure(entry.value, digester.is_user_class, others)
        entry.bytes, entry.gpu_bytes = size.bytes, max(size.gpu_bytes, attempt.gpu_grown)
        if not size.exact and attempt.alone and attempt.grown >= NOISE:
            entry.bytes = max(entry.bytes, attempt.grown)
        self.note_classes(size.classes)
        in_key = objects_in(entry.key)
        if in_key:
            self.note_classes(measure(in_key, digester.is_user_class).classes)
        entry.changed = (*entry.changed, *self.changed_files(entry))
        if attempt.files:
            entry.depends = (*entry.depends, *(name for name, state in attempt.files.items() if state is not None))
        ask, loader = attempt.ask, attempt.ask.view.loader
        entry.recipe = remember(loader.name.partition(":")[0], loader.qualname, ask.args, ask.kwargs)

    def expect(self, family: Family) -> None:
        """Make room before a load, for as much as the loader's last one took."""
        if self.budget.allows(*family.expected):
            self._make_room(self.budget.lacks(*family.expected))

    def admits(self, entry: Entry) -> bool:
        """Whether an entry is kept: one larger than the whole budget is not."""
        if self.budget.allows(entry.bytes, entry.gpu_bytes):
            return super().admits(entry)
        self.tell(
            entry.family.key,
            "size",
            f"{entry.name} takes {_amount(entry.bytes, entry.gpu_bytes)}, more than the whole cache of this replica "
            f"({_amount(self.budget.limit, self.budget.gpu_limit)}); it is not kept. Ask for more with "
            "cache_memory= or cache_gpu_memory= on the environment",
        )
        return False

    def _admit(self, ask: Ask, entry: Entry) -> None:
        super()._admit(ask, entry)
        if entry.gone:
            return
        self.budget.add(entry, entry.bytes, entry.gpu_bytes, entry.load_s, (entry.family.key, entry.digest))
        self._make_room(self.budget.lacks(), spare=entry)
        if self.call() in (None, self._everyone):
            self._news[entry] = [0, 1, 0]  # Loaded while a module was imported, or in a thread of no call.

    def _make_room(self, need: Need, spare: Entry | None = None) -> bool:
        if not need:
            return True
        chosen = self.budget.choose(need, lambda entry: entry is not spare and self.seize(entry))
        for entry in chosen:
            self._retire(entry, "budget")
        still = self.budget.lacks()
        self._over = bool(still)
        return not still

    _over = False
    """Whether the budget is exceeded, because all that could go was in use."""

    def makes_way(self, ask: Ask, fault: BaseException) -> bool:
        """After a load that ran out of memory: drop what is not in use, so that it may run once more."""
        kind = ran_out(fault)
        if kind is None:
            return False
        family = ask.view.group.family
        with self._lock:
            free = [entry for entry in reversed(self.budget.ranked()) if kind == "memory" or entry.gpu_bytes]
            wanted = family.expected[0 if kind == "memory" else 1]
            dropped = 0
            for entry in free:
                if wanted and dropped >= 2 * wanted:
                    break
                if self.seize(entry):
                    dropped += entry.bytes if kind == "memory" else entry.gpu_bytes
                    self._retire(entry, "out of memory")
            any_went = bool(self._going)
        if not any_went:
            return False
        traceback.clear_frames(fault.__traceback__)  # What the load had so far lives in there.
        self._flush()
        self.process.give_back()
        self.gpu.give_back()
        self.tell(family.key, "memory", f"{family.short} ran out of {kind}; entries made way, and it loads once more")
        return True

    # Going ------------------------------------------------------------------------------------------------------------

    def _retire(self, entry: Entry, why: str) -> None:
        self.budget.remove(entry, (entry.family.key, entry.digest))
        super()._retire(entry, why)

    def dispose(self, entry: Entry, why: str) -> None:
        """Let an entry go, with what its load has made; and see that its memory comes back."""
        name, size, gpu_size = entry.name, entry.bytes, entry.gpu_bytes
        verified = why != "shutdown" and max(size, gpu_size) >= VERIFIED
        before, gpu_before = (self.process.used(), self.gpu.used()) if verified else (0, None)
        watched = _reference(entry.value) if verified else None
        if why != "uncached":
            self._gone.append([entry.family.key, entry.digest, why])
            self._news.pop(entry, None)
        super().dispose(entry, why)
        self._release(entry)
        if verified:
            self._verify(entry, name, watched, (size, gpu_size), (before, gpu_before))

    def _release(self, entry: Entry) -> None:
        owner, entry.owner = entry.owner, None
        if owner is None or self.ownership is None:
            return
        try:
            for sentence in self.ownership.release(owner):
                self.tell(entry.family.key, f"release {sentence}", sentence)
        except Exception as fault:
            self.tell(entry.family.key, "release", f"what {entry.name} had made could not be removed: {fault}")

    def _verify(
        self, entry: Entry, name: str, watched: Any, sizes: tuple[int, int], before: tuple[int, int | None]
    ) -> None:
        """Say so where an entry's memory did not come back."""
        self.process.give_back()
        self.gpu.give_back()
        left = watched() if watched is not None else None
        if left is not None:
            holder = holder_of(left)
            who = f"; {holder} still refers to it" if holder else "; something still refers to it"
        else:
            who = "; it was freed, and the process keeps the memory for later"
        came = before[0] - self.process.used()
        gpu = self.gpu.used()
        gpu_came = before[1] - gpu if gpu is not None and before[1] is not None else sizes[1]
        if sizes[0] >= VERIFIED and before[0] and came < sizes[0] // 2:
            self.tell(entry.family.key, "unload", _not_back(name, sizes[0], came, "") + who)
        if sizes[1] >= VERIFIED and gpu_came < sizes[1] // 2:
            self.tell(entry.family.key, "unload gpu", _not_back(name, sizes[1], gpu_came, " of GPU memory") + who)

    # Calls and telemetry ----------------------------------------------------------------------------------------------

    def end_call(self, call: Call | None = None) -> CallTelemetry | None:
        """The call has ended: what it used is warmer, and is told of with the next `telemetry`."""
        telemetry = super().end_call(call)
        if telemetry is None:
            return None
        touched = telemetry.call.touched
        self.budget.touch(touched)
        for entry, outcome in touched.items():
            if outcome == "held" or (entry.gone and outcome != "miss"):
                continue
            news = self._news.get(entry)
            if news is None:
                news = self._news[entry] = [0, 0, 0]
            news[_COLUMNS[outcome]] += 1
        if self._over:
            with self._lock:
                self._make_room(self.budget.lacks())
            self._flush()
        return telemetry

    def telemetry(self) -> list[Mapping[str, Any]]:
        """What happened since this was last asked, a row for each entry, and forgets it.

        `loader, key, preview, hits, misses, waits, bytes, gpu_bytes`; where it was loaded also `load_ms, loaded_by,
        depends, provenance, recipe`, and `changed` where an edit was the reason. Entries that went are in the last
        row's `evicted`; without a row, in `gone()`.
        """
        news, self._news = self._news, {}
        rows: list[Mapping[str, Any]] = []
        for entry, (hits, misses, waits) in news.items():
            row: dict[str, Any] = {"loader": entry.family.key, "key": entry.digest, "preview": entry.preview}
            row.update(hits=hits, misses=misses, waits=waits, bytes=entry.bytes, gpu_bytes=entry.gpu_bytes)
            if misses:
                row.update(loaded(entry))
            rows.append(row)
        gone = self._gone_since(news) if rows else []
        if gone:
            rows[-1] = {**rows[-1], "evicted": gone}
        return rows

    def _gone_since(self, news: Mapping[Entry, list[int]]) -> list[list[str]]:
        """What went, what was loaded and not kept too; but not what is there again."""
        gone = self.gone()
        gone += [[entry.family.key, entry.digest, "not kept"] for entry, told in news.items() if told[1] and entry.gone]
        there = {(entry.family.key, entry.digest) for entry in news if not entry.gone}
        named: dict[tuple[str, str], list[str]] = {}
        for one in gone:
            named.setdefault((one[0], one[1]), one)
        return [one for name, one in named.items() if name not in there]

    def gone(self) -> list[list[str]]:
        """`[loader, key, why]` of each entry that went and was not yet told of."""
        gone, self._gone = self._gone, []
        return gone

    def entries(self) -> list[Mapping[str, Any]]:
        """What is held, the most worth first, as plain data: see `greenroom.caching.telemetry.described`."""
        now = self.clock()
        with self._lock:
            return [described(entry, now) for entry in self.budget.ranked()]

    def recipes(self) -> list[dict[str, Any]]:
        """How to load the entries again in another process, the most worth first; those that can be."""
        with self._lock:
            return [entry.recipe for entry in self.budget.ranked() if entry.recipe is not None]

    # On demand --------------------------------------------------------------------------------------------------------

    def prewarm(
        self, recipes: Iterable[Mapping[str, Any]], find: Callable[[str], Any] | None = None
    ) -> list[dict[str, Any]]:
        """Load entries by recipe, one after the other; one that fails is told, and left out.

        Args:
            recipes: As `Recipe.to_wire` gives them.
            find: Gives a module by its name; by default it is imported.

        Returns:
            A row, as in `telemetry`, for each entry that was loaded.
        """
        call = self.begin_call("prewarm")
        try:
            for wire in recipes:
                self._prewarm(wire, find)
        finally:
            telemetry = self.end_call(call)
        loads = [entry for entry, outcome in call.touched.items() if outcome == "miss"] if telemetry is not None else []
        for entry in loads:
            self._news.pop(entry, None)
        rows = []
        for entry in loads:
            row = {"loader": entry.family.key, "key": entry.digest, "preview": entry.preview, "bytes": entry.bytes}
            rows.append({**row, "gpu_bytes": entry.gpu_bytes, "hits": 0, "misses": 1, "waits": 0, **loaded(entry)})
        return rows

    def _prewarm(self, wire: Mapping[str, Any], find: Callable[[str], Any] | None) -> None:
        recipe = None
        try:
            recipe = Recipe.from_wire(wire)
            found = recipe.load(find(recipe.module) if find is not None else None)
            if isinstance(found, Coroutine):
                self._await(found)
        except Exception as fault:
            name = repr(recipe) if recipe is not None else str(wire.get("qualname"))
            self.tell(f"{wire.get('module')}:{wire.get('qualname')}", f"prewarm {name}", f"{name} failed: {fault!r}")

    def _await(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        if self._run_async is not None:
            self._run_async(coroutine)
            return
        import asyncio

        asyncio.run(coroutine)

    def evict(self, loader: str = "", key: str = "") -> list[list[str]]:
        """Drop entries: one, all of a loader's (no key), or all (no loader). Those in use go when their calls end."""
        with self._lock:
            chosen = [
                entry
                for family in self.families.values()
                for entry in list(family.entries)
                if loader in ("", family.key) and key in ("", entry.digest)
            ]
            for entry in chosen:
                self._retire(entry, "evicted")
        self._flush()
        names = {(entry.family.key, entry.digest) for entry in chosen}
        self._gone = [one for one in self._gone if (one[0], one[1]) not in names]
        return [[entry.family.key, entry.digest, "evicted"] for entry in chosen]


_COLUMNS = {"hit": 0, "miss": 1, "wait": 2}


def _reference(value: Any) -> Any:
    try:
        return weakref.ref(value)
    except TypeError:
        return None


def _amount(size: int | None, gpu_size: int | None) -> str:
    parts = [f"{size:,} bytes"] if size else []
    if gpu_size:
        parts.append(f"{gpu_size:,} bytes of GPU memory")
    return " and ".join(parts) or "0 bytes"


def _not_back(name: str, size: int, came: int, what: str) -> str:
    return f"{name} was dropped to free {size:,} bytes{what}, but only {max(0, came):,} came back"
