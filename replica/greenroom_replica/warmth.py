"""What the warm runner's actor cache holds, as far as telemetry told; and how it is brought back after a loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from greenroom_protocol.frames import Cache
from greenroom_replica.core import talk

if TYPE_CHECKING:
    from greenroom_replica.crew import Crew
    from greenroom_replica.handle import RunnerHandle

Name: TypeAlias = "tuple[str, str]"
"""Loader and key digest."""

WORTH: Final = 50.0
"""Milliseconds of loading from which on an entry is brought back before anybody asks for it."""

_KEPT: Final = ("loader", "key", "preview", "bytes", "gpu_bytes", "load_ms", "hits", "loaded_by")


class Warmth:
    """The entries of a replica.

    Args:
        crew: Whose warm runner holds them.
    """

    def __init__(self, crew: Crew) -> None:
        self._crew = crew
        self.entries: dict[Name, dict[str, Any]] = {}
        self._recipes: dict[Name, tuple[bytes, Mapping[str, Any]]] = {}
        """How to load an entry again, and the definition whose code knows its loader."""
        self._missing: list[tuple[Name, bytes, Mapping[str, Any]]] = []
        """What was lost and shall come back, the most valuable last."""
        self._loading: Name | None = None

    def told(self) -> list[Mapping[str, Any]]:
        """The entries, as `Hello` tells them."""
        return list(self.entries.values())

    def note(self, handle: RunnerHandle, definition: bytes, rows: Sequence[Mapping[str, Any]]) -> None:
        """Learn from what calls did with the cache."""
        if handle is not self._crew.roster.warm and handle.kind != "warm":
            return  # A fresh runner's entries end with it.
        for row in rows:
            name = (str(row.get("loader") or ""), str(row.get("key") or ""))
            if name[1] and row.get("outcome") != "failed":
                self._keep(name, definition, row)
            for loader, key, *_ in row.get("evicted") or ():  # Also what this very row loaded and could not keep.
                self._forget((str(loader), str(key)))

    def _keep(self, name: Name, definition: bytes, row: Mapping[str, Any]) -> None:
        entry = self.entries.setdefault(name, {"loader": name[0], "key": name[1], "hits": 0})
        entry["hits"] += int(row.get("hits") or 0)
        entry.update({key: row[key] for key in _KEPT if key in row and key != "hits"})
        if row.get("recipe"):
            self._recipes[name] = (definition, row["recipe"])

    def changed(self, handle: RunnerHandle, loaded: Sequence[Mapping[str, Any]], gone: Sequence[Sequence[str]]) -> None:
        """Entries came or went outside of calls."""
        for entry in loaded:
            name = (str(entry.get("loader")), str(entry.get("key")))
            self.entries[name] = {"hits": 0, **{key: entry[key] for key in _KEPT if key in entry}}
        for loader, key, *_ in gone:
            self._forget((loader, key))
        if loaded or gone:
            told: list[Mapping[str, Any]] = [
                {key: value for key, value in entry.items() if key != "recipe"} for entry in loaded
            ]
            self._crew.port.tell(Cache(told, [list(one) for one in gone]))
        self._loading = None
        if not self._crew.is_busy:
            self.reload()

    def _forget(self, name: Name) -> None:
        self.entries.pop(name, None)
        self._recipes.pop(name, None)

    # On demand ------------------------------------------------------------------------------------------------------

    def prewarm(self, definition: bytes, recipes: Sequence[Mapping[str, Any]]) -> None:
        """Have the warm runner load entries."""
        warm, spec = self._crew.roster.warm, self._crew.spec(definition)
        if warm is None or spec is None:
            return
        orders: list[talk.Order] = []
        if definition not in warm.defined:
            warm.defined.add(definition)
            orders.append(talk.Define(definition, spec.body))
        warm.tell(*orders, talk.Prewarm(definition, list(recipes)))

    def evict(self, loader: str, key: str) -> None:
        """Have the warm runner drop entries."""
        if self._crew.roster.warm is not None:
            self._crew.roster.warm.tell(talk.Evict(loader, key))

    # After a loss ---------------------------------------------------------------------------------------------------

    def lost(self, why: str, while_loading: bool = False) -> None:
        """The warm runner is gone, and all entries with it."""
        if while_loading and self._loading is not None:
            self._recipes.pop(self._loading, None)  # It may be what killed the runner.
            self._missing = [one for one in self._missing if one[0] != self._loading]
        self._loading = None
        if not self.entries:
            return
        self._missing += [
            (name, *self._recipes[name])
            for name, entry in self.entries.items()
            if name in self._recipes and float(entry.get("load_ms") or 0) >= WORTH
        ]
        self._missing.sort(key=lambda one: self._value(one[0]))
        gone = [[loader, key, why] for loader, key in self.entries]
        self.entries.clear()
        self._crew.port.tell(Cache([], gone))

    def _value(self, name: Name) -> float:
        entry = self.entries.get(name, {})
        return float(entry.get("load_ms") or 0) * (1 + int(entry.get("hits") or 0))

    def reload(self) -> None:
        """While nothing else is to do, bring back the most valuable of what was lost.

        A call that wants one of them sooner loads it by itself.
        """
        if self._loading is not None or self._crew.is_draining or self._crew.roster.warm is None:
            return
        while self._missing:
            name, definition, recipe = self._missing.pop()
            if name not in self.entries and self._crew.spec(definition) is not None:
                self._loading = name
                self._recipes[name] = (definition, recipe)
                self.prewarm(definition, [recipe])
                return
