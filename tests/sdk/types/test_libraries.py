# ruff: noqa: UP045
"""pydantic models, attrs classes, numpy arrays, types of one's own."""

from __future__ import annotations

import enum
import sys
import types
from typing import Annotated, Any, Generic, Optional, TypeVar

import attrs
import numpy as np
import numpy.typing as npt
import pydantic
import pytest

from greenroom.errors import MissingPackage, TypeMismatch
from greenroom.files import File
from greenroom.types import codec_for, forget, parse_json, register_transformer, register_type_transformer
from greenroom_core.refs import blobs_of
from greenroom_core.show import preview, to_json
from greenroom_core.values import Ext, access, ext, ext_code, pack, unpack
from tests.sdk.types.shapes import Point

T = TypeVar("T")


def travel(annotation, value, store):
    codec = codec_for(annotation)
    return codec.decode(codec.encode(value, store), store)


class Inner(pydantic.BaseModel):
    n: int = 0


class Outer(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)

    name: str = pydantic.Field(alias="n4me", default="x")
    inner: Inner
    many: list[Inner] = []
    by_key: dict[int, Inner] = {}
    positive: Annotated[int, pydantic.Field(gt=0)] = 1
    secret: Optional[pydantic.SecretStr] = None
    url: Optional[pydantic.HttpUrl] = None
    array: Any = None
    parent: Optional[Outer] = None


class Open(pydantic.BaseModel, extra="allow"):
    a: int


class Numbers(pydantic.RootModel[list[int]]):
    pass


class Page(pydantic.BaseModel, Generic[T]):
    items: list[T]


class Counted(pydantic.BaseModel):
    n: int
    _seen: int = pydantic.PrivateAttr(default=0)

    def model_post_init(self, _):
        self.n += 1
        self._seen = 5


class Rewritten(pydantic.BaseModel):
    when: int

    @pydantic.field_validator("when", mode="plain")
    @classmethod
    def _as_text(cls, value):
        return f"year {value}"


class Child(Inner):
    extra: str = "e"


class TestPydantic:
    @pytest.mark.parametrize(
        "model",
        [
            Outer(inner=Inner(n=1)),
            Outer(n4me="a", inner=Inner(), many=[Inner(n=2)], by_key={1: Inner()}, secret="s", url="https://a.b/c"),
            Outer(inner=Inner(), parent=Outer(inner=Inner())),
            Open(a=1, b=[2], c=None),
            Numbers([1, 2]),
            Page[int](items=[1]),
            Page[Inner](items=[Inner()]),
            Rewritten(when=3),
        ],
        ids=lambda model: type(model).__name__,
    )
    def test_a_model_survives(self, store, model):
        """
        Fields, aliases, extras, roots, generics, and what validators made.
        """
        found = travel(type(model), model, store)

        assert found == model
        assert vars(found) == vars(model)
        assert found.model_extra == model.model_extra

    def test_arriving_is_not_validated_and_changed_again(self, store):
        """
        What `model_post_init` made of a field stays as it was; private attributes are there.
        """
        found = travel(Counted, Counted(n=1), store)

        assert (found.n, found._seen) == (2, 5)

    def test_its_parts_are_read_without_its_code(self, store):
        """
        A promise's field is reached on the hub.
        """
        value = codec_for(Outer).encode(Outer(inner=Inner(n=7)), store)

        assert unpack(access(value, ("inner", "n"))) == 7
        assert codec_for(Outer).describe().part("inner")[1].part("n")[1].name == "int"

    def test_a_subclass_arrives_as_what_it_is(self, store):
        """
        Where the base is declared, nothing of it is lost.
        """
        assert travel(Inner, Child(n=1, extra="x"), store) == Child(n=1, extra="x")

    def test_json_is_read_by_pydantic_itself(self):
        """
        With its conversions, aliases and messages.
        """
        assert parse_json(Outer, {"n4me": "a", "inner": {"n": "3"}}) == Outer(n4me="a", inner=Inner(n=3))
        with pytest.raises(ValueError, match="inner: Field required"):
            parse_json(Outer, {})

    def test_another_class_is_refused(self, store):
        """
        Also a dict that would do.
        """
        with pytest.raises(TypeMismatch, match=r"Inner, got \{'n': 1\} \(dict\)"):
            codec_for(Inner).encode({"n": 1}, store)


@attrs.define
class Attrs:
    x: int
    _hidden: str = "h"
    items: list[Point] = attrs.Factory(list)
    total: int = attrs.field(init=False, default=0)

    def __attrs_post_init__(self):
        self.total = self.x + 1


@attrs.frozen
class FrozenAttrs:
    x: int


def test_attrs_classes_survive(store):
    """
    Private names, factories, fields that the constructor does not take, frozen ones.
    """
    assert travel(Attrs, Attrs(1, "b", [Point(2)]), store) == Attrs(1, "b", [Point(2)])
    assert travel(FrozenAttrs, FrozenAttrs(1), store) == FrozenAttrs(1)


ARRAYS = [
    np.arange(6, dtype=np.int32).reshape(2, 3),
    np.array(3.5),
    np.array([], dtype=np.float16),
    np.array([[True], [False]]),
    np.array([1 + 2j]),
    np.array(["a", "bcd"]),
    np.array([b"a", b"bcd"]),
    np.array(["2026-03-01"], dtype="M8[ns]"),
    np.arange(6, dtype=">u2"),
    np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    np.arange(10)[::2],
    np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
    np.array([{"a": 1}, None], dtype=object),
    np.zeros((300, 300)),
]


class TestNumpy:
    @pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype}{array.shape}")
    @pytest.mark.parametrize("annotation", [np.ndarray, npt.NDArray[np.float64], Any])
    def test_an_array_survives(self, store, annotation, array):
        """
        Values, type, shape, order; and it may be written to.
        """
        found = travel(annotation, array, store)

        assert (found.dtype, found.shape) == (array.dtype, array.shape)
        assert found.flags.f_contiguous == array.flags.f_contiguous or not array.flags.contiguous
        assert (found == array).all()
        assert found.flags.writeable

    def test_a_large_one_is_a_blob(self, store):
        """
        Also inside of other values; and the hub can show it.
        """
        value = codec_for(dict[str, np.ndarray]).encode({"a": np.zeros((300, 300))}, store)

        assert len(value) < 500
        assert len(blobs_of(value)) == 1
        assert to_json(value)["a"]["preview"] == "<f8 array of 300x300"

    def test_a_mapped_file_travels_as_an_array(self, store):
        """
        A memory map is an array whose bytes are elsewhere.
        """
        mapped = np.memmap("m.bin", dtype="f4", mode="w+", shape=(3,))
        mapped[:] = 1

        assert (travel(np.ndarray, mapped, store) == 1).all()

    @pytest.mark.parametrize(
        "number", [np.float32(1.5), np.int8(-3), np.bool_(True), np.complex64(1j), np.datetime64("2026")]
    )
    @pytest.mark.parametrize("declared", [True, False])
    def test_a_number_keeps_its_type(self, store, number, declared):
        """
        With the type declared, or met.
        """
        found = travel(type(number) if declared else Any, number, store)

        assert found == number
        assert type(found) is type(number)

    def test_python_numbers_become_the_declared_type(self, store):
        """
        If they keep their value.
        """
        assert type(travel(np.float32, 1.5, store)) is np.float32
        with pytest.raises(TypeMismatch, match="numpy.int8, got 300"):
            codec_for(np.int8).encode(300, store)

    def test_a_list_is_no_array(self, store):
        """
        The error says both.
        """
        with pytest.raises(TypeMismatch, match=r"expected numpy.ndarray, got \[1\] \(list\)"):
            codec_for(np.ndarray).encode([1], store)

    def test_json_makes_one(self):
        """
        Nested arrays of numbers.
        """
        assert parse_json(np.ndarray, [[1, 2], [3, 4]]).shape == (2, 2)
        with pytest.raises(ValueError, match="inhomogeneous"):
            parse_json(np.ndarray, [[1, 2], [3]])


class Molecule:
    def __init__(self, smiles):
        self.smiles = smiles

    def __eq__(self, other):
        return isinstance(other, Molecule) and self.smiles == other.smiles

    __hash__ = None


class Salt(Molecule):
    pass


@pytest.fixture
def registered():
    register_transformer(
        Molecule,
        encode=lambda molecule: {"smiles": molecule.smiles, "picture": np.ones(2)},
        decode=lambda data: Molecule(data["smiles"]),
        parse=lambda text: Molecule(text.upper()),
        name="molecule",
    )
    yield
    from greenroom.types import custom

    custom._transformers.clear()
    custom._by_name.clear()
    forget()


class TestTransformers:
    def test_a_registered_class_travels_as_its_transformer_says(self, store, registered):
        """
        By itself, inside of others, met in `Any`, as an input that was pickled before.
        """
        for annotation, value in (
            (Molecule, Molecule("C")),
            (list[Molecule], [Molecule("C")]),
            (Any, {"m": Molecule("C")}),
        ):
            assert travel(annotation, value, store) == value

        value = codec_for(Molecule).encode(Molecule("CC"), store)
        assert ext_code(value) is Ext.CUSTOM
        assert '"CC"' in preview(value)
        assert unpack(access(value, ("smiles",))) == "CC"

    def test_a_subclass_travels_as_the_class(self, store, registered):
        """
        Unless it is registered itself.
        """
        assert type(travel(Salt, Salt("NaCl"), store)) is Molecule

    def test_it_can_be_typed(self, registered):
        """
        With `parse`, command lines take it.
        """
        assert codec_for(Molecule).from_text("c") == Molecule("C")

    def test_without_the_transformer_its_data_is_still_read(self, store):
        """
        Who has not registered the class sees what it was made into.
        """
        value = pack(ext(Ext.CUSTOM, ["unknown", {"a": 1}]))

        assert codec_for(Any).decode(value, store) == {"a": 1}
        assert codec_for(dict[str, int]).decode(value, store) == {"a": 1}

    def test_files_in_what_a_transformer_makes_are_uploaded(self, store):
        """
        A transformer may write a file and return it.
        """

        def encode(obj):
            with open("weights.bin", "w") as out:
                out.write(obj.smiles)
            return File("weights.bin")

        def decode(file):
            with file.open() as opened:
                return Molecule(opened.read())

        register_transformer(Molecule, encode=encode, decode=decode)
        try:
            value = codec_for(Molecule).encode(Molecule("CO"), store)

            assert codec_for(Molecule).decode(value, store) == Molecule("CO")
            assert blobs_of(value) == [store.put(b"CO")]
        finally:
            from greenroom.types import custom

            custom._transformers.clear()
            custom._by_name.clear()
            forget()

    def test_an_object_written_for_flytekits_engine_is_taken(self, store):
        """
        Its literal travels, whatever it is.
        """

        class Literal:
            def __init__(self, scalar):
                self.scalar = scalar

        sys.modules[__name__].EngineLiteral = Literal
        Literal.__qualname__ = "EngineLiteral"

        class Transformer:
            name = "molecules"
            python_type = Molecule

            def get_literal_type(self, t):
                return "type"

            def to_literal(self, ctx, python_val, python_type, expected):
                assert (ctx, python_type, expected) == ("context", Molecule, "type")
                return Literal(python_val.smiles)

            def to_python_value(self, ctx, lv, expected_python_type):
                return expected_python_type(lv.scalar)

        register_type_transformer(Transformer(), lambda: "context")
        try:
            assert travel(Molecule, Molecule("C"), store) == Molecule("C")
        finally:
            from greenroom.types import custom

            custom._transformers.clear()
            custom._by_name.clear()
            forget()


def test_a_library_that_is_not_here_is_named(store, monkeypatch):
    """
    An array that arrives where there is no numpy says what to install.
    """
    value = codec_for(np.ndarray).encode(np.ones(2), store)
    monkeypatch.setitem(sys.modules, "numpy", None)

    with pytest.raises(MissingPackage, match="an array needs numpy: pip install numpy"):
        codec_for(Any).decode(value, store)


def test_a_class_of_an_older_load_of_its_module_is_the_same_class(store):
    """
    An edited program's objects are taken by name: a dataclass, an enum, a class that is pickled.
    """
    source = """
import dataclasses, enum
@dataclasses.dataclass
class Record:
    x: int
class Choice(enum.Enum):
    A = 1
class Bare:
    n = 3
"""
    old, new = types.ModuleType("edited"), types.ModuleType("edited")
    for module in (old, new):
        sys.modules["edited"] = module
        exec(compile(source, "edited.py", "exec", dont_inherit=True), vars(module))
    try:
        assert travel(new.Record, old.Record(1), store) == new.Record(1)
        assert travel(new.Choice, old.Choice.A, store) is new.Choice.A
        assert codec_for(new.Bare)._fits(old.Bare())
    finally:
        del sys.modules["edited"]
    assert issubclass(new.Choice, enum.Enum)
