"""What stands behind a type in `Annotated[T, ...]`: digests of one's own, batch sizes, columns."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from greenroom.types.codec import Codec, extension, wrapped
from greenroom.types.spec import TypeSpec
from greenroom_core.values import NIL, Ext, Plain, Value

if TYPE_CHECKING:
    from greenroom.blobs import BlobStore

T = TypeVar("T")


class HashMethod(Generic[T]):
    """`Annotated[T, HashMethod(f)]` on an output: for cached results the value is what `f(value)` says.

    It is computed where the value is made, once; whoever takes the value needs no annotation.
    """

    def __init__(self, function: Callable[[T], Any]) -> None:
        self._function = function

    def calculate(self, obj: T) -> str:
        """The digest of an object."""
        return str(self._function(obj))


class BatchSize:
    """`Annotated[list[T], BatchSize(n)]`: how many files to move at once. Accepted; ours are moved as one batch."""

    def __init__(self, val: int) -> None:
        self._val = val

    def __repr__(self) -> str:
        return f"BatchSize({self._val})"

    @property
    def val(self) -> int:
        """Files at once."""
        return self._val


def kwtypes(**columns: Any) -> dict[str, Any]:
    """Name the columns of a table that are read, and their types: behind a data frame's class in `Annotated`."""
    return dict(columns)


class HashedCodec(Codec):
    """A value that brings its own semantic digest."""

    natives = frozenset({int(Ext.HASHED)})

    def __init__(self, inner: Codec, method: HashMethod[Any]) -> None:
        self._inner, self._method = inner, method
        self.name, self.classes = inner.name, inner.classes
        self.nullable, self.uploads = inner.nullable, inner.uploads

    def _digest(self, obj: Any) -> str:
        calculate: Any = self._method.calculate
        return str(calculate(obj))

    def to_plain(self, obj: Any, store: BlobStore) -> Plain:
        """The digest, and what stands for the value."""
        if obj is None and self.nullable:
            return None
        return extension(Ext.HASHED, [self._digest(obj), self._inner.to_plain(obj, store)])

    def value_of(self, obj: Any, store: BlobStore) -> Value:
        """The digest stays readable, also where the value is kept as a blob."""
        if obj is None and self.nullable:
            return NIL
        return wrapped(Ext.HASHED, self._digest(obj), self._inner.value_of(obj, store))

    def from_plain(self, plain: Plain, store: BlobStore) -> Any:
        """The value; nobody asks for the digest any more."""
        return self._inner.from_plain(plain, store)

    def describe(self) -> TypeSpec:
        """The type as plain data."""
        return self._inner.describe()

    def from_json(self, json: Any) -> Any:
        """What the type reads."""
        return self._inner.from_json(json)

    def from_text(self, text: str) -> Any:
        """What the type reads."""
        return self._inner.from_text(text)


def format_in(metadata: tuple[Any, ...]) -> str:
    """The format that metadata names: `Annotated[File, "csv"]`, or an object with an extension."""
    for item in metadata:
        text = item if isinstance(item, str) else getattr(item, "extension", None)
        if isinstance(text, str) and text.isprintable() and " " not in text:
            return text
    return ""


def columns_in(metadata: tuple[Any, ...]) -> list[str] | None:
    """The columns that metadata names: `kwtypes(...)`, or an arrow schema."""
    for item in metadata:
        if isinstance(item, dict) and item and all(isinstance(name, str) for name in item):
            return list(item)
        names = getattr(item, "names", None)
        if names is not None and type(item).__module__.partition(".")[0] == "pyarrow":
            return list(names)
    return None
