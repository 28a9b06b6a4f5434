"""Results as text: JSON written piece by piece, and files under the names that their tasks gave them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgpack

from greenroom_core.refs import read_ref
from greenroom_core.show import preview, to_json
from greenroom_core.values import Ext, ListView, Value, ext_bounds, pack, unpack

if TYPE_CHECKING:
    from greenroom.blobs import BlobStore

_OPAQUE: Final = frozenset({"bytes", "pickle", "array", "table", "custom", "graph"})
"""Kinds of large values that are described, not printed."""

_PIECE: Final = 1 << 16
_TOGETHER: Final = 1000
"""Numbers and texts that are encoded at once."""


class ResultFd:
    """The descriptor that results go to: what was stdout, while everything else in the process finds stderr there.

    It stays so until the process ends: a module-level `print`, a thread, or C code that flushes its buffer at exit
    cannot get between the braces.
    """

    def __init__(self) -> None:
        import sys

        sys.stdout.flush()
        self._descriptor = os.dup(1)
        os.dup2(2, 1)

    def write(self, pieces: Iterable[str]) -> None:
        """Write text, in portions of a fair size.

        Raises:
            BrokenPipeError: Whoever read it has gone.
        """
        held: list[str] = []
        size = 0
        for piece in pieces:
            held.append(piece)
            size += len(piece)
            if size > _PIECE:
                self._send("".join(held))
                held, size = [], 0
        self._send("".join(held))

    def _send(self, text: str) -> None:
        # Half a surrogate pair, which Python texts may hold, is written as JSON writes it: `\\udc80`.
        data = memoryview(text.encode("utf-8", "backslashreplace"))
        while data:
            data = data[os.write(self._descriptor, data) :]


class Outputs:
    """Turns an execution's values into JSON text."""

    def __init__(self, blobs: BlobStore, folder: str | None = None) -> None:
        """Read large values from `blobs`.

        Args:
            blobs: Where they are.
            folder: Where files get their names back, such as `outputs/ID`; None to leave them where they are.
        """
        self._blobs, self._folder = blobs, folder
        self.saved: list[str] = []
        """Files that were written."""

    def json(self, outputs: Mapping[str, Value] | None) -> Iterator[str]:
        """The result as stdout has it: null for no output, a list for several unnamed ones, else an object."""
        if not outputs:
            yield "null"
        elif list(outputs) == ["o0"]:
            yield from self.value(outputs["o0"], ("o0",))
        elif list(outputs) == [f"o{index}" for index in range(len(outputs))]:
            yield from _joined("[", (self.value(value, (name,)) for name, value in outputs.items()), "]")
        else:
            members = (self._member(name, value, (name,)) for name, value in outputs.items())
            yield from _joined("{", members, "}")

    def text(self, outputs: Mapping[str, Value] | None) -> Iterator[str]:
        """The result for people and shell pipes: a text as it is, a list a line an item, nothing for no output."""
        for name, value in (outputs or {}).items():
            plain = "".join(self.value(value, (name,)))
            data = json.loads(plain)
            for item in data if isinstance(data, list) else [data]:
                if item is not None:
                    yield f"{item if isinstance(item, str) else json.dumps(item, ensure_ascii=False)}\n"

    def value(self, value: Value, place: tuple[str, ...]) -> Iterator[str]:
        """JSON text of one value.

        Args:
            value: What to print.
            place: Where it stands, such as `("o0", "17")`: files in it are written below.
        """
        bounds = ext_bounds(value)
        if bounds is not None:
            yield from self._extension(Ext(bounds[0]), value[bounds[1] : bounds[1] + bounds[2]], value, place)
            return
        head = value[0]
        if 0x90 <= head <= 0x9F or head in (0xDC, 0xDD):
            yield from self._items(ListView(value), place)
        elif 0x80 <= head <= 0x8F or head in (0xDE, 0xDF):
            items = unpack(value).items()
            members = (self._member(_key(key), pack(item), (*place, _key(key))) for key, item in items)
            yield from _joined("{", members, "}")
        else:
            yield _dumps(to_json(value))

    def _member(self, name: str, value: Value, place: tuple[str, ...]) -> Iterator[str]:
        yield _dumps(name) + ": "
        yield from self.value(value, place)

    def _items(self, items: Iterable[Value], place: tuple[str, ...]) -> Iterator[str]:
        """A list; neighbouring numbers and texts are written together, since a map may have given a million."""
        yield "["
        atoms: list[Value] = []
        comma = ""
        for index, item in enumerate(items):
            if _is_atom(item):
                atoms.append(item)
                if len(atoms) < _TOGETHER:
                    continue
            if atoms:
                yield comma + _written(atoms)
                atoms, comma = [], ", "
            if not _is_atom(item):
                yield comma
                yield from self.value(item, (*place, str(index)))
                comma = ", "
        if atoms:
            yield comma + _written(atoms)
        yield "]"

    def _extension(self, code: Ext, content: bytes, value: Value, place: tuple[str, ...]) -> Iterator[str]:
        if code == Ext.LIST:
            return self._items(ListView(value), place)
        if code == Ext.MANIFEST:
            execution, node, output, _ = unpack(content)
            return self._items(self._blobs.manifest(execution, node, output), place)
        if code == Ext.BLOB:
            ref = read_ref(content)
            if ref.kind not in _OPAQUE:
                return self.value(self._blobs.get(ref.sha256), place)
        if code in (Ext.TAGGED, Ext.HASHED, Ext.CUSTOM):
            return self.value(pack(unpack(content)[1]), place)
        if code == Ext.SET:
            return self._items(ListView(content), place)
        if code in (Ext.FILE, Ext.DIRECTORY):
            return iter((_dumps(self._file(code, content, value, place)),))
        if code == Ext.TABLE and self._folder is not None:
            self._table(unpack(content), place)
        return iter((_dumps(to_json(value)),))

    # Files

    def _file(self, code: Ext, content: bytes, value: Value, place: tuple[str, ...]) -> Any:
        shown = to_json(value)
        held = unpack(content)
        if self._folder is None or not (held.get("blob") or held.get("entries") is not None):
            return shown
        name = _safe(str(held.get("name") or "file"))
        target = os.path.join(self._folder, *map(_safe, place), name)
        if code == Ext.FILE:
            self._copy(held["blob"], target)
        else:
            os.makedirs(target, exist_ok=True)
            for path, sha256, _ in held["entries"]:
                self._copy(sha256, os.path.join(target, *map(_safe, path.split("/"))))
        word = "file" if code == Ext.FILE else "directory"
        return {word: held.get("name"), "path": target, "size": held.get("size")}

    def _table(self, held: Mapping[str, Any], place: tuple[str, ...]) -> None:
        assert self._folder is not None
        folder = os.path.join(self._folder, *map(_safe, place[:-1]))
        target = os.path.join(folder, f"{_safe(place[-1])}.{_safe(str(held.get('format') or 'parquet'))}")
        if held.get("blob"):
            self._copy(held["blob"], target)
        elif held.get("data") is not None:
            os.makedirs(folder, exist_ok=True)
            with open(target, "wb") as file:
                file.write(held["data"])
            self.saved.append(target)

    def _copy(self, sha256: str, target: str) -> None:
        from greenroom.cli.placing import place_file

        place_file(os.fspath(self._blobs.path(sha256)), target)
        self.saved.append(target)


def _joined(opening: str, parts: Iterable[Iterator[str]], closing: str) -> Iterator[str]:
    yield opening
    first = True
    for part in parts:
        if not first:
            yield ", "
        first = False
        yield from part
    yield closing


def _is_atom(value: Value) -> bool:
    """Whether a value is a whole number, a truth value, nil or a text: what `json` takes as it is."""
    head = value[0]
    return head <= 0x7F or head >= 0xE0 or 0xA0 <= head <= 0xC3 or 0xCC <= head <= 0xD3 or 0xD9 <= head <= 0xDB


def _written(atoms: list[Value]) -> str:
    """Atoms as the inside of a JSON list."""
    header: bytes = msgpack.Packer().pack_array_header(len(atoms))
    return _dumps(unpack(header + b"".join(atoms)))[1:-1]


_dumps: Final = json.JSONEncoder(ensure_ascii=False).encode
"""`json.dumps` builds an encoder for each call, which takes ten times as long as a number does."""


def _key(key: Any) -> str:
    if isinstance(key, str):
        return key
    shown = to_json(pack(key)) if not isinstance(key, msgpack.ExtType) else preview(pack(key))
    return shown if isinstance(shown, str) else _dumps(shown)


def _safe(name: str) -> str:
    """A name that stays inside its folder, whatever a task called its file."""
    plain = name.replace("/", "_").replace("\0", "_")
    return f"_{plain}" if plain in ("", ".", "..") else plain[:200]
