"""Frozen dataclasses to plain data and back, by their annotations, with errors that name the field.

One place for what every structure on the wire needs; built on first use and kept per class. Dataclasses become dicts
without the fields that hold their default, so that a newer field is no news to an older log.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Mapping
from enum import Enum
from math import isfinite
from typing import Any, TypeVar

T = TypeVar("T")
_Read = Callable[[Any, str], Any]


class WireFault(ValueError):
    """Plain data that is not what the structure needs; the message starts with where."""


def to_wire(obj: Any) -> Any:
    """Plain data for a structure made of dataclasses, enums, mappings and sequences."""
    cls = type(obj)
    if cls in _PLAIN:
        return obj
    layout = _LAYOUTS.get(cls)
    if layout is None:
        return _other_to_wire(obj, cls)
    tag = _TAGS.get(cls)
    wire: dict[str, Any] = {} if tag is None else {"is": tag}
    for name, default in layout:
        item = getattr(obj, name)
        if item is not default and not (type(item) is type(default) and item == default):
            wire[name] = item if type(item) in _PLAIN else to_wire(item)
    return wire


def _other_to_wire(obj: Any, cls: type[Any]) -> Any:
    if dataclasses.is_dataclass(cls):
        _LAYOUTS[cls] = [(field.name, _default(field)) for field in dataclasses.fields(cls)]
        return to_wire(obj)
    if isinstance(obj, Enum):
        return obj.value
    if isinstance(obj, Mapping):
        return {key: to_wire(item) for key, item in obj.items()}
    if isinstance(obj, (tuple, list, frozenset)):
        return [to_wire(item) for item in obj]
    return obj


def from_wire(cls: type[T], wire: Any, where: str = "") -> T:
    """Read what `to_wire` made.

    Args:
        cls: The dataclass to read.
        wire: Plain data from outside.
        where: Starts the path in errors, for people.

    Raises:
        WireFault: A field is missing, unknown or of the wrong type.
    """
    try:
        read: T = _reader(cls)(wire, where or cls.__name__)
    except RecursionError:
        raise WireFault(f"{where or cls.__name__}: nested too deep") from None
    return read


_TAGS: dict[type[Any], str] = {}


def tagged(tag: str) -> Callable[[type[T]], type[T]]:
    """Mark a member of a Union of dataclasses; its plain data carries `{"is": tag}`."""

    def mark(cls: type[T]) -> type[T]:
        _TAGS[cls] = tag
        return cls

    return mark


_LAYOUTS: dict[type[Any], list[tuple[str, Any]]] = {}
"""Fields of each dataclass that was met, with their defaults."""

_PLAIN = frozenset({str, int, float, bool, bytes, type(None)})
_MISSING = object()


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return _MISSING


_READERS: dict[Any, _Read] = {}
_Making = dict[Any, _Read]


def _reader(annotation: Any, making: _Making | None = None) -> _Read:
    """The reader of an annotation, built once. Others see it only when everything that it needs is built too."""
    known = _READERS.get(annotation)
    if known is not None:
        return known
    parts: _Making = {} if making is None else making
    if annotation in parts:  # A recursive structure, whose own reader is being built.
        return parts[annotation]
    parts[annotation] = lambda wire, where: parts[annotation](wire, where)
    parts[annotation] = _build(annotation, parts)
    if making is None:
        _READERS.update(parts)
    return parts[annotation]


_ATOMS: dict[Any, tuple[type, ...]] = {
    int: (int,),
    str: (str,),
    bytes: (bytes,),
    bool: (bool,),
    float: (float, int),
}


def _build(annotation: Any, making: _Making) -> _Read:
    if annotation is Any or annotation is object:
        return lambda wire, where: wire
    if annotation in _ATOMS:
        return _atom(annotation, _ATOMS[annotation])
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return _enum(annotation)
    if dataclasses.is_dataclass(annotation):
        return _dataclass(typing.cast("type[Any]", annotation), making)
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return _union(arguments, making)
    if origin is tuple and arguments[-1] is Ellipsis:
        return _sequence(_reader(arguments[0], making))
    if origin is tuple:
        return _fixed([_reader(argument, making) for argument in arguments])
    if origin is not None and issubclass(origin, Mapping):
        read = _mapping(_reader(arguments[0], making), _reader(arguments[1], making))
        return _of_texts(arguments[1], read) if arguments[0] is str and arguments[1] in (str, bytes) else read
    raise TypeError(f"no wire form for {annotation!r}")


def _atom(word: type, taken: tuple[type, ...]) -> _Read:
    def read(wire: Any, where: str) -> Any:
        if not isinstance(wire, taken) or (isinstance(wire, bool) and word is not bool):
            raise WireFault(f"{where}: expected {word.__name__}, got {type(wire).__name__}")
        if isinstance(wire, float) and not isfinite(wire):
            raise WireFault(f"{where}: expected a finite number, got {wire}")
        return float(wire) if isinstance(wire, int) and word is float else wire

    return read


def _enum(cls: type[Enum]) -> _Read:
    members = {member.value: member for member in cls}

    def read(wire: Any, where: str) -> Any:
        try:
            return members[wire]
        except (KeyError, TypeError):
            raise WireFault(f"{where}: expected one of {sorted(map(str, members))}, got {wire!r}") from None

    return read


def _dataclass(cls: type[Any], making: _Making) -> _Read:
    hints = typing.get_type_hints(cls)
    readers = {field.name: _reader(hints[field.name], making) for field in dataclasses.fields(cls)}
    needed = [field.name for field in dataclasses.fields(cls) if _default(field) is _MISSING]

    def read(wire: Any, where: str) -> Any:
        if not isinstance(wire, Mapping):
            raise WireFault(f"{where}: expected a map of {cls.__name__}, got {type(wire).__name__}")
        values = {}
        for name, item in wire.items():
            reader = readers.get(name)
            if reader is not None:
                values[name] = reader(item, f"{where}.{name}")
            elif name != "is":
                raise WireFault(f"{where}: {cls.__name__} has no field {name!r}")
        for name in needed:
            if name not in values:
                raise WireFault(f"{where}.{name} is missing")
        return cls(**values)

    return read


def _union(members: tuple[Any, ...], making: _Making) -> _Read:
    optional = type(None) in members
    rest = [member for member in members if member is not type(None)]
    if len(rest) == 1:
        inner = _reader(rest[0], making)
        return lambda wire, where: None if wire is None else inner(wire, where)
    by_tag = {_TAGS[member]: _reader(member, making) for member in rest if member in _TAGS}
    atoms = [(_ATOMS[member], _reader(member, making)) for member in rest if member in _ATOMS]
    atoms.sort(key=lambda atom: bool in atom[0], reverse=True)

    def read(wire: Any, where: str) -> Any:
        if wire is None and optional:
            return None
        tag = wire.get("is") if isinstance(wire, Mapping) else None
        if isinstance(tag, str) and tag in by_tag:
            return by_tag[tag](wire, where)
        for taken, reader in atoms:
            if isinstance(wire, taken):
                return reader(wire, where)
        raise WireFault(f"{where}: expected one of {[*by_tag, *(str(a[0][0].__name__) for a in atoms)]}")

    return read


def _sequence(item: _Read) -> _Read:
    def read(wire: Any, where: str) -> Any:
        if not isinstance(wire, (list, tuple)):
            raise WireFault(f"{where}: expected a list, got {type(wire).__name__}")
        return tuple([item(part, where) for part in wire])

    return read


def _fixed(readers: list[_Read]) -> _Read:
    def read(wire: Any, where: str) -> Any:
        if not isinstance(wire, (list, tuple)) or len(wire) != len(readers):
            raise WireFault(f"{where}: expected a list of {len(readers)}")
        return tuple(reader(part, where) for reader, part in zip(readers, wire, strict=True))

    return read


def _of_texts(item: type, read: _Read) -> _Read:
    """A map of texts to texts (or bytes), such as a shell's variables: looked at as a whole where nothing is wrong."""
    texts, items = frozenset((str,)), frozenset((item,))

    def read_whole(wire: Any, where: str) -> Any:
        if type(wire) is dict and texts.issuperset(map(type, wire)) and items.issuperset(map(type, wire.values())):
            return dict(wire)
        return read(wire, where)

    return read_whole


def _mapping(key: _Read, item: _Read) -> _Read:
    def read(wire: Any, where: str) -> Any:
        if not isinstance(wire, Mapping):
            raise WireFault(f"{where}: expected a map, got {type(wire).__name__}")
        return {key(name, where): item(part, f"{where}[{name!r}]") for name, part in wire.items()}

    return read
