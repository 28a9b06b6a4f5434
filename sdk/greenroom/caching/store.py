"""The store behind `@actor_cache`: finds entries by key, and loads what is not there, once for all who ask.

This one is a plain memo, for programs that run in one process. A replica puts its own in its place, which keeps to a
budget of memory, owns what loads made, tells what happened, and knows several bundles.
"""

from __future__ import annotations

import os
from functools import partial
from hashlib import blake2b
from heapq import heappush
from typing import TYPE_CHECKING, Any, Final

from greenroom.caching.binding import given
from greenroom.caching.calls import Call, provenance
from greenroom.caching.entry import Entry, Family, Group
from greenroom.caching.errors import EntryChanged, RecursiveLoad
from greenroom.caching.flight import LOADING, Flight
from greenroom.caching.shelf import Shelf
from greenroom.caching.telemetry import Failed
from greenroom.keys import Key, Unkeyable

if TYPE_CHECKING:
    from greenroom.caching.loader import Loader
    from greenroom.caching.view import Ask

MAX_CHANGES: Final = 8
"""Changes that are named as the reason of a load."""

_SALT: Final = os.urandom(8)
"""Part of the digests of keys that only this process can have."""


class Attempt:
    """One run of a loader: times it, and says whether it should run once more."""

    def __init__(self, store: Store, ask: Ask, flight: Flight, *, last: bool) -> None:
        self.store, self.ask, self.flight = store, ask, flight
        self.last = last
        self.value: Any = None
        self.seconds = 0.0
        self.again = False
        """Set when it ran out of memory and entries have made way."""
        self._started = 0.0

    def __enter__(self) -> Attempt:
        self._started = self.store.clock()
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: object) -> bool:
        self.seconds = self.store.clock() - self._started
        if fault is None:
            return False
        if not self.last and self.store.makes_way(self.ask, fault):
            self.again = True
            return True
        return False

    def furnish(self, entry: Entry) -> None:
        """Note in a new entry what the run has found out."""
        entry.load_s = max(0.0, self.seconds - self.flight.nested_s)
        parent = self.flight.parent
        if parent is not None:
            parent.nested_s += self.seconds


class _Seat:
    """A caller's place at a load: its own, or a wait for another's."""

    __slots__ = ("chain", "flight", "is_twin", "leads")

    def __init__(self) -> None:
        self.flight: Flight | None = None
        self.leads = False
        self.is_twin = False
        """Whether the load is of the same arguments, while what else makes the key differs."""
        self.chain: tuple[Flight, ...] | None = None


def _remove(flights: dict[Any, Flight], flight: Flight) -> None:
    for key, other in flights.items():
        if other is flight:  # By identity: comparing keys could run the user's code.
            del flights[key]
            return


class Store(Shelf):
    """A memo with the semantics of the actor cache, without a bound of its own."""

    bundle: Any = None
    """The bundle whose code runs; None where there are none."""
    attempt: type[Attempt] = Attempt

    # Asked by loaders -------------------------------------------------------------------------------------------------

    def group(self, loader: Loader, digest: str) -> Group:
        """The entries of one version of a loader's code, as the bundle that runs may see them."""
        with self._lock:
            family = self.family(loader)
            family.loader = loader
            group = self._groups.get((loader.name, digest))
            if group is None:
                group = self._groups[loader.name, digest] = Group(family, digest)
                group.bundle = self.bundle
            elif group.bundle is not self.bundle:
                self.show(group)
            group.seen_by.add(getattr(self.bundle, "id", None))
        self._flush()
        return group

    def show(self, group: Group) -> None:
        """Make a group's entries those that the present bundle may see."""
        group.bundle = self.bundle

    def adopt(self, entry: Entry) -> bool:
        """Make an entry that another bundle has used fit for the present one; False, and hidden, where it cannot be."""
        entry.bundle = self.bundle
        return True

    def get(self, ask: Ask) -> Any:
        """The value that is asked for, from memory or by running the loader."""
        waited = False
        while True:
            seat = _Seat()
            try:
                found = self._enter(ask, seat, waited)
                if found is not None:
                    return found[0]
                assert seat.flight is not None
                if seat.leads:
                    return self._lead(ask, seat.flight)
                seat.flight.wait(self._patience, self._tell_wait)
                if seat.flight.result and not seat.is_twin:
                    return seat.flight.result[0]
            finally:
                self._leave(seat)
            waited = True
            if seat.is_twin:
                ask = ask.renewed()  # The load has shown what is its state, and no part of what it is.

    async def get_async(self, ask: Ask) -> Any:
        """The same for a loader that is a coroutine function."""
        waited = False
        while True:
            seat = _Seat()
            try:
                found = self._enter(ask, seat, waited)
                if found is not None:
                    return found[0]
                assert seat.flight is not None
                if seat.leads:
                    return await self._lead_async(ask, seat.flight)
                await seat.flight.wait_async(self._patience, self._tell_wait)
                if seat.flight.result and not seat.is_twin:
                    return seat.flight.result[0]
            finally:
                self._leave(seat)
            waited = True
            if seat.is_twin:
                ask = ask.renewed()  # The load has shown what is its state, and no part of what it is.

    def _enter(self, ask: Ask, seat: _Seat, waited: bool) -> tuple[Any] | None:
        """The entry's value; else the caller has a seat, at a load of its own or beside another's."""
        call = self.call()
        changed = None
        with self._lock:
            group, key = ask.view.group, ask.key
            entry = group.entries.get(key)
            if entry is not None and entry.bundle is not self.bundle and not self.adopt(entry):
                entry = None
            if entry is not None and entry.deadline is not None and self.clock() >= entry.deadline:
                self._retire(entry, "ttl")
                entry = None
            if entry is not None and entry.mark is not None and call is None and self._has_changed(entry):
                changed = EntryChanged(entry.name, "")
                self._retire(entry, "changed")
            elif entry is not None:
                self._use(entry, call, "wait" if waited else "hit")
                return (entry.value,)  # Taken under the lock: an entry that goes gives up its value.
            else:
                self._take_seat(ask, seat, call, waited)
        self._flush()
        if changed is not None:
            raise changed
        return None

    def _take_seat(self, ask: Ask, seat: _Seat, call: Call | None, waited: bool) -> None:
        group, family = ask.view.group, ask.view.group.family
        flight = group.flights.get(ask.key)
        if flight is not None:
            seat.flight = flight
            seat.chain = flight.join()
            family.waits += not waited
            if call is not None:
                flight.calls.add(call)
            return
        if self._waits_for_twin(family.plain_flights.get(ask.plain), seat):
            family.waits += not waited
            return
        name = f"{family.short}({ask.preview()})"
        address = call.address if call is not None else ""
        flight = Flight(group, name, address, self.clock(), in_thread=not ask.view.loader.is_async)
        # Seen by `_leave` before anybody else sees it, whatever interrupts this thread in between.
        seat.flight, seat.leads = flight, True
        group.flights[ask.key] = flight
        family.plain_flights.setdefault(ask.plain, flight)
        family.loading += 1
        family.misses += 1
        self._expire()
        self._trim(family)
        self.expect(family)

    def _waits_for_twin(self, twin: Flight | None, seat: _Seat) -> bool:
        """Whether to wait for a load of the same arguments: it may be about to change what makes the keys differ.

        A loader that counts its loads in a global would else be run by every thread that asks while it runs.
        """
        if twin is None:
            return False
        try:
            seat.chain = twin.join()
        except RecursiveLoad:  # It asks for itself with other state: that may end.
            return False
        seat.flight, seat.is_twin = twin, True
        return True

    def _leave(self, seat: _Seat) -> None:
        flight = seat.flight
        if flight is None:
            return
        if seat.chain is not None:
            flight.leave(seat.chain)
        elif seat.leads and not flight.done:
            self._drop(flight)
            flight.land()  # Without a result: those who wait try for themselves.

    def _drop(self, flight: Flight) -> None:
        with self._lock:
            for flights in (flight.group.flights, flight.group.family.plain_flights):
                _remove(flights, flight)
            flight.group.family.loading -= 1

    # Loading ----------------------------------------------------------------------------------------------------------

    def _lead(self, ask: Ask, flight: Flight) -> Any:
        token = LOADING.set((*LOADING.get(), flight))
        try:
            attempt = self.attempt(self, ask, flight, last=False)
            with attempt:
                attempt.value = ask.run()
            if attempt.again:
                attempt = self.attempt(self, ask, flight, last=True)
                with attempt:
                    attempt.value = ask.run()
        except BaseException:
            self._failed(ask, flight)
            raise
        finally:
            LOADING.reset(token)
        return self._land(ask, flight, attempt)

    async def _lead_async(self, ask: Ask, flight: Flight) -> Any:
        token = LOADING.set((*LOADING.get(), flight))
        try:
            attempt = self.attempt(self, ask, flight, last=False)
            with attempt:
                attempt.value = await ask.run_async()
            if attempt.again:
                attempt = self.attempt(self, ask, flight, last=True)
                with attempt:
                    attempt.value = await ask.run_async()
        except BaseException:
            self._failed(ask, flight)
            raise
        finally:
            LOADING.reset(token)
        return self._land(ask, flight, attempt)

    def makes_way(self, ask: Ask, fault: BaseException) -> bool:
        """Whether entries have made way for a load that ran out of memory, so that it may run once more."""
        return False

    def expect(self, family: Family) -> None:
        """A load of this family begins: make room for what it will take, as far as that is known."""

    def admits(self, entry: Entry) -> bool:
        """Whether a new entry is kept; its value is given to the caller in any case."""
        most = entry.family.loader.max_memory
        if most is None or entry.bytes <= most:
            return True
        self.tell(
            entry.family.key,
            "size",
            f"{entry.name} takes {entry.bytes:,} bytes, more than max_memory={most:,}; it is not kept",
        )
        return False

    def _failed(self, ask: Ask, flight: Flight) -> None:
        call = self.call()
        if call is not None and call is not self._everyone:
            call.failed.append(Failed(ask.view.loader.name, ask.preview(), self.clock() - flight.started))

    def _land(self, ask: Ask, flight: Flight, attempt: Attempt) -> Any:
        """Keep what was loaded, if it may be kept, and give it to all who wait."""
        value = attempt.value
        ask.settle()
        entry = self._make_entry(ask, flight, attempt)
        call = self.call()
        self._drop(flight)
        with self._lock:
            self._use(entry, call, "miss")
            if not (flight.void or ask.void) and self.admits(entry):
                self._admit(ask, entry)
            else:
                entry.gone = True
                if entry.owner is not None:
                    self._doomed.append((entry, "uncached"))
            flight.entry = entry
            flight.result.append(value)
            for waiting in flight.calls:
                waiting.touched.setdefault(entry, "wait")
            self._trim(entry.family)
        flight.land()
        self._flush()
        return value

    def _make_entry(self, ask: Ask, flight: Flight, attempt: Attempt) -> Entry:
        view, call = ask.view, self.call()
        loader = view.loader
        entry = Entry(view.group, ask.key, attempt.value, ask.preview(), self._key_digest(ask))
        entry.on_evict = loader.on_evict
        entry.bundle = self.bundle
        entry.loaded_by = call.address if call is not None else ""
        entry.depends = view.depends
        entry.changed = self.changes(view.group)
        if call is not None and call.inputs:
            entry.provenance = provenance(given(loader.fn, loader.ignore, ask.args, ask.kwargs), call.inputs)
        self.weigh(entry, attempt)
        if loader.ttl is not None:
            entry.deadline = self.clock() + loader.ttl
        if loader.frozen:
            from greenroom.caching.frozen import fingerprint

            entry.mark = fingerprint(entry.value)
        entry.plain = entry.deadline is None and entry.mark is None
        return entry

    def changes(self, group: Group) -> tuple[str, ...]:
        """What was edited since the loader last loaded anything, in words."""
        before, group.family.latest = group.family.latest, group
        if before is None or before is group or before.code is None or group.code is None:
            return ()
        from greenroom.digest.explain import explain

        return tuple(explain(before.code.parts, group.code.parts)[:MAX_CHANGES])

    def weigh(self, entry: Entry, attempt: Attempt) -> None:
        """Find out what a new entry takes. Here only where a bound of the loader's asks for it."""
        attempt.furnish(entry)
        if entry.family.loader.max_memory is not None:
            from greenroom.caching.sizes import measure

            size = measure(entry.value, self.digester.is_user_class)
            entry.bytes, entry.gpu_bytes = size.bytes, size.gpu_bytes

    def _key_digest(self, ask: Ask) -> str:
        stable = ask.stable()
        if stable is None:
            stable = _SALT + (ask.key.digest if isinstance(ask.key, Key) else b"")
        text = f"{ask.view.loader.name}\0{ask.view.group.digest}\0".encode()
        return blake2b(text + stable, digest_size=8).hexdigest()

    def _admit(self, ask: Ask, entry: Entry) -> None:
        family = entry.family
        try:
            ask.view.group.entries[ask.key] = entry
        except Unkeyable as fault:
            entry.gone = True
            self.tell(family.key, "key", f"{entry.name} is not kept: {fault}")
            return
        if isinstance(ask.key, Key) and ask.key.by_identity:
            ask.key.on_death = partial(self._orphans.append, entry)
        family.entries.add(entry)
        family.expected = (entry.bytes, entry.gpu_bytes)
        heappush(family.line, (entry.tick, entry))
        if entry.deadline is not None:
            heappush(self._deadlines, (entry.deadline, entry.tick, entry))
        if entry.on_evict is not None:
            self.close_at_exit()
