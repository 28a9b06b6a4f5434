"""The real workshop: bundles, typed values, environment variables, the reset, in real runners."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from greenroom.blobs import LocalBlobs
from greenroom.bundling import Bundle, make_bundle
from greenroom_core.failure import Cause
from greenroom_protocol.calls import Definition, Status
from tests.replica.conftest import Rig
from tests.replica.fake_hub import define


class Project:
    """A user's folder, and what is submitted of it."""

    def __init__(self, rig: Rig, folder: Path) -> None:
        self.rig, self.folder = rig, folder
        self.blobs = LocalBlobs(rig.folder / "blobs", durable=False)
        folder.mkdir()
        (folder / "pyproject.toml").write_text("[project]\nname = 'p'\n")

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))

    def bundle(self, name: str) -> Bundle:
        made = make_bundle(self.folder / name, cache=self.rig.folder / "cache")
        for _, content in made.blobs():
            self.blobs.put(content)
        return made

    def define(self, file: str, qualname: str, params: Sequence[str] = ("n",), **changes: Any) -> Definition:
        made = self.bundle(file)
        options = {"origin": made.origin, "cwd": "", **changes.pop("options", {})}
        fields = {"outputs": ["o0"], "isolation": "reset", **changes}
        return define(_nothing)._replace(
            task=f"{made.module}.{qualname}",
            bundle=made.hash,
            module=made.module,
            qualname=qualname,
            pickled=None,
            params=list(params),
            options=options,
            **fields,
        )


def _nothing(n: int) -> None: ...


async def started(rig: Rig, **changes: Any) -> Project:
    await rig.replica(workshop="", blobs=str(rig.folder / "blobs"), **changes)
    return Project(rig, rig.folder / "project")


async def test_a_function_of_a_bundle_is_called(rig: Rig) -> None:
    """
    A module of the user's is imported on the replica with its helpers and data files, and its function called.
    """
    project = await started(rig)
    project.write("helpers.py", "FACTOR = 3\n")
    project.write("data.txt", "hello")
    project.write(
        "flow.py",
        """
        from pathlib import Path
        from helpers import FACTOR

        def work(n: int) -> str:
            return Path(__file__).parent.joinpath("data.txt").read_text() * n * FACTOR
        """,
    )

    outcome = await rig.hub.call(project.define("flow.py", "work"), 2)

    assert outcome[:2] == (Status.SUCCEEDED, "hello" * 6), outcome.value.traceback


async def test_state_is_reset_between_calls(rig: Rig) -> None:
    """
    Globals, environment variables and the folder that a call changes are what they were when the next one starts.
    """
    project = await started(rig)
    project.write(
        "flow.py",
        """
        import os

        SEEN: list[int] = []

        def work(n: int) -> list[str]:
            SEEN.append(n)
            before = os.environ.get("RUN_KEY")
            os.environ["RUN_KEY"] = "set"
            here = os.getcwd()
            os.chdir("/")
            return [str(len(SEEN)), str(before), os.environ["GIVEN"], os.path.basename(here)]
        """,
    )
    definition = project.define("flow.py", "work", env={"GIVEN": "by the task"})

    outcomes = await rig.hub.map(definition, list(range(200)))

    assert {("1", "None", "by the task", "tree")} == {tuple(outcome.value) for outcome in outcomes}


async def test_an_import_that_fails_shows_the_users_error(rig: Rig) -> None:
    """
    A module that raises at its import fails the call as an import, with the user's own traceback and paths.
    """
    project = await started(rig)
    project.write("flow.py", "def work(n: int) -> int:\n    return n\n\nraise RuntimeError('no licence')\n")

    outcome = await rig.hub.call(project.define("flow.py", "work"), 2)

    failure = outcome.value
    assert (outcome.status, failure.cause, failure.type) == (Status.FAILED, Cause.IMPORT, "RuntimeError")
    assert f'File "{project.folder}/flow.py", line 4' in failure.traceback
    assert "importlib" not in failure.traceback


async def test_a_traceback_shows_the_users_paths(rig: Rig) -> None:
    """
    A failure in a bundle's function names the file where the user has it, with its source line.
    """
    project = await started(rig)
    project.write("flow.py", "def work(n: int) -> int:\n    return 1 // n\n")

    outcome = await rig.hub.call(project.define("flow.py", "work"), 0)

    assert f"{project.folder}/flow.py:2" == outcome.value.where
    assert "return 1 // n" in outcome.value.traceback
    assert "greenroom_replica" not in outcome.value.traceback


async def test_an_edit_is_seen_on_the_same_replica(rig: Rig) -> None:
    """
    A changed file is a new bundle in the same runner.
    """
    project = await started(rig)
    project.write("flow.py", "import os\n\ndef work(n: int) -> list[int]:\n    return [n, os.getpid()]\n")
    first = (await rig.hub.call(project.define("flow.py", "work"), 1)).value

    project.write("flow.py", "import os\n\ndef work(n: int) -> list[int]:\n    return [n + 100, os.getpid()]\n")
    second = (await rig.hub.call(project.define("flow.py", "work"), 1)).value

    assert [first[0], second[0]] == [1, 101]
    assert first[1] == second[1]


async def test_values_are_checked_by_annotation(rig: Rig) -> None:
    """
    A result that does not fit its annotation fails its call, naming task, output, expected and given.
    """
    project = await started(rig)
    project.write("flow.py", "def work(n: int) -> int:\n    return 'seven'\n")

    outcome = await rig.hub.call(project.define("flow.py", "work"), 2)

    assert outcome.value.cause == Cause.RESULT
    for word in ("flow.work", "o0", "int", "str"):
        assert word in outcome.value.message, outcome.value.message


async def test_a_function_by_value_is_called(rig: Rig) -> None:
    """
    A notebook's function travels by value, and its globals are reset like a module's.
    """
    await started(rig)
    seen: list[int] = []

    def work(n: int) -> int:
        seen.append(n)
        return len(seen)

    outcomes = await rig.hub.map(define(work, isolation="reset"), [1, 2, 3])

    assert [outcome.value for outcome in outcomes] == [1, 1, 1]
