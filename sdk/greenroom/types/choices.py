"""Enums and literals: one of a few known values."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any

from greenroom.errors import TypeMismatch
from greenroom.types.codec import Codec, ExtType, given, given_plain, type_name
from greenroom.types.guess import is_self_describing, plain_of, read_plain
from greenroom.types.spec import TypeSpec
from greenroom_core.values import Plain

if TYPE_CHECKING:
    from greenroom.blobs import BlobStore


class EnumCodec(Codec):
    """Members of an enum by their value; by their name if values are of a kind that only Python code can tell apart."""

    def __init__(self, of: type[enum.Enum]) -> None:
        self._of, self.name, self.classes = of, type_name(of), (of,)
        self._by_name = not all(is_self_describing(member.value) for member in of)
        plains = [self._plain_of(member) for member in of]
        self.natives = frozenset(plain.code if type(plain) is ExtType else type(plain) for plain in plains)
        self.nullable = type(None) in self.natives
        self._flags = issubclass(of, enum.Flag)
        self._members: dict[tuple[type, Any], enum.Enum] = {}
        for member, plain in zip(of, plains, strict=True):
            if _hashable(plain):
                self._members[type(plain), plain] = member

    def _plain_of(self, member: enum.Enum) -> Plain:
        return member.name if self._by_name else plain_of(member.value)

    def to_plain(self, obj: Any, store: BlobStore) -> Plain:
        """The member's value; a value of one of its members counts as that member."""
        if isinstance(obj, self._of):
            return self._plain_of(obj)
        if isinstance(obj, enum.Enum) and type_name(type(obj)) == self.name:
            return self._plain_of(
                self._member(obj.value, obj)
            )  # The same enum, as an older load of its module made it.
        return self._plain_of(self._member(obj, obj))

    def _member(self, value: Any, obj: Any) -> enum.Enum:
        if not isinstance(obj, bool) or any(isinstance(member.value, bool) for member in self._of):
            for member in self._of:
                if type(member.value) is type(value) and member.value == value:
                    return member
            if self._flags and type(value) is int:
                return self._of(value)
        raise TypeMismatch(self._expected(), given(obj))

    def _expected(self) -> str:
        names = [member.name for member in self._of]
        return f"{self.name} ({', '.join(names[:8])}{', ...' if len(names) > 8 else ''})"

    def from_plain(self, plain: Plain, store: BlobStore) -> Any:
        """The member that has the value."""
        if _hashable(plain):
            member = self._members.get((type(plain), plain))
            if member is not None:
                return member
        value = read_plain(plain, store)
        if self._by_name and isinstance(value, str) and value in self._of.__members__:
            return self._of.__members__[value]
        if not self._by_name:
            for member in self._of:
                if type(member.value) is type(value) and member.value == value:
                    return member
            if self._flags and type(value) is int:
                return self._of(value)
        raise TypeMismatch(self._expected(), given_plain(plain))

    def describe(self) -> TypeSpec:
        """The type as plain data, with its members' names and values."""
        values = [member.name if self._by_name else _shown(member.value) for member in self._of]
        return TypeSpec("enum", self.name, options={"values": values, "names": [member.name for member in self._of]})

    def from_json(self, json: Any) -> Any:
        """The member of that value, or of that name."""
        for member in self._of:
            if type(member.value) is type(json) and member.value == json:
                return member
        if isinstance(json, str) and json in self._of.__members__:
            return self._of.__members__[json]
        raise TypeMismatch(self._expected(), given(json))

    def from_text(self, text: str) -> Any:
        """The member of that value, or of that name, in any case if only one is meant."""
        for member in self._of:
            if str(member.value) == text:
                return member
        if text in self._of.__members__:
            return self._of.__members__[text]
        alike = {member for name, member in self._of.__members__.items() if name.lower() == text.lower()}
        if len(alike) == 1:
            return alike.pop()
        raise TypeMismatch(self._expected(), repr(text))


class LiteralCodec(Codec):
    """`Literal["a", "b"]`: exactly these values, of exactly these types."""

    def __init__(self, values: tuple[Any, ...]) -> None:
        self._values = values
        self.name = " | ".join(repr(value) if not isinstance(value, enum.Enum) else str(value) for value in values)
        self._plains = [plain_of(value.value if isinstance(value, enum.Enum) else value) for value in values]
        self.natives = frozenset(plain.code if type(plain) is ExtType else type(plain) for plain in self._plains)
        self.nullable = None in values

    def to_plain(self, obj: Any, store: BlobStore) -> Plain:
        """The value itself."""
        for value, plain in zip(self._values, self._plains, strict=True):
            if type(value) is type(obj) and value == obj:
                return plain
        raise TypeMismatch(self.name, given(obj))

    def from_plain(self, plain: Plain, store: BlobStore) -> Any:
        """The value itself."""
        for value, known in zip(self._values, self._plains, strict=True):
            if type(known) is type(plain) and known == plain:
                return value
        return self.otherwise(plain, store)

    def describe(self) -> TypeSpec:
        """The type as plain data, with its values."""
        return TypeSpec("literal", self.name, options={"values": [_shown(value) for value in self._values]})

    def from_json(self, json: Any) -> Any:
        """One of the values."""
        for value in self._values:
            raw = value.value if isinstance(value, enum.Enum) else value
            if type(raw) is type(json) and raw == json:
                return value
        raise TypeMismatch(self.name, given(json))

    def from_text(self, text: str) -> Any:
        """One of the values, as Python's `str` writes it, or its JSON."""
        for value in self._values:
            raw = value.value if isinstance(value, enum.Enum) else value
            if str(raw) == text or (type(raw) in (bool, type(None)) and text.lower() in _WORDS[raw]):
                return value
        raise TypeMismatch(self.name, repr(text))


_WORDS: dict[Any, tuple[str, ...]] = {True: ("true",), False: ("false",), None: ("null", "none")}


def _hashable(plain: Plain) -> bool:
    return type(plain) is not list and not isinstance(plain, dict)


def _shown(value: Any) -> Any:
    """A value as plain data that help texts and the API can show."""
    raw = value.value if isinstance(value, enum.Enum) else value
    return raw if type(raw) in (bool, int, float, str, type(None)) else repr(raw)
