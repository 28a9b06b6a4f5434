"""Where a program's code begins: its project's root, the name of its module, and what `sys.path` gets."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from greenroom.bundling.imports import Imports
from greenroom.bundling.modules import ALIASED, OWN

MARKERS: Final = ("pyproject.toml", ".git")
"""What makes a folder a project's root."""


class Root(NamedTuple):
    """The folder that a bundle's paths are relative to."""

    folder: Path
    is_project: bool
    """Whether it has a marker: all of it is bundled then, else only what the file imports."""


class Layout(NamedTuple):
    """How Python finds a program's modules; folders are relative to the root ("" is the root)."""

    module: str
    """The file's name as a module; "" if a folder was given."""
    path: str
    """The file, relative to the root; "" if a folder was given."""
    roots: tuple[str, ...]
    """In front of `sys.path`."""
    late_roots: tuple[str, ...]
    """Behind everything else in `sys.path`."""


def find_root(file: str | Path) -> Path:
    """The root of the project that `file` belongs to: the nearest folder with a pyproject.toml or a .git, else its own.

    A marker in a home folder, in a temporary folder or at the top of a file system is a stray one (dotfiles are often
    kept in a repository): it does not make all that lies below one project.
    """
    return locate(file).folder


def locate(file: str | Path) -> Root:
    """Like `find_root`, and whether that is a project."""
    path = Path(os.path.abspath(file))
    start = path if path.is_dir() else path.parent
    shared = _shared_folders()
    for folder in (start, *start.parents):
        if str(folder) in shared:
            break
        if any((folder / marker).exists() for marker in MARKERS):
            return Root(folder, True)
    return Root(_above_packages(start), False)


def _shared_folders() -> set[str]:
    """Folders that hold many people's or many projects' files; never a project themselves."""
    home = os.path.expanduser("~")
    temporary = [os.environ[name] for name in ("TMPDIR", "TEMP", "TMP") if os.environ.get(name)]
    folders = {os.sep, home, os.path.dirname(home), "/tmp", "/var/tmp", "/home", "/Users", "/mnt", *temporary}
    return folders | {os.path.realpath(folder) for folder in folders}


def _above_packages(folder: Path) -> Path:
    """The first folder at or above `folder` that is not a package."""
    while (folder / "__init__.py").exists() and folder.parent != folder:
        folder = folder.parent
    return folder


def project_name(root: str | Path) -> str:
    """The project's name: `[project] name` in its pyproject.toml (or Poetry's), else the name of its folder."""
    root = Path(root)
    try:
        text = (root / "pyproject.toml").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    return (_name_in(text) if text else "") or root.name or "root"


def _name_in(text: str) -> str:
    import tomllib

    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return ""  # The program may run without its pyproject.toml being in order; who builds it will hear.
    for section in (document.get("project"), (document.get("tool") or {}).get("poetry")):
        name = section.get("name") if isinstance(section, dict) else None
        if isinstance(name, str) and name.strip():
            return name.strip()
    return ""


def layout(file: str | Path, root: Path, search: Sequence[str] | None = None) -> Layout:
    """How the modules of `file`'s program are found: as under `python file.py` and `python -m`, whichever fits.

    Args:
        file: The file that the user runs.
        root: Its project's root.
        search: `sys.path` of the interpreter that runs it; folders of it inside the root (from editable installs or
            PYTHONPATH) are taken over.
    """
    path = Path(os.path.abspath(file))
    inside = list(_inside(root, sys.path if search is None else search))
    if (root / "src").is_dir() and "src" not in inside and not (root / "src" / "__init__.py").exists():
        inside.append("src")
    if path.is_dir():
        folder = _relative(path, root)
        return Layout("", "", tuple(dict.fromkeys([folder, "", *inside])), ())
    base, module = _name_of(path, root, inside)
    roots = dict.fromkeys([base, "", *inside])
    folder = _relative(path.parent, root)
    late = () if folder in roots else (folder,)
    return Layout(module, _relative(path, root), tuple(roots), late)


def _relative(path: Path, root: Path) -> str:
    relative = path.relative_to(root).as_posix()
    return "" if relative == "." else relative


def _inside(root: Path, search: Iterable[str]) -> Iterator[str]:
    """Folders of `search` below `root` that hold the project's own modules, relative to it."""
    prefix = str(root) + os.sep
    for entry in search:
        folder = os.path.abspath(entry)
        if folder == str(root):
            yield ""
        if not folder.startswith(prefix) or not os.path.isdir(folder):
            continue
        relative = folder[len(prefix) :].replace(os.sep, "/")
        if not _is_environment(root, relative) and not any(os.path.isdir(os.path.join(folder, own)) for own in OWN):
            yield relative


def _is_environment(root: Path, relative: str) -> bool:
    """Whether a folder belongs to an interpreter that lies inside the project."""
    if re.search(r"(^|/)(site|dist)-packages(/|$)", relative):
        return True
    folder = root / relative
    prefixes = {os.path.realpath(prefix) for prefix in (sys.prefix, sys.base_prefix)} - {os.path.realpath(root)}
    here = os.path.realpath(folder)
    return any(here == prefix or here.startswith(prefix + os.sep) for prefix in prefixes)


def _name_of(path: Path, root: Path, inside: Sequence[str]) -> tuple[str, str]:
    """The folder that the module's name counts from, relative to the root, and the name.

    Packages are left upwards as long as there is an `__init__.py`. A folder without one may still be a package (a
    namespace): it is taken for one if the file's imports say so, or if packages with an `__init__.py` lie in it and it
    lies in a folder that modules are imported from.
    """
    top = _above_packages(path.parent)
    top = top if top.is_relative_to(root) else root
    packages = path.parent.relative_to(top).parts
    if not all(part.isidentifier() for part in packages):
        return _relative(path.parent, root), module_name(path.stem)
    stem = () if path.name == "__init__.py" and packages else (path.stem.replace(".", "_"),)
    imports = _imports_of(path) if top != root else Imports((), False, ())
    base, names = top, (*packages, *stem)
    for folder in _namespaces(top, root):
        longer = (folder.name, *path.parent.relative_to(folder).parts, *stem)
        known = _relative(folder.parent, root) in inside
        reaches_out = imports.deepest_level() >= len(names)  # More packages up than this name has.
        if reaches_out or (packages and known) or _speaks_of(imports, ".".join(longer[:-1])):
            base, names = folder.parent, longer
    name = module_name(names[0]) if len(names) == 1 and stem else ".".join(names)
    return _relative(base, root), name


def _namespaces(top: Path, root: Path) -> Iterator[Path]:
    """Folders from `top` upwards that could be namespace packages inside the root."""
    while top != root and top.name.isidentifier():
        yield top
        top = top.parent


def _speaks_of(imports: Imports, package: str) -> bool:
    """Whether a file imports from what would be its own package by its full name."""
    return any(
        level == 0 and (module == package or module.startswith(package + "."))
        for level, module, _ in imports.statements
    )


def _imports_of(path: Path) -> Imports:
    from greenroom.bundling.scanning import scan_source

    try:
        return scan_source(path.read_bytes(), str(path))
    except OSError:
        return Imports((), False, ())


def module_name(stem: str) -> str:
    """A module's name for a script: its stem, changed where that would be another module's (`queue.py`, `union.py`)."""
    name = stem.replace(".", "_")
    taken = name in sys.stdlib_module_names or name in ALIASED or name in OWN
    return f"{name}_" if taken else name
