"""A graph while its workflow is being defined: nodes that can still change, and what their inputs come from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from greenroom.definition_errors import BadArgument, CycleFound, PromiseMisuse, TwoDefinitions, WrongPlace
from greenroom.inlining import Given, direct, inlined, merged
from greenroom_core.bindings import Binding, Gathered, Record
from greenroom_core.bindings import Promise as PromiseBinding
from greenroom_core.conditions import Both, Compare, Condition
from greenroom_core.graph import Case, FailurePolicy, GateKind, Graph, Node, NodeKind, Overrides

if TYPE_CHECKING:
    from greenroom.conditions import Comparison, Conjunction
    from greenroom.launch_plan import LaunchPlan
    from greenroom.promises import Promise
    from greenroom.task import Task

compile_at_definition = True
"""False on replicas: they run tasks, and need a workflow's graph only where a dynamic task calls it."""

_current: ContextVar[Builder | None] = ContextVar("greenroom_builder", default=None)

_ODD: Final = re.compile(r"[^A-Za-z0-9_-]+")


def current() -> Builder | None:
    """The graph that calls are added to, None where calls run."""
    return _current.get()


@contextmanager
def building(builder: Builder | None) -> Iterator[None]:
    """Add calls to this graph meanwhile; None to run them."""
    token = _current.set(builder)
    try:
        yield
    finally:
        _current.reset(token)


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list with promises in it."""

    items: tuple[Wire, ...]


@dataclass(frozen=True, slots=True)
class DictOf:
    """A dict with promises in it."""

    items: Mapping[str, Wire]


Wire: TypeAlias = "Promise | Given | ListOf | DictOf"
"""Where an input comes from, while nodes can still be renamed."""


@dataclass(frozen=True, slots=True)
class Way:
    """One case of a branch that is being defined."""

    when: Comparison | Conjunction | None
    outputs: Mapping[str, Wire] = field(default_factory=dict)
    fail: str | None = None


@dataclass(frozen=True, slots=True)
class Compiled:
    """A graph and the entities that its nodes call."""

    graph: Graph
    tasks: Mapping[str, Task[Any, Any]] = field(default_factory=dict)
    plans: Mapping[str, LaunchPlan] = field(default_factory=dict)


class Draft:
    """A node that is being defined."""

    __slots__ = (
        "after",
        "aliases",
        "body",
        "builder",
        "called",
        "concurrency",
        "gate",
        "id",
        "inputs",
        "kind",
        "line",
        "min_success_ratio",
        "min_successes",
        "named",
        "outputs",
        "over",
        "overrides",
        "target",
        "ways",
        "within",
    )

    def __init__(
        self,
        builder: Builder,
        kind: NodeKind,
        name: str,
        *,
        line: str,
        target: Task[Any, Any] | LaunchPlan | None = None,
        inputs: Mapping[str, Wire] | None = None,
        outputs: Iterable[str] = (),
        body: Compiled | None = None,
        gate: GateKind | None = None,
        called: Any = None,
    ) -> None:
        self.builder = builder
        self.kind = kind
        self.id = builder.take_id(name)
        self.line = line
        self.target = target
        self.called = called if called is not None else target
        """What its author called: for a map or a sub-workflow something else than what the node runs."""
        self.named = False
        """Whether its id is the author's choice."""
        self.inputs = dict(inputs or {})
        self.outputs = tuple(outputs)
        self.body = body
        """Of a sub-workflow: its graph."""
        self.gate = gate
        self.after: list[Draft] = []
        self.aliases: dict[str, str] = {}
        """Other names of its outputs, for who holds its `Node`."""
        self.over: tuple[str, ...] = ()
        self.concurrency: int | None = None
        self.min_successes: int | None = None
        self.min_success_ratio = 1.0
        self.ways: list[Way] = []
        self.within: tuple[Draft, int] | None = None
        self.overrides = Overrides()

    def rename(self, name: str) -> None:
        """Give the node an id of the user's choice."""
        self.builder.release(self.id)
        self.named = True
        self.id = self.builder.take_id(name, exactly=True)

    def wait_for(self, other: Draft) -> None:
        """Let `other` end before this one starts."""
        if other.builder is not self.builder:
            raise WrongPlace(f"{other.id} >> {self.id}: they belong to different workflows", "order nodes of one").at(
                self.line
            )
        if other not in self.after:
            self.after.append(other)


class Builder:
    """The graph of one workflow (or of one run of a dynamic task), while its body runs."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.drafts: list[Draft] = []
        self.failure_handler: Draft | None = None
        self._ids: dict[str, int] = {}

    # Nodes ----------------------------------------------------------------------------------------------------------

    def take_id(self, name: str, *, exactly: bool = False) -> str:
        """An id that no node has: the name, numbered from its second use on."""
        base = _ODD.sub("-", name).strip("-") or "node"
        if base not in self._ids:
            self._ids[base] = 1
            return base
        if exactly:
            raise BadArgument("with_overrides", "node_name", name, "a name that no other node of the workflow has")
        while True:
            self._ids[base] += 1
            numbered = f"{base}-{self._ids[base]}"
            if numbered not in self._ids:
                self._ids[numbered] = 1
                return numbered

    def release(self, node_id: str) -> None:
        """Let go of an id that was taken for a node which got another."""
        self._ids.pop(node_id, None)

    def add(self, draft: Draft) -> Draft:
        """Add a node."""
        self.drafts.append(draft)
        return draft

    def inside(self, first: int, branch: Draft, case: int) -> None:
        """Say that the nodes from number `first` on belong to a case of a branch, unless to one of an inner branch."""
        for draft in self.drafts[first:]:
            if draft.within is None and draft is not branch:
                draft.within = (branch, case)

    # Finishing ------------------------------------------------------------------------------------------------------

    def finish(
        self,
        inputs: Iterable[str] = (),
        outputs: Mapping[str, Wire] | None = None,
        policy: FailurePolicy = FailurePolicy.FAIL_IMMEDIATELY,
        interruptible: bool | None = None,
    ) -> Compiled:
        """The graph, once nothing of it changes any more.

        Raises:
            CycleFound: Nodes wait for each other.
            TwoDefinitions: Two different tasks, or plans, have one name.
        """
        entities = Entities()
        nodes: list[Node] = []
        for draft in self.drafts:
            nodes.extend(self._nodes(draft, entities, interruptible))
        handler = None
        if self.failure_handler is not None:
            (handler,) = self._nodes(self.failure_handler, entities, interruptible)
        made = {name: self.bind(wire) for name, wire in (outputs or {}).items()}
        graph = Graph(tuple(nodes), made, tuple(inputs), policy, handler)
        self._check_order(graph)
        return Compiled(graph, entities.tasks, entities.plans)

    def _nodes(self, draft: Draft, entities: Entities, interruptible: bool | None) -> list[Node]:
        if draft.kind is NodeKind.GROUP:
            return self._group(draft, entities)
        target = entities.add(draft.target, draft.line) if draft.target is not None else ""
        overrides = draft.overrides
        if interruptible is not None and draft.kind in (NodeKind.TASK, NodeKind.MAP):
            overrides = merged(Overrides(interruptible=interruptible), overrides)
        node = Node(
            id=draft.id,
            kind=draft.kind,
            target=target,
            inputs={name: self.bind(wire) for name, wire in draft.inputs.items()},
            outputs=draft.outputs,
            after=tuple(other.id for other in (*draft.after, *_handed_in(draft))),
            over=draft.over,
            concurrency=draft.concurrency,
            min_successes=draft.min_successes,
            min_success_ratio=draft.min_success_ratio,
            cases=tuple(self._case(way) for way in draft.ways),
            within=None if draft.within is None else (draft.within[0].id, draft.within[1]),
            gate=draft.gate,
            overrides=overrides,
            line=draft.line,
        )
        return [node]

    def _group(self, draft: Draft, entities: Entities) -> list[Node]:
        assert draft.body is not None
        entities.merge(draft.body, draft.line)
        after = tuple(other.id for other in draft.after)
        within = None if draft.within is None else (draft.within[0].id, draft.within[1])
        bound = {name: self.bind(wire) for name, wire in draft.inputs.items()}
        nodes, outputs = inlined(draft.body.graph, draft.id, bound, after, within, draft.overrides)
        members = tuple(f"{draft.id}.{name}" for name in direct(draft.body.graph))
        end = Node(
            id=draft.id,
            kind=NodeKind.GROUP,
            inputs=outputs,
            outputs=draft.outputs,
            after=(*after, *members),
            within=within,
            line=draft.line,
        )
        return [*nodes, end]

    def _case(self, way: Way) -> Case:
        when = None if way.when is None else self.condition(way.when)
        return Case(when, {name: self.bind(wire) for name, wire in way.outputs.items()}, way.fail)

    def condition(self, when: Comparison | Conjunction) -> Condition:
        """A condition in the graph's terms."""
        from greenroom.conditions import Conjunction

        if isinstance(when, Conjunction):
            return Both(self.condition(when.left), when.join, self.condition(when.right))
        return Compare(self.bind(when.left), when.operator, self.bind(when.right))

    def bind(self, wire: Wire) -> Binding:
        """Where an input comes from, in the graph's terms."""
        if isinstance(wire, Given):
            return wire.as_binding()
        if isinstance(wire, ListOf):
            return Gathered(tuple(self.bind(item) for item in wire.items))
        if isinstance(wire, DictOf):
            return Record({name: self.bind(item) for name, item in wire.items.items()})
        draft = wire._draft
        return PromiseBinding("" if draft is None else draft.id, wire._output, wire._path)

    def own(self, promise: Promise, line: str) -> None:
        """Refuse a promise of another workflow.

        Raises:
            PromiseMisuse: It is one.
        """
        if promise._builder is not self:
            raise PromiseMisuse(
                repr(promise),
                f"it belongs to {promise._builder.name}, and is used in {self.name}",
                f"make it an input of {self.name}",
            ).at(line)

    def _check_order(self, graph: Graph) -> None:
        # What is called later cannot be needed earlier, so only `>>` (and conditions on what stands in them) can close
        # a circle; without either there is nothing to look for.
        if not any(draft.after or draft.ways for draft in self.drafts):
            return
        circle = find_circle({node.id: tuple(node.upstream()) for node in graph.nodes})
        if circle:
            lines = {node.id: node.line for node in graph.nodes}
            raise CycleFound(self.name, circle).at(lines[circle[0]])


def _handed_in(branch: Draft) -> list[Draft]:
    """Nodes outside of a branch whose outputs its ways hand on: it can choose only when they have ended."""
    found: dict[Draft, None] = {}
    for way in branch.ways:
        for wire in way.outputs.values():
            for draft in _sources(wire):
                if not _is_inside(draft, branch) and draft not in branch.after:
                    found[draft] = None
    return list(found)


def _sources(wire: Wire) -> Iterator[Draft]:
    if isinstance(wire, ListOf):
        for item in wire.items:
            yield from _sources(item)
    elif isinstance(wire, DictOf):
        for item in wire.items.values():
            yield from _sources(item)
    elif not isinstance(wire, Given) and wire._draft is not None:
        yield wire._draft


def _is_inside(draft: Draft, branch: Draft) -> bool:
    within = draft.within
    while within is not None:
        if within[0] is branch:
            return True
        within = within[0].within
    return False


def find_circle(waits: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Names that wait for each other in a circle, each for the next; empty if there is none."""
    done: set[str] = set()
    for start in waits:
        if start in done:
            continue
        way: list[str] = []
        places: dict[str, int] = {}
        stack = [(start, iter(waits[start]))]
        places[start] = 0
        way.append(start)
        while stack:
            name, rest = stack[-1]
            before = next((other for other in rest if other not in done and other in waits), None)
            if before is None:
                stack.pop()
                done.add(name)
                del places[way.pop()]
            elif before in places:
                return way[places[before] :]
            else:
                places[before] = len(way)
                way.append(before)
                stack.append((before, iter(waits[before])))
    return []


class Entities:
    """The tasks and plans of one graph, by the names that nodes call them."""

    def __init__(self) -> None:
        self.tasks: dict[str, Task[Any, Any]] = {}
        self.plans: dict[str, LaunchPlan] = {}

    def add(self, entity: Task[Any, Any] | LaunchPlan, line: str) -> str:
        """Take an entity in; answers the name that nodes call it by.

        Raises:
            TwoDefinitions: A different one of the same name is there.
        """
        from greenroom.task import Task

        if isinstance(entity, Task):
            known = self.tasks.setdefault(entity.key, entity)
            if known is not entity and not known.same_text(entity):
                raise TwoDefinitions("tasks", entity.key, (known.line, entity.line)).at(line)
            return entity.key
        plan = self.plans.setdefault(entity.name, entity)
        if plan is not entity and plan.workflow is not entity.workflow:
            raise TwoDefinitions("launch plans", entity.name, ()).at(line)
        return entity.name

    def merge(self, compiled: Compiled, line: str) -> None:
        """Take in what a sub-workflow's nodes call."""
        for task in compiled.tasks.values():
            self.add(task, line)
        for plan in compiled.plans.values():
            self.add(plan, line)


def resized(overrides: Overrides, **changes: Any) -> Overrides:
    """Overrides with those that are given in place of the old ones."""
    return replace(overrides, **{name: value for name, value in changes.items() if value is not None})
