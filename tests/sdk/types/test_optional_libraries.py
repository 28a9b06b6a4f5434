"""Libraries that only some programs have: polars, mashumaro, dataclasses-json, torch. Skipped where they are not."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from greenroom.files import File
from greenroom.types import StructuredDataset, codec_for, parse_json
from greenroom_core.values import unpack


def travel(annotation, value, store, to=None):
    return codec_for(to or annotation).decode(codec_for(annotation).encode(value, store), store)


class TestPolars:
    @pytest.fixture
    def polars(self):
        return pytest.importorskip("polars")

    def test_frames_and_lazy_frames(self, store, polars):
        """
        Each arrives as what is asked for.
        """
        frame = polars.DataFrame({"a": [1, 2], "b": ["x", None]})

        assert travel(polars.DataFrame, frame, store).equals(frame)
        assert travel(polars.LazyFrame, frame.lazy(), store).collect().equals(frame)
        assert travel(polars.DataFrame, frame, store, polars.LazyFrame).collect().equals(frame)
        assert travel(StructuredDataset, frame, store).open(polars.DataFrame).all().equals(frame)
        assert type(travel(Any, frame, store)) is polars.DataFrame

    def test_to_and_from_pandas(self, store, polars):
        """
        One task's polars is another's pandas.
        """
        pandas = pytest.importorskip("pandas")
        frame = polars.DataFrame({"a": [1, 2]})

        assert list(travel(polars.DataFrame, frame, store, pandas.DataFrame)["a"]) == [1, 2]
        assert travel(pandas.DataFrame, pandas.DataFrame({"a": [1]}), store, polars.DataFrame)["a"].to_list() == [1]

    def test_columns(self, store, polars):
        """
        Only those that are asked for.
        """
        from typing import Annotated

        from greenroom.types import kwtypes

        frame = polars.DataFrame({"a": [1], "b": [2]})

        for kind in (polars.DataFrame, polars.LazyFrame):
            found = travel(polars.DataFrame, frame, store, Annotated[kind, kwtypes(b=int)])
            assert found.lazy().collect().columns == ["b"]


class TestMixins:
    def test_mashumaro(self, store):
        """
        Its mixin adds methods, not fields; files may be fields.
        """
        mixin = pytest.importorskip("mashumaro.mixins.json").DataClassJSONMixin

        @dataclass
        class Config(mixin):
            n: int
            file: File
            tags: list[str] = field(default_factory=list)

        with open("a.txt", "w") as out:
            out.write("hello")
        found = travel(Config, Config(1, File("a.txt"), ["x"]), store)

        with found.file.open() as opened:
            assert (found.n, found.tags, opened.read()) == (1, ["x"], "hello")
        assert parse_json(Config, {"n": 1, "file": "a.txt"}) == Config(1, File("a.txt"))

    def test_dataclasses_json(self, store):
        """
        As decorator and as mixin.
        """
        library = pytest.importorskip("dataclasses_json")

        @library.dataclass_json
        @dataclass
        class Decorated:
            n: int

        @dataclass
        class Mixed(library.DataClassJsonMixin):
            inner: Decorated

        assert travel(Mixed, Mixed(Decorated(1)), store) == Mixed(Decorated(1))
        assert unpack(codec_for(Decorated).encode(Decorated(1), store)) == {"n": 1}


class TestTorch:
    @pytest.fixture
    def torch(self):
        return pytest.importorskip("torch")

    def test_tensors(self, store, torch):
        """
        Values, type, shape, gradients; and types that numpy does not know.
        """
        for tensor in (
            torch.arange(6).reshape(2, 3),
            torch.tensor(1.5),
            torch.zeros(0, 3),
            torch.ones(300, 300),
            torch.tensor([1.5, 2.5], dtype=torch.bfloat16),
            torch.tensor([True]),
            torch.tensor([1 + 2j]).conj(),
            torch.ones(2, requires_grad=True),
        ):
            for annotation in (torch.Tensor, Any):
                found = travel(annotation, tensor, store)
                assert (found.dtype, found.shape, found.requires_grad) == (
                    tensor.dtype,
                    tensor.shape,
                    tensor.requires_grad,
                )
                assert torch.equal(found, tensor)

    def test_to_and_from_numpy(self, store, torch):
        """
        One task's tensor is another's array.
        """
        numpy = pytest.importorskip("numpy")

        assert travel(torch.Tensor, torch.ones(2), store, numpy.ndarray).tolist() == [1.0, 1.0]
        assert travel(numpy.ndarray, numpy.ones(2), store, torch.Tensor).tolist() == [1.0, 1.0]

    def test_modules_are_pickled(self, store, torch):
        """
        A model arrives with its weights.
        """
        model = torch.nn.Linear(2, 1)

        assert torch.equal(travel(torch.nn.Module, model, store).weight, model.weight)
