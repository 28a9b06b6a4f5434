"""Compiled modules: once per text, shared over a disk, never trusted when damaged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from greenroom_replica.bundles.code import Codes, Lines

from .conftest import Runner


def test_texts_are_compiled_once_for_all_runners(make_runner: Any) -> None:
    """
    A second runner that shares the folder compiles nothing.
    """
    files = {"flow.py": "import helper\n", "helper.py": "x = 1\n"}
    first = make_runner("one")
    first.load(files)
    second = make_runner("two")
    second.bundles._codes._folder = first.codes
    first.bundles.close()

    second.load(files)

    assert first.bundles._codes.compiled == 2
    assert second.bundles._codes.compiled == 0


def test_a_damaged_file_is_compiled_again(runner: Runner) -> None:
    """
    What was cut or changed on the disk is not loaded: a damaged code object can crash Python.
    """
    digest = runner.blobs.put(b"x = 1\n")
    Codes(runner.blobs, runner.codes).get(digest, "/p/flow.py")
    (kept,) = [path for path in runner.codes.rglob("*") if path.is_file()]
    kept.write_bytes(kept.read_bytes()[:-3])

    again = Codes(runner.blobs, runner.codes)

    assert again.get(digest, "/p/flow.py").code.co_filename == "/p/flow.py"
    assert again.compiled == 1


def test_each_path_has_its_own_code(runner: Runner) -> None:
    """
    One text in two places is compiled for each, since tracebacks name the file.
    """
    digest = runner.blobs.put(b"x = 1\n")
    codes = Codes(runner.blobs)

    names = [codes.get(digest, path).code.co_filename for path in ("/one.py", "/two.py", "/one.py")]

    assert names == ["/one.py", "/two.py", "/one.py"]
    assert codes.compiled == 2


def test_a_folder_that_cannot_be_written_is_no_error(runner: Runner, tmp_path: Path) -> None:
    """
    Without a disk to keep it on, code is compiled each time.
    """
    (tmp_path / "file").write_text("")
    digest = runner.blobs.put(b"x = 1\n")

    assert Codes(runner.blobs, tmp_path / "file" / "codes").get(digest, "f").code is not None


def test_lines_are_read_late_and_never_fail(runner: Runner) -> None:
    """
    The lines of a text are read when they are asked for; a text that is gone has none.
    """
    digest = runner.blobs.put(b"a\nb\n")
    lines, gone = Lines(runner.blobs, digest), Lines(runner.blobs, "0" * 64)

    assert list(lines) == ["a\n", "b\n"]
    assert (len(lines), lines[1], lines[0:1]) == (2, "b\n", ["a\n"])
    assert list(gone) == []


def test_a_text_that_is_no_python_imports_nothing(runner: Runner) -> None:
    """
    A broken module that nobody imports does no harm to those that could.
    """
    digest = runner.blobs.put(b"def f(:\n")
    codes = Codes(runner.blobs)

    assert codes.imports(digest, "f.py").statements == ()
    with pytest.raises(SyntaxError):
        codes.get(digest, "f.py")
