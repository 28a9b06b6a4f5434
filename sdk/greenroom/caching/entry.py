"""What the actor cache holds: entries, and the families of one loader's entries."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from greenroom.caching.flight import Flight
    from greenroom.caching.loader import Loader
    from greenroom.digest import Digest


class CacheInfo(NamedTuple):
    """Figures of one loader in this process; the first four as `functools.lru_cache` has them."""

    hits: int
    misses: int
    maxsize: int | None
    """`max_entries`; None where there is no bound."""
    currsize: int
    """Entries held."""
    waits: int
    """Times that a caller waited for another's load."""
    evictions: int
    bytes: int
    """What the entries take, as far as it was measured."""


class CacheKey(NamedTuple):
    """One entry as a person sees it."""

    preview: str
    """`state=3`."""
    digest: str
    """16 hexadecimal digits, the same in every process for the same loader, code and arguments."""


class Entry:
    """One kept result. Compared and hashed by identity."""

    __slots__ = (
        "bundle",
        "bytes",
        "changed",
        "deadline",
        "depends",
        "digest",
        "family",
        "files",
        "gone",
        "gpu_bytes",
        "group",
        "hits",
        "key",
        "last",
        "load_s",
        "loaded_by",
        "mark",
        "on_evict",
        "owner",
        "plain",
        "preview",
        "provenance",
        "recipe",
        "tick",
        "value",
        "verdicts",
    )

    def __init__(self, group: Group, key: Any, value: Any, preview: str, digest: str) -> None:
        self.group: Group = group
        self.family: Family = group.family
        self.key, self.value, self.preview, self.digest = key, value, preview, digest
        self.plain = True
        """Whether a hit needs no look at deadline or content."""
        self.gone = False
        """Set when it is no longer to be given out."""
        self.hits = 0
        self.tick = 0
        """Grows with each use, over all entries: the order in which they were last used."""
        self.last = 0.0
        """When it was last used, monotonic seconds."""
        self.deadline: float | None = None
        """When its time to live ends, monotonic seconds."""
        self.load_s = 0.0
        """Seconds that loading it took, loads of other entries inside it not counted."""
        self.bytes = 0
        self.gpu_bytes = 0
        self.loaded_by = ""
        """Address of the call that loaded it."""
        self.depends: tuple[str, ...] = ()
        """Definitions and files that it depends on, as people call them."""
        self.changed: tuple[str, ...] = ()
        """Why it had to be loaded, where an edit was the reason: `helpers.py:12 MODEL "v1" -> "v2"`."""
        self.provenance: list[list[Any]] = []
        """Where its arguments came from: see `greenroom.caching.calls.provenance`."""
        self.mark: bytes | None = None
        """Of a frozen entry: what its content looks like."""
        self.on_evict: Callable[[Any], Any] | None = None
        """The callback of the loader that loaded it."""
        self.owner: Any = None
        """What its load made: files, threads, processes."""
        self.files: dict[str, str | None] = {}
        """Files of the bundle that its load opened, with the digests that they had."""
        self.bundle: Any = None
        """The bundle whose classes its objects have now."""
        self.recipe: Any = None
        """How to load it again in another process; None where its arguments cannot be encoded."""
        self.verdicts: dict[str, bool] = {}
        """False for bundles, by name, that must not see it."""

    @property
    def name(self) -> str:
        """`load_model(state=3)`."""
        return f"{self.family.short}({self.preview})"

    def __repr__(self) -> str:
        return f"<Entry {self.name}>"


class Family:
    """All entries of one loader in one store, over all versions of its code; its bounds are theirs together."""

    __slots__ = (
        "entries",
        "evictions",
        "expected",
        "hits",
        "key",
        "latest",
        "line",
        "loader",
        "loading",
        "misses",
        "plain_flights",
        "waits",
    )

    def __init__(self, key: str, loader: Loader) -> None:
        self.key = key
        """`module:qualname`."""
        self.loader = loader
        """The newest definition: its options hold."""
        self.entries: set[Entry] = set()
        self.loading = 0
        self.plain_flights: dict[tuple[int, Any], Flight] = {}
        """Loads under way by loader and arguments alone: what a load changes of its own state makes other keys."""
        self.latest: Group | None = None
        """The version of its code that was last loaded for."""
        self.line: list[tuple[int, Entry]] = []
        """A heap of the entries by their last use, brought up to date when one has to go: a hit need not touch it."""
        self.hits = self.misses = self.waits = self.evictions = 0
        """`hits` of entries that have gone; living ones count their own."""
        self.expected: tuple[int, int] = (0, 0)
        """Bytes and GPU bytes that its last load took."""

    @property
    def short(self) -> str:
        """`load_model`."""
        return self.key.rpartition(":")[2].rpartition(">.")[2]

    @property
    def bytes(self) -> int:
        """What its entries take."""
        return sum(entry.bytes for entry in self.entries)

    def oldest(self, is_free: Callable[[Entry], bool]) -> Entry | None:
        """The entry that was not used for longest, of those that may go; None where all are in use."""
        busy = []
        found = None
        while self.line and found is None:
            tick, entry = heappop(self.line)
            if entry.gone or entry not in self.entries:
                continue
            if tick != entry.tick:
                heappush(self.line, (entry.tick, entry))  # It was used since.
            elif is_free(entry):
                found = entry
            else:
                busy.append((tick, entry))
        for one in busy:
            heappush(self.line, one)
        return found


class Group:
    """The entries of one version of a loader's code: those that one bundle sees, and those that it must not see."""

    __slots__ = ("bundle", "code", "digest", "entries", "family", "flights", "hidden", "seen_by")

    def __init__(self, family: Family, digest: str) -> None:
        self.family = family
        self.digest = digest
        self.code: Digest | None = None
        """What the digest was made of."""
        self.entries: dict[Any, Entry] = {}
        self.hidden: list[Entry] = []
        """Entries that do not fit the bundle that `entries` was made for."""
        self.flights: dict[Any, Flight] = {}
        self.bundle: Any = None
        """The bundle that `entries` was made for."""
        self.seen_by: set[Any] = set()
        """Names of the bundles whose code is of this version."""

    def remove(self, entry: Entry) -> None:
        """Take an entry out, wherever it is."""
        if entry in self.hidden:
            self.hidden.remove(entry)
            return
        try:
            if self.entries.get(entry.key) is entry:
                del self.entries[entry.key]
                return
        except Exception:  # Keys that compare by the user's code, which fails.
            pass
        for key, kept in self.entries.items():
            if kept is entry:
                del self.entries[key]
                return
