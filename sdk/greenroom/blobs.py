"""Blobs: bytes kept under the sha256 of what they are, on this host or behind the hub's API."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
from _thread import _local
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from greenroom.copying import (
    Bytes,
    Discarded,
    StrPath,
    clone,
    copy_hashing,
    hash_file,
    names_in,
    open_regular,
    remove,
    rename,
    sync_path,
    sync_paths,
    write_all,
)
from greenroom.errors import BlobDamaged, BlobMissing, MissingFile
from greenroom_core.values import Value

if TYPE_CHECKING:
    from pathlib import Path

Manifests: TypeAlias = "Callable[[str, str, str], Iterable[Value]]"
"""Gives the results of a map, one value an item: called with execution, node and output."""

_SMALL: Final = 1 << 20
"""Bytes up to which a file is read once and stored from memory; larger ones are hashed and copied by the kernel."""


class BlobStore(Protocol):
    """Where values that are too large for the log go, and all files."""

    def put(self, data: Bytes) -> str:
        """Store bytes; answers their sha256."""
        ...

    def put_file(self, path: StrPath, *, give: bool = False) -> tuple[str, int]:
        """Store a file's content; answers sha256 and size.

        Args:
            path: A regular file. It is copied: its owner may go on writing to it.
            give: It is ours and may be moved into the store instead.
        """
        ...

    def get(self, sha256: str) -> bytes:
        """A blob's bytes."""
        ...

    def path(self, sha256: str) -> Path:
        """A local file with a blob's bytes, fetched first if it is not here. Read it, never write to it."""
        ...

    def has(self, sha256: str) -> bool:
        """Whether the blob is there."""
        ...

    def batch(self) -> AbstractContextManager[None]:
        """Make many puts cheap: they are safe on disk (or sent) when the block ends, not one by one."""
        ...

    def manifest(self, execution: str, node: str, output: str) -> Iterable[Value]:
        """The results of a map, one value an item; a failed item's is null."""
        ...


def is_sha256(text: str) -> bool:
    """Whether `text` names a blob. Names come from the wire: nothing else may become part of a path."""
    return len(text) == 64 and not text.strip("0123456789abcdef")


class LocalBlobs:
    """Blobs in a folder of this host: `ab/abcdef...`, each written aside, then renamed; read-only from then on.

    Safe with several processes: equal content has one name, and renaming is atomic.
    """

    def __init__(self, folder: StrPath, *, durable: bool = True, manifests: Manifests | None = None) -> None:
        """Use `folder`, which is made when the first blob comes.

        Args:
            folder: Where the blobs are.
            durable: Whether a put returns only once its bytes are on disk. Not needed where a crash of the machine
                ends everything that refers to them.
            manifests: How a map's results are read; who only stores needs none.
        """
        self.folder = os.path.abspath(folder)
        self.durable = durable
        self._manifests = manifests
        self._temporary = os.path.join(self.folder, "tmp")
        self._mine: Any = _local()

    def __repr__(self) -> str:
        return f"LocalBlobs({self.folder!r})"

    # Writing

    def put(self, data: Bytes) -> str:
        """Store bytes; answers their sha256."""
        sha256 = hashlib.sha256(data).hexdigest()
        if not self._known(sha256):
            temporary, descriptor = self._aside()
            with Discarded(temporary), open(descriptor, "wb", buffering=0) as file:
                write_all(file.fileno(), data)
                self._settle(sha256, temporary, file.fileno())
        return sha256

    def put_file(self, path: StrPath, *, give: bool = False) -> tuple[str, int]:
        """Store a file's content; answers sha256 and size. See `BlobStore.put_file`.

        Raises:
            MissingFile: There is no such file.
            TypeMismatch: It is no regular file.
        """
        name = os.fspath(path)
        try:
            with open(name, "rb", buffering=0, opener=open_regular) as source:
                size = os.fstat(source.fileno()).st_size
                if size <= _SMALL:
                    data = source.read(_SMALL + 1) or b""
                    if len(data) <= _SMALL:  # Else it has grown under our hands.
                        sha256 = self.put(data)
                        if give:
                            remove(name)
                        return sha256, len(data)
                    source.seek(0)
                return self._put_large(source.fileno(), name, give)
        except FileNotFoundError:
            raise MissingFile(name, os.getcwd()) from None

    def _put_large(self, source: int, name: str, give: bool) -> tuple[str, int]:
        temporary, descriptor = self._aside()
        with Discarded(temporary), open(descriptor, "w+b", buffering=0) as file:
            if give and rename(name, temporary):
                sha256, size = hash_file(source)  # Still open: the same file under its new name.
                descriptor = source
            elif clone(source, file.fileno()):
                sha256, size = hash_file(file.fileno())
                descriptor = file.fileno()
            else:
                sha256, size = hash_file(source)
                if self._known(sha256):
                    return sha256, size
                sha256, size = copy_hashing(source, file.fileno())  # What was copied counts: it may change meanwhile.
                descriptor = file.fileno()
            if not self._known(sha256):
                self._settle(sha256, temporary, descriptor)
            if give:
                remove(name)
            return sha256, size

    @contextlib.contextmanager
    def receive(self) -> Iterator[Received]:
        """Take a blob in portions; it is stored if the block says `keep`, else nothing is left of it."""
        temporary, descriptor = self._aside()
        with Discarded(temporary), open(descriptor, "w+b", buffering=0) as file:
            received = Received(file)
            yield received
            if received.kept and not self._known(received.sha256):
                self._settle(received.sha256, temporary, file.fileno())

    def _aside(self) -> tuple[str, int]:
        temporary = os.path.join(self._temporary, f"{os.getpid():x}-{os.urandom(8).hex()}")
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            return temporary, os.open(temporary, flags, 0o600)
        except FileNotFoundError:
            os.makedirs(self._temporary, mode=0o700, exist_ok=True)
            return temporary, os.open(temporary, flags, 0o600)

    def _settle(self, sha256: str, temporary: str, descriptor: int) -> None:
        """Give a finished file its name: at once, or when the batch ends."""
        os.fchmod(descriptor, 0o444)
        pending: dict[str, str] | None = getattr(self._mine, "pending", None)
        if pending is not None:
            os.replace(temporary, temporary + ".pending")  # Out of the reach of who discards what was not settled.
            pending[sha256] = temporary + ".pending"
            return
        if self.durable:
            os.fsync(descriptor)
        self._name(sha256, temporary)
        if self.durable:
            sync_path(os.path.join(self.folder, sha256[:2]))

    def _name(self, sha256: str, temporary: str) -> None:
        place = self._place(sha256)
        try:
            os.replace(temporary, place)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(place), mode=0o700, exist_ok=True)
            os.replace(temporary, place)
            if self.durable:
                sync_path(self.folder)

    @contextlib.contextmanager
    def batch(self) -> Iterator[None]:
        """Let many puts of this thread share one flush to disk, at the end of the block."""
        if not self.durable or getattr(self._mine, "pending", None) is not None:
            yield  # Nothing to flush, or an outer batch flushes for us.
            return
        pending: dict[str, str] = {}
        self._mine.pending = pending
        try:
            yield
            sync_paths(pending.values())
            for sha256, temporary in pending.items():
                self._name(sha256, temporary)
            sync_paths({os.path.join(self.folder, sha256[:2]) for sha256 in pending})
        finally:
            self._mine.pending = None
            for temporary in pending.values():
                remove(temporary)

    def _known(self, sha256: str) -> bool:
        """Whether the blob is there already; says that it is wanted, so that no cleaning takes it for old."""
        try:
            os.utime(self._place(sha256))
            return True
        except PermissionError:
            return True  # Another user's, in a shared folder.
        except FileNotFoundError:
            return sha256 in (getattr(self._mine, "pending", None) or ())

    # Reading

    def _place(self, sha256: str) -> str:
        if not is_sha256(sha256):
            raise BlobMissing(sha256, repr(self))
        return os.path.join(self.folder, sha256[:2], sha256)

    def get(self, sha256: str) -> bytes:
        """A blob's bytes.

        Raises:
            BlobMissing: It is not here.
        """
        try:
            with open(self._place(sha256), "rb", buffering=0) as file:
                return file.readall()
        except FileNotFoundError:
            raise BlobMissing(sha256, repr(self)) from None

    def read(self, sha256: str, start: int, stop: int) -> bytes:
        """Bytes `start` to `stop` (not included) of a blob."""
        try:
            with open(self._place(sha256), "rb", buffering=0) as file:
                file.seek(start)
                parts = []
                while start < stop and (part := file.read(stop - start)):
                    parts.append(part)
                    start += len(part)
                return b"".join(parts)
        except FileNotFoundError:
            raise BlobMissing(sha256, repr(self)) from None

    def path(self, sha256: str) -> Path:
        """The file that holds a blob. Read it, never write to it.

        Raises:
            BlobMissing: It is not here.
        """
        from pathlib import Path

        place = self._place(sha256)
        if not os.path.exists(place):
            raise BlobMissing(sha256, repr(self))
        return Path(place)

    def has(self, sha256: str) -> bool:
        """Whether the blob is here."""
        return is_sha256(sha256) and (
            os.path.exists(self._place(sha256)) or sha256 in (getattr(self._mine, "pending", None) or ())
        )

    def size(self, sha256: str) -> int:
        """Bytes of a blob."""
        return os.stat(self.path(sha256)).st_size

    def manifest(self, execution: str, node: str, output: str) -> Iterable[Value]:
        """The results of a map, one value an item, by the port that the store was made with."""
        if self._manifests is None:
            raise BlobMissing(f"{execution}/{node}/{output}", f"{self!r}, which has no access to the log")
        return self._manifests(execution, node, output)

    # Keeping house

    def verify(self, sha256: str) -> None:
        """Read a blob whole and compare it with its name; a damaged one is removed.

        Raises:
            BlobMissing: It is not here.
            BlobDamaged: Its bytes are others.
        """
        with open(self.path(sha256), "rb", buffering=0) as file:
            found, _ = hash_file(file.fileno())
        if found != sha256:
            remove(self._place(sha256))
            raise BlobDamaged(sha256, found, repr(self))

    def __iter__(self) -> Iterator[tuple[str, int, float]]:
        """Each blob: its sha256, its size, and when it was last wanted (seconds since the epoch)."""
        for folder in names_in(self.folder):
            if len(folder) == 2:
                for name in names_in(os.path.join(self.folder, folder)):
                    with contextlib.suppress(FileNotFoundError):
                        status = os.stat(os.path.join(self.folder, folder, name))
                        yield name, status.st_size, status.st_mtime

    def remove(self, sha256: str) -> None:
        """Forget a blob. Who has it open keeps reading it."""
        remove(self._place(sha256))

    def trim(self, limit: int, *, spare_since: float) -> int:
        """Remove blobs, the longest unwanted first, until `limit` bytes are left; answers the bytes that went.

        Args:
            limit: Bytes that may stay.
            spare_since: Blobs wanted after this moment (seconds since the epoch) stay in any case.
        """
        blobs = sorted(self, key=lambda blob: blob[2])
        excess, gone = sum(size for _, size, _ in blobs) - limit, 0
        for sha256, size, wanted in blobs:
            if gone >= excess or wanted >= spare_since:
                break
            self.remove(sha256)
            gone += size
        return gone

    def sweep(self, before: float) -> None:
        """Remove what puts that were interrupted before that moment (seconds since the epoch) have left."""
        for name in names_in(self._temporary):
            place = os.path.join(self._temporary, name)
            with contextlib.suppress(FileNotFoundError):
                if os.stat(place).st_mtime < before:
                    os.unlink(place)


class Received:
    """A blob that comes in portions."""

    def __init__(self, file: io.FileIO) -> None:
        self._file, self._state = file, hashlib.sha256()
        self.size, self.kept = 0, False

    def write(self, data: Bytes) -> None:
        """Take the next portion."""
        write_all(self._file.fileno(), data)
        self._state.update(data)
        self.size += len(data)

    def restart(self) -> None:
        """Forget what has come: the whole is sent again."""
        self._file.seek(0)
        self._file.truncate()
        self._state, self.size = hashlib.sha256(), 0

    def keep(self) -> None:
        """Store it at the end of the block."""
        self.kept = True

    @property
    def sha256(self) -> str:
        """The name of what has come so far."""
        return self._state.hexdigest()


def __getattr__(name: str) -> Any:
    if name == "HttpBlobs":  # Imported where it is used: most processes read the hub's folder themselves.
        from greenroom.remote_blobs import HttpBlobs

        return HttpBlobs
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
