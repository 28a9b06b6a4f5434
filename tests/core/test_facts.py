"""Facts: rows of the log and back."""

from __future__ import annotations

import pytest

from greenroom_core import facts as f
from greenroom_core.facts import FactKind, Outcome, pack_fact, unpack_fact
from greenroom_core.program import CachedResults, Submission
from greenroom_core.values import pack, unpack
from greenroom_core.wire import WireFault
from tests.driver import bad, columns, value

BODY = columns([3, 4], [1, 1], [0, 0], [value(1), value(2)]).pack()
FACTS = [
    f.ExecutionSubmitted(
        "wf-1",
        Submission(
            "d" * 32, {"n": value(5)}, by="ada", labels={"a": "b"}, cached_results=CachedResults.OFF, deadline=5.0
        ),
        b"sealed",
        ("wf-0", "c"),
        "lp",
        ("cut to 16 GiB",),
    ),
    f.NodeStarted("a"),
    f.NodeStarted("m", 1000),
    f.CallsStarted("m", (1, 2), (1, 3), "r1", 10**15),
    f.CallsFinished("m", "r1", BODY, (1,), ((2, 10**15, "idle"),), 3, 99),
    f.CallsLost("m", (1,), (2,), "r1", False, bad().to_wire()),
    f.CallsCached("m", BODY, "wf-0"),
    f.BranchChosen("b", 1),
    f.BranchChosen("b", None),
    f.ChildStarted("c", "wf-2"),
    f.GateOpened("g", value("yes"), False, "ada"),
    f.CallAsked("a", 3, 2, "key-1", "a.3.in", b"graph"),
    f.AskWaived("a.3.in"),
    f.NodeEnded("a", Outcome.FAILED, bad().to_wire(), 7),
    f.NodeEnded("b", Outcome.SUCCEEDED, outputs={"o0": value(1)}),
    f.CancelRequested("ada", "enough", True),
    f.Noticed("None for an int", "a"),
    f.ExecutionEnded(Outcome.SUCCEEDED, outputs={"o0": value(1)}, saved={"loads": 1.5}),
]


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: type(fact).__name__)
def test_a_fact_comes_back(fact):
    """
    What a row holds is the fact that was written.
    """
    assert unpack_fact(fact.KIND, pack_fact(fact)) == fact


def test_every_kind_of_fact_is_here():
    """
    The list above leaves no kind out, and each has a number of its own.
    """
    assert {fact.KIND for fact in FACTS} == set(FactKind)


def test_outcomes_are_kept_as_they_came():
    """
    A batch of results is one row, whose columns are the replica's own bytes.
    """
    fact = unpack_fact(FactKind.CALLS_FINISHED, pack_fact(FACTS[4]))

    assert fact.body == BODY
    assert list(fact.outcomes.item_list()) == [3, 4]
    assert BODY in pack_fact(fact)


@pytest.mark.parametrize(
    ("kind", "data", "reason"),
    [
        (99, b"\x80", "a fact of unknown kind 99: written by a newer version?"),
        (FactKind.NODE_STARTED, pack({}), "NodeStarted.node is missing"),
        (FactKind.NODE_STARTED, pack({"node": "a", "colour": 1}), "NodeStarted has no field 'colour'"),
        (FactKind.CALLS_FINISHED, pack([1, 2]), "CallsFinished"),
        (FactKind.CALLS_FINISHED, pack({"node": 1}), "CallsFinished"),
        (FactKind.CALLS_FINISHED, pack(["m", "r", BODY, [], [[1]], 0, 0]), "CallsFinished"),
    ],
)
def test_another_row_is_refused(kind, data, reason):
    """
    A row that this version cannot read says why.
    """
    with pytest.raises(WireFault, match=reason):
        unpack_fact(kind, data)


def test_defaults_take_no_room():
    """
    A row holds only what differs from its kind's defaults.
    """
    assert unpack(pack_fact(f.NodeStarted("a"))) == {"node": "a"}
