"""What keys of arguments ask about code and paths."""

from __future__ import annotations

import os
from hashlib import blake2b
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, Final

from greenroom.digest.reading import Unrecorded
from greenroom.keys import relative

if TYPE_CHECKING:
    from greenroom.digest import Digester

READ_WHOLE: Final = 64 * 1024 * 1024
"""Bytes up to which a file at a path is keyed by its content; a larger one by its size and its time."""

LISTED: Final = 1_000
"""Files below a folder that are looked at, each by size and time; of a larger folder, only its own time is."""


class KeyPorts:
    """Names code by what it does, and paths by what is there.

    A `pathlib.Path` argument is keyed by its text and by what lies there, since a loader may take either from it. A
    path given as text is text: nobody can tell that it is one, save where it lies in the bundle.
    """

    def __init__(self, digester: Digester) -> None:
        self.digester = digester
        self.roots = digester.roots
        self._files: dict[str, tuple[tuple[int, int, int], str]] = {}

    def class_token(self, cls: type) -> str:
        """A user's class by its name and what it does, so that the same class after an edit elsewhere is the same."""
        name = f"{cls.__module__}.{cls.__qualname__}"
        if not self.digester.is_user_class(cls):
            return name
        return f"{name} {self.digester.digest(cls).hex[:16]}"

    def function_token(self, function: FunctionType) -> str:
        """A user's function by what it does; a library's by name."""
        digest = self.digester.digest(function)
        return f"{function.__module__}.{function.__qualname__} {digest.hex[:16] if digest.parts else ''}"

    def module_token(self, module: ModuleType) -> str:
        """A module by name."""
        return module.__name__

    def path(self, path: Any) -> str:
        """The path's text, and a digest or a stamp of what is there."""
        text = str(path)
        return f"{relative(text, self.roots)} {self._there(text)}"

    def _there(self, text: str) -> str:
        try:
            status = os.stat(text)
        except (OSError, ValueError):
            return "nothing"
        if os.path.isdir(text):
            return self._folder(text)
        if status.st_size > READ_WHOLE or not os.path.isfile(text):
            return f"{status.st_size} {status.st_mtime_ns}"
        stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
        kept = self._files.get(text)
        if kept is None or kept[0] != stamp:
            if len(self._files) > 4 * LISTED:
                self._files.clear()
            kept = self._files[text] = (stamp, file_digest(text))
        return kept[1]

    @staticmethod
    def _folder(text: str) -> str:
        found = blake2b(digest_size=12)
        count = 0
        for folder, folders, files in os.walk(text):
            folders.sort()
            for name in sorted(files):
                path = os.path.join(folder, name)
                try:
                    status = os.stat(path)
                except OSError:
                    continue
                line = f"{os.path.relpath(path, text)} {status.st_size} {status.st_mtime_ns}\n"
                found.update(line.encode("utf-8", "surrogateescape"))
                count += 1
                if count > LISTED:
                    return f"folder {os.stat(text).st_mtime_ns}"
        return f"folder {found.hexdigest()}"


def file_digest(path: str) -> str:
    """The digest of a file's content; `nothing` where it cannot be read."""
    found = blake2b(digest_size=16)
    try:
        with Unrecorded(), open(path, "rb", buffering=0) as stream:
            while chunk := stream.read(1 << 20):
                found.update(chunk)
    except OSError:
        return "nothing"
    return found.hexdigest()
