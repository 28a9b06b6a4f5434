"""Compiled modules, found by the content of their text: in memory, and on a disk that all replicas of a host share."""

from __future__ import annotations

import hashlib
import io
import marshal
import os
import sys
from collections.abc import Iterator, Sequence
from importlib.util import MAGIC_NUMBER, decode_source
from pathlib import Path
from types import CodeType
from typing import Final, NamedTuple, overload

from greenroom.bundling.imports import Imports
from greenroom_replica.bundles.blobs import Blobs

_LAYOUT: Final = b"1"

MOST: Final = 2048
"""Compiled modules that are kept in memory; older ones are read from the disk again."""


class Compiled(NamedTuple):
    """A module's code and what its text imports."""

    code: CodeType
    imports: Imports


class Codes:
    """Compiles texts, each once."""

    def __init__(self, blobs: Blobs, folder: Path | None = None) -> None:
        """Set up.

        Args:
            blobs: Holds the texts.
            folder: Keeps compiled ones; None for memory alone. It must be the user's own: code is loaded from it.
        """
        self._blobs, self._folder = blobs, folder
        self._known: dict[tuple[str, str], Compiled] = {}
        self._imports: dict[str, Imports] = {}
        self.compiled = 0
        """Texts that had to be compiled."""

    def get(self, digest: str, filename: str) -> Compiled:
        """The module whose text is the blob `digest`, compiled so that tracebacks name `filename`.

        Raises:
            SyntaxError: The text is no Python; likewise whatever else `compile` raises.
        """
        known = self._known.get((digest, filename))
        if known is None:
            path = self._path(digest, filename)
            known = _read(path) or self._compile(digest, filename, path)
            while len(self._known) >= MOST:
                del self._known[next(iter(self._known))]
            self._known[digest, filename] = known
            self._imports[digest] = known.imports
        return known

    def imports(self, digest: str, filename: str) -> Imports:
        """What a text imports; nothing if it cannot be compiled (importing it will say why)."""
        imports = self._imports.get(digest)
        if imports is None:
            try:
                imports = self.get(digest, filename).imports
            except (SyntaxError, ValueError, RecursionError):
                imports = self._imports[digest] = Imports((), False, ())
        return imports

    def source(self, digest: str) -> bytes:
        """The text itself."""
        return self._blobs.open_blob(digest)

    def _compile(self, digest: str, filename: str, path: Path | None) -> Compiled:
        import ast

        from greenroom.bundling.scanning import scan

        source = self._blobs.open_blob(digest)
        self.compiled += 1
        tree = ast.parse(source, filename)
        imports = scan(tree)  # Before it is compiled: that may change the tree.
        code: CodeType = compile(tree, filename, "exec", dont_inherit=True)
        if path is not None:
            _write(path, marshal.dumps((tuple(imports), code)))
        return Compiled(code, imports)

    def _path(self, digest: str, filename: str) -> Path | None:
        if self._folder is None:
            return None
        key = hashlib.sha256(_LAYOUT + MAGIC_NUMBER)
        tag = f"{sys.implementation.cache_tag} {sys.flags.optimize} {sys.hexversion}"
        key.update("\0".join((tag, digest, filename)).encode("utf-8", "surrogatepass"))
        name = key.hexdigest()
        return self._folder / name[:2] / name


def _read(path: Path | None) -> Compiled | None:
    """What `_write` wrote; None if there is none, or if it was cut: a damaged marshal can crash Python."""
    if path is None:
        return None
    try:
        with open(path, "rb", buffering=0) as file:
            content = file.read()
    except OSError:
        return None
    body = content[32:]
    if hashlib.sha256(body).digest() != content[:32]:
        return None
    imports, code = marshal.loads(body)
    return Compiled(code, Imports(*imports))


def _write(path: Path, body: bytes) -> None:
    spare = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            spare.write_bytes(hashlib.sha256(body).digest() + body)
            spare.replace(path)
        except OSError:
            spare.unlink(missing_ok=True)
    except OSError:
        pass  # A full or read-only disk: it is compiled again the next time.


class Lines(Sequence[str]):
    """The lines of a text, read when a traceback or `inspect` asks for them. Stands in `linecache.cache`."""

    def __init__(self, blobs: Blobs, digest: str) -> None:
        self._blobs, self._digest = blobs, digest
        self._lines: list[str] | None = None

    def _read(self) -> list[str]:
        if self._lines is None:
            try:
                text = decode_source(self._blobs.open_blob(self._digest))
            except Exception:  # A traceback is being written: better without its lines than not at all.
                text = ""
            self._lines = io.StringIO(text).readlines()
        return self._lines

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        return self._read()[index]

    def __len__(self) -> int:
        return len(self._read())

    def __iter__(self) -> Iterator[str]:
        return iter(self._read())
