"""A runner in small: a forked child with a Reset, user modules written to files, calls."""

from __future__ import annotations

import importlib
import importlib.util
import os
import pickle
import select
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from greenroom_replica.reset import Owner, Report, Reset

LONGEST = 20.0
"""Seconds in which a child has to say something."""


def restores(*rows: str) -> Callable[[Any], Any]:
    """Name the rows of the table in docs/isolation.md that a test holds."""
    assert rows

    def mark(test: Any) -> Any:
        test.restores = {*getattr(test, "restores", ()), *rows}
        return test

    return mark


def needs(name: str) -> None:
    """Skip a test whose library is not installed; it is not imported here: what forks should have no threads."""
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed")


class Lab:
    """What a scenario has in its child: the reset, the user's modules, and calls."""

    def __init__(self, folder: Path, folders: tuple[str, ...] = ()) -> None:
        self.folder = folder
        self.reset = Reset(folders)
        self.modules: dict[str, ModuleType] = {}
        self.report: Report | None = None
        self.owners: list[Owner] = []

    def load(self, *names: str, bundle: str = "bundle") -> ModuleType:
        """Import user modules as a bundle."""
        with self.reset.importing(bundle):
            if str(self.folder) not in sys.path:
                sys.path.insert(0, str(self.folder))
            for name in names:
                self.modules[name] = importlib.import_module(name)
                self.reset.adopt(bundle, [self.modules[name]])
        return self.modules[names[0]]

    def call(self, name: str, *args: Any, bundle: str = "bundle", module: str = "flow", **options: Any) -> Any:
        """Run one call, as a runner does."""
        function = getattr(self.modules[module], name)
        context = self.reset.before(bundle, **options)
        try:
            return context.run(function, *args)
        finally:
            self.report = self.reset.after()

    def wire(self) -> dict[str, Any]:
        """What the last call's report says, as it goes over the wire; empty for a clean call."""
        return {} if self.report is None else self.report.to_wire()


Scenario = Callable[[Lab], Any]


def in_child(scenario: Callable[[], Any]) -> Any:
    """Run a scenario in a forked child and return what it returned; its failure is this process's failure."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        status = 1
        try:
            try:
                answer: tuple[bool, Any] = (True, scenario())
            except BaseException:
                answer = (False, traceback.format_exc())
            with os.fdopen(writer, "wb") as file:
                file.write(pickle.dumps(answer))
            status = 0
        finally:
            os._exit(status)
    os.close(writer)
    data = b""
    with os.fdopen(reader, "rb", buffering=0) as file:
        while select.select([file], [], [], LONGEST)[0]:
            part = file.read(1 << 16)
            data += part
            if not part:
                break
        else:
            os.kill(pid, signal.SIGABRT)  # So that faulthandler says where it hangs.
    os.waitpid(pid, 0)
    if not data:
        raise AssertionError("the child ended without an answer")
    fine, value = pickle.loads(data)
    if not fine:
        raise AssertionError(f"in the child:\n{value}")
    return value
