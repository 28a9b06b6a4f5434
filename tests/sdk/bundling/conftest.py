"""Projects on a disk, with a cache folder of their own."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from greenroom.bundling import Bundle, make_bundle


class Project:
    """A folder of files, bundled with its own cache."""

    def __init__(self, folder: Path, cache: Path) -> None:
        self.folder, self.cache = folder, cache
        folder.mkdir(parents=True, exist_ok=True)

    def write(self, files: Mapping[str, str | bytes]) -> Project:
        """Write files, given as texts or bytes."""
        for path, text in files.items():
            target = self.folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(text.encode() if isinstance(text, str) else text)
        return self

    def git(self, *arguments: str) -> None:
        """Run git in the project."""
        identity = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "init.defaultBranch=main"]
        subprocess.run(["git", *identity, *arguments], cwd=self.folder, check=True, capture_output=True)

    def bundle(self, file: str = "flow.py", **options: Any) -> Bundle:
        """Bundle the program in a file; nothing outside counts unless a test says so."""
        return make_bundle(self.folder / file, **{"search": [], "cache": self.cache, **options})

    def paths(self, file: str = "flow.py", **options: Any) -> list[str]:
        """Paths of its bundle."""
        return [entry.path for entry in self.bundle(file, **options).manifest.files]

    def age(self, seconds: int = 10) -> None:
        """Make every file look as if it had been at rest for a while (but for its ctime, which nobody can set)."""
        import os

        for path in self.folder.rglob("*"):
            os.utime(path, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns - seconds * 10**9))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "proj", tmp_path / "cache")
