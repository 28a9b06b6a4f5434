"""A bundle's manifest: one name for one content, and nothing that could write where it should not."""

from __future__ import annotations

import hashlib
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenroom_protocol.bundle import MAX_BYTES, MAX_FILES, BadManifest, BundleFile, Manifest, check, refusal

DIGEST = hashlib.sha256(b"").hexdigest()


def file(path: str, size: int = 0, executable: bool = False) -> BundleFile:
    """A file of a manifest."""
    return BundleFile(path, DIGEST, size, executable)


def encoded(files: Any, **fields: Any) -> bytes:
    """A manifest's bytes as an attacker may write them."""
    body = {"version": 1, "entry": "", "entry_path": "", "roots": [""], "late": [], "mounts": [], **fields}
    packed: bytes = msgpack.packb([*body.values(), files])
    return packed


NAMES = st.text(
    st.characters(whitelist_categories=("Ll", "Lu", "Nd"), whitelist_characters="._- "), min_size=1, max_size=8
)
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)


@given(st.lists(st.tuples(PATHS, st.binary(max_size=3), st.booleans()), max_size=12), st.lists(PATHS, max_size=2))
def test_manifests_survive_their_way_or_are_refused(raw: list[tuple[str, bytes, bool]], roots: list[str]) -> None:
    """
    What one side encodes, the other decodes to the same, under the same hash; or it is refused with a reason.
    """
    files = [BundleFile(path, hashlib.sha256(text).hexdigest(), len(text), mode) for path, text, mode in raw]
    manifest = Manifest(files, roots=roots)

    try:
        copy = Manifest.decode(manifest.encode(), manifest.hash)
    except BadManifest as refused:
        assert str(refused).startswith("bundle refused: ")
        return
    assert (copy, copy.hash, copy.files, copy.roots) == (manifest, manifest.hash, manifest.files, manifest.roots)


def test_the_order_of_files_does_not_matter() -> None:
    """
    A bundle's name depends on its files, not on how they were listed; and on every part of it.
    """
    one, two = file("a.py"), file("b.py")

    assert Manifest([one, two]).hash == Manifest([two, one]).hash
    others = [
        Manifest([one]),
        Manifest([one, two], roots=("src",)),
        Manifest([one, two], late_roots=("pkg",)),
        Manifest([one, two], entry="a", entry_path="a.py"),
        Manifest([one, two], mounts=[(".greenroom-packages/x", "/x")]),
        Manifest([one, two._replace(executable=True)]),
    ]
    assert len({manifest.hash for manifest in [*others, Manifest([one, two])]}) == 7


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/etc/passwd", "an absolute path"),
        ("C:/windows", "an absolute path"),
        ("../up.py", "with '..' as a part"),
        ("a/../../up.py", "with '..' as a part"),
        ("a/./b.py", "with '.' as a part"),
        ("a//b.py", "with '' as a part"),
        ("a/", "with '' as a part"),
        ("", "an empty path"),
        ("a\\b.py", "a backslash"),
        ("a\0b.py", "cannot be printed"),
        ("a\nb.py", "cannot be printed"),
        ("a\u202eb.py", "cannot be printed"),
        (".git/hooks/post-checkout", "files below .git are never taken"),
        ("sub/.GIT/config", "files below .GIT are never taken"),
        ("x" * 256, "more than 255 bytes"),
        ("é" * 128, "more than 255 bytes"),
        ("/".join(["a" * 100] * 11), "more than 1024 bytes"),
    ],
)
def test_paths_that_could_write_elsewhere_are_refused(path: str, reason: str) -> None:
    """
    Absolute paths, parents, odd separators, invisible characters, a repository's own files and endless names.
    """
    with pytest.raises(BadManifest) as caught:
        Manifest.decode(encoded([[path, bytes(32), 0, False]]))

    assert reason in str(caught.value)
    assert refusal(path) is not None


@pytest.mark.parametrize(
    "path", ["a.py", "a b/c-d.py", "ünï/cödé.py", ".github/x.yml", "a/...", "x" * 255, "-rf", "ab:c"]
)
def test_ordinary_paths_are_taken(path: str) -> None:
    """
    Spaces, letters of any language, dots and dashes are nothing unusual.
    """
    assert refusal(path) is None


@pytest.mark.parametrize(
    ("paths", "reason"),
    [
        (["a.py", "a.py"], "named twice"),
        (["a.py", "A.py"], "only by case or accents"),
        (["straße/x", "STRASSE/x"], "only by case or accents"),
        (["caf\u00e9", "cafe\u0301"], "only by case or accents"),
        (["a", "a/b"], "both a file and a folder"),
        (["A", "a/b"], "both a file and a folder"),
    ],
)
def test_files_that_would_hide_each_other_are_refused(paths: list[str], reason: str) -> None:
    """
    On no file system may one file of a bundle overwrite another.
    """
    with pytest.raises(BadManifest, match=reason):
        Manifest.decode(encoded([[path, bytes(32), 0, False] for path in sorted(paths)]))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not a manifest"),
        (b"\xc1", "not a manifest"),
        (msgpack.packb([1, 2]), "not a manifest"),
        (msgpack.packb({"files": []}), "not a manifest"),
        (encoded([], version=2), "format 2, this greenroom reads 1"),
        (encoded([], version=True), "format True"),
        (encoded({}), "no files"),
        (encoded(["a"]), "must be"),
        (encoded([["a", b"short", 0, False]]), "not a sha256"),
        (encoded([["a", bytes(32), -1, False]]), "size is -1"),
        (encoded([["a", bytes(32), 1.5, False]]), "size is 1.5"),
        (encoded([["a", bytes(32), True, False]]), "size is True"),
        (encoded([["a", bytes(32), 0, 0o120777]]), "no links"),
        (encoded([["a", bytes(32), 0, False, "link"]]), "must be"),
        (encoded([], roots="x"), "must be strings"),
        (encoded([], roots=["../x"]), "'..' as a part"),
        (encoded([], late=["/x"]), "an absolute path"),
        (encoded([], mounts=[["x"]]), "pairs of strings"),
        (encoded([], mounts=[["../x", "/y"]]), "'..' as a part"),
        (encoded([], entry="a", entry_path="a.py"), "not in the bundle"),
        (encoded([["a.py", bytes(32), 0, False]], entry_path="a.py"), "needs both a module and a file"),
        (encoded([["b", bytes(32), 0, False], ["a", bytes(32), 0, False]]), "canonical"),
        (encoded([["a", bytes(32), MAX_BYTES + 1, False]]), "at most 52,428,800 are taken"),
    ],
)
def test_what_is_no_manifest_is_refused(body: bytes, reason: str) -> None:
    """
    Bytes that were not made by `encode` are refused, each with its reason.
    """
    with pytest.raises(BadManifest) as caught:
        Manifest.decode(body)

    assert reason in str(caught.value)


def test_too_many_files_are_refused() -> None:
    """
    The number of files has a bound, which both sides keep.
    """
    files = [[f"{number:06}", bytes(32), 0, False] for number in range(MAX_FILES + 1)]

    with pytest.raises(BadManifest, match="20001 files, at most 20,000"):
        Manifest.decode(encoded(files))
    with pytest.raises(BadManifest, match="20,001 files"):
        check(Manifest([file(f"{number:06}") for number in range(MAX_FILES + 1)]))


def test_a_manifest_is_what_its_hash_says() -> None:
    """
    Bytes that came under another name are refused.
    """
    manifest = Manifest([file("a.py")])

    with pytest.raises(BadManifest, match="cut or changed on its way"):
        Manifest.decode(manifest.encode(), "0" * 64)


def test_files_know_where_they_come_from() -> None:
    """
    Paths of the bundle map to the user's own, those of packages from elsewhere to theirs.
    """
    manifest = Manifest([file("a/b.py")], mounts=[(".greenroom-packages/x/x", "/src/x")])

    assert manifest.origin_of("a/b.py", "/home/ada/p/") == "/home/ada/p/a/b.py"
    assert manifest.origin_of(".greenroom-packages/x/x/y.py", "/home/ada/p") == "/src/x/y.py"
    assert manifest.origin_of("a/b.py", "") == "a/b.py"


def test_the_error_survives_pickling() -> None:
    """
    It may cross processes.
    """
    import pickle

    error = BadManifest("a", "b")

    assert str(pickle.loads(pickle.dumps(error))) == str(error) == "bundle refused: 'a': b"
