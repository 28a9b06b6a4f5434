"""Content keys: what makes two values the same value to the actor cache, in this process and in every other.

A value is written, piece by piece, to a hash. Plain data, files, arrays, data frames, dataclasses, functions and
classes go by content; objects whose class says when two of them are equal go by their own `__hash__` and `__eq__`; all
others go by identity. Types count: `1`, `1.0` and `True` are three keys, since a loader that puts them in a path reads
three files.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Iterable
from hashlib import blake2b
from types import (
    BuiltinFunctionType,
    FunctionType,
    MappingProxyType,
    MethodType,
    MethodWrapperType,
    ModuleType,
    WrapperDescriptorType,
)
from typing import Any, Final, Protocol

MAX_DEPTH: Final = 150
"""Levels of nesting that are followed: deeper data, or data that contains itself, has no key."""

MAX_OBJECTS: Final = 1_000_000
"""Objects, plain data aside, that are taken apart for one key."""

_REPR_ATOMS: Final = frozenset({int, str, bytes, float, bool, type(None)})
_LONG: Final = 16
"""Items from which a flat sequence is written in one go, by `repr`, which is exact for atoms and runs in C."""


class Unkeyable(Exception):
    """A value has no key: it cannot be hashed, compared or taken apart."""

    def __init__(self, what: str, why: str) -> None:
        super().__init__(what, why)  # Kept in args, so that it survives pickling.
        self.what, self.why = what, why

    def __str__(self) -> str:
        return f"{self.what} has no key: {self.why}; give key= or ignore= on the loader"


class Ports(Protocol):
    """What the encoder asks: it knows values, and leaves functions, classes and paths to whoever knows those."""

    roots: tuple[str, ...]
    """Folders whose name differs from place to place, without a trailing slash: a text below one is written without."""

    def class_token(self, cls: type) -> str:
        """Name a class so that two generations of one class, with the same text, have the same name."""

    def function_token(self, function: FunctionType) -> str:
        """Name a function by what it does: its code, and the definitions that it refers to."""

    def module_token(self, module: ModuleType) -> str:
        """Name a module."""

    def path(self, path: Any) -> str:
        """Say what is at a `pathlib` path: its text, and the content or stamp of what is there."""


class ByName:
    """The simplest ports: code by module and name, text and paths as they are written."""

    roots: tuple[str, ...] = ()

    def class_token(self, cls: type) -> str:
        return f"{cls.__module__}.{cls.__qualname__}"

    def function_token(self, function: FunctionType) -> str:
        return f"{function.__module__}.{function.__qualname__}"

    def module_token(self, module: ModuleType) -> str:
        return module.__name__

    def path(self, path: Any) -> str:
        return str(path)


def relative(text: str, roots: tuple[str, ...]) -> str:
    """A text with the root that it starts with taken off, so that a bundle may lie anywhere."""
    for root in roots:
        if text.startswith(root) and (len(text) == len(root) or text[len(root)] in "/\\"):
            return "<bundle>" + text[len(root) :].replace("\\", "/")
    return text


class ObjectKey:
    """An object keyed by its own `__hash__` and `__eq__`, guarded so that it only ever meets objects of its class.

    The hash is taken once: an object that is changed later does not become another entry's key.
    """

    __slots__ = ("_hash", "stable", "token", "value")

    def __init__(self, value: Any, token: str, stable: bytes | None) -> None:
        self.value, self.token, self.stable = value, token, stable
        self._hash = hash((token, hash(value)))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ObjectKey):
            return NotImplemented
        if self is other or self.value is other.value:
            return True
        if self._hash != other._hash or self.token != other.token:
            return False
        try:
            return bool(self.value == other.value)
        except Exception as fault:
            what = f"{type(self.value).__qualname__}.__eq__ raised {type(fault).__name__}"
            raise Unkeyable(what, str(fault)) from fault


class Key:
    """The key of arguments that are no atoms: a digest of their content, and the objects that compare themselves."""

    __slots__ = ("__weakref__", "_hash", "_held", "dead", "digest", "on_death", "sides", "stable")

    def __init__(self, digest: bytes, sides: tuple[ObjectKey, ...], held: list[Any], stable: bytes | None) -> None:
        self.digest, self.sides, self.stable = digest, sides, stable
        """`stable` is the digest that every process gives these arguments; None where identity is part of the key."""
        self.dead = False
        """Set when an object has gone that was part of it by identity: nothing can ask for it any more."""
        self.on_death: Callable[[], object] | None = None
        """Called then, by whatever thread let the object go: it must do next to nothing."""
        self._hash = hash((digest, sides))
        self._held = [self._hold(one) for one in held]

    def _hold(self, value: Any) -> Any:
        """Keep an identity from being given to another object: by a weak reference where there can be one."""
        mine = weakref.ref(self)

        def died(_: object) -> None:
            # Called before the memory is free again, so that no newcomer at this address can meet the key alive.
            key = mine()
            if key is not None:
                key.dead = True
                if key.on_death is not None:
                    key.on_death()

        try:
            return weakref.ref(value, died)
        except TypeError:
            return value

    @property
    def by_identity(self) -> bool:
        """Whether an object that is only equal to itself is part of this key."""
        return bool(self._held)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Key):
            return NotImplemented
        return self.digest == other.digest and not (self.dead or other.dead) and self.sides == other.sides


class Encoder:
    """Writes values to one hash, and keeps aside what a hash cannot say."""

    __slots__ = ("_update", "depth", "hash", "held", "identities", "left", "ports", "sides", "unknown")

    def __init__(
        self, ports: Ports, unknown: Callable[[Encoder, Any], bool] | None = None, most: int = MAX_OBJECTS
    ) -> None:
        self.ports = ports
        self.hash = blake2b(digest_size=16)
        self._update = self.hash.update
        self.depth = 0
        self.left = most
        """Objects that may still be taken apart."""
        self.sides: list[ObjectKey] = []
        self.held: list[Any] = []
        self.identities: list[type] = []
        """Types of the objects that went by identity."""
        self.unknown = unknown
        """Asked first about objects that are no plain data; True means that it wrote them."""

    def digest(self) -> bytes:
        return self.hash.digest()

    def tag(self, tag: str) -> None:
        """Write a word of the encoding's own, which no content can imitate."""
        raw = tag.encode("utf-8", "surrogatepass")
        self._update(b"#%d:" % len(raw) + raw)

    def put(self, value: Any) -> None:
        """Write one value."""
        write = _WRITERS.get(type(value))
        if write is not None and type(value) in _FLAT:
            write(self, value)
            return
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Unkeyable(type(value).__qualname__, f"nested deeper than {MAX_DEPTH} levels, or part of itself")
        try:
            (write or _put_other)(self, value)
        finally:
            self.depth -= 1

    def put_all(self, tag: str, values: Iterable[Any]) -> None:
        """Write several values as one."""
        self.tag(tag)
        for value in values:
            self.put(value)
        self._update(b";")

    def raw(self, data: Any) -> None:
        """Write bytes-like data with its length."""
        view = memoryview(data).cast("B") if not isinstance(data, bytes) else data
        self._update(b"%d:" % len(view))
        self._update(view)

    def identity(self, value: Any) -> None:
        """Write an object that is only equal to itself."""
        self.tag(f"id {id(value):x}")
        self.held.append(value)
        self.identities.append(type(value))

    def sorted(self, values: Iterable[Any]) -> list[tuple[bytes, Any]]:
        """Each value with its own digest, in an order that content decides, as for sets; so come those kept aside."""
        found = []
        for value in values:
            before = len(self.sides)
            raw = self._apart(value)
            own = self.sides[before:]
            del self.sides[before:]
            found.append((raw, b"".join(side.stable or b"" for side in own), own, value))
        found.sort(key=lambda one: one[:2])
        for _, _, own, _ in found:
            self.sides.extend(own)
        return [(raw, value) for raw, _, _, value in found]

    def _apart(self, value: Any) -> bytes:
        outer, self.hash = self.hash, blake2b(digest_size=16)
        self._update = self.hash.update
        try:
            self.put(value)
            return self.hash.digest()
        finally:
            self.hash, self._update = outer, outer.update


def key_of(values: tuple[Any, ...], ports: Ports) -> tuple[Key, list[type]]:
    """The key of bound arguments, and the types of those that went by identity.

    Raises:
        Unkeyable: where an argument can be neither hashed and compared nor taken apart.
    """
    encoder = Encoder(ports)
    encoder.put_all("args", values)
    sides = tuple(encoder.sides)
    stable: bytes | None = None
    if not encoder.held and all(side.stable is not None for side in sides):
        stable = blake2b(encoder.digest() + b"".join(side.stable or b"" for side in sides), digest_size=16).digest()
    return Key(encoder.digest(), sides, encoder.held, stable), encoder.identities


def content_digest(value: Any, ports: Ports | None = None) -> bytes:
    """The digest of plain data by content; 16 bytes, the same in every process.

    Raises:
        Unkeyable: where a part of it goes by identity, or by nothing at all.
    """
    key, identities = key_of((value,), ports or ByName())
    if key.stable is None:
        names = ", ".join(sorted({one.__qualname__ for one in identities})) or type(value).__qualname__
        raise Unkeyable(names, "it is only equal to itself")
    return key.stable


# How each type is written. Exact types only: a subclass may mean something else by equality.


def _put_none(encoder: Encoder, value: None) -> None:
    encoder._update(b"N")


def _put_bool(encoder: Encoder, value: bool) -> None:
    encoder._update(b"T" if value else b"F")


def _put_int(encoder: Encoder, value: int) -> None:
    encoder._update(b"i%x;" % value)  # Hexadecimal: decimal digits are limited, and slow.


def _put_float(encoder: Encoder, value: float) -> None:
    encoder._update(b"f" + value.hex().encode() + b";")


def _put_complex(encoder: Encoder, value: complex) -> None:
    encoder._update(f"c{value.real.hex()},{value.imag.hex()};".encode())


def _put_str(encoder: Encoder, value: str) -> None:
    roots = encoder.ports.roots
    raw = (relative(value, roots) if roots else value).encode("utf-8", "surrogatepass")
    encoder._update(b"s%d:" % len(raw) + raw)


def _put_bytes(encoder: Encoder, value: bytes | bytearray | memoryview) -> None:
    encoder._update(b"b" if type(value) is bytes else b"a")
    encoder.raw(value)


def _put_sequence(encoder: Encoder, value: Any) -> None:
    encoder.tag(f"{type(value).__name__} {len(value)}")
    if len(value) >= _LONG and set(map(type, value)) <= _REPR_ATOMS:
        try:
            text = repr(value)
        except ValueError:  # An int of more digits than Python prints.
            text = ""
        if text and not any(root in text for root in encoder.ports.roots):
            encoder.raw(text.encode())
            return
    for item in value:
        encoder.put(item)


def _put_set(encoder: Encoder, value: Any) -> None:
    encoder.tag(f"{type(value).__name__} {len(value)}")
    encoder._update(b"".join(raw for raw, _ in encoder.sorted(value)))


def _put_dict(encoder: Encoder, value: Any) -> None:
    encoder.tag(f"dict {len(value)}")
    if all(type(key) is str for key in value):
        for key in sorted(value):
            _put_str(encoder, key)
            encoder.put(value[key])
        return
    # Sorted before their values are written, so that what the values keep aside comes in a fixed order too.
    for raw, key in encoder.sorted(value):
        encoder._update(raw)
        encoder.put(value[key])


def _put_type(encoder: Encoder, value: type) -> None:
    encoder.tag("class " + encoder.ports.class_token(value))


def _put_function(encoder: Encoder, value: FunctionType) -> None:
    encoder.tag("function " + encoder.ports.function_token(value))


def _put_method(encoder: Encoder, value: MethodType) -> None:
    encoder.put_all("method", (value.__func__, value.__self__))


def _put_builtin(encoder: Encoder, value: Any) -> None:
    owner = getattr(value, "__self__", None)
    encoder.tag(f"builtin {getattr(value, '__module__', '')} {value.__qualname__}")
    if owner is not None and not isinstance(owner, ModuleType | type):
        encoder.put(owner)


def _put_module(encoder: Encoder, value: ModuleType) -> None:
    encoder.tag("module " + encoder.ports.module_token(value))


def _put_constant(encoder: Encoder, value: Any) -> None:
    encoder.tag(f"constant {value!r}")


def _put_slice(encoder: Encoder, value: slice) -> None:
    encoder.put_all("slice", (value.start, value.stop, value.step))


_WRITERS: Final[dict[type, Callable[[Encoder, Any], None]]] = {
    type(None): _put_none,
    bool: _put_bool,
    int: _put_int,
    float: _put_float,
    complex: _put_complex,
    str: _put_str,
    bytes: _put_bytes,
    bytearray: _put_bytes,
    memoryview: _put_bytes,
    list: _put_sequence,
    tuple: _put_sequence,
    set: _put_set,
    frozenset: _put_set,
    dict: _put_dict,
    MappingProxyType: _put_dict,
    type: _put_type,
    FunctionType: _put_function,
    MethodType: _put_method,
    BuiltinFunctionType: _put_builtin,
    WrapperDescriptorType: _put_builtin,
    MethodWrapperType: _put_builtin,
    ModuleType: _put_module,
    type(...): _put_constant,
    type(NotImplemented): _put_constant,
    slice: _put_slice,
    range: _put_constant,
}
_FLAT: Final = frozenset({type(None), bool, int, float, complex, str, bytes})


def _put_other(encoder: Encoder, value: Any) -> None:
    """Write what no exact type decides: ask the object, then its library, then its class."""
    encoder.left -= 1
    if encoder.left < 0:
        raise Unkeyable(type(value).__qualname__, "it is made of too many objects")
    ask = getattr(type(value), "__greenroom_key__", None)
    given = ask(value) if ask is not None else None
    if given is not None:
        encoder.tag(f"given {given}")
        return
    if encoder.unknown is not None and encoder.unknown(encoder, value):
        return
    if isinstance(value, type):
        _put_type(encoder, value)
        return
    from greenroom.keyed_objects import put_object  # Late: most keys are atoms, and never come here.

    put_object(encoder, value)


def own_attribute(value: Any, name: str) -> Any:
    """An attribute that is really there; None else. A `__getattr__` that makes attributes up is not asked."""
    try:
        return object.__getattribute__(value, name)
    except (AttributeError, TypeError):
        return None


def loaded(library: str, name: str) -> Any:
    """A name of a library that the program has imported already; None where it has not."""
    return getattr(sys.modules.get(library), name, None)
