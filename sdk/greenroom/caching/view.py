"""What calls of a loader look at: the view of its entries, the quick way to one, and a wish that goes the long way."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from greenroom.caching import ATOMS, current
from greenroom.caching.calls import CALL, next_tick

if TYPE_CHECKING:
    from greenroom.caching.binding import Bind
    from greenroom.caching.entry import Group
    from greenroom.caching.loader import Loader
    from greenroom.caching.ports import KeyPorts
    from greenroom.caching.store import Store
    from greenroom.digest import Digest

MISS: Any = object()
"""What the quick way gives where the long way has to be taken; in guards, what a name has that is not there."""


class _Token:
    """Stands for True or False in a key, since those are equal to 1 and 0."""

    __slots__ = ()


_TRUE: Final = _Token()
_FALSE: Final = _Token()


def quick_key(values: tuple[Any, ...], single: bool, roots: tuple[str, ...]) -> Any:
    """The key of small plain values; `MISS` where one has to be looked into."""
    key: list[Any] = []
    for value in values:
        kind = type(value)
        if kind in ATOMS and not (roots and kind is str and value.startswith(roots)):
            key.append(value)
        elif kind is bool:
            key.append(_TRUE if value else _FALSE)
        elif kind is float:
            key.append(("float", value.hex()))
        else:
            return MISS
    return key[0] if single else tuple(key)


class View:
    """What a loader needs to find its entries, for as long as store, bundle and code stay as they are."""

    __slots__ = (
        "bind",
        "cells",
        "depends",
        "digest",
        "entries",
        "epoch",
        "group",
        "guards",
        "loader",
        "marked",
        "names",
        "ports",
        "roots",
        "single",
        "store",
    )

    epoch: Any
    store: Store
    group: Group
    entries: dict[Any, Any]
    bind: Bind
    single: bool
    """Whether `bind` gives the one value that counts, rather than a tuple."""
    cells: list[tuple[str, Any]]
    """What the loader closes over, by name: hidden arguments, the last of the names."""
    names: tuple[str, ...]
    """Of the values that `bind` gives."""
    roots: tuple[str, ...]
    """Texts that start with these are no atoms here: they are paths into the bundle."""
    guards: tuple[tuple[Callable[..., Any], str, Any], ...]
    """Names that the digest depends on, as `(get, name, value)`."""
    marked: tuple[Any, ...]
    """Guards of values that can change in place."""
    digest: Digest
    ports: KeyPorts
    depends: tuple[str, ...]
    loader: Loader

    def __init__(self) -> None:
        self.epoch = None

    def holds(self) -> bool:
        """Whether the code is still what the digest says."""
        for get, name, value in self.guards:
            if get(name, MISS) is not value:
                return False
        return not self.marked or all(guard.holds() for guard in self.marked)


class Ask:
    """One wish for a value: the arguments, and the key that they make."""

    __slots__ = ("_marks", "_plain", "_preview", "args", "bound", "key", "kwargs", "view", "void")

    def __init__(self, view: View, key: Any, bound: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.view, self.key, self.bound, self.args, self.kwargs = view, key, bound, args, kwargs
        self.void = False
        """Set when the key turned out to be one that no later call can have."""
        self._marks: dict[str, Any] = {}
        self._preview = ""
        self._plain: tuple[int, Any] | None = None

    def values(self) -> tuple[Any, ...]:
        """The values that count, in the order of `view.names`."""
        return self.values_of(self.view)

    def values_of(self, view: View) -> tuple[Any, ...]:
        """The values as a view has them."""
        return (self.bound,) if view.single else self.bound

    @property
    def plain(self) -> tuple[int, Any]:
        """The loader and its arguments, without what it closes over and what its code refers to."""
        if self._plain is None:
            key, hidden = self.key, len(self.view.cells)
            if hidden:
                from greenroom.keys import key_of

                key = key_of(self.values()[:-hidden], self.view.ports)[0]
            self._plain = id(self.view.loader), key
        return self._plain

    def renewed(self) -> Ask:
        """The same wish with the code and the state of this moment."""
        return self.view.loader.ask(self.args, self.kwargs) or self

    def preview(self) -> str:
        """`state=3`: the arguments, and what is short of what the loader closes over."""
        if self._preview:
            return self._preview
        from greenroom.caching.binding import preview

        names, values = self.view.names, self.values()
        if self.view.cells:
            shown = len(names) - len(self.view.cells)
            pairs = [
                pair for at, pair in enumerate(zip(names, values, strict=True)) if at < shown or type(pair[1]) in ATOMS
            ]
            names, values = tuple(name for name, _ in pairs), tuple(value for _, value in pairs)
        self._preview = preview(names, values)
        return self._preview

    def run(self) -> Any:
        """Run the loader."""
        self._marks = self._mark_values()
        loader = self.view.loader
        value = loader.fn(*self.args, **self.kwargs)
        loader.check_result(value)
        return value

    async def run_async(self) -> Any:
        """Run a loader that is a coroutine function."""
        self._marks = self._mark_values()
        loader = self.view.loader
        value = await loader.fn(*self.args, **self.kwargs)
        loader.check_result(value)
        return value

    def stable(self) -> bytes | None:
        """The digest that every process gives these arguments; None where identity is part of the key."""
        from greenroom.keys import Key, key_of

        key = self.key if isinstance(self.key, Key) else key_of(self.values(), self.view.ports)[0]
        return key.stable

    def settle(self) -> None:
        """After the load: what the loader itself has changed is its state, and no part of what it is."""
        view = self.view
        changed = [guard for guard in view.marked if not guard.holds()]
        marks = self._mark_values()
        names = {name for name, mark in self._marks.items() if marks.get(name) != mark}
        cells = names.intersection(name for name, _ in view.cells)
        if not (changed or cells):
            return
        view.store.digester.volatile.update((guard.label.partition(":")[0], guard.name) for guard in changed)
        view.loader.state |= cells
        self.view = view.loader.resolve()
        if cells:
            values = tuple(one for name, one in zip(view.names, self.values_of(view), strict=True) if name not in cells)
            self.bound = values[0] if self.view.single else values
            self.key = view.loader.key_of_bound(self.view, self.bound)
            self.void = names != cells

    def _mark_values(self) -> dict[str, Any]:
        """What the values of a closure's call look like, to see which of them the load changes."""
        if not self.view.cells:
            return {}
        from greenroom.digest import mark

        return {name: mark(value) for name, value in zip(self.view.names, self.values(), strict=True)}


def finder(loader: Loader) -> Callable[[tuple[Any, ...], dict[str, Any]], Any]:
    """The quick way to an entry: no lock, no hashing of content. Gives `MISS` wherever the long way has to be taken.

    It costs about a microsecond, which is why it is written as it is: this runs in every call of a task.
    """

    def find(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        view = loader.view
        if view.epoch is not current.epoch:
            return MISS
        for get, name, value in view.guards:
            if get(name, MISS) is not value:
                return MISS
        bound = view.bind(*args, **kwargs)
        roots = view.roots
        for value in (bound,) if view.single else bound:
            kind = type(value)
            if kind not in ATOMS or (roots and kind is str and value.startswith(roots)):
                bound = quick_key((bound,) if view.single else bound, view.single, roots)
                break
        entry = view.entries.get(bound)
        if entry is None or not entry.plain or view.marked:
            return MISS
        found = entry.value
        call = CALL.get() or view.store.lone
        if call is None:
            entry.last = view.store.clock()
        elif entry not in call.touched:
            call.touched[entry] = "hit"
        if entry.gone:  # It was taken out between our finding it and our noting that it is used.
            return MISS
        entry.hits += 1
        entry.tick = next_tick()
        return found

    return find
