"""One question for many objects: has any of them changed since it was last looked at?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import compress
from operator import ne
from struct import Struct
from typing import Any, Protocol

from greenroom_replica.reset.images import NARROW, Word, memcmp, view

_unpack_nothing = Struct("").unpack

_NOTHING: Word = memoryview(b"")


class Watched(Protocol):
    """What can be watched: by its memory where there are heads, else by asking it."""

    @property
    def row(self) -> Any:
        """The row of process state that it belongs to; None for the user's."""
        ...

    @property
    def hot(self) -> bool:
        """Whether calls change it often: containers, instances and globals, not functions."""
        ...

    @property
    def grows(self) -> bool:
        """Whether it may get more heads later: a function that is given attributes."""
        ...

    def heads(self) -> list[Word]:
        """Views of fixed places that change with the object; empty where it has to be asked."""
        ...

    def body(self) -> tuple[int, int] | None:
        """Address and size of memory that may move, and is read only while the heads are unchanged."""
        ...

    def changed(self) -> bool:
        """Compare exactly, in Python, with what was kept."""
        ...


class Watch:
    """The images of some objects, and which of the objects no longer look like them.

    A clean answer costs a join and a compare of bytes for the heads, and another where there are bodies, whatever the
    number of elements in the objects.
    """

    def __init__(self, items: Iterable[Watched] = ()) -> None:
        self.items: list[Watched] = []
        self._heads: list[Word] = []
        self._head_parts: list[bytes] = []
        self._owners: list[Watched] = []
        self._places: dict[int, list[int]] = {}
        self._image = b""
        self._unpack: Callable[[bytes], tuple[Any, ...]] | None = None
        self._unpack_hot: Callable[[bytes], tuple[Any, ...]] = _unpack_nothing
        self._hot = 0
        self._bodies: list[Word] = []
        self._body_parts: list[bytes] = []
        self._body_owners: list[Watched] = []
        self._body_at: list[tuple[int, int]] = []
        self._body_places: dict[int, int] = {}
        self._body_image = b""
        self._wide: dict[int, tuple[Watched, int, int, bytes]] = {}
        self._asked: list[Watched] = []
        self._bodiless: set[int] = set()
        self._is_all_heads = True
        self.add(items)

    def add(self, items: Iterable[Watched]) -> None:
        """Watch these too, from how they look now."""
        for item in sorted(items, key=lambda item: not item.hot):
            self.items.append(item)
            heads = item.heads()
            if not heads:
                self._asked.append(item)
                continue
            self._places[id(item)] = []
            self._place(item, heads)
            self._look(item)
        self._seal()

    def _place(self, item: Watched, heads: list[Word]) -> None:
        self._places[id(item)] += range(len(self._heads), len(self._heads) + len(heads))
        self._heads += heads
        self._head_parts += map(bytes, heads)
        self._owners += [item] * len(heads)
        self._unpack = None

    def clean(self) -> bool:
        """Tell whether all still look as they did."""
        return b"".join(self._heads) == self._image and (self._is_all_heads or self._rest_is_clean())

    def dirty(self) -> list[Watched]:
        """Find those that changed. What only looks different (a memory moved) may be among them."""
        found = self._moved()
        bodies, parts, image = self._bodies, self._body_parts, self._body_image
        places = [place for key in found if (place := self._body_places.get(key)) is not None]
        if places:
            # A body is read only behind an unchanged head: else it may be memory that was given back.
            bodies, parts = list(bodies), list(parts)
            for place in places:
                bodies[place], parts[place] = _NOTHING, b""
            image = b"".join(parts)
        if b"".join(bodies) != image:
            changed = compress(self._body_owners, map(ne, bodies, parts))
            found.update((id(item), item) for item in changed)
        for item, address, size, part in self._wide.values():
            if id(item) not in found and memcmp(address, _address(part), size):
                found[id(item)] = item
        if self._asked:
            return [*found.values(), *(item for item in self._asked if item.changed())]
        return list(found.values())

    def rearm(self, items: Sequence[Watched]) -> None:
        """Take how these look now as how they should look."""
        heads, parts = self._heads, self._head_parts
        for item in items:
            key = id(item)
            places = self._places.get(key)
            if places is None:
                continue
            still = True
            for at in places:
                part = heads[at].tobytes()
                if part != parts[at]:
                    parts[at] = part
                    still = False
            if item.grows and len(grown := item.heads()) > len(places):
                self._place(item, grown[len(places) :])
            body = self._body_places.get(key)
            if still and body is not None:
                self._body_parts[body] = self._bodies[body].tobytes()
            elif key not in self._bodiless:
                self._look(item)
        if items:
            self._seal()

    def _seal(self) -> None:
        self._image = b"".join(self._head_parts)
        self._body_image = b"".join(self._body_parts)
        self._is_all_heads = not (self._bodies or self._wide or self._asked)

    def _look(self, item: Watched) -> None:
        """Keep what an item's body holds now."""
        key = id(item)
        body = item.body()
        if body is None:
            self._bodiless.add(key)
            return
        place = self._body_places.get(key)
        if place is not None and body == self._body_at[place]:
            self._body_parts[place] = self._bodies[place].tobytes()
            return
        self._wide.pop(key, None)
        narrow = 0 < body[1] <= NARROW
        word = view(*body) if body[1] else _NOTHING
        if not narrow and body[1]:
            self._wide[key] = (item, *body, word.tobytes())
        if place is None:
            if narrow:
                self._body_places[key] = len(self._bodies)
                self._bodies.append(word)
                self._body_at.append(body)
                self._body_parts.append(word.tobytes())
                self._body_owners.append(item)
        else:
            self._bodies[place] = word = word if narrow else _NOTHING
            self._body_at[place] = body if narrow else (0, 0)
            self._body_parts[place] = word.tobytes()

    def _moved(self) -> dict[int, Watched]:
        """Find the owners of the heads that differ: one unpacking for all is faster than any search."""
        owners, parts, image = self._owners, self._head_parts, self._image
        if self._unpack is None:
            sizes = [len(part) for part in parts]
            cold = next((place for place, owner in enumerate(owners) if not owner.hot), len(owners))
            self._hot = sum(sizes[:cold])
            self._unpack = Struct("".join(f"{size}s" for size in sizes)).unpack
            self._unpack_hot = Struct("".join(f"{size}s" for size in sizes[:cold])).unpack
        now, hot = b"".join(self._heads), self._hot
        # What is hardly ever changed (functions, classes) comes last, and is told unchanged by one compare.
        seen = self._unpack_hot(now[:hot]) if now[hot:] == image[hot:] else self._unpack(now)
        return {id(owner): owner for owner in compress(owners, map(ne, seen, parts))}

    def _rest_is_clean(self) -> bool:
        """Look at bodies, which may be read since the heads are unchanged, and ask what has no heads."""
        if b"".join(self._bodies) != self._body_image:
            return False
        for _, address, size, part in self._wide.values():
            if memcmp(address, _address(part), size):
                return False
        return not any(item.changed() for item in self._asked)


def _address(part: bytes) -> int:
    """Where the bytes of a bytes object begin."""
    return id(part) + bytes.__basicsize__ - 1
