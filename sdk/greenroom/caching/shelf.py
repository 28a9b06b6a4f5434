"""What a store keeps: entries and their bounds, the calls that use them, and how entries go."""

from __future__ import annotations

import os
import time
import warnings
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from heapq import heappop
from threading import RLock
from typing import TYPE_CHECKING, Any

from greenroom.caching import Epoch
from greenroom.caching.calls import CALL, Call, next_tick
from greenroom.caching.entry import CacheInfo, CacheKey, Entry, Family, Group
from greenroom.caching.errors import ActorCacheWarning, EntryChanged
from greenroom.caching.flight import LOADING, PATIENCE, Flight
from greenroom.caching.telemetry import CallTelemetry

if TYPE_CHECKING:
    from greenroom.caching.loader import Loader
    from greenroom.digest import Digester


class _Everyone(dict[Entry, str]):
    """What "the call" touched where several run and a thread belongs to none: in use by all, told by none."""

    def __init__(self, calls: Mapping[Call, None]) -> None:
        super().__init__()
        self._calls = calls

    def __contains__(self, entry: object) -> bool:
        return False

    def __setitem__(self, entry: Entry, outcome: str) -> None:
        for call in list(self._calls):
            call.touched.setdefault(entry, "held")


class Shelf:
    """Entries, who uses them, and how they go; how they come is the store's.

    Args:
        clock: Monotonic seconds.
        patience: Seconds that a caller waits for another's load before it is told so.
        tell: Gets sentences for the user; by default they are warnings.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        patience: float = PATIENCE,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        self.clock = clock
        self.epoch = Epoch()
        self.families: dict[str, Family] = {}
        self.lone: Call | None = None
        """The call that threads of no call belong to; None while none runs."""
        self._groups: dict[tuple[str, str], Group] = {}
        self._lock = RLock()
        self._patience = patience
        self._tell = tell
        self._told: set[tuple[str, str]] = set()
        self._calls: dict[Call, None] = {}
        self._everyone = Call()
        self._everyone.touched = _Everyone(self._calls)
        self._going: deque[tuple[Entry, str]] = deque()
        """Entries that were taken out and not yet disposed of: that runs the user's code, and so not under the lock."""
        self._doomed: list[tuple[Entry, str]] = []
        """Entries that are no longer given out, and go when the last call that uses them ends."""
        self._crowded: set[Family] = set()
        """Families above their bounds, because all that could go was in use."""
        self._deadlines: list[tuple[float, int, Entry]] = []
        self._orphans: deque[Entry] = deque()
        """Entries that nobody can ask for any more, since an object that their key knew by identity has gone."""
        self._digester: Digester | None = None
        self._closes_at_exit = False
        os.register_at_fork(after_in_child=_forked(weakref.ref(self)))

    @property
    def digester(self) -> Digester:
        """Who digests the code that runs."""
        if self._digester is None:
            from greenroom.digest import Digester

            self._digester = Digester()
        return self._digester

    def family(self, loader: Loader) -> Family:
        """All entries of a loader."""
        family = self.families.get(loader.name)
        if family is None:
            family = self.families.setdefault(loader.name, Family(loader.name, loader))
        return family

    # Use and eviction -------------------------------------------------------------------------------------------------

    def call(self) -> Call | None:
        """The call that runs here: this context's, or the only one there is."""
        return CALL.get() or self.lone

    def _use(self, entry: Entry, call: Call | None, outcome: str) -> None:
        entry.tick = next_tick()
        entry.last = self.clock()
        entry.hits += outcome == "hit"
        if call is not None and entry not in call.touched:
            call.touched[entry] = outcome

    def _in_use(self, entry: Entry) -> bool:
        return any(entry in call.touched for call in list(self._calls))

    def seize(self, entry: Entry) -> bool:
        """Take an entry for eviction, unless it is in use.

        A hit takes no lock: it notes its use and then looks at `gone`. So `gone` is set before uses are looked at, and
        one of the two sees the other.
        """
        entry.gone = True
        if not self._in_use(entry):
            return True
        entry.gone = False
        return False

    def _retire(self, entry: Entry, why: str) -> None:
        """Take an entry out. It is disposed of at once, or when the last call that uses it ends."""
        entry.gone = True
        entry.group.remove(entry)
        entry.family.entries.discard(entry)
        entry.family.hits += entry.hits
        (self._doomed if self._in_use(entry) else self._going).append((entry, why))

    def _trim(self, family: Family) -> None:
        """Keep a family to its bounds: what was not used for longest goes, and a load that begins counts already."""
        loader = family.loader
        while self._is_crowded(family):
            entry = family.oldest(self.seize)
            if entry is None:
                self._crowded.add(family)
                return
            self._retire(entry, "max_memory" if loader.max_entries is None else "max_entries")
        self._crowded.discard(family)

    def _is_crowded(self, family: Family) -> bool:
        loader = family.loader
        if (
            loader.max_entries is not None
            and family.entries
            and len(family.entries) + family.loading > loader.max_entries
        ):
            return True
        return loader.max_memory is not None and family.bytes > loader.max_memory

    def _expire(self) -> None:
        while self._orphans:
            orphan = self._orphans.popleft()
            if not orphan.gone:
                self._retire(orphan, "unreachable")
        while self._deadlines and (self._deadlines[0][2].gone or self._deadlines[0][0] <= self.clock()):
            entry = heappop(self._deadlines)[2]
            if not entry.gone:
                self._retire(entry, "ttl")

    def _flush(self) -> None:
        """Dispose of what was taken out. Never under the lock: it runs the user's `on_evict`."""
        while self._going:
            try:
                entry, why = self._going.popleft()
            except IndexError:  # Another thread was quicker.
                return
            self.dispose(entry, why)

    def dispose(self, entry: Entry, why: str) -> None:
        """An entry has gone: tell its loader's `on_evict`, and let the value go."""
        if why != "uncached":
            entry.family.evictions += 1
            call = self.call()
            if call is not None and call is not self._everyone:
                call.evicted.append((entry.family.key, entry.digest, why))
            self._hand_over(entry)
        entry.value = entry.key = None

    def _hand_over(self, entry: Entry) -> None:
        if entry.on_evict is None:
            return
        try:
            entry.on_evict(entry.value)
        except Exception as fault:
            self.tell(entry.family.key, "on_evict", f"on_evict of {entry.name} raised {type(fault).__name__}: {fault}")

    # Calls ------------------------------------------------------------------------------------------------------------

    def begin_call(self, address: str = "", inputs: Mapping[str, Any] | None = None) -> Call:
        """A call of a task begins in this context; the entries that it gets are in use until `end_call`."""
        call = Call(address, inputs)
        self._calls[call] = None
        self.lone = call if len(self._calls) == 1 else self._everyone
        CALL.set(call)
        return call

    def end_call(self, call: Call | None = None) -> CallTelemetry | None:
        """The call has ended. Gives what it did with the cache; None if it did nothing."""
        call = call or CALL.get()
        if call is None or call not in self._calls:
            return None
        errors = (
            [self._changed(entry, call) for entry in call.touched if entry.mark is not None] if call.touched else ()
        )
        del self._calls[call]
        if CALL.get() is call:
            CALL.set(None)
        self.lone = None if not self._calls else next(iter(self._calls)) if len(self._calls) == 1 else self._everyone
        if (
            self._doomed
            or self._crowded
            or self._orphans
            or (self._deadlines and self._deadlines[0][0] <= self.clock())
        ):
            self._tidy(call)
        if not (call.touched or call.evicted or call.failed):
            return None
        return CallTelemetry(call, [error for error in errors if error is not None])

    def _tidy(self, call: Call) -> None:
        with self._lock:
            self._expire()
            self._going += [one for one in self._doomed if not self._in_use(one[0])]
            self._doomed = [one for one in self._doomed if self._in_use(one[0])]
            for family in list(self._crowded):
                self._trim(family)
        token = CALL.set(call)  # What goes now is told with this call.
        try:
            self._flush()
        finally:
            CALL.reset(token)

    def _has_changed(self, entry: Entry) -> bool:
        from greenroom.caching.frozen import fingerprint

        return entry.mark is not None and fingerprint(entry.value) != entry.mark

    def _changed(self, entry: Entry, call: Call) -> EntryChanged | None:
        if entry.gone or not self._has_changed(entry):
            return None
        with self._lock:
            if not entry.gone:
                self._retire(entry, "changed")
                self._crowded.add(entry.family)  # So that it is disposed of when the call has ended.
        return EntryChanged(entry.name, call.address)

    # For people -------------------------------------------------------------------------------------------------------

    def info(self, loader: Loader) -> CacheInfo:
        """Figures of one loader."""
        with self._lock:
            family = self.family(loader)
            hits = family.hits + sum(entry.hits for entry in family.entries)
            return CacheInfo(
                hits,
                family.misses,
                loader.max_entries,
                len(family.entries),
                family.waits,
                family.evictions,
                family.bytes,
            )

    def keys(self, loader: Loader) -> list[CacheKey]:
        """The entries of one loader, most recently used last."""
        with self._lock:
            entries = sorted(self.family(loader).entries, key=lambda entry: entry.tick)
            return [CacheKey(entry.preview, entry.digest) for entry in entries]

    def clear(self, loader: Loader | None = None) -> None:
        """Drop the entries and figures of one loader, or of all. What is in use goes when its call ends."""
        with self._lock:
            families = list(self.families.values()) if loader is None else [self.family(loader)]
            for family in families:
                for entry in list(family.entries):
                    self._retire(entry, "cleared")
            for group in self._groups.values():
                if group.family in families:
                    for flight in group.flights.values():
                        flight.void = True
        self._flush()
        for family in families:
            family.hits = family.misses = family.waits = family.evictions = 0

    def close(self) -> None:
        """The process ends: every entry goes, also those in use."""
        with self._lock:
            for family in list(self.families.values()):
                for entry in list(family.entries):
                    self._retire(entry, "shutdown")
            self._going += self._doomed
            self._doomed = []
        self._flush()

    def close_at_exit(self) -> None:
        """Have `close` called when the interpreter ends."""
        if not self._closes_at_exit:
            self._closes_at_exit = True
            import atexit

            atexit.register(self.close)

    def tell(self, loader: str, topic: str, sentence: str) -> None:
        """Tell the user something about a loader, once for each topic."""
        if (loader, topic) in self._told:
            return
        self._told.add((loader, topic))
        if self._tell is not None:
            self._tell(sentence)
        else:
            warnings.warn(sentence, ActorCacheWarning, stacklevel=2)

    def _tell_wait(self, flight: Flight) -> None:
        seconds = self.clock() - flight.started
        who = f" in call {flight.address}" if flight.address else ""
        sentence = f"{flight.name} has been loading for {seconds:.0f} s{who}; this call waits for it"
        if self._tell is not None:
            self._tell(sentence)
        else:
            warnings.warn(sentence, ActorCacheWarning, stacklevel=2)

    def after_fork(self) -> None:
        """In a forked child: loads of threads that are not here will never end."""
        self._lock = RLock()
        mine = LOADING.get()
        for group in self._groups.values():
            for key, flight in list(group.flights.items()):
                if flight not in mine:
                    del group.flights[key]
                    group.family.loading -= 1
        for family in self.families.values():
            family.plain_flights = {key: one for key, one in family.plain_flights.items() if one in mine}


def _forked(store: weakref.ref[Shelf]) -> Callable[[], None]:
    def after() -> None:
        found = store()
        if found is not None:
            found.after_fork()

    return after
