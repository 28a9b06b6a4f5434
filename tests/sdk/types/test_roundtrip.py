# ruff: noqa: UP007, UP045, E501, F403, F405
"""What goes in comes out, for every kind of type; and equal values have equal digests."""

import collections
import datetime as dt
import decimal
import fractions
import math
import pathlib
import uuid
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from typing import Annotated, Any, Literal, NewType, Optional, TypeVar, Union
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from greenroom.errors import GreenroomError
from greenroom.types import BatchSize, codec_for
from greenroom_core.refs import digest
from greenroom_core.values import unpack
from tests.sdk.types.shapes import *

Id = NewType("Id", int)
Bound = TypeVar("Bound", bound=Point)
Either = TypeVar("Either", int, str)
Json = Union[dict[str, "Json"], list["Json"], str, int, float, bool, None]

BERLIN = ZoneInfo("Europe/Berlin")

CASES = [
    (None, [None]),
    (bool, [True, False]),
    (int, [0, -1, 127, 128, -(2**63), 2**63, 2**64 - 1, 2**64, -(2**200), 10**5000]),
    (float, [0.0, -1.5, 1e308, math.inf, -math.inf]),
    (str, ["", "a", "ä\0\n", "\ud800 lone", "x" * 100_000]),
    (bytes, [b"", b"\x00\xff", b"x" * 100_000]),
    (bytearray, [bytearray(b"ab")]),
    (dt.datetime, [dt.datetime(2026, 3, 1), dt.datetime(2026, 3, 1, 12, 30, 15, 7, tzinfo=dt.UTC)]),
    (dt.datetime, [dt.datetime(2026, 7, 1, tzinfo=BERLIN), dt.datetime(2026, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=-3)))]),
    (dt.date, [dt.date(1, 1, 1), dt.date(2026, 3, 1)]),
    (dt.time, [dt.time(12, 30), dt.time(12, 30, 15, 7, tzinfo=dt.UTC)]),
    (dt.timedelta, [dt.timedelta(0), dt.timedelta(days=-3, microseconds=1), dt.timedelta.max, dt.timedelta.min]),
    (decimal.Decimal, [decimal.Decimal("1.10"), decimal.Decimal("-Infinity")]),
    (fractions.Fraction, [fractions.Fraction(1, 3)]),
    (uuid.UUID, [uuid.UUID(int=7)]),
    (pathlib.Path, [pathlib.Path("a/b"), pathlib.Path("/nowhere/at/all")]),
    (Color, list(Color)),
    (Level, list(Level)),
    (Word, list(Word)),
    (Odd, list(Odd)),
    (Operation, list(Operation)),
    (Right, [Right.READ, Right.READ | Right.WRITE]),
    (Literal["a", 1, True, None, Color.RED], ["a", 1, True, None, Color.RED]),
    (Optional[int], [None, 3]),
    (Optional[list[int]], [None, [], [1]]),
    (int | str, [1, "1"]),
    (int | float, [1, 1.0]),
    (Union[float, int], [1, 1.0]),
    (bool | int | None, [True, 1, 0, False, None]),
    (Union[list[int], list[str], dict[str, int]], [[1], ["a"], {"a": 1}]),
    (Union[Color, str], [Color.RED, "red"]),
    (Union[Point, Pair, None], [Point(1), Pair(1), None]),
    (Union[dt.date, dt.datetime], [dt.date(2026, 1, 1), dt.datetime(2026, 1, 1)]),
    (list, [[], [1, "a", None, [2]]]),
    (list[int], [[], [1], list(range(1000)), [2**70, 1]]),
    (list[Optional[int]], [[1, None]]),
    (list[list[str]], [[["a"], []]]),
    (list[int | str], [[1, "a"], list(range(100))]),
    (Sequence[int], [[1, 2]]),
    (Iterable[int], [[1, 2]]),
    (tuple, [(), (1, "a")]),
    (tuple[int, str], [(1, "a")]),
    (tuple[()], [()]),
    (tuple[int, ...], [(), (1, 2), tuple(range(100))]),
    (set[int], [set(), {1, 2}, {2**70}]),
    (set[tuple[int, str]], [{(1, "a"), (2, "b")}]),
    (frozenset[str], [frozenset({"a"})]),
    (dict, [{}, {"a": 1, 2: [3], (1, 2): "t", None: 0}]),
    (dict[str, int], [{}, {"b": 1, "a": 2}, {"a": 2**70}]),
    (dict[int, str], [{1: "a", 2**70: "b"}]),
    (dict[float, str], [{1.5: "a", math.inf: "b"}]),
    (dict[tuple[int, int], list[str]], [{(1, 2): ["a"]}]),
    (dict[Color, int], [{Color.RED: 1}]),
    (dict[Optional[bool], int], [{True: 1, None: 2}]),
    (dict[frozenset[int], int], [{frozenset({1}): 1}]),
    (dict[Pair, int], [{Pair(1): 2}]),
    (Mapping[str, int], [{"a": 1}]),
    (MutableMapping[str, int], [{"a": 1}]),
    (collections.OrderedDict[str, int], [collections.OrderedDict(b=1, a=2)]),
    (Pair, [Pair(1, "x")]),
    (Single, [Single(1)]),
    (Movie, [{"title": "a"}, {"title": "a", "year": 1}]),
    (Loose, [{}, {"a": 1}, {"b": "x", "a": 1}]),
    (Point, [Point(1, 2.5)]),
    (Point, [Point3(1, 2.5, 3)]),
    (Frozen, [Frozen(Point(1), ("a",))]),
    (Slotted, [Slotted(a=1, b=[Point(2)])]),
    (Node, [Node(1, Node(2, None))]),
    (Tree, [Tree("a", [Tree("b")], {"c": Tree("c")})]),
    (Box[int], [Box(1, [2])]),
    (Box[Point], [Box(Point(1), [Point(2)])]),
    (Crate[str], [Crate("a", ["b"], "label")]),
    (IntBox, [IntBox(1, [2])]),
    (Doubled, [Doubled(2)]),
    (Seeded, [Seeded(1, 2)]),
    (Careless, [Careless(), Careless("a", [Point(1)])]),
    (CarelessPair, [CarelessPair(), CarelessPair(1)]),
    (Plain, [Plain(1), Special(2)]),
    (Id, [Id(3)]),
    (Bound, [Point(1)]),
    (Either, [1, "a"]),
    (Annotated[int, "metadata"], [3]),
    (Annotated[list[int], BatchSize(3)], [[1]]),
    (Json, [{"a": [1, {"b": None}], "c": 1.5}, [[[]]], "text", None]),
    (Any, [None, 1, "a", [1, [2]], (1, (2,)), {1, 2}, frozenset({1}), {"a": (1,)}, b"x", 2**70, (2**70,)]),
    (Any, [dt.datetime(2026, 1, 1, tzinfo=BERLIN), dt.timedelta(1), Plain(3), Color.RED, Point(1), range(3), 1 + 2j]),
    (object, [[Plain(1), {"a": Point(2)}]]),
]  # fmt: skip


@pytest.mark.parametrize(("annotation", "values"), CASES, ids=[str(case[0])[-60:] for case in CASES])
def test_a_value_survives(store, annotation, values):
    """
    Encoded and decoded, a value equals what it was, and has the same class.
    """
    codec = codec_for(annotation)

    for value in values:
        found = codec.decode(codec.encode(value, store), store)

        assert found == value
        assert type(found) is type(value)


@pytest.mark.parametrize(("annotation", "values"), CASES, ids=[str(case[0])[-60:] for case in CASES])
def test_a_value_survives_inside_of_others(store, annotation, values):
    """
    As an item of a list, a value of a dict, and behind Optional, it is the same.
    """
    codec = codec_for(dict[str, list[Optional[annotation]]])
    whole = {"a": [*values, None], "b": []}

    found = codec.decode(codec.encode(whole, store), store)

    assert found == whole
    assert [type(item) for item in found["a"]] == [type(item) for item in whole["a"]]


@pytest.mark.parametrize(("annotation", "values"), CASES, ids=[str(case[0])[-60:] for case in CASES])
def test_a_type_can_be_told_as_plain_data(annotation, values):
    """
    Its description survives the wire, and a value of the type fits the type.
    """
    spec = codec_for(annotation).describe()

    assert type(spec).from_wire(spec.to_wire()) == spec
    assert codec_for(annotation).accepts(spec) is None


def test_the_text_of_a_time_keeps_its_zone(store):
    """
    The moment after a change of clocks is the same one, in the same zone.
    """
    codec = codec_for(dt.datetime)
    second = dt.datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=BERLIN)

    found = codec.decode(codec.encode(second, store), store)

    assert (found.tzinfo, found.fold, found.utcoffset()) == (BERLIN, 1, second.utcoffset())


def test_an_iterator_is_drained_and_arrives_as_one(store):
    """
    What a generator would have given comes one by one.
    """
    codec = codec_for(Iterator[int])

    found = codec.decode(codec.encode((n for n in range(3)), store), store)

    assert next(found) == 0
    assert list(found) == [1, 2]


def test_nan_survives(store):
    """
    It equals nothing, itself included, and still arrives.
    """
    codec = codec_for(list[float])

    (found,) = codec.decode(codec.encode([math.nan], store), store)

    assert math.isnan(found)


def test_what_a_post_init_makes_is_made_and_what_it_changes_is_not_changed_twice(store):
    """
    Fields are as they were; attributes beside them are there.
    """
    codec = codec_for(Doubled)

    found = codec.decode(codec.encode(Doubled(2), store), store)

    assert (found.x, found.helper) == (4, ["made"])


# Properties ---------------------------------------------------------------------------------------------------------

SCALARS = {
    int: st.integers(), float: st.floats(allow_nan=False), str: st.text(), bytes: st.binary(), bool: st.booleans(),
    type(None): st.none(), dt.timedelta: st.timedeltas(), dt.date: st.dates(),
    dt.datetime: st.datetimes(timezones=st.none() | st.just(dt.UTC)), Color: st.sampled_from(Color),
    decimal.Decimal: st.decimals(allow_nan=False), uuid.UUID: st.uuids(),
}  # fmt: skip


def typed(leaves):
    """Pairs of an annotation and a strategy for its values, nested."""

    def grow(inner):
        return st.one_of(
            inner.map(lambda pair: (list[pair[0]], st.lists(pair[1], max_size=4))),
            inner.map(lambda pair: (tuple[pair[0], ...], st.lists(pair[1], max_size=4).map(tuple))),
            inner.map(lambda pair: (dict[str, pair[0]], st.dictionaries(st.text(max_size=3), pair[1], max_size=4))),
            inner.map(lambda pair: (dict[int, pair[0]], st.dictionaries(st.integers(), pair[1], max_size=4))),
            inner.map(lambda pair: (Optional[pair[0]], st.none() | pair[1])),
            inner.map(lambda pair: (Box[pair[0]], st.builds(Box, pair[1], st.lists(pair[1], max_size=3)))),
            st.tuples(inner, inner).map(lambda pairs: (tuple[pairs[0][0], pairs[1][0]], st.tuples(pairs[0][1], pairs[1][1]))),
        )  # fmt: skip

    return st.recursive(leaves, grow, max_leaves=6)


LEAF = st.sampled_from(list(SCALARS.items()))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_generated_values_of_generated_types_survive(data, store):
    """
    Whatever the nesting, a value comes back equal and of the same class.
    """
    annotation, values = data.draw(typed(LEAF))
    value = data.draw(values)
    codec = codec_for(annotation)

    found = codec.decode(codec.encode(value, store), store)

    assert found == value
    assert type(found) is type(value)


HASHABLE = st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False) | st.binary()
PLAIN = st.recursive(
    HASHABLE,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text(max_size=2), inner, max_size=4)
        | st.sets(HASHABLE, max_size=4)
    ),
    max_leaves=12,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(value=PLAIN)
def test_generated_values_without_a_type_survive(value, store):
    """
    `Any` keeps lists, tuples, sets and dicts apart.
    """
    codec = codec_for(Any)

    assert codec.decode(codec.encode(value, store), store) == value


def shuffled(value, turn):
    """The same value with its dicts and sets in another order."""
    if isinstance(value, dict):
        items = list(value.items())
        turn.shuffle(items)
        return {key: shuffled(item, turn) for key, item in items}
    if isinstance(value, set):
        items = list(value)
        turn.shuffle(items)
        return set(items)
    if isinstance(value, (list, tuple)):
        return type(value)(shuffled(item, turn) for item in value)
    return value


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(value=PLAIN, turn=st.randoms())
def test_equal_values_have_equal_digests(value, turn, store):
    """
    The order in which a dict or a set was filled does not count.
    """
    codec = codec_for(Any)

    one, other = codec.encode(value, store), codec.encode(shuffled(value, turn), store)

    assert digest(one) == digest(other)


@given(one=st.lists(HASHABLE, max_size=3), other=st.lists(HASHABLE, max_size=3))
def test_different_values_have_different_digests(one, other):
    """
    Only values that differ for Python differ: types count too.
    """
    codec = codec_for(list)
    first, second = codec.encode(one, None), codec.encode(other, None)

    assert (digest(first) == digest(second)) == (unpack(first) == unpack(second) and first == second)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=300)
@given(data=st.data())
def test_damaged_bytes_are_read_or_refused_but_never_stumbled_over(data, store):
    """
    Whatever byte is changed, cut off or put in: a value, or an error of ours.
    """
    annotation, values = data.draw(st.sampled_from(CASES))
    codec = codec_for(annotation)
    value = bytearray(codec.encode(data.draw(st.sampled_from(values)), store))
    place = data.draw(st.integers(0, len(value) - 1))
    value[place : place + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))

    try:
        codec.decode(bytes(value), store)
    except GreenroomError:
        pass
