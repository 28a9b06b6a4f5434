"""Unions: tagged only where the data alone does not tell which member it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from greenroom.errors import TypeMismatch, ValueProblem
from greenroom.types.codec import Codec, ExtType, extension, given, given_plain, opened, wrapped
from greenroom.types.spec import TypeSpec
from greenroom_core.values import NIL, Ext, Plain, Value, unpack

if TYPE_CHECKING:
    from greenroom.blobs import BlobStore


_KEPT: Final = frozenset({int(Ext.BLOB), int(Ext.HASHED)})


class OptionalCodec(Codec):
    """`X | None`: null or what stands for X."""

    nullable = True

    def __init__(self, inner: Codec) -> None:
        self.inner, self.name, self.uploads = inner, f"{inner.name} | None", inner.uploads
        self.passes = inner.passes | {type(None)} if inner.passes else frozenset()
        self.classes = (*inner.classes, type(None))

    @property
    def natives(self) -> frozenset[type | int] | None:  # type: ignore[override]
        """Those of X, and None."""
        return None if self.inner.natives is None else self.inner.natives | {type(None)}

    def to_plain(self, obj: Any, store: BlobStore) -> Plain:
        """None, or what stands for X."""
        if obj is None:
            return None
        try:
            return self.inner.to_plain(obj, store)
        except TypeMismatch as fault:
            raise self._widened(fault) from None

    def from_plain(self, plain: Plain, store: BlobStore) -> Any:
        """None, or an X."""
        return None if plain is None else self.inner.from_plain(plain, store)

    def value_of(self, obj: Any, store: BlobStore) -> Value:
        """The bytes for None, or for an X."""
        if obj is None:
            return NIL
        try:
            return self.inner.value_of(obj, store)
        except TypeMismatch as fault:
            raise self._widened(fault) from None

    def _widened(self, fault: TypeMismatch) -> TypeMismatch:
        """The error about the whole value says that None would do too."""
        if fault.path or fault.expected != self.inner.name:
            return fault
        return TypeMismatch(self.name, fault.given, fault.hint)

    def describe(self) -> TypeSpec:
        """The type as plain data."""
        inner = self.inner.describe()
        members = inner.members if inner.kind == "union" else (inner,)
        return TypeSpec("union", self.name, (*members, TypeSpec("none", "None")))

    def from_json(self, json: Any) -> Any:
        """Null, or an X."""
        return None if json is None else self.inner.from_json(json)

    def from_text(self, text: str) -> Any:
        """`null` or `none`, or an X."""
        if text.strip().lower() in ("null", "none"):
            return None
        return self.inner.from_text(text)


class UnionCodec(Codec):
    """`A | B | ...`: what stands for the member, with the member's name as tag if another could look the same."""

    def __init__(self, members: tuple[Codec, ...]) -> None:
        self._members = members
        self.name = " | ".join(member.name for member in members)
        self.nullable = any(member.nullable for member in members)
        self.uploads = any(member.uploads for member in members)
        self.classes = tuple(kind for member in members for kind in member.classes)
        self._tags = _distinct([member.name for member in members])
        # Types that refer to themselves are not complete yet: what follows is found out at the first value.
        self._owners: dict[type | int, Codec] | None = None
        self._sole: dict[type, Codec] = {}
        """For each exact class that one member alone takes, and whose data nobody mistakes, that member."""

    @property
    def natives(self) -> frozenset[type | int] | None:  # type: ignore[override]
        """Those of all members, and tags."""
        found: set[type | int] = {int(Ext.TAGGED)}
        for member in self._members:
            if member.natives is None:
                return None
            found |= member.natives
        return frozenset(found)

    def _own(self) -> dict[type | int, Codec]:
        """For each form of data, the member that alone may have it."""
        if self._owners is None:
            claims: dict[type | int, list[Codec]] = {}
            for member in self._members:
                for form in member.natives or ():
                    claims.setdefault(form, []).append(member)
            claims.pop(int(Ext.TAGGED), None)
            known = all(member.natives is not None for member in self._members)
            self._owners = {form: who[0] for form, who in claims.items() if len(who) == 1} if known else {}
            if known and all(len(who) == 1 for who in claims.values()):
                self.passes = frozenset(kind for member in self._members for kind in member.passes)
            for kind in self.classes:
                chosen = [index for index, member in enumerate(self._members) if kind in member.classes]
                if len(chosen) == 1 and self._stands_alone(chosen[0]):
                    self._sole[kind] = self._members[chosen[0]]
        return self._owners

    def _choose(self, obj: Any) -> list[int]:
        """Members that an object may be, by its exact class first, in the order in which they are tried."""
        exact = [index for index, member in enumerate(self._members) if type(obj) in member.classes]
        return exact or list(range(len(self._members)))

    def to_plain(self, obj: Any, store: BlobStore) -> Plain:
        """What stands for the member, tagged if need be."""
        index, plain = self._tried(obj, lambda member: member.to_plain(obj, store))
        if self._tells(index, plain):
            return plain
        return extension(Ext.TAGGED, [self._tags[index], plain])

    def value_of(self, obj: Any, store: BlobStore) -> Value:
        """The bytes that stand for the member, in the form that it has by itself."""
        sole = self._sole.get(type(obj))
        if sole is not None:
            return sole.value_of(obj, store)
        self._own()
        index, value = self._tried(obj, lambda member: member.value_of(obj, store))
        return value if self._stands_alone(index) else wrapped(Ext.TAGGED, self._tags[index], value)

    def _stands_alone(self, index: int) -> bool:
        """Whether no other member's data looks like any of this one's."""
        owners, member = self._own(), self._members[index]
        forms = member.natives
        return forms is not None and all(owners.get(form) is member for form in forms if form != Ext.TAGGED)

    def _tried(self, obj: Any, attempt: Any) -> tuple[int, Any]:
        candidates, fault = self._choose(obj), None
        for index in candidates:
            try:
                return index, attempt(self._members[index])
            except ValueProblem as problem:
                if not isinstance(problem, TypeMismatch):
                    raise
                fault = problem
        if fault is not None and len(candidates) == 1:
            raise fault  # Its class says which member it should be: that one's own words help most.
        raise TypeMismatch(self.name, given(obj))

    def _tells(self, index: int, plain: Plain) -> bool:
        form = plain.code if type(plain) is ExtType else type(plain)
        return self._own().get(form) is self._members[index]

    def from_plain(self, plain: Plain, store: BlobStore) -> Any:
        """The member's object."""
        form = plain.code if type(plain) is ExtType else type(plain)
        owner = self._own().get(form)
        if owner is not None:
            return owner.from_plain(plain, store)
        if form == Ext.TAGGED:
            tag, inner = unpack(plain.data)
            if tag in self._tags:
                return self._members[self._tags.index(tag)].from_plain(inner, store)
        if form in _KEPT:
            return self.from_plain(opened(plain, store), store)
        return self._guessed(plain, store)

    def _guessed(self, plain: Plain, store: BlobStore) -> Any:
        """Read what another type's codec has made: the first member that takes it."""
        for member in sorted(self._members, key=lambda member: not _likely(member, plain)):
            try:
                return member.from_plain(plain, store)
            except TypeMismatch:
                continue
        inner = opened(plain, store) if type(plain) is ExtType else plain
        if inner is not plain:
            return self.from_plain(inner, store)
        raise TypeMismatch(self.name, given_plain(plain))

    def describe(self) -> TypeSpec:
        """The type as plain data."""
        return TypeSpec("union", self.name, tuple(member.describe() for member in self._members))

    def from_json(self, json: Any) -> Any:
        """The first member that the data is one of; the exact type of a number or text first."""
        for member in sorted(self._members, key=lambda member: type(json) not in member.passes):
            try:
                return member.from_json(json)
            except TypeMismatch:
                continue
        raise TypeMismatch(self.name, given(json))

    def from_text(self, text: str) -> Any:
        """The first member that the text is one of; text itself last."""
        for member in sorted(self._members, key=_eagerness):
            try:
                return member.from_text(text)
            except ValueProblem:
                continue
        raise TypeMismatch(self.name, repr(text))


def _likely(member: Codec, plain: Plain) -> bool:
    form = plain.code if type(plain) is ExtType else type(plain)
    return member.natives is not None and form in member.natives


def _eagerness(member: Codec) -> int:
    """What takes few texts goes first: null, numbers and truths before structures, paths, and any text at all."""
    order = {"none": 0, "int": 1, "float": 2, "bool": 3, "bytes": 8, "str": 9, "Any": 10}
    return order.get(member.name, 7 if member.uploads else 4)


def _distinct(names: list[str]) -> list[str]:
    """Names that differ: of equal ones, the later get their number."""
    return [name if names.index(name) == index else f"{name}#{index}" for index, name in enumerate(names)]
