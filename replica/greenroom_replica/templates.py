"""Templates: second-level zygotes that have a program's libraries imported, and fork runners that have them too."""

from __future__ import annotations

import gc
import importlib
import os
import signal
import socket
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from greenroom_replica import native, system
from greenroom_replica.births import run_runner
from greenroom_replica.brood import Ended
from greenroom_replica.core import talk
from greenroom_replica.forking import ForkLoop

MOST: Final = 4
"""Templates kept at a time: each holds its libraries' own pages, some 50 to 100 MB for a data science stack."""

IDLE: Final = 900.0
"""Seconds after which a template that nobody forks from ends."""

Key: TypeAlias = "tuple[tuple[str, ...], tuple[tuple[str, str], ...]]"


class Line:
    """A supervisor's line to the zygote, seen from the zygote. Nothing said on it is lost, and nothing blocks."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._unsent: deque[bytes] = deque()

    def tell(self, message: talk.ZygoteMessage) -> None:
        """Say something; kept if the supervisor does not read just now."""
        self._unsent.append(talk.pack(message))
        self.flush()

    def flush(self) -> bool:
        """Send what was kept; whether all of it is sent."""
        while self._unsent:
            try:
                self.sock.send(self._unsent[0])
            except BlockingIOError:
                return False
            except OSError:
                self._unsent.clear()
                return True
            self._unsent.popleft()
        return True


@dataclass(slots=True, eq=False)
class Runner:
    """A runner that a template forked, or is about to."""

    uid: int
    number: int
    """The supervisor's number for it."""
    owner: Line
    template: Template
    pid: int = 0


@dataclass(slots=True, eq=False)
class Template:
    """One template process, seen from the zygote."""

    key: Key
    sock: socket.socket
    pid: int = 0
    is_ready: bool = False
    is_gone: bool = False
    used: float = 0.0
    runners: int = 0
    """How many of its runners live."""
    wanted_by: list[Line] = field(default_factory=list)
    """Who waits for it to be ready."""


class Templates:
    """The templates of a zygote, by what they import under which environment variables.

    Args:
        loop: The zygote's loop.
    """

    def __init__(self, loop: ForkLoop) -> None:
        self._loop = loop
        self._templates: OrderedDict[Key, Template] = OrderedDict()
        self._leaving: set[Template] = set()
        self._runners: dict[int, Runner] = {}
        self._last_uid = 0
        self.refused: dict[Key, str] = {}
        """Sets of libraries that cannot be forked, and why."""

    def serve(self, line: Line, order: Any, fds: list[int]) -> None:
        """Do what a supervisor asks for."""
        match order:
            case talk.Fork():
                self._fork(line, order, fds)
            case talk.Template(libraries, env):
                self._want(line, libraries, env)
            case talk.End(number, signal_number):
                for runner in self._of(line):
                    if runner.number == number:
                        self._kill(runner, signal_number)

    def disown(self, line: Line) -> None:
        """A replica has ended: so do its runners."""
        for runner in self._of(line):
            self._kill(runner, signal.SIGKILL)
        for template in self._templates.values():
            template.wanted_by = [other for other in template.wanted_by if other is not line]

    def expire(self, now: float) -> None:
        """End templates that nobody used for long; those with living runners stay until these are gone."""
        for template in list(self._templates.values()):
            if now - template.used > IDLE and not template.runners:
                self._let_go(template)
        for template in list(self._leaving):
            if not template.runners:
                self._leaving.discard(template)
                self._loop.forget(template.sock)  # Its only way to be told: user code may signal its parent.

    def ended(self, ended: Ended) -> None:
        """A template's process has ended, or a runner whose template ended before it."""
        key = ended.child.key
        if isinstance(key, Runner):
            self._reaped(key, ended.code, ended.cpu_s, ended.max_rss)
        elif isinstance(key, Template):
            self._template_ended(key)

    # Templates ------------------------------------------------------------------------------------------------------

    def _want(self, line: Line, libraries: Sequence[str], env: Mapping[str, str]) -> None:
        key = _key(libraries, env)
        known = self._templates.get(key)
        if known is not None and known.is_ready:
            line.tell(talk.Settled(list(libraries), ""))
        elif known is not None:
            known.wanted_by.append(line)
        elif key in self.refused:
            line.tell(talk.Settled(list(libraries), self.refused[key]))
        elif libraries:
            self._start(key, line)

    def _start(self, key: Key, line: Line) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        template = Template(key, ours, used=time.monotonic(), wanted_by=[line])
        self._loop.watch(ours, lambda: self._hear(template))
        try:
            template.pid = self._loop.brood.fork(template, lambda: TemplateProcess(theirs).run(key)).pid
        except OSError:
            self._loop.forget(ours)
            return
        finally:
            theirs.close()
        self._templates[key] = template
        while len(self._templates) > MOST:
            self._let_go(next(iter(self._templates.values())))

    def _let_go(self, template: Template) -> None:
        self._templates.pop(template.key, None)
        self._leaving.add(template)

    def _template_ended(self, template: Template) -> None:
        template.is_gone = True
        if self._templates.get(template.key) is template:
            del self._templates[template.key]
        self._leaving.discard(template)
        self._loop.forget(template.sock)
        if not template.is_ready:
            self._settle(template, self.refused.get(template.key, "its process died while it imported them"))
        for runner in [runner for runner in self._runners.values() if runner.template is template]:
            if runner.pid:
                self._loop.brood.adopt(runner.pid, runner)  # It is a child of this process now.
            else:
                self._unborn(runner, "the template that should have made it died")

    def _settle(self, template: Template, refused: str) -> None:
        if refused:
            self.refused[template.key] = refused
        template.is_ready = not refused
        for line in template.wanted_by:
            line.tell(talk.Settled(list(template.key[0]), refused))
        template.wanted_by.clear()

    def _hear(self, template: Template) -> None:
        while True:
            try:
                body = template.sock.recv(1 << 16)
            except BlockingIOError:
                return
            except OSError:
                body = b""
            if not body:
                self._loop.forget(template.sock)
                return
            self._take(template, talk.unpack(body))

    def _take(self, template: Template, message: Any) -> None:
        if isinstance(message, talk.Settled):
            self._settle(template, message.refused)
            return
        runner = self._runners.get(message.runner)
        if runner is None:
            return
        match message:
            case talk.Forked(_, pid, _):
                runner.pid = pid
                runner.owner.tell(talk.Forked(runner.number, pid, True))
            case talk.Unborn(_, why):
                self._unborn(runner, why)
            case talk.Reaped(_, _, code, cpu_s, max_rss):
                self._reaped(runner, code, cpu_s, max_rss)

    # Runners --------------------------------------------------------------------------------------------------------

    def _fork(self, line: Line, order: talk.Fork, fds: list[int]) -> None:
        template = self._templates.get(_key(order.libraries, order.env))
        if template is None or not template.is_ready:
            line.tell(talk.Unborn(order.runner, "its template is gone"))
            return
        self._templates.move_to_end(template.key)
        self._last_uid += 1
        runner = Runner(self._last_uid, order.runner, line, template)
        try:
            system.send_with_fds(template.sock, talk.pack(order._replace(runner=runner.uid)), fds)
        except OSError as fault:
            line.tell(talk.Unborn(order.runner, f"its template cannot be reached: {fault}"))
            return
        template.used = time.monotonic()
        template.runners += 1
        self._runners[runner.uid] = runner

    def _of(self, line: Line) -> list[Runner]:
        return [runner for runner in self._runners.values() if runner.owner is line]

    def _kill(self, runner: Runner, number: int) -> None:
        if runner.template.is_gone:
            self._loop.brood.kill(runner.pid, number)
        else:
            _send(runner.template.sock, talk.End(runner.uid, number))

    def _unborn(self, runner: Runner, why: str) -> None:
        del self._runners[runner.uid]
        runner.template.runners -= 1
        runner.owner.tell(talk.Unborn(runner.number, why))

    def _reaped(self, runner: Runner, code: int, cpu_s: float, max_rss: int) -> None:
        if self._runners.pop(runner.uid, None) is not None:
            runner.template.runners -= 1
            runner.owner.tell(talk.Reaped(runner.number, runner.pid, code, cpu_s, max_rss))


class TemplateProcess:
    """The template's own side: imports, then forks for the zygote. Ends when the zygote does."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._loop = ForkLoop()
        self._pids: dict[int, int] = {}

    def run(self, key: Key) -> int:
        """Import, say whether that can be forked, and serve."""
        libraries, env = key
        system.become_subreaper()
        system.set_name("greenroom-templ")
        os.environ.update(env)
        why = import_all(libraries)
        _send(self._sock, talk.Settled(list(libraries), why or ""))
        if why:
            return 0
        gc.collect()
        gc.disable()
        gc.freeze()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # It is the parent of many replicas' runners.
        self._sock.setblocking(False)
        self._loop.watch(self._sock, self._hear)
        self._loop.run(self._on_end, lambda: 60.0)
        self._loop.close()
        return 0

    def _hear(self) -> None:
        while True:
            try:
                body, fds = system.receive_with_fds(self._sock)
            except BlockingIOError:
                return
            except OSError:
                body, fds = b"", []
            if not body:
                self._loop.stopped = True
                return
            try:
                self._serve(talk.unpack(body), fds)
            finally:
                for fd in fds:
                    os.close(fd)

    def _serve(self, order: Any, fds: list[int]) -> None:
        match order:
            case talk.Fork():
                try:
                    child = self._loop.brood.fork(order.runner, lambda: run_runner(order.settings, fds))
                except OSError as fault:
                    _send(self._sock, talk.Unborn(order.runner, f"cannot fork: {fault}"))
                else:
                    self._pids[order.runner] = child.pid
                    _send(self._sock, talk.Forked(order.runner, child.pid, True))
            case talk.End(uid, number):
                if uid in self._pids:
                    self._loop.brood.kill(self._pids[uid], number)

    def _on_end(self, ended: Ended) -> None:
        uid = ended.child.key
        assert isinstance(uid, int)
        self._pids.pop(uid, None)
        _send(self._sock, talk.Reaped(uid, ended.child.pid, ended.code, ended.cpu_s, ended.max_rss))


def import_all(libraries: Sequence[str]) -> str | None:
    """Import libraries; returns why they must not be forked afterwards, None if they may.

    One that cannot be imported is left out: whether that matters is for the user's own import to say.
    """
    for name in libraries:
        try:
            importlib.import_module(name)
        except Exception:
            continue
    if threading.active_count() > 1:
        names = ", ".join(thread.name for thread in threading.enumerate()[1:])
        return f"importing them starts threads ({names}), which a forked child would not have"
    return native.why_not_fork()


def _key(libraries: Sequence[str], env: Mapping[str, str]) -> Key:
    return tuple(sorted(libraries)), tuple(sorted(env.items()))


def _send(sock: socket.socket, message: talk.ZygoteMessage) -> None:
    try:
        sock.send(talk.pack(message))
    except OSError:
        pass  # The other side has ended; that is told by the kernel.
