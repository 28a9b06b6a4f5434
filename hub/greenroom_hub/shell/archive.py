"""Ended executions: folded again from the log when somebody asks for them, and kept for a while."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from greenroom_core.execution import Execution
from greenroom_core.facts import ExecutionSubmitted, unpack_fact
from greenroom_core.lists import ListSource, Reader
from greenroom_core.program import Program
from greenroom_core.values import ValueFault
from greenroom_hub.core.run import Run
from greenroom_hub.store.store import Store

_KEPT_ITEMS = 4_000_000
"""Calls of ended executions that stay in memory, about 12 bytes each."""

_KEPT_EXECUTIONS = 256


class Archive:
    """Executions by id, live or ended."""

    def __init__(self, store: Store, runs: dict[str, Run], programs: dict[str, Program]) -> None:
        self._store = store
        self._runs = runs
        self._programs = programs
        self._kept: OrderedDict[str, Execution] = OrderedDict()
        self._items = 0
        self.leaving: set[str] = set()
        """Programs that are about to be gone from the store: whoever needs one sends it again."""
        self.reader: Reader | None = None

    def keep(self, execution: Execution) -> None:
        """An execution has just ended: somebody will want its results."""
        if execution.id in self._kept:
            return
        self._kept[execution.id] = execution
        self._items += _size(execution)
        while len(self._kept) > 1 and (len(self._kept) > _KEPT_EXECUTIONS or self._items > _KEPT_ITEMS):
            _, dropped = self._kept.popitem(last=False)
            self._items -= _size(dropped)

    def forget(self, names: Iterable[str]) -> None:
        """These executions are dropped."""
        for name in names:
            dropped = self._kept.pop(name, None)
            if dropped is not None:
                self._items -= _size(dropped)

    def get(self, name: str) -> Execution | None:
        """An execution in the state that its log says; None if there is none of this id."""
        run = self._runs.get(name)
        if run is not None:
            return run.execution
        kept = self._kept.get(name)
        if kept is None:
            kept = self._fold(name)
            if kept is not None:
                self.keep(kept)
        return kept

    def earlier(self, name: str) -> Execution | None:
        """An execution that is repeated; None if it, or its program, is not here any more."""
        try:
            return self.get(name)
        except ValueFault:
            return None

    def _fold(self, name: str) -> Execution | None:
        execution: Execution | None = None
        after = 0
        while rows := self._store.read(name, after, 1000):
            for row in rows:
                fact = unpack_fact(row.kind, row.data)
                if isinstance(fact, ExecutionSubmitted):
                    assert self.reader is not None
                    execution = Execution(fact, self.program(fact.submission.program), self.reader)
                if execution is not None:
                    execution.apply(fact, row.position, row.at_ms)
            after = rows[-1].seq
        return execution

    def program(self, digest: str) -> Program:
        """A program by its digest.

        Raises:
            ValueFault: The store does not have it.
        """
        program = self._programs.get(digest)
        if program is None:
            packed = self._store.program(digest) if digest not in self.leaving else None
            if packed is None:
                raise ValueFault(f"program {digest} is not in the store")
            program = self._programs[digest] = Program.unpack(packed)
        return program

    def find_program(self, digest: str) -> Program | None:
        """A program by its digest; None if it is not in the store."""
        try:
            return self.program(digest)
        except ValueFault:
            return None

    def manifest(self, execution: str, node: str, output: str) -> ListSource:
        """The results of a map of any execution.

        Raises:
            ValueFault: There is no such map.
        """
        found = self.get(execution)
        if found is None or node not in found.nodes or found.nodes[node].items is None:
            raise ValueFault(f"{execution}/{node} has no results here: was the execution dropped?")
        return found.results(node, output)


def _size(execution: Execution) -> int:
    return sum(node.items.n for node in execution.nodes.values() if node.items is not None)
