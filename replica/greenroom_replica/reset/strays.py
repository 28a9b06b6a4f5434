"""Threads and processes that calls leave behind."""

from __future__ import annotations

import _thread
import functools
import os
import signal
import sys
import threading
import time
from collections.abc import Iterable
from typing import Any

from greenroom_replica.reset.report import Report
from greenroom_replica.reset.tripwires import Tripwires
from greenroom_replica.reset.usercode import Territory

GRACE = 0.05
"""Seconds that a call's threads get to end after it."""

_FIRST_TURN = 0.02
"""Seconds that a thread which was started past `threading` gets to appear."""

MOST_KEPT = 64
"""Threads of libraries that calls may leave behind, one after the other; then the runner is replaced."""

_TERM_GRACE = 0.1
"""Seconds between SIGTERM and SIGKILL for a process that a call left behind."""

_count = _thread._count


class Threads:
    """Knows which threads may live, and finds those that a call left."""

    row = "threads"
    """What a tripwire notes when a thread is started past `threading`: it may not run before its call has ended."""

    def __init__(self, territory: Territory, tripwires: Tripwires) -> None:
        self._territory = territory
        tripwires.lay_all((_thread,), "start_new_thread start_new start_joinable_thread", self.row)
        self._known: set[int] = set()
        self._told: set[str] = set()
        self._kept = 0
        self.expected = 0
        """How many threads there are when no call has left one; compared with `_thread._count` after every call."""
        self.accept()

    def alive(self) -> set[int]:
        """The identities of all threads but this one."""
        return set(sys._current_frames()) - {threading.get_ident()}

    def accept(self, idents: Iterable[int] | None = None) -> None:
        """Let these threads live: an entry's, an import's or the runner's own. None accepts all that there are."""
        self._known |= self.alive() if idents is None else set(idents)
        self._recount()

    def forget(self, idents: Iterable[int]) -> None:
        """No longer let these live: they are looked at after the next call."""
        self._known -= set(idents)
        self.expected = -1

    def _recount(self) -> None:
        self._known &= self.alive()
        self.expected = _count()

    def sweep(self, report: Report, just_started: bool = False) -> int:
        """Give the call's threads time to end, and say what survives; return how many do.

        One that runs user code retires the runner, since it may change what the next call sees. A library's is told
        once.

        Args:
            report: Where to say it.
            just_started: Whether threads may have been started that have not yet run for the first time.
        """
        if just_started:
            deadline = time.monotonic() + _FIRST_TURN
            while _count() == self.expected and time.monotonic() < deadline:
                time.sleep(0.002)
        if _count() == self.expected and self.alive() == self._known:
            return 0
        strays = self.alive() - self._known
        deadline = time.monotonic() + GRACE
        while strays and (left := deadline - time.monotonic()) > 0:
            thread = next((found for ident in strays if (found := _active(ident)) is not None), None)
            # A thread that was started without an object cannot be joined: looked for again, in short steps.
            thread.join(left) if thread is not None else time.sleep(min(left, 0.005))
            strays = self.alive() - self._known
        for ident in strays:
            self._tell(ident, report)
        self._kept += len(strays)
        if self._kept > MOST_KEPT:
            report.must_retire(f"calls have left {self._kept} threads of libraries behind")
        if strays:
            report.leaks["threads"] = report.leaks.get("threads", 0) + len(strays)
        self._known |= strays
        self._recount()
        return len(strays)

    def _tell(self, ident: int, report: Report) -> None:
        thread = _active(ident)
        target, what = _describe(thread)
        frame = sys._current_frames().get(ident)
        if self._territory.runs_in(frame) or (target is not None and self._territory.owns_callable(target)):
            sentence = f"the call left a thread running user code behind ({what}); this runner is replaced"
            report.must_retire(f"a thread running user code ({what}) outlived its call by {GRACE * 1000:.0f} ms")
        elif what not in self._told:
            sentence = f"the call left a library's thread behind ({what}); it is kept, and told once"
        else:
            return
        self._told.add(what)
        report.sentences.append(sentence)


def _active(ident: int) -> threading.Thread | None:
    found: threading.Thread | None = threading._active.get(ident)  # type: ignore[attr-defined]
    return found


def _describe(thread: threading.Thread | None) -> tuple[object, str]:
    """Find what a thread was started for, and how to call it."""
    if thread is None:
        return None, "started without threading"
    space: dict[str, Any] = vars(thread)
    target = space.get("function") or space.get("_target")  # A Timer's function, or the target.
    if target is None:
        target = type(thread)
    inner: Any = target
    while type(inner) is functools.partial:
        inner = inner.func
    name = getattr(inner, "__qualname__", type(inner).__qualname__)
    return target, f"{thread.name}, {getattr(inner, '__module__', '?')}.{name}"


class Children:
    """Knows which child processes may live, and ends those that a call left."""

    def __init__(self) -> None:
        self._known: set[int] = set()
        self._finalizers: set[object] = set()
        self.accept()

    def any(self) -> bool:
        """Tell whether there is a child at all, living or dead: one system call."""
        try:
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return False
        return True

    @property
    def keeps_some(self) -> bool:
        """Whether an entry or the runner has children, so that `any` says nothing."""
        return bool(self._known)

    def present(self) -> set[int]:
        """List all children; nothing is read where there are none."""
        return children_of(os.getpid()) if self.any() else set()

    def accept(self, pids: Iterable[int] | None = None) -> None:
        """Let these children live: an entry's, or the runner's own. None accepts all that there are."""
        self._known |= self.present() if pids is None else set(pids)
        self._finalizers |= set(_finalizers())

    def finish(self, report: Report) -> None:
        """Close what the call left open of `multiprocessing`, as the end of a process does.

        A pool whose workers are simply killed is closed later, by the garbage collector, and waits without end for a
        lock that died with one of them.
        """
        registry = _finalizers()
        left = [key for key in registry if key not in self._finalizers]
        if not left:
            return
        before = self.present()
        for key in sorted((key for key in left if key[0] is not None), reverse=True):
            finalizer = registry.get(key)
            try:
                if finalizer is not None:
                    finalizer()
            except Exception:
                continue  # What it would have ended is ended below.
        self._finalizers &= set(registry)
        if ended := len(before - self.present() - self._known):
            report.leaks["processes"] = report.leaks.get("processes", 0) + ended
            report.sentences.append(
                f"the call left a pool or manager of multiprocessing open, closed now ({ended} processes); use `with`"
            )

    def forget(self, pids: Iterable[int]) -> None:
        """No longer let these live."""
        self._known -= set(pids)

    def sweep(self, report: Report) -> int:
        """End and reap what the call left; return how many lived."""
        if not self.any():
            self._known.clear()
            return 0
        here = children_of(os.getpid())
        self._known &= here
        left = here - self._known - _helpers()
        living = {pid: name for pid in left if (name := _command(pid))}
        if living:
            names = ", ".join(f"{name} (pid {pid})" for pid, name in list(living.items())[:3])
            more = f" and {len(living) - 3} more" if len(living) > 3 else ""
            what = "a process" if len(living) == 1 else f"{len(living)} processes"
            report.sentences.append(f"the call left {what} behind, ended now: {names}{more}")
            report.leaks["processes"] = report.leaks.get("processes", 0) + len(living)
        end(left, _TERM_GRACE)
        return len(living)


def _finalizers() -> dict[Any, Any]:
    """What `multiprocessing` would do at the end of this process, by priority and age."""
    registry: dict[Any, Any] = getattr(sys.modules.get("multiprocessing.util"), "_finalizer_registry", {})
    return registry


def children_of(pid: int) -> set[int]:
    """List a process's children, whichever of its threads started them."""
    found: set[int] = set()
    try:
        tasks = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return found
    for task in tasks:
        try:
            with open(f"/proc/{pid}/task/{task}/children", "rb") as file:
                found.update(map(int, file.read().split()))
        except OSError:
            continue
    return found


def _command(pid: int) -> str:
    """Read a process's command line; empty for one that has ended."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            state = file.read().rpartition(b")")[2].split()[0]
        if state in (b"Z", b"X"):
            return ""
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read(200).replace(b"\0", b" ").decode(errors="replace").strip() or "unnamed"
    except OSError:
        return ""


def _helpers() -> set[int]:
    """Processes that the standard library, or joblib's copy of it, keeps for itself: trackers, fork servers."""
    places = (
        ("multiprocessing.resource_tracker", "_resource_tracker", "_pid"),
        ("multiprocessing.forkserver", "_forkserver", "_forkserver_pid"),
        ("joblib.externals.loky.backend.resource_tracker", "_resource_tracker", "_pid"),
    )
    found = (getattr(getattr(sys.modules.get(module), name, None), field, None) for module, name, field in places)
    return {pid for pid in found if pid is not None}


def end(pids: set[int], grace: float) -> None:
    """End children and all their descendants: SIGTERM, then SIGKILL after `grace` seconds; reap the children."""
    waiting = set(pids)
    family = _descendants(pids)
    for pid in family:
        _signal(pid, signal.SIGTERM)
    deadline = time.monotonic() + grace
    pause = 0.0005
    while waiting and _reap(waiting) and time.monotonic() < deadline:
        time.sleep(pause)
        pause = min(2 * pause, 0.02)
    for pid in family | _descendants(waiting):
        if pid in waiting or pid not in pids:
            _signal(pid, signal.SIGKILL)
    for pid in waiting:
        try:
            os.waitpid(pid, 0)
        except OSError:
            pass


def _reap(waiting: set[int]) -> bool:
    """Reap those that have ended; tell whether any are left."""
    for pid in list(waiting):
        try:
            ended, _ = os.waitpid(pid, os.WNOHANG)
        except OSError:
            ended = pid
        if ended:
            waiting.discard(pid)
    return bool(waiting)


def _descendants(pids: Iterable[int]) -> set[int]:
    found: set[int] = set()
    stack = list(pids)
    while stack:
        pid = stack.pop()
        if pid not in found:
            found.add(pid)
            stack += children_of(pid)
    return found


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except OSError:
        pass
