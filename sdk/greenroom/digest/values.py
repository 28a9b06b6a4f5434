"""Values of globals that a function reads: their content, the code inside them, and how they are shown to a person."""

from __future__ import annotations

import json
import marshal
from collections.abc import Callable
from functools import partial
from types import FunctionType, MethodType, ModuleType
from typing import Any, Final, NamedTuple

from greenroom.keyed_objects import equal_by_identity
from greenroom.keys import ByName, Encoder, Unkeyable, own_attribute, relative

MAX_ITEMS: Final = 50_000
"""Items of a global that are read; a larger one counts by its type, its length and the statement that makes it."""

MAX_OBJECTS: Final = 5_000
"""Objects, plain data aside, that are read in one global."""

MAX_BYTES: Final = 16 * 1024 * 1024
SHOWN: Final = 60
"""Characters of a value that are shown."""

_PLAIN: Final = (type(None), bool, int, float, complex, str, bytes)


class Described(NamedTuple):
    """What a digest takes from a value."""

    content: str
    """Digest of what could be read of it."""
    text: str
    """As a person reads it; exact, or with a mark of the content."""
    code: list[Any]
    """Functions, classes and modules found inside."""
    opaque: bool
    """Whether something in it could not be read."""


class _Ports(ByName):
    """Notes the code that a value holds, and names it without digesting it."""

    def __init__(self, roots: tuple[str, ...]) -> None:
        self.roots = roots
        self.code: list[Any] = []

    def class_token(self, cls: type) -> str:
        self.code.append(cls)
        return super().class_token(cls)

    def function_token(self, function: FunctionType) -> str:
        self.code.append(function)
        return super().function_token(function)

    def module_token(self, module: ModuleType) -> str:
        self.code.append(module)
        return super().module_token(module)

    def path(self, path: Any) -> str:
        return relative(str(path), self.roots)


def describe(value: Any, roots: tuple[str, ...], is_user_class: Callable[[type], bool], stored: set[str]) -> Described:
    """Read a value as far as it is plain.

    Args:
        value: What a global holds.
        roots: Folders whose name is not part of it.
        is_user_class: Says whether instances of a class are read attribute by attribute.
        stored: Attributes that the code sets while it runs, which are state and no definition.
    """
    ports = _Ports(roots)
    opaque = False

    def unknown(encoder: Encoder, one: Any) -> bool:
        nonlocal opaque
        wrapped = own_attribute(one, "__wrapped__")
        if callable(wrapped) and not isinstance(one, type):
            encoder.put_all("wrapped", (wrapped,))
        elif _too_large(one):
            opaque = True
            encoder.tag(f"large {type(one).__qualname__}")
        elif is_user_class(type(one)) and not isinstance(one, tuple) and hasattr(one, "__dict__"):
            encoder.tag("instance " + ports.class_token(type(one)))
            encoder.put({name: item for name, item in vars(one).items() if name not in stored})
        elif isinstance(one, type | partial) or hasattr(type(one), "__greenroom_key__"):
            return False
        elif equal_by_identity(type(one)) and not hasattr(type(one), "__dataclass_fields__"):
            opaque = True
            encoder.tag(f"a {type(one).__module__}.{type(one).__qualname__}")
        else:
            return False
        return True

    encoder = Encoder(ports, unknown, MAX_OBJECTS)
    try:
        if _too_large(value):
            raise Unkeyable(type(value).__qualname__, "too large to be read for a digest")
        encoder.put(value)
        stable = [side.stable for side in encoder.sides]
        opaque = opaque or None in stable or bool(encoder.held)
        content = (encoder.digest() + b"".join(one or b"" for one in stable)).hex()
    except Exception:  # Whatever a foreign object does when it is looked at, the program runs on.
        return Described(f"a {type(value).__qualname__}", f"<{type(value).__qualname__}>", ports.code, True)
    if encoder.held:
        content = f"a {type(value).__qualname__}"
    return Described(content, show(value, content, roots), ports.code, opaque)


def _too_large(value: Any) -> bool:
    if isinstance(value, list | tuple | dict | set | frozenset):
        return len(value) > MAX_ITEMS
    if isinstance(value, str | bytes | bytearray):
        return len(value) > MAX_BYTES
    size = own_attribute(value, "nbytes")
    return isinstance(size, int) and size > MAX_BYTES


def show(value: Any, content: str, roots: tuple[str, ...]) -> str:
    """A value in at most a line: as Python writes it where that is short, else with a mark of its content."""
    if isinstance(value, str):
        text = json.dumps(relative(value, roots), ensure_ascii=False)
    elif _is_plain(value, 3):
        text = relative_all(repr(value), roots)
    elif isinstance(value, FunctionType | MethodType | type):
        text = value.__qualname__
    else:
        text = f"<{type(value).__qualname__}>"
        return f"{text} #{content[:8]}"
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}... #{content[:8]}"


def relative_all(text: str, roots: tuple[str, ...]) -> str:
    """A text without the names of the roots in it."""
    for root in roots:
        text = text.replace(root, "<bundle>")
    return text


def _is_plain(value: Any, depth: int) -> bool:
    if type(value) in _PLAIN:
        return True
    if (
        not depth
        or type(value) not in (list, tuple, dict, frozenset, set)
        or len(value) > SHOWN
        or type(value) in (set, frozenset)
    ):
        return False
    items = [*value, *value.values()] if isinstance(value, dict) else list(value)
    return all(_is_plain(item, depth - 1) for item in items)


def mark(value: Any, state: frozenset[str] = frozenset()) -> bytes | None:
    """A quick mark of a value that can change in place: equal while nothing in it has changed; None for what cannot.

    Attributes named in `state` are left out. It is taken before each hit on a loader that reads such a global, so it
    has to be quick rather than the same everywhere.
    """
    if type(value) in _PLAIN or isinstance(value, FunctionType | type | ModuleType) or type(value) is MethodType:
        return None
    if _too_large(value):
        return b"%d" % len(value) if isinstance(value, list | tuple | dict | set | frozenset | bytearray) else None
    try:
        return marshal.dumps(value, 2)
    except ValueError:
        pass

    def by_identity(encoder: Encoder, one: Any) -> bool:
        """Functions and instances inside a container count by identity, instances also by their plain attributes."""
        if not equal_by_identity(type(one)) or callable(one) or not hasattr(one, "__dict__"):
            return False
        encoder.tag(f"{id(one):x}")
        encoder.put({name: item for name, item in vars(one).items() if type(item) in _PLAIN and name not in state})
        return True

    encoder = Encoder(ByName(), by_identity, MAX_OBJECTS)
    try:
        encoder.put(value)
    except Exception:
        return None
    return encoder.digest() + b"".join(side.stable or b"" for side in encoder.sides)
