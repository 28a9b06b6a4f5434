"""One run of a loader on a replica: measured, watched, and owner of what it makes."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

from greenroom.caching.entry import Entry
from greenroom.caching.store import Attempt
from greenroom_replica.cache_files import Recorder

if TYPE_CHECKING:
    from greenroom_replica.cache import ReplicaCache


class Ownership(Protocol):
    """Who keeps what a load makes: files, variables of the environment, threads, processes."""

    def owned(self, name: str = ...) -> AbstractContextManager[Any]:
        """Around a load; gives what `release` takes. A load that raises owns nothing."""

    def release(self, owner: Any) -> Iterable[str]:
        """The entry has gone: end and remove what it owned. Gives sentences about what went wrong."""


class ReplicaAttempt(Attempt):
    """One run of a loader on a replica: its memory is measured, its files are noted, and what it makes is owned."""

    store: ReplicaCache

    def __enter__(self) -> ReplicaAttempt:
        store = self.store
        store.running += 1
        store.started += 1
        self._serial = store.started
        self.alone = store.running == 1 + self._depth()
        """Whether the process's memory grew through this load, and those inside it, alone."""
        self.owner: Any = None
        self.files: dict[str, str | None] = {}
        self.grown = self.gpu_grown = 0
        self._owning = store.ownership.owned(self.flight.name) if store.ownership is not None else None
        self._recorder = Recorder(store.bundle, store.watch) if store.bundle is not None else None
        self._rss, self._gpu = store.process.used(), store.gpu.used()
        if self._owning is not None:
            self.owner = self._owning.__enter__()
        super().__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: Any) -> bool:
        store = self.store
        self.alone = self.alone and store.started - self._serial == self.flight.nested
        store.running -= 1
        if self.flight.parent is not None:
            self.flight.parent.nested += 1 + self.flight.nested
        if self._recorder is not None:
            self.files = self._recorder.stop()
        if self._owning is not None and self._leave_owning(kind, fault, trace):
            self.owner = None
        if fault is None:
            self.grown = max(0, store.process.used() - self._rss)
            gpu = store.gpu.used()
            self.gpu_grown = max(0, gpu - self._gpu) if gpu is not None and self._gpu is not None else 0
        return super().__exit__(kind, fault, trace)

    def _depth(self) -> int:
        """How many loads this one is inside of."""
        depth, parent = 0, self.flight.parent
        while parent is not None:
            depth, parent = depth + 1, parent.parent
        return depth

    def _leave_owning(self, kind: type[BaseException] | None, fault: BaseException | None, trace: Any) -> bool:
        """Leave the block of whoever owns; True where the load raised, and owns nothing."""
        assert self._owning is not None
        try:
            self._owning.__exit__(kind, fault, trace)
        except BaseException as other:
            if fault is None:  # The load went well: what it made is kept, and owned by nobody.
                self.store.tell(
                    self.ask.view.loader.name, "owned", f"what {self.flight.name} made is not known: {other!r}"
                )
                return True
        return fault is not None

    def furnish(self, entry: Entry) -> None:
        super().furnish(entry)
        entry.owner, entry.files = self.owner, self.files
        parent = self.flight.parent
        grown, gpu_grown = self.grown - self.flight.nested_bytes, self.gpu_grown - self.flight.nested_gpu
        if parent is not None:
            parent.nested_bytes += self.grown
            parent.nested_gpu += self.gpu_grown
        self.grown, self.gpu_grown = max(0, grown), max(0, gpu_grown)
