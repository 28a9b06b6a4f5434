"""Where a program begins: root, project, module's name, `sys.path`."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from greenroom.bundling import find_root, project_name
from greenroom.bundling.places import layout, locate
from greenroom.bundling.program import open_program

from .conftest import Project


def test_the_root_is_the_nearest_marker(project: Project) -> None:
    """
    The nearest pyproject.toml or .git, a file as in worktrees too; without any, the file's own folder.
    """
    project.write({"pyproject.toml": "", "a/b/flow.py": "", "c/.git": "gitdir: x", "c/d/flow.py": ""})

    assert find_root(project.folder / "a/b/flow.py") == project.folder
    assert find_root(project.folder / "c/d/flow.py") == project.folder / "c"
    (project.folder / "pyproject.toml").unlink()
    assert find_root(project.folder / "a/b/flow.py") == project.folder / "a/b"


def test_stray_markers_make_no_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A repository of dotfiles in a home folder, or a forgotten pyproject.toml in a temporary one, is not a project.
    """
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    home = Project(tmp_path / "home", tmp_path).write({".git/x": "", "flow.py": "", "work/flow.py": "", "p/.git/x": ""})
    home.write({"p/sub/flow.py": ""})

    assert locate(home.folder / "flow.py") == (home.folder, False)
    assert locate(home.folder / "work/flow.py") == (home.folder / "work", False)
    assert locate(home.folder / "p/sub/flow.py") == (home.folder / "p", True)
    monkeypatch.setenv("TMPDIR", str(home.folder / "p"))
    assert locate(home.folder / "p/sub/flow.py") == (home.folder / "p/sub", False)


def test_a_bare_file_in_a_package(project: Project) -> None:
    """
    Outside a project the root of a package's module is the folder above the package.
    """
    project.write({"pkg/__init__.py": "", "pkg/sub/__init__.py": "", "pkg/sub/flow.py": "from .. import x\n"})
    root = find_root(project.folder / "pkg/sub/flow.py")

    assert root == project.folder
    assert layout(project.folder / "pkg/sub/flow.py", root, []).module == "pkg.sub.flow"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('[project]\nname = "my-proj"\n', "my-proj"),
        ('[tool.poetry]\nname = "poem"\n', "poem"),
        ("[project]\n", "proj"),
        ("not toml at all [", "proj"),
        (None, "proj"),
    ],
)
def test_the_projects_name(project: Project, text: str | None, name: str) -> None:
    """
    It is in pyproject.toml, or it is the folder's.
    """
    project.write({"pyproject.toml": text} if text is not None else {})

    assert project_name(project.folder) == name


@pytest.mark.parametrize(
    ("file", "files", "module", "roots"),
    [
        ("flow.py", {}, "flow", ("",)),
        ("flows/flow.py", {}, "flow", ("flows", "")),
        ("pkg/flow.py", {"pkg/__init__.py": ""}, "pkg.flow", ("",)),
        ("pkg/__main__.py", {"pkg/__init__.py": ""}, "pkg.__main__", ("",)),
        ("pkg/__init__.py", {}, "pkg", ("",)),
        ("src/pkg/flow.py", {"src/pkg/__init__.py": ""}, "pkg.flow", ("src", "")),
        ("src/ns/pkg/flow.py", {"src/ns/pkg/__init__.py": ""}, "ns.pkg.flow", ("src", "")),
        ("svc/api/pkg/flow.py", {"svc/api/pkg/__init__.py": ""}, "pkg.flow", ("svc/api", "")),
        ("ns/flow.py", {"ns/flow.py": "from . import other\n"}, "ns.flow", ("",)),
        ("a/b/flow.py", {"a/b/flow.py": "from ..x import other\n"}, "a.b.flow", ("",)),
        ("ns/flow.py", {"ns/flow.py": "import ns.other\n"}, "ns.flow", ("",)),
        ("my-flow.py", {}, "my-flow", ("",)),
        ("flow.v2.py", {}, "flow_v2", ("",)),
        ("queue.py", {}, "queue_", ("",)),
        ("union.py", {}, "union_", ("",)),
        ("flow.py", {"src/pkg/__init__.py": ""}, "flow", ("", "src")),
        ("my dir/flow.py", {}, "flow", ("my dir", "")),
    ],
)
def test_modules_are_named_as_python_would(
    project: Project, file: str, files: dict[str, str], module: str, roots: tuple[str, ...]
) -> None:
    """
    As `python file.py` or `python -m` would find it, whichever the file's own imports need.
    """
    project.write({file: "", "pyproject.toml": "", **files})

    place = layout(project.folder / file, project.folder, [])

    assert (place.module, place.roots) == (module, roots)


def test_folders_of_the_path_inside_the_project_are_taken_over(project: Project) -> None:
    """
    An editable install, or PYTHONPATH, that points into the project holds on replicas too; environments do not.
    """
    project.write({"lib/x.py": "", ".venv/lib/python3/site-packages/y.py": "", "flow.py": ""})
    search = [str(project.folder / "lib"), str(project.folder / ".venv/lib/python3/site-packages"), "/nowhere"]

    assert layout(project.folder / "flow.py", project.folder, search).roots == ("", "lib")


def test_a_script_in_a_package_sees_its_folder_last(project: Project) -> None:
    """
    The folder of a package goes behind everything else, so that its modules hide nobody's.
    """
    project.write({"pkg/__init__.py": "", "pkg/flow.py": ""})

    assert layout(project.folder / "pkg/flow.py", project.folder, []).late_roots == ("pkg",)


RELATIVE = "from .a import x\nprint(__name__, x)\n"
PROGRAMS = [
    ("flow.py", {"flow.py": "import beside\nprint(__name__, beside.x)\n", "beside.py": "x = 1\n"}),
    ("pkg/flow.py", {"pkg/__init__.py": "", "pkg/flow.py": RELATIVE, "pkg/a.py": "x = 1\n"}),
    ("ns/flow.py", {"ns/flow.py": RELATIVE, "ns/a.py": "x = 1\n"}),
    ("my-flow.v2.py", {"my-flow.v2.py": "x = 1\nprint(__name__, x)\n"}),
    ("code.py", {"code.py": "x = 1\nprint(__name__, x)\n"}),
]


@pytest.mark.parametrize(("file", "files"), PROGRAMS)
def test_programs_are_opened_here_as_on_replicas(project: Project, file: str, files: dict[str, str]) -> None:
    """
    The client imports the user's file under the same name and with the same path as replicas do.
    """
    project.write({"pyproject.toml": "", **files})
    script = "import sys; from greenroom.bundling.program import open_program; open_program(sys.argv[1])"

    done = subprocess.run(
        [sys.executable, "-c", script, str(project.folder / file)], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == f"{project.bundle(file).module} 1"


def test_opening_twice_is_importing_once(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A program that is loaded already is given back; another module of its name is not mistaken for it.
    """
    monkeypatch.setattr(sys, "path", list(sys.path))
    project.write({"greenroom_test_flow.py": "", "pyproject.toml": ""})
    try:
        module = open_program(project.folder / "greenroom_test_flow.py")
        assert open_program(project.folder / "greenroom_test_flow.py") is module
        with pytest.raises(Exception, match=r"has the name of the module pytest, which is loaded already: rename it"):
            open_program(project.write({"pytest.py": ""}).folder / "pytest.py")
    finally:
        sys.modules.pop("greenroom_test_flow", None)
    assert importlib.util.find_spec("pytest") is not None
