"""Structures on the wire: dataclasses to plain data and back, with errors that name the field."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Union

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenroom_core.facts import _KINDS, unpack_fact
from greenroom_core.fragments import Fragment
from greenroom_core.program import Program, Submission
from greenroom_core.values import ValueFault, pack, unpack
from greenroom_core.wire import WireFault, from_wire, tagged, to_wire
from tests.driver import mapped, out, program, task


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


@tagged("leaf")
@dataclass(frozen=True, slots=True)
class Leaf:
    n: int


@tagged("tree")
@dataclass(frozen=True, slots=True)
class Tree:
    left: Branch
    right: Branch | None = None


Branch = Union[Leaf, Tree]  # noqa: UP007


@dataclass(frozen=True, slots=True)
class Thing:
    name: str
    size: int = 0
    share: float = 1.0
    colour: Colour = Colour.RED
    data: bytes | None = None
    tags: tuple[str, ...] = ()
    pair: tuple[str, int] = ("", 0)
    extra: Mapping[str, Any] = field(default_factory=dict)
    trees: Mapping[str, Branch] = field(default_factory=dict)
    path: tuple[str | int, ...] = ()
    flag: bool = False


FULL = Thing(
    "x", 2, 0.5, Colour.BLUE, b"\x00", ("a",), ("b", 3), {"k": [1]}, {"t": Tree(Leaf(1), Tree(Leaf(2)))}, ("a", 0), True
)


class TestRoundTrip:
    """What is written is what is read."""

    @pytest.mark.parametrize("thing", [Thing("x"), FULL])
    def test_a_structure_comes_back(self, thing):
        """
        Through plain data and through bytes, a structure is the same.
        """
        assert from_wire(Thing, to_wire(thing)) == thing
        assert from_wire(Thing, unpack(pack(to_wire(thing)))) == thing

    def test_defaults_are_left_out(self):
        """
        What holds its default takes no room, so that newer fields are no news to older logs.
        """
        assert to_wire(Thing("x")) == {"name": "x"}
        assert to_wire(Thing("x", share=0.5)) == {"name": "x", "share": 0.5}

    def test_members_of_a_union_are_tagged(self):
        """
        Which of several structures stands there is written down.
        """
        assert to_wire(Tree(Leaf(1))) == {"is": "tree", "left": {"is": "leaf", "n": 1}}

    def test_whole_numbers_are_numbers(self):
        """
        An int where a float is due is one.
        """
        assert from_wire(Thing, {"name": "x", "share": 2}).share == 2.0


class TestRefusals:
    """Errors name the field."""

    @pytest.mark.parametrize(
        ("wire", "reason"),
        [
            (5, "Thing: expected a map of Thing, got int"),
            ({}, "Thing.name is missing"),
            ({"name": 5}, "Thing.name: expected str, got int"),
            ({"name": "x", "size": True}, "Thing.size: expected int, got bool"),
            ({"name": "x", "size": 1.5}, "Thing.size: expected int, got float"),
            ({"name": "x", "share": "1"}, "Thing.share: expected float, got str"),
            ({"name": "x", "share": float("nan")}, "Thing.share: expected a finite number, got nan"),
            ({"name": "x", "share": float("inf")}, "Thing.share: expected a finite number, got inf"),
            ({"name": "x", "flag": 1}, "Thing.flag: expected bool, got int"),
            ({"name": "x", "colour": "green"}, r"Thing.colour: expected one of \['blue', 'red'\], got 'green'"),
            ({"name": "x", "colour": []}, "Thing.colour: expected one of"),
            ({"name": "x", "tags": "abc"}, "Thing.tags: expected a list, got str"),
            ({"name": "x", "tags": [1]}, "Thing.tags: expected str, got int"),
            ({"name": "x", "pair": ["a"]}, "Thing.pair: expected a list of 2"),
            ({"name": "x", "extra": []}, "Thing.extra: expected a map, got list"),
            ({"name": "x", "trees": {"t": {"n": 1}}}, r"Thing.trees\['t'\]: expected one of \['leaf', 'tree'\]"),
            ({"name": "x", "trees": {"t": {"is": []}}}, r"Thing.trees\['t'\]: expected one of"),
            ({"name": "x", "trees": {"t": {"is": "leaf"}}}, r"Thing.trees\['t'\].n is missing"),
            ({"name": "x", "path": [None]}, "Thing.path: expected one of"),
            ({"name": "x", "weight": 5}, "Thing: Thing has no field 'weight'"),
        ],
    )
    def test_what_does_not_fit_is_named(self, wire, reason):
        """
        The path to the field, what was expected and what came.
        """
        with pytest.raises(WireFault, match=reason):
            from_wire(Thing, wire)

    def test_what_nests_without_end_is_refused(self):
        """
        A structure deeper than can be walked is refused like any other mistake.
        """
        wire: dict = {"is": "leaf", "n": 1}
        for _ in range(2 * sys.getrecursionlimit()):
            wire = {"is": "tree", "left": wire}

        with pytest.raises(WireFault, match="nested too deep"):
            from_wire(Thing, {"name": "x", "trees": {"t": wire}})

    def test_an_annotation_without_a_form_is_a_mistake_of_ours(self):
        """
        Structures use only what the wire has a form for.
        """

        @dataclass(frozen=True)
        class Odd:
            one: complex

        with pytest.raises(TypeError, match="no wire form for"):
            from_wire(Odd, {"one": 1})


# Doors ----------------------------------------------------------------------------------------------------------------

SOUND = program(mapped("m", out("a")), task("a", x=5), outputs={"o0": out("m")})
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats() | st.text(max_size=4) | st.binary(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def altered(draw, wire: Any) -> Any:
    """Plain data with one part of it changed, left out or added."""
    if isinstance(wire, dict) and wire and draw(st.integers(0, 4)):
        key = draw(st.sampled_from(sorted(wire)))
        return {**wire, key: draw(altered(wire[key]))}
    if isinstance(wire, list) and wire and draw(st.integers(0, 4)):
        at = draw(st.integers(0, len(wire) - 1))
        return [*wire[:at], draw(altered(wire[at])), *wire[at + 1 :]]
    if isinstance(wire, dict) and wire and draw(st.booleans()):
        gone = draw(st.sampled_from(sorted(wire)))
        return {key: item for key, item in wire.items() if key != gone}
    return draw(PLAIN)


@given(altered(to_wire(SOUND)))
def test_a_program_from_anywhere_is_read_or_refused(wire):
    """
    Whatever is wrong with a program, it is refused in words before anything runs.
    """
    try:
        Program.unpack(pack(wire))
    except (WireFault, ValueFault):
        pass


@given(st.binary(max_size=80))
def test_noise_is_no_program(body):
    """
    Bytes that are none are refused by all readers of structures.
    """
    for read in (Program.unpack, lambda body: from_wire(Submission, unpack(body)), Fragment.read):
        try:
            read(body)
        except (WireFault, ValueFault):
            pass


@given(st.sampled_from([*_KINDS, 0, 99]), st.binary(max_size=60) | PLAIN.map(pack))
def test_a_row_from_anywhere_is_a_fact_or_refused(kind, data):
    """
    A row that was written by another version, or spoilt, is refused in words.
    """
    try:
        unpack_fact(kind, data)
    except (WireFault, ValueFault):
        pass
