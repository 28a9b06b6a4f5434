"""Import a user's file here, under the name and with the `sys.path` that it has on replicas."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import ModuleType

from greenroom.bundling.errors import NotBundled
from greenroom.bundling.places import Layout, layout, locate


def prepare_path(place: Layout, root: Path) -> None:
    """Put a program's folders on `sys.path`, once each."""
    front = [os.path.join(root, folder) if folder else str(root) for folder in place.roots]
    sys.path[:] = [*front, *(entry for entry in sys.path if entry not in front)]
    for folder in place.late_roots:
        if (path := os.path.join(root, folder)) not in sys.path:
            sys.path.append(path)


def open_program(file: str | Path) -> ModuleType:
    """Import the program in `file` as replicas do; what stands under `if __name__ == "__main__"` is not run.

    Raises:
        NotBundled: Its name is that of a module which is loaded already.
    """
    path = Path(os.path.abspath(file))
    root = locate(path).folder
    place = layout(path, root)
    prepare_path(place, root)
    loaded = sys.modules.get(place.module)
    if loaded is not None:
        if os.path.realpath(getattr(loaded, "__file__", None) or "") == os.path.realpath(path):
            return loaded
        raise NotBundled(str(file), f"has the name of the module {place.module}, which is loaded already: rename it")
    spec = _spec_of(place, path)
    if spec is None or spec.loader is None:
        return importlib.import_module(place.module)
    module = sys.modules[place.module] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(place.module, None)
        raise
    return sys.modules[place.module]


def _spec_of(place: Layout, path: Path) -> ModuleSpec | None:
    """A spec for a file that Python would not find under its module's name; None if it would."""
    importlib.invalidate_caches()
    try:
        found = importlib.util.find_spec(place.module)
    except ImportError:
        found = None
    if found is not None and found.origin and os.path.realpath(found.origin) == os.path.realpath(path):
        return None
    loader = SourceFileLoader(place.module, str(path))
    return importlib.util.spec_from_file_location(place.module, path, loader=loader)


def adopt_main(module: str) -> None:
    """Let `import module` mean the running script, so that what replicas return is of the script's own classes."""
    sys.modules.setdefault(module, sys.modules["__main__"])
