"""What can go wrong with the actor cache, in sentences that say what to do."""

from __future__ import annotations

from greenroom.errors import GreenroomError, GreenroomWarning


class ActorCacheError(GreenroomError):
    """Base of the errors of `@actor_cache`."""


class ActorCacheWarning(GreenroomWarning):
    """A loader works, but does not keep what its author may think."""


class BadLoader(ActorCacheError, TypeError):
    """`@actor_cache` cannot stand on this function, or not with this option."""

    def __init__(self, loader: str, problem: str) -> None:
        super().__init__(loader, problem)
        self.loader, self.problem = loader, problem

    def __str__(self) -> str:
        return f"@actor_cache on {self.loader}: {self.problem}"


class OneShotResult(ActorCacheError, TypeError):
    """A loader returned what can be used only once, so that the second call would get an empty one."""

    def __init__(self, loader: str, kind: str, remedy: str) -> None:
        super().__init__(loader, kind, remedy)
        self.loader, self.kind, self.remedy = loader, kind, remedy

    def __str__(self) -> str:
        return f"{self.loader} returned a {self.kind}, which can be used only once and cannot be kept; {self.remedy}"


class RecursiveLoad(ActorCacheError, RuntimeError):
    """A load needs its own result, or two loads need each other's."""

    def __init__(self, entry: str, chain: tuple[str, ...]) -> None:
        super().__init__(entry, chain)
        self.entry, self.chain = entry, chain

    def __str__(self) -> str:
        path = " -> ".join((*self.chain, self.entry))
        return (
            f"{self.entry} is being loaded, and that load asks for it again ({path}); it would wait for itself forever"
        )


class EntryChanged(ActorCacheError, RuntimeError):
    """A call changed an entry of a loader that is declared `frozen=True`."""

    def __init__(self, entry: str, call: str) -> None:
        super().__init__(entry, call)
        self.entry, self.call = entry, call

    def __str__(self) -> str:
        who = f"call {self.call}" if self.call else "a caller"
        return (
            f"{who} changed {self.entry}, which is frozen and shared by all calls; "
            "copy it before changing it. The entry was dropped and is loaded again when it is next asked for"
        )


class NotImportable(ActorCacheError, ValueError):
    """A loader was bound that a replica could not find by name."""

    def __init__(self, loader: str, reason: str) -> None:
        super().__init__(loader, reason)
        self.loader, self.reason = loader, reason

    def __str__(self) -> str:
        return f"{self.loader} cannot be loaded in advance: {self.reason}; define it at the top level of a module"
