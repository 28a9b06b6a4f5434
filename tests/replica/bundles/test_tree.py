"""A bundle's files in a folder: laid out once, repaired by difference, never beyond the folder."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from greenroom_protocol.bundle import Manifest
from greenroom_replica.bundles import BlobMissing, Tree, materialise

from .conftest import Runner

FILES: dict[str, str | bytes] = {
    "flow.py": "a = 1\n",
    "data/x.txt": "x",
    "data/deep/y.txt": "y",
    "run.sh!": "#!/bin/sh\n",
}


def contents(folder: Path) -> dict[str, str]:
    """All files below a folder."""
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def tree(tmp_path: Path, runner: Runner) -> Tree:
    return Tree(tmp_path / "work", runner.blobs)


def test_files_are_laid_out(tree: Tree, runner: Runner) -> None:
    """
    Every file of the bundle is there, executable where it was, and can be written.
    """
    written = tree.switch(runner.manifest(FILES))

    assert written == 4
    assert contents(tree.folder) == {path.rstrip("!"): text for path, text in FILES.items()}
    assert os.access(tree.folder / "run.sh", os.X_OK)
    assert not os.access(tree.folder / "flow.py", os.X_OK)
    assert os.access(tree.folder / "flow.py", os.W_OK)


def test_the_second_time_costs_nothing(tmp_path: Path, tree: Tree, runner: Runner) -> None:
    """
    A bundle that lies there already is not written again, also by the next runner that gets the folder.
    """
    manifest = runner.manifest(FILES)
    tree.switch(manifest)

    assert tree.switch(manifest) == 0
    assert materialise(manifest, tmp_path / "work", runner.blobs).switch(manifest) == 0


def test_an_edit_costs_what_has_changed(tree: Tree, runner: Runner) -> None:
    """
    Between two bundles only the difference is written, and what is gone goes, with the folders that it leaves empty.
    """
    tree.switch(runner.manifest(FILES))
    edited: dict[str, str | bytes] = {"flow.py": "a = 2\n", "data/x.txt": "x", "run.sh": "#!/bin/sh\n"}

    assert tree.switch(runner.manifest(edited)) == 2
    assert contents(tree.folder) == edited
    assert not os.access(tree.folder / "run.sh", os.X_OK)
    assert not (tree.folder / "data/deep").exists()


def test_what_calls_wrote_stays(tree: Tree, runner: Runner) -> None:
    """
    Files that calls made or changed stay from call to call and across edits of other files; an edited one is new.
    """
    tree.switch(runner.manifest(FILES))
    (tree.folder / "out.csv").write_text("1")
    (tree.folder / "data/x.txt").write_text("changed by a call")
    (tree.folder / "flow.py").write_text("overwritten by a call")

    tree.switch(runner.manifest({**FILES, "flow.py": "a = 2\n"}))

    assert (tree.folder / "out.csv").read_text() == "1"
    assert (tree.folder / "data/x.txt").read_text() == "changed by a call"
    assert (tree.folder / "flow.py").read_text() == "a = 2\n"


def test_restoring_gives_the_exact_bundle(tree: Tree, runner: Runner) -> None:
    """
    For a regular task everything that calls wrote, changed or removed is undone, and an untouched folder costs nothing.
    """
    tree.switch(runner.manifest(FILES))
    assert tree.restore() == 0
    (tree.folder / "out.csv").write_text("1")
    (tree.folder / "data/x.txt").write_text("y")
    os.utime(tree.folder / "data/x.txt", ns=(0, 0))
    (tree.folder / "flow.py").unlink()
    shutil.rmtree(tree.folder / "data/deep")
    (tree.folder / "made").mkdir()
    (tree.folder / "made/more.txt").write_text("")
    (tree.folder / "run.sh").chmod(0o600)

    tree.restore()

    assert contents(tree.folder) == {path.rstrip("!"): text for path, text in FILES.items()}
    assert not (tree.folder / "made").exists()
    assert os.access(tree.folder / "run.sh", os.X_OK)
    assert tree.restore() == 0


def test_links_that_calls_made_are_not_followed(tmp_path: Path, tree: Tree, runner: Runner) -> None:
    """
    A call that puts a link in a folder's or file's place cannot make the next bundle write, or remove, elsewhere.
    """
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "x.txt").write_text("precious")
    (outside / "flow.py").write_text("precious")
    tree.switch(runner.manifest(FILES))
    shutil.rmtree(tree.folder / "data")
    (tree.folder / "data").symlink_to(outside)
    (tree.folder / "flow.py").unlink()
    (tree.folder / "flow.py").symlink_to(outside / "flow.py")

    tree.switch(runner.manifest({"flow.py": "a = 2\n"}))
    assert contents(outside) == {"x.txt": "precious", "flow.py": "precious"}

    tree.switch(runner.manifest({**FILES, "data/x.txt": "new"}))
    tree.restore()
    assert contents(outside) == {"x.txt": "precious", "flow.py": "precious"}
    assert contents(tree.folder)["data/x.txt"] == "new"


def test_a_folder_in_a_files_place_and_the_other_way_round(tree: Tree, runner: Runner) -> None:
    """
    Between bundles, and against what calls made, a path may change from file to folder.
    """
    tree.switch(runner.manifest({"a": "file", "b/c": "in a folder"}))
    tree.switch(runner.manifest({"a/b": "in a folder", "b": "file"}))
    assert contents(tree.folder) == {"a/b": "in a folder", "b": "file"}

    (tree.folder / "b").unlink()
    (tree.folder / "b").mkdir()
    (tree.folder / "b/junk").write_text("")
    tree.switch(runner.manifest({"a/b": "in a folder", "b": "file 2"}))
    assert contents(tree.folder) == {"a/b": "in a folder", "b": "file 2"}


def test_a_crash_while_switching_leaves_nothing_stale(tree: Tree, runner: Runner) -> None:
    """
    When laying out a bundle is cut short, the next one starts from an empty folder.
    """
    tree.switch(runner.manifest({"old.py": "", **FILES}))
    broken = runner.manifest({"flow.py": "x = 1\n", "new.py": "y = 2\n"})
    runner.blobs.blob_path(broken.by_path["new.py"].digest).unlink()
    with pytest.raises(BlobMissing, match="is not on this replica; submit again"):
        tree.switch(broken)

    again = Tree(tree.folder, runner.blobs)
    again.switch(runner.manifest(FILES))

    assert contents(tree.folder) == {path.rstrip("!"): text for path, text in FILES.items()}


def test_a_folder_that_a_call_removed_is_laid_out_again(tree: Tree, runner: Runner) -> None:
    """
    A call that removes its whole working directory costs the next one nothing.
    """
    manifest = runner.manifest(FILES)
    tree.switch(manifest)
    shutil.rmtree(tree.folder)

    tree.switch(manifest)

    assert (tree.folder / "data/deep/y.txt").read_text() == "y"


def test_damaged_blobs_are_refused(tree: Tree, runner: Runner) -> None:
    """
    A blob that is not what its name says is not laid out.
    """
    manifest = runner.manifest({"flow.py": "a = 1\n"})
    runner.blobs.blob_path(manifest.files[0].digest).write_text("b = 2\n")

    with pytest.raises(BlobMissing, match="damaged"):
        tree.switch(manifest)


def test_calls_stand_where_the_user_stood(runner: Runner) -> None:
    """
    The working directory is the submitter's folder inside the bundle, also if it holds no file of it.
    """
    active = runner.use(FILES)

    assert active.stand() == active.folder
    assert active.stand("data").joinpath("x.txt").read_text() == "x"
    assert active.stand("notebooks/new").is_dir()
    assert active.stand("../elsewhere") == active.stand("/etc") == active.folder


def test_an_empty_bundle(tree: Tree) -> None:
    """
    A bundle without files is an empty folder.
    """
    assert tree.switch(Manifest([])) == 0
    assert tree.folder.is_dir()
