"""One question for many objects: has any of them changed since it was last looked at?"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Protocol

from greenroom_replica.reset.images import Word, is_narrow, memcmp, view

_NOTHING: Word = memoryview(b"")


class Watched(Protocol):
    """What can be watched: by its memory where there are heads, else by asking it."""

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

    A clean answer costs two joins and two compares of bytes, whatever the number of elements in the objects.
    """

    def __init__(self, items: Iterable[Watched] = ()) -> None:
        self.items: list[Watched] = []
        self._heads: list[Word] = []
        self._head_parts: list[bytes] = []
        self._owners: list[Watched] = []
        self._places: dict[int, list[int]] = {}
        self._image = b""
        self._ends: list[int] = []
        self._bodies: list[Word] = []
        self._body_parts: list[bytes] = []
        self._body_owners: list[Watched] = []
        self._body_places: dict[int, int] = {}
        self._body_image = b""
        self._wide: dict[int, tuple[Watched, int, int, bytes]] = {}
        self._asked: list[Watched] = []
        self._slow = False
        self.add(items)

    def add(self, items: Iterable[Watched]) -> None:
        """Watch these too, from how they look now."""
        for item in items:
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
        self._ends = []

    def clean(self) -> bool:
        """Tell whether all still look as they did."""
        return (
            b"".join(self._heads) == self._image
            and b"".join(self._bodies) == self._body_image
            and not (self._slow and self._slowly_changed())
        )

    def dirty(self) -> list[Watched]:
        """Find those that changed. What only looks different (a memory moved) may be among them."""
        found = {id(item): item for item in self._moved()}
        for place, (word, part) in enumerate(zip(self._bodies, self._body_parts, strict=True)):
            item = self._body_owners[place]
            # A body is read only behind an unchanged head: else it may be memory that was given back.
            if part and id(item) not in found and bytes(word) != part:
                found[id(item)] = item
        for item, address, size, part in self._wide.values():
            if id(item) not in found and memcmp(address, _address(part), size):
                found[id(item)] = item
        return [*found.values(), *(item for item in self._asked if item.changed())]

    def rearm(self, items: Sequence[Watched]) -> None:
        """Take how these look now as how they should look."""
        for item in items:
            places = self._places.get(id(item))
            if places is None:
                continue
            heads = item.heads()
            for at, word in zip(places, heads, strict=False):
                self._heads[at] = word
                self._head_parts[at] = bytes(word)
            if len(heads) > len(places):  # A function that has attributes now has one more place to look at.
                self._place(item, heads[len(places) :])
            self._look(item)
        self._seal()

    def _seal(self) -> None:
        self._image = b"".join(self._head_parts)
        self._body_image = b"".join(self._body_parts)
        self._slow = bool(self._wide or self._asked)

    def _look(self, item: Watched) -> None:
        """Keep what an item's body holds now."""
        body = item.body()
        self._wide.pop(id(item), None)
        place = self._body_places.get(id(item))
        if place is not None:
            self._bodies[place], self._body_parts[place] = _NOTHING, b""
        if not body or not body[1]:
            return
        word = view(*body)
        if not is_narrow(body[1]):
            self._wide[id(item)] = (item, *body, bytes(word))
            return
        if place is None:
            self._body_places[id(item)] = len(self._bodies)
            self._bodies.append(word)
            self._body_parts.append(bytes(word))
            self._body_owners.append(item)
        else:
            self._bodies[place], self._body_parts[place] = word, bytes(word)

    def _moved(self) -> Iterable[Watched]:
        """Find the owners of the heads that differ, by halving: the cost follows their number, not that of all."""
        if not self._ends:
            self._ends = list(accumulate(map(len, self._head_parts)))
        now, image, ends = b"".join(self._heads), self._image, self._ends
        ranges = [(0, len(ends))]
        while ranges:
            first, last = ranges.pop()
            start, stop = ends[first - 1] if first else 0, ends[last - 1] if last else 0
            if now[start:stop] == image[start:stop]:
                continue
            if last - first == 1:
                yield self._owners[first]
                continue
            middle = min(max(bisect_right(ends, (start + stop) // 2), first + 1), last - 1)
            ranges += ((middle, last), (first, middle))

    def _slowly_changed(self) -> bool:
        for _, address, size, part in self._wide.values():
            if memcmp(address, _address(part), size):
                return True
        return any(item.changed() for item in self._asked)


def _address(part: bytes) -> int:
    """Where the bytes of a bytes object begin."""
    return id(part) + bytes.__basicsize__ - 1
