"""When two arguments are the same to the actor cache, in one process and in all."""

import collections
import dataclasses
import datetime
import decimal
import enum
import os
import pathlib
import subprocess
import sys
import uuid

import numpy
import pandas
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenroom.actor_cache import actor_cache
from greenroom.keys import ByName, Unkeyable, content_digest, key_of

pytestmark = pytest.mark.usefixtures("store")


@dataclasses.dataclass
class Config:
    name: str
    sizes: list
    note: str = dataclasses.field(default="", compare=False)


@dataclasses.dataclass(frozen=True)
class Frozen:
    name: str
    parts: object = ()


class Model(pydantic.BaseModel):
    name: str
    depth: int = 3


class Color(enum.Enum):
    RED = 1
    BLUE = 2


Point = collections.namedtuple("Point", "x y")


class MyObj:
    """The document's: hashable, equal by state, and not careful about whom it is compared with."""

    def __init__(self, state):
        self.state = state

    def __hash__(self):
        return hash(self.state)

    def __eq__(self, other):
        return self.state == other.state


class Rounded:
    """Equal by less than its content."""

    def __init__(self, value, extra=None):
        self.value, self.extra = value, extra

    def __hash__(self):
        return hash(round(self.value))

    def __eq__(self, other):
        return round(self.value) == round(other.value)


SAME = [
    ([1, [2, {"a": 3}]], [1, [2, {"a": 3}]]),
    ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
    ({1: "x", "1": "y"}, {"1": "y", 1: "x"}),
    ({1, 2, 3}, {3, 2, 1}),
    (frozenset("abc"), frozenset("cba")),
    (bytearray(b"ab"), bytearray(b"ab")),
    (float("nan"), float("nan")),
    (Config("a", [1]), Config("a", [1])),
    (Config("a", [1], "one"), Config("a", [1], "other")),
    (Frozen("a"), Frozen("a")),
    (Frozen("a", [1]), Frozen("a", [1])),
    (Model(name="a"), Model(name="a", depth=3)),
    (Color.RED, Color(1)),
    (Point(1, [2]), Point(1, [2])),
    (MyObj(3), MyObj(3)),
    ([MyObj(3), {"k": MyObj("x")}], [MyObj(3), {"k": MyObj("x")}]),
    (Rounded(1.2, "a"), Rounded(0.9, "b")),
    ({Rounded(1.2): [Rounded(2.2)]}, {Rounded(1.1): [Rounded(1.9)]}),
    (datetime.date(2024, 1, 2), datetime.date(2024, 1, 2)),
    (decimal.Decimal("1.0"), decimal.Decimal("1.00")),
    (uuid.UUID(int=5), uuid.UUID(int=5)),
    (pathlib.PurePath("a/b"), pathlib.PurePath("a/b")),
    (numpy.arange(6).reshape(2, 3), numpy.arange(6).reshape(2, 3)),
    (numpy.arange(12)[::2], numpy.arange(0, 12, 2)),
    (numpy.array([[1], "a"], dtype=object), numpy.array([[1], "a"], dtype=object)),
    (numpy.float32(1.5), numpy.float32(1.5)),
    (pandas.DataFrame({"a": [1, 2], "b": ["x", None]}), pandas.DataFrame({"a": [1, 2], "b": ["x", None]})),
    (pandas.Series([1.0, 2.0], name="s"), pandas.Series([1.0, 2.0], name="s")),
    (collections.OrderedDict(a=1, b=2), collections.OrderedDict(a=1, b=2)),
    (collections.deque([1, 2]), collections.deque([1, 2])),
    (collections.defaultdict(list, a=[1]), collections.defaultdict(list, a=[1])),
    (range(3), range(3)),
    (slice(1, 2), slice(1, 2)),
    (2**10000, 2**10000),
    ([2**20000] * 20, [2**20000] * 20),
    (list(range(1000)), list(range(1000))),
    (max, max),
    (int, int),
]

DIFFERENT = [
    (1, True),
    (1, 1.0),
    (0.0, -0.0),
    ("1", 1),
    ("a", b"a"),
    (None, "None"),
    ((1, 2), [1, 2]),
    ((1, 2), (1.0, 2.0)),
    ([1, True], [1, 1]),
    ([[1], [2]], [[1, 2]]),
    (["ab", "c"], ["a", "bc"]),
    ({1}, frozenset({1})),
    ({"a": 1}, {"a": 2}),
    (Config("a", [1]), Config("a", [2])),
    (Config("a", [1]), Frozen("a", [1])),
    (Model(name="a"), Model(name="b")),
    (Color.RED, Color.BLUE),
    (Color.RED, 1),
    (Point(1, 2), (1, 2)),
    (MyObj(3), MyObj(4)),
    (MyObj(3), 3),
    (datetime.datetime(2024, 1, 2), datetime.date(2024, 1, 2)),
    (numpy.arange(6), numpy.arange(6).reshape(2, 3)),
    (numpy.arange(3), numpy.arange(3.0)),
    (numpy.float32(1.5), numpy.float64(1.5)),
    (pandas.DataFrame({"a": [1, 2]}), pandas.DataFrame({"b": [1, 2]})),
    (pandas.DataFrame({"a": [1, 2]}), pandas.DataFrame({"a": [2, 1]})),
    (pandas.Series([1, 2]), pandas.Series([1, 2], index=[1, 2])),
    (collections.OrderedDict(a=1, b=2), collections.OrderedDict(b=2, a=1)),
    (max, min),
    (lambda: 1, lambda: 2),
    (list(range(1000)), list(range(999)) + [0]),
    (["x"] * 20, ["x"] * 21),
]


class TestEquality:
    @pytest.mark.parametrize(("first", "second"), SAME, ids=lambda value: type(value).__name__)
    def test_equal_arguments_are_one_key(self, first, second):
        """
        By content, or as their class says.
        """

        @actor_cache
        def load(thing, other=0):
            return [thing]

        assert load(first) is load(second)
        assert load(first, other=1) is load(thing=second, other=1)
        assert 2 == load.cache_info().currsize

    @pytest.mark.parametrize(("first", "second"), DIFFERENT, ids=lambda value: type(value).__name__)
    def test_different_arguments_are_two_keys(self, first, second):
        """
        Also where Python calls them equal: a loader that writes them into a path would read two files.
        """

        @actor_cache
        def load(thing):
            return [thing]

        assert load(first) is not load(second)
        assert 2 == load.cache_info().currsize

    def test_what_is_put_together_differs_from_its_parts(self):
        """
        Neighbouring arguments do not run into each other.
        """

        @actor_cache
        def load(*things):
            return [things]

        found = [load([1], [2]), load([1, 2]), load([1], 2), load(1, [2]), load((1,), (2,)), load()]

        assert 6 == len({id(one) for one in found})

    def test_the_content_counts_as_it_is_now(self):
        """
        A list that was changed after the load is another key.
        """

        @actor_cache
        def load(names):
            return list(names)

        names = ["a"]
        load(names)
        names.append("b")

        assert ["a", "b"] == load(names)
        assert ["a"] == load(["a"])

    def test_an_object_that_was_changed_is_no_wrong_hit(self):
        """
        An argument that changes after the load no longer stands for what it was, nor for what it has become.
        """

        @actor_cache
        def load(obj):
            return obj.state

        obj = MyObj(1)
        load(obj)
        obj.state = 2

        assert 2 == load(MyObj(2))
        assert 1 == load(MyObj(1))


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


class TestDigests:
    @given(PLAIN, PLAIN)
    def test_the_digest_says_what_repr_says(self, first, second):
        """
        Plain data has one digest exactly where it is written the same way.
        """

        def written(value):
            if isinstance(value, dict):
                return "{" + ",".join(f"{key!r}:{written(value[key])}" for key in sorted(value)) + "}"
            if isinstance(value, list | tuple):
                return type(value).__name__ + "[" + ",".join(map(written, value)) + "]"
            return repr(value)

        assert (content_digest(first) == content_digest(second)) == (written(first) == written(second))

    def test_every_process_gives_the_same(self):
        """
        No hash seed, no identity and no order of insertion is part of a digest.
        """
        script = (
            "import datetime, decimal, pathlib; from greenroom.keys import content_digest as d; "
            "print([d(v).hex() for v in ({'b', 'a', 'c', 1}, {'x': {1.5, 'y'}, 2: b'z'}, frozenset('hello'), "
            "datetime.date(2024, 1, 2), decimal.Decimal('1.5'), pathlib.PurePosixPath('a/b'), {('t', 1): None})])"
        )

        found = {
            subprocess.run(
                [sys.executable, "-c", script],
                env={**os.environ, "PYTHONHASHSEED": seed},
                capture_output=True,
                check=True,
            ).stdout
            for seed in ("0", "1", "random")
        }

        assert 1 == len(found)

    def test_identity_has_no_digest(self):
        """
        What only this process can know has no digest that others could share.
        """
        with pytest.raises(Unkeyable, match="object has no key: it is only equal to itself"):
            content_digest([object()])
        assert key_of((object(),), ByName())[0].stable is None


class TestFiles:
    def test_whatever_says_its_key_is_asked(self):
        """
        An object with `__greenroom_key__` is what that says; None leaves it to its class.
        """

        class Blob:
            def __init__(self, content, name):
                self.content, self.name = content, name

            def __greenroom_key__(self):
                return self.content

        @actor_cache
        def load(blob):
            return [blob]

        assert load(Blob("abc", "x")) is load(Blob("abc", "y"))
        assert load(Blob("abc", "x")) is not load(Blob("abd", "x"))
        assert load([Blob("abc", "x")]) is load([Blob("abc", "z")])
        nothing = Blob(None, "x")
        assert load(nothing) is load(nothing)

    def test_a_path_is_its_text_and_what_is_there(self, tmp_path):
        """
        A changed file is loaded again; an equal file under another name is another argument.
        """

        @actor_cache
        def load(path):
            return path.read_text() if path.is_file() else sorted(path.iterdir())

        file = tmp_path / "config.json"
        file.write_text("one")
        first = load(file)
        file.write_text("two!")
        second = load(file)
        twin = tmp_path / "b" / "config.json"
        twin.parent.mkdir()
        twin.write_text("two!")

        assert ("one", "two!") == (first, second)
        load(twin)
        assert 3 == load.cache_info().misses
        assert [twin] == load(twin.parent)
        (twin.parent / "more").write_text("")
        assert 2 == len(load(twin.parent))
        with pytest.raises(FileNotFoundError):
            load(tmp_path / "missing")


class TestIdentity:
    def test_an_object_without_eq_is_itself_alone(self, told):
        """
        It hits for the same object, and the user is told once that other calls will not.
        """

        class Client:
            pass

        @actor_cache
        def load(client):
            return []

        client = Client()

        assert load(client) is load(client)
        assert load(client) is not load(Client())
        assert 1 == len(told)
        assert "load is given a Client, which is only equal to itself" in told[0]

    def test_an_identity_is_given_to_no_newcomer(self):
        """
        When the object has gone, another at its address does not meet its entry.
        """

        class Client:
            pass

        @actor_cache
        def load(client):
            return object()

        seen = set()
        for _ in range(50):
            found = load(Client())
            assert found not in seen
            seen.add(found)

    def test_two_classes_of_one_name_are_two(self):
        """
        Objects of different classes meet no `__eq__` of each other's.
        """

        def make(offset):
            class Thing:
                def __init__(self, n):
                    self.n = n

                def __hash__(self):
                    return hash(self.n)

                def __eq__(self, other):
                    return self.n == other.n

                def value(self):
                    return self.n + offset

            return Thing

        @actor_cache
        def load(thing):
            return thing.value()

        assert [2, 3] == [load(make(1)(1)), load(make(2)(1))]
        assert 2 == load(make(1)(1))
        assert (1, 2) == load.cache_info()[:2]


class TestBadArguments:
    def test_an_eq_that_raises(self, told):
        """
        The loader runs without its cache, and the user is told why, once.
        """

        class Broken:
            def __hash__(self):
                return 1

            def __eq__(self, other):
                raise RuntimeError("cannot compare")

        loads = []

        @actor_cache
        def load(thing):
            loads.append(thing)
            return len(loads)

        assert [1, 2, 3] == [load(Broken()), load(Broken()), load(Broken())]
        assert 1 == len(told)
        assert "runs without its cache" in told[0] and "__eq__ raised RuntimeError" in told[0]

    def test_a_hash_that_raises(self, told):
        """
        Likewise where the hash does.
        """

        class Broken:
            def __hash__(self):
                raise RuntimeError("no hash")

            def __eq__(self, other):
                return True

        @actor_cache
        def load(thing):
            return object()

        assert load(Broken()) is not load(Broken())
        assert "__hash__ raised RuntimeError" in told[0]

    def test_an_eq_that_gives_no_truth(self, told):
        """
        An `__eq__` whose answer is neither true nor false is no reason for a hit.
        """

        class Vague:
            def __hash__(self):
                return 1

            def __eq__(self, other):
                return numpy.array([True, False])

        @actor_cache
        def load(thing):
            return object()

        assert load(Vague()) is not load(Vague())
        assert "ValueError" in told[0]

    def test_data_that_contains_itself(self, told):
        """
        Data without an end has no key.
        """
        loop = []
        loop.append(loop)

        @actor_cache
        def load(thing):
            return object()

        assert load(loop) is not load(loop)
        assert "nested deeper than" in told[0]

    def test_an_object_that_cannot_be_taken_apart(self, told):
        """
        Equal by value, without a hash, and not to be copied: no key.
        """

        class Stubborn:
            __hash__ = None

            def __eq__(self, other):
                return True

            def __reduce_ex__(self, protocol):
                raise TypeError("never")

        @actor_cache
        def load(thing):
            return object()

        assert load(Stubborn()) is not load(Stubborn())
        assert "it compares by value, but has no hash and cannot be copied (never)" in told[0]

    def test_a_key_that_says_no(self, told):
        """
        A `__greenroom_key__` that raises leaves a plain call.
        """

        class Blob:
            def __greenroom_key__(self):
                raise OSError("gone")

        @actor_cache
        def load(thing):
            return 1

        assert 1 == load(Blob())
        assert "gone" in told[0]
