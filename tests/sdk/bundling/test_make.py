"""What a bundle takes: what git would list, and what the program imports."""

from __future__ import annotations

import importlib
import os
import pickle
import sys
from pathlib import Path

import pytest

from greenroom.bundling import BundleTooLarge, FileChanged, NoSuchFile, TooManyFiles, describe, listing, notes
from greenroom.bundling.errors import BundleError
from greenroom_protocol.bundle import MAX_BYTES, Manifest, check

from .conftest import Project

MIB = 1024 * 1024


def test_a_project_is_taken_as_git_lists_it(project: Project) -> None:
    """
    Tracked and new files are taken, ignored and deleted ones are not.
    """
    project.write({".gitignore": "*.log\nsecrets/\n", "flow.py": "", "pkg/a.py": "", "gone.py": "", "data.csv": "1"})
    project.git("init")
    project.git("add", ".")
    project.git("commit", "-m", "x")
    project.write({"new.py": "", "x.log": "", "secrets/key": "", "ünï cödé.txt": "", "run.sh": "#!/bin/sh"})
    (project.folder / "gone.py").unlink()
    (project.folder / "run.sh").chmod(0o755)

    bundle = project.bundle()

    paths = [file.path for file in bundle.manifest.files]
    assert paths == [".gitignore", "data.csv", "flow.py", "new.py", "pkg/a.py", "run.sh", "ünï cödé.txt"]
    assert [file.path for file in bundle.manifest.files if file.executable] == ["run.sh"]
    assert bundle.is_project


def test_without_git_what_is_not_the_programs_own_is_left_out(project: Project) -> None:
    """
    In a project that is no repository, environments, caches, hidden folders and what was built stay behind.
    """
    project.write(
        {
            "pyproject.toml": "",
            "flow.py": "",
            "pkg/build/keep.py": "",
            ".github/x.yml": "",
            ".venv/lib/x.py": "",
            "my env/pyvenv.cfg": "",
            "my env/lib/x.py": "",
            "__pycache__/flow.pyc": "",
            "node_modules/x/y.py": "",
            "build/lib/flow.py": "",
            "proj.egg-info/PKG-INFO": "",
            ".env": "TOKEN=1",
            "stale.pyc": "",
        }
    )

    bundle = project.bundle()

    assert [file.path for file in bundle.manifest.files] == ["flow.py", "pkg/build/keep.py", "pyproject.toml"]
    reasons = {item.path: item.reason for item in bundle.left_out}
    assert reasons["my env/"] == "a virtual environment"
    assert "secrets" in reasons[".env"]


def test_a_forgotten_environment_in_a_repository(project: Project) -> None:
    """
    A virtual environment that nobody told git to ignore is left out all the same.
    """
    project.write({"flow.py": "", "env/pyvenv.cfg": "", "env/lib/python3/x.py": "", "__pycache__/flow.x": ""})
    project.git("init")

    assert project.paths() == ["flow.py"]


def test_without_the_git_program_a_repository_is_walked(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Where git is not installed its repositories are folders like others.
    """
    project.write({"flow.py": "", "a.txt": ""})
    project.git("init")
    monkeypatch.setenv("PATH", "/nowhere")

    assert project.paths() == ["a.txt", "flow.py"]


def test_a_project_that_an_outer_repository_ignores(project: Project) -> None:
    """
    A project in a folder that the repository around it ignores is taken as it is.
    """
    project.write({".gitignore": "sub/\n", "sub/pyproject.toml": "", "sub/flow.py": "", "sub/b.py": ""})
    project.git("init")

    assert project.paths("sub/flow.py") == ["b.py", "flow.py", "pyproject.toml"]


def test_repositories_inside_are_taken_too(project: Project) -> None:
    """
    A repository within the project, submodule or not, is part of it.
    """
    inner = Project(project.folder / "vendor/inner", project.cache).write({"lib.py": "", ".gitignore": "x\n", "x": ""})
    inner.git("init")
    project.write({"flow.py": ""})
    project.git("init")

    assert project.paths() == ["flow.py", "vendor/inner/.gitignore", "vendor/inner/lib.py"]


def test_large_data_stays_and_is_named(project: Project) -> None:
    """
    Data above 1 MiB is left out with a line; source files are taken at any size.
    """
    project.write({"pyproject.toml": "", "flow.py": "#" * (2 * MIB), "big.bin": bytes(MIB + 1), "ok.bin": bytes(MIB)})

    bundle = project.bundle()

    assert {"flow.py", "ok.bin"} <= {file.path for file in bundle.manifest.files}
    assert [(item.path, item.size) for item in bundle.left_out] == [("big.bin", MIB + 1)]
    assert list(notes(bundle)) == [
        "not in the bundle: big.bin (1.0 MiB), larger than 1 MiB: pass it as an input (File), "
        "or read it from where it lies"
    ]


def test_links_inside_are_files_and_links_out_are_named(project: Project, tmp_path: Path) -> None:
    """
    A link to a file or folder of the project is that; one that leads out, nowhere or in a circle is left out.
    """
    (tmp_path / "outside.txt").write_text("secret")
    project.write({"pyproject.toml": "", "flow.py": "", "real/a.txt": "a"})
    links = {"file.txt": "real/a.txt", "folder": "real", "out.txt": "../outside.txt", "none": "x", "real/loop": ".."}
    for name, target in links.items():
        (project.folder / name).symlink_to(target)

    bundle = project.bundle()

    files = {file.path: file.digest for file in bundle.manifest.files}
    assert files["file.txt"] == files["folder/a.txt"] == files["real/a.txt"]
    assert not {"out.txt", "none", "real/loop"} & files.keys()
    assert {"out.txt", "none", "real/loop"} <= {item.path for item in bundle.left_out}
    assert any("a link out of the project, to ../outside.txt" in note for note in notes(bundle))


def test_odd_names_and_kinds_are_left_out(project: Project) -> None:
    """
    Pipes, names that are no UTF-8, and names that differ by case alone never make a bundle that is refused.
    """
    project.write({"pyproject.toml": "", "flow.py": "", "Data.csv": "", "data.csv": ""})
    os.mkfifo(project.folder / "pipe")
    (project.folder / os.fsdecode(b"bad\xff.txt")).write_text("")
    (project.folder / "new\nline.txt").write_text("")

    bundle = project.bundle()

    check(bundle.manifest)
    assert [file.path for file in bundle.manifest.files] == ["Data.csv", "flow.py", "pyproject.toml"]
    assert len(bundle.left_out) == 4
    assert "differs from Data.csv only by case" in describe(bundle)


def test_too_large_a_project_names_the_five_largest(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Above 50 MiB nothing is read, and the largest files are named with a remedy.
    """
    for number in range(52):
        with open(project.write({}).folder / f"{number:02}.bin", "wb") as file:
            file.truncate(MIB if number > 5 else MIB - number)
    project.write({"pyproject.toml": "", "flow.py": ""})

    with pytest.raises(BundleTooLarge, match=r"have 52\.0 MiB, a bundle takes 50\.0 MiB; the largest are") as caught:
        project.bundle()

    assert len(caught.value.largest) == 5
    assert caught.value.size > MAX_BYTES
    assert "00.bin (1.0 MiB)" in str(caught.value)


def test_a_folder_without_end_is_given_up(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A stray pyproject.toml above a sea of files ends in a sentence, not in minutes.
    """
    monkeypatch.setattr(listing, "MAX_FILES", 10)
    project.write({"pyproject.toml": "", **{f"{number}.py": "" for number in range(12)}, "flow.py": ""})

    with pytest.raises(TooManyFiles, match=r"more than 10 files.*pyproject\.toml"):
        project.bundle()


def test_no_such_file(tmp_path: Path) -> None:
    """
    A file that is not there is said so.
    """
    with pytest.raises(NoSuchFile, match=r"nothing\.py: no such Python file"):
        Project(tmp_path / "x", tmp_path).bundle("nothing.py")


def test_a_bare_file_takes_what_it_imports(project: Project) -> None:
    """
    Outside any project only the file, the modules that it imports (and theirs), and the data that they name are taken.
    """
    project.write(
        {
            "flow.py": "import helper\nfrom pkg.sub import deep\nimport numpy, json\nopen('table.csv')\n",
            "helper.py": "from pathlib import Path\nt = (Path(__file__).parent / 'data' / 'x.txt').read_text()\n",
            "pkg/__init__.py": "",
            "pkg/sub/__init__.py": "",
            "pkg/sub/deep.py": "from . import twin\nfrom ..other import x\n",
            "pkg/sub/twin.py": "",
            "pkg/other.py": "",
            "pkg/unused.py": "",
            "table.csv": "",
            "data/x.txt": "",
            "data/y.txt": "",
            "letters.txt": "",
        }
    )

    bundle = project.bundle()

    assert not bundle.is_project
    assert [file.path for file in bundle.manifest.files] == [
        "data/x.txt", "flow.py", "helper.py", "pkg/__init__.py", "pkg/other.py",
        "pkg/sub/__init__.py", "pkg/sub/deep.py", "pkg/sub/twin.py", "table.csv",
    ]  # fmt: skip


def test_generated_modules_that_git_ignores_are_taken_if_imported(project: Project) -> None:
    """
    A version file or generated stubs that git ignores belong to a program that imports them.
    """
    project.write({".gitignore": "_version.py\n*_pb2.py\n", "flow.py": "import pkg\n", "pkg/__init__.py": ""})
    project.write({"pkg/__init__.py": "from ._version import v\n", "pkg/_version.py": "v = 1\n", "x_pb2.py": ""})
    project.git("init")

    assert project.paths() == [".gitignore", "flow.py", "pkg/__init__.py", "pkg/_version.py"]
    assert project.paths() == project.paths()


def test_the_entry_is_taken_whatever_git_says(project: Project) -> None:
    """
    A scratch file that git ignores can be run.
    """
    project.write(
        {".gitignore": "scratch*\n", "a.py": "", "scratch.py": "import scratch_more\n", "scratch_more.py": ""}
    )
    project.git("init")

    assert {"scratch.py", "scratch_more.py"} <= set(project.paths("scratch.py"))


def test_packages_of_the_authors_own_come_along(project: Project, tmp_path: Path) -> None:
    """
    What is importable from elsewhere by an editable install or PYTHONPATH is bundled if it is imported.
    """
    other = Project(tmp_path / "other", project.cache)
    other.write({"src/shared/__init__.py": "from . import part\nimport single\n", "src/shared/part.py": ""})
    other.write({"src/single.py": "", "src/unused/__init__.py": "", "src/shared/__pycache__/x.pyc": ""})
    project.write({"pyproject.toml": "", "flow.py": "import shared\n"})

    bundle = project.bundle(search=[str(tmp_path / "other/src")])

    mounts = ".greenroom-packages"
    assert [file.path for file in bundle.manifest.files] == [
        f"{mounts}/shared/shared/__init__.py", f"{mounts}/shared/shared/part.py", f"{mounts}/single/single.py",
        "flow.py", "pyproject.toml",
    ]  # fmt: skip
    assert bundle.manifest.roots == ("", f"{mounts}/shared", f"{mounts}/single")
    origin = bundle.manifest.origin_of(f"{mounts}/shared/shared/part.py", bundle.origin)
    assert origin == str(tmp_path / "other/src/shared/part.py")
    other.write({"src/shared/part.py": "changed = 1\n"})
    assert project.bundle(search=[str(tmp_path / "other/src")]).hash != bundle.hash


def test_editable_and_path_installs_are_found(project: Project, tmp_path: Path) -> None:
    """
    setuptools' finder for editable installs, and packages that were copied from a folder, whose version stays the same.
    """
    site = Project(tmp_path / "lib/site-packages", project.cache)
    target = Project(tmp_path / "elsewhere", project.cache).write({"mapped/__init__.py": ""})
    site.write(
        {
            "__editable___mapped_1_0_finder.py": f"MAPPING: dict = {{'mapped': {str(target.folder / 'mapped')!r}}}\n",
            "copied/__init__.py": "",
            "copied/data.txt": "x",
            "copied-1.0.dist-info/direct_url.json": '{"dir_info": {}, "url": "file:///somewhere/copied"}',
            "copied-1.0.dist-info/RECORD": "copied/__init__.py,,\ncopied/data.txt,,\n",
            "indexed/__init__.py": "",
            "indexed-1.0.dist-info/RECORD": "indexed/__init__.py,,\n",
        }
    )
    project.write({"pyproject.toml": "", "flow.py": "import mapped, copied, indexed\n"})

    paths = project.paths(search=[str(site.folder)])

    assert [path for path in paths if "packages" in path] == [
        ".greenroom-packages/copied/copied/__init__.py",
        ".greenroom-packages/copied/copied/data.txt",
        ".greenroom-packages/mapped/mapped/__init__.py",
    ]


def test_greenroom_itself_is_never_bundled(project: Project, tmp_path: Path) -> None:
    """
    A program's import of Greenroom, or of what the alias serves, means the installed one on replicas.
    """
    other = Project(tmp_path / "sdk", project.cache)
    other.write({"greenroom/__init__.py": "", "flytekit/__init__.py": "", "union.py": ""})
    project.write({"pyproject.toml": "", "flow.py": "import greenroom, flytekit, union\n"})

    assert project.paths(search=[str(other.folder)]) == ["flow.py", "pyproject.toml"]


def test_folders_can_be_excluded(project: Project) -> None:
    """
    The hub's state may lie in a project; it is not part of it.
    """
    project.write({"pyproject.toml": "", "flow.py": "", "state/db": "x"})

    assert project.paths(exclude=[project.folder / "state"]) == ["flow.py", "pyproject.toml"]


def test_a_notebooks_folder(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    For a notebook a folder is bundled: its project, without an entry module.
    """
    project.write({"pyproject.toml": "", "helpers.py": "", "notebooks/a.ipynb": "{}"})

    bundle = project.bundle("notebooks")

    assert (bundle.module, bundle.manifest.roots) == ("", ("notebooks", ""))
    assert {file.path for file in bundle.manifest.files} == {"pyproject.toml", "helpers.py", "notebooks/a.ipynb"}


def test_a_notebook_outside_any_project(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    In a folder that is no project, the modules that were imported from it are taken, and theirs; no interpreter is.
    """
    project.write({"greenroom_test_helper.py": "import greenroom_test_deeper\n", "greenroom_test_deeper.py": ""})
    project.write({"unrelated.py": "", "miniconda/lib/greenroom_test_lib.py": ""})
    monkeypatch.syspath_prepend(project.folder / "miniconda/lib")
    monkeypatch.syspath_prepend(project.folder)
    monkeypatch.setattr("sys.base_prefix", str(project.folder / "miniconda"))
    names = ("greenroom_test_helper", "greenroom_test_lib", "greenroom_test_deeper")
    try:
        for name in names[:2]:
            importlib.import_module(name)
        bundle = project.bundle(".")
    finally:
        for name in names:
            sys.modules.pop(name, None)

    assert [file.path for file in bundle.manifest.files] == ["greenroom_test_deeper.py", "greenroom_test_helper.py"]


def test_blobs_are_what_they_are_called(project: Project) -> None:
    """
    Each content is given once, with the manifest as the last; a file that has changed since is an error.
    """
    project.write({"pyproject.toml": "", "flow.py": "a = 1\n", "copy.py": "a = 1\n"})
    bundle = project.bundle()

    blobs = dict(bundle.blobs())
    assert len(blobs) == 3
    assert Manifest.decode(blobs[bundle.hash], bundle.hash) == bundle.manifest
    project.write({"pyproject.toml": "[project]\n"})
    with pytest.raises(FileChanged, match=r"pyproject\.toml was changed while it was being bundled: run again"):
        dict(bundle.blobs())


def test_calls_stand_where_the_user_stands(project: Project, tmp_path: Path) -> None:
    """
    The working directory travels relative to the root; outside of it calls stand in the root.
    """
    project.write({"pyproject.toml": "", "flow.py": "", "sub/x": ""})
    bundle = project.bundle()

    assert bundle.cwd(project.folder / "sub") == "sub"
    assert bundle.cwd(project.folder) == bundle.cwd(tmp_path) == ""


def test_a_bundle_is_described(project: Project) -> None:
    """
    `greenroom bundle` shows the root, the name, every file with its size, and what is missing.
    """
    project.write({"pyproject.toml": "", "src/pkg/__init__.py": "", "flow.py": "x" * 2000, "queue.py": ""})

    text = describe(project.bundle())

    assert f"{project.folder}  (project)" in text
    assert "module flow  4 files, 2 KiB" in text
    assert "sys.path  ., src" in text
    assert "     2 KiB  flow.py" in text
    assert "queue.py has the name of a module of Python's own" in text


def test_errors_survive_pickling() -> None:
    """
    They may cross processes, and keep their sentence.
    """
    errors: list[BundleError] = [
        BundleTooLarge("/p", 60 * MIB, [("a", MIB)]), TooManyFiles("/p", 3), NoSuchFile("a.py"), FileChanged("a.py"),
    ]  # fmt: skip

    assert [str(pickle.loads(pickle.dumps(error))) for error in errors] == [str(error) for error in errors]
