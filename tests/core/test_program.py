"""Programs and graphs: what is refused before it runs, and the order that nodes have."""

from __future__ import annotations

from dataclasses import replace

import pytest

from greenroom_core.bindings import Constant, Gathered, Record, from_values, promises_of, resolve
from greenroom_core.conditions import Compare, Operator
from greenroom_core.graph import Case, GateKind, Graph, Node, NodeKind, Overrides, check, order
from greenroom_core.program import Environment, Program, Resources, Task, program_digest
from greenroom_core.retry import Retry
from greenroom_core.values import unpack
from greenroom_core.wire import WireFault
from tests.driver import given, mapped, out, program, task, value

ALWAYS = Case(None, {"o0": Constant(value(1))})


def branch(id: str, *cases: Case, **spec) -> Node:
    return Node(id, NodeKind.BRANCH, outputs=("o0",), cases=cases, **spec)


class TestCheck:
    """A graph that cannot run is refused, with the node and the name in question."""

    @pytest.mark.parametrize(
        ("nodes", "reason"),
        [
            ([task("a"), task("a")], "two nodes have one id"),
            ([task("")], "an id is neither empty nor has a slash"),
            ([task("a/b")], "'a/b': an id is neither empty nor has a slash"),
            ([replace(task("a"), target="zz")], "node 'a' calls 'zz', which the program does not define"),
            ([Node("c", NodeKind.CHILD, "zz")], "node 'c' calls 'zz', which the program does not define"),
            ([task("a", x=out("b"))], "node 'a' waits for 'b', which is no node"),
            ([task("a", spec={"after": ("b",)})], "node 'a' waits for 'b', which is no node"),
            ([task("a", x=given("k"))], "node 'a' refers to input 'k', which the workflow does not have"),
            ([task("a"), task("b", x=out("a", output="o9"))], "refers to output 'o9' of 'a', which does not give it"),
            ([task("a", x=out("b")), task("b", x=out("a"))], "these nodes wait for each other: a, b"),
            ([task("a", x=out("a"))], "these nodes wait for each other: a"),
            ([replace(mapped("m", given("n")), over=("y",))], "node 'm' maps over an input that it does not have"),
            ([replace(mapped("m", given("n")), over=())], "node 'm' is a map over nothing"),
            ([mapped("m", given("n"), concurrency=-1)], "counts are not negative"),
            ([mapped("m", given("n"), min_successes=-1)], "counts are not negative"),
            ([mapped("m", given("n"), min_success_ratio=1.5)], "a ratio is from 0 to 1"),
            ([task("a", spec={"overrides": Overrides(timeout=0.0)})], "a timeout of 0.0 s"),
            ([Node("g", NodeKind.GATE)], "node 'g' is a gate that waits for nothing"),
            ([Node("g", NodeKind.GROUP, outputs=("o0",))], "node 'g' gives an output that nothing in it does"),
            ([branch("b")], "node 'b' is a branch without a case"),
            ([branch("b", Case(None, {}))], "a case of 'b' lacks one of its outputs o0"),
            ([branch("b", Case(None, {"o0": out("zz")}))], "a case of 'b' refers to node 'zz', which is none"),
            ([task("a", spec={"within": ("b", 0)})], "node 'a' waits for 'b', which is no node"),
            ([task("b"), task("a", spec={"within": ("b", 0)})], "belongs to case 0 of 'b', which has none such"),
            ([branch("b", ALWAYS), task("a", spec={"within": ("b", 1)})], "belongs to case 1 of 'b'"),
            ([branch("b", ALWAYS), task("a", spec={"within": ("b", -1)})], "belongs to case -1 of 'b'"),
        ],
    )
    def test_what_cannot_run_is_named(self, nodes, reason):
        """
        Unknown names, figures out of range, circles: each has its words.
        """
        graph = Graph(tuple(nodes), inputs=("n",))

        with pytest.raises(WireFault, match=reason):
            check(graph, ["t"], ["lp"])

    def test_a_circle_through_a_branch_is_found(self):
        """
        A node in a case that needs what comes behind its branch would wait for ever.
        """
        inner = task("in", x=out("behind"), spec={"within": ("b", 0)})
        graph = Graph((branch("b", Case(None, {"o0": out("in")})), inner, task("behind", x=out("b"))))

        with pytest.raises(WireFault, match="wait for each other: behind, in"):
            check(graph, ["t"])

    @pytest.mark.parametrize(
        ("outputs", "reason"),
        [
            ({"o0": out("zz")}, "an output refers to node 'zz', which is none"),
            ({"o0": given("zz")}, "an output refers to input 'zz'"),
            ({"o0": Gathered((out("a", output="zz"),))}, "an output refers to output 'zz' of 'a'"),
        ],
    )
    def test_outputs_must_come_from_somewhere(self, outputs, reason):
        """
        A workflow gives what a node or an input of it is.
        """
        with pytest.raises(WireFault, match=reason):
            check(Graph((task("a"),), outputs), ["t"])

    def test_a_handler_is_a_node_of_its_own(self):
        """
        The handler of failures has an id that no node has, and calls what exists.
        """
        with pytest.raises(WireFault, match="two nodes have one id"):
            check(Graph((task("a"),), on_failure=task("a")), ["t"])
        with pytest.raises(WireFault, match="node 'h' calls 'zz'"):
            check(Graph((task("a"),), on_failure=task("h", "zz")), ["t"])

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            (
                {"tasks": {"t": Task("m.t", "nowhere", outputs=("o0",))}},
                "runs in 'nowhere', which the program does not",
            ),
            ({"tasks": {"t": Task("m.t", "e", timeout=-1.0)}}, "task 't' has a timeout of -1.0 s"),
            ({"tasks": {"t": Task("m.t", "e", retry=Retry(-1))}}, "task 't' has Retry"),
            ({"tasks": {"t": Task("m.t", "e", retry=Retry(1, jitter=2.0))}}, "jitter is from 0 to 1"),
            ({"environments": {"e": Environment("e", replica_count=0)}}, "environment 'e' has replica_count=0"),
            ({"environments": {"e": Environment("e", concurrency=0)}}, "has concurrency=0: it must be at least 1"),
            ({"environments": {"e": Environment("e", ttl=-1.0)}}, "has ttl=-1.0: it must be at least 0"),
            ({"environments": {"e": Environment("e", requests=Resources(cpu=-1.0))}}, "has requests.cpu=-1.0"),
        ],
    )
    def test_tasks_and_environments_are_checked_too(self, changes, reason):
        """
        A figure that no replica could keep is refused with the program.
        """
        made = replace(program(task("a")), **changes)

        with pytest.raises(WireFault, match=reason):
            Program.unpack(made.pack())


class TestOrder:
    """Each node after those that it waits for."""

    def test_the_order_is_that_of_the_workflow(self):
        """
        Where nothing else decides, nodes come as the workflow calls them.
        """
        assert order(Graph((task("c"), task("a"), task("b", x=out("c"))))) == ["c", "a", "b"]

    def test_what_a_node_waits_for_comes_first(self):
        """
        Inputs, `after`, conditions and branches all count.
        """
        graph = Graph(
            (
                task("last", x=out("b")),
                branch("b", Case(Compare(out("a"), Operator.GT, Constant(value(1))), {"o0": out("in")}), ALWAYS),
                task("in", x=out("c"), spec={"within": ("b", 0)}),
                task("a"),
                task("c", spec={"after": ("a",)}),
            )
        )

        found = order(graph)

        assert [found.index(name) for name in ("a", "c", "in", "last")] == sorted(
            found.index(name) for name in ("a", "c", "in", "last")
        )
        assert found.index("a") < found.index("b") < found.index("in")


class TestProgram:
    """A compiled entity, named by its bytes."""

    def test_equal_programs_have_one_name(self):
        """
        Packing is the same every time, and what comes back is equal.
        """
        one = program(task("a", x=5), mapped("m", out("a")), outputs={"o0": out("m")})

        again = Program.unpack(one.pack())

        assert again == one
        assert program_digest(again.pack()) == program_digest(one.pack())
        assert len(program_digest(b"")) == 32

    def test_another_constant_is_another_program(self):
        """
        Whatever differs shows in the name.
        """
        assert program_digest(program(task("a", x=5)).pack()) != program_digest(program(task("a", x=6)).pack())


class TestBindings:
    """Where inputs come from."""

    def test_every_promise_in_a_binding_is_found(self):
        """
        At any depth, in order.
        """
        binding = Gathered((out("a"), Record({"k": Gathered((given("n"), Constant(b"\x01")))}), out("b")))

        assert [promise.node for promise in promises_of(binding)] == ["a", "", "b"]

    def test_a_binding_is_put_together(self):
        """
        Constants as they are, promises looked up, lists and dicts around them.
        """
        lookup = from_values({"n": value([1, 2]), "k": value("x")})
        binding = Record({"list": Gathered((given("n", 1), Constant(value(None)))), "one": given("k")})

        assert unpack(resolve(binding, lookup)) == {"list": [2, None], "one": "x"}


@pytest.mark.parametrize("kind", list(GateKind))
def test_every_kind_of_gate_is_taken(kind):
    """
    Approvals, inputs and sleeps all pass the check.
    """
    check(Graph((Node("g", NodeKind.GATE, gate=kind),)))
