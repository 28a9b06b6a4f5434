"""Knowing which files are read, while somebody wants to know."""

from __future__ import annotations

import builtins
import io
import os
from pathlib import Path

from greenroom_replica.opens import unwatched, watch


def test_reads_are_told(tmp_path: Path) -> None:
    """
    Files that are opened to be read, by whatever means Python has, and folders that are listed.
    """
    for name in "abcd":
        (tmp_path / name).write_text(name)
    seen: list[tuple[str, bool]] = []

    end = watch(lambda path, listed: seen.append((os.path.relpath(path, tmp_path), listed)))
    try:
        open(tmp_path / "a").close()
        (tmp_path / "b").read_text()
        os.close(os.open(os.fsencode(tmp_path / "c"), os.O_RDONLY))
        open(tmp_path / "d", "r+").close()
        open(tmp_path / "written", "w").close()
        os.close(os.open(tmp_path / "written", os.O_WRONLY))
        list(tmp_path.iterdir())
        list(os.walk(tmp_path))
        with unwatched():
            open(tmp_path / "a").close()
    finally:
        end()
    open(tmp_path / "a").close()

    assert seen == [("a", False), ("b", False), ("c", False), ("d", False), (".", True), (".", True)]


def test_nothing_stays_behind(tmp_path: Path) -> None:
    """
    When nobody watches any more, Python's own functions are back; what a program put around them stays.
    """
    before = (builtins.open, io.open, os.open, os.listdir, os.scandir)
    first, second = watch(lambda *_: None), watch(lambda *_: None)

    first()
    assert builtins.open is not before[0]
    second()
    assert before == (builtins.open, io.open, os.open, os.listdir, os.scandir)

    end = watch(lambda *_: None)
    wrapped = builtins.open
    theirs = lambda *args: wrapped(*args)  # noqa: E731
    builtins.open = theirs  # type: ignore[assignment]
    try:
        end()
        assert builtins.open is theirs
        builtins.open(tmp_path / "x", "w").close()
    finally:
        builtins.open = before[0]


def test_relative_paths_and_descriptors(tmp_path: Path) -> None:
    """
    Paths are made absolute, the working directory has a name, and descriptors are no paths.
    """
    (tmp_path / "a").write_text("")
    seen: list[str] = []
    here = os.getcwd()
    os.chdir(tmp_path)
    end = watch(lambda path, _: seen.append(path))
    try:
        descriptor = os.open("a", os.O_RDONLY)
        open(descriptor).close()
        os.listdir()
    finally:
        end()
        os.chdir(here)

    assert seen == [f"{tmp_path}/a", str(tmp_path)]
