"""A bundle's manifest: which files the user's code is made of, by content. Names it, carries it, refuses bad ones.

A manifest comes from outside (a client, an upload), and replicas lay out files by it: whatever could write beyond a
folder, twice to one file, or without end, is refused here, before anybody touches a disk.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import msgpack

FORMAT: Final = 1
"""Version of the encoding; part of what is hashed."""

MAX_BYTES: Final = 50 * 1024 * 1024
"""Bytes that all files of a bundle may have together."""

MAX_FILES: Final = 20_000
MAX_PATH: Final = 1024
"""Bytes of a path in UTF-8; of one of its parts, 255, as file systems have it."""

MAX_ROOTS: Final = 256
MOUNTS: Final = ".greenroom-packages"
"""Folder of the bundle that holds packages from outside the project's root."""

_PLAIN: Final = re.compile(r"\w[\w.+@=-]*(?:/\w[\w.+@=-]*)*", re.ASCII).fullmatch
"""Most paths: they need no closer look."""

_NEVER: Final = frozenset({".git", ".hg", ".svn"})  # Files in there would run as hooks.


class BadManifest(ValueError):
    """A manifest that is refused, with the path and the reason."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        where = f"{self.path[:200]!r}: " if self.path else ""
        return f"bundle refused: {where}{self.reason}"


class BundleFile(NamedTuple):
    """One file of a bundle."""

    path: str
    """Relative to the root, with `/`."""
    digest: str
    """sha256 of its bytes, in hex: the blob that holds it."""
    size: int
    """Bytes."""
    executable: bool


class Manifest:
    """The files of a bundle and how Python finds modules in them; frozen, and equal where the hash is equal."""

    __slots__ = ("_by_path", "_encoded", "_hash", "entry", "entry_path", "files", "late_roots", "mounts", "roots")

    files: tuple[BundleFile, ...]
    """Sorted by path."""
    roots: tuple[str, ...]
    """What goes in front of `sys.path`, in order, relative to the root ("" is the root)."""
    late_roots: tuple[str, ...]
    """What goes behind everything else there: the folder of a script inside a package, for modules beside it."""
    entry: str
    """Name of the module that the user ran, as `python -m` would call it; "" if there is none."""
    entry_path: str
    """Its file."""
    mounts: tuple[tuple[str, str], ...]
    """Folders of the bundle that come from elsewhere than the root, and where from, for tracebacks."""

    def __init__(
        self,
        files: Iterable[BundleFile],
        *,
        roots: Sequence[str] = ("",),
        late_roots: Sequence[str] = (),
        entry: str = "",
        entry_path: str = "",
        mounts: Sequence[tuple[str, str]] = (),
    ) -> None:
        self.files = tuple(sorted(files))
        self.roots, self.late_roots = tuple(roots), tuple(late_roots)
        self.entry, self.entry_path = entry, entry_path
        self.mounts = tuple(sorted(mounts))
        self._by_path: dict[str, BundleFile] | None = None
        self._encoded: bytes | None = None
        self._hash: str | None = None

    def encode(self) -> bytes:
        """The canonical bytes: equal manifests give equal bytes, and their hash names the bundle."""
        if self._encoded is None:
            files = [(path, bytes.fromhex(digest), size, executable) for path, digest, size, executable in self.files]
            body = (FORMAT, self.entry, self.entry_path, self.roots, self.late_roots, self.mounts, files)
            self._encoded = msgpack.packb(body)
        return self._encoded

    @property
    def hash(self) -> str:
        """The bundle's name: sha256 of its canonical bytes, in hex."""
        if self._hash is None:
            self._hash = hashlib.sha256(self.encode()).hexdigest()
        return self._hash

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    @property
    def by_path(self) -> dict[str, BundleFile]:
        """The files, found by path."""
        if self._by_path is None:
            self._by_path = {file.path: file for file in self.files}
        return self._by_path

    def digests(self) -> set[str]:
        """Blobs that hold the bundle's files."""
        return {file.digest for file in self.files}

    def origin_of(self, path: str, root: str) -> str:
        """Where the user has the file `path`, whose project lies in `root`."""
        for folder, origin in self.mounts:
            if path.startswith(folder + "/"):
                return f"{origin.rstrip('/')}/{path[len(folder) + 1 :]}"
        return f"{root.rstrip('/')}/{path}" if root else path

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Manifest) and self.encode() == other.encode()

    def __hash__(self) -> int:
        return hash(self.encode())

    def __repr__(self) -> str:
        return f"<Manifest {self.hash[:12]} {self.entry or '-'}, {len(self.files)} files, {self.size} bytes>"

    @classmethod
    def decode(cls, body: bytes, expected: str | None = None) -> Manifest:
        """Read and check a manifest from outside.

        Args:
            body: What `encode` made.
            expected: The hash under which it came, if one is known.

        Raises:
            BadManifest: It cannot be read, is not what its hash says, or must not be laid out on a disk.
        """
        if expected is not None and hashlib.sha256(body).hexdigest() != expected:
            raise BadManifest("", f"its bytes are not those of {expected[:12]}; it was cut or changed on its way")
        try:
            raw = msgpack.unpackb(body, strict_map_key=True, use_list=True)
        except (ValueError, msgpack.UnpackException) as fault:
            raise BadManifest("", f"not a manifest: {fault}") from fault
        manifest = _read(raw)
        check(manifest)
        if manifest.encode() != body:  # One bundle, one name: no second spelling of it is let in.
            raise BadManifest("", "its files are not in canonical form (sorted, shortest encoding)")
        return manifest


def _read(raw: Any) -> Manifest:
    if not isinstance(raw, list) or len(raw) != 7:
        raise BadManifest("", "not a manifest")
    version, entry, entry_path, roots, late_roots, mounts, files = raw
    if version != FORMAT or isinstance(version, bool):
        raise BadManifest("", f"format {version!r}, this greenroom reads {FORMAT}: upgrade the older side")
    if not isinstance(files, list) or len(files) > MAX_FILES:
        count = len(files) if isinstance(files, list) else "no"
        raise BadManifest("", f"{count} files, at most {MAX_FILES:,} are taken")
    if not all(map(_strings, ([entry, entry_path], roots, late_roots))) or len(roots) + len(late_roots) > MAX_ROOTS:
        raise BadManifest("", "its entry and roots must be strings")
    if not isinstance(mounts, list) or len(mounts) > MAX_ROOTS or not all(_strings(m) and len(m) == 2 for m in mounts):
        raise BadManifest("", "its mounts must be pairs of strings")
    return Manifest(
        [_file(item) for item in files],
        roots=roots,
        late_roots=late_roots,
        entry=entry,
        entry_path=entry_path,
        mounts=[(folder, origin) for folder, origin in mounts],
    )


def _strings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _file(item: Any) -> BundleFile:
    if not isinstance(item, list) or len(item) != 4 or not isinstance(item[0], str):
        raise BadManifest("", "a file must be [path, sha256, size, executable]")
    path, digest, size, executable = item
    if not isinstance(digest, bytes) or len(digest) != 32:
        raise BadManifest(path, "its digest is not a sha256")
    if isinstance(size, bool) or not isinstance(size, int) or size < 0:
        raise BadManifest(path, f"its size is {size!r}")
    if not isinstance(executable, bool):  # There is no kind but the regular file: no links, no devices.
        raise BadManifest(path, "only regular files are taken, no links")
    return BundleFile(path, digest.hex(), size, executable)


def check(manifest: Manifest) -> None:
    """Refuse a manifest that is too large, or that could write where it should not.

    Raises:
        BadManifest: With the first path in question.
    """
    if len(manifest.files) > MAX_FILES:
        raise BadManifest("", f"{len(manifest.files):,} files, at most {MAX_FILES:,} are taken")
    if manifest.size > MAX_BYTES:
        raise BadManifest("", f"{manifest.size:,} bytes, at most {MAX_BYTES:,} are taken")
    folded: dict[str, str] = {}
    folders: set[str] = set()
    before = ""
    for path, *_ in manifest.files:
        if reason := refusal(path):
            raise BadManifest(path, reason)
        if path == before:  # Files are sorted.
            raise BadManifest(path, "named twice")
        known = folded.setdefault(fold(path), path)
        if known != path:
            raise BadManifest(path, f"differs from {known!r} only by case or accents, so that one would hide it")
        add_folders(path, folders)
        before = path
    for folder in folders:
        if (clash := folded.get(fold(folder))) is not None:
            raise BadManifest(clash, "both a file and a folder")
    _check_places(manifest, folders)


def _check_places(manifest: Manifest, folders: set[str]) -> None:
    for root in (*manifest.roots, *manifest.late_roots):
        if root and (reason := refusal(root)):
            raise BadManifest(root, reason)
    for folder, _ in manifest.mounts:
        if reason := refusal(folder):
            raise BadManifest(folder, reason)
    if manifest.entry_path and manifest.entry_path not in manifest.by_path:
        raise BadManifest(manifest.entry_path, "the entry module's file is not in the bundle")
    if bool(manifest.entry) != bool(manifest.entry_path):
        raise BadManifest(manifest.entry_path, "an entry needs both a module and a file")


def add_folders(path: str, folders: set[str]) -> None:
    """Add to `folders` every folder that `path` lies in."""
    at = path.rfind("/")
    while at > 0 and (folder := path[:at]) not in folders:
        folders.add(folder)
        at = path.rfind("/", 0, at)


def fold(path: str) -> str:
    """What `path` is on a file system that ignores case or normalises accents."""
    if path.isascii():
        return path.lower()
    import unicodedata

    return unicodedata.normalize("NFC", path).casefold()


def refusal(path: str) -> str | None:
    """Why `path` must not be laid out below a folder; None if it may."""
    if _PLAIN(path) and len(path) < 256:
        return None
    if not path:
        return "an empty path"
    if "\\" in path or not path.isprintable():
        return "a backslash or a character that cannot be printed in a path"
    if path[0] == "/" or path[1:2] == ":":
        return "an absolute path"
    if not path.isascii() and not _encodes(path):
        return "a path that is not UTF-8"
    if len(path) > MAX_PATH or (not path.isascii() and len(path.encode()) > MAX_PATH):
        return f"a path of more than {MAX_PATH} bytes"
    for part in path.split("/"):
        if part in ("", ".", ".."):
            return f"a path with {part!r} as a part"
        if len(part) > 63 and len(part.encode()) > 255:
            return "a part of a path with more than 255 bytes"
        if part[0] == "." and part.lower() in _NEVER:
            return f"files below {part} are never taken"
    return None


def _encodes(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
