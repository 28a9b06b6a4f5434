"""Snapshots of builtin containers: the object itself, a shallow copy, and how to put the copy back in place.

Every node works on its object through the builtin type's own methods (``dict.update(target, ...)``), never through
what a user's subclass overrides, and compares by identity, so that no ``__eq__``, ``__hash__``, ``__iter__`` or
``__setitem__`` of user code ever runs. Restoring in place keeps aliases: whoever holds the object sees it clean.
"""

from __future__ import annotations

from array import array
from collections import OrderedDict, deque
from collections.abc import Iterator
from itertools import chain, compress, repeat
from operator import is_, is_not
from typing import Any

from greenroom_replica.reset.images import (
    Word,
    buffer_body,
    buffer_heads,
    deque_body,
    deque_heads,
    dict_body,
    dict_heads,
    list_body,
    list_heads,
    ordered_heads,
    set_body,
    set_heads,
)

EVERYTHING = slice(None)
_NOWHERE = object()
_WARNED = "__warningregistry__"


class Node:
    """One object of the user's whose state is kept, and how it is reached (`parent`, `label`)."""

    __slots__ = ("_name", "label", "parent", "saved", "target")

    row = None
    """See `Watched.row`."""

    silent = False
    """Whether putting it back is not worth telling."""

    hot = True
    """See `Watched.hot`."""

    grows = False
    """See `Watched.grows`."""

    target: Any
    saved: Any

    def __init__(self, target: object, parent: Node | None, label: str) -> None:
        self.target = target
        self.parent = parent
        self.label = label
        self._name = ""
        self.saved = self.peek()

    @property
    def name(self) -> str:
        """How a user would write it: ``flow.CONFIG['a'][0]``."""
        if not self._name:
            self._name = (self.parent.name if self.parent is not None else "") + self.label
        return self._name

    def heads(self) -> list[Word]:
        """See `Watched.heads`."""
        return []

    def body(self) -> tuple[int, int] | None:
        """See `Watched.body`."""
        return None

    def peek(self) -> Any:
        """Copy what the object holds now, one level deep."""
        raise NotImplementedError

    def changed(self) -> bool:
        """Tell whether what it holds, or its order, is not what was kept."""
        raise NotImplementedError

    def restore(self) -> None:
        """Put back what was kept, in place."""
        raise NotImplementedError

    def absorb(self, before: Any, now: Any) -> None:
        """Keep, besides what was kept, what an import did between two looks."""
        self.saved = now

    def drops(self) -> Iterator[tuple[str, object]]:
        """Go over what restoring would drop: (label, value)."""
        return iter(())

    def settle(self) -> list[str]:
        """Restore, and name what was not as it was kept; nothing where it only looked different."""
        if not self.changed():
            return []
        self.restore()
        return [self.name]

    def same(self, one: Any, other: Any) -> bool:
        """Compare two looks by identity of what they hold."""
        return len(one) == len(other) and all(map(is_, one, other))


class MappingNode(Node):
    """A dict, or the dict inside an instance of a subclass."""

    __slots__ = ()

    def heads(self) -> list[Word]:
        return dict_heads(self.target)

    def body(self) -> tuple[int, int] | None:
        return dict_body(self.target)

    def peek(self) -> dict[Any, Any]:
        if type(self.target) is dict or not _has_own_iter(type(self.target)):
            return dict.copy(self.target)
        # dict.copy would go through what the subclass overrides.
        return dict(zip(dict.keys(self.target), dict.values(self.target), strict=True))

    def changed(self) -> bool:
        target, saved = self.target, self.saved
        if dict.__len__(target) != len(saved) or not all(map(is_, dict.values(target), saved.values())):
            return True
        return not all(map(is_, dict.keys(target), saved))

    def same(self, one: Any, other: Any) -> bool:
        return len(one) == len(other) and all(map(is_, one.values(), other.values())) and all(map(is_, one, other))

    def restore(self) -> None:
        dict.clear(self.target)
        dict.update(self.target, self.saved)

    def absorb(self, before: dict[Any, Any], now: dict[Any, Any]) -> None:
        self.saved = merge(self.saved, before, now)

    def drops(self) -> Iterator[tuple[str, object]]:
        for key, value in list(dict.items(self.target)):
            if self.saved.get(key, self) is not value:
                yield label_of(key), value


class NamespaceNode(MappingNode):
    """The globals of a user module: never emptied, since a thread of an entry may be running in it."""

    __slots__ = ()

    def changed(self) -> bool:
        # A name that was deleted comes back last: that order is as good.
        return bool(attributes_that_differ("", self.target, self.saved))

    def restore(self) -> None:
        space, saved = self.target, self.saved
        space.update(saved)
        if len(space) != len(saved):
            for name in [name for name in space if name not in saved]:
                del space[name]

    def settle(self) -> list[str]:
        space, saved, name = self.target, self.saved, self.name
        if _WARNED in space and _WARNED not in saved:
            del space[_WARNED]  # Where a module has warned from: made by warnings, and nothing to tell.
        if len(space) != len(saved) or [*space] != [*saved]:
            names = attributes_that_differ(name, space, saved)
            self.restore()
            return names
        names = list(compress(saved, map(is_not, space.values(), saved.values())))
        for key in names:
            space[key] = saved[key]
        return [f"{name}.{key}" for key in names]

    def drops(self) -> Iterator[tuple[str, object]]:
        for name, value in list(self.target.items()):
            if self.saved.get(name, self) is not value:
                yield f".{name}", value


class OrderedNode(MappingNode):
    """An OrderedDict: ``move_to_end`` changes its order without a trace in the dict."""

    __slots__ = ()

    def heads(self) -> list[Word]:
        return ordered_heads(self.target)

    def peek(self) -> dict[Any, Any]:
        # dict's own copy would lose the order, and OrderedDict.copy is one that subclasses override.
        return {key: dict.__getitem__(self.target, key) for key in OrderedDict.keys(self.target)}

    def changed(self) -> bool:
        target, saved = self.target, self.saved
        if not (dict.__len__(target) == len(saved) and all(map(is_, OrderedDict.keys(target), saved))):
            return True
        return not all(map(is_, OrderedDict.values(target), saved.values()))

    def restore(self) -> None:
        OrderedDict.clear(self.target)
        for key, value in self.saved.items():
            OrderedDict.__setitem__(self.target, key, value)


class ListNode(Node):
    """A list, or the list inside an instance of a subclass."""

    __slots__ = ()

    def heads(self) -> list[Word]:
        return list_heads(self.target)

    def body(self) -> tuple[int, int] | None:
        return list_body(self.target)

    def peek(self) -> list[Any]:
        return list.copy(self.target)

    def changed(self) -> bool:
        return not (
            list.__len__(self.target) == len(self.saved) and all(map(is_, list.__iter__(self.target), self.saved))
        )

    def restore(self) -> None:
        list.__setitem__(self.target, EVERYTHING, self.saved)

    def absorb(self, before: list[Any], now: list[Any]) -> None:
        if self.same(before, self.saved):
            self.saved = now
        elif self.same(before, now[: len(before)]):  # A registry of plug-ins: what the import appended stays.
            self.saved = [*self.saved, *now[len(before) :]]

    def drops(self) -> Iterator[tuple[str, object]]:
        kept = set(map(id, self.saved))
        for place, value in enumerate(list.copy(self.target)):
            if id(value) not in kept:
                yield f"[{place}]", value


class DequeNode(Node):
    """A deque, or the deque inside an instance of a subclass; one of more than a block of items is asked each time."""

    __slots__ = ()

    def heads(self) -> list[Word]:
        return deque_heads(self.target) if deque_body(self.target) is not None else []

    def body(self) -> tuple[int, int] | None:
        return deque_body(self.target)

    def peek(self) -> list[Any]:
        return list(deque.__iter__(self.target))

    def changed(self) -> bool:
        return not (
            deque.__len__(self.target) == len(self.saved) and all(map(is_, deque.__iter__(self.target), self.saved))
        )

    def restore(self) -> None:
        deque.clear(self.target)
        deque.extend(self.target, self.saved)

    def drops(self) -> Iterator[tuple[str, object]]:
        kept = set(map(id, self.saved))
        for place, value in enumerate(self.peek()):
            if id(value) not in kept:
                yield f"[{place}]", value


class SetNode(Node):
    """A set, or the set inside an instance of a subclass; copied as a set, since that asks no element for its hash."""

    __slots__ = ("order",)

    order: list[Any]

    def __init__(self, target: object, parent: Node | None, label: str) -> None:
        super().__init__(target, parent, label)
        self.order = list(set.__iter__(self.target))

    def heads(self) -> list[Word]:
        return set_heads(self.target)

    def body(self) -> tuple[int, int] | None:
        return set_body(self.target)

    def peek(self) -> set[Any]:
        copy: set[Any] = set()
        set.update(copy, self.target)
        return copy

    def changed(self) -> bool:
        return not (
            set.__len__(self.target) == len(self.order) and all(map(is_, set.__iter__(self.target), self.order))
        )

    def restore(self) -> None:
        set.clear(self.target)
        set.update(self.target, self.saved)
        self.order = list(set.__iter__(self.target))  # Refilling may order it differently.

    def absorb(self, before: set[Any], now: set[Any]) -> None:
        self.saved = (self.saved | (now - before)) - (before - now)

    def drops(self) -> Iterator[tuple[str, object]]:
        kept = set(map(id, self.order))
        for value in list(set.__iter__(self.target)):
            if id(value) not in kept:
                yield "{...}", value


class BytesNode(Node):
    """A bytearray: compared and restored as bytes."""

    __slots__ = ()

    def heads(self) -> list[Word]:
        return buffer_heads(self.target)

    def body(self) -> tuple[int, int] | None:
        return buffer_body(self.target)

    def peek(self) -> bytes:
        return bytes(memoryview(self.target))

    def changed(self) -> bool:
        return bool(bytearray.__ne__(self.target, self.saved) is True)

    def restore(self) -> None:
        bytearray.__setitem__(self.target, EVERYTHING, self.saved)

    def drops(self) -> Iterator[tuple[str, object]]:
        yield "", self.target


class ArrayNode(Node):
    """An ``array.array``: compared and restored as bytes, so that a NaN equals itself."""

    __slots__ = ()

    def heads(self) -> list[Word]:
        return buffer_heads(self.target)

    def body(self) -> tuple[int, int] | None:
        return buffer_body(self.target)

    def peek(self) -> bytes:
        return array.tobytes(self.target)

    def changed(self) -> bool:
        return bool(array.tobytes(self.target) != self.saved)

    def restore(self) -> None:
        size = len(self.saved) // self.target.itemsize
        if array.__len__(self.target) == size:
            memoryview(self.target).cast("B")[:] = self.saved  # Works while somebody holds a view of it.
        else:
            array.__delitem__(self.target, EVERYTHING)
            array.frombytes(self.target, self.saved)

    def drops(self) -> Iterator[tuple[str, object]]:
        yield "", self.target


def attributes_that_differ(name: str, now: dict[str, Any], kept: dict[str, Any]) -> list[str]:
    """Name the attributes that were set, deleted or added."""
    if [*now] == [*kept]:
        return [f"{name}.{key}" for key in compress(kept, map(is_not, now.values(), kept.values()))]
    differing = compress(kept, map(is_not, map(now.get, kept, repeat(_NOWHERE)), kept.values()))
    return [f"{name}.{key}" for key in chain(differing, [key for key in now if key not in kept])]


def _has_own_iter(kind: type) -> bool:
    for base in type.__getattribute__(kind, "__mro__"):
        if "__iter__" in type.__getattribute__(base, "__dict__"):
            return base is not dict
    return False


def merge(kept: dict[Any, Any], before: dict[Any, Any], now: dict[Any, Any]) -> dict[Any, Any]:
    """Apply to `kept` what changed between `before` and `now`."""
    merged = dict(kept)
    for key, value in now.items():
        if key not in before or before[key] is not value:
            merged[key] = value
    for key in before:
        if key not in now:
            merged.pop(key, None)
    return merged


def label_of(key: object) -> str:
    """Write a key as it reads in code; a user's own key is not asked for its repr."""
    if type(key) is str:
        return f"[{key!r}]" if len(key) <= 40 else f"[{key[:39]!r}...]"
    return f"[{key!r}]" if type(key) in (int, bool, float) else f"[<{type(key).__name__}>]"
