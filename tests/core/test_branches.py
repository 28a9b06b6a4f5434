"""Branches: one way is taken, the nodes of the others are skipped, and what comes behind goes on."""

from __future__ import annotations

import pytest

from greenroom_core.bindings import Binding, Constant
from greenroom_core.conditions import Both, Compare, Condition, Join, Operator
from greenroom_core.facts import BranchChosen, Outcome
from greenroom_core.failure import Cause
from greenroom_core.graph import Case, FailurePolicy, Node, NodeKind
from tests.driver import Play, bad, given, mapped, out, task, value

AFTER = FailurePolicy.FAIL_AFTER_EXECUTABLE_NODES_COMPLETE


def when(left: Binding, operator: Operator, right: object) -> Condition:
    """A comparison with a constant."""
    return Compare(left, operator, Constant(value(right)))


def branch(id: str, *cases: Case, **spec) -> Node:
    """A branch with one output."""
    return Node(id, NodeKind.BRANCH, outputs=("o0",), cases=cases, **spec)


def big_or_small(**rest) -> Play:
    """`big` if n > 5, else `small`; then `last`."""
    node = branch("size", Case(when(given("n"), Operator.GT, 5), {"o0": out("big")}), Case(None, {"o0": out("small")}))
    return Play(
        node,
        task("big", x=given("n"), spec={"within": ("size", 0)}),
        task("small", x=given("n"), spec={"within": ("size", 1)}),
        task("last", x=out("size")),
        outputs={"o0": out("last")},
        **rest,
    )


class TestChoice:
    """The first case that holds is taken."""

    @pytest.mark.parametrize(("n", "taken", "left"), [(7, "big", "small"), (3, "small", "big")])
    def test_one_way_runs_and_the_other_is_skipped(self, n, taken, left):
        """
        Only the nodes of the chosen case run; the branch has their outputs.
        """
        play = big_or_small(given={"n": n})

        assert play.ready() == {taken: [0]}
        assert play.outcomes_by_node()[left] == "skipped"
        play.succeeds(taken, taken.upper())
        assert play.calls("last") == [taken.upper()]
        play.succeeds("last", "done")

        assert (play.outcome, play.result()) == (Outcome.SUCCEEDED, {"o0": "done"})
        play.replay()

    def test_it_chooses_by_outputs_of_nodes(self):
        """
        A condition waits for the nodes whose values it reads.
        """
        node = branch(
            "b", Case(when(out("a", "k"), Operator.EQ, "x"), {"o0": Constant(value(1))}), Case(None, {"o0": out("a")})
        )
        play = Play(task("a"), node, outputs={"o0": out("b")})

        assert "b" not in [fact.node for fact in play.heard]
        play.succeeds("a", {"k": "x"})

        assert play.heard[1] == BranchChosen("b", 0)
        assert play.result() == {"o0": 1}

    def test_cases_without_nodes_hand_on_values(self):
        """
        A case may give a constant or what another node gave, without a node of its own.
        """
        node = branch(
            "b", Case(when(given("n"), Operator.LT, 0), {"o0": given("n")}), Case(None, {"o0": Constant(value("no"))})
        )

        for n, expected in ((-1, -1), (1, "no")):
            play = Play(node, given={"n": n}, outputs={"o0": out("b")})
            assert play.result() == {"o0": expected}

    def test_a_case_may_fail_on_purpose(self):
        """
        A case that only fails does so with its own words.
        """
        node = branch("b", Case(when(given("n"), Operator.LT, 0), fail="negative"), Case(None, {"o0": given("n")}))
        play = Play(node, task("a", spec={"after": ("b",)}), given={"n": -1})

        assert (play.failure.line(), play.execution.ended.node) == ("ValueError: negative", "b")
        assert play.outcomes_by_node() == {"b": "failed", "a": "aborted"}
        play.replay()

    def test_no_case_that_holds_is_a_failure(self):
        """
        Without an otherwise, a value that no case takes fails the branch.
        """
        node = branch("b", Case(when(given("n"), Operator.LT, 0), {"o0": out("a")}))
        play = Play(node, task("a", spec={"within": ("b", 0)}), given={"n": 1})

        assert "no case of the condition holds" in play.failure.message
        assert None not in play.outcomes_by_node().values()
        play.replay()

    def test_a_condition_that_cannot_be_read_is_a_failure(self):
        """
        Text cannot be ordered with a number; the values are told.
        """
        play = big_or_small(given={"n": "many"})

        assert play.failure.cause is Cause.INPUT
        assert "cannot compare 'many' > 5" in play.failure.message
        assert None not in play.outcomes_by_node().values()
        play.replay()

    @pytest.mark.parametrize("policy", list(FailurePolicy))
    def test_an_unreadable_condition_lets_its_members_end(self, policy):
        """
        Whatever the policy, nodes of a branch that never chose end too.
        """
        play = big_or_small(given={"n": "many"}, policy=policy)

        assert play.outcome is Outcome.FAILED
        assert None not in play.outcomes_by_node().values()
        play.replay()


class TestMembers:
    """The nodes of a case."""

    def test_members_may_need_each_other_and_others(self):
        """
        A case can be a graph of its own that reads from outside.
        """
        node = branch("b", Case(None, {"o0": out("two")}))
        play = Play(
            task("a"),
            node,
            task("one", x=given("n"), spec={"within": ("b", 0)}),
            task("two", x=out("one"), y=out("a"), spec={"within": ("b", 0)}),
            given={"n": 1},
            outputs={"o0": out("b")},
        )

        play.succeeds("one", 11)
        assert "two" not in play.ready()
        play.succeeds("a", 22)
        assert play.calls("two") == [[11, 22]]
        play.succeeds("two", 33)

        assert play.result() == {"o0": 33}
        play.replay()

    def test_a_branch_waits_for_members_nobody_asks_for(self):
        """
        A branch ends when all nodes of its case have, not only those that give its outputs.
        """
        node = branch("b", Case(None, {"o0": out("one")}))
        play = Play(node, task("one", spec={"within": ("b", 0)}), task("two", spec={"within": ("b", 0)}))

        play.succeeds("one", 1)
        assert play.outcomes_by_node()["b"] is None
        play.succeeds("two", 2)

        assert play.outcome is Outcome.SUCCEEDED

    def test_a_map_in_a_case(self):
        """
        A case may hold a map; its results are the branch's output.
        """
        node = branch("b", Case(None, {"o0": out("m")}))
        play = Play(node, mapped("m", given("xs"), within=("b", 0)), given={"xs": [1, 2]}, outputs={"o0": out("b", 1)})

        play.answer("m", play.take("m"), ["x", "y"])

        assert play.result() == {"o0": "y"}

    @pytest.mark.parametrize("policy", list(FailurePolicy))
    def test_a_member_that_fails_fails_the_branch(self, policy):
        """
        The failure is the member's; the branch and what needs it do not succeed.
        """
        play = big_or_small(given={"n": 7}, policy=policy)

        play.fails("big")

        assert play.execution.ended.node == "big"
        assert play.outcomes_by_node()["last"] in ("aborted", "skipped")
        assert play.outcomes_by_node()["size"] in ("aborted", "failed")
        play.replay()

    def test_who_needs_a_skipped_member_is_skipped(self):
        """
        A node that reads from the way not taken cannot run; what merely comes after it can.
        """
        node = branch("b", Case(when(given("n"), Operator.GT, 5), {"o0": out("yes")}), Case(None, {"o0": given("n")}))
        play = Play(
            node,
            task("yes", spec={"within": ("b", 0)}),
            task("needs", x=out("yes")),
            task("after", spec={"after": ("yes",)}),
            task("both", x=out("yes"), spec={"after": ("yes",)}),
            given={"n": 1},
        )

        play.succeeds("after", 1)

        expected = {"b": "succeeded", "yes": "skipped", "needs": "skipped", "after": "succeeded", "both": "skipped"}
        assert play.outcomes_by_node() == expected
        assert play.outcome is Outcome.SUCCEEDED
        play.replay()


class TestNesting:
    """Branches in branches."""

    def nested(self, n: int, k: int, **rest) -> Play:
        inner = branch(
            "in",
            Case(when(given("k"), Operator.EQ, 0), {"o0": out("x")}),
            Case(None, {"o0": out("y")}),
            within=("out", 0),
        )
        outer = branch("out", Case(when(given("n"), Operator.EQ, 0), {"o0": out("in")}), Case(None, {"o0": out("z")}))
        return Play(
            outer,
            inner,
            task("x", spec={"within": ("in", 0)}),
            task("y", spec={"within": ("in", 1)}),
            task("z", spec={"within": ("out", 1)}),
            given={"n": n, "k": k},
            outputs={"o0": out("out")},
            **rest,
        )

    @pytest.mark.parametrize(
        ("n", "k", "taken", "skipped"),
        [
            (0, 0, "x", {"y", "z"}),
            (0, 1, "y", {"x", "z"}),
            (1, 0, "z", {"in", "x", "y"}),
            (1, 1, "z", {"in", "x", "y"}),
        ],
    )
    def test_each_way_through(self, n, k, taken, skipped):
        """
        Of two branches within each other, exactly one leaf runs, and everything else is skipped.
        """
        play = self.nested(n, k)

        assert play.ready() == {taken: [0]}
        play.succeeds(taken, taken)

        assert play.result() == {"o0": taken}
        assert {name for name, outcome in play.outcomes_by_node().items() if outcome == "skipped"} == skipped
        play.check()
        play.replay()

    def test_an_inner_branch_that_cannot_choose_ends_with_its_members(self):
        """
        A condition inside that fails leaves nothing waiting, under either policy.
        """
        for policy in FailurePolicy:
            play = self.nested(0, "text", policy=policy)
            if play.outcome is None:
                play.succeeds(*[(name, 1) for name in play.ready()][0])

            assert None not in play.outcomes_by_node().values()
            play.replay()


class TestConditions:
    """Conditions joined."""

    @pytest.mark.parametrize(("n", "taken"), [(1, "no"), (5, "yes"), (9, "no"), (42, "yes")])
    def test_and_binds_like_python(self, n, taken):
        """
        `(3 < n and n < 7) or n == 42`.
        """
        inside = Both(when(given("n"), Operator.GT, 3), Join.AND, when(given("n"), Operator.LT, 7))
        condition = Both(inside, Join.OR, when(given("n"), Operator.EQ, 42))
        node = branch("b", Case(condition, {"o0": Constant(value("yes"))}), Case(None, {"o0": Constant(value("no"))}))

        assert Play(node, given={"n": n}, outputs={"o0": out("b")}).result() == {"o0": taken}


def test_a_cancel_ends_a_branch_with_its_members():
    """
    A branch whose case runs is aborted with it.
    """
    play = big_or_small(given={"n": 7})
    held = play.take("big")

    play.cancel()
    play.answer("big", held, [bad(cause=Cause.CANCELLED)])

    assert play.outcomes_by_node() == {"size": "aborted", "big": "aborted", "small": "skipped", "last": "aborted"}
    play.check()
    play.replay()
