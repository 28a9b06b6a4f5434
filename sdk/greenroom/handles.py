"""Handles on executions: what `Client.run` gives back, for threads and for coroutines."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypeVar

from greenroom.hub_errors import ExecutionCancelled, ExecutionFailed, ExecutionTimedOut, StillRunning
from greenroom.operations import LONGEST_WAIT, Result, Submitted, cancel, failures, get, path_to, result
from greenroom_core.failure import Cause, Failure

if TYPE_CHECKING:
    from greenroom.client import AsyncClient, Client
    from greenroom.following import Event
    from greenroom.opening import Opener

C = TypeVar("C", "Client", "AsyncClient")

_NEVER: Final = float("inf")


class _Handle(Generic[C]):
    """What both handles know, and how a result becomes a value or an error."""

    def __init__(self, client: C, submitted: Submitted, opener: Opener) -> None:
        self._client: C = client
        self._opener = opener
        self.id = submitted.id
        """The execution's id; also what `greenroom watch` and its fellows take."""
        self.url = submitted.url or f"{client.url}/e/{submitted.id}"
        """Where a browser finds it."""
        self.notes = submitted.notes
        """What the hub had to say about the submission."""
        self._result = submitted.result
        self._opened: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self._result.state if self._result else 'not ended'}>"

    def _value(self, ended: Result) -> Any:
        """The outputs, or the error.

        Raises:
            Exception: The user's own, where it can be had here; its `__cause__` is an `ExecutionFailed`.
            ExecutionFailed: Otherwise.
        """
        if ended.state != "succeeded":
            raise error_of(ended)
        return self._opener.value(self._open_all(ended))

    def _open_all(self, ended: Result) -> Mapping[str, Any]:
        for name, value in (ended.outputs or {}).items():
            if name not in self._opened:
                self._opened[name] = self._opener.open(name, value, self._client.blobs)
        return self._opened


class Execution(_Handle["Client"]):
    """An execution on a hub."""

    def result(self, timeout: float | None = None) -> Any:
        """Wait for the end and give the outputs: a value, a tuple for several, None for none.

        Args:
            timeout: Seconds to wait; None for as long as it takes.

        Raises:
            StillRunning: The time is over; the execution goes on.
            Exception: The user's own, where it can be had here; its `__cause__` is an `ExecutionFailed`.
            ExecutionFailed: The execution failed otherwise; `ExecutionCancelled`, `ExecutionTimedOut`.
            HubError: The hub stays away.
        """
        return self._value(self._wait(timeout))

    def wait(self, timeout: float | None = None) -> Execution:
        """Wait for the end, whatever it is.

        Raises:
            StillRunning: The time is over.
        """
        self._wait(timeout)
        return self

    def _wait(self, timeout: float | None) -> Result:
        if self._result is None:
            self._result = self._show_and_wait(timeout) or self._poll_until_ended(timeout)
            self._client.took_turn(self)
        return self._result

    def _show_and_wait(self, timeout: float | None) -> Result | None:
        """In a notebook, show the progress of what is waited for."""
        from greenroom.notebook import in_notebook, watch

        if not in_notebook():
            return None
        return self._client.drive(result(self.id)) if watch(self, timeout) else None

    def _poll_until_ended(self, timeout: float | None) -> Result:
        deadline = _NEVER if timeout is None else time.monotonic() + timeout
        while True:
            left = deadline - time.monotonic()
            answer = self._client.drive(result(self.id, min(LONGEST_WAIT, left)))
            if answer.ended:
                return answer
            if left <= 0:
                raise StillRunning(self.id, timeout or 0.0)

    @property
    def outputs(self) -> Mapping[str, Any]:
        """The outputs by name, as in `.outputs["o0"]`; waits for the end."""
        ended = self._wait(None)
        if ended.state != "succeeded":
            raise error_of(ended)
        return self._open_all(ended)

    def stream(self, output: str = "o0") -> Iterator[Any]:
        """The items of an output that is a list, one by one and never all in memory; waits for the end first."""
        ended = self._wait(None)
        if ended.state != "succeeded":
            raise error_of(ended)
        value = (ended.outputs or {}).get(output)
        if value is None:
            raise KeyError(output)
        return self._opener.items(output, value, self._client.blobs)

    @property
    def state(self) -> str:
        """`running`, `succeeded`, `failed`, ... as the hub sees it now."""
        return self._now().state

    @property
    def is_done(self) -> bool:
        """Whether it has ended."""
        return self._now().ended

    def _now(self) -> Result:
        if self._result is not None:
            return self._result
        answer = self._client.drive(result(self.id))
        if answer.ended:
            self._result = answer
        return answer

    def show(self) -> dict[str, Any]:
        """The execution as the API tells it: nodes, waits, notes, outputs as JSON data."""
        shown: dict[str, Any] = self._client.drive(get(path_to(self.id)))
        return shown

    def failures(self, limit: int = 1000) -> list[FailedCall]:
        """Calls that failed for good, by node and item: those that a map bore, and those that failed the execution."""
        told = self._client.drive(failures(self.id, limit))
        return [failed_call(self.id, node, item, failure) for node, item, failure in told]

    def events(self, after: int = 0, *, logs: bool = False) -> Iterator[Event]:
        """What happens, as it happens, until the end; survives broken connections and restarts of the hub.

        Args:
            after: Number (`seq`) of the last event that is known already.
            logs: Whether the calls' output comes along, as events of kind `log`.
        """
        return iter(self._client.follower(self.id, after=after, logs=logs))

    def cancel(self, reason: str = "") -> None:
        """Ask for its end. Running calls are told; `wait` says when it has ended."""
        self._client.drive(cancel(self.id, reason or "cancelled by the client"))


class AsyncExecution(_Handle["AsyncClient"]):
    """An execution on a hub, for coroutines; `await execution` is `await execution.result()`."""

    def __await__(self) -> Generator[Any, None, Any]:
        return self.result().__await__()

    async def result(self, timeout: float | None = None) -> Any:
        """Wait for the end and give the outputs; as `Execution.result`."""
        ended = await self._wait(timeout)
        return await self._client.apart(ended.outputs, lambda: self._value(ended))

    async def wait(self, timeout: float | None = None) -> AsyncExecution:
        """Wait for the end, whatever it is; as `Execution.wait`."""
        await self._wait(timeout)
        return self

    async def _wait(self, timeout: float | None) -> Result:
        deadline = _NEVER if timeout is None else time.monotonic() + timeout
        while self._result is None:
            left = deadline - time.monotonic()
            answer = await self._client.drive(result(self.id, min(LONGEST_WAIT, left)))
            if answer.ended:
                self._result = answer
            elif left <= 0:
                raise StillRunning(self.id, timeout or 0.0)
        return self._result

    async def outputs(self) -> Mapping[str, Any]:
        """The outputs by name; waits for the end."""
        ended = await self._wait(None)
        if ended.state != "succeeded":
            raise error_of(ended)
        return await self._client.apart(ended.outputs, lambda: self._open_all(ended))

    async def state(self) -> str:
        """`running`, `succeeded`, `failed`, ... as the hub sees it now."""
        if self._result is None:
            answer = await self._client.drive(result(self.id))
            self._result = answer if answer.ended else None
            return answer.state
        return self._result.state

    async def show(self) -> dict[str, Any]:
        """The execution as the API tells it."""
        shown: dict[str, Any] = await self._client.drive(get(path_to(self.id)))
        return shown

    async def failures(self, limit: int = 1000) -> list[FailedCall]:
        """Calls that failed for good; as `Execution.failures`."""
        told = await self._client.drive(failures(self.id, limit))
        return [failed_call(self.id, node, item, failure) for node, item, failure in told]

    def events(self, after: int = 0, *, logs: bool = False) -> AsyncIterator[Event]:
        """What happens, as it happens; as `Execution.events`."""
        return self._client.follow(self.id, after=after, logs=logs)

    async def cancel(self, reason: str = "") -> None:
        """Ask for its end."""
        await self._client.drive(cancel(self.id, reason or "cancelled by the client"))


# Errors -------------------------------------------------------------------------------------------------------------


class FailedCall(NamedTuple):
    """A call that failed for good, though its execution may have succeeded: an item of a map that bears some."""

    node: str
    item: int
    error: Exception
    """The user's own where it can be had here; its `__cause__` is an `ExecutionFailed`."""


def failed_call(execution: str, node: str, item: int, failure: Failure) -> FailedCall:
    """One call that failed, with the error that tells it."""
    return FailedCall(node, item, error_of(Result(execution, "failed", None, failure, node, item)))


def error_of(ended: Result) -> Exception:
    """The error to raise for an execution that did not succeed: the user's own where it can be had here."""
    failure = ended.failure or Failure(Cause.CANCELLED, ended.state.capitalize(), "")
    told = _kind(ended, failure)(ended.id, failure, ended.failed_node, ended.failed_item)
    own = own_error(failure)
    if own is None:
        return told
    own.__cause__ = told
    return own


def _kind(ended: Result, failure: Failure) -> Callable[..., ExecutionFailed]:
    if ended.state == "timed_out" or failure.cause == Cause.TIMEOUT:
        return ExecutionTimedOut
    if ended.state in ("aborted", "cancelled") or failure.cause == Cause.CANCELLED:
        return ExecutionCancelled
    return ExecutionFailed


def own_error(failure: Failure) -> Exception | None:
    """The exception that a failure tells of; None where it was not pickled, or its class cannot be had here."""
    if failure.pickle is not None:
        import pickle

        try:
            own = pickle.loads(failure.pickle)
        except Exception:
            return _builtin(failure)
        if isinstance(own, Exception):
            return own
    return _builtin(failure)


def _builtin(failure: Failure) -> Exception | None:
    """An exception of Python's own, from its text: what `.fail("why")` of a branch raises is a ValueError here too."""
    import builtins

    kind = getattr(builtins, failure.type, None)
    if failure.cause is not Cause.USER or not isinstance(kind, type) or not issubclass(kind, Exception):
        return None
    try:
        return kind(failure.message)
    except Exception:  # One whose arguments are more than a text.
        return None
