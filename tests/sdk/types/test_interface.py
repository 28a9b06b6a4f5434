# ruff: noqa: UP045
"""A function's interface: read from its annotations wherever they are resolved, and the way in and out of a call."""

from __future__ import annotations

import functools
import sys
import types
import typing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Optional

import cloudpickle
import pytest
import typing_extensions

from greenroom.errors import AnnotationProblem, NotReadable, TypeMismatch
from greenroom.files import File
from greenroom.types import MISSING, Interface, codec_for
from greenroom_core.values import NIL, pack, split
from tests.sdk.types.shapes import Pair, Plain, Point, Single

if TYPE_CHECKING:
    from decimal import Decimal as OnlyForCheckers


class Stats(NamedTuple):
    count: int
    mean: float


def add(a: int, b: float = 1.5, *, label: str | None = None) -> float: ...


def names(interface):
    return {name: part.codec.name for name, part in interface.outputs.items()}


class TestReading:
    def test_inputs_in_order_with_defaults(self):
        """
        Names, types and defaults are the function's.
        """
        interface = Interface.of(add)

        assert [(part.name, part.codec.name, part.default) for part in interface.inputs.values()] == [
            ("a", "int", MISSING),
            ("b", "float", 1.5),
            ("label", "str | None", None),
        ]
        assert [part.required for part in interface.inputs.values()] == [True, False, False]
        assert interface.name == "tests.sdk.types.test_interface.add"

    def test_outputs_by_shape(self):
        """
        One value is o0, a tuple's are o0 and on, a named tuple's have its names, also if there is but one.
        """

        def one() -> int: ...
        def two() -> tuple[int, str]: ...
        def named() -> Stats: ...
        def single() -> Single: ...
        def none() -> None: ...
        def bare(): ...
        def empty() -> tuple[()]: ...
        def many() -> tuple[int, ...]: ...
        def untyped() -> tuple: ...
        def older() -> typing.Tuple: ...  # noqa: UP006

        shapes = {f.__name__: (Interface.of(f).shape, names(Interface.of(f))) for f in (
            one, two, named, single, none, bare, empty, many, untyped, older
        )}  # fmt: skip

        assert shapes == {
            "one": ("one", {"o0": "int"}),
            "two": ("tuple", {"o0": "int", "o1": "str"}),
            "named": ("named", {"count": "int", "mean": "float"}),
            "single": ("named", {"only": "int"}),
            "none": ("none", {}),
            "bare": ("none", {}),
            "empty": ("none", {}),
            "many": ("one", {"o0": "tuple[int, ...]"}),
            "untyped": ("one", {"o0": "tuple[Any, ...]"}),
            "older": ("one", {"o0": "tuple[Any, ...]"}),
        }

    def test_classes_defined_beside_the_function(self):
        """
        Local classes are found among the names of who defines the function.
        """

        @dataclass
        class Local:
            x: int
            parent: Local | None = None

        def task(local: Local) -> list[Local]: ...

        interface = Interface.of(task)

        assert interface.inputs["local"].annotation is Local
        assert interface.outputs["o0"].annotation == list[Local]

    def test_a_function_that_travels_by_value_takes_its_annotations_along(self):
        """
        On a replica nobody could resolve the text again.
        """

        @dataclass
        class Local:
            x: int

        def task(local: Local, n: int = 1) -> Local: ...

        Interface.of(task)
        arrived = cloudpickle.loads(cloudpickle.dumps(task))

        interface = Interface.of(arrived)
        assert interface.inputs["local"].annotation.__name__ == "Local"
        assert interface.inputs["n"].annotation is int

    def test_decorated_and_partial_functions(self):
        """
        What functools made of a function has the function's types.
        """

        def logged(function):
            @functools.wraps(function)
            def wrapper(*args, **kwargs):
                return function(*args, **kwargs)

            return wrapper

        assert list(Interface.of(logged(logged(add))).inputs) == ["a", "b", "label"]
        assert Interface.of(functools.partial(add, b=2.0)).inputs["b"].default == 2.0

    def test_none_as_default_allows_none(self):
        """
        `x: int = None` means what people mean by it.
        """

        def task(x: int = None): ...  # noqa: RUF013

        assert Interface.of(task).inputs["x"].codec.name == "int | None"

    def test_aliases_of_types(self):
        """
        `TypeAliasType` as typing_extensions has it, generic and recursive ones too.
        """
        of, json = typing.TypeVar("of"), "dict[str, Json] | list[Json] | str | None"
        rows = typing_extensions.TypeAliasType("rows", list[of], type_params=(of,))
        scope = {"Json": None, "rows": rows}
        scope["Json"] = typing_extensions.TypeAliasType("Json", eval(json, {"Json": typing.ForwardRef("Json")}))

        def task(a, b): ...

        task.__annotations__ = {"a": rows[int], "b": scope["Json"]}
        Json = scope["Json"]  # noqa: F841 (where the forward reference is found)
        interface = Interface.of(task)

        assert interface.inputs["a"].codec.name == "list[int]"
        value = {"a": [None, {"b": ["c"]}]}
        assert interface.inputs["b"].codec.decode(interface.encode_input("b", value, None), None) == value

    @pytest.mark.skipif(sys.version_info < (3, 12), reason="syntax of Python 3.12")
    def test_type_parameters_and_aliases(self):
        """
        `type X = ...` and `def f[T](...)` are understood.
        """
        scope: dict[str, Any] = {}
        exec(
            "type Rows = list[dict[str, int]]\ntype Of[T] = list[T]\ndef f[T](a: Rows, b: Of[int], c: T) -> T: ...",
            scope,
        )

        interface = Interface.of(scope["f"])

        assert [part.codec.name for part in interface.inputs.values()] == ["list[dict[str, int]]", "list[int]", "Any"]

    def test_a_missing_type_is_named_with_the_remedy(self):
        """
        The error says which parameter, and what to write.
        """

        def task(x, y: int): ...

        with pytest.raises(AnnotationProblem, match=r"task, 'x': has no type; write `x: int`, or pickle_untyped=True"):
            Interface.of(task)

        assert Interface.of(task, pickle_untyped=True).inputs["x"].codec.name == "Any"

    def test_a_name_that_is_only_there_for_checkers_is_named(self):
        """
        The error says which annotation, and where the import belongs.
        """

        def task(fine: int, price: OnlyForCheckers): ...

        with pytest.raises(
            AnnotationProblem, match=r"task, 'price': annotation 'OnlyForCheckers' cannot be .*TYPE_CHECKING"
        ):
            Interface.of(task)

    def test_star_arguments_are_refused(self):
        """
        Inputs have names.
        """

        def task(*numbers: int): ...

        with pytest.raises(AnnotationProblem, match=r"\*numbers has neither"):
            Interface.of(task)

    def test_what_is_no_type_is_refused(self):
        """
        A value in the place of a type is named.
        """

        def task(x: 3): ...

        with pytest.raises(AnnotationProblem, match=r"task, 'x': 3 is not a type"):
            Interface.of(task)

    def test_a_field_without_meaning_is_named(self):
        """
        The error leads to the field of the class.
        """
        module = types.ModuleType("broken")
        sys.modules["broken"] = module
        try:
            exec("import dataclasses\n@dataclasses.dataclass\nclass C:\n    x: 'Nowhere'", vars(module))

            with pytest.raises(AnnotationProblem, match="C, 'x': annotation 'Nowhere' cannot be resolved"):
                codec_for(module.C)
        finally:
            del sys.modules["broken"]

    def test_its_description_is_plain_data(self):
        """
        Help texts, the API and the hub read it.
        """
        told = Interface.of(add).describe()

        assert pack(told)
        assert told["inputs"][1] == {"name": "b", "type": ["float", "float", [], [], {}], "required": False}
        assert told["outputs"] == [{"name": "o0", "type": ["float", "float", [], [], {}]}]

    def test_it_advises_about_what_is_pickled(self):
        """
        Classes without a form of their own are named once, with the remedy.
        """

        def task(model: Plain, n: int) -> Plain: ...

        advice = Interface.of(task).advice()

        assert len(advice) == 2
        assert "input 'model' is a tests.sdk.types.shapes.Plain, which is pickled" in advice[0]


class TestIn:
    def test_inputs_by_name(self, store):
        """
        The payload holds the values one after the other.
        """
        interface = Interface.of(add)
        payload = b"".join(interface.encode_inputs({"a": 1, "label": "x"}, store).values())

        assert interface.decode_inputs(payload, store) == {"a": 1, "b": 1.5, "label": "x"}

    @pytest.mark.parametrize("given", [{"a": 1}, {"label": None, "a": 2}, {}])
    def test_only_those_that_vary(self, store, given):
        """
        A map's call brings the inputs that differ, in an order of its own.
        """
        interface = Interface.of(add)
        payload = b"".join(interface.encode_input(name, obj, store) for name, obj in given.items())

        assert interface.decode_inputs(payload, store, list(given)) == given
        assert interface.input_decoder(list(given))(payload, store) == given

    def test_an_error_names_task_input_part_and_types(self, store):
        """
        One sentence tells it all, on the way out as on the way in.
        """

        def task(n: int, rows: list[dict[str, Point]]): ...

        interface = Interface.of(task)
        sentence = r"task '.*task', input 'rows', at \[0\]\['a'\]\.x: expected int, got 's' \(str\)"

        with pytest.raises(TypeMismatch, match=sentence):
            interface.encode_inputs({"n": 1, "rows": [{"a": Point("s")}]}, store)

        payload = pack(1) + pack([{"a": {"x": "s", "y": 1.0}}])
        with pytest.raises(TypeMismatch, match=sentence.replace("'s'", '"s"')):
            interface.decode_inputs(payload, store)

    @pytest.mark.parametrize(
        ("given", "sentence"),
        [
            ({}, r"add\(\) missing input 'a'; it takes a: int, b: float, label: str \| None"),
            ({"a": 1, "z": 2}, r"add\(\) has no input 'z'; it takes a: int"),
        ],
    )
    def test_missing_and_unknown_inputs(self, store, given, sentence):
        """
        Both are type errors, as a call's are, and say what there is.
        """
        with pytest.raises(TypeError, match=sentence):
            Interface.of(add).encode_inputs(given, store)

    @pytest.mark.parametrize("payload", [b"", pack(1), pack(1) * 4, b"\xc1"])
    def test_a_payload_with_other_values_than_inputs(self, store, payload):
        """
        Damaged calls give an error of ours.
        """
        with pytest.raises(NotReadable):
            Interface.of(add).decode_inputs(payload, store)

    def test_each_call_has_objects_of_its_own(self, store):
        """
        What one call does to its inputs, the next does not see.
        """

        def task(rows: list[int], n: int): ...

        decode = Interface.of(task).input_decoder(["rows", "n"])
        payload = pack([1]) + pack(2)

        decode(payload, store)["rows"].append(2)

        assert decode(payload, store)["rows"] == [1]


class TestOut:
    def test_values_one_after_the_other(self, store):
        """
        One for each output, whatever the shape.
        """

        def two() -> tuple[int, str]: ...
        def named() -> Stats: ...
        def one() -> int: ...
        def none(): ...

        assert Interface.of(two).encode_outputs((1, "a"), store) == pack(1) + pack("a")
        assert Interface.of(named).encode_outputs(Stats(1, 2), store) == pack(1) + pack(2.0)
        assert Interface.of(named).encode_outputs((1, 2.0), store) == pack(1) + pack(2.0)
        assert Interface.of(one).encode_outputs(1, store) == pack(1)
        assert Interface.of(none).encode_outputs("dropped", store) == b""

    @pytest.mark.parametrize(
        ("annotation", "result"),
        [
            (int, 3),
            (tuple[int, str], (1, "a")),
            (Stats, Stats(1, 2.0)),
            (None, None),
            (Optional[int], None),
            (Pair, Pair(1)),
        ],
    )
    def test_a_result_comes_back_as_it_was(self, store, annotation, result):
        """
        Who waits for the result gets what the function returned.
        """

        def task(): ...

        task.__annotations__ = {"return": annotation}
        interface = Interface.of(task)

        found = interface.decode_outputs(interface.encode_outputs(result, store), store)

        assert found == result
        assert type(found) is type(result)

    def test_an_error_names_task_and_output(self, store):
        """
        Also which of several, and the part of it.
        """

        def task() -> tuple[int, list[str]]: ...

        with pytest.raises(TypeMismatch, match=r"task '.*task', output 'o1', at \[1\]: expected str, got 2 \(int\)"):
            Interface.of(task).encode_outputs((1, ["a", 2]), store)

    @pytest.mark.parametrize(
        ("result", "sentence"),
        [
            ((1, 2, 3), r"expected 2 values \(o0, o1\), got 3"),
            (7, r"expected 2 values \(o0, o1\), got 7 \(int\)"),
            ([1, "a"], r"got \[1, 'a'\] \(list\)"),
        ],
    )
    def test_another_number_of_values_is_refused(self, store, result, sentence):
        """
        Both numbers are told.
        """

        def task() -> tuple[int, str]: ...

        with pytest.raises(TypeMismatch, match=sentence):
            Interface.of(task).encode_outputs(result, store)

    def test_none_for_a_declared_value_is_null_with_a_warning(self, store):
        """
        As the document's own example ends: recorded, and said.
        """

        def one() -> str: ...
        def two() -> tuple[str, Optional[int]]: ...

        warnings: list[str] = []

        assert Interface.of(one).encode_outputs(None, store, warnings.append) == NIL
        assert Interface.of(two).encode_outputs((None, None), store, warnings.append) == NIL + NIL
        assert [sentence.partition("returned")[2] for sentence in warnings] == [
            " None for its output o0, where str is declared",
            " None for its output o0, where str is declared",
        ]
        assert Interface.of(one).decode_outputs(NIL, store) is None

    def test_a_declared_none_warns_of_nothing(self, store):
        """
        Optional outputs are allowed to be None.
        """

        def task() -> Optional[File]: ...

        warnings: list[str] = []

        assert Interface.of(task).encode_outputs(None, store, warnings.append) == NIL
        assert warnings == []

    def test_outputs_by_name(self, store):
        """
        What the hub keeps by name is read by name.
        """
        interface = Interface.of(typing.cast(Any, lambda: None))
        interface = Interface("t", [], Interface.of(_stats).outputs.values(), "named", Stats)
        count, mean = split(interface.encode_outputs(Stats(1, 2.0), store), 2)

        assert interface.decode_outputs({"mean": mean, "count": count}, store) == Stats(1, 2.0)
        assert interface.decode_output("mean", mean, store) == 2.0


def _stats() -> Stats: ...
