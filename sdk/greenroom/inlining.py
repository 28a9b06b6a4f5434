"""Graphs within graphs: a sub-workflow's nodes in its parent, and constants encoded where a program is made.

While a program is being defined, constants stand in its graphs as `Given`: the Python object with its codec, encoded
when the program is compiled (a file constant is hashed for a submission, not for an import). It never leaves the SDK.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from greenroom.errors import NoSuchPart
from greenroom_core.bindings import Binding, Constant, Gathered, Promise, Record
from greenroom_core.conditions import Both, Compare, Condition
from greenroom_core.graph import Case, Graph, Node, NodeKind, Overrides
from greenroom_core.values import Path, Value, ValueFault, access

if TYPE_CHECKING:
    from greenroom.blobs import BlobStore
    from greenroom.types.codec import Codec


@dataclass(frozen=True, eq=False, slots=True)
class Given:
    """A constant that is not encoded yet, or a part of one."""

    value: object
    codec: Codec
    path: Path = ()

    def encode(self, store: BlobStore) -> Value:
        """The constant as a program carries it.

        Raises:
            NoSuchPart: It has not the part that a sub-workflow asks for.
        """
        value = self.codec.encode(self.value, store)
        try:
            return access(value, self.path) if self.path else value
        except ValueFault as fault:
            raise NoSuchPart(f"{self.value!r}, given to a sub-workflow,", self.path[0], str(fault)) from None

    def as_binding(self) -> Binding:
        """Itself, where a binding is asked for."""
        return cast("Binding", self)


Change = Callable[[Binding], Binding]
"""What becomes of the leaves of bindings: promises, constants, `Given`."""


def mapped(binding: Binding, change: Change) -> Binding:
    """A binding with its leaves changed."""
    if isinstance(binding, Gathered):
        return Gathered(tuple(mapped(item, change) for item in binding.items))
    if isinstance(binding, Record):
        return Record({name: mapped(item, change) for name, item in binding.items.items()})
    return change(binding)


def mapped_condition(condition: Condition, change: Change) -> Condition:
    """A condition with the leaves of its sides changed."""
    if isinstance(condition, Both):
        left, right = mapped_condition(condition.left, change), mapped_condition(condition.right, change)
        return Both(left, condition.join, right)
    return Compare(mapped(condition.left, change), condition.operator, mapped(condition.right, change))


def mapped_all(bindings: Mapping[str, Binding], change: Change) -> dict[str, Binding]:
    """Bindings with their leaves changed."""
    return {name: mapped(binding, change) for name, binding in bindings.items()}


def mapped_case(case: Case, change: Change) -> Case:
    """A case with the leaves of its bindings changed."""
    when = None if case.when is None else mapped_condition(case.when, change)
    return replace(case, when=when, outputs=mapped_all(case.outputs, change))


def mapped_node(node: Node, change: Change) -> Node:
    """A node with the leaves of its bindings changed."""
    cases = tuple(mapped_case(case, change) for case in node.cases) if node.cases else ()
    return replace(node, inputs=mapped_all(node.inputs, change), cases=cases)


def encoded(graph: Graph, encode: Callable[[Given], bytes]) -> Graph:
    """A graph with every `Given` turned into a constant."""

    def change(binding: Binding) -> Binding:
        leaf = cast("Binding | Given", binding)
        return Constant(encode(leaf)) if isinstance(leaf, Given) else leaf

    nodes = tuple(mapped_node(node, change) for node in graph.nodes)
    on_failure = mapped_node(graph.on_failure, change) if graph.on_failure is not None else None
    return replace(graph, nodes=nodes, outputs=mapped_all(graph.outputs, change), on_failure=on_failure)


def part_of(binding: Binding, path: Path) -> Binding:
    """The part of a binding that a path leads to, as far as it is known now."""
    for depth, step in enumerate(path):
        rest = path[depth:]
        leaf = cast("Binding | Given", binding)
        if isinstance(leaf, Promise):
            return replace(leaf, path=(*leaf.path, *rest))
        if isinstance(leaf, Given):
            return replace(leaf, path=(*leaf.path, *rest)).as_binding()
        if isinstance(leaf, Constant):
            return Constant(access(leaf.value, rest))
        binding = leaf.items[step]  # type: ignore[index]
    return binding


def inlined(
    graph: Graph,
    prefix: str,
    inputs: Mapping[str, Binding],
    after: tuple[str, ...],
    within: tuple[str, int] | None,
    overrides: Overrides,
) -> tuple[list[Node], dict[str, Binding]]:
    """The nodes of a sub-workflow in its parent's graph, and where its outputs come from there.

    Args:
        graph: The sub-workflow's.
        prefix: Id of the node that stands for it; `prefix.` comes before the ids of its nodes.
        inputs: What it is called with.
        after: Nodes of the parent that must end before any of its nodes starts.
        within: The parent's branch and case that the call stands in.
        overrides: What the call wants otherwise; a node's own come first.
    """

    def change(binding: Binding) -> Binding:
        if not isinstance(binding, Promise):
            return binding
        if binding.node == "":
            return part_of(inputs[binding.output], binding.path)
        return replace(binding, node=f"{prefix}.{binding.node}")

    nodes = []
    for node in graph.nodes:
        moved = mapped_node(node, change)
        own = tuple(f"{prefix}.{name}" for name in node.after)
        first = not any(True for _ in node.upstream())
        nodes.append(
            replace(
                moved,
                id=f"{prefix}.{node.id}",
                after=(*own, *after) if first else own,
                within=within if node.within is None else (f"{prefix}.{node.within[0]}", node.within[1]),
                overrides=merged(overrides, node.overrides) if node.kind in _CALLS else node.overrides,
            )
        )
    return nodes, mapped_all(graph.outputs, change)


_CALLS = frozenset({NodeKind.TASK, NodeKind.MAP, NodeKind.CHILD})


def merged(outer: Overrides, inner: Overrides) -> Overrides:
    """Overrides of which the inner come first."""
    if outer == _NOTHING:
        return inner
    return Overrides(*(_first(name, inner, outer) for name in Overrides.__slots__))


def _first(name: str, *sources: Overrides) -> Any:
    return next((value for source in sources if (value := getattr(source, name)) is not None), None)


_NOTHING = Overrides()


def direct(graph: Graph) -> Iterator[str]:
    """Ids of a graph's own nodes, without those inside its sub-workflows, for which their groups stand."""
    return (node.id for node in graph.nodes if "." not in node.id)
