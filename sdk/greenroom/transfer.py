"""Files at foreign addresses: http(s), object stores, other file systems. All is imported when it is needed."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterator
from typing import IO, Any, Final, Protocol

from greenroom.copying import StrPath, copy_file, remove
from greenroom.errors import MissingPackage, TransferFailed, UnsafePath

_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")

_OBJECT_STORES: Final = frozenset({"s3", "s3a", "gs", "gcs", "az", "azure", "abfs", "abfss", "adl"})

_TIMEOUT: Final = 60.0
"""Seconds that a foreign server may stay silent."""

_ATTEMPTS: Final = 4
_PAUSE: Final = 0.5
"""Seconds before a request to a web server is tried again; doubled each time."""

_CHUNK: Final = 1 << 20


class Place(Protocol):
    """Something at a foreign address: a file, or a folder of files."""

    def fetch(self, target: str) -> None:
        """Bring the file here, as `target`."""
        ...

    def send(self, source: str) -> None:
        """Write the file there, from `source`."""
        ...

    def identity(self) -> str | None:
        """What changes when the content does (an ETag, or size and time); None if nothing tells."""
        ...

    def files(self) -> Iterator[tuple[str, int | None]]:
        """Paths below the folder, relative to it, and sizes in bytes."""
        ...

    def below(self, path: str) -> Place:
        """The place of a file in the folder."""
        ...


def scheme_of(address: str) -> str:
    """`s3` of `s3://bucket/key`; empty for a path of this host."""
    match = _SCHEME.match(address)
    return match[1].lower() if match else ""


def name_of(address: str) -> str:
    """The name that a file at an address has here: its last part, which never leads anywhere else."""
    if scheme_of(address):
        from urllib.parse import unquote

        path = address.partition("://")[2].partition("?")[0].partition("#")[0]
        address = unquote(path.rstrip("/").partition("/")[2])
    name = os.path.basename(address.rstrip("/")).replace("\0", "")
    return "file" if name in ("", ".", "..") else name


def check_path(path: str) -> str:
    """A path inside a folder, as it came from somewhere else.

    Raises:
        UnsafePath: It would lead out of the folder, or is no path.
    """
    if not path or "\0" in path:
        raise UnsafePath(path, "it is empty" if not path else "it holds a null character")
    if path.startswith("/") or ".." in path.split("/") or os.path.isabs(path):
        raise UnsafePath(path, "it leads out of the folder")
    return path


def place_of(address: str) -> Place:
    """Where an address leads.

    Raises:
        MissingPackage: Nothing that is installed can read such addresses.
    """
    scheme = scheme_of(address)
    if scheme in ("", "file"):
        return _Local(address)
    if scheme in ("http", "https"):
        return _Web(address)
    if scheme in _OBJECT_STORES and _installed("obstore"):
        return _ObjectStore(address)
    if _installed("fsspec"):
        return _Fsspec(address)
    raise MissingPackage(address, "obstore" if scheme in _OBJECT_STORES else "fsspec")


def fetch_into(address: str, target: StrPath) -> None:
    """Bring a file here, as a whole or not at all."""
    partial = f"{os.fspath(target)}.part"
    try:
        place_of(address).fetch(partial)
        os.replace(partial, target)
    finally:
        remove(partial)


def _installed(package: str) -> bool:
    from importlib.util import find_spec

    return find_spec(package) is not None


class _Local:
    """A path of this host, or a `file://` address."""

    def __init__(self, address: str) -> None:
        self.path = address
        if scheme_of(address):
            from urllib.parse import unquote, urlsplit

            parts = urlsplit(address)
            if parts.netloc not in ("", "localhost"):
                raise TransferFailed(address, f"{parts.netloc} is another host")
            self.path = unquote(parts.path)

    def fetch(self, target: str) -> None:
        with _told(self.path):
            copy_file(self.path, target)

    def send(self, source: str) -> None:
        with _told(self.path):
            os.makedirs(os.path.dirname(os.path.abspath(self.path)), exist_ok=True)
            remove(self.path)
            copy_file(source, self.path)

    def identity(self) -> str | None:
        with _told(self.path):
            status = os.stat(self.path)
            return f"{status.st_size}-{status.st_mtime_ns}"

    def files(self) -> Iterator[tuple[str, int | None]]:
        for folder, folders, names in os.walk(self.path):
            folders.sort()
            for name in sorted(names):
                path = os.path.join(folder, name)
                yield os.path.relpath(path, self.path), os.stat(path).st_size

    def below(self, path: str) -> Place:
        return _Local(os.path.join(self.path, path))


class _Web:
    """An http or https address."""

    def __init__(self, address: str) -> None:
        self.address = address

    def fetch(self, target: str) -> None:
        reason = ""
        for attempt in range(_ATTEMPTS):
            if attempt:
                time.sleep(_PAUSE * 2 ** (attempt - 1))
            try:
                with self._open("GET") as answer, open(target, "wb") as file:
                    self._receive(answer, file)
                return
            except _Passing as fault:
                reason = str(fault)
        raise TransferFailed(self.address, f"{reason} ({_ATTEMPTS} attempts)")

    def _receive(self, answer: Any, file: IO[bytes]) -> None:
        from http.client import HTTPException

        expected, size = answer.headers.get("Content-Length"), 0
        try:
            while data := answer.read(_CHUNK):
                file.write(data)
                size += len(data)
        except (HTTPException, TimeoutError, ConnectionError) as fault:
            raise _Passing(f"the transfer broke off after {size:,} bytes") from fault
        if expected is not None and expected.isdigit() and size < int(expected):
            raise _Passing(f"the transfer broke off after {size:,} of {int(expected):,} bytes")

    def _open(self, method: str) -> Any:
        """Ask the server; redirects lead to web servers only, never to files of this host."""
        from http.client import HTTPException
        from urllib import request
        from urllib.error import HTTPError, URLError

        opener = request.OpenerDirector()
        for handler in (
            request.ProxyHandler,
            request.UnknownHandler,
            request.HTTPHandler,
            request.HTTPSHandler,
            request.HTTPDefaultErrorHandler,
            request.HTTPRedirectHandler,
            request.HTTPErrorProcessor,
        ):
            opener.add_handler(handler())
        asked = request.Request(self.address, method=method, headers={"User-Agent": "greenroom"})
        try:
            return opener.open(asked, timeout=_TIMEOUT)
        except HTTPError as fault:
            fault.close()
            if fault.code in (408, 429) or fault.code >= 500:
                raise _Passing(f"the server answers {fault.code}") from fault
            raise TransferFailed(self.address, f"the server answers {fault.code} {fault.reason}") from fault
        except (HTTPException, TimeoutError, ConnectionError) as fault:
            raise _Passing(f"no answer: {fault}") from fault
        except URLError as fault:
            if isinstance(fault.reason, OSError):
                raise _Passing(f"no answer: {fault.reason}") from fault
            raise TransferFailed(self.address, str(fault.reason)) from fault
        except ValueError as fault:
            raise TransferFailed(self.address, str(fault)) from fault

    def send(self, source: str) -> None:
        raise TransferFailed(self.address, "web servers are read only; give remote_path= an object store's address")

    def identity(self) -> str | None:
        try:
            with self._open("HEAD") as answer:
                headers = answer.headers
        except (_Passing, TransferFailed):
            return None  # Some servers refuse HEAD: the address alone must do.
        if headers.get("ETag"):
            return str(headers["ETag"])
        changed = headers.get("Last-Modified")
        return f"{headers.get('Content-Length')}-{changed}" if changed else None

    def files(self) -> Iterator[tuple[str, int | None]]:
        raise TransferFailed(self.address, "a web server cannot list a folder; use its files one by one")

    def below(self, path: str) -> Place:
        return _Web(f"{self.address.rstrip('/')}/{path}")


class _Passing(Exception):
    """Something went wrong that may go better the next time."""


class _ObjectStore:
    """An object in S3, GCS or Azure, by obstore."""

    def __init__(self, address: str) -> None:
        scheme, _, rest = address.partition("://")
        self.address = address
        self.bucket, _, self.key = rest.partition("/")
        self.scheme = {"s3a": "s3", "gcs": "gs"}.get(scheme.lower(), scheme.lower())

    def _store(self) -> Any:
        from obstore.store import from_url

        return from_url(f"{self.scheme}://{self.bucket}")

    def fetch(self, target: str) -> None:
        import obstore

        with _told(self.address), open(target, "wb") as file:
            for part in obstore.get(self._store(), self.key).stream(min_chunk_size=_CHUNK):
                file.write(part)

    def send(self, source: str) -> None:
        import obstore

        with _told(self.address), open(source, "rb") as file:
            obstore.put(self._store(), self.key, file)

    def identity(self) -> str | None:
        import obstore

        with _told(self.address):
            about = obstore.head(self._store(), self.key)
        return str(about.get("e_tag") or f"{about['size']}-{about['last_modified']}")

    def files(self) -> Iterator[tuple[str, int | None]]:
        import obstore

        prefix = self.key.rstrip("/")
        with _told(self.address):
            for batch in obstore.list(self._store(), prefix or None):
                for about in batch:
                    path = about["path"][len(prefix) :].lstrip("/")
                    if path:
                        yield check_path(path), about["size"]

    def below(self, path: str) -> Place:
        return _ObjectStore(f"{self.address.rstrip('/')}/{path}")


class _Fsspec:
    """Whatever else fsspec and its plugins reach."""

    def __init__(self, address: str) -> None:
        self.address = address

    def _reach(self) -> tuple[Any, str]:
        from fsspec.core import url_to_fs

        system, path = url_to_fs(self.address)
        return system, path

    def fetch(self, target: str) -> None:
        with _told(self.address):
            system, path = self._reach()
            with system.open(path, "rb") as source, open(target, "wb") as file:
                while data := source.read(_CHUNK):
                    file.write(data)

    def send(self, source: str) -> None:
        with _told(self.address):
            system, path = self._reach()
            system.makedirs(system._parent(path), exist_ok=True)
            system.put_file(source, path)

    def identity(self) -> str | None:
        with _told(self.address):
            system, path = self._reach()
            about = system.info(path)
        for key in ("ETag", "etag", "e_tag", "md5Hash", "checksum"):
            if about.get(key):
                return str(about[key])
        changed = next(
            (about[key] for key in ("mtime", "LastModified", "last_modified", "created") if key in about), ""
        )
        return f"{about.get('size')}-{changed}"

    def files(self) -> Iterator[tuple[str, int | None]]:
        with _told(self.address):
            system, base = self._reach()
            for path, about in sorted(system.find(base, detail=True).items()):
                yield check_path(path[len(base.rstrip("/")) :].lstrip("/")), about.get("size")

    def below(self, path: str) -> Place:
        return _Fsspec(f"{self.address.rstrip('/')}/{path}")


@contextlib.contextmanager
def _told(address: str) -> Iterator[None]:
    """Errors of whatever library names the address first."""
    try:
        yield
    except (TransferFailed, UnsafePath):
        raise
    except FileNotFoundError as fault:
        raise TransferFailed(address, "there is no such file") from fault
    except ImportError as fault:
        raise MissingPackage(address, _named(fault)) from fault
    except Exception as fault:
        text = str(fault).strip().partition("\n")[0]
        raise TransferFailed(address, f"{type(fault).__name__}: {text}") from fault


def _named(fault: ImportError) -> str:
    """The package that an import error of fsspec is about (`Install s3fs to access S3`)."""
    match = re.search(r"[Ii]nstall (\S+)", str(fault))
    return match[1] if match else fault.name or "another package"


def fetch_folder(address: str, target: str) -> None:
    """Bring all files of a folder here; empty ones leave an empty folder."""
    os.makedirs(target, exist_ok=True)
    place = place_of(address)
    for path, _ in place.files():
        local = os.path.join(target, check_path(path))
        os.makedirs(os.path.dirname(local), exist_ok=True)
        place.below(path).fetch(local)


def send_folder(source: str, address: str) -> None:
    """Write all files of a folder there."""
    place = place_of(address)
    if isinstance(place, _Local):
        os.makedirs(place.path, exist_ok=True)
    for path, _ in _Local(source).files():
        place.below(path).send(os.path.join(source, path))
