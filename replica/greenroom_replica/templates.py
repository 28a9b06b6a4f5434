"""Templates: second-level zygotes that have a program's libraries imported, and fork runners that have them too."""

from __future__ import annotations

import gc
import importlib
import os
import signal
import socket
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeAlias

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


class Parent(Protocol):
    """Who is told about the runners that templates fork: the zygote."""

    def forked(self, uid: int, pid: int, warm: bool) -> None: ...

    def unborn(self, uid: int, why: str) -> None: ...

    def reaped(self, uid: int, pid: int, code: int, cpu_s: float, max_rss: int) -> None: ...

    def inherit(self, uids: list[int]) -> None: ...


@dataclass(slots=True, eq=False)
class Template:
    """One template process, seen from the zygote."""

    key: Key
    sock: socket.socket
    pid: int = 0
    is_ready: bool = False
    used: float = 0.0
    runners: set[int] = field(default_factory=set)

    def fork(self, order: talk.Fork, fds: list[int]) -> bool:
        """Have it fork a runner; False if it cannot be reached."""
        try:
            system.send_with_fds(self.sock, talk.pack(order), fds)
        except OSError:
            return False
        self.used = time.monotonic()
        self.runners.add(order.runner)
        return True


class Templates:
    """The templates of a zygote, by what they import under which environment variables.

    Args:
        loop: The zygote's loop.
        parent: Who hears of the runners.
    """

    def __init__(self, loop: ForkLoop, parent: Parent) -> None:
        self._loop = loop
        self._parent = parent
        self._templates: OrderedDict[Key, Template] = OrderedDict()
        self._leaving: set[Template] = set()
        self.refused: dict[Key, str] = {}
        """Sets of libraries that cannot be forked, and why."""

    def ready(self, libraries: Sequence[str], env: Mapping[str, str]) -> Template | None:
        """The template for these libraries, if it is ready."""
        template = self._templates.get(_key(libraries, env)) if libraries else None
        if template is None or not template.is_ready:
            return None
        self._templates.move_to_end(template.key)
        return template

    def want(self, libraries: Sequence[str], env: Mapping[str, str]) -> None:
        """Start a template for these libraries, unless there is one or it was refused before."""
        key = _key(libraries, env)
        if not libraries or key in self._templates or key in self.refused:
            return
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._loop.watch(ours, lambda: None)  # So that the child closes it.
        template = Template(key, ours, used=time.monotonic())
        try:
            template.pid = self._loop.brood.fork(template, lambda: TemplateProcess(theirs).run(key)).pid
        except OSError:
            self._loop.forget(ours)
            return
        finally:
            theirs.close()
        ours.setblocking(False)
        self._loop.watch(ours, lambda: self._hear(template))
        self._templates[key] = template
        while len(self._templates) > MOST:
            self._let_go(next(iter(self._templates.values())))

    def kill(self, uid: int, number: int) -> bool:
        """Have a runner killed, if a template forked it."""
        for template in (*self._templates.values(), *self._leaving):
            if uid in template.runners:
                _send(template.sock, talk.End(uid, number))
                return True
        return False

    def expire(self, now: float) -> None:
        """End templates that nobody used for long; those with living runners stay until these are gone."""
        for template in list(self._templates.values()):
            if now - template.used > IDLE and not template.runners:
                self._let_go(template)
        for template in list(self._leaving):
            if not template.runners:
                self._leaving.discard(template)
                self._loop.brood.kill(template.pid, signal.SIGTERM)

    def ended(self, template: object) -> None:
        """A template's process has ended."""
        assert isinstance(template, Template)
        if self._templates.get(template.key) is template:
            del self._templates[template.key]
            if not template.is_ready:
                self.refused.setdefault(template.key, "its process died while it imported them")
        self._leaving.discard(template)
        self._loop.forget(template.sock)
        self._parent.inherit(sorted(template.runners))

    def _let_go(self, template: Template) -> None:
        self._templates.pop(template.key, None)
        self._leaving.add(template)

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
        match message:
            case talk.Settled(""):
                template.is_ready = True
            case talk.Settled(why):
                self.refused[template.key] = why
            case talk.Forked(uid, pid, warm):
                self._parent.forked(uid, pid, warm)
            case talk.Unborn(uid, why):
                template.runners.discard(uid)
                self._parent.unborn(uid, why)
            case talk.Reaped(uid, pid, code, cpu_s, max_rss):
                template.runners.discard(uid)
                self._parent.reaped(uid, pid, code, cpu_s, max_rss)


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
        _send(self._sock, talk.Settled(why or ""))
        if why:
            return 0
        gc.collect()
        gc.disable()
        gc.freeze()
        signal.signal(signal.SIGTERM, lambda *_: setattr(self._loop, "stopped", True))
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
