"""Which cache entries a budget of memory keeps: pure arithmetic on sizes, costs and uses.

An entry is worth what it would cost to load again, times how warm it is, for each byte that it takes. Warmth counts
uses, each worth half as much after as many further uses of the cache as there are about eight times entries: with few
it is recency, with many uses of the same few it is frequency (ADR 0022 has the figures). An entry that went is
remembered for a while, so that one that comes back often stays.

Because all warmth fades alike, the order of two entries changes only when one is used: ranks are kept as logarithms
that do not depend on the time, in a heap that is put right when something has to go.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from heapq import heapify, heappop, heappush
from math import log2
from typing import Final, Generic, NamedTuple, TypeVar

HALVING: Final = 8
"""Uses of the cache, for each entry that it holds, after which a use counts half."""

REMEMBERED: Final = 4
"""Entries that went and are remembered, for each that is held."""

_LEAST_S: Final = 1e-6
_MANY: Final = 1 << 10

Id = TypeVar("Id", bound=Hashable)


class Held:
    """One entry as the budget knows it."""

    __slots__ = ("bytes", "gpu_bytes", "load_s", "tick", "warmth")

    def __init__(self, bytes: int, gpu_bytes: int, load_s: float, warmth: float, tick: int) -> None:
        self.bytes, self.gpu_bytes, self.load_s = bytes, gpu_bytes, load_s
        self.warmth = warmth
        """Uses, faded, as of `tick`."""
        self.tick = tick
        """The cache's use at which it was last used."""


class Need(NamedTuple):
    """Room that is missing, in bytes."""

    bytes: int = 0
    gpu_bytes: int = 0

    def __bool__(self) -> bool:
        return self.bytes > 0 or self.gpu_bytes > 0


class Budget(Generic[Id]):
    """Entries under limits of memory and of GPU memory.

    Args:
        limit: Bytes; None where there is no limit.
        gpu_limit: Bytes of GPU memory; None where there is no limit, or no telling.
    """

    def __init__(self, limit: int | None = None, gpu_limit: int | None = None) -> None:
        self.limit, self.gpu_limit = limit, gpu_limit
        self.used = self.gpu_used = 0
        self.tick = 0
        self._held: dict[Id, Held] = {}
        self._gone: OrderedDict[Hashable, tuple[float, int]] = OrderedDict()
        self._heap: list[tuple[float, int, Id]] = []
        self._width = 1

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, entry: object) -> bool:
        return entry in self._held

    # What happens -----------------------------------------------------------------------------------------------------

    def add(self, entry: Id, bytes: int, gpu_bytes: int, load_s: float, name: Hashable = None) -> None:
        """An entry was loaded.

        Args:
            entry: What it is known by here.
            bytes: What it takes.
            gpu_bytes: What it takes on GPUs.
            load_s: Seconds that it took to load.
            name: What it is known by when it comes back after it went.
        """
        self.tick += 1
        warmth, tick = self._gone.pop(name, (0.0, self.tick)) if name is not None else (0.0, self.tick)
        held = Held(bytes, gpu_bytes, load_s, 1.0 + self._faded(warmth, tick), self.tick)
        self._held[entry] = held
        self.used += bytes
        self.gpu_used += gpu_bytes
        if len(self._held) > self._width or self._width > 4 * len(self._held) + 4:
            self._widen()
        else:
            heappush(self._heap, (self._rank(held, bytes), self.tick, entry))

    def touch(self, entries: Iterable[Id]) -> None:
        """A call has used these."""
        for entry in entries:
            held = self._held.get(entry)
            if held is not None:
                self.tick += 1
                held.warmth = 1.0 + self._faded(held.warmth, held.tick)
                held.tick = self.tick

    def remove(self, entry: Id, name: Hashable = None) -> None:
        """An entry went."""
        held = self._held.pop(entry, None)
        if held is None:
            return
        self.used -= held.bytes
        self.gpu_used -= held.gpu_bytes
        if name is not None:
            self._gone[name] = (held.warmth, held.tick)
            while len(self._gone) > REMEMBERED * len(self._held) + _MANY:
                self._gone.popitem(last=False)

    # What is asked ----------------------------------------------------------------------------------------------------

    def allows(self, bytes: int, gpu_bytes: int = 0) -> bool:
        """Whether an entry of this size could be held at all."""
        return (self.limit is None or bytes <= self.limit) and (self.gpu_limit is None or gpu_bytes <= self.gpu_limit)

    def lacks(self, bytes: int = 0, gpu_bytes: int = 0) -> Need:
        """What is missing for so many more bytes."""
        memory = 0 if self.limit is None else self.used + bytes - self.limit
        gpu = 0 if self.gpu_limit is None else self.gpu_used + gpu_bytes - self.gpu_limit
        return Need(max(0, memory), max(0, gpu))

    def choose(self, need: Need, is_free: Callable[[Id], bool]) -> list[Id]:
        """The entries that go, the least worth first; fewer than needed where the others are in use. Remove them then.

        Args:
            need: Room to make.
            is_free: Says whether an entry may go; asked only of those that would.
        """
        chosen: list[Id] = []
        freed = gpu_freed = 0
        if need.gpu_bytes > 0:
            for entry in self._by_gpu():
                if gpu_freed >= need.gpu_bytes:
                    break
                if is_free(entry):
                    chosen.append(entry)
                    freed += self._held[entry].bytes
                    gpu_freed += self._held[entry].gpu_bytes
        if freed < need.bytes:
            chosen += self._by_memory(need.bytes - freed, is_free, set(chosen))
        return chosen

    def ranked(self) -> list[Id]:
        """All entries, the most worth first."""
        return sorted(
            self._held, key=lambda entry: self._rank(self._held[entry], self._held[entry].bytes), reverse=True
        )

    # Ranks ------------------------------------------------------------------------------------------------------------

    def _faded(self, warmth: float, tick: int) -> float:
        """What is left of a warmth by now."""
        return warmth * 2.0 ** -((self.tick - tick) / (HALVING * self._width)) if warmth else 0.0

    def _rank(self, held: Held, size: int) -> float:
        worth = log2(max(held.load_s, _LEAST_S)) - log2(max(size, 1)) + log2(held.warmth)
        return worth + held.tick / (HALVING * self._width)

    def _widen(self) -> None:
        """The number of entries has doubled, or shrunk to a part: what a use is worth is measured anew."""
        self._width = 1 << (len(self._held) - 1).bit_length() if self._held else 1
        self._heap = [(self._rank(held, held.bytes), held.tick, entry) for entry, held in self._held.items()]
        heapify(self._heap)

    def _by_gpu(self) -> list[Id]:
        on_gpu = [entry for entry, held in self._held.items() if held.gpu_bytes > 0]
        return sorted(on_gpu, key=lambda entry: self._rank(self._held[entry], self._held[entry].gpu_bytes))

    def _by_memory(self, need: int, is_free: Callable[[Id], bool], chosen: set[Id]) -> list[Id]:
        found: list[Id] = []
        busy: list[tuple[float, int, Id]] = []
        while self._heap and need > 0:
            rank, tick, entry = heappop(self._heap)
            held = self._held.get(entry)
            if held is None or entry in chosen:
                continue
            if tick != held.tick:
                heappush(self._heap, (self._rank(held, held.bytes), held.tick, entry))  # It was used since.
            elif held.bytes > 0 and is_free(entry):
                found.append(entry)
                chosen.add(entry)
                need -= held.bytes
            else:
                busy.append((rank, tick, entry))
        for one in busy:
            heappush(self._heap, one)
        return found
