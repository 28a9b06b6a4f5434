"""The alias in child processes, and in pytest."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from greenroom.compat import child_environment, leave_children, reach_children
from greenroom.compat.children import FOLDER

SCRIPT = "import flytekit; from union import workflow; print(flytekit.__name__, workflow.__module__)"


def child(environ: dict[str, str], script: str = SCRIPT, **options: str) -> str:
    """What a child process prints."""
    done = subprocess.run(
        [sys.executable, "-c", script], env=environ, capture_output=True, text=True, check=False, **options
    )
    return done.stdout.strip() or done.stderr.strip().splitlines()[-1]


@pytest.fixture
def real(tmp_path: Path) -> Path:
    """A folder with real packages of these names."""
    for name in ("union", "flytekit"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("def workflow(): ...\nworkflow.__module__ = 'the real one'\n")
    return tmp_path


def test_children_get_the_alias(real: Path) -> None:
    """
    A Python that a task starts imports Greenroom's, in front of installed packages.
    """
    environ = child_environment({**os.environ, "PYTHONPATH": str(real)})

    assert child(environ) == "flytekit greenroom.workflow"
    assert child(environ, "from flytekit.types.file import FlyteFile as F; print(F.__name__)") == "File"


def test_without_the_variable_installed_packages_are_used(real: Path) -> None:
    """
    The folder steps aside where the alias is not wanted, and where nothing is installed says so as ever.
    """
    environ = child_environment({**os.environ, "PYTHONPATH": str(real)})
    del environ["GREENROOM_ALIAS"]

    assert child(environ) == "flytekit the real one"
    environ["PYTHONPATH"] = FOLDER
    assert child(environ) == "ModuleNotFoundError: No module named 'flytekit'"


def test_a_python_without_greenroom_uses_what_it_has(real: Path) -> None:
    """
    Where Greenroom is not installed the alias is not in the way.
    """
    environ = child_environment({"PATH": os.environ["PATH"], "PYTHONPATH": str(real)})
    script = "import sys; sys.modules['greenroom'] = None; " + SCRIPT

    assert child(environ, script) == "flytekit the real one"


def test_children_that_import_neither_are_not_touched() -> None:
    """
    A child that uses neither name loads nothing of Greenroom.
    """
    script = "import sys, json; print([name for name in sys.modules if 'greenroom' in name])"

    assert child(child_environment(dict(os.environ)), script) == "[]"


def test_the_environment_is_put_back() -> None:
    """
    Reaching children twice is reaching them once, and leaving gives back what was there.
    """
    environ = {"PYTHONPATH": f"/a{os.pathsep}/b", "X": "1"}
    before = dict(environ)

    reach_children(environ)
    reach_children(environ)
    assert environ["PYTHONPATH"].split(os.pathsep) == [FOLDER, "/a", "/b"]
    leave_children(environ)
    assert environ == before

    alone: dict[str, str] = {}
    reach_children(alone)
    leave_children(alone)
    assert alone == {}


def test_pytest_plugin(tmp_path: Path) -> None:
    """
    With `-p greenroom.compat` a program's tests, and its conftest.py, find Greenroom behind flytekit.
    """
    (tmp_path / "conftest.py").write_text("from flytekit import workflow\nassert 'greenroom' in workflow.__module__\n")
    (tmp_path / "test_it.py").write_text("def test_it():\n    import union\n    union.Resources(cpu='1')\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "greenroom.compat", "-p", "no:cacheprovider", str(tmp_path)]

    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert "1 passed" in done.stdout, done.stdout + done.stderr
