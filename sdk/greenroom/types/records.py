"""Objects with named fields: dataclasses, named tuples, typed dicts, attrs classes. All travel as dicts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Optional, get_origin

from greenroom.errors import NotReadable, TypeMismatch, ValueProblem
from greenroom.types.codec import Codec, ExtType, extension, given, given_plain, type_name
from greenroom.types.spec import Member, TypeSpec
from greenroom_core.values import Ext, Plain, unpack

if TYPE_CHECKING:
    from greenroom.blobs import BlobStore


class Field(NamedTuple):
    """One field of a record."""

    name: str
    codec: Codec
    required: bool
    init: str | None = None
    """How the constructor calls it; None if it does not take it."""


class RecordCodec(Codec):
    """What all records share; `build` makes the object from its fields."""

    natives = frozenset({dict})

    def __init__(self, of: Any, name: str, fields: tuple[Field, ...], build: Callable[[dict[str, Any]], Any]) -> None:
        self._of, self.name, self._fields, self._build = of, name, fields, build
        self._bases = tuple(base for base in getattr(of, "__mro__", ())[1:] if _is_record(base))
        # One that may stand where another record is declared says which it is.
        self._tag = f"{of.__module__}:{of.__qualname__}" if self._bases and _found_again(of) else None
        self.classes = (of,)
        self.natives = frozenset({dict, int(Ext.TAGGED)})
        self._by_name = {field.name: field for field in fields}
        self._required = frozenset(field.name for field in fields if field.required)
        self._writers = [(field.name, field.codec.to_plain) for field in fields]
        self._readers = {field.name: field.codec.from_plain for field in fields}
        self._describing = False
        # A field may be of a type that is not complete yet, and upload: that costs a batch for nothing, no more.
        self.uploads = any(field.codec.uploads for field in fields)

    def to_plain(self, obj: Any, store: BlobStore) -> Plain:
        """The fields by name; of a subclass its name too, so that it comes back as that."""
        if type(obj) is self._of:
            return self._tagged(self._written(obj, store))
        if isinstance(obj, self._of):
            return self._subclass_to_plain(obj, store)
        if type_name(type(obj)) == type_name(self._of):  # The same class, as an older load of its module made it.
            return self._tagged(self._written(obj, store))
        raise TypeMismatch(self.name, given(obj))

    def _tagged(self, plain: Plain) -> Plain:
        return plain if self._tag is None else extension(Ext.TAGGED, [self._tag, plain])

    def _written(self, obj: Any, store: BlobStore) -> Plain:
        plain: dict[str, Plain] = {}
        name = ""
        try:
            for name, write in self._writers:
                plain[name] = write(getattr(obj, name), store)
        except ValueProblem as fault:
            fault.inside(f".{name}")
            raise
        except AttributeError:
            if hasattr(obj, name):
                raise
            return self._written_in_part(obj, store)
        return plain

    def _written_in_part(self, obj: Any, store: BlobStore) -> Plain:
        """Fields that the object never got stay away."""
        return {name: write(getattr(obj, name), store) for name, write in self._writers if hasattr(obj, name)}

    def _subclass_to_plain(self, obj: Any, store: BlobStore) -> Plain:
        from greenroom.types.registry import codec_for

        kind = type(obj)
        codec = codec_for(kind)
        if isinstance(codec, RecordCodec) and codec._tag is None:
            from greenroom.types.opaque import pickled

            return pickled(obj, store)  # Its fields alone would not say what it is.
        return codec.to_plain(obj, store)

    def from_plain(self, plain: Plain, store: BlobStore) -> Any:
        """The object, made from its fields."""
        if type(plain) is not dict:
            return self.otherwise(plain, store)
        values: dict[str, Any] = {}
        name = ""
        readers = self._readers
        try:
            for name, part in plain.items():
                read = readers.get(name)
                if read is None:
                    raise TypeMismatch(self.name, f"a field {name!r}", self._known())
                values[name] = read(part, store)
        except ValueProblem as fault:
            if name in readers:
                fault.inside(f".{name}")
            raise
        return self._made(values)

    def _made(self, values: dict[str, Any]) -> Any:
        if not self._required <= values.keys():
            lacking = sorted(self._required - values.keys())
            raise TypeMismatch(self.name, f"no {', '.join(map(repr, lacking))}", self._known())
        try:
            return self._build(values)
        except ValueProblem:
            raise
        except Exception as fault:  # Whatever the class's own code raises.
            raise NotReadable(self.name, f"{type(fault).__name__}: {fault}") from fault

    def _known(self) -> str:
        return f"it has {', '.join(self._by_name) or 'no fields'}"

    def otherwise(self, plain: Plain, store: BlobStore) -> Any:
        """Read a subclass, or an object that was pickled."""
        if type(plain) is ExtType and plain.code == Ext.TAGGED:
            tag, inner = unpack(plain.data)
            if tag == self._tag:
                return self.from_plain(inner, store)
            kind = _class_named(tag)
            if isinstance(kind, type) and isinstance(self._of, type) and issubclass(kind, self._of):
                from greenroom.types.registry import codec_for

                return codec_for(kind).from_plain(inner, store)
        if type(plain) is ExtType and plain.code == Ext.PICKLE:
            from greenroom.types.opaque import unpickled

            obj = unpickled(plain, store)
            if isinstance(obj, self._of) or type_name(type(obj)) == type_name(self._of):
                return obj
            raise TypeMismatch(self.name, given_plain(plain))
        return super().otherwise(plain, store)

    def describe(self) -> TypeSpec:
        """The type as plain data; where it is part of itself, its name alone."""
        if self._describing:
            return TypeSpec("ref", self.name)
        self._describing = True
        try:
            fields = tuple(Member(field.name, field.codec.describe(), field.required) for field in self._fields)
        finally:
            self._describing = False
        bases = [type_name(base) for base in self._bases]
        return TypeSpec("record", self.name, fields=fields, options={"bases": bases} if bases else {})

    def from_json(self, json: Any) -> Any:
        """A JSON object with the fields."""
        if not isinstance(json, Mapping):
            raise TypeMismatch(self.name, given(json))
        values: dict[str, Any] = {}
        name = ""
        try:
            for name, part in json.items():
                if name not in self._by_name:
                    raise TypeMismatch(self.name, f"a field {name!r}", self._known())
                values[name] = self._by_name[name].codec.from_json(part)
        except ValueProblem as fault:
            if name in self._by_name:
                fault.inside(f".{name}")
            raise
        return self._made(values)


class NamedTupleCodec(RecordCodec):
    """A named tuple: its places are fields on the wire."""

    def describe(self) -> TypeSpec:
        """The type as plain data; its parts are reached by number too."""
        spec = super().describe()
        return spec._replace(options={**spec.options, "places": True}) if spec.kind == "record" else spec


class TypedDictCodec(RecordCodec):
    """A typed dict: a dict with these keys."""

    def __init__(self, of: Any, name: str, fields: tuple[Field, ...]) -> None:
        super().__init__(of, name, fields, dict)
        self.classes = ()
        self.natives = frozenset({dict})

    def to_plain(self, obj: Any, store: BlobStore) -> Plain:
        """The dict, key by key."""
        if not isinstance(obj, dict):
            raise TypeMismatch(self.name, given(obj))
        if not self._required <= obj.keys():
            lacking = sorted(self._required - obj.keys())
            raise TypeMismatch(self.name, f"a dict without {', '.join(map(repr, lacking))}", self._known())
        plain: dict[str, Plain] = {}
        for name, part in obj.items():
            field = self._by_name.get(name)
            if field is None:
                raise TypeMismatch(self.name, f"a dict with {name!r}", self._known())
            try:
                plain[name] = field.codec.to_plain(part, store)
            except ValueProblem as fault:
                fault.inside(f"[{name!r}]")
                raise
        return plain


# Making codecs ------------------------------------------------------------------------------------------------------


def dataclass_codec(of: type, arguments: tuple[Any, ...], name: str) -> Codec:
    """The codec of a dataclass, with its type variables replaced."""
    import dataclasses

    parts = dataclasses.fields(of)
    nullable = [field.name for field in parts if field.default is None]
    hints = _field_types(of, arguments, name, [field.name for field in parts], nullable)
    fields = tuple(
        Field(field.name, hints[field.name], _is_required(field), field.name if field.init else None) for field in parts
    )
    return RecordCodec(of, name, fields, _dataclass_builder(of, fields))


def _is_required(field: Any) -> bool:
    import dataclasses

    return field.init and field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _dataclass_builder(of: Any, fields: tuple[Field, ...]) -> Callable[[dict[str, Any]], Any]:
    import dataclasses

    pseudo = [field for field in of.__dataclass_fields__.values() if "INITVAR" in repr(field._field_type)]
    if not of.__dataclass_params__.init or any(field.default is dataclasses.MISSING for field in pseudo):
        # Its constructor wants what the object did not keep: fields are set without it.
        return lambda values: _set_fields(of.__new__(of), values, fields)
    by_init = frozenset(field.name for field in fields if field.init is not None)
    if len(by_init) == len(fields) and not hasattr(of, "__post_init__"):
        return lambda values: of(**values)
    # `__post_init__` runs, for what it makes beside the fields; then the fields get what they had.
    return lambda values: _set_fields(
        of(**{name: value for name, value in values.items() if name in by_init}), values, fields
    )


def _set_fields(obj: Any, values: dict[str, Any], fields: tuple[Field, ...]) -> Any:
    for field in fields:
        if field.name in values:
            object.__setattr__(obj, field.name, values[field.name])  # Also where it is frozen.
    return obj


def attrs_codec(of: Any, arguments: tuple[Any, ...], name: str) -> Codec:
    """The codec of an attrs class."""
    nullable = [part.name for part in of.__attrs_attrs__ if part.default is None]
    hints = _field_types(of, arguments, name, [part.name for part in of.__attrs_attrs__], nullable)
    required = {part.name for part in of.__attrs_attrs__ if part.init and "NOTHING" in repr(part.default)}
    fields = tuple(
        Field(part.name, hints[part.name], part.name in required, part.alias if part.init else None)
        for part in of.__attrs_attrs__
    )

    def build(values: dict[str, Any]) -> Any:
        made = of(**{field.init: values[field.name] for field in fields if field.init and field.name in values})
        return _set_fields(made, values, fields)

    return RecordCodec(of, name, fields, build)


def named_tuple_codec(of: Any, arguments: tuple[Any, ...], name: str) -> Codec:
    """The codec of a named tuple, with types or without."""
    nullable = [part for part, default in of._field_defaults.items() if default is None]
    hints = _field_types(of, arguments, name, of._fields, nullable)
    fields = tuple(Field(part, hints[part], part not in of._field_defaults) for part in of._fields)

    def build(values: dict[str, Any]) -> Any:
        return of._make([values[part] if part in values else of._field_defaults[part] for part in of._fields])

    return NamedTupleCodec(of, name, fields, build)


def typed_dict_codec(of: Any, arguments: tuple[Any, ...], name: str) -> Codec:
    """The codec of a typed dict."""
    from greenroom.types.resolve import hints_of

    hints = hints_of(of, name)
    names = [part for part in hints if part in of.__required_keys__ or part in of.__optional_keys__]
    codecs = _field_types(of, arguments, name, names)
    fields = tuple(Field(part, codecs[part], _is_key_required(of, part, hints[part])) for part in names)
    return TypedDictCodec(of, name, fields)


def _is_key_required(of: Any, key: str, annotation: Any) -> bool:
    """What the annotation says itself, which Python overlooks where annotations are text."""
    word = getattr(get_origin(annotation), "__name__", None) or str(get_origin(annotation))
    if word.endswith("NotRequired"):
        return False
    return word.endswith("Required") or key in of.__required_keys__


def _field_types(
    of: Any, arguments: tuple[Any, ...], name: str, fields: Sequence[str], nullable: Collection[str] = ()
) -> dict[str, Codec]:
    """The codecs of these fields; one without annotation takes anything, one whose default is None takes None."""
    from greenroom.types.registry import codec_in
    from greenroom.types.resolve import hints_of, substituted, type_arguments

    meanings, hints = type_arguments(of, arguments), hints_of(of, name)
    codecs = {}
    for part in fields:
        annotation = substituted(hints.get(part, Any), meanings)
        codec = codec_in(annotation, f"{name}.{part}")
        if part in nullable and not codec.nullable:  # `x: int = None`, as people write it.
            codec = codec_in(Optional[annotation], f"{name}.{part}")  # noqa: UP045
        codecs[part] = codec
    return codecs


def _is_record(kind: type) -> bool:
    names = ("__dataclass_fields__", "__attrs_attrs__", "__pydantic_fields__")
    return any(name in vars(kind) for name in names) and kind.__name__ != "BaseModel"


def _found_again(kind: type) -> bool:
    """Whether a class is where its name says, so that another process can find it."""
    return _class_named(f"{kind.__module__}:{kind.__qualname__}") is kind


def _class_named(tag: str) -> Any:
    module, colon, path = tag.partition(":")
    if not colon:
        return None
    import importlib

    try:
        found: Any = importlib.import_module(module)
        for part in path.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError):
        return None
    return found
