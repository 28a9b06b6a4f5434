"""Children of a forking process: made, watched, reaped, and nothing of theirs left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

from greenroom_replica import procfs, system

CRASHED: Final = 70
"""Exit code of a child whose own code raised: a bug of ours."""


_TRACKER: Final = b"multiprocessing.resource_tracker"
_TRACKING: Final = 1.0
"""Seconds that a tracker gets."""


@dataclass(slots=True)
class Child:
    """One that was forked here."""

    pid: int
    key: object
    """Who it is, to the one who asked for it."""
    born: float


class Ended(NamedTuple):
    """A child that was reaped."""

    child: Child
    code: int
    """Exit code; minus the signal's number if one killed it."""
    cpu_s: float
    max_rss: int
    """Bytes."""


class Brood:
    """The children of this process.

    Being a child subreaper, the process also inherits what its children leave behind when they end: whatever is its
    child and was not forked here is such an orphan, and is killed.

    Args:
        before_run: Called in each new child before its own code: closes what belongs to the parent.
    """

    def __init__(self, before_run: Callable[[], None]) -> None:
        self._before_run = before_run
        self._children: dict[int, Child] = {}
        self._spared: dict[int, float] = {}
        """Trackers of resources, and when each was first seen as an orphan."""

    def __len__(self) -> int:
        return len(self._children)

    def fork(self, key: object, run: Callable[[], int]) -> Child:
        """Make a child that runs `run` and exits with what it returns."""
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            self._live(run)
        child = Child(pid, key, time.monotonic())
        self._children[pid] = child
        return child

    def _live(self, run: Callable[[], int]) -> None:
        code = CRASHED
        try:
            self._before_run()
            code = run()
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 0
        except BaseException:
            traceback.print_exc()
        finally:
            with contextlib.suppress(Exception):
                sys.stderr.flush()
            os._exit(code)

    def adopt(self, pid: int, key: object) -> Child:
        """Count a process that another forker made, and left here by its death, as a child."""
        child = Child(pid, key, time.monotonic())
        self._children[pid] = child
        return child

    def reap(self) -> list[Ended]:
        """Take the ends of all children that have ended; orphans' ends are taken and forgotten.

        A child that was stopped goes on: user code can stop itself, its parent, or any process of the same user, and
        nobody else would let them go on.
        """
        ended = []
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG | os.WUNTRACED)
            except ChildProcessError:
                break
            if pid == 0:
                break
            if os.WIFSTOPPED(status):
                system.let_go_on(pid, os.WSTOPSIG(status))
                continue
            child = self._children.pop(pid, None)
            if child is not None:
                rss = usage.ru_maxrss * (1024 if system.LINUX else 1)
                code = os.waitstatus_to_exitcode(status)
                ended.append(Ended(child, code, usage.ru_utime + usage.ru_stime, rss))
        return ended

    def sweep(self) -> int:
        """Kill orphans and all that comes from them; returns how many. Their ends make another sweep worth while."""
        killed = 0
        orphans = [pid for pid in procfs.children(os.getpid()) if pid not in self._children]
        self._spared = {pid: since for pid, since in self._spared.items() if pid in orphans}
        for pid in orphans:
            if self._is_spared(pid):
                continue
            for descendant in [*procfs.descendants(pid), pid]:
                killed += kill(descendant, signal.SIGKILL)
        return killed

    def _is_spared(self, pid: int) -> bool:
        """`multiprocessing`'s tracker removes the shared memory that a dead process left, and ends by itself then."""
        if _TRACKER not in procfs.command(pid):
            return False
        return time.monotonic() - self._spared.setdefault(pid, time.monotonic()) < _TRACKING

    def kill(self, pid: int, number: int) -> None:
        """Signal a child, and its group too where it is to die; one that was reaped is no child any more."""
        if pid in self._children:
            if number == signal.SIGKILL:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(pid, number)
            kill(pid, number)

    def kill_all(self) -> None:
        """Kill every child and every orphan, and wait until none is left."""
        deadline = time.monotonic() + 5.0
        while time.monotonic() < deadline:
            for pid in list(self._children):
                self.kill(pid, signal.SIGKILL)
            self.sweep()
            self.reap()
            if not self._children and not procfs.children(os.getpid()):
                return
            time.sleep(0.002)


def kill(pid: int, number: int) -> bool:
    """Signal a process if it is there; whether it was."""
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True
