"""Snapshots of objects that keep their state out of sight: memo tables, weak containers, arrays, locks, buffers."""

from __future__ import annotations

import gc
import os
from _thread import LockType, _count
from collections.abc import Callable, Iterator
from functools import _lru_cache_wrapper
from operator import is_
from typing import Any

from greenroom_replica.reset.images import Word, dict_body, dict_heads
from greenroom_replica.reset.nodes import MappingNode, Node

_inherited = 0
"""Threads that Python counts here though they stayed behind in the process that this one was forked from."""


def _forked() -> None:
    global _inherited
    _inherited = _count()


os.register_at_fork(after_in_child=_forked)


class LruNode(Node):
    """A function's ``lru_cache``: what calls put there goes, what an import put there stays where that can be.

    An unbounded cache (``functools.cache``) gets back exactly what the import had put there. A bounded one keeps its
    order in links that cannot be rebuilt from outside: if a call added to it, it is emptied whole, and its function
    computes again.
    """

    __slots__ = ("cache", "unbounded")

    def __init__(self, target: _lru_cache_wrapper[Any], parent: Node | None, label: str) -> None:
        self.unbounded = target.cache_parameters()["maxsize"] is None
        self.cache = _table_of(target)
        super().__init__(target, parent, label)

    def heads(self) -> list[Word]:
        return dict_heads(self.cache)

    def body(self) -> tuple[int, int] | None:
        return dict_body(self.cache)

    def peek(self) -> dict[Any, Any]:
        return dict(self.cache)

    def changed(self) -> bool:
        cache, saved = self.cache, self.saved
        return not (
            len(cache) == len(saved) and all(map(is_, cache.values(), saved.values())) and all(map(is_, cache, saved))
        )

    def restore(self) -> None:
        kept = self.saved
        self.target.cache_clear()
        if self.unbounded:
            self.cache.update(kept)
        else:
            self.saved = {}

    def absorb(self, before: Any, now: Any) -> None:
        self.saved = now

    def drops(self) -> Iterator[tuple[str, object]]:
        if len(self.cache) > len(self.saved):
            yield "", self.target


def _table_of(wrapper: object) -> dict[Any, Any]:
    """Find the dict in which an lru_cache keeps its results: the one that is not its ``__dict__``."""
    space = getattr(wrapper, "__dict__", None)
    for found in gc.get_referents(wrapper):
        if type(found) is dict and found is not space:
            return found
    return {}


class DispatchNode(MappingNode):
    """The registry of a ``functools.singledispatch`` function, whose own cache must not outlive a change."""

    __slots__ = ("forget",)

    def __init__(self, registry: dict[Any, Any], forget: Callable[[], object], parent: Node | None, label: str) -> None:
        self.forget = forget
        super().__init__(registry, parent, label)

    def restore(self) -> None:
        super().restore()
        self.forget()


class WeakNode(MappingNode):
    """The table inside a weak dict: nothing is kept alive for its sake, and what died does not come back."""

    __slots__ = ("by_key",)

    def __init__(self, table: Any, by_key: bool, parent: Node | None, label: str) -> None:
        self.by_key = by_key
        super().__init__(table, parent, label)

    def changed(self) -> bool:
        self.saved = {key: value for key, value in self.saved.items() if (key if self.by_key else value)() is not None}
        return super().changed()


class WeakSetNode(Node):
    """The table inside a ``weakref.WeakSet``."""

    __slots__ = ()

    def peek(self) -> list[Any]:
        return list(self.target)

    def changed(self) -> bool:
        self.saved = [reference for reference in self.saved if reference() is not None]
        return not (len(self.target) == len(self.saved) and all(map(is_, self.target, self.saved)))

    def restore(self) -> None:
        self.target.clear()
        self.target.update(self.saved)
        self.saved = list(self.target)


class NumpyNode(Node):
    """A small numpy array: compared and restored by bytes, with its shape."""

    __slots__ = ("frame",)

    def __init__(self, target: object, parent: Node | None, label: str) -> None:
        super().__init__(target, parent, label)
        self.frame = self._frame()

    def _frame(self) -> tuple[Any, ...]:
        return self.target.shape, self.target.dtype, self.target.strides, self.target.flags.writeable

    def peek(self) -> tuple[bytes, list[Any]]:
        # The references of an object array are kept alive, so that equal bytes mean the same objects.
        return self.target.tobytes(), self.target.ravel().tolist() if self.target.dtype.hasobject else []

    def same(self, one: Any, other: Any) -> bool:
        return bool(one[0] == other[0])

    def changed(self) -> bool:
        return bool(self.target.tobytes() != self.saved[0] or self._frame() != self.frame)

    def restore(self) -> None:
        target, (shape, dtype, strides, writeable) = self.target, self.frame
        if not target.flags.writeable:
            target.flags.writeable = True
        if target.dtype != dtype:
            target.dtype = dtype
        if target.shape != shape or target.strides != strides:
            target.resize(shape, refcheck=False)
        if dtype.hasobject:
            target.ravel()[:] = self.saved[1]
        else:
            target[...] = type(target)(shape, dtype, self.saved[0])
        target.flags.writeable = writeable

    def absorb(self, before: Any, now: Any) -> None:
        super().absorb(before, now)
        self.frame = self._frame()

    def drops(self) -> Iterator[tuple[str, object]]:
        yield "", self.target


class LockNode(Node):
    """A lock that was free: one that a call left taken would block the next for ever."""

    __slots__ = ()

    def peek(self) -> bool:
        if type(self.target) is LockType:
            return self.target.locked()
        return bool(self.target._is_owned())

    def same(self, one: Any, other: Any) -> bool:
        return bool(one == other)

    def changed(self) -> bool:
        # While any thread lives (an entry's), the lock may rightly be in its hands.
        return not self.saved and self.peek() and _count() <= _inherited

    def restore(self) -> None:
        while self.changed():
            self.target.release()


class BufferNode(Node):
    """An ``io.StringIO`` or ``io.BytesIO``: what it holds and where it stands."""

    __slots__ = ()

    def peek(self) -> tuple[Any, int]:
        return (None, 0) if self.target.closed else (self.target.getvalue(), self.target.tell())

    def same(self, one: Any, other: Any) -> bool:
        return bool(one == other)

    def changed(self) -> bool:
        return bool(self.peek() != self.saved)

    def restore(self) -> None:
        value, place = self.saved
        if self.target.closed or value is None:
            return  # A closed buffer cannot be opened again: the global that holds it says so on its next use.
        self.target.seek(0)
        self.target.truncate()
        self.target.write(value)
        self.target.seek(place)

    def drops(self) -> Iterator[tuple[str, object]]:
        yield "", self.target
