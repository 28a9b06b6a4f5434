"""The code digest: what a function does, as a few bytes that are the same in every process and at every place.

It covers the function's code and the user definitions that it refers to, over-approximated: an edit that could matter
changes it, an edit elsewhere, a comment or a formatter does not. ADR 0021 says how, and where it is wrong on the safe
side.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping
from types import CodeType, FunctionType, ModuleType
from typing import Any, Final
from weakref import WeakKeyDictionary

from greenroom.digest.explain import explain
from greenroom.digest.facts import Chain, Facts
from greenroom.digest.modules import IsUser, is_local, public_name
from greenroom.digest.parts import Cells, Guard, Part, digest_of, read_class, read_code
from greenroom.digest.spaces import MISSING, Space
from greenroom.digest.values import mark
from greenroom.digest.walk import Walk

# Whoever imports this package late, from threads, takes everything from here: two threads that begin with different
# modules of it would wait for each other, and Python ends that by giving one of them a module that is half there.
__all__ = [
    "MISSING",
    "Digest",
    "Digester",
    "IsUser",
    "Part",
    "code_digest",
    "explain",
    "is_local",
    "mark",
    "public_name",
]


MAX_KEPT: Final = 4096
"""Digests of functions, and what their texts say, that are kept."""


class Digest:
    """What `code_digest` finds."""

    __slots__ = ("_parts", "guards", "hex", "state_cells")

    def __init__(self, parts: Mapping[str, Part], guards: Collection[Guard], state_cells: Collection[str]) -> None:
        self._parts = dict(sorted(parts.items()))
        self.hex = digest_of(parts)
        """32 hexadecimal digits."""
        self.guards = tuple(guards)
        """What was looked up: while each name holds what it held, the digest holds in this process."""
        self.state_cells = frozenset(state_cells)
        """Names in the function's own closure that its code changes, and that are therefore no part of what it is."""

    @property
    def parts(self) -> dict[str, tuple[str, str]]:
        """Each definition and value covered: `module:name` to (`file:line`, a value, or a mark of some code)."""
        return {name: (part.where, part.text) for name, part in self._parts.items()}

    def holds(self) -> bool:
        """Whether nothing that it covers has changed in this process."""
        return all(guard.holds() for guard in self.guards)

    def changed(self) -> list[Guard]:
        """The names that hold something else by now."""
        return [guard for guard in self.guards if not guard.holds()]

    def __repr__(self) -> str:
        return f"<Digest {self.hex[:12]} of {len(self._parts)} parts>"


class Digester:
    """Digests of one bundle's code. It keeps what it has read, so that a definition is read once.

    Args:
        is_user: Says which modules are the user's, by name and file; by default those that are not installed.
        roots: Where the bundle lies; its name is no part of any digest.
    """

    def __init__(self, is_user: IsUser | None = None, roots: Collection[str] = ()) -> None:
        self.is_user: IsUser = is_user or is_local
        self.roots = tuple(root.rstrip("/") for root in roots if root.rstrip("/"))
        self.volatile: set[tuple[str, str]] = set()
        """(module, global) pairs that were seen to change while a loader ran: state, and no definition."""
        self._facts: dict[int, tuple[CodeType, Facts, bool]] = {}
        self._class_facts: WeakKeyDictionary[type, Facts | None] = WeakKeyDictionary()
        self._user_classes: WeakKeyDictionary[type, bool] = WeakKeyDictionary()
        self._functions: dict[tuple[int, ...], tuple[FunctionType, Digest]] = {}
        self._classes: WeakKeyDictionary[type, Digest] = WeakKeyDictionary()
        self._closures: WeakKeyDictionary[FunctionType, Digest] = WeakKeyDictionary()

    def digest(self, target: Any, *, since: int | None = None, cells: bool = True) -> Digest:
        """The digest of a function, a class, or what wraps one; from memory while nothing in it has changed.

        Args:
            target: What to digest.
            since: When its module was imported, in nanoseconds of the wall clock: files that were written later are not
                read, since they are not what runs.
            cells: Whether the values that the target itself closes over count; code always does.
        """
        kept = self._kept(target, cells)
        if kept is not None and kept.holds():
            return kept
        walk = Walk(self, since)
        walk.run(target, cells=cells)
        found = Digest(walk.parts, walk.guards.values(), walk.state_cells)
        self._keep(target, cells, found)
        return found

    def _kept(self, target: Any, cells: bool) -> Digest | None:
        if isinstance(target, type):
            return self._classes.get(target)
        if not isinstance(target, FunctionType):
            return None
        if cells and target.__closure__:
            return self._closures.get(target)
        kept = self._functions.get(_identity(target))
        return kept[1] if kept is not None else None

    def _keep(self, target: Any, cells: bool, found: Digest) -> None:
        if isinstance(target, type):
            self._classes[target] = found
        elif isinstance(target, FunctionType):
            if cells and target.__closure__:
                self._closures[target] = found
            elif getattr(target, "__wrapped__", None) is None:
                if len(self._functions) >= MAX_KEPT:
                    self._functions.clear()
                # Held with the function, so that its code's identity is given to no other.
                self._functions[_identity(target)] = (target, found)

    def facts_of_code(self, code: CodeType, space: Space) -> tuple[Facts, bool]:
        """What a code object says, and whether that was read from its text."""
        kept = self._facts.get(id(code))
        if kept is None:
            if len(self._facts) >= MAX_KEPT:
                self._facts.clear()
            kept = self._facts[id(code)] = (code, *read_code(code, space, self._ours))
        return kept[1], kept[2]

    def facts_of_class(self, cls: type, space: Space) -> Facts | None:
        """What a class's text says; None where there is no text."""
        if cls not in self._class_facts:
            self._class_facts[cls] = read_class(cls, space, self._ours)
        return self._class_facts[cls]

    def _ours(self, space: Space, chain: Chain) -> bool:
        return Walk(self, None).ours(space, chain)

    def is_user_class(self, cls: type) -> bool:
        """Whether a class is defined in the user's code."""
        kept = self._user_classes.get(cls)
        if kept is None:
            kept = self._user_classes[cls] = self._is_user_class(cls)
        return kept

    def _is_user_class(self, cls: type) -> bool:
        name = cls.__module__
        if not isinstance(name, str) or name == "builtins":
            return False
        module = sys.modules.get(name)
        file = getattr(module, "__file__", None) if isinstance(module, ModuleType) else None
        if module is None or file is None:
            codes = [value.__code__ for value in vars(cls).values() if isinstance(value, FunctionType)]
            file = next((code.co_filename for code in codes if not code.co_filename.startswith("<string")), file)
        return self.is_user(name, file)


def _identity(function: FunctionType) -> tuple[int, ...]:
    """What a function's digest depends on, values of its closure aside: its code, its module, closed-over code."""
    cells = Cells(function)
    held = (cells.get(name) for name in function.__code__.co_freevars)
    code = (id(one) if isinstance(one, FunctionType | type | ModuleType) else 0 for one in held)
    return (id(function.__code__), id(function.__globals__), *code)


_DEFAULT: Final = Digester()


def code_digest(
    function: Any, *, is_user: IsUser | None = None, roots: Collection[str] = (), since: int | None = None
) -> Digest:
    """The digest of a function's code and of the user definitions that it refers to.

    Args:
        function: A function, a class, or what wraps one (a task, a partial, an `lru_cache`).
        is_user: Says which modules are the user's; see `Digester`.
        roots: Where the user's code lies.
        since: When the function's module was imported; see `Digester.digest`.
    """
    digester = _DEFAULT if is_user is None and not roots else Digester(is_user, roots)
    return digester.digest(function, since=since)
