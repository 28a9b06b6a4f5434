"""Entities that were registered on a hub: what they take and give, as their descriptions say it."""

from __future__ import annotations

from collections.abc import Mapping
from types import GenericAlias
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from greenroom.errors import TypeMismatch
from greenroom.types import Codec, Input, Interface, Output, TypeSpec, codec_for
from greenroom.types.codec import given
from greenroom_core.entities import Kind, Reference
from greenroom_core.values import Plain, Value

if TYPE_CHECKING:
    from greenroom.blobs import BlobStore


class HubsDefault:
    """Stands for the default of an input that the hub keeps, and fills in."""

    def __repr__(self) -> str:
        return "<the registered default>"


KEPT: Final = HubsDefault()


class Registered:
    """A registered task, workflow or launch plan. `Client.run` runs it.

    Attributes:
        kind: What it is.
        name: Its name.
        project: Where it was registered.
        version: Which version this is.
        interface: What it takes and gives.
    """

    def __init__(self, shown: Mapping[str, Any]) -> None:
        """Read what the API tells.

        Args:
            shown: The answer of `GET /api/entities/KIND/NAME`.
        """
        self.kind = Kind(shown["kind"])
        self.name: str = shown["name"]
        self.project: str = shown["project"]
        self.version: str = shown["version"]
        self.shown = dict(shown)
        self.interface = interface_of(self.name, shown)

    @property
    def reference(self) -> Reference:
        """Its full name."""
        return Reference(self.kind, self.project, self.name, self.version)

    @property
    def short_name(self) -> str:
        """The last part of its name."""
        return self.name.rsplit(".", 1)[-1]

    @property
    def id(self) -> RegisteredId:
        """Its full name, as programs for Flyte read it."""
        return RegisteredId(str(self.kind), self.project, "development", self.name, self.version)

    def encode_inputs(self, inputs: Mapping[str, Any], blobs: BlobStore) -> dict[str, Value]:
        """Inputs as the hub takes them; those that are left out keep what was registered.

        Raises:
            TypeError: An input is not known.
            TypeMismatch: An input is of another type.
        """
        return {name: self.interface.encode_input(name, value, blobs) for name, value in inputs.items()}

    def __repr__(self) -> str:
        return f"<registered {self.reference}>"


class RegisteredId(NamedTuple):
    """The full name of a registered entity."""

    resource_type: str
    project: str
    domain: str
    name: str
    version: str


class LooseCodec(Codec):
    """An input whose class is not known here: records as dicts or as objects of any class of that shape."""

    nullable = True
    uploads = True

    def __init__(self, spec: TypeSpec) -> None:
        self.spec, self.name = spec, spec.name
        self._any = codec_for(Any)

    def _for(self, obj: Any) -> Codec:
        values = self.spec.options.get("values")
        member = getattr(obj, "value", None) if self.spec.kind == "enum" else None
        if self.spec.kind in ("enum", "literal") and values and (member if member in values else obj) not in values:
            raise TypeMismatch(self.name, given(obj), f"one of {', '.join(map(repr, values))}")
        if self.spec.kind == "record" and not isinstance(obj, Mapping):
            if isinstance(obj, (bool, int, float, str, bytes, list, tuple, set, type(None))):
                raise TypeMismatch(self.name, given(obj))
            return codec_for(type(obj))
        return self._any if member is None else codec_for(type(obj))

    def to_plain(self, obj: Any, store: BlobStore) -> Plain:
        """By the object's own class."""
        return self._for(obj).to_plain(obj, store)

    def value_of(self, obj: Any, store: BlobStore) -> Value:
        """By the object's own class."""
        return self._for(obj).value_of(obj, store)

    def from_plain(self, plain: Plain, store: BlobStore) -> Any:
        """What the data says that it is."""
        return self._any.from_plain(plain, store)

    def describe(self) -> TypeSpec:
        """The type as it was registered."""
        return self.spec

    def from_json(self, json: Any) -> Any:
        """The JSON data itself."""
        self._for(json)
        return json

    def from_text(self, text: str) -> Any:
        """JSON if it is some, else the text."""
        read = self._any.from_text(text)
        values = self.spec.options.get("values") or ()
        return text if text in values and read not in values else read


def interface_of(name: str, shown: Mapping[str, Any]) -> Interface:
    """The interface of a registered entity, from its description."""
    told: Mapping[str, Any] = shown.get("interface") or {}
    kept = {*(shown.get("inputs") or ()), *(shown.get("queries") or ())}
    fixed = set(shown.get("fixed") or ())
    inputs = []
    for part in told.get("inputs", ()):
        if part["name"] not in fixed:
            codec, annotation = codec_of(part["type"])
            optional = part["name"] in kept
            inputs.append(
                Input(part["name"], annotation, codec, KEPT) if optional else Input(part["name"], annotation, codec)
            )
    outputs = [Output(part["name"], *reversed(codec_of(part["type"]))) for part in told.get("outputs", ())]
    return Interface(name, inputs, outputs, "none" if not outputs else "one" if len(outputs) == 1 else "tuple")


def codec_of(wire: list[Any]) -> tuple[Codec, Any]:
    """How values of a described type travel, and its annotation as far as it is known here."""
    spec = TypeSpec.from_wire(wire)
    annotation = annotation_of(spec)
    return (LooseCodec(spec), Any) if annotation is Any and spec.kind != "any" else (codec_for(annotation), annotation)


def annotation_of(spec: TypeSpec) -> Any:
    """The annotation of a type; Any for those whose classes are the program's own."""
    import datetime as dt
    from typing import Union

    plain = {
        "none": type(None), "bool": bool, "int": int, "float": float, "str": str, "bytes": bytes,
        "datetime": dt.datetime, "date": dt.date, "time": dt.time, "timedelta": dt.timedelta,
    }  # fmt: skip
    if spec.kind in plain:
        return plain[spec.kind]
    members = tuple(annotation_of(member) for member in spec.members)
    if spec.kind == "union":
        return Any if Any in members else Union[members]  # noqa: UP007  # Made of what is known only now.
    made = _with_members(spec, members)
    return Any if made is None else made


def _with_members(spec: TypeSpec, members: tuple[Any, ...]) -> Any:
    if spec.kind in ("list", "set") and len(members) == 1:
        return list[members[0]] if spec.kind == "list" else set[members[0]]  # type: ignore[valid-type]
    if spec.kind == "dict" and len(members) == 2:
        return dict[members[0], members[1]]  # type: ignore[valid-type]
    if spec.kind == "tuple" and members and not spec.options.get("places"):
        return GenericAlias(tuple, (members[0], ...) if spec.options.get("any_length") else members)
    if spec.kind == "file":
        from greenroom.files import File

        return File
    if spec.kind == "directory":
        from greenroom.directories import Directory

        return Directory
    return None
