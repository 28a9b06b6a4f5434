"""What a plan has pinned is looked at before it runs: its code, its Python, the packages in it."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from greenroom.bundling import interpreter_key
from greenroom_core.program import Interpreter, Program
from greenroom_core.values import ValueFault
from greenroom_hub.shell.plan_checks import PlanChecks
from greenroom_hub.shell.references import place
from tests.hub.core.driver import task_program

HERE = Interpreter(sys.executable, "3", interpreter_key().digest)


class OneProgram:
    """An archive with one program."""

    def __init__(self, program: Program | None) -> None:
        self._program = program

    def program(self, digest: str) -> Program:
        if self._program is None:
            raise ValueFault("not in the store")
        return self._program


def checks(program: Program | None, blobs: Path, local: bool = True) -> PlanChecks:
    return PlanChecks(cast(Any, OneProgram(program)), blobs, cast(Any, None), lambda event: None, local, "process")


async def test_what_is_as_it_was_is_no_problem(tmp_path: Path) -> None:
    """
    This Python, with the packages that it has.
    """
    assert "" == await checks(replace(task_program(), interpreter=HERE), tmp_path).problem("d")


async def test_other_packages_are_told(tmp_path: Path) -> None:
    """
    A plan does not silently run with what somebody has installed since.
    """
    other = replace(task_program(), interpreter=replace(HERE, distributions="0" * 32))

    assert "packages of its Python" in await checks(other, tmp_path).problem("d")


@pytest.mark.parametrize(("local", "told"), [(True, "is gone"), (False, "")])
async def test_a_python_that_is_gone_is_told_where_programs_are_made(tmp_path: Path, local: bool, told: str) -> None:
    """
    On a hub elsewhere the hub's own Python stands in, as it does for any execution.
    """
    gone = replace(task_program(), interpreter=replace(HERE, executable="/nowhere/python"))
    problem = await checks(gone, tmp_path, local).problem("d")

    assert told in problem
    assert bool(told) == bool(problem)


async def test_code_that_is_gone_is_told(tmp_path: Path) -> None:
    """
    The bundle's manifest, or the program itself.
    """
    bundled = replace(task_program(), bundle="a" * 64)

    assert "is not here any more" in await checks(bundled, tmp_path).problem("d")
    assert "register it again" in await checks(None, tmp_path).problem("d")
    assert not place(tmp_path, "a" * 64).exists()
