"""Which async task's run the calls belong to that are being made: there they start at once and are awaited later."""

from __future__ import annotations

from collections.abc import Awaitable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from greenroom.eager import EagerCall


class Settled:
    """How a call ended that ran when it was made."""

    __slots__ = ("error", "value")

    def __init__(self, value: Any = None, error: BaseException | None = None) -> None:
        self.value, self.error = value, error


class Dispatcher(Protocol):
    """Who runs the calls that an async task makes."""

    def start(self, entity: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Awaitable[Any] | Settled:
        """Start a call at once; how it ended, if that is known already, else what to await.

        Arguments may be `EagerCall`s: their values are to be waited for.
        """
        ...


class Scope:
    """The calls of one run of an async task."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._calls: list[EagerCall] = []

    def call(self, entity: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> EagerCall:
        """Start a call."""
        from greenroom.eager import EagerCall

        started = self._dispatcher.start(entity, args, kwargs)
        plain = not getattr(entity, "is_async", False)
        made = EagerCall(str(entity.short_name), started, getattr(started, "now", None) if plain else None)
        self._calls.append(made)
        return made

    async def close(self, failed: bool) -> None:
        """The task ends: calls that nobody waited for are cancelled, and a failure that nobody saw is raised.

        Args:
            failed: Whether the task itself has failed; then nothing else is raised.
        """
        for made in self._calls:
            await made._end(failed)
        if not failed:
            for made in self._calls:
                made._raise_if_unseen()


_scope: ContextVar[Scope | None] = ContextVar("greenroom_scope", default=None)


def scope() -> Scope | None:
    """The async task's run that calls belong to; None where calls run inline."""
    return _scope.get()


@contextmanager
def scoped(inner: Scope | None) -> Iterator[None]:
    """Calls belong to this run meanwhile; None to run them inline."""
    token = _scope.set(inner)
    try:
        yield
    finally:
        _scope.reset(token)
