"""Types that a program teaches us: registered once, used wherever they are annotated or met."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from greenroom.errors import TypeMismatch
from greenroom.types.codec import Codec, ExtType, extension, given, given_plain, type_name
from greenroom.types.guess import plain_of, read_plain
from greenroom.types.spec import TypeSpec
from greenroom_core.values import Ext, Plain, unpack

if TYPE_CHECKING:
    from greenroom.blobs import BlobStore

T = TypeVar("T")


class Transformer(NamedTuple, Generic[T]):
    """How one class travels."""

    of: type[T]
    name: str
    encode: Callable[[T, Any], Any]
    decode: Callable[[Any, Any], T]
    parse: Callable[[str], T] | None


_transformers: dict[type, Transformer[Any]] = {}
_by_name: dict[str, Transformer[Any]] = {}


def register_transformer(
    of: type[T],
    *,
    encode: Callable[[T], Any],
    decode: Callable[[Any], T],
    parse: Callable[[str], T] | None = None,
    name: str | None = None,
) -> None:
    """Say how objects of a class travel, in the place of a pickle.

    ```python
    register_transformer(Molecule, encode=lambda m: {"smiles": m.smiles}, decode=lambda d: Molecule(d["smiles"]))
    ```

    Do it in a module that both sides import. Registering a class again replaces what was said before; subclasses that
    are not registered themselves travel as the class.

    Args:
        of: The class.
        encode: Gives what stands for an object: plain data, dataclasses, arrays, files (`File`), ...
        decode: Makes the object from that.
        parse: Makes an object from what is typed on a command line; none can be typed without it.
        name: What values are marked with; the class's module and name unless given.
    """
    _register(Transformer(of, name or type_name(of), lambda obj, _: encode(obj), lambda data, _: decode(data), parse))


def register_type_transformer(transformer: Any, context: Callable[[], Any] = lambda: None) -> None:
    """Take an object written for flytekit's `TypeEngine.register`: its literals travel as it makes them.

    Args:
        transformer: Has `python_type`, `get_literal_type`, `to_literal` and `to_python_value`.
        context: Gives the first argument of its methods.
    """

    def encode(obj: Any, annotation: Any) -> Any:
        expected = transformer.get_literal_type(annotation)
        return transformer.to_literal(context(), obj, annotation, expected)

    def decode(literal: Any, annotation: Any) -> Any:
        return transformer.to_python_value(context(), literal, annotation)

    of = transformer.python_type
    _register(Transformer(of, getattr(transformer, "name", None) or type_name(of), encode, decode, None))


def _register(transformer: Transformer[Any]) -> None:
    from greenroom.types.registry import forget

    _transformers[transformer.of] = _by_name[transformer.name] = transformer
    forget()  # Codecs that were made before know nothing of it.


def transformer_of(kind: Any) -> Transformer[Any] | None:
    """What was registered for a class or the nearest of its bases."""
    if not _transformers or not isinstance(kind, type):
        return None
    return next((_transformers[base] for base in kind.__mro__ if base in _transformers), None)


class CustomCodec(Codec):
    """A registered class."""

    natives = frozenset({int(Ext.CUSTOM)})
    uploads = True

    def __init__(self, transformer: Transformer[Any], annotation: Any) -> None:
        self._transformer, self._annotation = transformer, annotation
        self.name, self.classes = type_name(transformer.of), (transformer.of,)

    def to_plain(self, obj: Any, store: BlobStore) -> Plain:
        """What its transformer makes of the object, with the type's name."""
        if not isinstance(obj, self._transformer.of):
            raise TypeMismatch(self.name, given(obj))
        content = self._transformer.encode(obj, self._annotation)
        return extension(Ext.CUSTOM, [self._transformer.name, plain_of(content, store)])

    def from_plain(self, plain: Plain, store: BlobStore) -> Any:
        """The object that its transformer makes."""
        if type(plain) is not ExtType or plain.code != Ext.CUSTOM:
            return self.otherwise(plain, store)
        name, inner = unpack(plain.data)
        if name != self._transformer.name:
            raise TypeMismatch(self.name, f"a {name}")
        return self._transformer.decode(read_plain(inner, store), self._annotation)

    def otherwise(self, plain: Plain, store: BlobStore) -> Any:
        """Read a value that was pickled where its class was not registered."""
        if type(plain) is ExtType and plain.code == Ext.PICKLE:
            obj = read_plain(plain, store)
            if isinstance(obj, self._transformer.of):
                return obj
            raise TypeMismatch(self.name, given_plain(plain))
        return super().otherwise(plain, store)

    def describe(self) -> TypeSpec:
        """The type as plain data."""
        return TypeSpec("custom", self.name)

    def from_text(self, text: str) -> Any:
        """What the transformer's `parse` makes."""
        if self._transformer.parse is None:
            raise TypeMismatch(self.name, repr(text), "register_transformer(..., parse=) would read it")
        return self._transformer.parse(text)

    def from_json(self, json: Any) -> Any:
        """The object that is written as this text."""
        if not isinstance(json, str):
            raise TypeMismatch(self.name, given(json))
        return self.from_text(json)


def custom_from_plain(plain: Any, store: Any) -> Any:
    """A value that says itself which transformer made it; without that transformer, what it made."""
    name, inner = unpack(plain.data)
    transformer = _by_name.get(name)
    data = read_plain(inner, store)
    return data if transformer is None else transformer.decode(data, transformer.of)
