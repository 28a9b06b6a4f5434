"""The bundle as the actor cache sees it, and which of its files a load depends on."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Any, Final

from greenroom.caching.ports import file_digest
from greenroom.digest import Digester, IsUser
from greenroom.digest.modules import source_path
from greenroom.digest.reading import quiet
from greenroom.digest.texts import text_digest

MAX_NOTED: Final = 10_000
"""Files that one load is said to depend on."""


class BundleView:
    """One bundle, as it lives in a runner.

    Args:
        id: What it is known by: two with one name are the same.
        roots: Where its files lie while it is active, the folder that calls stand in first; then where its author has
        them. is_user: Says which modules are its own; by default those that lie below a root. files: The digests of
        its files, by their path relative to the first root with `/`. Without it files are read.
    """

    def __init__(
        self,
        id: str,
        roots: tuple[str, ...],
        is_user: IsUser | None = None,
        files: Mapping[str, str] | None = None,
    ) -> None:
        self.id = id
        self.roots = tuple(root.rstrip("/") for root in roots if root.rstrip("/"))
        self.files = files
        self.digester = Digester(is_user or self._lies_below, self.roots)
        self._states: dict[str, str | None] = {}

    def _lies_below(self, name: str, file: str | None) -> bool:
        if file is None or "site-packages" in file or "dist-packages" in file:
            return False  # A virtual environment may lie below the root.
        return self.relative(file) is not None

    def relative(self, path: str) -> str | None:
        """A path relative to the root that it lies below; None if it lies elsewhere."""
        for root in self.roots:
            if path == root:
                return ""
            if path.startswith(root + os.sep):
                return path[len(root) + 1 :].replace(os.sep, "/")
        return None

    def state(self, name: str) -> str | None:
        """What a file's content is, or the names in a folder (`data/`); None for what there is not.

        A source file is what it says: comments and formatting do not count, as nowhere.
        """
        if name not in self._states:
            self._states[name] = self._state(name)
        return self._states[name]

    def _state(self, name: str) -> str | None:
        if name.endswith("/") or not name:
            return self._listing(name)
        if self.files is not None and name not in self.files:
            return None  # A call may have written one of that name: that is no part of the bundle.
        path = os.path.join(self.roots[0], name)
        if name.endswith(".py"):
            return text_digest(path)
        if self.files is not None:
            return self.files[name]
        return file_digest(path) if os.path.isfile(path) else None

    def _listing(self, name: str) -> str | None:
        if self.files is not None:
            inside = {path[len(name) :].partition("/")[0] for path in self.files if path.startswith(name)}
        else:
            try:
                inside = set(os.listdir(os.path.join(self.roots[0], name)))
            except OSError:
                return None
        return blake2b("\0".join(sorted(inside)).encode("utf-8", "surrogateescape"), digest_size=12).hexdigest()


class Recorder:
    """Notes which files of a bundle are opened, and which of its folders are listed, while a load runs.

    Where several loads run at once, each may have opened it: what is noted too much costs a load, never a wrong hit.
    """

    def __init__(self, bundle: BundleView, watch: Callable[[Callable[[str, bool], None]], Callable[[], None]]) -> None:
        self._bundle = bundle
        self._names: set[str] = set()
        self._end: Callable[[], None] | None = watch(self._note)

    def _note(self, path: str, listed: bool) -> None:
        if quiet.depth or len(self._names) >= MAX_NOTED or "site-packages" in path:
            return
        name = self._bundle.relative(source_path(path) or path)
        if name is None:
            return
        self._names.add(f"{name}/" if listed and name else name)

    def stop(self) -> dict[str, str | None]:
        """End it; what was opened, and what it was."""
        end, self._end = self._end, None
        if end is not None:
            end()
        return {name: self._bundle.state(name) for name in sorted(self._names)}


def fits(files: Mapping[str, str | None], bundle: Any) -> bool:
    """Whether files that a load opened are the same in a bundle."""
    return all(bundle.state(name) == state for name, state in files.items())
