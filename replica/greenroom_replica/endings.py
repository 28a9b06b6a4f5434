"""How runners end, in words: what killed them, what their call is told, what may run again."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, NamedTuple

from greenroom_core.failure import Cause, Failure
from greenroom_replica.brood import CRASHED
from greenroom_replica.core import talk
from greenroom_replica.core.ladder import Stopping, Why
from greenroom_replica.core.page import BEGUN, CAPACITY, CURRENT, HEAD, PHASE, Harvest, Phase, phase_of
from greenroom_replica.runner_failures import Paths, frames_of_dump

if TYPE_CHECKING:
    from greenroom_replica.crew import Spec
    from greenroom_replica.handle import RunnerHandle
    from greenroom_replica.watch import Watch

_MIB = 1 << 20

_AT = {
    Phase.IMPORTING: " while its module was imported",
    Phase.INPUTS: " while its inputs were opened",
    Phase.ENCODING: " while its result was written",
    Phase.RESETTING: " while what it had left behind was cleared away",
}


class Ending(NamedTuple):
    """Why a runner has ended, as its running call is told."""

    failure: Failure
    ran_us: int
    """Microseconds that the call had run for."""


def begun(handle: RunnerHandle, current: int) -> int:
    """The highest serial that a runner has begun, or will have begun when it meets `LIMIT`."""
    return max(current, handle.words[BEGUN], handle.hand.last_ended)


def is_written(handle: RunnerHandle, serial: int) -> bool:
    """Whether the entry at the page's head, not counted yet, is the outcome of this call."""
    return bool(serial and handle.page.serial[handle.words[HEAD] % CAPACITY] == serial)


def single(large: talk.Large) -> Harvest:
    """An outcome that came by the socket, as if it had stood in the page."""
    return Harvest(
        [large.serial],
        [large.started],
        [large.duration],
        bytes([large.status]),
        [len(large.payload)],
        large.payload,
        {0: large.extras} if large.extras else {},
    )


def of_child(handle: RunnerHandle, code: int, watch: Watch) -> Ending:
    """Why the child that was forked for a call has ended; its runner lives."""
    running = handle.running()
    ran_us = int(running[1] * 1e6) if running is not None else 0
    if handle.killed_for is not None:
        failure, handle.killed_for = handle.killed_for, None
        return Ending(failure, ran_us)
    if watch.was_out_of_memory(handle):
        return Ending(out_of_memory(watch.memory_limit, handle.peak), ran_us)
    return Ending(_by_code(handle, code, "", handle.peak), ran_us)


def unborn(why: str) -> Ending:
    """A runner that never was."""
    return Ending(Failure(Cause.INFRASTRUCTURE, "NoRunner", f"no runner could be started: {why}"), 0)


def ending(handle: RunnerHandle, reaped: talk.Reaped, watch: Watch) -> Ending:
    """Why a runner has ended, from what the kernel told and what the supervisor saw."""
    running = handle.running()
    ran_us = int(running[1] * 1e6) if running is not None else 0
    if handle.killed_for is not None:
        return Ending(handle.killed_for, ran_us)
    peak = max(handle.peak, reaped.max_rss)
    if watch.was_out_of_memory(handle):
        return Ending(out_of_memory(watch.memory_limit, peak), ran_us)
    at = _AT.get(phase_of(handle.words[PHASE]), "") if handle.words[CURRENT] else ""
    return Ending(_by_code(handle, reaped.code, at, peak), ran_us)


def _by_code(handle: RunnerHandle, code: int, at: str, peak: int) -> Failure:
    traceback, where = frames_of_dump(handle.crash_dump(), Paths())
    if code == CRASHED:
        return broken(f"the runner itself failed{at}")
    if code >= 0:
        return Failure(
            Cause.EXIT,
            "ProcessExited",
            f"the process ended with exit code {code}{at} (os._exit, or a library that calls it); "
            "return or raise instead",
            traceback,
            where,
            details={"code": code},
        )
    name = _signal_name(-code)
    hint = ""
    if code == -signal.SIGKILL:
        hint = f"; it held {peak // _MIB} MiB at most: if the machine ran out of memory, the kernel did this"
    return Failure(
        Cause.CRASH,
        name,
        f"the process was killed by {name}{at}{hint}",
        traceback,
        where,
        details={"signal": -code, "peak": peak},
    )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def out_of_memory(limit: int | None, peak: int) -> Failure:
    """A call that took more memory than its replica has."""
    most = f"the limit of {limit // _MIB} MiB" if limit else "what the machine has"
    return Failure(
        Cause.MEMORY,
        "OutOfMemory",
        f"out of memory: the call's processes held {peak // _MIB} MiB, more than {most}; "
        "ask for more with limits=Resources(mem=...), or do less at a time",
        details={"limit": limit or 0, "peak": peak},
    )


def too_small(limit: int, least: int) -> Failure:
    """A replica whose memory limit no runner fits in."""
    return Failure(
        Cause.INFRASTRUCTURE,
        "LimitTooSmall",
        f"the memory limit of {limit // _MIB} MiB is below the {least // _MIB} MiB that an idle runner takes; "
        "raise limits=Resources(mem=...)",
        details={"limit": limit, "least": least},
    )


def too_many_processes(limit: int, found: int) -> Failure:
    """A call that made more processes than its replica may have."""
    return Failure(
        Cause.CRASH,
        "TooManyProcesses",
        f"the call had {found} processes and threads; at most {limit} are allowed here",
        details={"limit": limit, "found": found},
    )


def broken(what: str) -> Failure:
    """A runner that does not do its work any more."""
    return Failure(
        Cause.CRASH,
        "RunnerBroken",
        f"{what}; the call has changed what its process stands on: memory, descriptors, builtins, or functions of "
        "libraries",
    )


def another_program() -> Failure:
    """A call whose process has become another program."""
    return Failure(
        Cause.EXIT,
        "ProcessReplaced",
        "the process became another program (os.exec), which cannot give a result; start it by subprocess.run instead",
    )


def stuck_reset(seconds: float) -> Failure:
    """A call after which clearing away does not end."""
    return Failure(
        Cause.CRASH,
        "ResetStuck",
        f"what the call had left behind was not cleared away within {seconds:g} s; its process was ended",
        details={"seconds": seconds},
    )


def never_began(reason: str) -> Failure:
    """A call that was cancelled while it waited."""
    return Failure(Cause.CANCELLED, "CallCancelled", f"cancelled before it began: {reason}")


def stopped(stopping: Stopping, spec: Spec, end: Ending) -> Failure:
    """A call that did not stop when it was told to, and took its runner with it."""
    if stopping.why is Why.TIMED_OUT:
        seconds = spec.timeout or 0.0
        return Failure(
            Cause.TIMEOUT,
            "CallTimedOut",
            f"{spec.task} took longer than its timeout of {seconds:g} s, and did not stop when it was interrupted",
            end.failure.traceback,
            end.failure.where,
            details={"seconds": seconds},
        )
    return Failure(
        Cause.CANCELLED,
        "CallCancelled",
        f"cancelled: {stopping.reason}; it did not stop when it was interrupted, so its process was killed",
        end.failure.traceback,
        end.failure.where,
    )


def stuck(handle: RunnerHandle) -> Failure:
    """A call that had to be killed: what it was at, from the stack that it was made to write."""
    traceback, where = frames_of_dump(handle.crash_dump(), Paths())
    return Failure(Cause.CANCELLED, "CallCancelled", "killed", traceback, where)
