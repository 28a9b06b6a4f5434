"""Which blobs are referred to, by names in facts and by blobs that hold values themselves."""

from __future__ import annotations

import hashlib
from pathlib import Path

from greenroom_core.refs import BlobRef
from greenroom_core.values import pack
from greenroom_hub.shell import references


def keep(folder: Path, data: bytes) -> str:
    name = hashlib.sha256(data).hexdigest()
    place = references.place(folder, name)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(data)
    return name


def holding(*names: str) -> bytes:
    """A list of references, as a value that was stored as a blob."""
    return bytes([0x90 + len(names)]) + b"".join(BlobRef(name, 1, "bytes", None, "").to_value() for name in names)


def test_names_stand_alone() -> None:
    """
    64 hex digits are a name; 65 are not, nor are 64 in capitals.
    """
    name = "ab" * 32

    assert {name} == references.names_in(pack([name, name + "0", name.upper()]))


def test_what_a_kept_value_holds_is_kept_too(tmp_path: Path) -> None:
    """
    At any depth, and not what is only near.
    """
    leaf, other = keep(tmp_path, b"leaf"), keep(tmp_path, b"other")
    middle = keep(tmp_path, holding(leaf))
    top = keep(tmp_path, holding(middle))

    assert {top, middle, leaf} == references.closure({top}, tmp_path)
    assert other not in references.closure({top}, tmp_path)


def test_names_across_portions_are_found(tmp_path: Path, monkeypatch) -> None:
    """
    A large value is read in portions; a name that two of them share is not lost.
    """
    names = [f"{number:064x}" for number in range(1, 15)]
    top = keep(tmp_path, holding(*names))
    monkeypatch.setattr(references, "_PIECE", 100)

    assert {top, *names} == references.closure({top}, tmp_path)


def test_files_are_not_read(tmp_path: Path) -> None:
    """
    A user's text that lists digests refers to nothing, and a missing blob is no fault.
    """
    leaf = keep(tmp_path, b"leaf")
    text = keep(tmp_path, b"sums: " + leaf.encode())

    assert {text, "00" * 32} == references.closure({text, "00" * 32}, tmp_path)
