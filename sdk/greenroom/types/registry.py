"""From an annotation to its codec: made once, kept, and complete also where a type is part of itself."""

from __future__ import annotations

import collections
import collections.abc as abc
import sys
import typing
from _thread import RLock
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from greenroom.errors import AnnotationProblem
from greenroom.types.codec import Codec, type_name
from greenroom.types.containers import DictCodec, IteratorCodec, ListCodec, LongTupleCodec, SetCodec, TupleCodec
from greenroom.types.guess import AnyCodec
from greenroom.types.scalars import BoolCodec, BytesCodec, FloatCodec, IntCodec, NoneCodec, StrCodec
from greenroom.types.spec import TypeSpec
from greenroom.types.unions import OptionalCodec, UnionCodec
from greenroom_core.values import Plain, Value

if TYPE_CHECKING:
    from greenroom.blobs import BlobStore

_MOST: Final = 4096
"""Codecs that are kept. Edited programs make new classes: past this, all are forgotten and made again as needed."""

_kept: dict[Any, Codec] = {}
_unfinished: dict[Any, Later] = {}
_lock = RLock()


def codec_for(annotation: Any) -> Codec:
    """The codec of an annotation; the same one for the same annotation.

    Raises:
        AnnotationProblem: The annotation means nothing that a value could be.
    """
    key = annotation
    try:
        origin = typing.get_origin(annotation)
        if origin in _UNIONS:
            key = (typing.Union, *typing.get_args(annotation))  # `A | B` equals `B | A`, but is tried in its own order.
        known = _kept.get(key)
        if known is not None:
            return known
    except TypeError:
        return _made(annotation)  # Metadata that has no hash.
    with _lock:
        return _kept_or_made(key, annotation)


def codec_in(annotation: Any, where: str) -> Codec:
    """The codec of an annotation; errors say where it stands."""
    try:
        return codec_for(annotation)
    except AnnotationProblem as fault:
        if fault.where:
            raise
        raise AnnotationProblem(where, fault.problem) from None


def forget() -> None:
    """Forget all codecs: a type was registered, or the classes of a program are not used any more."""
    with _lock:
        _kept.clear()


def _kept_or_made(key: Any, annotation: Any) -> Codec:
    known = _kept.get(key) or _unfinished.get(key)
    if known is not None:
        return known
    later = _unfinished[key] = Later(annotation)
    try:
        codec = later.codec = _made(annotation)
    except BaseException:
        _kept.clear()  # What was made on the way may refer to what was not.
        raise
    finally:
        del _unfinished[key]
    if len(_kept) >= _MOST:
        _kept.clear()
    _kept[key] = codec
    return codec


class Later(Codec):
    """A type that is part of itself: asked for before it is complete, it does what the complete one does."""

    codec: Codec | None = None

    def __init__(self, annotation: Any) -> None:
        self.name = type_name(annotation)

    @property
    def _complete(self) -> Codec:
        assert self.codec is not None, f"{self.name} is used before it is complete"
        return self.codec

    @property
    def natives(self) -> frozenset[type | int] | None:  # type: ignore[override]
        """Those of the type, once it is complete."""
        return self.codec.natives if self.codec is not None else None

    def to_plain(self, obj: Any, store: BlobStore) -> Plain:
        """As the complete codec."""
        return self._complete.to_plain(obj, store)

    def from_plain(self, plain: Plain, store: BlobStore) -> Any:
        """As the complete codec."""
        return self._complete.from_plain(plain, store)

    def value_of(self, obj: Any, store: BlobStore) -> Value:
        """As the complete codec."""
        return self._complete.value_of(obj, store)

    def describe(self) -> TypeSpec:
        """Its name: whoever describes the complete type is describing this too."""
        return TypeSpec("ref", self.name)

    def from_json(self, json: Any) -> Any:
        """As the complete codec."""
        return self._complete.from_json(json)

    def from_text(self, text: str) -> Any:
        """As the complete codec."""
        return self._complete.from_text(text)


# Making -------------------------------------------------------------------------------------------------------------

_UNIONS: Final = (typing.Union, type(int | str))
_TRANSPARENT: Final = frozenset(
    {typing.Required, typing.NotRequired, typing.Final, typing.ClassVar}
    | {getattr(typing, name) for name in ("ReadOnly",) if hasattr(typing, name)}
)

_SIMPLE: Final[Mapping[Any, Callable[[], Codec]]] = {
    None: NoneCodec, type(None): NoneCodec, bool: BoolCodec, int: IntCodec, float: FloatCodec, str: StrCodec,
    bytes: BytesCodec, bytearray: lambda: BytesCodec(bytearray), typing.Any: AnyCodec, object: AnyCodec,
    typing.NoReturn: NoneCodec, typing.Never: NoneCodec, typing.LiteralString: StrCodec,
}  # fmt: skip


def _made(annotation: Any) -> Codec:
    from greenroom.types.custom import CustomCodec, transformer_of

    bare = _bared(annotation)
    if bare is not annotation:
        return codec_for(bare)
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _annotated(arguments[0], arguments[1:])
    transformer = transformer_of(origin or annotation)
    if transformer is not None:
        return CustomCodec(transformer, annotation)
    simple = _SIMPLE.get(annotation)
    if simple is not None:
        return simple()
    if origin in _UNIONS:
        return _union(arguments)
    if origin is typing.Literal:
        from greenroom.types.choices import LiteralCodec

        return LiteralCodec(arguments)
    if annotation in (tuple, typing.Tuple):  # noqa: UP006 (the bare word holds anything, `tuple[()]` nothing)
        return LongTupleCodec(codec_for(Any))
    container = _CONTAINERS.get(origin or annotation)
    if container is not None:
        return container(arguments)
    return _of_class(annotation, origin or annotation, arguments)


def _bared(annotation: Any) -> Any:
    """What an annotation means that is only another name for a type."""
    if isinstance(annotation, str):
        from greenroom.types.resolve import resolve_text

        return resolve_text(annotation, "")
    if isinstance(annotation, typing.ForwardRef):
        return _bared(annotation.__forward_arg__)
    if isinstance(annotation, typing.TypeVar):
        return _meaning(annotation)
    if type(annotation).__name__ == "TypeAliasType":  # `type X = ...` of Python 3.12, and typing_extensions' own.
        return annotation.__value__
    origin = typing.get_origin(annotation)
    if type(origin).__name__ == "TypeAliasType":
        from greenroom.types.resolve import substituted

        return substituted(
            origin.__value__, dict(zip(origin.__type_params__, typing.get_args(annotation), strict=False))
        )
    if origin in _TRANSPARENT or getattr(origin, "__name__", "") in ("Required", "NotRequired", "ReadOnly"):
        return typing.get_args(annotation)[0]
    if hasattr(annotation, "__supertype__"):
        return annotation.__supertype__
    return annotation


def _meaning(variable: Any) -> Any:
    if variable.__bound__ is not None:
        return variable.__bound__
    return typing.Union[variable.__constraints__] if variable.__constraints__ else Any  # noqa: UP007


def _union(members: tuple[Any, ...]) -> Codec:
    codecs = tuple(codec_for(member) for member in members if member is not type(None))
    optional = len(codecs) < len(members)
    if any(isinstance(codec, AnyCodec) for codec in codecs):
        return AnyCodec()
    if not optional:
        return UnionCodec(codecs)
    if not any(codec.nullable for codec in codecs):
        return OptionalCodec(codecs[0] if len(codecs) == 1 else UnionCodec(codecs))
    return UnionCodec((*codecs, NoneCodec()))


def _annotated(of: Any, metadata: tuple[Any, ...]) -> Codec:
    from greenroom.files import Content
    from greenroom.types.annotated import HashedCodec, HashMethod, columns_in, format_in

    kind = typing.get_origin(of) or of
    codec = None
    if isinstance(kind, type):
        if issubclass(kind, Content) and not kind.extension() and format_in(metadata):
            codec = codec_for(kind.__class_getitem__(format_in(metadata)))
        else:
            codec = _table(kind, columns_in(metadata), format_in(metadata))
    codec = codec or codec_for(of)
    for item in metadata:
        if isinstance(item, HashMethod) or (type(item).__name__ == "HashMethod" and hasattr(item, "calculate")):
            codec = HashedCodec(codec, item)
    return codec


def _table(kind: type, columns: list[str] | None = None, file_format: str = "") -> Codec | None:
    root = kind.__module__.partition(".")[0]
    if root == "greenroom" and kind.__name__ in ("StructuredDataset", "FlyteSchema"):
        from greenroom.types.datasets import DatasetCodec

        return DatasetCodec(columns, file_format, typing.cast(Any, kind))
    if root in ("pandas", "polars", "pyarrow"):
        from greenroom.types.tables import TableCodec, form_of

        if form_of(kind) is not None:
            return TableCodec(kind, columns, file_format)
    return None


def _item(arguments: tuple[Any, ...]) -> Codec:
    return codec_for(arguments[0] if arguments else Any)


def _tuple(arguments: tuple[Any, ...]) -> Codec:
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        return LongTupleCodec(codec_for(arguments[0]))
    return TupleCodec(tuple(codec_for(argument) for argument in arguments if argument != ()))


def _mapping(of: type, takes: tuple[type, ...]) -> Callable[[tuple[Any, ...]], Codec]:
    def make(arguments: tuple[Any, ...]) -> Codec:
        key, value = arguments if len(arguments) == 2 else (Any, Any)
        return DictCodec(codec_for(key), codec_for(value), of, takes)

    return make


def _sequence(name: str, *takes: type) -> Callable[[tuple[Any, ...]], Codec]:
    return lambda arguments: ListCodec(_item(arguments), name, takes)


_CONTAINERS: Final[Mapping[Any, Callable[[tuple[Any, ...]], Codec]]] = {
    list: lambda arguments: ListCodec(_item(arguments)),
    abc.Sequence: _sequence("Sequence", abc.Sequence),
    abc.MutableSequence: _sequence("MutableSequence", abc.MutableSequence),
    abc.Collection: _sequence("Collection", abc.Collection),
    abc.Iterable: _sequence("Iterable", abc.Iterable),
    abc.Iterator: lambda arguments: IteratorCodec(_item(arguments), "Iterator", (abc.Iterable,)),
    abc.Generator: lambda arguments: IteratorCodec(_item(arguments), "Generator", (abc.Iterable,)),
    tuple: _tuple,
    set: lambda arguments: SetCodec(_item(arguments), set),
    abc.Set: lambda arguments: SetCodec(_item(arguments), set),
    abc.MutableSet: lambda arguments: SetCodec(_item(arguments), set),
    frozenset: lambda arguments: SetCodec(_item(arguments), frozenset),
    dict: _mapping(dict, (dict,)),
    abc.Mapping: _mapping(dict, (abc.Mapping,)),
    abc.MutableMapping: _mapping(dict, (abc.MutableMapping,)),
    collections.OrderedDict: _mapping(collections.OrderedDict, (dict,)),
}


def _of_class(annotation: Any, kind: Any, arguments: tuple[Any, ...]) -> Codec:
    if not isinstance(kind, type):
        if callable(kind) or kind is abc.Callable:
            from greenroom.types.opaque import PickleCodec

            return PickleCodec(annotation, None)
        raise AnnotationProblem("", f"{annotation!r} is not a type")
    for family in _FAMILIES:
        codec = family(annotation, kind, arguments)
        if codec is not None:
            return codec
    from greenroom.types.opaque import PickleCodec

    return PickleCodec(annotation, None if kind in (type, abc.Callable) else kind)


def _standard(annotation: Any, kind: type, arguments: tuple[Any, ...]) -> Codec | None:
    """Classes of the standard library and our own."""
    if kind.__module__ in ("datetime", "_pydatetime"):
        from greenroom.types.times import TimeCodec

        return TimeCodec(kind) if kind.__name__ in ("datetime", "date", "time", "timedelta") else None
    enum = sys.modules.get("enum")
    if enum is not None and issubclass(kind, enum.Enum):
        from greenroom.types.choices import EnumCodec

        return EnumCodec(kind)
    if hasattr(kind, "__fspath__"):
        return _path(kind)
    if kind.__module__ in ("decimal", "_pydecimal", "uuid", "fractions", "ipaddress"):
        from greenroom.types.texts import text_codec

        return text_codec(kind)
    return None


def _path(kind: Any) -> Codec | None:
    import os

    from greenroom.files import Content, File

    if kind is os.PathLike:
        from greenroom.types.filetypes import FileCodec

        return FileCodec(File, "PathLike")
    if issubclass(kind, Content):
        from greenroom.types.filetypes import DirectoryCodec, FileCodec

        return FileCodec(kind) if issubclass(kind, File) else DirectoryCodec(typing.cast(Any, kind))
    if kind.__module__.partition(".")[0] == "pathlib":
        from greenroom.types.filetypes import PathCodec

        return PathCodec(kind)
    return None


def _record(annotation: Any, kind: Any, arguments: tuple[Any, ...]) -> Codec | None:
    from greenroom.types import records

    name = type_name(kind) if not arguments else f"{type_name(kind)}[{', '.join(map(type_name, arguments))}]"
    if issubclass(kind, tuple) and hasattr(kind, "_fields"):
        return records.named_tuple_codec(kind, arguments, name)
    if issubclass(kind, dict) and hasattr(kind, "__required_keys__"):
        return records.typed_dict_codec(kind, arguments, name)
    if "__dataclass_fields__" in dir(kind):
        own = "__init__" in vars(kind) and "__dataclass_fields__" not in vars(kind)
        return None if own else records.dataclass_codec(kind, arguments, name)
    if "__attrs_attrs__" in vars(kind):
        return records.attrs_codec(kind, arguments, name)
    from greenroom.types.models import is_model, model_codec

    return model_codec(kind, name) if is_model(kind, sys.modules) else None


def _library(annotation: Any, kind: type, arguments: tuple[Any, ...]) -> Codec | None:
    root = kind.__module__.partition(".")[0]
    if root in ("numpy", "torch"):
        from greenroom.types.arrays import codec_of_class

        return codec_of_class(kind)
    return _table(kind)


_FAMILIES: Final = (_standard, _record, _library)
