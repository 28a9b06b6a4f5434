"""`create_node`: a call as a node in the hand, for its order and its outputs by name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from greenroom import building
from greenroom.building import Draft
from greenroom.definition_errors import BadArgument, WrongPlace
from greenroom.lines import caller
from greenroom.promises import Chained, Outputs, Promise


class Node(Chained):
    """One call in a workflow. Its outputs are attributes: `node.o0`, or by the names of a NamedTuple.

    Attributes:
        id: The node's id.
        outputs: Its promises by their names.
    """

    def __init__(self, draft: Draft, promises: Any) -> None:
        self._draft = draft
        if isinstance(promises, Outputs):
            self.outputs = promises._asdict()
        elif isinstance(promises, Promise):
            self.outputs = {promises._output: promises}
        else:
            self.outputs = {}

    @property
    def id(self) -> str:
        """The node's id."""
        return self._draft.id

    @property
    def entity(self) -> object:
        """What it calls."""
        return self._draft.target

    def __getattr__(self, name: str) -> Promise:
        if name.startswith("__"):
            raise AttributeError(name)
        named = {alias: output for output, alias in self._draft.aliases.items()}
        output = named.get(name, name)
        if output not in self.outputs:
            raise AttributeError(f"node {self.id} has the outputs {', '.join(self.outputs) or 'none'}, not {name!r}")
        return self.outputs[output]

    def _drafts(self) -> Iterator[Draft]:
        yield self._draft

    def __repr__(self) -> str:
        return f"<Node {self.id}>"


def create_node(entity: Any, *args: object, **kwargs: object) -> Node:
    """Call a task, workflow, launch plan or map in a workflow, and get the node.

    Args:
        entity: What is called.
        *args: Its inputs, by position.
        **kwargs: Its inputs, by name.

    Raises:
        WrongPlace: No workflow is being defined.
        BadArgument: The entity cannot be called in a workflow.
    """
    line = caller()
    builder = building.current()
    if builder is None:
        raise WrongPlace("create_node outside of a workflow", "call it in the body of a @workflow").at(line)
    if not hasattr(type(entity), "node"):
        raise BadArgument("create_node", "entity", entity, "a task, workflow, launch plan or map").at(line)
    return Node(*entity.node(builder, args, kwargs, line))
