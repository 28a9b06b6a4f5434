"""`isolation="fork"`: each call in a child of the warm runner; it sees its imports and entries, and leaves nothing."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import TYPE_CHECKING, Any, Final, NoReturn

import msgpack

from greenroom.context import CallCancelled, Context
from greenroom_core.failure import Cause
from greenroom_replica import native, procfs
from greenroom_replica.core import talk
from greenroom_replica.core.page import CHILD, CURRENT, LIMIT, PHASE, STARTED, Phase
from greenroom_replica.runner_calls import Calls, Lane
from greenroom_replica.runner_outcomes import interrupted, raised
from greenroom_replica.workshop import Callee, Elsewhere

if TYPE_CHECKING:
    from greenroom_replica.runner_setup import Place

TRIES: Final = 2
"""Children that may hang before they come to the user's code; then the call goes to a fresh process."""

_monotonic = time.monotonic_ns


class Forked:
    """Runs calls in children of this process.

    Args:
        calls: Who writes outcomes, and runs a call once it is in its child.
        place: Where the runner stands: it is told that a fork is one of ours.
    """

    def __init__(self, calls: Calls, place: Place) -> None:
        self._calls = calls
        self._place = place
        self._ended: set[int] = set()
        """Children that have said all, and that the kernel still takes down, which takes a while for large ones."""

    def call(self, serial: int, lane: Lane, payload: bytes, item: int, attempt: int, is_last: bool) -> bool:
        """Run one call to its outcome; False if the supervisor has taken it back before it began."""
        calls, words = self._calls, self._calls.words
        words[PHASE] = int(Phase.IMPORTING)
        words[CURRENT] = serial
        words[STARTED] = begun = _monotonic()
        if words[LIMIT] < serial:
            words[CURRENT] = words[PHASE] = 0
            return False
        self._reap()
        extras: dict[str, Any] = {}
        recipes: list[Any] = []
        try:
            callee = lane.callee or calls.prepare(lane)
            said = self._in_child(serial, lane, callee, payload, item, attempt)
            if said is None:
                return True
            status, body, extras, recipes = said
        except Elsewhere as move:
            words[CURRENT] = words[PHASE] = 0
            calls.say(talk.Moved(serial, move.why, move.alone))
            return move.alone
        except BaseException as error:
            words[PHASE] = int(Phase.ENCODING)
            status, body = raised(lane.callee, error, Cause.INFRASTRUCTURE, calls.stopper.stopped(serial))
        printed = calls.output.mark()
        if printed is not None:
            extras["log"] = printed
        calls.write(serial, begun, _monotonic() - begun, status, body, extras)
        words[CURRENT] = words[PHASE] = 0
        if recipes and lane.callee is not None:
            self._load(lane.callee, recipes)
        return True

    def _in_child(
        self, serial: int, lane: Lane, callee: Callee, payload: bytes, item: int, attempt: int
    ) -> tuple[int, bytes, dict[str, Any], list[Any]] | None:
        """What the child said; None if it died without a word, and the supervisor was told so."""
        calls = self._calls
        calls.workshop.switch(callee)
        for _ in range(TRIES):
            why = native.why_not_fork()
            if why is not None:
                raise Elsewhere(why, alone=True)
            before = set(procfs.children(os.getpid()))
            pid, read = self._fork(serial, lane, callee, payload, item, attempt)
            said, code = _read_all(read), 0
            if said:
                self._ended.add(pid)
            else:  # It died; or its call has closed the line, and it left its words in the page.
                code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                said = calls.page.left(serial) if code == 0 else b""
            self._end_orphans(before | {pid})
            if said:
                calls.words[CHILD] = 0
                return _opened(said)
            hung = calls.words[PHASE] == Phase.FORKED and calls.stopper.stopping != serial
            calls.words[CHILD] = 0
            if not hung:
                calls.output.mark()
                calls.say(talk.Died(serial, code))
                calls.words[CURRENT] = calls.words[PHASE] = 0
                return None
        raise Elsewhere("forked children of this process hang in a lock that one of its threads held", alone=True)

    def _fork(
        self, serial: int, lane: Lane, callee: Callee, payload: bytes, item: int, attempt: int
    ) -> tuple[int, int]:
        words = self._calls.words
        read, write = os.pipe()
        words[PHASE] = int(Phase.FORKED)
        self._place.forking_call = True
        try:
            pid = os.fork()
        finally:
            self._place.forking_call = False
        if pid == 0:
            os.close(read)
            self._be_child(write, serial, lane, callee, payload, item, attempt)
        words[CHILD] = pid
        os.close(write)
        return pid, read

    def _be_child(
        self, write: int, serial: int, lane: Lane, callee: Callee, payload: bytes, item: int, attempt: int
    ) -> NoReturn:
        """Run the call, say how it ended, and end."""
        calls = self._calls
        code = 1
        try:
            calls.stopper.adopt()
            calls.pid = os.getpid()
            calls.sock.close()
            calls.workshop.forked()
            calls.begin_figures()
            context = Context(lane.surroundings, item, attempt, serial)
            extras: dict[str, Any] = {}
            begun = _monotonic()
            try:
                status, body = calls.run_inside(lane, payload, context, extras)
            except CallCancelled as stop:
                status, body = interrupted(callee, stop, calls.stopper.stopped(serial))
            context.close()
            calls.figures(extras, _monotonic() - begun)
            rows = calls.workshop.telemetry()
            if rows:
                extras["cache"] = [{key: value for key, value in row.items() if key != "recipe"} for row in rows]
            recipes = [row["recipe"] for row in rows if row.get("misses") and row.get("recipe")]
            calls.output.flush()
            said = msgpack.packb((status, body, extras, recipes), unicode_errors="surrogatepass", default=repr)
            try:
                _write_all(write, said)
            except OSError:
                calls.page.put(serial, 0, 0, 0, said)
            code = 0
        finally:
            os._exit(code)  # Nothing of the runner's is undone here: it is the runner's.

    def _load(self, callee: Callee, recipes: list[Any]) -> None:
        """What a child has missed and loaded is gone with it: load it here too, so that the next one finds it."""
        words = self._calls.words
        words[PHASE] = int(Phase.LOADING)
        if self._calls.has_unsent:
            self._calls.knock()
        try:
            loaded = self._calls.workshop.prewarm(callee, recipes)
        finally:
            words[PHASE] = int(Phase.IDLE)
            self._calls.output.skip()
        if loaded:
            self._calls.say(talk.Entries(list(loaded), []))

    @staticmethod
    def _end_orphans(known: set[int]) -> None:
        """Processes that the child has left behind are this process's now: end them, and all that comes from them."""
        for pid in procfs.children(os.getpid()):
            if pid not in known:
                for descendant in [*procfs.descendants(pid), pid]:
                    procfs.signal(descendant, signal.SIGKILL)
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, 0)

    def _reap(self) -> None:
        for pid in list(self._ended):
            with contextlib.suppress(ChildProcessError):
                if os.waitpid(pid, os.WNOHANG)[0] == 0:
                    continue
            self._ended.discard(pid)


def _opened(said: bytes) -> tuple[int, bytes, dict[str, Any], list[Any]]:
    status, body, extras, recipes = msgpack.unpackb(said, strict_map_key=False, unicode_errors="surrogatepass")
    return status, body, extras, recipes


def _read_all(fd: int) -> bytes:
    pieces = []
    try:
        while piece := os.read(fd, 1 << 20):
            pieces.append(piece)
    finally:
        os.close(fd)
    return b"".join(pieces)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
