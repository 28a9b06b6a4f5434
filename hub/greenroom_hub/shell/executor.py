"""Carries out what the machine wants: commands become messages, launches, and definitions that are built once."""

from __future__ import annotations

from array import array
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from greenroom_core.values import ValueFault
from greenroom_hub.core import commands as c
from greenroom_hub.core.events import LaunchFailed
from greenroom_hub.shell.ports import Launcher, Links
from greenroom_hub.shell.tasks import Tasks
from greenroom_hub.shell.vault import Vault
from greenroom_protocol import frames
from greenroom_protocol.calls import Definition, digest_of

_KEPT_DEFINITIONS = 1024


@dataclass(slots=True)
class _Built:
    digest: bytes
    body: bytes


class Executor:
    """One for the hub. Messages to one replica keep their order, also where some wait for a commit."""

    def __init__(self, links: Links, launchers: dict[str, Launcher], vault: Vault, tasks: Tasks) -> None:
        self._links = links
        self._launchers = launchers
        self._vault = vault
        self._tasks = tasks
        self._built: OrderedDict[c.Wanted, _Built] = OrderedDict()
        self._waiting: dict[str, deque[tuple[int, frames.FromHub]]] = {}
        self.on_unsendable: Callable[[c.SendCalls, str], None] = lambda command, why: None
        """Called for calls whose inputs cannot be read any more."""
        self.on_unlaunchable: Callable[[LaunchFailed], None] = lambda event: None
        """Called for replicas whose launcher is not here any more."""
        self.on_check_plan: Callable[[c.CheckPlan], None] = lambda command: None
        """Called for launch plans whose time has come."""
        self.on_look_up: Callable[[c.LookUp], None] = lambda command: None
        """Called for nodes whose results may be cached."""

    def run(self, wanted: Iterable[c.Do], committed: int) -> None:
        """Carry out commands that may overlap their turn's commit.

        Args:
            wanted: In the machine's order.
            committed: Last row that is on disk.
        """
        for command in wanted:
            if isinstance(command, (c.StartReplica, c.StopReplica)):
                self._launch(command)
            elif isinstance(command, c.LookUp):
                self.on_look_up(command)
            elif isinstance(command, c.CheckPlan):
                self.on_check_plan(command)
            else:
                self._message(command, committed)

    def release(self, committed: int) -> None:
        """Rows up to `committed` are on disk: send what waited for them."""
        for replica in list(self._waiting):
            queue = self._waiting[replica]
            while queue and queue[0][0] <= committed:
                self._links.send(replica, queue.popleft()[1])
            if not queue:
                del self._waiting[replica]

    def forget(self, replica: str) -> None:
        """A replica's connection is new: what waited for the old one is settled by its hello."""
        self._waiting.pop(replica, None)

    def _message(self, command: Any, committed: int) -> None:
        needs = command.needs if isinstance(command, c.SendCalls) else 0
        try:
            message = self._translate(command)
        except ValueFault as fault:
            self.on_unsendable(command, str(fault))
            return
        queue = self._waiting.get(command.replica)
        if needs > committed or queue:
            self._waiting.setdefault(command.replica, deque()).append((needs, message))
        else:
            self._links.send(command.replica, message)

    def _translate(self, command: Any) -> frames.FromHub:
        if isinstance(command, c.SendCalls):
            return self._assign(command)
        if isinstance(command, c.Define):
            built = self._build(command)
            return frames.Define(built.digest, built.body)
        if isinstance(command, c.SendCancel):
            return frames.Cancel(command.execution, command.node, list(command.items), command.reason)
        if isinstance(command, c.SendRevoke):
            return frames.Revoke(command.execution, command.node, list(command.items))
        if isinstance(command, c.SendPrewarm):
            return frames.Prewarm(self._build(command.define).digest, list(command.recipes))
        assert isinstance(command, c.SendDrain)
        return frames.Drain(command.reason)

    def _assign(self, command: c.SendCalls) -> frames.Assign:
        items = command.items
        together = isinstance(items, range)
        if command.lists:
            base, ends, payload = _columns(command)
        else:
            base, ends, payload = 0, array("Q", (len(command.single),)).tobytes(), command.single
        return frames.Assign(
            self._built[command.wanted].digest,
            command.execution,
            command.node,
            items[0] if together else list(items),
            command.attempts,
            base,
            ends,
            payload,
            command.context,
        )

    def _build(self, command: c.Define) -> _Built:
        built = self._built.get(command.wanted)
        if built is None:
            body = self._definition(command).pack()
            built = self._built[command.wanted] = _Built(digest_of(body), body)
            if len(self._built) > _KEPT_DEFINITIONS:
                self._built.popitem(last=False)
        else:
            self._built.move_to_end(command.wanted)
        return built

    def _definition(self, command: c.Define) -> Definition:
        task, program = command.task, command.program
        opened = self._vault.open(command.sealed)
        allowed = {*task.secrets, *command.environment.secrets}
        return Definition(
            task=task.name,
            environment=command.environment.name,
            bundle=program.bundle,
            module=task.module,
            qualname=task.qualname,
            pickled=task.pickled,
            params=list(command.wanted.params),
            bound=dict(command.bound),
            outputs=list(task.outputs),
            isolation=task.isolation,
            concurrency=command.environment.concurrency,
            timeout=command.timeout,
            env={**opened.env, **command.environment.env},
            secrets={name: value for name, value in opened.secrets.items() if name in allowed},
            options={
                **task.options,
                "alias": program.alias,
                "origin": program.origin,
                "cwd": program.cwd,
                "project": program.project,
                "mode": str(task.mode),
                "retry_on": list(task.retry.on),
            },
        )

    def _launch(self, command: c.StartReplica | c.StopReplica) -> None:
        if isinstance(command, c.StartReplica):
            launcher = self._launchers.get(command.launcher)
            if launcher is None:
                known = ", ".join(self._launchers)
                why = f"its environment wants launcher {command.launcher!r}, and this hub has {known}"
                self.on_unlaunchable(LaunchFailed(command.replica, command.generation, why, final=True))
            else:
                self._tasks.start(launcher.start(command), f"start {command.replica}")
            return
        for launcher in self._launchers.values():
            self._tasks.start(launcher.stop(command), f"stop {command.replica}")


def _columns(command: c.SendCalls) -> tuple[int, bytes, bytes]:
    """The payloads of a batch: sliced where one list's neighbours go together, else joined call by call."""
    items = command.items
    if isinstance(items, range) and len(command.lists) == 1:
        part = command.lists[0].slice(items.start, items.stop)
        return part.base, part.ends, part.payload
    ends, end, parts = array("Q"), 0, []
    for item in items:
        for source in command.lists:
            value = source.slice(item, item + 1).payload
            parts.append(value)
            end += len(value)
        ends.append(end)
    return 0, ends.tobytes(), b"".join(parts)
