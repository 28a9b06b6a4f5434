"""Lists, tuples, sets, dicts: whole ones of plain data are passed on unseen."""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from greenroom.errors import TypeMismatch, ValueProblem
from greenroom.types.codec import Codec, ExtType, given, given_plain, list_value, plain_list
from greenroom.types.guess import key_of, set_of
from greenroom.types.spec import TypeSpec
from greenroom_core.values import Ext, Plain, Value, unpack

if TYPE_CHECKING:
    from greenroom.blobs import BlobStore


class ListCodec(Codec):
    """`list[X]`, and the abstract types that a list serves for (`Sequence[X]`, `Iterable[X]`)."""

    natives = frozenset({list, int(Ext.LIST), int(Ext.MANIFEST)})
    classes: tuple[type, ...] = (list,)

    def __init__(self, item: Codec, name: str = "list", takes: tuple[type, ...] = (list,)) -> None:
        """List items of one type.

        Args:
            item: The items' codec.
            name: What people call the type.
            takes: Classes of objects that are accepted; what arrives is a list.
        """
        self.item, self._takes = item, typing.cast(Any, takes)
        self.name = name if item.name == "Any" else f"{name}[{item.name}]"
        self.uploads = item.uploads

    def to_plain(self, obj: Any, store: BlobStore) -> Plain:
        """The items' plain data."""
        if not isinstance(obj, self._takes) or isinstance(obj, (str, bytes)):
            raise TypeMismatch(self.name, given(obj), _hint(obj))
        if type(obj) is not list:
            obj = list(obj)
        return obj if self.item.passes.issuperset(map(type, obj)) else each(self.item.to_plain, obj, store)

    def from_plain(self, plain: Plain, store: BlobStore) -> Any:
        """The list of the items."""
        plain = plain_list(self, plain, store)
        return plain if self.item.passes.issuperset(map(type, plain)) else each(self.item.from_plain, plain, store)

    def value_of(self, obj: Any, store: BlobStore) -> Value:
        """The bytes that stand for a list, in a form that can be sliced."""
        return list_value(self.to_plain(obj, store), store)

    def describe(self) -> TypeSpec:
        """The type as plain data."""
        return TypeSpec("list", self.name, (self.item.describe(),))

    def from_json(self, json: Any) -> Any:
        """A JSON array."""
        if not isinstance(json, list):
            raise TypeMismatch(self.name, given(json))
        return each_json(self.item, json)


class IteratorCodec(ListCodec):
    """`Iterator[X]` and generators: drained where they are made, and arriving as an iterator over a list."""

    classes = ()

    def from_plain(self, plain: Plain, store: BlobStore) -> Any:
        """An iterator over the items."""
        return iter(super().from_plain(plain, store))

    def from_json(self, json: Any) -> Any:
        """A JSON array."""
        return iter(super().from_json(json))


def each(convert: Callable[[Any, Any], Any], items: Iterable[Any], store: BlobStore) -> list[Any]:
    """Convert all items; an error says which one it is about."""
    done: list[Any] = []
    add = done.append
    try:
        for item in items:
            add(convert(item, store))
    except ValueProblem as fault:
        fault.inside(f"[{len(done)}]")
        raise
    return done


def each_json(codec: Codec, items: Iterable[Any]) -> list[Any]:
    """The objects that JSON items say; an error says which one it is about."""
    return each(lambda item, _: codec.from_json(item), items, None)  # type: ignore[arg-type]


def _hint(obj: Any) -> str:
    if isinstance(obj, (tuple, set, frozenset)):
        return "wrap it in list(...)"
    if type(obj).__module__ == "numpy":
        return "call its .tolist()"
    return ""


class TupleCodec(Codec):
    """`tuple[A, B]`: each place of its own type."""

    natives = frozenset({list})
    classes = (tuple,)

    def __init__(self, items: tuple[Codec, ...]) -> None:
        self._items = items
        self.name = f"tuple[{', '.join(item.name for item in items) or '()'}]"
        self.uploads = any(item.uploads for item in items)

    def _check(self, count: int) -> None:
        if count != len(self._items):
            raise TypeMismatch(self.name, f"{count} items")

    def to_plain(self, obj: Any, store: BlobStore) -> Plain:
        """The items' plain data."""
        if not isinstance(obj, tuple):
            raise TypeMismatch(self.name, given(obj))
        self._check(len(obj))
        pairs = zip(self._items, obj, strict=True)
        return each(lambda pair, store: pair[0].to_plain(pair[1], store), pairs, store)

    def from_plain(self, plain: Plain, store: BlobStore) -> Any:
        """The tuple of the items."""
        plain = plain_list(self, plain, store)
        self._check(len(plain))
        pairs = zip(self._items, plain, strict=True)
        return tuple(each(lambda pair, store: pair[0].from_plain(pair[1], store), pairs, store))

    def describe(self) -> TypeSpec:
        """The type as plain data."""
        return TypeSpec("tuple", self.name, tuple(item.describe() for item in self._items))

    def from_json(self, json: Any) -> Any:
        """A JSON array of as many items."""
        if not isinstance(json, list):
            raise TypeMismatch(self.name, given(json))
        self._check(len(json))
        pairs = zip(self._items, json, strict=True)
        return tuple(each(lambda pair, _: pair[0].from_json(pair[1]), pairs, None))  # type: ignore[arg-type]


class LongTupleCodec(ListCodec):
    """`tuple[X, ...]`: a list that comes back as a tuple."""

    natives = frozenset({list, int(Ext.LIST)})
    classes = (tuple,)

    def __init__(self, item: Codec) -> None:
        super().__init__(item, "tuple", (tuple,))
        self.name = f"tuple[{item.name}, ...]"

    def from_plain(self, plain: Plain, store: BlobStore) -> Any:
        """The tuple of the items."""
        return tuple(super().from_plain(plain, store))

    def describe(self) -> TypeSpec:
        """The type as plain data."""
        return TypeSpec("tuple", self.name, (self.item.describe(),), options={"any_length": True})

    def from_json(self, json: Any) -> Any:
        """A JSON array."""
        return tuple(super().from_json(json))


class SetCodec(Codec):
    """`set[X]` and `frozenset[X]`; the order of items never counts."""

    natives = frozenset({int(Ext.SET)})

    def __init__(self, item: Codec, of: type[set[Any]] | type[frozenset[Any]]) -> None:
        self._item, self._of, self.classes = item, of, (of,)
        self._takes = (set, frozenset)
        self.name = of.__name__ if item.name == "Any" else f"{of.__name__}[{item.name}]"

    def to_plain(self, obj: Any, store: BlobStore) -> Plain:
        """The items, sorted by their bytes."""
        if not isinstance(obj, self._takes):
            raise TypeMismatch(self.name, given(obj))
        return set_of(self._item.to_plain(item, store) for item in obj)

    def from_plain(self, plain: Plain, store: BlobStore) -> Any:
        """The set of the items."""
        if type(plain) is not ExtType or plain.code != Ext.SET:
            return self.otherwise(plain, store)
        try:
            return self._of([self._item.from_plain(item, store) for item in unpack(plain.data)])
        except TypeError as fault:
            if isinstance(fault, ValueProblem):
                raise
            raise TypeMismatch(self.name, given_plain(plain), str(fault)) from fault

    def describe(self) -> TypeSpec:
        """The type as plain data."""
        return TypeSpec("set", self.name, (self._item.describe(),))

    def from_json(self, json: Any) -> Any:
        """A JSON array."""
        if not isinstance(json, list):
            raise TypeMismatch(self.name, given(json))
        return self._of(each_json(self._item, json))


class DictCodec(Codec):
    """`dict[K, V]`: keys of any type that equals itself, in their order."""

    natives = frozenset({dict})

    def __init__(self, key: Codec, value: Codec, of: type = dict, takes: tuple[type, ...] = (dict,)) -> None:
        """Map keys of one type to values of one.

        Args:
            key: The keys' codec.
            value: The values' codec.
            of: The class of what arrives.
            takes: Classes of objects that are accepted.
        """
        self._key, self._value, self._of, self._takes = key, value, of, typing.cast(Any, takes)
        bare = key.name == value.name == "Any"
        self.name = of.__name__ if bare else f"{of.__name__}[{key.name}, {value.name}]"
        self.uploads = key.uploads or value.uploads
        self.classes = (of,)
        # A float may be NaN: it is looked at.
        self._passes = frozenset() if float in key.passes else key.passes

    def to_plain(self, obj: Any, store: BlobStore) -> Plain:
        """Plain keys and values."""
        if not isinstance(obj, self._takes):
            raise TypeMismatch(self.name, given(obj))
        if self._passes.issuperset(map(type, obj)) and self._value.passes.issuperset(map(type, obj.values())):
            return obj if type(obj) is dict else dict(obj)
        key_plain, value_plain, plain = self._key.to_plain, self._value.to_plain, {}
        key: Any = None
        try:
            for key, item in obj.items():
                plain[key_of(key_plain(key, store), key)] = value_plain(item, store)
        except ValueProblem as fault:
            fault.inside(f"[{key!r}]")
            raise
        if len(plain) != len(obj):
            raise TypeMismatch(self.name, given(obj), f"{len(obj) - len(plain)} of its keys mean the same")
        return plain

    def from_plain(self, plain: Plain, store: BlobStore) -> Any:
        """The dict of the keys and values."""
        if type(plain) is not dict:
            return self.otherwise(plain, store)
        if self._passes.issuperset(map(type, plain)) and self._value.passes.issuperset(map(type, plain.values())):
            return plain if self._of is dict else self._of(plain)
        key_from, value_from, found = self._key.from_plain, self._value.from_plain, {}
        key: Any = None
        try:
            for key, item in plain.items():
                found[key_from(key, store)] = value_from(item, store)
        except ValueProblem as fault:
            fault.inside(f"[{given_plain(key) if type(key) is ExtType else repr(key)}]")
            raise
        return found if self._of is dict else self._of(found)

    def describe(self) -> TypeSpec:
        """The type as plain data."""
        return TypeSpec("dict", self.name, (self._key.describe(), self._value.describe()))

    def from_json(self, json: Any) -> Any:
        """A JSON object; its keys are text, from which keys of other types are read."""
        if not isinstance(json, Mapping):
            raise TypeMismatch(self.name, given(json))
        found = {}
        key = ""
        try:
            for key, item in json.items():
                found[self._key_from_json(key)] = self._value.from_json(item)
        except ValueProblem as fault:
            fault.inside(f"[{key!r}]")
            raise
        return found if self._of is dict else self._of(found)

    def _key_from_json(self, key: Any) -> Any:
        if self._key.name == "Any" or not isinstance(key, str):
            return self._key.from_json(key)
        return self._key.from_text(key)
