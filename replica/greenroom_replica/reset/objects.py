"""Snapshots of what user code defines: instances, classes, functions, the cells of closures."""

from __future__ import annotations

from _thread import _local
from collections.abc import Iterator
from operator import is_
from types import CellType, FunctionType, GetSetDescriptorType, MemberDescriptorType
from typing import Any

from greenroom_replica.reset.images import (
    Word,
    body_heads,
    cell_heads,
    class_space,
    dict_body,
    dict_heads,
    function_heads,
    has_attributes,
    instance_heads,
)
from greenroom_replica.reset.nodes import Node, attributes_that_differ, merge

MISSING: Any = type("Missing", (), {"__repr__": lambda self: "MISSING"})()

SYSTEM_NAMES = frozenset(
    [
        "__dict__",
        "__weakref__",
        "__doc__",
        "__annotations__",
        "__annotate__",
        "__annotate_func__",
        "__annotations_cache__",
        "__abstractmethods__",
        "__static_attributes__",
        "__firstlineno__",
        "_abc_impl",
    ]
)
"""Names in a class that the interpreter makes or changes by itself."""


def space_of(target: object) -> dict[Any, Any] | None:
    """Get an instance's ``__dict__`` without running code of its class; None where it has none, or a made-up one."""
    if issubclass(type(target), _local):  # Not isinstance: that asks the object for its __class__.
        this_threads: Any = target
        return _local.__getattribute__(this_threads, "__dict__")  # type: ignore[no-any-return]
    for kind in mro_of(type(target)):
        found = type.__getattribute__(kind, "__dict__").get("__dict__", MISSING)
        if found is not MISSING:
            space = found.__get__(target) if type(found) in (GetSetDescriptorType, MemberDescriptorType) else None
            return space if type(space) is dict else None
    return None


def mro_of(kind: type) -> tuple[type, ...]:
    """The bases of a class, past what its metaclass overrides."""
    return type.__getattribute__(kind, "__mro__")  # type: ignore[no-any-return]


def slots_of(kind: type) -> list[MemberDescriptorType]:
    """The descriptors of all ``__slots__`` of a class and its bases, read past what the class overrides."""
    return [
        value
        for base in mro_of(kind)
        for space in (type.__getattribute__(base, "__dict__"),)
        if "__slots__" in space
        for value in space.values()
        if type(value) is MemberDescriptorType
    ]


class InstanceNode(Node):
    """The ``__dict__`` and the class of an instance."""

    __slots__ = ("kind", "space")

    space: dict[Any, Any]
    kind: type

    def __init__(self, target: object, space: dict[Any, Any], parent: Node | None, label: str) -> None:
        self.space = space
        self.kind = type(target)
        super().__init__(target, parent, label)

    def heads(self) -> list[Word]:
        return instance_heads(self.target, self.space)

    def body(self) -> tuple[int, int] | None:
        return dict_body(self.space)

    def peek(self) -> dict[Any, Any]:
        return dict(self.space)

    def changed(self) -> bool:
        if type(self.target) is not self.kind or space_of(self.target) is not self.space:
            return True
        space, saved = self.space, self.saved
        return not (
            len(space) == len(saved) and all(map(is_, space.values(), saved.values())) and all(map(is_, space, saved))
        )

    def restore(self) -> None:
        if type(self.target) is not self.kind:
            object.__setattr__(self.target, "__class__", self.kind)
        if space_of(self.target) is not self.space:
            object.__setattr__(self.target, "__dict__", self.space)
        self.space.clear()
        self.space.update(self.saved)

    def absorb(self, before: dict[Any, Any], now: dict[Any, Any]) -> None:
        self.saved = merge(self.saved, before, now)

    def settle(self) -> list[str]:
        names = attributes_that_differ(self.name, space_of(self.target) or {}, self.saved)
        return super().settle() and (names or [self.name])

    def drops(self) -> Iterator[tuple[str, object]]:
        for name, value in list((space_of(self.target) or {}).items()):
            if self.saved.get(name, self) is not value:
                yield f".{name}", value


class SlotsNode(Node):
    """The slots of an instance (also of C types: ``defaultdict.default_factory``)."""

    __slots__ = ("descriptors",)

    descriptors: list[MemberDescriptorType]

    def __init__(
        self, target: object, descriptors: list[MemberDescriptorType], parent: Node | None, label: str
    ) -> None:
        self.descriptors = descriptors
        super().__init__(target, parent, label)

    def heads(self) -> list[Word]:
        return body_heads(self.target) if space_of(self.target) is None else []

    def peek(self) -> list[Any]:
        return [_get_slot(descriptor, self.target) for descriptor in self.descriptors]

    def changed(self) -> bool:
        return not all(map(is_, self.peek(), self.saved))

    def restore(self) -> None:
        for descriptor, value in zip(self.descriptors, self.saved, strict=True):
            if value is not MISSING:
                descriptor.__set__(self.target, value)
            elif _get_slot(descriptor, self.target) is not MISSING:
                descriptor.__delete__(self.target)

    def drops(self) -> Iterator[tuple[str, object]]:
        for descriptor, now, value in zip(self.descriptors, self.peek(), self.saved, strict=True):
            if now is not value and now is not MISSING:
                yield f".{descriptor.__name__}", now


def _get_slot(descriptor: MemberDescriptorType, target: object) -> Any:
    try:
        return descriptor.__get__(target)
    except AttributeError:
        return MISSING


class ClassNode(Node):
    """The attributes of a user class, set and deleted past its metaclass."""

    __slots__ = ("keeps", "space")

    hot = False

    def __init__(self, target: type, keeps: Any, parent: Node | None, label: str) -> None:
        self.space = class_space(target)
        self.keeps = keeps
        super().__init__(target, parent, label)

    def heads(self) -> list[Word]:
        return dict_heads(self.space) if self.space is not None else []

    def body(self) -> tuple[int, int] | None:
        return dict_body(self.space) if self.space is not None else None

    def peek(self) -> dict[str, Any]:
        items = type.__getattribute__(self.target, "__dict__").items()
        return {name: value for name, value in items if name not in SYSTEM_NAMES}

    def changed(self) -> bool:
        now, saved = self.peek(), self.saved
        return not (
            len(now) == len(saved) and all(map(is_, now.values(), saved.values())) and all(map(is_, now, saved))
        )

    def restore(self) -> None:
        saved = self.saved
        for name, value in self.peek().items():
            if name not in saved and not self.keeps(value):
                type.__delattr__(self.target, name)
        now = self.peek()
        for name, value in saved.items():
            if now.get(name, MISSING) is not value:
                type.__setattr__(self.target, name, value)
        self.saved = self.peek()

    def absorb(self, before: dict[str, Any], now: dict[str, Any]) -> None:
        self.saved = merge(self.saved, before, now)

    def settle(self) -> list[str]:
        names = attributes_that_differ(self.name, self.peek(), self.saved)
        return super().settle() and (names or [self.name])

    def drops(self) -> Iterator[tuple[str, object]]:
        for name, value in self.peek().items():
            if self.saved.get(name, self) is not value:
                yield f".{name}", value


class FunctionNode(Node):
    """A function's code, defaults and keyword defaults, and its attributes."""

    __slots__ = ("space",)

    hot = False
    grows = True

    def __init__(self, target: FunctionType, parent: Node | None, label: str) -> None:
        self.space: dict[str, Any] | None = target.__dict__ if has_attributes(target) else None
        super().__init__(target, parent, label)

    def heads(self) -> list[Word]:
        space = dict_heads(self.space) if self.space is not None else []
        heads = function_heads(self.target)
        return [*heads, *space] if heads and (space or self.space is None) else []

    def body(self) -> tuple[int, int] | None:
        return dict_body(self.space) if self.space is not None else None

    def peek(self) -> tuple[Any, ...]:
        target = self.target
        attributes = dict(target.__dict__) if has_attributes(target) else {}
        return target.__code__, target.__defaults__, target.__kwdefaults__, target.__doc__, attributes

    def same(self, one: Any, other: Any) -> bool:
        if not all(map(is_, one[:4], other[:4])):
            return False
        space, saved = one[4], other[4]
        return (
            len(space) == len(saved) and all(map(is_, space.values(), saved.values())) and all(map(is_, space, saved))
        )

    def changed(self) -> bool:
        if self.space is not None and self.target.__dict__ is not self.space:
            return True
        return not self.same(self.peek(), self.saved)

    def restore(self) -> None:
        target: FunctionType = self.target
        code, defaults, keyword_defaults, doc, attributes = self.saved
        if target.__code__ is not code:
            target.__code__ = code
        target.__defaults__, target.__kwdefaults__, target.__doc__ = defaults, keyword_defaults, doc
        if not has_attributes(target):
            return
        if self.space is None:
            self.space = target.__dict__
        elif target.__dict__ is not self.space:
            target.__dict__ = self.space
        self.space.clear()
        self.space.update(attributes)

    def drops(self) -> Iterator[tuple[str, object]]:
        for name, value in self.peek()[4].items():
            if self.saved[4].get(name, self) is not value:
                yield f".{name}", value


class CellNode(Node):
    """What a closure's variable is bound to."""

    __slots__ = ()

    hot = False

    def heads(self) -> list[Word]:
        return cell_heads(self.target)

    def peek(self) -> Any:
        return cell_content(self.target)

    def changed(self) -> bool:
        return cell_content(self.target) is not self.saved

    def same(self, one: Any, other: Any) -> bool:
        return one is other

    def restore(self) -> None:
        if self.saved is not MISSING:
            self.target.cell_contents = self.saved
        elif cell_content(self.target) is not MISSING:
            del self.target.cell_contents

    def drops(self) -> Iterator[tuple[str, object]]:
        if self.changed():
            yield "", cell_content(self.target)


def cell_content(cell: CellType) -> Any:
    """Get a cell's content, MISSING where it is empty."""
    try:
        return cell.cell_contents
    except ValueError:
        return MISSING
