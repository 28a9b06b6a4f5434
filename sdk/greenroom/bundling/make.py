"""Make a bundle from the file that a user runs."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from greenroom.bundling.errors import BundleTooLarge, FileChanged, NoSuchFile
from greenroom.bundling.listing import LeftOut, Listed, Listing, list_folder, names_in
from greenroom.bundling.packages import OutsidePackages
from greenroom.bundling.places import Layout, layout, locate, project_name
from greenroom.bundling.reach import Reach
from greenroom.bundling.snapshot import Snapshot, conditions_of, newest, stamp_of
from greenroom.bundling.stats import StatCache
from greenroom_protocol.bundle import MAX_BYTES, BundleFile, Manifest


class Bundle:
    """A program's files, ready to be sent: the manifest, and where each blob's bytes lie."""

    def __init__(
        self,
        manifest: bytes,
        root: Path,
        place: Layout,
        *,
        is_project: bool,
        left_out: Sequence[LeftOut] = (),
        sources: dict[str, str] | None = None,
        files_read: int = 0,
    ) -> None:
        self.encoded = manifest
        """The manifest's bytes, themselves a blob: `hash` is their sha256."""
        self.hash = hashlib.sha256(manifest).hexdigest()
        self.root = root
        """The user's root folder: travels beside the bundle, for tracebacks, and is no part of its hash."""
        self.layout = place
        self.is_project = is_project
        self.left_out = tuple(left_out)
        """What was not taken, and why."""
        self.files_read = files_read
        """Files whose content had to be read; the others were known from the last time."""
        self._sources = sources
        self._manifest: Manifest | None = None

    @property
    def manifest(self) -> Manifest:
        """The files; read when first asked for, since a hub that knows the hash needs no more."""
        if self._manifest is None:
            self._manifest = Manifest.decode(self.encoded)
        return self._manifest

    @property
    def sources(self) -> dict[str, str]:
        """Where the bytes of each blob lie, by sha256."""
        if self._sources is None:
            self._sources = {file.digest: f"{self.root}/{file.path}" for file in self.manifest.files}
        return self._sources

    @property
    def module(self) -> str:
        """Name of the module that the user ran; `__main__` maps to it."""
        return self.layout.module

    @property
    def project(self) -> str:
        """The project's name."""
        return project_name(self.root)

    @property
    def origin(self) -> str:
        """What replicas need to know to show the user's own paths."""
        return str(self.root)

    def cwd(self, folder: str | Path | None = None) -> str:
        """Where calls stand within the bundle: the folder that the user submitted from, if it lies in the root."""
        here = Path(os.path.realpath(Path.cwd() if folder is None else folder))
        root = Path(os.path.realpath(self.root))
        relative = here.relative_to(root).as_posix() if here.is_relative_to(root) else "."
        return "" if relative == "." else relative

    def read(self, digest: str) -> bytes:
        """The bytes of a blob.

        Raises:
            FileChanged: The file was changed after the bundle was made.
        """
        source = self.sources[digest]
        try:
            with open(source, "rb", buffering=0) as file:
                content = file.read()
        except OSError as fault:
            raise FileChanged(source) from fault
        if hashlib.sha256(content).hexdigest() != digest:
            raise FileChanged(source)
        return content

    def blobs(self) -> Iterator[tuple[str, bytes]]:
        """Each blob once: its sha256 and its bytes; the manifest's own is the last one.

        Raises:
            FileChanged: A file was changed after the bundle was made.
        """
        for digest in self.sources:
            yield digest, self.read(digest)
        yield self.hash, self.encoded

    def __repr__(self) -> str:
        return f"<Bundle {self.hash[:12]} {self.module} of {self.root}>"


def make_bundle(
    file: str | Path,
    *,
    search: Sequence[str] | None = None,
    exclude: Iterable[Path] = (),
    cache: Path | None = None,
) -> Bundle:
    """Bundle the program in `file`.

    Args:
        file: The Python file that the user runs, or a folder: where a notebook or an interpreter stands, whose own
            functions travel by value and whose imported modules travel so.
        search: `sys.path` of the Python that runs it; by default this one's.
        exclude: Folders to leave out, such as the hub's state where it lies in the project.
        cache: Where to remember what files hold; by default the user's cache folder.

    Raises:
        BundleError: The file is not there, or the project is more than a bundle takes.
    """
    path = Path(os.path.abspath(file))
    if not path.exists():
        raise NoSuchFile(str(file))
    root, is_project = locate(path)
    place = layout(path, root, search)
    stats = StatCache(root, cache)
    listing = Listing(exclude)
    outside = OutsidePackages(str(root), search)
    names = names_in(root, listing) if is_project else (b"", False)
    conditions = conditions_of(names[0], place, is_project, listing.exclude, outside.state())
    kept = stats.file.with_name(f"{stats.file.name}-{hashlib.sha256(os.fsencode(place.path)).hexdigest()[:8]}")
    if (snapshot := Snapshot.load(kept)) and snapshot.holds(root, conditions):
        omitted = [LeftOut(*row) for row in snapshot.left_out]
        return Bundle(snapshot.manifest, root, place, is_project=is_project, left_out=omitted)
    stats.load()
    if is_project:
        list_folder(root, listing, names=names)
    reach = Reach(root, place, listing, stats, outside, bare=not is_project)
    files = reach.again(lambda: _hash(root, listing, stats))
    if files is None:
        reach.follow()
        files = _hash(root, listing, stats)
        reach.remember(files)
    stats.save()
    manifest = Manifest(
        files,
        roots=(*place.roots, *reach.package_roots),
        late_roots=place.late_roots,
        entry=place.module,
        entry_path=place.path,
        mounts=tuple(reach.mounts.items()),
    )
    _remember(kept, root, manifest, listing, reach, conditions, stats)
    sources = {file.digest: listing.files[file.path].source for file in files}
    return Bundle(
        manifest.encode(),
        root,
        place,
        is_project=is_project,
        left_out=sorted(listing.left_out.values()),
        sources=sources,
        files_read=stats.read,
    )


def _remember(
    kept: Path, root: Path, manifest: Manifest, listing: Listing, reach: Reach, conditions: bytes, stats: StatCache
) -> None:
    """Keep a snapshot for the next time, if looking at the listed files alone will tell whether it still holds."""
    base = f"{root}/"
    paths = [file.path for file in manifest.files]
    if reach.mounts or listing.nested or any(listing.files[path].source != base + path for path in paths):
        return  # Files elsewhere are not among the names that are compared.
    stamps = b"".join(map(stamp_of, (listing.files[path].status for path in paths)))
    if newest(stamps) >= stats.resting_ns():
        return
    omitted = sorted(listing.left_out.values())
    Snapshot(conditions, reach.folders(), omitted, paths, stamps, manifest.encode()).save(kept)


def _hash(root: Path, listing: Listing, stats: StatCache) -> list[BundleFile]:
    """Name each file by its content.

    Raises:
        BundleTooLarge: Together they are more than a bundle takes; nothing has been read then.
    """
    listed = listing.files.values()
    size = sum(file.status.st_size for file in listed)
    if size > MAX_BYTES:
        largest = sorted(listed, key=lambda file: -file.status.st_size)[:5]
        raise BundleTooLarge(str(root), size, [(file.path, file.status.st_size) for file in largest])
    files = []
    for file in listed:
        digest, status = _digest(file, stats)
        if digest:
            files.append(BundleFile(file.path, digest, status.st_size, bool(status.st_mode & 0o100)))
    return files


def _digest(file: Listed, stats: StatCache, tries: int = 3) -> tuple[str, os.stat_result]:
    """The hash of a file and its state when it was read; "" if it has gone (a log that turns, a lock)."""
    path, source, status = file
    for _ in range(tries):
        try:
            return stats.digest(source, status), status
        except FileChanged:
            try:
                status = os.stat(source)
            except OSError:
                return "", status
    raise FileChanged(path)
