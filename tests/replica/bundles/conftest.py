"""A runner in this process, and programs for it; everything that importing changes is put back."""

from __future__ import annotations

import linecache
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from greenroom_protocol.bundle import BundleFile, Manifest
from greenroom_replica.bundles import Active, Bundles, LocalBlobs


class Runner:
    """Bundles made of texts, activated in this process."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.blobs = LocalBlobs(folder / "blobs")
        self.imported: list[str] = []
        self.codes = folder / "codes"
        self.bundles = Bundles(
            folder / "tree",
            self.blobs,
            codes=self.codes,
            on_import=lambda module: self.imported.append(module.__name__),
            **options,
        )

    def manifest(self, files: Mapping[str, str | bytes], entry: str = "flow.py", **places: Any) -> Manifest:
        """A manifest of files given as texts; "!" behind a path makes it executable."""
        listed = []
        for path, text in files.items():
            content = text.encode() if isinstance(text, str) else text
            digest = self.blobs.put(content)
            listed.append(BundleFile(path.rstrip("!"), digest, len(content), path.endswith("!")))
        has_entry = any(file.path == entry for file in listed)
        module = places.pop("module", entry.removesuffix(".py").replace("/", "."))
        return Manifest(listed, entry=module if has_entry else "", entry_path=entry if has_entry else "", **places)

    def use(self, files: Mapping[str, str | bytes], *, origin: str = "/home/ada/project", **places: Any) -> Active:
        """Activate a bundle of these files."""
        manifest = self.manifest(files, **places)
        return self.bundles.activate(manifest.hash, manifest, origin)

    def load(self, files: Mapping[str, str | bytes], name: str = "flow", **options: Any) -> ModuleType:
        """Activate a bundle and import a module of it."""
        return self.use(files, **options).module(name)


@pytest.fixture
def make_runner(tmp_path: Path) -> Iterator[Any]:
    modules, path, meta = dict(sys.modules), list(sys.path), list(sys.meta_path)
    hooks, lines, importers = list(sys.path_hooks), dict(linecache.cache), dict(sys.path_importer_cache)
    made: list[Runner] = []

    def make(name: str = "runner", **options: Any) -> Runner:
        made.append(Runner(tmp_path / name, **options))
        return made[-1]

    yield make
    for runner in reversed(made):
        runner.bundles.close()
    for name in [name for name in sys.modules if name not in modules]:
        del sys.modules[name]
    sys.modules.update(modules)
    sys.path[:], sys.meta_path[:], sys.path_hooks[:] = path, meta, hooks
    linecache.cache.clear()
    linecache.cache.update(lines)
    sys.path_importer_cache.clear()
    sys.path_importer_cache.update(importers)


@pytest.fixture
def runner(make_runner: Any) -> Runner:
    made: Runner = make_runner()
    return made
