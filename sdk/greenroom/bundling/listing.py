"""Which files a project has: what git would list, or, without git, all but what is plainly not its own."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from greenroom.bundling.errors import TooManyFiles
from greenroom_protocol.bundle import MAX_FILES, MOUNTS, fold, refusal

MAX_DATA: Final = 1024 * 1024
"""Bytes of a data file that is bundled; larger ones are named."""

_SOURCE: Final = (".py", ".so", ".pyd")
_COMPILED: Final = (".pyc", ".pyo")
_JUNK: Final = frozenset(
    {
        "__pycache__", "node_modules", "site-packages", "__pypackages__", ".git", ".hg", ".svn", ".tox", ".nox",
        ".eggs", ".venv", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".hypothesis", ".ipynb_checkpoints", ".cache",
        ".greenroom", MOUNTS,
    }
)  # fmt: skip
"""Folders that are never a program's own, whatever git says."""
_BUILD: Final = frozenset({"build", "dist"})
"""Folders at the top of a project that hold what was made from it; left out where git does not say which."""


class LeftOut(NamedTuple):
    """A file or folder that the bundle does not take, and why."""

    path: str
    reason: str
    size: int
    """Bytes; 0 for folders and what has no size."""


class Listed(NamedTuple):
    """A file that the bundle takes, with what tells whether it has changed."""

    path: str
    """Relative to the bundle's root."""
    source: str
    """Where it lies; for a link, what it points to."""
    status: os.stat_result


class Listing:
    """Collects files, once each, and what is left out of them."""

    def __init__(self, exclude: Iterable[Path] = ()) -> None:
        self.files: dict[str, Listed] = {}
        self.left_out: dict[str, LeftOut] = {}
        self._folded: dict[str, str] = {}
        self.exclude = tuple(os.path.realpath(path) for path in exclude)
        self.nested = False
        """Whether repositories inside the folder were listed too."""

    def skip(self, path: str, reason: str, size: int = 0) -> None:
        """Leave `path` out and remember why."""
        self.left_out.setdefault(path, LeftOut(path, reason, size))

    def is_excluded(self, folder: str) -> bool:
        """Whether the caller wants nothing of `folder` (the hub's state, for one)."""
        return bool(self.exclude) and os.path.realpath(folder) in self.exclude

    def add(self, path: str, source: str, status: os.stat_result, *, any_size: bool = False) -> bool:
        """Take the file `source` as `path`, unless something speaks against it; says whether it is taken."""
        if path in self.files:
            return True
        if path.endswith(_COMPILED):
            return False
        size = status.st_size
        if not stat.S_ISREG(status.st_mode):
            self.skip(path, "not a regular file")
        elif size > MAX_DATA and not any_size and not path.endswith(_SOURCE):
            self.skip(path, "larger than 1 MiB: pass it as an input (File), or read it from where it lies", size)
        elif reason := refusal(path):
            self.skip(path, reason, size)
        elif self._folded.setdefault(fold(path), path) != path:
            self.skip(path, f"differs from {self._folded[fold(path)]} only by case or accents", size)
        else:
            self.files[path] = Listed(path, source, status)
            if len(self.files) > MAX_FILES:
                raise TooManyFiles(os.path.dirname(source), MAX_FILES)
            return True
        return False

    def drop(self, keep: Iterable[str]) -> None:
        """Keep only these files."""
        self.files = {path: self.files[path] for path in keep if path in self.files}


def names_in(folder: Path, listing: Listing, *, prefix: str = "") -> tuple[bytes, bool]:
    """What lies in `folder`, as git would list it, else by walking: names with a NUL after each; whether by git."""
    names = git_files(folder)
    if names:
        return names, True
    walked = _walk(folder, listing, prefix)  # No git, no repository, or all of the folder ignored by an outer one.
    return b"".join(os.fsencode(name) + b"\0" for name in walked), False


def list_folder(folder: Path, listing: Listing, *, prefix: str = "", names: tuple[bytes, bool] | None = None) -> None:
    """Take the files of a folder.

    Args:
        folder: An absolute folder.
        listing: Gets them.
        prefix: Put before each path.
        names: What `names_in` found there, if it was asked already.
    """
    raw, by_git = names_in(folder, listing, prefix=prefix) if names is None else names
    unique = dict.fromkeys(os.fsdecode(raw).split("\0"))  # Git lists unmerged files several times.
    unique.pop("", None)
    _take(folder, unique, listing, prefix, by_git)


def _take(folder: Path, names: Iterable[str], listing: Listing, prefix: str, by_git: bool) -> None:
    links: list[tuple[str, str]] = []
    base = f"{folder}/"
    verdicts: dict[str, bool] = {"": True}
    for name in names:
        parent = name[: name.rfind("/")] if "/" in name else ""
        if by_git and not _is_own(parent, folder, verdicts, listing, prefix):
            continue
        try:
            status = os.lstat(base + name)
        except OSError:
            continue  # Deleted, but git still lists it.
        kind = stat.S_IFMT(status.st_mode)
        if kind == stat.S_IFLNK:
            links.append((name, base + name))
        elif kind == stat.S_IFDIR:  # A repository inside this one: git names it and stays out.
            if _is_own(name.rstrip("/"), folder, verdicts, listing, prefix):
                listing.nested = True
                list_folder(folder / name.rstrip("/"), listing, prefix=f"{prefix}{name.rstrip('/')}/")
        else:
            listing.add(prefix + name, base + name, status)
    for name, link in links:
        _follow(folder, name, link, listing, prefix)


def _is_own(parent: str, folder: Path, verdicts: dict[str, bool], listing: Listing, prefix: str) -> bool:
    """Whether a folder that git lists files of is the program's own, not a forgotten virtual environment."""
    try:
        return verdicts[parent]
    except KeyError:
        above, _, last = parent.rpartition("/")
        own = _is_own(above, folder, verdicts, listing, prefix)
        if own and (reason := _junk(last, f"{folder}/{parent}", listing)):
            listing.skip(f"{prefix}{parent}/", reason)
            own = False
        verdicts[parent] = own
        return own


def _junk(name: str, folder: str, listing: Listing) -> str:
    """Why a folder is not the program's own; "" if it is."""
    if name in _JUNK or name.endswith(".egg-info"):
        return "not the program's own"
    if os.path.exists(f"{folder}/pyvenv.cfg") or os.path.isdir(f"{folder}/conda-meta"):
        return "a virtual environment"
    return "excluded" if listing.is_excluded(folder) else ""


def _walk(folder: Path, listing: Listing, prefix: str) -> Iterator[str]:
    """Names of the files below `folder`, without what is plainly not the program's own."""
    is_environment = (folder / "pyvenv.cfg").exists()
    pending = [""]
    seen = 0
    while pending:
        at = pending.pop()
        base = f"{at}/" if at else ""
        try:
            entries = sorted(os.scandir(folder / at), key=lambda entry: entry.name)
        except OSError:
            listing.skip(f"{prefix}{base}", "cannot be read")
            continue
        for entry in entries:
            name = base + entry.name
            if entry.is_dir(follow_symlinks=False):
                reason = _junk(entry.name, entry.path, listing) or _hidden(entry.name, at, is_environment)
                if reason:
                    listing.skip(f"{prefix}{name}/", reason)
                else:
                    pending.append(name)
            elif entry.name.startswith(".env"):
                listing.skip(prefix + name, "may hold secrets: pass them with secret_requests= or --env")
            else:
                seen += 1
                if seen > 4 * MAX_FILES:
                    raise TooManyFiles(str(folder), MAX_FILES)
                yield name


def _hidden(name: str, at: str, is_environment: bool) -> str:
    if name.startswith("."):
        return "a hidden folder"
    if not at and name in _BUILD:
        return "built from the rest"
    if not at and is_environment and name in ("bin", "include", "lib", "lib64", "share", "etc", "Scripts"):
        return "a virtual environment"
    return ""


def _follow(folder: Path, name: str, link: str, listing: Listing, prefix: str) -> None:
    """Take what a link points to as files, if that lies inside the folder."""
    root = os.path.realpath(folder)
    target = os.path.realpath(link)
    path = prefix + name
    if target != root and not target.startswith(root + os.sep):
        listing.skip(path, f"a link out of the project, to {os.readlink(link)}")
        return
    try:
        status = os.stat(target)
    except OSError:
        listing.skip(path, f"a link to {os.readlink(link)}, which does not exist")
        return
    if not stat.S_ISDIR(status.st_mode):
        listing.add(path, target, status)
        return
    inside = prefix + os.path.relpath(target, root).replace(os.sep, "/") + "/"
    if target == root or f"{path}/".startswith(inside):
        listing.skip(path, "a link to a folder that it lies in")
        return
    for file in [file for file in listing.files.values() if file.path.startswith(inside)]:
        listing.add(f"{path}/{file.path[len(inside) :]}", file.source, file.status)


def git_files(folder: Path) -> bytes:
    """What `git ls-files -co --exclude-standard` lists in `folder`; nothing without git or outside a work tree."""
    if not _in_work_tree(folder):
        return b""
    command = ["git", "-c", "safe.directory=*", "-c", "core.fsmonitor=false", "-C", str(folder)]
    return _output([*command, "ls-files", "-z", "-c", "-o", "--exclude-standard"])


def _in_work_tree(folder: Path) -> bool:
    return any((at / ".git").exists() for at in (folder, *folder.parents))


def _output(command: list[str]) -> bytes:
    """What a command prints; nothing if it is not there or fails. Without `subprocess`, which costs more to import."""
    reading, writing = os.pipe()
    environ = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    environ |= {"GIT_OPTIONAL_LOCKS": "0", "GIT_LITERAL_PATHSPECS": "1", "LC_ALL": "C"}
    null = os.open(os.devnull, os.O_RDWR)
    actions = [
        (os.POSIX_SPAWN_DUP2, null, 0),
        (os.POSIX_SPAWN_DUP2, writing, 1),
        (os.POSIX_SPAWN_DUP2, null, 2),
    ]
    try:
        child = os.posix_spawnp(command[0], command, environ, file_actions=actions)
    except OSError:
        os.close(reading)
        return b""
    finally:
        os.close(writing)
        os.close(null)
    with open(reading, "rb") as pipe:
        text = pipe.read()
    _, code = os.waitpid(child, 0)
    return text if os.waitstatus_to_exitcode(code) == 0 else b""
