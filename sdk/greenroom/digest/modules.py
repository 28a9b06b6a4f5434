"""Which modules are the user's, what they are called, and where their text is, without importing anything."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import lru_cache
from importlib.machinery import PathFinder
from types import ModuleType
from typing import Final

IsUser = Callable[[str, str | None], bool]
"""Says of a module, by name and file (None where it has none), whether it is the user's own code."""

_OURS: Final = (
    "greenroom",
    "greenroom_core",
    "greenroom_protocol",
    "greenroom_hub",
    "greenroom_replica",
    "union",
    "flytekit",
)


@lru_cache(maxsize=1)
def _library_folders() -> tuple[str, ...]:
    import site
    import sysconfig

    paths = sysconfig.get_paths()
    found = {paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    found.update(site.getsitepackages())
    found.add(site.getusersitepackages())
    return tuple(os.path.realpath(folder) + os.sep for folder in found if folder)


@lru_cache(maxsize=4096)
def is_local(module: str, file: str | None) -> bool:
    """The default: a module is the user's unless it is built in, installed, or ours."""
    top = module.partition(".")[0]
    if top in _OURS:
        return False
    if file is None:
        return module == "__main__"
    if file.startswith("<"):  # A notebook's cell, or a console's line.
        return not file.startswith("<frozen") and top not in sys.stdlib_module_names
    real = os.path.realpath(file)
    if "site-packages" in real or "dist-packages" in real:
        return False
    return not real.startswith(_library_folders())


def public_name(module: str, names: object = None) -> str:
    """The name under which others would import it: `__main__` is its file's, or the one given to `python -m`.

    Args:
        module: Its name.
        names: Its globals, if at hand: code that came by value from another's `__main__` is not this one's.
    """
    if module != "__main__":
        return module
    main = sys.modules.get("__main__")
    if names is not None and main is not None and vars(main) is not names:
        return module
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.name:
        return str(spec.name.removesuffix(".__main__"))
    file = getattr(main, "__file__", None)
    return os.path.basename(file).partition(".")[0] if file else "__main__"


def file_of(module: ModuleType) -> str | None:
    """The module's source file; None for what has no source."""
    return source_path(getattr(module, "__file__", None))


def source_path(file: str | None) -> str | None:
    """The source that a compiled file stands for."""
    if file is None or not file.endswith(".pyc"):
        return file
    from importlib.util import source_from_cache

    try:
        return source_from_cache(file)
    except ValueError:
        return file


def absolute(name: str, level: int, package: str) -> str:
    """The full name that a relative import means in a package."""
    if not level:
        return name
    base = package.split(".")
    base = base[: len(base) - level + 1]
    return ".".join([*base, name] if name else base)


def locate(name: str, roots: tuple[str, ...]) -> str | None:
    """The file that `import name` would run, found without importing; None where there is none, or no source."""
    loaded = sys.modules.get(name)
    if loaded is not None:
        return file_of(loaded)
    path: list[str] | None = [*roots, *sys.path] if roots else None
    spec = None
    parts = name.split(".")
    if parts[0] in sys.builtin_module_names:
        return None
    for depth in range(1, len(parts) + 1):
        try:
            spec = PathFinder.find_spec(".".join(parts[:depth]), path)
        except (ImportError, ValueError, OSError):
            return None
        if spec is None:
            return None
        path = list(spec.submodule_search_locations or ())
    return source_path(spec.origin) if spec is not None and spec.has_location else None


def package_of(name: str, file: str | None) -> str:
    """The package in which a module's relative imports start."""
    if file is not None and os.path.basename(file) == "__init__.py":
        return name
    return name.rpartition(".")[0]


def root_of(name: str, file: str) -> str:
    """The folder on `sys.path` that a module was found in, by its name and file."""
    folder = os.path.dirname(file)
    depth = name.count(".") + (os.path.basename(file) == "__init__.py")
    for _ in range(depth):
        folder = os.path.dirname(folder)
    return folder
