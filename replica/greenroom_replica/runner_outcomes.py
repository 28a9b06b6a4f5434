"""What a call's end becomes when it is not a plain return: raised, left, interrupted."""

from __future__ import annotations

import resource
import sys
from dataclasses import replace
from typing import Any, Final

from greenroom.caching.errors import EntryChanged
from greenroom.context import CallCancelled
from greenroom.errors import CallExited, CallTimedOut
from greenroom_core.failure import Cause, Failure
from greenroom_protocol.calls import Status
from greenroom_replica.runner_failures import Paths, cause_of, describe, where_now
from greenroom_replica.runner_stop import TIMED_OUT
from greenroom_replica.workshop import Callee, NotReady

_SCALE: Final = 1024 if sys.platform.startswith("linux") else 1


def usage() -> tuple[float, int]:
    """Processor seconds of this process so far, and the most bytes that it ever held."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime, used.ru_maxrss * _SCALE


def raised(callee: Callee | None, error: BaseException, step: Cause, stopped: str | None) -> tuple[int, bytes]:
    """A call that ended by an exception.

    Args:
        callee: What was called; None where it could not be had.
        error: The exception.
        step: What an exception counts as at the step where it was raised.
        stopped: Why the call was told to stop; None if it was not.
    """
    if stopped is not None or isinstance(error, CallCancelled):
        return interrupted(callee, error, stopped)
    if isinstance(error, NotReady):
        step = error.cause
        error = error.__cause__ or error
    if isinstance(error, SystemExit) and step is Cause.USER and callee is not None:
        return _left(callee, error)
    cause = cause_of(error) if step is Cause.USER or isinstance(error, EntryChanged) else step
    failure = describe(error, cause, paths_of(callee))
    if cause is Cause.MEMORY:
        failure = _with_details(failure, peak=usage()[1])
    return int(Status.FAILED), failure.pack()


def interrupted(callee: Callee | None, error: BaseException | None, stopped: str | None) -> tuple[int, bytes]:
    """A call that was told to stop, and did."""
    trace = error.__traceback__ if error is not None else None
    paths = paths_of(callee)
    if stopped == TIMED_OUT and callee is not None and callee.definition.timeout is not None:
        task, seconds = callee.definition.task, callee.definition.timeout
        failure = describe(CallTimedOut(task, seconds).with_traceback(trace), Cause.TIMEOUT, paths)
        return int(Status.FAILED), _with_details(failure, seconds=seconds).pack()
    where = where_now(trace, paths)
    failure = Failure(Cause.CANCELLED, "CallCancelled", "cancelled while it ran", where=where)
    return int(Status.CANCELLED), failure.pack()


def _left(callee: Callee, error: SystemExit) -> tuple[int, bytes]:
    """`sys.exit` in a task: fine where nothing is declared to come out and nothing says that it went wrong."""
    definition = callee.definition
    if error.code in (None, 0) and not definition.outputs:
        return int(Status.SUCCEEDED), b""
    exited = CallExited(definition.task, error.code).with_traceback(error.__traceback__)
    exited.__suppress_context__ = True
    failure = describe(exited, Cause.EXIT, callee.paths)
    return int(Status.FAILED), _with_details(failure, code=_plain(error.code)).pack()


def paths_of(callee: Callee | None) -> Paths:
    """Which frames are the user's, and what the user calls their files."""
    return callee.paths if callee is not None else Paths()


def _with_details(failure: Failure, **details: Any) -> Failure:
    return replace(failure, details={**failure.details, **details})


def _plain(code: object) -> object:
    return code if isinstance(code, int | str) or code is None else repr(code)
