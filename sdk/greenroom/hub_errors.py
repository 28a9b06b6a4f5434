"""What can go wrong between a client and its hub, and how an execution that went wrong is told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from greenroom.errors import GreenroomError

if TYPE_CHECKING:
    from greenroom_core.failure import Failure


class HubError(GreenroomError):
    """The hub, or the way to it, did not do its part. Base of this module's errors about hubs."""


class Unreachable(HubError):
    """Nobody answers at the hub's address."""

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(address, reason)
        self.address, self.reason = address, reason

    def __str__(self) -> str:
        return f"no hub answers at {self.address}: {self.reason}"


class Refused(HubError):
    """The hub understood a request and says no."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(status, code, message)
        self.status, self.code, self.message = status, code, message

    def __str__(self) -> str:
        return self.message or f"the hub answers {self.status} {self.code}"


class StateRefused(HubError):
    """A folder cannot hold a hub's state."""

    def __init__(self, folder: str, reason: str) -> None:
        super().__init__(folder, reason)
        self.folder, self.reason = folder, reason

    def __str__(self) -> str:
        return f"state folder {self.folder}: {self.reason}; set GREENROOM_STATE to a folder of your own on a local disk"


class ExtraMissing(HubError):
    """A hub should start here, but the packages that it needs are not installed."""

    def __init__(self, missing: Sequence[str], python: str) -> None:
        super().__init__(tuple(missing), python)
        self.missing, self.python = tuple(missing), python

    def __str__(self) -> str:
        lacks = ", ".join(self.missing)
        return (
            f"a local hub needs {lacks}, which {self.python} does not have: pip install 'greenroom[hub]', "
            "or choose a hub that runs elsewhere with --hub URL"
        )


class DidNotStart(HubError):
    """The local hub ended, or kept silent, instead of serving."""

    def __init__(self, reason: str, words: str, log: str) -> None:
        super().__init__(reason, words, log)
        self.reason, self.words, self.log = reason, words, log

    def __str__(self) -> str:
        said = f"; its last words:\n{self.words}" if self.words else ""
        return f"the local hub {self.reason} (log: {self.log}){said}"


class HubGone(HubError):
    """The hub was stopped while somebody waited for it."""

    def __init__(self, execution: str | None = None) -> None:
        super().__init__(execution)
        self.execution = execution

    def __str__(self) -> str:
        goes_on = f"; {self.execution} goes on when it is started again" if self.execution else ""
        return f"the hub was stopped{goes_on}: greenroom hub start"


class WrongVersion(HubError):
    """A busy hub of another version that this client cannot speak to."""

    def __init__(self, theirs: str, ours: str, executions: Sequence[str]) -> None:
        super().__init__(theirs, ours, tuple(executions))
        self.theirs, self.ours, self.executions = theirs, ours, tuple(executions)

    def __str__(self) -> str:
        names = ", ".join(self.executions[:5]) + (" ..." if len(self.executions) > 5 else "")
        return (
            f"the running hub is version {self.theirs}, this is {self.ours}, and they do not understand each other; "
            f"it still runs {names}: wait for that or cancel it, then the next command restarts the hub"
        )


class NoSuchHub(HubError):
    """A name that no profile has."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        super().__init__(name, tuple(known))
        self.name, self.known = name, tuple(known)

    def __str__(self) -> str:
        known = ", ".join(["local", "ephemeral", *self.known])
        return (
            f"no hub is called {self.name!r}; known are {known}, or a URL; greenroom login URL --as {self.name} adds it"
        )


class ExecutionFailed(GreenroomError):
    """An execution failed. Raised where the user's own exception cannot be had; else it is that one's `__cause__`."""

    def __init__(self, execution: str, failure: Failure, node: str | None = None, item: int | None = None) -> None:
        super().__init__(execution, failure, node, item)
        self.execution, self.failure, self.node, self.item = execution, failure, node, item

    @property
    def address(self) -> str:
        """`ID/NODE/ITEM`, as far as it is known."""
        parts = [self.execution, self.node, None if self.item is None else str(self.item)]
        return "/".join(part for part in parts if part is not None)

    def __str__(self) -> str:
        text = f"{self.address}: {self.failure.line()}"
        return f"{text}\n\n{self.failure.traceback.rstrip()}" if self.failure.traceback else text


class ExecutionCancelled(ExecutionFailed):
    """An execution was cancelled."""


class ExecutionTimedOut(ExecutionFailed):
    """An execution, or a call that it needs, took longer than it may."""


class StillRunning(GreenroomError, TimeoutError):
    """The time given to `result` or `wait` is over; the execution goes on."""

    def __init__(self, execution: str, seconds: float) -> None:
        super().__init__(execution, seconds)
        self.execution, self.seconds = execution, seconds

    def __str__(self) -> str:
        return f"{self.execution} has not ended within {self.seconds:g} s; it goes on, and .result() can be asked again"


def refused(status: int, body: bytes) -> Refused:
    """The error that a hub's answer tells, whatever its body is."""
    import json

    try:
        raw: Any = json.loads(body)
        return Refused(status, str(raw["error"]), str(raw["message"]))
    except (ValueError, KeyError, TypeError):
        text = body[:200].decode("utf-8", "replace").strip()
        return Refused(status, "unreadable", f"the hub answers with status {status}{': ' + text if text else ''}")
