"""The engine of `@actor_cache`: keys, single flight, entries, bounds. Users import `greenroom.actor_cache` instead.

A runner puts its own store in place with `use_store`; without one, loaders share a plain memo.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from greenroom.caching.store import Store

__all__ = ["current_store", "use_store"]


ATOMS: Final = frozenset({int, str, bytes, type(None)})
"""Exact types that are their own key: no two of them are equal across types, and they hash in nanoseconds."""


class Epoch:
    """A time during which loaders see the same store and the same bundle; compared by identity."""

    __slots__ = ()


class Current:
    """Where loaders look: the store, and what they compare on each hit to know that nothing was switched."""

    __slots__ = ("epoch", "store")

    def __init__(self) -> None:
        self.store: Store | None = None
        self.epoch = Epoch()


current = Current()


def current_store() -> Store:
    """The store that loaders use now: one that a runner gave, else this process's own memo."""
    if current.store is None:
        from greenroom.caching.store import Store

        use_store(Store())
    assert current.store is not None
    return current.store


def use_store(store: Store | None) -> Store | None:
    """Have loaders use another store, and give the one before; None means a new memo."""
    before = current.store
    current.store = store
    current.epoch = store.epoch if store is not None else Epoch()
    return before
