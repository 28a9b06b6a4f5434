"""Programs in folders, imported as a replica imports bundles, so that edits of them can be compared."""

import importlib
import sys
import textwrap
from pathlib import Path

import pytest

from greenroom.digest import Digester


class Programs:
    """Writes versions of a program, each to a folder of its own, and digests what they define."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0
        self._imported: set[str] = set()

    def load(self, **files: str):
        """Write one version and import its `flow`; returns (digester, the module)."""
        self._count += 1
        root = self._folder / f"v{self._count}"
        for name, text in files.items():
            path = root / (
                name.replace("__slash__", "/").replace("__dot__", ".") if "__dot__" in name else f"{name}.py"
            )
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text))
        self.unload()
        sys.path.insert(0, str(root))
        importlib.invalidate_caches()
        before = set(sys.modules)
        try:
            module = importlib.import_module("flow")
        finally:
            sys.path.remove(str(root))
            self._imported = {
                name
                for name in set(sys.modules) - before
                if (getattr(sys.modules[name], "__file__", "") or "").startswith(str(root))
            }
        return Digester(lambda name, file: bool(file and file.startswith(str(root))), roots=[str(root)]), module

    def unload(self) -> None:
        for name in self._imported:
            sys.modules.pop(name, None)
        self._imported = set()

    def digest(self, name: str = "load", **files: str):
        """The digest of `flow.<name>` in one version of the program."""
        digester, module = self.load(**files)
        found = module
        for part in name.split("."):
            found = getattr(found, part)
        return digester.digest(found)


@pytest.fixture
def programs(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    programs = Programs(tmp_path)
    yield programs
    programs.unload()
