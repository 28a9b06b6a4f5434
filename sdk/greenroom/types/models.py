"""pydantic models: field by field, so that their files travel and promises of their parts can be read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from greenroom.errors import TypeMismatch, ValueProblem
from greenroom.types.codec import Codec, ExtType, extension, given
from greenroom.types.guess import AnyCodec
from greenroom.types.records import Field, RecordCodec
from greenroom_core.values import Ext, Plain, unpack

if TYPE_CHECKING:
    from greenroom.blobs import BlobStore


class ModelCodec(RecordCodec):
    """A pydantic model (version 2). It was valid when it was made: arriving it is not validated again."""

    def __init__(self, of: Any, name: str, fields: tuple[Field, ...]) -> None:
        super().__init__(of, name, fields, self._construct)
        self._extra = of.model_config.get("extra") == "allow"
        self._names = frozenset(self._by_name)

    def _written(self, obj: Any, store: BlobStore) -> Plain:
        plain: dict[str, Plain] = super()._written(obj, store)
        for name, part in (obj.__pydantic_extra__ or {}).items():
            plain[name] = _ANY.to_plain(part, store)
        return plain

    def from_plain(self, plain: Plain, store: BlobStore) -> Any:
        """The model, constructed from its fields."""
        if type(plain) is not dict or not self._extra:
            return super().from_plain(plain, store)
        extra = {name: _ANY.from_plain(part, store) for name, part in plain.items() if name not in self._names}
        made = super().from_plain({name: part for name, part in plain.items() if name in self._names}, store)
        made.__pydantic_extra__.update(extra)
        return made

    def _construct(self, values: dict[str, Any]) -> Any:
        root = self._of.model_fields.keys() == {"root"} and "root" in values
        made = self._of.model_construct(values["root"]) if root else self._of.model_construct(**values)
        made.__dict__.update(values)  # Whatever `model_post_init` has made of them.
        return made

    def from_json(self, json: Any) -> Any:
        """The model that pydantic itself reads from JSON data."""
        try:
            return self._of.model_validate(json)
        except ValueError as fault:
            raise TypeMismatch(self.name, given(json), _first_problem(fault)) from fault


def _first_problem(fault: ValueError) -> str:
    errors = getattr(fault, "errors", None)
    if errors is None:
        return str(fault)
    first = errors(include_url=False)[0]
    where = ".".join(map(str, first["loc"]))
    return f"{where}: {first['msg']}" if where else str(first["msg"])


class TrustedCodec(Codec):
    """A field of a model: pydantic has validated it, also where its validators made it another type."""

    def __init__(self, inner: Codec) -> None:
        self._inner, self.name, self.uploads = inner, inner.name, inner.uploads
        self.classes, self.nullable = inner.classes, inner.nullable

    def to_plain(self, obj: Any, store: BlobStore) -> Plain:
        """What stands for the declared type, else for what the object is."""
        try:
            return self._inner.to_plain(obj, store)
        except TypeMismatch:
            return extension(Ext.TAGGED, ["any", _ANY.to_plain(obj, store)])

    def from_plain(self, plain: Plain, store: BlobStore) -> Any:
        """The object of either."""
        if type(plain) is ExtType and plain.code == Ext.TAGGED:
            tag, inner = unpack(plain.data)
            if tag == "any":
                return _ANY.from_plain(inner, store)
        return self._inner.from_plain(plain, store)

    def describe(self) -> Any:
        """The declared type."""
        return self._inner.describe()

    def from_json(self, json: Any) -> Any:
        """What the declared type reads."""
        return self._inner.from_json(json)


_ANY = AnyCodec()


def model_codec(of: Any, name: str) -> Codec:
    """The codec of a pydantic model."""
    from greenroom.types.registry import codec_in

    fields = []
    for part, info in of.model_fields.items():
        try:
            codec: Codec = TrustedCodec(codec_in(info.annotation, f"{name}.{part}"))
        except ValueProblem:
            codec = _ANY
        fields.append(Field(part, codec, info.is_required(), part))
    return ModelCodec(of, name, tuple(fields))


def is_model(kind: Any, modules: Mapping[str, Any]) -> bool:
    """Whether a class is a pydantic model; pydantic is not imported to find out."""
    pydantic = modules.get("pydantic")
    base = getattr(pydantic, "BaseModel", None)
    return base is not None and issubclass(kind, base)
