"""A person at a machine of their own: a home, a folder with programs, a state folder, and the real command line."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from greenroom_core.facts import CallsFinished, Fact, unpack_fact

BIN = Path(sys.executable).parent
PATIENCE = 60.0
"""Seconds that any single command may take: far above what one does, so that a slow machine fails nothing."""


class Done(NamedTuple):
    """A command that has ended."""

    code: int
    out: str
    err: str
    seconds: float

    @property
    def value(self) -> Any:
        """What stdout says, which must be JSON and nothing else."""
        return json.loads(self.out)


class Answer(NamedTuple):
    """What the hub answered to a request."""

    status: int
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Running:
    """A command that runs in the background, in a process group of its own as a shell's jobs are."""

    def __init__(self, process: subprocess.Popen[bytes], out: Path, err: Path) -> None:
        self.process = process
        self._out, self._err, self._began = out, err, time.monotonic()

    @property
    def err(self) -> str:
        return self._err.read_text(errors="replace")

    @property
    def out(self) -> str:
        return self._out.read_text(errors="replace")

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def wait(self, timeout: float = PATIENCE) -> Done:
        code = self.process.wait(timeout)
        return Done(code, self.out, self.err, time.monotonic() - self._began)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)


class Person:
    """Somebody with a home, a folder of programs, and a hub of their own once a command has started it.

    Args:
        folder: Everything lies below it; it must not exist.
        state: The state folder; below `folder` unless told otherwise.
    """

    def __init__(self, folder: Path, state: Path | None = None) -> None:
        self.folder, self.work, self.tmp = folder, folder / "work", folder / "tmp"
        self.state = state or folder / "state"
        for place in (self.work, self.tmp, folder / "home"):
            place.mkdir(parents=True)
        kept = {name: text for name, text in os.environ.items() if not name.startswith(("GREENROOM_", "XDG_", "CI"))}
        kept.pop("PYTHONPATH", None)
        self.env = {
            **kept,
            "HOME": str(folder / "home"),
            "TMPDIR": str(self.tmp),
            "GREENROOM_STATE": str(self.state),
            "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}",
        }
        self._started: list[Running] = []

    # Programs and commands --------------------------------------------------------------------------------------------

    def write(self, name: str, text: str) -> Path:
        """Put a file into the folder that this person works in."""
        path = self.work / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def greenroom(self, *words: object, env: Mapping[str, str] | None = None, python: Path | None = None) -> Done:
        """Type a command and wait for its end."""
        return self.start(*words, env=env, python=python).wait()

    def run(self, *words: object, env: Mapping[str, str] | None = None, python: Path | None = None) -> Any:
        """`greenroom run` that must succeed; gives the value that it printed."""
        done = self.greenroom("run", *words, env=env, python=python)
        assert done.code == 0, f"exit code {done.code}\n{done.err}"
        return done.value

    def start(self, *words: object, env: Mapping[str, str] | None = None, python: Path | None = None) -> Running:
        """Type a command and leave it running."""
        number = len(self._started)
        out, err = self.folder / f"{number}.out", self.folder / f"{number}.err"
        command = [str(python or sys.executable), "-m", "greenroom.cli", *map(str, words)]
        with out.open("wb") as to_out, err.open("wb") as to_err:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=to_out,
                stderr=to_err,
                cwd=self.work,
                env={**self.env, **(env or {})},
                process_group=0,
            )
        running = Running(process, out, err)
        self._started.append(running)
        return running

    def shell(self, script: str, env: Mapping[str, str] | None = None) -> Done:
        """Have a shell do something, with `greenroom` on its PATH."""
        began = time.monotonic()
        environment = {**self.env, **(env or {})}
        done = subprocess.run(
            ["bash", "-c", script], capture_output=True, text=True, cwd=self.work, env=environment, timeout=PATIENCE
        )
        return Done(done.returncode, done.stdout, done.stderr, time.monotonic() - began)

    # The hub ----------------------------------------------------------------------------------------------------------

    @property
    def record(self) -> dict[str, Any]:
        """What the hub wrote about itself."""
        told: dict[str, Any] = json.loads((self.state / "hub.json").read_text())
        return told

    @property
    def token(self) -> str:
        return (self.state / "token").read_text().strip()

    def kill_hub(self) -> int:
        """`kill -9` the hub, and wait until it is gone; gives its pid."""
        pid = int(self.record["pid"])
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not is_alive(pid), "the hub's end")
        return pid

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """A request to the hub's port. Headers given as None-like empty strings are left out."""
        place = urlsplit(self.record["url"])
        connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=20)
        told = {"Authorization": f"Bearer {self.token}", **(headers or {})}
        try:
            connection.request(method, path, body, {name: text for name, text in told.items() if text})
            answer = connection.getresponse()
            return Answer(answer.status, answer.read())
        finally:
            connection.close()

    def headers(self, path: str) -> dict[str, str]:
        """The headers, in small letters, that the hub sends with what a path answers."""
        place = urlsplit(self.record["url"])
        connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=20)
        try:
            connection.request("GET", path, headers={"Authorization": f"Bearer {self.token}"})
            return {name.lower(): text for name, text in connection.getresponse().getheaders()}
        finally:
            connection.close()

    def get(self, path: str) -> Any:
        """A JSON answer of the hub, which must be 200."""
        answer = self.ask("GET", path)
        assert answer.status == 200, answer
        return answer.json

    def executions(self) -> list[dict[str, Any]]:
        """All executions, newest first."""
        rows: list[dict[str, Any]] = self.get("/api/executions?limit=200")["executions"]
        return rows

    def last(self) -> str:
        """The id of the newest execution that is nobody's child."""
        return str(self.get("/api/executions/last")["id"])

    def events(self, execution: str, after: int = 0) -> list[dict[str, Any]]:
        """All events of an execution, page by page."""
        events: list[dict[str, Any]] = []
        while page := self.get(f"/api/executions/{execution}/events?after={after}")["events"]:
            events += page
            after = page[-1]["seq"]
        return events

    def replicas(self, environment: str = "") -> list[dict[str, Any]]:
        """Replicas of one environment, or of all."""
        pools = self.get("/api/replicas")["environments"]
        return [one for pool in pools if environment in ("", pool["environment"]) for one in pool["replicas"]]

    def warm(self, environment: str = "") -> dict[str, int]:
        """Replicas by id, with the process that each one is: equal ones before and after are the same, still warm."""
        return {one["id"]: one["pid"] for one in self.replicas(environment)}

    def facts(self, execution: str) -> list[Fact]:
        """An execution's facts as the disk has them, read past the hub."""
        log = sqlite3.connect(f"file:{self.state / 'log.sqlite'}?mode=ro", uri=True)
        try:
            rows = log.execute(
                "SELECT kind, data FROM events JOIN streams ON key = stream WHERE name = ? ORDER BY seq", (execution,)
            ).fetchall()
        finally:
            log.close()
        return [unpack_fact(kind, data) for kind, data in rows]

    def recorded(self, execution: str, node: str) -> Counter[int]:
        """How often the log says that an item has succeeded, without results that were refused."""
        counts: Counter[int] = Counter()
        for fact in self.facts(execution):
            if isinstance(fact, CallsFinished) and fact.node == node:
                outcomes = fact.outcomes
                counts.update(
                    item
                    for place, (item, status) in enumerate(
                        zip(outcomes.item_list(), outcomes.status_list(), strict=True)
                    )
                    if status == 0 and place not in fact.refused
                )
        return counts

    def wait_until(self, true: Callable[[], Any], what: str, seconds: float = 20.0) -> Any:
        """Wait for something to become true, which the hub may be asked about."""
        return wait_for(true, what, seconds)

    # Going ------------------------------------------------------------------------------------------------------------

    def processes(self) -> list[str]:
        """Processes that live from this person's state folder, as `pid command`."""
        mark = f"GREENROOM_STATE={self.state}".encode()
        found = []
        for place in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if int(place.name) != os.getpid() and mark in (place / "environ").read_bytes().split(b"\0"):
                    words = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                    if words:  # A zombie has none.
                        found.append(f"{place.name} {words}")
        return found

    def go(self) -> list[str]:
        """Stop and purge the hub; gives whatever is left of it, which should be nothing."""
        for running in self._started:
            running.end()
        done = self.greenroom("hub", "stop", "--purge")
        left = [] if done.code == 0 else [f"hub stop --purge ended with {done.code}: {done.err}"]
        try:
            wait_for(lambda: not self.processes(), "all processes to end", 5.0)
        except AssertionError:
            left += self.processes()
            for line in self.processes():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(line.split()[0]), signal.SIGKILL)
        if self.state.exists():
            left += [str(path) for path in (self.state, *self.state.rglob("*"))]
            shutil.rmtree(self.state, ignore_errors=True)
        return left + [str(path) for path in self.tmp.rglob("*")]


def wait_for(true: Callable[[], Any], what: str, seconds: float = 20.0) -> Any:
    """Look 50 times a second whether something is true; its value once it is."""
    deadline = time.monotonic() + seconds
    while not (value := true()):
        assert time.monotonic() < deadline, f"waited {seconds:g} s for {what}"
        time.sleep(0.02)
    return value


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that nobody has reaped yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@contextlib.contextmanager
def visiting(folder: Path, state: Path | None = None) -> Iterator[Person]:
    """A person who, at the end, leaves no process, socket or file behind."""
    person = Person(folder, state)
    try:
        yield person
    finally:
        left = person.go()
    assert not left, "\n".join(left)
