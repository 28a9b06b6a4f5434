"""Programs' own transformers and the literals that they make: the type engine behind the alias."""

from __future__ import annotations

import datetime as dt
import enum
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenroom import task, workflow
from greenroom.compat.contexts import FlyteContextManager
from greenroom.compat.engine import RestrictedTypeError, SimpleTransformer, TypeEngine, TypeTransformer
from greenroom.compat.idl.literals import Blob, BlobMetadata, Literal, Primitive, Scalar
from greenroom.compat.idl.types import BlobType, LiteralType, SimpleType
from greenroom.errors import TypeMismatch
from greenroom.files import File
from greenroom.types import HashMethod, kwtypes


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclass
class Inner:
    n: int


@dataclass
class Outer:
    name: str
    inner: Inner
    many: list[Inner] = field(default_factory=list)
    colour: Color = Color.RED


class Folder:
    """A class of a program's own, whose values are folders."""

    def __init__(self, path: str) -> None:
        self.path = path


class FolderTransformer(TypeTransformer[Folder]):
    """As Flyte's documents write one."""

    KIND = BlobType(format="binary", dimensionality=BlobType.BlobDimensionality.MULTIPART)

    def __init__(self) -> None:
        super().__init__(name="folder", t=Folder)

    def get_literal_type(self, t: type[Folder]) -> LiteralType:
        return LiteralType(blob=self.KIND)

    def to_literal(self, ctx: Any, python_val: Folder, python_type: Any, expected: LiteralType) -> Literal:
        remote = ctx.file_access.get_random_remote_directory()
        ctx.file_access.put_data(python_val.path, remote, is_multipart=True)
        return Literal(scalar=Scalar(blob=Blob(uri=remote, metadata=BlobMetadata(type=self.KIND))))

    def to_python_value(self, ctx: Any, lv: Literal, expected_python_type: Any) -> Folder:
        assert lv.scalar is not None
        assert lv.scalar.blob is not None
        local = ctx.file_access.get_random_local_directory()
        ctx.file_access.get_data(lv.scalar.blob.uri, local, is_multipart=True)
        return Folder(local)


class Celsius:
    def __init__(self, degrees: int) -> None:
        self.degrees = degrees


@pytest.fixture(autouse=True)
def own_types() -> typing.Iterator[None]:
    """Types that this module teaches, forgotten afterwards."""
    from greenroom.types import custom, forget

    before = dict(TypeEngine._REGISTRY), dict(custom._transformers), dict(custom._by_name)
    yield
    for kept, known in zip(before, (TypeEngine._REGISTRY, custom._transformers, custom._by_name), strict=True):
        known.clear()  # type: ignore[attr-defined]
        known.update(kept)  # type: ignore[attr-defined]
    forget()


@task
def fill(n: int) -> Folder:
    Path("made").mkdir()
    for index in range(n):
        Path("made", f"{index}.txt").write_text(str(index))
    return Folder("made")


@task
def count(folder: Folder) -> int:
    return sum(int(path.read_text()) for path in Path(folder.path).iterdir())


def test_values_travel_as_a_programs_transformer_makes_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What a transformer puts at a place of its call arrives at a place of the call that reads it.
    """
    monkeypatch.chdir(tmp_path)
    TypeEngine.register(FolderTransformer())

    @task
    def made(n: int) -> Folder:
        return fill.function(n)

    @task
    def summed(folder: Folder) -> int:
        return count.function(folder)

    @workflow
    def wf(n: int) -> int:
        return summed(folder=made(n=n))  # type: ignore[arg-type]

    assert wf(n=4) == 6


def test_a_class_has_one_transformer() -> None:
    """
    A second transformer of one class is refused by name.
    """
    TypeEngine.register(FolderTransformer())

    with pytest.raises(ValueError, match="folder for type .*Folder is already registered"):
        TypeEngine.register(FolderTransformer())


def test_two_functions_make_a_transformer() -> None:
    """
    `SimpleTransformer` turns a class into a literal and back.
    """
    TypeEngine.register(
        SimpleTransformer(
            "celsius",
            Celsius,
            LiteralType(simple=SimpleType.INTEGER),
            lambda value: Literal(scalar=Scalar(primitive=Primitive(integer=value.degrees))),
            lambda literal: Celsius(literal.scalar.primitive.integer),  # type: ignore[union-attr,arg-type]
        )
    )
    context = FlyteContextManager.current_context()

    literal = TypeEngine.to_literal(context, Celsius(21), Celsius, TypeEngine.to_literal_type(Celsius))

    assert literal.scalar == Scalar(primitive=Primitive(integer=21))
    assert TypeEngine.to_python_value(context, literal, Celsius).degrees == 21
    assert (
        TypeEngine.to_python_value(
            context,
            TypeEngine.to_literal(context, [Celsius(3)], list[Celsius], TypeEngine.to_literal_type(list[Celsius])),
            list[Celsius],
        )[0].degrees
        == 3
    )


@pytest.mark.parametrize(
    ("annotation", "field_name", "expected"),
    [
        (int, "simple", SimpleType.INTEGER),
        (bool, "simple", SimpleType.BOOLEAN),
        (dt.timedelta, "simple", SimpleType.DURATION),
        (dict, "simple", SimpleType.STRUCT),
        (Outer, "simple", SimpleType.STRUCT),
        (list[int], "collection_type", LiteralType(simple=SimpleType.INTEGER)),
        (dict[str, float], "map_value_type", LiteralType(simple=SimpleType.FLOAT)),
        (File["csv"], "blob", BlobType("csv", 0)),
    ],
)
def test_types_in_flytes_words(annotation: Any, field_name: str, expected: Any) -> None:
    """
    Every annotation has its literal type.
    """
    assert getattr(TypeEngine.to_literal_type(annotation), field_name) == expected


def test_types_with_parts() -> None:
    """
    Unions name their variants, enums their values, tables their columns; a tuple is no value.
    """
    import pandas as pd

    union = TypeEngine.to_literal_type(int | None).union_type
    table = TypeEngine.to_literal_type(Annotated[pd.DataFrame, kwtypes(a=int)]).structured_dataset_type

    assert union is not None
    assert [variant.structure.tag for variant in union.variants if variant.structure] == ["int", "none"]
    assert TypeEngine.to_literal_type(Color).enum_type.values == ["red", "blue"]  # type: ignore[union-attr]
    assert table is not None
    assert [(column.name, column.literal_type.simple) for column in table.columns] == [("a", SimpleType.INTEGER)]
    with pytest.raises(RestrictedTypeError, match="several outputs"):
        TypeEngine.to_literal_type(tuple[int, str])


LEAVES = st.one_of(
    st.tuples(st.just(int), st.integers(-(2**60), 2**60)),
    st.tuples(st.just(str), st.text()),
    st.tuples(st.just(bool), st.booleans()),
    st.tuples(st.just(float), st.floats(allow_nan=False)),
    st.tuples(st.just(dt.timedelta), st.timedeltas()),
    st.tuples(st.just(Color), st.sampled_from(Color)),
    st.tuples(st.just(Outer), st.builds(Outer, st.text(), st.builds(Inner, st.integers(0, 9)))),
)


def _grown(inner: Any) -> Any:
    return st.one_of(
        inner.map(lambda pair: (list[pair[0]], [pair[1], pair[1]])),
        inner.map(lambda pair: (dict[str, pair[0]], {"k": pair[1]})),
        inner.map(lambda pair: (pair[0] | None, pair[1])),
        inner.map(lambda pair: (pair[0] | None, None)),
    )


@given(st.recursive(LEAVES, _grown, max_leaves=4))
def test_a_value_survives_its_literal(pair: tuple[Any, Any]) -> None:
    """
    Whatever the annotation, the object that a literal is read as equals the one that it was made of.
    """
    annotation, value = pair
    context = FlyteContextManager.current_context()

    literal = TypeEngine.to_literal(context, value, annotation, TypeEngine.to_literal_type(annotation))

    assert TypeEngine.to_python_value(context, literal, annotation) == value


@pytest.mark.parametrize(
    ("annotation", "value"), [(int, "x"), (int, True), (int, 2.0), (list[int], ["a"]), (int | None, "x"), (Outer, 3)]
)
def test_what_does_not_fit_is_refused(annotation: Any, value: Any) -> None:
    """
    A literal is made only of what its annotation says.
    """
    context = FlyteContextManager.current_context()

    with pytest.raises(TypeMismatch):
        TypeEngine.to_literal(context, value, annotation, TypeEngine.to_literal_type(annotation))


def test_a_hash_method_marks_the_literal() -> None:
    """
    What `HashMethod` says of a value stands in its literal.
    """
    context = FlyteContextManager.current_context()
    annotation = Annotated[int, HashMethod(lambda value: f"h{value}")]

    literal = TypeEngine.to_literal(context, 3, annotation, TypeEngine.to_literal_type(annotation))

    assert literal.hash == "h3"


def test_types_are_guessed_from_literal_types() -> None:
    """
    A literal type gives an annotation that it stands for.
    """
    for annotation in (int, list[str], dict[str, float], File["csv"], dt.datetime):
        assert TypeEngine.guess_python_type(TypeEngine.to_literal_type(annotation)) == annotation


def test_interfaces_by_their_python_types() -> None:
    """
    Tasks and workflows tell their inputs and outputs, by Python types and in Flyte's words.
    """

    @task(retries=2, timeout=dt.timedelta(seconds=3), cache=True, cache_version="1")
    def one(a: int, b: str = "x") -> tuple[int, str]:
        return a, b

    assert one.python_interface.inputs == {"a": int, "b": str}
    assert one.python_interface.inputs_with_defaults["b"] == (str, "x")
    assert one.python_interface.outputs == {"o0": int, "o1": str}
    assert one.interface.inputs["a"].type == LiteralType(simple=SimpleType.INTEGER)
    assert one.interface.outputs["o1"].type.simple == SimpleType.STRING
    assert (one.metadata.retries, one.metadata.timeout) == (2, dt.timedelta(seconds=3))
    assert (one.metadata.cache, one.metadata.cache_version) == (True, "1")
    assert one.task_function(1, "y") == (1, "y")


def test_contexts_are_entered_and_left() -> None:
    """
    What a program puts into a context is told back inside of it, and gone after it.
    """
    context = FlyteContextManager.current_context()

    with FlyteContextManager.with_context(context.with_serialization_settings("mine")) as inner:
        assert FlyteContextManager.current_context() is inner
        assert FlyteContextManager.current_context().serialization_settings == "mine"
    assert FlyteContextManager.current_context().serialization_settings is None
