"""Kept objects get the classes of another bundle, all of them or none."""

import array
import collections
import enum
import functools
import weakref

import numpy
import pytest

from greenroom_replica.migration import CannotRebind, rebind_instances


def make(**names):
    """A class, as one bundle has it: each call makes it anew."""

    class Model:
        def __init__(self, name="m", inner=None):
            self.name, self.inner = name, inner

        def greet(self):
            return f"hello {self.name}"

    for name, value in names.items():
        setattr(Model, name, value)
    return Model


Old, New = make(), make()


def successor(cls):
    return {Old: New}.get(cls, cls)


class Slotted:
    __slots__ = ("held",)

    def __init__(self, held):
        self.held = held


class Bag(dict):
    pass


class TestReach:
    @pytest.mark.parametrize(
        "wrap",
        [
            lambda one: one,
            lambda one: [one, [one]],
            lambda one: {"k": {"l": (one,)}},
            lambda one: {one: 1},
            lambda one: {one},
            lambda one: collections.deque([one]),
            lambda one: collections.OrderedDict(a=one),
            lambda one: functools.partial(print, one),
            lambda one: lambda: one,
            lambda one: functools.partial(lambda x=one: x),
            lambda one: one.greet,
            lambda one: Slotted(one),
            lambda one: Bag(a=one),
            lambda one: New("outer", one),
            lambda one: Old("outer", Old("between", one)),
            lambda one: numpy.array([one, None], dtype=object),
            lambda one: iter([one]),
        ],
    )
    def test_instances_are_found_wherever_they_are_held(self, wrap):
        """
        In containers, attributes, slots, closures, defaults, partials, bound methods and arrays of objects.
        """
        one = Old("inner")

        count = rebind_instances([wrap(one)], successor)

        assert type(one) is New
        assert isinstance(one, New) and one.greet() == "hello inner"
        assert count >= 1

    def test_what_is_no_instance_is_left_alone(self):
        """
        Plain data, library objects and instances of other classes stay what they are.
        """
        held = [1, "a", numpy.zeros(3), array.array("i", [1]), New(), weakref.ref(New()), print, collections]

        assert rebind_instances(held, successor) == 0

    def test_keys_and_values_together(self):
        """
        Several roots are searched as one.
        """
        first, second = Old(), Old()

        assert rebind_instances([(first,), {"v": second, "again": first}], successor) == 2

    def test_cycles_end(self):
        """
        Objects that refer to each other are met once.
        """
        one, two = Old(), Old()
        one.inner, two.inner = two, one

        assert rebind_instances([one], successor) == 2

    def test_there_and_back(self):
        """
        A bundle that comes back gets its own classes again.
        """
        one = Old("x")

        rebind_instances([one], successor)
        rebind_instances([one], lambda cls: Old if cls is New else cls)

        assert type(one) is Old


class TestRefusals:
    def refused(self, root, *, by=successor, **options):
        with pytest.raises(CannotRebind) as raised:
            rebind_instances([root], by, **options)
        return str(raised.value)

    def test_a_class_that_has_changed(self):
        """
        Without a successor the entry is not used.
        """
        one = Old()

        why = self.refused([one], by=lambda cls: None if cls is Old else cls)

        assert "the entry is not used by this version of the code: it holds a make.<locals>.Model" in why
        assert type(one) is Old

    def test_another_layout(self):
        """
        Where Python refuses the new class, those that were re-pointed before go back.
        """

        class Different:
            __slots__ = ("a", "b")

        first, odd = Old(), Slotted(1)
        classes = {Old: New, Slotted: Different}

        why = self.refused([odd, first], by=lambda cls: classes.get(cls, cls))

        assert "a Slotted cannot become one of the new class" in why
        assert (type(first), type(odd)) == (Old, Slotted)

    def test_too_many_instances(self):
        """
        Above the limit nothing is re-pointed.
        """
        many = [Old() for _ in range(11)]

        why = self.refused(many, most=10)

        assert "more than 10 instances" in why
        assert all(type(one) is Old for one in many)

    def test_too_much_to_search(self):
        """
        What cannot be searched could hide an instance.
        """
        assert "more than 100 objects" in self.refused([[] for _ in range(101)], search=100)

    def test_a_class_itself(self):
        """
        An object that refers to the class, and not only is of it, would go on making old ones.
        """
        assert "refers to the class make.<locals>.Model itself" in self.refused({"make": Old})

    def test_members_of_an_enum(self):
        """
        They are compared by identity, which re-pointing does not give them.
        """
        before = enum.Enum("Color", "RED")
        after = enum.Enum("Color", "RED")

        assert "compared by identity" in self.refused([before.RED], by=lambda cls: after if cls is before else cls)

    def test_functions_that_have_changed(self):
        """
        A function in the entry whose code is another now makes it unfit.
        """

        def callback():
            return 1

        assert "the function" in self.refused([callback], is_current=lambda function: function is not callback)

    def test_a_generator(self):
        """
        A generator runs the code of its time.
        """
        assert "generator" in self.refused([(x for x in [1])])
