"""Random graphs under random histories: outcomes, failures, losses, cancels, restarts, late answers.

Whatever happens, in whatever order: each node has one outcome at most, the execution ends once, a replay of the log
gives the same durable state, counts agree with states, no call is held by two replicas, and something is always left
to do until the end has come.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from greenroom_core.bindings import Binding, Constant, Gathered
from greenroom_core.conditions import Compare, Operator
from greenroom_core.facts import ExecutionEnded, NodeEnded, Outcome
from greenroom_core.failure import Cause
from greenroom_core.fragments import Fragment
from greenroom_core.graph import Case, FailurePolicy, GateKind, Graph, Node, NodeKind
from greenroom_core.program import Mode, Plan, Task
from greenroom_core.retry import Retry
from tests.driver import Play, bad, columns, out, program, value
from tests.driver import given as input_of

TASKS = {
    "t": Task("m.t", "e", outputs=("o0",)),
    "again": Task("m.again", "e", outputs=("o0",), retry=Retry(2)),
    "later": Task("m.later", "e", outputs=("o0",), retry=Retry(2, backoff=1.0, jitter=0.5)),
    "d": Task("m.d", "e", outputs=("o0",), mode=Mode.DYNAMIC),
}
PLANS = {"lp": Plan("m.lp", Graph(()))}
RESULTS = [5, -1, "text", None, [], [1, 2, 3], {"k": 1}]


# Graphs ---------------------------------------------------------------------------------------------------------------


@st.composite
def graphs(draw, depth: int = 0, most: int = 6):
    """Nodes in an order in which they can be defined, each reading from some before it."""
    nodes: list[Node] = []
    for number in range(draw(st.integers(0 if depth else 1, most))):
        nodes.extend(draw(some_nodes(f"n{number}", [node.id for node in nodes], depth)))
    return nodes


@st.composite
def bindings(draw, before: list[str], lists: bool = False) -> Binding:
    """Where an input comes from; mostly sound."""
    kinds = ["constant", "out"] if before else ["constant"]
    kind = draw(st.sampled_from([*kinds, "list"] if before else kinds))
    if kind == "out":
        path = draw(st.sampled_from([(), (), (), (0,), ("k",)]))
        return out(draw(st.sampled_from(before)), *path)
    if kind == "list":
        return Gathered(tuple(out(name) for name in draw(st.lists(st.sampled_from(before), max_size=3))))
    return Constant(value(draw(st.lists(st.integers(0, 9), max_size=4)) if lists else draw(st.sampled_from(RESULTS))))


@st.composite
def some_nodes(draw, id: str, before: list[str], depth: int) -> list[Node]:
    """A node, or a branch with all that stands in it."""
    after = tuple(draw(st.lists(st.sampled_from(before), max_size=1))) if before else ()
    kind = draw(st.sampled_from(["task", "task", "task", "map", "map", "group", "gate", "child", "branch", "dynamic"]))
    if kind == "branch" and depth < 2:
        return draw(branches(id, before, after, depth))
    if kind == "map":
        node = Node(
            id, NodeKind.MAP, draw(st.sampled_from(["t", "again", "later"])), {"x": draw(bindings(before, True))}
        )
        bearing = draw(st.sampled_from([{}, {}, {"min_success_ratio": 0.5}, {"min_successes": 1}, {"concurrency": 2}]))
        return [replace(node, outputs=("o0",), over=("x",), after=after, **bearing)]
    if kind == "group":
        return [Node(id, NodeKind.GROUP, inputs={"o0": draw(bindings(before))}, outputs=("o0",), after=after)]
    if kind == "gate":
        return [Node(id, NodeKind.GATE, outputs=("o0",), after=after, gate=GateKind.INPUT)]
    if kind == "child":
        return [Node(id, NodeKind.CHILD, "lp", {"x": draw(bindings(before))}, ("o0",), after)]
    target = "d" if kind == "dynamic" else draw(st.sampled_from(["t", "again", "later"]))
    return [Node(id, NodeKind.TASK, target, {"x": draw(bindings(before))}, ("o0",), after)]


@st.composite
def branches(draw, id: str, before: list[str], after: tuple[str, ...], depth: int) -> list[Node]:
    """A branch of two or three ways, with graphs in them."""
    cases, members = [], []
    for number in range(draw(st.integers(1, 3))):
        inside = [
            replace(
                node,
                id=f"{id}-{number}-{node.id}",
                within=(id, number) if node.within is None else (f"{id}-{number}-{node.within[0]}", node.within[1]),
                inputs={name: _moved(binding, f"{id}-{number}-") for name, binding in node.inputs.items()},
                after=tuple(f"{id}-{number}-{name}" for name in node.after),
                cases=tuple(_moved_case(case, f"{id}-{number}-") for case in node.cases),
            )
            for node in draw(graphs(depth + 1, 2))
        ]
        members += inside
        output = out(inside[-1].id) if inside else Constant(value(number))
        last = draw(st.booleans()) and number > 0
        left = draw(bindings(before))
        when = (
            None
            if last
            else Compare(left, draw(st.sampled_from(list(Operator))), Constant(value(draw(st.integers(-1, 5)))))
        )
        fail = draw(st.sampled_from([None, None, None, "on purpose"]))
        cases.append(Case(when, {} if fail else {"o0": output}, fail))
    return [Node(id, NodeKind.BRANCH, outputs=("o0",), cases=tuple(cases), after=after), *members]


def _moved(binding: Binding, prefix: str) -> Binding:
    if isinstance(binding, Gathered):
        return Gathered(tuple(_moved(item, prefix) for item in binding.items))
    return binding if isinstance(binding, Constant) else replace(binding, node=prefix + binding.node)


def _moved_case(case: Case, prefix: str) -> Case:
    when = case.when
    if when is not None:
        when = Compare(_moved(when.left, prefix), when.operator, when.right)
    return replace(case, when=when, outputs={name: _moved(binding, prefix) for name, binding in case.outputs.items()})


@st.composite
def programs(draw):
    """A whole program, with a policy and perhaps a handler of failures."""
    nodes = draw(graphs())
    handler = Node("clean", NodeKind.TASK, "again", {"n": input_of("n")}, ("o0",)) if draw(st.booleans()) else None
    outputs = {"o0": out(draw(st.sampled_from([node.id for node in nodes])))} if draw(st.booleans()) else {}
    return program(
        *nodes,
        outputs=outputs,
        inputs=("n",),
        tasks=TASKS,
        plans=PLANS,
        policy=draw(st.sampled_from(list(FailurePolicy))),
        on_failure=handler,
    )


# Histories ------------------------------------------------------------------------------------------------------------


@dataclass
class Story:
    """An execution, its replicas, and what was said of it."""

    play: Play
    data: st.DataObject
    held: set[tuple[str, int, int]] = field(default_factory=set)
    """(node, item, attempt) that replicas have."""
    gone: list[tuple[str, int, int]] = field(default_factory=list)
    """What they had once: late answers may come."""
    children: list[str] = field(default_factory=list)
    outcomes: dict[str, str] = field(default_factory=dict)

    def pick(self, options, label: str = ""):
        return self.data.draw(st.sampled_from(options), label)

    # What can happen --------------------------------------------------------------------------------------------------

    def can(self) -> list[str]:
        """What may happen next."""
        play = self.play
        moves = []
        if play.ready():
            moves += ["take", "take"]
        if self.held:
            moves += ["answer", "answer", "answer", "lose"]
        if self.delayed():
            moves.append("wake")
        if self.wanted():
            moves.append("child starts")
        if self.children:
            moves.append("child ends")
        if self.gates():
            moves.append("gate")
        return moves

    def delayed(self):
        nodes = self.play.execution.nodes.values()
        return [node for node in nodes if node.items and not node.ended and node.items.waiting_until() is not None]

    def wanted(self):
        return [name for name, _, _ in self.play.execution.children]

    def gates(self):
        return [name for name in self.play.execution.gates if not self.play.node(name).ended]

    def act(self, move: str, happy: bool = False) -> None:
        getattr(self, "do_" + move.replace(" ", "_"))(happy)
        self.play.check()
        self.play.replay()
        for node in self.play.execution.nodes.values():
            if node.ended:
                assert self.outcomes.setdefault(node.id, node.outcome) == node.outcome
        self.forget_what_is_cancelled()

    def do_take(self, happy: bool) -> None:
        node = self.pick(sorted(self.play.ready()), "node")
        for item in self.play.take(node, self.data.draw(st.integers(1, 4), "most")):
            call = (node, item, self.play.items(node).attempts[item])
            assert call not in self.held, "held by two replicas"
            self.held.add(call)

    def do_answer(self, happy: bool) -> None:
        node, _, _ = self.pick(sorted(self.held), "call")
        mine = sorted(call for call in self.held if call[0] == node)
        chosen = mine if happy else sorted(self.data.draw(st.sets(st.sampled_from(mine), min_size=1), "batch"))
        self._answer(node, chosen, happy)

    def _answer(self, node: str, chosen, happy: bool) -> None:
        results = [self.result(node, happy) for _ in chosen]
        self.held -= set(chosen)
        self.gone += chosen
        self.play.answer(node, [item for _, item, _ in chosen], results, [attempt for _, _, attempt in chosen])

    def result(self, node: str, happy: bool):
        if not happy:
            how = self.pick(["fine"] * 6 + ["fails", "fails", "hopeless", "cancelled", "noise"], "result")
            if how == "fails":
                return bad()
            if how == "hopeless":
                return bad(recoverable=False)
            if how == "cancelled":
                return bad(cause=Cause.CANCELLED)
            if how == "noise":
                return b"\xc1"
        if self.play.node(node).spec.target == "d" and not happy and self.pick([True, True, False], "graph"):
            nodes = self.data.draw(graphs(1, 2), "fragment")
            outputs = {"o0": out(nodes[-1].id)} if nodes else {"o0": Constant(value(0))}
            return Fragment(tuple(nodes), outputs).to_value()
        return self.pick(RESULTS, "value")

    def do_lose(self, happy: bool) -> None:
        node, item, attempt = self.pick(sorted(self.held), "lost")
        self.held.discard((node, item, attempt))
        self.gone.append((node, item, attempt))
        if self.play.items(node).runs(item, attempt):
            self.play.loses(node, item, charged=self.pick([True, False], "charged"))

    def do_wake(self, happy: bool) -> None:
        play = self.play
        play.now = max(node.items.waiting_until() for node in self.delayed())
        for node in self.delayed():
            node.items.wake(play.now)

    def do_child_starts(self, happy: bool) -> None:
        name = self.pick(self.wanted(), "child")
        self.children.append(name)
        self.play.child_starts(name)

    def do_child_ends(self, happy: bool) -> None:
        name = self.pick(self.children, "child")
        self.children.remove(name)
        outcome = Outcome.SUCCEEDED if happy else self.pick([Outcome.SUCCEEDED, Outcome.FAILED, Outcome.ABORTED], "end")
        outputs = {"o0": self.pick(RESULTS, "output")} if outcome is Outcome.SUCCEEDED else {}
        self.play.child_ends(name, outcome, **outputs)

    def do_gate(self, happy: bool) -> None:
        name = self.pick(self.gates(), "gate")
        self.play.opens(
            name, self.pick(RESULTS, "answer"), approved=happy or self.pick([True, True, False], "approved")
        )

    def do_cancel(self, happy: bool) -> None:
        self.play.cancel(self.pick([True, False], "deadline"))

    def do_late(self, happy: bool) -> None:
        """Something that was answered or lost before is answered again."""
        if not self.gone:
            return
        node, item, attempt = self.pick(self.gone, "late")
        items = self.play.items(node)
        if (node, item, attempt) not in self.held and not items.runs(item, attempt):
            before = [type(fact) for _, fact, _ in self.play.log].count(NodeEnded)
            self._answer(node, [(node, item, attempt)], happy)
            assert before == [type(fact) for _, fact, _ in self.play.log].count(NodeEnded)

    def do_restart(self, happy: bool) -> None:
        """The hub dies; the next one folds the log, and replicas say what they hold."""
        self.play.execution = again = self.play.fold()
        for node, item, attempt in sorted(self.held):
            items = again.nodes[node].items
            if items is not None and items.runs(item, attempt):
                items.hold(item)
            else:
                self.held.discard((node, item, attempt))
                self.gone.append((node, item, attempt))
        self.play.advance()

    def do_odd(self, happy: bool) -> None:
        """An outcome that belongs to no call."""
        started = [node.id for node in self.play.execution.nodes.values() if node.items is not None]
        if started:
            node = self.pick(started, "node")
            batch = columns([77], [1], [0], [value(1)])
            assert self.play.items(node).stale(batch) == (0,)

    def forget_what_is_cancelled(self) -> None:
        """Replicas that are told to cancel do so sooner or later; here the answer is drawn like any other."""
        self.play.execution.cancelled.clear()
        self.play.execution.started.clear()


EXAMPLES = int(os.environ.get("GREENROOM_TEST_EXAMPLES", "60"))
"""Raised for a long search: a thousand take about a minute."""

SETTINGS = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))


@SETTINGS
@given(compiled=programs(), data=st.data())
def test_whatever_happens_each_node_has_one_outcome_and_the_execution_one_end(compiled, data):
    """
    Invariants hold after every event, and nothing is ever stuck before the end.
    """
    story = Story(Play(compiled=compiled, given={"n": 1}), data)
    for _ in range(data.draw(st.integers(0, 25), "length")):
        moves = story.can()
        if story.play.outcome is not None:
            break
        assert moves, f"stuck: {story.play.outcomes_by_node()}"
        story.act(story.pick([*moves, *moves, "late", "odd", "restart", "cancel"], "move"))

    bound = 1000
    while story.play.outcome is None:
        moves = story.can()
        assert moves, f"stuck: {story.play.outcomes_by_node()}"
        story.act(moves[0], happy=True)
        bound -= 1
        assert bound, f"no end: {story.play.outcomes_by_node()}"

    ends = [fact for _, fact, _ in story.play.log if isinstance(fact, ExecutionEnded)]
    assert len(ends) == 1
    assert None not in story.play.outcomes_by_node().values()
    assert story.play.fold().advance() == []
    if ends[0].outcome is Outcome.SUCCEEDED:
        assert set(story.play.outcomes_by_node().values()) <= {"succeeded", "skipped"}


@SETTINGS
@given(compiled=programs(), data=st.data())
def test_without_trouble_an_execution_fails_only_by_what_its_graph_asks(compiled, data):
    """
    When every call succeeds, what fails is a part that is not there, a condition, or a case that says so.
    """
    story = Story(Play(compiled=compiled, given={"n": 1}), data)

    bound = 1000
    while story.play.outcome is None and bound:
        moves = story.can()
        assert moves, f"stuck: {story.play.outcomes_by_node()}"
        story.act(moves[0], happy=True)
        bound -= 1

    assert story.play.outcome in (Outcome.SUCCEEDED, Outcome.FAILED)
    if story.play.outcome is Outcome.FAILED:
        assert story.play.failure.cause in (Cause.INPUT, Cause.RESULT, Cause.USER)
        assert story.play.failure.message


@SETTINGS
@given(compiled=programs(), data=st.data())
def test_a_crash_between_any_two_facts_loses_nothing(compiled, data):
    """
    A log that was cut after any turn folds to a state from which the execution still comes to its one end.
    """
    story = Story(Play(compiled=compiled, given={"n": 1}), data)
    while story.play.outcome is None:
        story.act(story.can()[0], happy=True)
    log = story.play.log

    cut = data.draw(st.integers(0, len(log)), "cut")
    play = Play(compiled=compiled, given={"n": 1})
    play.log, play.rows = log[:cut], story.play.rows
    play.execution = play.fold()
    play.advance()
    later = Story(play, data)
    bound = 1000
    while play.outcome is None and bound:
        moves = later.can()
        assert moves or later_children(later), f"stuck after a cut at {cut}: {play.outcomes_by_node()}"
        if not moves:
            later.children += later_children(later)
            continue
        later.act(moves[0], happy=True)
        bound -= 1

    assert sum(isinstance(fact, ExecutionEnded) for _, fact, _ in play.log) == 1
    assert play.outcome is not None


def later_children(story: Story) -> list[str]:
    """Children that an earlier hub started and that still run."""
    nodes = story.play.execution.nodes.values()
    return [node.id for node in nodes if node.child is not None and not node.ended and node.id not in story.children]
