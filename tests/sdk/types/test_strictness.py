# ruff: noqa: UP007, UP045
"""What is not of the declared type is refused, in a sentence that says where, what was expected, and what was given."""

import datetime as dt
import math
import pickle
import threading
from typing import Any, Literal, Optional, Protocol, Union, runtime_checkable

import numpy as np
import pytest

from greenroom.errors import CyclicValue, NotPicklable, NotReadable, TooDeep, TypeMismatch, ValueProblem
from greenroom.files import File
from greenroom.types import codec_for
from greenroom_core.values import Ext, ext, pack
from tests.sdk.types.shapes import Box, Color, Frozen, Loose, Movie, Node, Pair, Plain, Point, Special, Tree, Word


def refusal(annotation, value, store):
    """What is said about a value that is not of the type."""
    with pytest.raises(ValueProblem) as caught:
        codec_for(annotation).encode(value, store)
    return str(caught.value)


@pytest.mark.parametrize(
    ("annotation", "value", "sentence"),
    [
        (int, "s", "expected int, got 's' (str)"),
        (int, 2.0, "expected int, got 2.0 (float)"),
        (int, None, "expected int, got None"),
        (float, "1", "expected float, got '1' (str)"),
        (float, 10**400, "it is too large for one"),
        (float, 1j, "expected float, got an instance of complex"),
        (float, np.str_("1"), "expected float, got an instance of numpy.str_"),
        (bool, 1, "expected bool, got 1 (int)"),
        (str, b"x", "expected str, got b'x' (bytes)"),
        (bytes, "x", "expected bytes, got 'x' (str)"),
        (None, 1, "expected None, got 1 (int)"),
        (list[int], (1, 2), "expected list[int], got (1, 2) (tuple); wrap it in list(...)"),
        (list[int], np.array([1]), "expected list[int], got an instance of numpy.ndarray; call its .tolist()"),
        (list[int], [1, "a"], "value[1]: expected int, got 'a' (str)"),
        (list[list[int]], [[1], [2, None]], "value[1][1]: expected int, got None"),
        (tuple[int, str], (1,), "expected tuple[int, str], got 1 items"),
        (tuple[int, str], [1, "a"], "expected tuple[int, str], got [1, 'a'] (list)"),
        (dict[str, int], {1: 1}, "value[1]: expected str, got 1 (int)"),
        (dict[str, int], {"a": "b"}, "value['a']: expected int, got 'b' (str)"),
        (dict[float, int], {math.nan: 1}, "NaN can never be looked up"),
        (dict[Any, int], {math.nan: 1}, "NaN can never be looked up"),
        (set[int], [1], "expected set[int], got [1] (list)"),
        (set[int], {"a"}, "expected int, got 'a' (str)"),
        (dt.datetime, "2026-01-01", "expected datetime, got '2026-01-01' (str)"),
        (dt.datetime, dt.date(2026, 1, 1), "expected datetime, got an instance of datetime.date"),
        (dt.date, dt.datetime(2026, 1, 1), "expected date, got an instance of datetime.datetime"),
        (Color, "green", "Color (RED, BLUE), got 'green' (str)"),
        (Color, Word.YES, "Color (RED, BLUE), got an instance of tests.sdk.types.shapes.Word"),
        (Literal["a", 1], True, "expected 'a' | 1, got True (bool)"),
        (Optional[int], "s", "expected int | None, got 's' (str)"),
        (Union[int, str], 1.5, "expected int | str, got 1.5 (float)"),
        (Union[list[int], str], ["a"], "value[0]: expected int, got 'a' (str)"),
        (Union[list[int], list[str]], [1.5], "expected list[int] | list[str], got [1.5] (list)"),
        (Point, {"x": 1}, "shapes.Point, got {'x': 1} (dict)"),
        (Point, Point("a"), "value.x: expected int, got 'a' (str)"),
        (Frozen, Frozen(Point(1, "b")), "value.point.y: expected float, got 'b' (str)"),
        (Box[int], Box("a"), "value.content: expected int, got 'a' (str)"),
        (Pair, (1, "a"), "shapes.Pair, got (1, 'a') (tuple)"),
        (Movie, {"year": 1}, "got a dict without 'title'; it has title, year"),
        (Movie, {"title": "a", "director": "b"}, "got a dict with 'director'; it has title, year"),
        (Loose, {"a": "x"}, "value['a']: expected int, got 'x' (str)"),
        (Plain, 3, "shapes.Plain, got 3 (int)"),
        (Special, Plain(1), "shapes.Special, got an instance of tests.sdk.types.shapes.Plain"),
        (File, 3, "expected File, got 3 (int)"),
        (list[File], ["nowhere.txt"], "value[0]: no such file: 'nowhere.txt' in "),
    ],
    ids=str,
)
def test_a_wrong_value_is_refused(store, annotation, value, sentence):
    """
    The sentence names the part, the type and what was there in its place.
    """
    assert sentence in refusal(annotation, value, store)


@pytest.mark.parametrize(
    ("annotation", "value", "arrives"),
    [
        (float, 3, 3.0),
        (float, True, 1.0),
        (float, np.float32(0.5), 0.5),
        (float, np.int64(2), 2.0),
        (int, True, 1),
        (int, np.int64(7), 7),
        (int, np.array(7), 7),
        (bool, np.bool_(True), True),
        (str, Word.YES, "yes"),
        (str, np.str_("a"), "a"),
        (bytes, bytearray(b"a"), b"a"),
        (Color, "red", Color.RED),
        (list[float], [1, 2.5], [1.0, 2.5]),
        (Optional[float], 1, 1.0),
    ],
    ids=str,
)
def test_what_means_the_same_is_accepted(store, annotation, value, arrives):
    """
    An int is a float, a numpy number is a number, a member's value is the member.
    """
    codec = codec_for(annotation)

    found = codec.decode(codec.encode(value, store), store)

    assert found == arrives
    assert type(found) is type(arrives)


def test_programs_catch_it_as_they_are_used_to(store):
    """
    A type error here, a value error there: both catch it, and it survives pickling with its place.
    """
    with pytest.raises(TypeError) as caught:
        codec_for(list[int]).encode(["a"], store)

    again = pickle.loads(pickle.dumps(caught.value))

    assert isinstance(again, ValueError)
    assert str(again) == str(caught.value) == "value[0]: expected int, got 'a' (str)"
    assert (again.expected, again.given, again.path) == ("int", "'a' (str)", "[0]")


# Values without an end ----------------------------------------------------------------------------------------------


def test_a_list_that_holds_itself_is_refused(store):
    """
    The error says where the cycle closes.
    """
    cycle = [1]
    cycle.append({"a": [cycle]})

    with pytest.raises(CyclicValue, match=r"this list contains itself at \[1\]\['a'\]\[0\]; break the cycle"):
        codec_for(Any).encode(cycle, store)


def test_an_object_that_holds_itself_is_refused(store):
    """
    Also through fields of a class that may hold its own kind.
    """
    node = Node(1)
    node.next = Node(2, node)

    with pytest.raises(CyclicValue, match=r"Node contains itself at \.next\.next"):
        codec_for(Node).encode(node, store)


def test_a_shared_part_is_no_cycle(store):
    """
    One object in two places is written twice.
    """
    leaf = Tree("leaf")
    codec = codec_for(Tree)

    found = codec.decode(codec.encode(Tree("a", [leaf, leaf]), store), store)

    assert found.children == [leaf, leaf]


def test_a_value_that_is_nested_very_deep_is_refused(store):
    """
    The error says how deep is too deep, and what to do instead; nothing overflows.
    """
    deep = Node(0)
    for n in range(5000):
        deep = Node(n, deep)

    with pytest.raises(TooDeep, match="nested deeper than 511 levels; hold it as a flat list"):
        codec_for(Node).encode(deep, store)


def test_an_instance_with_cycles_of_its_own_is_pickled_whole(store):
    """
    Classes without a form of their own may hold what they like.
    """
    one = Plain(1)
    one.me = one
    codec = codec_for(Plain)

    found = codec.decode(codec.encode(one, store), store)

    assert found.me is found


# Pickles ------------------------------------------------------------------------------------------------------------


def test_what_belongs_to_this_process_is_refused_with_its_reason(store):
    """
    The error names the class, what pickle says, and what to do instead.
    """
    with pytest.raises(NotPicklable, match=r"a _thread.lock cannot be sent: TypeError: cannot pickle .* @actor_cache"):
        codec_for(Any).encode(threading.Lock(), store)


def test_a_pickle_of_a_class_that_is_not_here_is_told(store):
    """
    The error names the class and the module that is missing.
    """
    value = pack(ext(Ext.PICKLE, ["gone.C", "C()", b"cgone\nC\n.", None]))

    with pytest.raises(
        NotReadable, match=r"a gone.C cannot be opened here: ModuleNotFoundError: No module named 'gone'"
    ):
        codec_for(Any).decode(value, store)


@runtime_checkable
class Closes(Protocol):
    def close(self) -> None: ...


class Door:
    def close(self) -> None: ...


def test_protocols_and_callables_are_judged_by_the_value(store):
    """
    What fits a protocol has no list of names.
    """
    codec = codec_for(Closes)

    assert isinstance(codec.decode(codec.encode(Door(), store), store), Door)
    assert "expected" in refusal(Closes, 3, store)


def test_lambdas_travel_where_a_callable_is_declared(store):
    """
    Code goes along by value.
    """
    from collections.abc import Callable

    codec = codec_for(Callable[[int], int])

    assert codec.decode(codec.encode(lambda x: x + 1, store), store)(2) == 3


# Decoding -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("annotation", "plain", "sentence"),
    [
        (int, "s", 'expected int, got "s" (str)'),
        (int, 1.5, "expected int, got 1.5 (float)"),
        (list[int], {"a": 1}, "expected list[int], got"),
        (list[int], ["a"], 'value[0]: expected int, got "a" (str)'),
        (Point, {"x": 1, "w": 2}, "got a field 'w'; it has x, y"),
        (Point, {"y": 1.0}, "got no 'x'"),
        (Color, "green", "(RED, BLUE)"),
        (str, ext(Ext.PICKLE, ["m.C", "C()", b"", None]), "expected str, got a pickled m.C"),
        (File, 3, "expected File, got 3 (int)"),
    ],
    ids=str,
)
def test_bytes_of_another_type_are_refused(store, annotation, plain, sentence):
    """
    What arrives is checked as strictly as what leaves.
    """
    with pytest.raises(TypeMismatch) as caught:
        codec_for(annotation).decode(pack(plain), store)

    assert sentence in str(caught.value)


@pytest.mark.parametrize("value", [b"", b"\x93\x01", b"\xc1", b"\x01\x02", b"\x81\x90\x01"])
@pytest.mark.parametrize("annotation", [int, str, float, list[int], Any, Point])
def test_bytes_that_are_no_value_are_refused(store, annotation, value):
    """
    Damaged bytes give an error of ours, whatever they are.
    """
    with pytest.raises(ValueProblem):
        codec_for(annotation).decode(value, store)


@pytest.mark.parametrize("wrapper", [Ext.HASHED, Ext.TAGGED, Ext.CUSTOM])
def test_wrappers_of_other_producers_are_opened(store, wrapper):
    """
    A value with a digest, a tag or a transformer's name is read by who asks for what is inside.
    """
    value = pack(ext(wrapper, ["word", {"x": 1, "y": 2.0}]))

    assert codec_for(Point).decode(value, store) == Point(1, 2.0)
