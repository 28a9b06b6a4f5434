"""Who holds which entry of the actor cache, and which waiting calls want it: a change of one is told to the other."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from greenroom_hub.core.affinity import EntryKey, Told

if TYPE_CHECKING:
    from greenroom_hub.core.lanes import Lane

Part: TypeAlias = "tuple[str, str, Told]"
"""Task, loader and deciding values: what an entry's key is learned for."""

_K = TypeVar("_K")
_NOBODY: dict[str, None] = {}


class Holdings:
    """One pool's entries by holder, and its lanes by what they want."""

    __slots__ = ("_holders", "_parts", "_wanted")

    def __init__(self) -> None:
        self._holders: dict[EntryKey, dict[str, None]] = {}
        self._wanted: dict[EntryKey, dict[Lane, None]] = {}
        self._parts: dict[Part, dict[Lane, None]] = {}

    def holders(self, key: EntryKey) -> dict[str, None]:
        """Replicas that hold an entry."""
        return self._holders.get(key, _NOBODY)

    def hold(self, replica: str, key: EntryKey) -> None:
        """A replica holds an entry from now on."""
        holders = self._holders.setdefault(key, {})
        if replica not in holders:
            holders[replica] = None
            for lane in tuple(self._wanted.get(key, ())):
                lane.gained(replica, self)

    def let_go(self, replica: str, key: EntryKey) -> bool:
        """A replica holds it no more; whether that was the last one."""
        holders = self._holders.get(key)
        if holders is None or replica not in holders:
            return False
        del holders[replica]
        if not holders:
            del self._holders[key]
        for lane in tuple(self._wanted.get(key, ())):
            lane.lost(replica)
        return not holders

    def all_of(self, keys: Iterable[EntryKey]) -> dict[str, None]:
        """Replicas that hold every one of these."""
        found: dict[str, None] | None = None
        for key in keys:
            holders = self._holders.get(key, _NOBODY)
            found = dict(holders) if found is None else {name: None for name in found if name in holders}
        return found or {}

    # Lanes ------------------------------------------------------------------------------------------------------------

    def watch(self, lane: Lane, keys: Iterable[EntryKey], parts: Iterable[Part]) -> None:
        """Tell a lane what happens to these entries, and what is learned of these values."""
        for key in keys:
            self._wanted.setdefault(key, {})[lane] = None
        for part in parts:
            self._parts.setdefault(part, {})[lane] = None

    def unwatch(self, lane: Lane, keys: Iterable[EntryKey], parts: Iterable[Part]) -> None:
        """Tell it no more."""
        for key in keys:
            _drop(self._wanted, key, lane)
        for part in parts:
            _drop(self._parts, part, lane)

    def learned(self, part: Part) -> None:
        """Which entry calls with these values want is known, or another one than before."""
        for lane in tuple(self._parts.get(part, ())):
            lane.look_up()


def _drop(index: dict[_K, dict[Lane, None]], key: _K, lane: Lane) -> None:
    lanes = index.get(key)
    if lanes is not None:
        lanes.pop(lane, None)
        if not lanes:
            del index[key]
