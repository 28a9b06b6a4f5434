"""What a digest is made of: parts that it covers, and guards that say how long it holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import blake2b
from types import CellType, CodeType, FunctionType
from typing import Any, NamedTuple

from greenroom.digest.bytecode import facts_of_code
from greenroom.digest.facts import Chain, Facts, facts_of
from greenroom.digest.spaces import MISSING, Space
from greenroom.digest.values import mark


class Part(NamedTuple):
    """One definition or value that a digest covers."""

    where: str
    """`helpers.py:12`; not part of the digest."""
    text: str
    """A value as a person reads it, or a mark of the text of some code."""
    content: str
    """What the digest covers."""


class Guard(NamedTuple):
    """A name that was looked up, and what it held then: while this holds, the digest does."""

    names: Any
    """Something with `get`: a module's globals, a class's attributes, a closure's cells."""
    name: str
    value: Any
    mark: bytes | None
    """Set where the value can change in place."""
    state: frozenset[str]
    """Attributes of it that are state, and no part of the mark."""
    label: str

    def holds(self) -> bool:
        """Whether the name still has what it had."""
        if self.names.get(self.name, MISSING) is not self.value:
            return False
        return self.mark is None or mark(self.value, self.state) == self.mark


class Cells:
    """The cells of closures, looked up by name."""

    __slots__ = ("_cells",)

    def __init__(self, *functions: FunctionType) -> None:
        self._cells: dict[str, CellType] = {}
        for function in functions:
            self._cells.update(zip(function.__code__.co_freevars, function.__closure__ or (), strict=False))

    def cell(self, name: str) -> CellType:
        """The cell itself."""
        return self._cells[name]

    def get(self, name: str, default: Any = None) -> Any:
        """What the cell holds, or the default where it is empty."""
        cell = self._cells.get(name)
        if cell is None:
            return default
        try:
            return cell.cell_contents
        except ValueError:  # Not assigned yet.
            return default

    def __contains__(self, name: str) -> bool:
        return name in self._cells


def digest_of(parts: Mapping[str, Part]) -> str:
    """The digest of parts, in whatever order they were found."""
    whole = blake2b(digest_size=16)
    for name in sorted(parts):
        whole.update(f"{name}\x1f{parts[name].content}\x1e".encode("utf-8", "surrogatepass"))
    return whole.hexdigest()


def read_code(code: CodeType, space: Space, ours: Callable[[Space, Chain], bool]) -> tuple[Facts, bool]:
    """What a code object says, from its text where that is at hand; and whether it was."""
    source = space.source
    nodes = source.definition(code) if source is not None else []
    if nodes:
        facts = facts_of(nodes, lambda chain: ours(space, chain), code)
        if len(nodes) > 1:  # One of several of one name: their texts alone would make them the same.
            facts.text += facts_of_code(code).text
        return facts, True
    return facts_of_code(code), False


def read_class(cls: type, space: Space, ours: Callable[[Space, Chain], bool]) -> Facts | None:
    """What a class's text says; None where there is no text."""
    source = space.source
    if source is None:
        return None
    lines = {
        value.__code__.co_firstlineno
        for value in vars(cls).values()
        if isinstance(value, FunctionType) and value.__code__.co_filename == space.file
    }
    nodes = source.class_nodes(cls.__qualname__, lines)
    return facts_of(nodes, lambda chain: ours(space, chain)) if nodes else None
