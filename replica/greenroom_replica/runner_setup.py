"""A newborn process becomes a runner: descriptors, signals, environment, the place where user code runs."""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import mmap
import os
import signal
import socket
import sys
import types
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from greenroom_replica import system
from greenroom_replica.config import ReplicaConfig
from greenroom_replica.core.page import SIZE, Page
from greenroom_replica.runner_output import Output

NAMES: Final = ("sock", "lifeline", "page", "out", "err", "crash")
"""What the descriptors are that travel with a fork request, in order."""

PAGE_NAME: Final = "greenroom-page"
"""Name of the memory file behind a runner's page: a process that does not map it is no runner any more."""

DUMP_SIGNAL: Final = signal.SIGUSR2
"""Has the runner write its stack, whatever it is doing."""

_HIDDEN: Final = ("GREENROOM_HUB_", "GREENROOM_TOKEN")
"""Environment variables of the hub that user code does not see."""


class Breakpoint(RuntimeError):
    """`breakpoint()` where nobody can answer.

    Args:
        address: Of the call that runs: `ID/NODE/ITEM`.
    """

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self.address = address

    def __str__(self) -> str:
        return (
            "breakpoint() on a replica: nobody could answer it there; to debug this call under pdb run "
            f"`greenroom debug {self.address}`, or the whole program in this process by `greenroom run --here`"
        )


@dataclass(frozen=True, slots=True)
class RunnerSettings:
    """What a runner is told at its birth."""

    config: ReplicaConfig
    number: int
    """The supervisor's number for it."""
    kind: str
    """`warm`, `fresh` (one call) or `side` (one call beside the warm one)."""
    workshop: str = "greenroom_replica.workshops:make"
    """Who makes the workshop: `module:function`, called with these settings."""

    def to_wire(self) -> dict[str, Any]:
        """Plain data, for a `Fork` message."""
        return {
            "config": self.config.to_wire(),
            "number": self.number,
            "kind": self.kind,
            "workshop": self.workshop,
        }

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> RunnerSettings:
        """Read what `to_wire` gave."""
        return cls(ReplicaConfig.from_wire(wire["config"]), wire["number"], wire["kind"], wire["workshop"])

    @property
    def folder(self) -> str:
        """The runner's own folder: of the replica for a warm runner, fresh for any other."""
        name = "warm" if self.kind == "warm" else f"{self.kind}-{self.number}"
        return os.path.join(self.config.scratch, name)


class Place:
    """What a runner stands on once it is set up."""

    def __init__(self, settings: RunnerSettings, fds: list[int]) -> None:
        self.settings = settings
        sock, lifeline, page, out, err, crash = system.move_up(fds)
        os.closerange(3, min(sock, lifeline, page, out, err, crash))  # What the parent had open is none of ours.
        self.private = [sock, lifeline, page, out, err, crash]
        self.sock = socket.socket(fileno=sock)
        self.sock.setblocking(True)
        with contextlib.suppress(OSError):
            os.setsid()
        system.become_subreaper()
        system.set_name(f"greenroom-{settings.config.index}"[:15])
        system.die_with_peer(lifeline)
        self.page = Page(memoryview(mmap.mmap(page, SIZE)))
        _signals()
        self.output = Output(out, err, self.page.words)
        faulthandler.enable(file=crash, all_threads=False)
        faulthandler.register(DUMP_SIGNAL, file=crash, all_threads=False)
        _fresh_main()
        self._environment()
        self.own_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
        self.forking_call = False
        """Whether a fork happens right now that shall stay a runner: `isolation="fork"`."""
        self._mask: set[signal.Signals] = set()
        os.register_at_fork(before=self._before_fork, after_in_parent=self._after_fork, after_in_child=self._in_child)

    def run_async(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine of user code outside of calls, on the runner's own loop; `own_loop` gives that."""
        return self.own_loop().run_until_complete(coroutine)

    def _environment(self) -> None:
        config = self.settings.config
        folder = self.settings.folder
        self.work = os.path.join(folder, "work")
        self.tmp = os.path.join(folder, "tmp")
        for path in (self.work, self.tmp):
            os.makedirs(path, 0o700, exist_ok=True)
        for name in [name for name in os.environ if name.startswith(_HIDDEN)]:
            del os.environ[name]
        os.environ.update(config.env)
        os.environ["TMPDIR"] = self.tmp
        os.environ["PWD"] = self.work
        os.chdir(self.work)
        os.umask(0o022)
        sys.argv[:] = [""]
        sys.path[:] = [entry for entry in sys.path if entry]  # The current folder is no place to import from.

    def _before_fork(self) -> None:
        """A SIGTERM that hits the child before its handler is the default one would be forgotten: it waits instead."""
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # type: ignore[assignment]

    def _after_fork(self) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)

    def _in_child(self) -> None:
        """In a process that user code forked: what belongs to the runner is closed, so that it cannot be harmed."""
        if self.forking_call:
            self._after_fork()
            return
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self._after_fork()
        for fd in self.private:
            with contextlib.suppress(OSError):
                os.close(fd)


def _signals() -> None:
    for number in (signal.SIGHUP, signal.SIGCHLD, signal.SIGUSR1):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # As Python starts.
    signal.pthread_sigmask(signal.SIG_SETMASK, set())


def _fresh_main() -> None:
    sys.modules["__main__"] = types.ModuleType("__main__")
    sys.breakpointhook = _refuse_breakpoint


def _refuse_breakpoint(*_: Any, **__: Any) -> NoReturn:
    from greenroom.context import current_context

    context = current_context()
    raise Breakpoint(f"{context.execution_id.name}/{context.node}/{context.item}")
