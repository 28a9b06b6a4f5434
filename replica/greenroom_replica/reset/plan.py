"""A bundle's snapshot: the nodes of its modules, and which of the dirty ones were dear to make."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

from greenroom_replica.reset.nodes import NamespaceNode, Node
from greenroom_replica.reset.objects import MISSING
from greenroom_replica.reset.opaque import Opaque, size_of_buffer
from greenroom_replica.reset.report import Costly, Report
from greenroom_replica.reset.special import LruNode
from greenroom_replica.reset.usercode import Territory
from greenroom_replica.reset.walk import Walk
from greenroom_replica.reset.watch import Watched

LARGE = 16 * 1024 * 1024
"""Bytes; a dropped value of this size is worth a word."""

LONG = 0.3
"""Seconds; an object that was made in a call of this length, where there was None or nothing, is worth a word."""

_MOST_WEIGHED = 20_000

_CHEAP = frozenset({int, float, complex, str, bytes, bool, type(None), list, tuple, set, frozenset, dict})
_NEVER = frozenset({ModuleType, FunctionType, BuiltinFunctionType, type})


class Bundle:
    """What is kept of one bundle: nodes, process baseline, what was said."""

    def __init__(self, name: str, territory: Territory) -> None:
        self.name = name
        self.baseline: dict[str, dict[str, Any]] | None = None
        self._walk = Walk(territory)
        self._territory = territory
        self._said: set[str] = set()
        self._spaces: set[int] = set()

    @property
    def nodes(self) -> list[Node]:
        """Everything of the user's that holds state."""
        return self._walk.nodes

    def adopt(self, name: str, space: dict[str, Any]) -> list[Node]:
        """Take a snapshot of a module; return the nodes that are new."""
        first = len(self.nodes)
        if id(space) not in self._spaces:
            self._spaces.add(id(space))
            self._territory.add(name, space)
            self._walk.module(name, space)
        return self.nodes[first:]

    def adopt_value(self, value: object, name: str) -> list[Node]:
        """Take a snapshot of what no module holds, such as the value of a context variable."""
        first = len(self.nodes)
        self._walk.root(value, name)
        return self.nodes[first:]

    def take_opaque(self) -> list[Opaque]:
        """Hand over what cannot be checked, once."""
        found, self._walk.opaque = self._walk.opaque, []
        return found

    def restore(self, dirty: list[Watched], report: Report, seconds: float, grown: int) -> None:
        """Put back the nodes that changed; a node that cannot be put back retires the runner.

        Args:
            dirty: Nodes that look changed.
            report: Where to name them.
            seconds: How long the call took, for those that may have been dear to make; 0 to leave that out.
            grown: By how many bytes the process grew in the call.
        """
        nodes: Iterator[Any] = iter(dirty)
        node: Any = None
        while True:
            try:
                for node in nodes:
                    if seconds and node.changed():
                        self._weigh(node, report, seconds, grown)
                    names = node.settle()
                    if names and not node.silent:
                        report.restored += names
                return
            except Exception as error:
                what = f"{node.name} ({type(error).__name__}: {error})"
                report.sentences.append(f"a reset could not put back {what}; this runner is replaced")
                report.must_retire(f"{node.name} could not be put back")

    def _weigh(self, node: Node, report: Report, seconds: float, grown: int) -> None:
        """Note what restoring a node drops that was dear to make: once per name."""
        for label, value in node.drops():
            name = f"{node.name}{label}"
            if name in self._said or type(value) in _NEVER:
                continue
            size = weigh(value)
            if size < LARGE <= grown and type(value) not in _CHEAP:
                size = grown  # A model that lives outside Python's memory: the process grew by it.
            if size >= LARGE or (seconds >= LONG and self._was_made(node, label, value)):
                self._said.add(name)
                report.costly.append(Costly(name, size, seconds))

    def _was_made(self, node: Node, label: str, value: object) -> bool:
        """Tell whether an object stands where there was none: the pattern of loading on first use."""
        if isinstance(node, LruNode):
            return True
        if type(value) in _CHEAP or isinstance(value, type) or callable(getattr(value, "__code__", None)):
            return False
        if not isinstance(node, NamespaceNode):
            return isinstance(node.saved, dict)
        return node.saved.get(label[1:], MISSING) in (None, MISSING) if label[1:] in node.saved else True


def weigh(value: object) -> int:
    """Measure an object and what it alone refers to, in bytes, looking at a bounded number of objects."""
    if type(value) in (int, float, bool, type(None)):
        return 0
    seen: set[int] = set()
    stack, total = [value], 0
    while stack and len(seen) < _MOST_WEIGHED:
        item = stack.pop()
        if id(item) in seen or isinstance(item, type) or type(item).__name__ in ("module", "function", "frame"):
            continue
        seen.add(id(item))
        total += size_of_buffer(item) or sys.getsizeof(item, 0)
        stack += gc.get_referents(item)
    return total
