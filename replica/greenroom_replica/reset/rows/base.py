"""What every row of process state has in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from greenroom_replica.reset.images import Word, dict_body, dict_heads, list_body, list_heads
from greenroom_replica.reset.watch import Watched

Fields = dict[str, Any]
"""What a row read: names as a person writes them, values; the content of a list as a tuple."""

MISSING: Any = type("Missing", (), {"__repr__": lambda self: "MISSING"})()

_PLAIN = frozenset({int, float, str, bytes, bool, type(None)})


def same(one: Any, other: Any) -> bool:
    """Compare two fields: plain values by value, anything else by identity, so that no code of the user's is asked."""
    if one is other:
        return True
    kind = type(one)
    if kind is not type(other):
        return False
    if kind in _PLAIN:
        return bool(one == other)
    if kind in (tuple, frozenset):
        return len(one) == len(other) and all(map(same, one, other)) if kind is tuple else one == other
    if kind is dict:
        return len(one) == len(other) and all(key in other and same(value, other[key]) for key, value in one.items())
    return False


class Row:
    """One kind of process state.

    `read` gives all of it as fields; `write` puts fields back. What a call may have changed is found by memory where
    the row names the dicts and lists that hold it (`spaces`), else by `quick`, which is asked after every call and
    has to be cheap.
    """

    name = ""
    hot = True
    grows = False
    silent = False
    """Whether a change is put back without a word: normal use makes it."""

    def __init__(self) -> None:
        self.base: Fields = {}

    def read(self) -> Fields:
        """Read everything that this row restores."""
        raise NotImplementedError

    def write(self, base: Fields) -> None:
        """Put everything back; raise `RowFailure` where that cannot be done."""
        raise NotImplementedError

    def use(self, base: Fields) -> None:
        """Take these fields as what is right from now on."""
        self.base = base

    def quick(self) -> bool:
        """Tell whether what has to be asked each time is as it should be."""
        return True

    def spaces(self) -> list[dict[Any, Any] | list[Any]]:
        """The dicts and lists that change whenever the row does."""
        return []

    def differs(self) -> list[str]:
        """Name the fields that are not what is right."""
        now, base = self.read(), self.base
        names = [*base, *(name for name in now if name not in base)]
        return [name for name in names if not same(now.get(name, MISSING), base.get(name, MISSING))]

    def merge(self, base: Fields, before: Fields, now: Fields) -> Fields:
        """Keep in `base` what changed between `before` and `now`: an import did that, and its module stays."""
        merged = dict(base)
        for name in {**before, **now}:
            was, value = before.get(name, MISSING), now.get(name, MISSING)
            if same(was, value):
                continue
            if value is MISSING:
                merged.pop(name, None)
            elif type(value) is tuple and type(was) is tuple and type(merged.get(name)) is tuple:
                merged[name] = _merge_lists(merged[name], was, value)
            else:
                merged[name] = value
        return merged


def _merge_lists(base: tuple[Any, ...], was: tuple[Any, ...], now: tuple[Any, ...]) -> tuple[Any, ...]:
    """Add to `base` what was added between two looks, in front or at the end; take away what was taken away."""
    if same(base, was):
        return now
    gone = [item for item in was if not any(same(item, other) for other in now)]
    new = [item for item in now if not any(same(item, other) for other in (*was, *base))]
    kept = [item for item in base if not any(same(item, other) for other in gone)]
    in_front = bool(new) and same(new[0], now[0])
    return (*new, *kept) if in_front else (*kept, *new)


class RowFailure(Exception):
    """A row that could not be put back: this runner can't take another call."""


class SpaceItem:
    """One dict or list of a row, as something to watch: when its memory changes, the row is asked."""

    hot = True
    grows = False

    def __init__(self, row: Row, space: dict[Any, Any] | list[Any]) -> None:
        self.row = row
        self.space = space

    def heads(self) -> list[Word]:
        """See `Watched.heads`."""
        return dict_heads(self.space) if isinstance(self.space, dict) else list_heads(self.space)

    def body(self) -> tuple[int, int] | None:
        """See `Watched.body`."""
        return dict_body(self.space) if isinstance(self.space, dict) else list_body(self.space)

    def changed(self) -> bool:
        """See `Watched.changed`: asked only where memory cannot be read."""
        return bool(self.row.differs())


class AskedItem:
    """A row none of whose spaces can be watched: it is asked once for all of them."""

    hot = True
    grows = False

    def __init__(self, row: Row) -> None:
        self.row = row

    def heads(self) -> list[Word]:
        """See `Watched.heads`."""
        return []

    def body(self) -> tuple[int, int] | None:
        """See `Watched.body`."""
        return None

    def changed(self) -> bool:
        """See `Watched.changed`."""
        return bool(self.row.differs())


def items_of(row: Row) -> list[Watched]:
    """Make what has to be watched of a row."""
    spaces: list[Watched] = [SpaceItem(row, space) for space in row.spaces()]
    return spaces if all(item.heads() for item in spaces) else [AskedItem(row)]


Getter = Callable[[], Any]
