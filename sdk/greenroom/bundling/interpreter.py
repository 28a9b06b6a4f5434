"""Which Python this is and what is installed in it: the part of a pool's key that a container's image is elsewhere."""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

_INFO = re.compile(r"(.+?)-([^-]+?)(?:-py\d[\d.]*)?\.(?:dist|egg)-info", re.ASCII)
_SEPARATORS = re.compile(r"[-_.]+")
_PACKAGES = ("site-packages", "dist-packages")


class Interpreter(NamedTuple):
    """A Python with what is installed in it; two that are equal run the same program alike."""

    executable: str
    """As it was started: a virtual environment's, not what that links to."""
    prefix: str
    version: str
    """`3.11.7`."""
    implementation: str
    """`cpython-311`: decides which compiled code and pickles it understands."""
    digest: str
    """Of the installed distributions."""


def interpreter_key() -> Interpreter:
    """The running interpreter."""
    version = ".".join(map(str, sys.version_info[:3]))
    implementation = sys.implementation.cache_tag or sys.implementation.name
    return Interpreter(_executable(), sys.prefix, version, implementation, digest_of(distributions()))


def _executable() -> str:
    """The running Python under the one name that all its names share: `python` and `python3.11` keep one pool warm."""
    folder = os.path.dirname(sys.executable)
    usual = os.path.join(folder, "python")
    try:
        return usual if os.path.samefile(usual, sys.executable) else sys.executable
    except OSError:
        return sys.executable


def distributions(search: Iterable[str] | None = None) -> dict[str, str]:
    """Installed distributions: normalised name to version, read from the names of their metadata folders.

    An editable one's target is no version: its code travels with the bundle.

    Args:
        search: Folders to look in, first one wins; by default those of `sys.path` that packages are installed in.
    """
    found: dict[str, str] = {}
    for folder in package_folders(sys.path if search is None else search):
        for name in _names(folder):
            if name.endswith("-info") and name[0] != "~" and (match := _INFO.fullmatch(name)):
                found.setdefault(normalised(match[1]), match[2])
    return found


def package_folders(search: Iterable[str]) -> Iterator[str]:
    """Folders of `search` that an installer writes to, once each."""
    seen = set()
    for entry in search:
        folder = entry.rstrip("/")
        if folder.endswith(_PACKAGES) and folder not in seen:
            seen.add(folder)
            yield folder


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def normalised(name: str) -> str:
    """A distribution's name as all its spellings are compared."""
    return _SEPARATORS.sub("-", name).lower()


def digest_of(installed: Mapping[str, str]) -> str:
    """One name for a set of distributions: 32 hex digits."""
    text = "\n".join(f"{name}=={version}" for name, version in sorted(installed.items()))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


class Installed(NamedTuple):
    """What two sides compare at their handshake."""

    version: str
    """Of Python: `3.11.7`."""
    implementation: str
    distributions: Mapping[str, str]


def installed() -> Installed:
    """What is installed here."""
    key = interpreter_key()
    return Installed(key.version, key.implementation, distributions())


_NO_MATTER = frozenset({"pip", "setuptools", "wheel", "uv", "greenroom", "union", "unionai", "flytekit"})
"""Differ without harm: a program is not run by them, or Greenroom serves them."""


def compare(here: Installed, there: Installed, only: Iterable[str] | None = None) -> str | None:
    """One sentence that names what differs between a submitter and a replica; None if a program runs alike on both.

    Args:
        here: The submitter's side.
        there: The replica's side.
        only: Normalised names of the distributions that matter; by default all of the submitter's.
    """
    python = _python_differs(here, there)
    names = set(here.distributions if only is None else only) - _NO_MATTER
    missing = sorted(name for name in names if name in here.distributions and name not in there.distributions)
    other = sorted(
        f"{name} {here.distributions[name]} here, {there.distributions[name]} there"
        for name in names
        if name in there.distributions
        and here.distributions.get(name, there.distributions[name]) != there.distributions[name]
    )
    parts = [python] if python else []
    if other:
        parts.append(_some(other, "; "))
    if missing:
        parts.append(f"not installed there: {_some(missing, ', ')}")
    if not parts:
        return None
    remedy = "use the same Python on both sides" if python else "install the same versions on both sides"
    return f"the replica differs from where this was submitted: {'; '.join(parts)}. Remedy: {remedy}"


def _python_differs(here: Installed, there: Installed) -> str:
    minor = here.version.rpartition(".")[0] != there.version.rpartition(".")[0]
    if minor or here.implementation != there.implementation:
        names = [here.version, there.version]
        if not minor:
            names = [here.implementation, there.implementation]
        return f"Python {names[0]} here, {names[1]} there"
    return ""


def _some(items: list[str], joint: str, most: int = 5) -> str:
    more = f"{joint}and {len(items) - most} more" if len(items) > most else ""
    return joint.join(items[:most]) + more
