"""Whether what a launch plan has pinned is still there: its code, and the Python with its packages."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from greenroom_core.program import Interpreter, Program
from greenroom_core.values import ValueFault
from greenroom_hub.core import commands as c
from greenroom_hub.core.events import Event, PlanChecked
from greenroom_hub.shell.archive import Archive
from greenroom_hub.shell.references import place
from greenroom_hub.shell.tasks import Tasks
from greenroom_protocol.bundle import BadManifest, Manifest

log = structlog.get_logger("greenroom.plans")

_LONGEST_S: Final = 30.0
"""Seconds that a Python may take to say what is installed in it; a cold disk needs several."""

_ASK: Final = "from greenroom.bundling.interpreter import interpreter_key as k; print(k().digest)"


class PlanChecks:
    """Looks at what plans have pinned.

    Args:
        archive: Knows programs.
        blobs: Folder of the hub's blobs.
        tasks: Runs what takes long.
        post: Puts an event into the hub's inbox.
        local: Whether programs were made on this machine; elsewhere a path of theirs may mean nothing here.
        launcher: What starts the replicas of environments that name none.
    """

    def __init__(
        self, archive: Archive, blobs: Path, tasks: Tasks, post: Callable[[Event], None], local: bool, launcher: str
    ) -> None:
        self._archive, self._blobs, self._tasks, self._post = archive, blobs, tasks, post
        self._local, self._launcher = local, launcher

    def begin(self, command: c.CheckPlan) -> None:
        """Look in the background; the answer is a `PlanChecked`."""
        self._tasks.start(self._answer(command), f"check plan {command.name}")

    async def _answer(self, command: c.CheckPlan) -> None:
        try:
            problem = await self.problem(command.program)
        except Exception as fault:  # A fault of ours must not keep the plan waiting for ever.
            log.exception("a plan could not be checked", plan=command.name)
            problem = f"it could not be checked: {type(fault).__name__}: {fault}"
        self._post(PlanChecked(command.project, command.name, command.nominal_ms, problem))

    async def problem(self, digest: str) -> str:
        """What is missing of what a program needs; empty if nothing is."""
        try:
            program = self._archive.program(digest)
        except ValueFault:
            return "its program is not here any more: register it again"
        missing = await asyncio.to_thread(self._missing, program)
        if missing:
            return missing
        python = program.interpreter
        if python is None or not self._on_processes(program):
            return ""
        return await asyncio.to_thread(self._python_differs, python)

    def _on_processes(self, program: Program) -> bool:
        used = {environment.launcher or self._launcher for environment in program.environments.values()}
        return "process" in used

    def _missing(self, program: Program) -> str:
        """The first thing of a program's code that is not in the hub's blobs."""
        if program.bundle is None:
            return ""
        try:
            manifest = Manifest.decode(place(self._blobs, program.bundle).read_bytes())
        except (OSError, BadManifest):
            return f"its code (bundle {program.bundle[:12]}) is not here any more: register it again"
        lost = sum(not place(self._blobs, name).is_file() for name in manifest.digests())
        return f"{lost} files of its code (bundle {program.bundle[:12]}) are gone: register it again" if lost else ""

    def _python_differs(self, python: Interpreter) -> str:
        if not os.access(python.executable, os.X_OK):
            if not self._local:
                return ""  # Submitted from elsewhere: this hub's own Python stands in, as it does for any execution.
            return f"its Python {python.executable} is gone: register it again from the environment that it shall use"
        found = digest_of(python)
        if found in ("", python.distributions):
            return ""
        return (
            f"the packages of its Python {python.executable} are others than when it was registered: "
            "register and activate it again to run with those"
        )


def digest_of(python: Interpreter) -> str:
    """The digest of what is installed in a Python now; empty if it cannot be asked."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")} | dict(python.env)
    if python.paths:
        env["PYTHONPATH"] = os.pathsep.join(python.paths)
    try:
        done = subprocess.run(
            [python.executable, "-c", _ASK],
            env=env,
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_LONGEST_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode().strip() if done.returncode == 0 else ""
