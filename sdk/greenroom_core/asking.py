"""Calls that a running call makes: graphs that join its execution, and whose end the call hears of.

What fails in such a graph fails its question alone: the graph's other nodes are not run any more, and whether the
execution fails is for the call that asked to say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from greenroom_core import facts as f
from greenroom_core.bindings import Binding, Promise
from greenroom_core.facts import Outcome
from greenroom_core.failure import Cause, Failure
from greenroom_core.following import UNREADABLE
from greenroom_core.fragments import Fragment
from greenroom_core.mapping import ABORTED, FAILED, SUCCEEDED
from greenroom_core.wire import WireFault
from greenroom_protocol.calls import Status

if TYPE_CHECKING:
    from greenroom_core.execution import Execution
    from greenroom_core.noderun import NodeRun

_ENDED = frozenset({SUCCEEDED, FAILED, ABORTED})


@dataclass(slots=True)
class Ask:
    """One question of a call."""

    name: str
    node: str
    item: int
    key: str
    attempt: int
    outputs: Mapping[str, Binding]
    open: int
    """Of its own nodes, those that have not ended."""
    stopping: Outcome | None = None
    """Set once the rest of it is not run any more: what its nodes become that have not ended."""
    failed: f.NodeEnded | None = None
    """The first of its nodes that did not succeed."""

    @property
    def owner(self) -> str:
        """What its nodes say that they were made by: no node's id, though a node may stand under the same name."""
        return f"{self.name}?"


@dataclass(slots=True)
class Asks:
    """The questions of an execution."""

    by_name: dict[str, Ask] = field(default_factory=dict)
    by_owner: dict[str, Ask] = field(default_factory=dict)
    by_call: dict[tuple[str, int], dict[str, Ask]] = field(default_factory=dict)
    """By node and item: the latest of each key."""
    of_node: dict[str, list[Ask]] = field(default_factory=dict)
    answered: list[str] = field(default_factory=list)
    """Questions whose answer has become known: the driver takes them."""

    def find(self, node: str, item: int, key: str) -> Ask | None:
        """What a call has asked already."""
        return self.by_call.get((node, item), {}).get(key)


def read(run: Execution, fact: f.CallAsked) -> Fragment:
    """The graph of a question, with ids and keys that are free in the execution.

    Raises:
        ValueFault: The bytes are no graph.
        WireFault: The graph cannot run.
    """
    fragment = _placed(Fragment.read(fact.body), fact.name).beside(run.environments)
    tasks, environments = {**run.tasks, **fragment.tasks}, {**run.environments, **fragment.environments}
    fragment.check(tasks, environments, {**run.plans, **fragment.plans}, ())
    for taken in (spec.id for spec in fragment.nodes if spec.id in run.nodes):
        raise WireFault(f"two nodes are called {taken!r}")
    return fragment


def _placed(fragment: Fragment, name: str) -> Fragment:
    """The graph behind a name; a graph of one node stands there itself."""
    if not _is_single(fragment):
        return fragment.within(name)
    outputs = {key: replace(one, node=name) for key, one in fragment.outputs.items() if isinstance(one, Promise)}
    return replace(fragment, nodes=(replace(fragment.nodes[0], id=name),), outputs=outputs)


def _is_single(fragment: Fragment) -> bool:
    return len(fragment.nodes) == 1 and all(
        isinstance(one, Promise) and one.node == fragment.nodes[0].id for one in fragment.outputs.values()
    )


def name_for(run: Execution, node: NodeRun, item: int, body: bytes) -> str:
    """A free name for what a call asks: behind the call, after what is called.

    Raises:
        ValueFault: The bytes are no graph.
    """
    fragment = Fragment.read(body)
    called = fragment.nodes[-1].id if fragment.nodes else "nothing"
    place = f"{node.id}.{item}.{called}" if node.items is not None and node.items.n > 1 else f"{node.id}.{called}"
    name, number = place, 2
    while name in run.asks.by_name or name in run.nodes:
        name, number = f"{place}-{number}", number + 1
    return name


def fold(run: Execution, fact: f.CallAsked) -> None:
    """A question's nodes join the execution."""
    fragment = read(run, fact)
    run.tasks, run.plans = {**run.tasks, **fragment.tasks}, {**run.plans, **fragment.plans}
    run.environments = {**run.environments, **fragment.environments}
    ask = Ask(fact.name, fact.node, fact.item, fact.key, fact.attempt, fragment.outputs, len(fragment.nodes))
    asks = run.asks
    asks.by_name[ask.name] = asks.by_owner[ask.owner] = ask
    asks.by_call.setdefault((fact.node, fact.item), {})[fact.key] = ask
    asks.of_node.setdefault(fact.node, []).append(ask)
    run.join(fragment.nodes, ask.owner)
    if not ask.open:
        asks.answered.append(ask.name)


def of(run: Execution, node: NodeRun) -> Ask | None:
    """The question that a node belongs to, directly or through the nodes that made it; None for none."""
    owner = node.owner
    while owner:
        ask = run.asks.by_owner.get(owner)
        if ask is not None:
            return ask
        owner = run.nodes[owner].owner
    return None


def member_ended(run: Execution, ask: Ask) -> None:
    """One of the nodes of a question has ended."""
    ask.open -= 1
    if ask.open == 0:
        run.asks.answered.append(ask.name)


def failed(run: Execution, ask: Ask, fact: f.NodeEnded) -> None:
    """A node of a question did not succeed: the others are not run any more."""
    if ask.failed is None:
        ask.failed = fact
    stop(run, ask, Outcome.ABORTED)


def settle(run: Execution, node: NodeRun) -> None:
    """Calls of a node have ended: what they asked and did not wait for ends too."""
    for ask in run.asks.of_node.get(node.id, ()):
        over = node.ended or node.items is None or node.items.states[ask.item] in _ENDED
        if over and ask.open:
            stop(run, ask, Outcome.ABORTED)


def stop(run: Execution, ask: Ask, outcome: Outcome) -> None:
    """What is left of a question is not run any more."""
    if ask.stopping is not None or not ask.open:
        return
    ask.stopping = outcome
    run.stop_nodes(list(_below(run, ask)))


def _below(run: Execution, ask: Ask) -> Iterator[NodeRun]:
    """All nodes that a question has led to."""
    waiting = [ask.owner]
    while waiting:
        for name in run.owned.get(waiting.pop(), ()):
            yield run.nodes[name]
            waiting.append(name)
            waiting.extend(inner.owner for inner in run.asks.of_node.get(name, ()))


def answer(run: Execution, ask: Ask) -> tuple[Status, bytes]:
    """What became of a question whose nodes have all ended: its outputs' values, or a packed failure."""
    if ask.failed is None and ask.stopping is None:
        try:
            return Status.SUCCEEDED, b"".join(run.resolve(binding) for binding in ask.outputs.values())
        except UNREADABLE as fault:
            return Status.FAILED, Failure(Cause.RESULT, "OutputError", f"{ask.name}: {fault}").pack()
    told: Mapping[str, Any] = ask.failed.failure if ask.failed is not None and ask.failed.failure else {}
    failure = Failure.from_wire(told) if told else Failure(Cause.CANCELLED, "Cancelled", f"{ask.name} was cancelled")
    where = ask.failed.node if ask.failed is not None else ask.name
    return Status.FAILED, replace(failure, details={**failure.details, "node": where}).pack()


def failed_already(run: Execution, ask: Ask) -> bool:
    """Whether a question has an answer that is no success."""
    return not ask.open and (ask.failed is not None or ask.stopping is not None)
