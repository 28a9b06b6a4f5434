"""Bundling again: an unchanged project is not read, a changed one is never missed."""

from __future__ import annotations

import os
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from greenroom.bundling import stats
from greenroom.bundling.make import make_bundle

from .conftest import Project


@pytest.fixture
def resting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files count as being at rest at once, as if the test had waited two seconds after writing them."""
    monkeypatch.setattr(stats, "RESTING_NS", -(10**9))


FILES = {"pyproject.toml": "", "flow.py": "import a\n", "a.py": "x = 1\n", "data.txt": "1"}


@pytest.mark.usefixtures("resting")
def test_an_unchanged_project_is_not_read(project: Project) -> None:
    """
    The second time no file is opened, and the bundle is the same in everything.
    """
    project.write(FILES)
    first = project.bundle()
    second = project.bundle()

    assert (first.files_read, second.files_read) == (4, 0)
    assert second.hash == first.hash
    assert second.manifest == first.manifest
    assert dict(second.blobs()) == dict(first.blobs())
    assert second.left_out == first.left_out


@pytest.mark.usefixtures("resting")
def test_only_what_has_changed_is_read(project: Project) -> None:
    """
    An edit costs one file.
    """
    project.write(FILES)
    first = project.bundle()
    project.write({"data.txt": "2"})

    second = project.bundle()

    assert second.files_read == 1
    assert second.hash != first.hash


def test_files_that_were_just_written_are_always_read(project: Project) -> None:
    """
    A change within the clock's grain of the last reading cannot hide: young files are read each time.
    """
    project.write(FILES)
    project.bundle()

    assert project.bundle().files_read == 4


@pytest.mark.usefixtures("resting")
def test_an_edit_that_keeps_size_and_mtime_is_seen(project: Project) -> None:
    """
    `cp -p`, rsync and some editors keep a file's mtime; its ctime tells.
    """
    project.write(FILES)
    first = project.bundle()
    status = (project.folder / "a.py").stat()
    project.write({"a.py": "x = 2\n"})
    os.utime(project.folder / "a.py", ns=(status.st_atime_ns, status.st_mtime_ns))

    assert project.bundle().hash != first.hash


@pytest.mark.usefixtures("resting")
def test_what_appears_and_what_goes_is_seen(project: Project) -> None:
    """
    New files, removed files, modes, data that shrinks below the bound, and modules that git ignores.
    """
    project.write(
        {**FILES, ".gitignore": "gen.py\n", "flow.py": "import a\ntry:\n  import gen\nexcept ImportError: ..."}
    )
    project.write({"big.bin": bytes(2 * 1024 * 1024)})
    project.git("init")
    seen = [project.bundle().hash]

    def changed() -> bool:
        seen.append(project.bundle().hash)
        return seen[-1] != seen[-2] and project.bundle().hash == seen[-1]

    project.write({"new.py": ""})
    assert changed()
    (project.folder / "a.py").chmod(0o755)
    assert changed()
    project.write({"big.bin": b"small"})
    assert changed()
    project.write({"gen.py": "generated = 1\n"})
    assert changed()
    project.write({"gen.py": "generated = 2\n"})
    assert changed()
    (project.folder / "gen.py").unlink()
    assert changed()
    (project.folder / "new.py").unlink()
    assert changed()


@pytest.mark.usefixtures("resting")
def test_a_damaged_or_foreign_cache_is_no_trouble(project: Project) -> None:
    """
    A cache that cannot be read, or that cannot be written, costs time and nothing else.
    """
    project.write(FILES)
    expected = project.bundle().hash
    for path in project.cache.rglob("*"):
        if path.is_file():
            path.write_bytes(b"\xc1rubbish")
    assert project.bundle().hash == expected

    (project.cache.parent / "file").write_text("")
    assert project.bundle(cache=project.cache.parent / "file" / "x").hash == expected


@pytest.mark.usefixtures("resting")
def test_two_programs_of_a_project(project: Project) -> None:
    """
    Programs of one project share what is known of its files, and each its own bundle.
    """
    project.write({**FILES, "other.py": ""})
    first, other = project.bundle(), project.bundle("other.py")

    assert other.files_read == 0
    assert other.hash != first.hash
    assert (project.bundle().hash, project.bundle("other.py").hash) == (first.hash, other.hash)


EDITED = st.sampled_from(["flow.py", "a.py", "pkg/__init__.py", "ignored.py"])
TEXTS = st.sampled_from(["", "x=1", "import a, pkg, ignored", None])
STEPS = st.lists(st.tuples(EDITED, TEXTS), max_size=8)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
@pytest.mark.usefixtures("resting")
def test_remembering_never_changes_the_outcome(project: Project, steps: list[tuple[str, str | None]]) -> None:
    """
    After any history of edits the bundle is the one that is made without any memory.
    """
    project.write({".gitignore": "ignored.py\n", "pyproject.toml": "", "flow.py": "import ignored\n"})
    if not (project.folder / ".git").exists():
        project.git("init")
    for number, (path, text) in enumerate(steps):
        if text is not None:
            project.write({path: text})
        elif path != "flow.py":
            (project.folder / path).unlink(missing_ok=True)
        afresh = make_bundle(
            project.folder / "flow.py", search=[], cache=project.cache.parent / f"{number}-{time.time_ns()}"
        )
        assert project.bundle().hash == afresh.hash
