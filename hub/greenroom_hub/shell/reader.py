"""What the pure parts may read beside their state: outcomes by row, blobs, maps' results of other executions."""

from __future__ import annotations

import mmap
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from greenroom_core.facts import CallsCached, CallsFinished, unpack_fact
from greenroom_core.lists import ListSource
from greenroom_core.values import ValueFault
from greenroom_hub.store.store import Store
from greenroom_protocol.calls import Outcomes

_KEPT_ROWS = 2048
_KEPT_BLOBS = 64


class StoreReader:
    """Reads through small caches; everything behind it is immutable, so that nothing goes stale.

    Args:
        store: The log.
        blobs: The hub's blob folder.
        manifest: Finds the results of a map, of a live or of an ended execution.
        on_disk: The last row that is on disk; what came after it is read from nowhere but here.
    """

    def __init__(
        self,
        store: Store,
        blobs: Path,
        manifest: Callable[[str, str, str], ListSource],
        on_disk: Callable[[], int],
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._manifest = manifest
        self._on_disk = on_disk
        self._rows: OrderedDict[int, Outcomes] = OrderedDict()
        self._maps: OrderedDict[str, memoryview] = OrderedDict()

    def keep(self, row: int, outcomes: Outcomes) -> None:
        """A row that was just recorded: it can be read before it is on disk."""
        self._rows[row] = outcomes
        while len(self._rows) > _KEPT_ROWS and next(iter(self._rows)) <= self._on_disk():
            self._rows.popitem(last=False)

    def outcomes(self, row: int) -> Outcomes:
        """The columns of a row."""
        found = self._rows.get(row)
        if found is None:
            stored = self._store.row(row)
            if stored is None:
                raise ValueFault(f"row {row} of the log is gone: the execution that it belongs to was dropped")
            fact = unpack_fact(stored.kind, stored.data)
            if not isinstance(fact, (CallsFinished, CallsCached)):
                raise ValueFault(f"row {row} of the log holds no outcomes")
            found = fact.outcomes
            self.keep(row, found)
        return found

    def blob(self, sha256: str) -> memoryview:
        """A blob, mapped into memory."""
        view = self._maps.get(sha256)
        if view is None:
            path = self._blobs / sha256[:2] / sha256
            try:
                with path.open("rb") as file:
                    view = memoryview(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ))
            except (OSError, ValueError) as fault:
                raise ValueFault(f"blob {sha256} is not here: {fault}") from fault
            self._maps[sha256] = view
            if len(self._maps) > _KEPT_BLOBS:
                self._maps.popitem(last=False)
        return view

    def manifest(self, execution: str, node: str, output: str) -> ListSource:
        """The results of a map."""
        return self._manifest(execution, node, output)
