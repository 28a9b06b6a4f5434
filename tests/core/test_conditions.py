"""Conditions of branches: read from values, never run."""

from __future__ import annotations

import msgpack
import pytest

from greenroom_core.bindings import Constant, from_values
from greenroom_core.conditions import Both, Compare, Join, Operator, holds, promises_in
from greenroom_core.values import Ext, ValueFault, ext, pack
from tests.driver import given, value

NOTHING = from_values({})


def compare(left: object, operator: str, right: object) -> bool:
    """Whether a comparison of two plain objects holds."""
    return holds(Compare(Constant(pack(left)), Operator(operator), Constant(pack(right))), NOTHING)


def time(kind: str, text: str, *zone: str):
    return ext(Ext.TIME, [kind, text, *zone])


BIG = msgpack.ExtType(int(Ext.BIGINT), str(2**70).encode())
HEX = msgpack.ExtType(int(Ext.BIGINT), hex(2**70 + 1).encode())


class TestComparing:
    """Comparisons mean what they mean in Python."""

    @pytest.mark.parametrize(
        ("left", "operator", "right", "truth"),
        [
            (5, ">", 3, True),
            (5, "<=", 5, True),
            (5, "!=", 5.0, False),
            ("a", "<", "b", True),
            (True, "==", True, True),
            (None, "==", None, True),
            (None, "!=", 5, True),
            ([1, 2], "==", [1, 2], True),
            ([1, 2], "<", [1, 3], True),
            ({"a": 1}, "==", {"a": 1}, True),
            ("5", "==", 5, False),
            (b"x", "==", b"x", True),
            (BIG, ">", 5, True),
            (BIG, "<", HEX, True),
        ],
    )
    def test_plain_values(self, left, operator, right, truth):
        """
        Numbers, text, lists and dicts compare as Python compares them; large ints by what they are.
        """
        assert compare(left, operator, right) is truth

    @pytest.mark.parametrize(
        ("left", "operator", "right", "truth"),
        [
            (time("timedelta", "900000"), "<", time("timedelta", "1000000"), True),
            (time("datetime", "2026-01-01T10:00:00+02:00"), "<", time("datetime", "2026-01-01T09:00:00+00:00"), True),
            (time("datetime", "2026-01-01T10:00:00+01:00"), "==", time("datetime", "2026-01-01T09:00:00+00:00"), True),
            (time("datetime", "2026-01-01T10:00:00"), "<", time("datetime", "2026-01-01T10:00:00.000001"), True),
            (time("date", "2026-01-02"), ">=", time("date", "2026-01-01"), True),
            (time("time", "09:00:00"), "<", time("time", "10:00:00"), True),
            (time("date", "2026-01-02"), "==", time("timedelta", "5"), False),
        ],
    )
    def test_times_compare_as_times(self, left, operator, right, truth):
        """
        Moments and spans compare by what they mean, not by how they are written.
        """
        assert compare(left, operator, right) is truth

    @pytest.mark.parametrize("wrapped", [Ext.TAGGED, Ext.HASHED, Ext.CUSTOM])
    def test_wrappers_are_looked_through(self, wrapped):
        """
        A Union's member compares as itself.
        """
        assert compare(ext(wrapped, ["name", 5]), "==", 5)

    @pytest.mark.parametrize(
        ("left", "right", "reason"),
        [
            ("a", 5, "cannot compare 'a' < 5"),
            (None, 5, "cannot compare None < 5"),
            (ext(Ext.PICKLE, ["m.C", "C()", b"", None]), 5, "a condition cannot read a value of kind pickle"),
            (ext(Ext.FILE, {"name": "a"}), 5, "kind file; compare a plain part of it"),
            (time("date", "2026-01-02"), time("timedelta", "5"), "cannot compare"),
            (
                time("datetime", "2026-01-01T10:00:00"),
                time("datetime", "2026-01-01T10:00:00+00:00"),
                "cannot compare",
            ),
            (time("date", "yesterday"), 5, "not a value"),
            (time("century", "21"), 5, "not a value"),
        ],
    )
    def test_what_cannot_be_compared_says_so(self, left, right, reason):
        """
        Opaque values and values of different kinds are told in words.
        """
        with pytest.raises(ValueFault, match=reason):
            compare(left, "<", right)


class TestJoining:
    """Conditions are joined as in Python, and read no further than they must."""

    @pytest.mark.parametrize(
        ("left", "join", "right", "truth"),
        [
            (True, Join.AND, True, True),
            (True, Join.AND, False, False),
            (False, Join.OR, True, True),
            (False, Join.OR, False, False),
        ],
    )
    def test_and_and_or(self, left, join, right, truth):
        """
        Both, or one of both.
        """

        def same(flag: bool) -> Compare:
            return Compare(Constant(pack(flag)), Operator.EQ, Constant(pack(True)))

        assert holds(Both(same(left), join, same(right)), NOTHING) is truth

    def test_what_is_decided_is_not_read_further(self):
        """
        The right side may be unreadable when the left one decides.
        """
        unreadable = Compare(Constant(pack("x")), Operator.LT, Constant(pack(1)))
        no = Compare(Constant(pack(1)), Operator.EQ, Constant(pack(2)))

        assert not holds(Both(no, Join.AND, unreadable), NOTHING)
        with pytest.raises(ValueFault):
            holds(Both(no, Join.OR, unreadable), NOTHING)

    def test_every_promise_is_found(self):
        """
        A branch waits for all that its conditions may read.
        """
        condition = Both(
            Compare(given("a"), Operator.EQ, given("b")), Join.OR, Compare(given("c"), Operator.LT, Constant(value(1)))
        )

        assert [promise.output for promise in promises_in(condition)] == ["a", "b", "c"]
