"""Which blobs are still referred to: by the log, by programs, and by blobs that are referred to themselves."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Final

from greenroom_core.program import Program
from greenroom_core.values import ValueFault
from greenroom_core.wire import WireFault
from greenroom_hub.store.store import Store
from greenroom_protocol.bundle import BadManifest, Manifest

_NAME: Final = re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
"""A blob's name as values hold it. Whatever looks like one counts as one: keeping too much harms nobody."""

_MAY_HOLD: Final = frozenset((*range(0x80, 0xA0), *range(0xC7, 0xCA), *range(0xD4, 0xD9), *range(0xDC, 0xE0)))
"""First bytes of a value that can hold others: msgpack's lists, maps and extensions. Most files begin otherwise."""

_PIECE: Final = 8 << 20


def names_in(data: bytes) -> set[str]:
    """Names of blobs in encoded facts or values."""
    return {found.decode() for found in _NAME.findall(data)}


def of_executions(store: Store, executions: Iterable[str]) -> set[str]:
    """Blobs that the facts of these executions name."""
    found: set[str] = set()
    for name in executions:
        after = 0
        while rows := store.read(name, after, 500):
            for row in rows:
                found |= names_in(row.data)
            after = rows[-1].seq
    return found


def of_programs(store: Store, blobs: Path, digests: Iterable[str]) -> set[str]:
    """Blobs that these programs are made of: constants, and the files of their bundles."""
    found: set[str] = set()
    for digest in digests:
        packed = store.program(digest)
        if packed is not None:
            found |= names_in(packed)
            found |= _of_bundle(packed, blobs)
    return found


def _of_bundle(packed: bytes, blobs: Path) -> set[str]:
    try:
        bundle = Program.unpack(packed).bundle
        return {bundle, *Manifest.decode(place(blobs, bundle).read_bytes()).digests()} if bundle else set()
    except (WireFault, ValueFault, BadManifest, OSError):
        return set()  # It cannot be run any more; what it names itself is kept all the same.


def closure(names: set[str], blobs: Path) -> set[str]:
    """These blobs, and all that they refer to, at any depth."""
    found, waiting = set(names), list(names)
    while waiting:
        fresh = _held_by(place(blobs, waiting.pop())) - found
        found |= fresh
        waiting += fresh
    return found


def _held_by(path: Path) -> set[str]:
    try:
        with path.open("rb") as file:
            first = file.read(1)
            if not first or first[0] not in _MAY_HOLD:
                return set()
            file.seek(0)
            return {name for piece in _pieces(file) for name in names_in(piece)}
    except OSError:
        return set()


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    """A file in portions that overlap by more than a name's length, so that each is whole in one of them."""
    before = b""
    while data := file.read(_PIECE):
        yield before + data
        before = data[-66:]


def place(blobs: Path, name: str) -> Path:
    """Where a blob lies."""
    return blobs / name[:2] / name
