"""Which code and which libraries calls see: edits, virtual environments, packages of the same names. No sleeps."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.e2e.harness import Person

EDITED = """
import greenroom
import helper

actor = greenroom.ActorEnvironment(name="edited", replica_count=1)

@greenroom.actor_cache
def load(state: int) -> int:
    return state

@actor.task
def say(x: int) -> str:
    load(3)
    return helper.word() + " {version} " + str(x)

@greenroom.workflow
def wf(x: int = 1) -> str:
    return say(x=x)
"""


def test_an_edit_runs_on_the_same_warm_replica(shared: Person) -> None:
    """An edit of a task's body, then one of a module that it imports: new code each time, one replica, one load."""
    said, replicas = [], []
    for version, word in (("v1", "hello"), ("v2", "hello"), ("v2", "bye")):
        shared.write("edited.py", EDITED.replace("{version}", version))
        shared.write("helper.py", f"def word():\n    return {word!r}\n")
        said.append(shared.run("edited.py"))
        replicas.append(shared.warm("edited"))

    assert said == ["hello v1 1", "hello v2 1", "bye v2 1"]
    assert len(replicas[0]) == 1
    assert replicas[0] == replicas[1] == replicas[2]
    told = [entry for event in shared.events(shared.last()) for entry in event.get("cache", ())]
    assert [(entry["hits"], entry["misses"]) for entry in told] == [(1, 0)]


def make_venv(folder: Path, version: str) -> Path:
    """A virtual environment that sees all that this one has, and one small package more. No index is asked."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    site = next(folder.glob("lib/python3*/site-packages"))
    (site / "all-of-the-other.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    (site / "flavour").mkdir()
    (site / "flavour" / "__init__.py").write_text(f"__version__ = {version!r}\n")
    info = site / f"flavour-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: flavour\nVersion: {version}\n")
    (info / "RECORD").write_text("")
    return folder / "bin" / "python"


def test_two_virtual_environments(shared: Person, tmp_path: Path) -> None:
    """One hub serves both; each run sees its own version of a package, and both stay warm."""
    shared.write(
        "flow.py",
        """
import sys
import flavour
import greenroom

actor = greenroom.ActorEnvironment(name="flavoured", replica_count=1)

@actor.task
def see() -> list[str]:
    return [flavour.__version__, sys.prefix]

@greenroom.workflow
def wf() -> list[str]:
    return see()
""",
    )
    pythons = {version: make_venv(tmp_path / f"venv {version}", version) for version in ("1.0", "2.0")}

    first = [shared.run("flow.py", python=pythons[version]) for version in ("1.0", "2.0")]
    before = shared.warm("flavoured")
    again = [shared.run("flow.py", python=pythons[version]) for version in ("1.0", "2.0")]

    assert first == [[version, str(pythons[version].parent.parent)] for version in ("1.0", "2.0")]
    assert again == first
    assert len(before) == 2
    assert shared.warm("flavoured") == before


def test_an_upgrade_is_not_silently_stale(shared: Person, tmp_path: Path) -> None:
    """After another version is installed into one environment, the next run sees it."""
    shared.write(
        "upgraded.py",
        """
import flavour
import greenroom

actor = greenroom.ActorEnvironment(name="upgraded", replica_count=1)

@actor.task
def see() -> str:
    return flavour.__version__

@greenroom.workflow
def wf() -> str:
    return see()
""",
    )
    python = make_venv(tmp_path / "venv", "1.0")
    before = shared.run("upgraded.py", python=python)

    site = next((tmp_path / "venv").glob("lib/python3*/site-packages"))
    (site / "flavour" / "__init__.py").write_text("__version__ = '1.1'\n")
    (site / "flavour-1.0.dist-info").rename(site / "flavour-1.1.dist-info")
    (site / "flavour-1.1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: flavour\nVersion: 1.1\n")
    after = shared.run("upgraded.py", python=python)

    assert (before, after) == ("1.0", "1.1")


@pytest.mark.parametrize("name", ["union", "flytekit"])
def test_the_alias_wins(shared: Person, tmp_path: Path, name: str) -> None:
    """A real package of that name, installed for the person and for replicas, is not what the program gets."""
    python = make_venv(tmp_path / "venv", "1.0")
    site = next((tmp_path / "venv").glob("lib/python3*/site-packages"))
    (site / name).mkdir()
    (site / name / "__init__.py").write_text("raise ImportError('the real package was imported')\n")
    shared.write(
        f"uses_{name}.py",
        f"""
import {name}

{"actor = union.ActorEnvironment(name='aliased', replica_count=1)" if name == "union" else ""}

@{"actor" if name == "union" else name}.task
def see(x: int) -> str:
    import {name} as inside
    return inside.task.__module__.partition(".")[0]

@{name}.workflow
def wf(x: int = 1) -> str:
    return see(x=x)
""",
    )

    assert shared.run(f"uses_{name}.py", python=python) == "greenroom"
    off = shared.greenroom("run", "--no-alias", f"uses_{name}.py", python=python)
    assert (off.code, "the real package was imported" in off.err) == (1, True)


def test_a_project_with_modules_and_data(shared: Person) -> None:
    """The whole project travels: packages beside the file, data files, and what the program finds by its own path."""
    shared.write("project/pyproject.toml", '[project]\nname = "tea"\nversion = "1"\n')
    shared.write("project/lib/__init__.py", "")
    shared.write(
        "project/lib/brew.py", "from pathlib import Path\nWORD = Path(__file__).with_name('word.txt').read_text()\n"
    )
    shared.write("project/lib/word.txt", "oolong")
    shared.write("project/data/cup.txt", "a cup")
    shared.write(
        "project/flows/tea.py",
        """
from pathlib import Path
import greenroom
from lib.brew import WORD

@greenroom.task
def pour() -> str:
    return f"{Path('data/cup.txt').read_text()} of {WORD}"

@greenroom.workflow
def wf() -> str:
    return pour()
""",
    )

    done = shared.shell("cd project && greenroom run flows/tea.py")

    assert (done.code, done.out) == (0, '"a cup of oolong"\n'), done.err
    assert [row["project"] for row in shared.executions()][:1] == ["tea"]


def test_environment_variables_of_the_shell(shared: Person) -> None:
    """Calls see the variables of the shell that submits, each run its own; the pool is one."""
    shared.write(
        "variables.py",
        """
import os
import greenroom

actor = greenroom.ActorEnvironment(name="variables", replica_count=1, environment={"FIXED": "by environment"})

@actor.task
def see() -> list[str]:
    return [os.environ.get(name, "-") for name in ("WORD", "FIXED", "GIVEN")]

@greenroom.workflow
def wf() -> list[str]:
    return see()
""",
    )

    one = shared.run("variables.py", env={"WORD": "one"})
    two = shared.run("--env", "GIVEN=by option", "variables.py", env={"WORD": "two"})
    three = shared.run("variables.py")

    assert one == ["one", "by environment", "-"]
    assert two == ["two", "by environment", "by option"]
    assert three == ["-", "by environment", "-"]
    assert len(shared.replicas("variables")) == 1
