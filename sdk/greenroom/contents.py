"""What `File` and `Directory` do less often: pickling, keys of caches, fields of pydantic models."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import IO, TYPE_CHECKING, Any

from greenroom.files import Content, File, file_from_wire, file_to_wire, known_store, pickling, stamp_of

if TYPE_CHECKING:
    from greenroom.directories import Directory


def to_wire(content: Content, store: Any) -> dict[str, Any]:
    """What stands for a file or a folder in a value."""
    if isinstance(content, File):
        return file_to_wire(content, store)
    from greenroom.directories import Directory, directory_to_wire

    assert isinstance(content, Directory)
    return directory_to_wire(content, store)


def blobs_in(wire: Mapping[str, Any]) -> list[str]:
    """The blobs that a file or a folder consists of."""
    found = [wire["blob"]] if wire.get("blob") else []
    return found + [entry[1] for entry in wire.get("entries") or () if entry[1]]


def reduced(content: Content) -> tuple[Callable[..., Content], tuple[Any, ...]]:
    """How a file is pickled: with its content's hash, if it has one or the pickle travels; else by its path."""
    carried = pickling.get()
    if carried is not None:
        store, held = carried
        wire = to_wire(content, store)
        held.extend(blobs_in(wire))
        return unpickled, (type(content), wire)
    if content._store is not None:
        return unpickled, (type(content), to_wire(content, content._store))
    if isinstance(content, File):
        return type(content), (content._given or content._target(), None, content._remote_path)
    return type(content), (content._given or content._target(), None, getattr(content, "_remote_directory", None))


def unpickled(kind: type[Content], wire: dict[str, Any]) -> Content:
    """The file or folder of a pickle, read from the store that this process uses."""
    if issubclass(kind, File):
        return file_from_wire(kind, wire, known_store())
    from greenroom.directories import directory_from_wire

    directory: type[Directory] = kind  # type: ignore[assignment]
    return directory_from_wire(directory, wire, known_store())


def content_key(content: Content) -> str:
    """What changes when the content does: its hash, else an ETag or size and time, else the address."""
    if isinstance(content, File):
        return _file_key(content)
    from greenroom.directories import Directory, directory_key

    assert isinstance(content, Directory)
    return directory_key(content)


def _file_key(file: File) -> str:
    if file._blob is not None and not file._written():
        return f"sha256:{file._blob}"
    if file._uri is not None and not file._written():
        return address_key(file._uri)
    from greenroom.copying import hash_file, open_regular

    with open(file.__fspath__(), "rb", buffering=0, opener=open_regular) as opened:
        return f"sha256:{hash_file(opened.fileno())[0]}"


def address_key(address: str) -> str:
    """A key for what is at a foreign address, without reading it."""
    from greenroom.transfer import place_of

    identity = place_of(address).identity()
    return f"uri:{address}" + (f" {identity}" if identity else "")


def pydantic_schema(kind: type[Content]) -> Any:
    """How pydantic reads and shows a file: from itself, a path, an address, or `{"path": ...}`."""
    from pydantic_core import core_schema

    def read(value: Any) -> Any:
        if isinstance(value, kind):
            return value
        if isinstance(value, Mapping):
            value = value.get("path") or value.get("uri")
        if not isinstance(value, (str, os.PathLike)):
            raise ValueError(f"expected a path or an address, got {type(value).__name__}")
        return kind(value)  # type: ignore[call-arg]

    def show(value: Any) -> dict[str, str]:
        return {"path": str(value)}

    return core_schema.no_info_plain_validator_function(
        read, serialization=core_schema.plain_serializer_function_ser_schema(show)
    )


class _Sent:
    """An open file whose content goes to a foreign address when it is closed."""

    def __init__(self, opened: IO[Any], file: File, address: str) -> None:
        self._opened, self._file, self._address = opened, file, address

    def __getattr__(self, name: str) -> Any:
        return getattr(self._opened, name)

    def __iter__(self) -> Any:
        return iter(self._opened)

    def __enter__(self) -> _Sent:
        return self

    def __exit__(self, kind: Any, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self._opened.close()  # Half a file is not sent.

    def close(self) -> None:
        """Close the file and send it, once."""
        if not self._opened.closed:
            from greenroom.transfer import place_of

            self._opened.close()
            place_of(self._address).send(self._file._target())
            self._file._stamp = stamp_of(self._file._target())  # What is here is what is there.


def sent_when_closed(opened: IO[Any], file: File, address: str) -> IO[Any]:
    """Wrap an open file so that closing it sends its content to `address`."""
    sent: Any = _Sent(opened, file, address)
    return sent  # type: ignore[no-any-return]
