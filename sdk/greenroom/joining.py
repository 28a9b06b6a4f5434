"""A replica that a person starts: who it is, what it offers, and its process, again and again until it is to leave."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any, Final

from greenroom.http import Connection, Endpoint, Request
from greenroom.hub_errors import HubError, refused
from greenroom.machine import Machine
from greenroom_protocol.ids import slug
from greenroom_protocol.version import VERSION, refusal

REFUSED: Final = 4
"""Exit code of a replica that its hub does not want; `greenroom_replica.supervisor` has it too."""

_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 30.0
_LIVED: Final = 30.0
"""Seconds after which a process that ends has not failed to start."""


class NotForReplicas(HubError):
    """A token that is good for something else."""

    def __init__(self, role: str, environment: str) -> None:
        super().__init__(role, environment)
        self.role, self.environment = role, environment

    def __str__(self) -> str:
        return (
            f"this token has role {self.role}; one for a replica comes from "
            f"greenroom hub invite NAME --role replica --environment {self.environment}"
        )


class WrongEnvironment(HubError):
    """A replica's token that is good for another environment."""

    def __init__(self, asked: str, allowed: str) -> None:
        super().__init__(asked, allowed)
        self.asked, self.allowed = asked, allowed

    def __str__(self) -> str:
        return f"this token is for environment {self.allowed!r}, not for {self.asked!r}"


class WrongProtocol(HubError):
    """A hub that this version cannot speak with."""

    def __init__(self, told: str) -> None:
        super().__init__(told)
        self.told = told

    def __str__(self) -> str:
        return self.told


class Joining:
    """One replica, from the first word with its hub to Ctrl-C.

    Args:
        endpoint: The hub's.
        environment: What it serves.
        token: Of an invitation with role replica.
        machine: What it offers.
        slots: Calls of regular tasks at a time.
        scratch: Folder for its files; None for a temporary one, removed at the end.
        say: Takes a line for the person.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        environment: str,
        token: str,
        machine: Machine,
        slots: int,
        scratch: str | None,
        say: Callable[[str], None],
    ) -> None:
        self._endpoint, self._environment, self._token = endpoint, environment, token
        self._machine, self._slots, self._scratch, self._say = machine, slots, scratch, say
        self._child: subprocess.Popen[bytes] | None = None
        self._asked = 0
        """Times that the person has said that it shall leave."""

    def run(self) -> int:
        """Serve until told to leave; the exit code.

        Raises:
            HubError: The hub cannot be reached, or does not want a replica with this token.
        """
        name = self._introduce()
        folder = self._scratch or tempfile.mkdtemp(prefix="greenroom-replica-")
        before = {number: signal.signal(number, self._leave) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            self._say(f"{name} serves {self._environment} of {self._endpoint}; Ctrl-C leaves once its calls have ended")
            return self._serve(name, folder)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            if self._scratch is None:
                shutil.rmtree(folder, ignore_errors=True)

    def _introduce(self) -> str:
        """Ask the hub who this token is."""
        connection = Connection(self._endpoint, self._token)
        try:
            answer = connection.request(Request("GET", "/api/me"))
        finally:
            connection.close()
        if answer.status != 200:
            raise refused(answer.status, answer.body)
        me: dict[str, Any] = json.loads(answer.body)
        why = refusal(int(me["protocol"]), "hub")
        if why is not None:
            raise WrongProtocol(f"{why} (this is {VERSION}, the hub is {me.get('version')})")
        if me["role"] != "replica" or not me.get("name"):
            raise NotForReplicas(str(me["role"]), self._environment)
        if me.get("environment") != self._environment:
            raise WrongEnvironment(self._environment, str(me.get("environment")))
        return str(me["name"])

    def _serve(self, name: str, folder: str) -> int:
        """One process after the other: a hub drains one whose environment was defined anew, and takes its successor."""
        pause = _FIRST_PAUSE
        while True:
            begun = time.monotonic()
            code = self._one(self._configuration(name, folder))
            if self._asked:
                return 0
            if code == REFUSED:
                return code
            if code:
                self._say(f"the replica's process ended with code {code}; the next one starts in {pause:g} s")
            pause = _FIRST_PAUSE if time.monotonic() - begun > _LIVED else min(_LONGEST_PAUSE, 2 * pause)
            deadline = time.monotonic() + (pause if code else _FIRST_PAUSE)
            while time.monotonic() < deadline:
                if self._is_leaving():
                    return 0
                time.sleep(0.05)

    def _is_leaving(self) -> bool:
        return self._asked > 0

    def _configuration(self, name: str, folder: str) -> dict[str, Any]:
        host = slug(socket.gethostname(), 20) or "host"
        replica = f"{name}.{host}-{os.urandom(3).hex()}"
        machine = self._machine
        return {
            "replica": replica,
            "generation": 1,
            "environment": self._environment,
            "hub": _address(self._endpoint),
            "token": self._token,
            "scratch": os.path.join(folder, replica),
            "slots": self._slots,
            "memory_limit": machine.limit,
            "labels": {"cpu": f"{machine.cpu:g}", "memory": str(machine.memory), "gpu": str(machine.gpu)},
        }

    def _one(self, configuration: dict[str, Any]) -> int:
        """One process of the replica, in a session of its own: Ctrl-C is for this one alone."""
        command = [sys.executable, "-P", "-m", "greenroom_replica", "--config", "-"]
        self._child = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
        assert self._child.stdin is not None
        self._child.stdin.write(json.dumps(configuration).encode())
        self._child.stdin.close()
        if self._is_leaving():
            self._child.terminate()
        return self._child.wait()

    def _leave(self, *_: object) -> None:
        self._asked += 1
        if self._asked == 1:
            self._say("leaving once its calls have ended; Ctrl-C again does not wait for them")
        if self._child is not None and self._child.poll() is None:
            self._child.terminate()


def _address(endpoint: Endpoint) -> str:
    return f"unix://{endpoint.path}" if endpoint.scheme == "unix" else str(endpoint)
