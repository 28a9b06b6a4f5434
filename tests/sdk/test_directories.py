"""`Directory`: every file by itself, lazily; nothing outside of the folder, whatever an entry says."""

import os
import pathlib
import pickle
import socket
import sys

import pytest

from greenroom.blobs import LocalBlobs
from greenroom.directories import Directory, directory_from_wire, directory_to_wire
from greenroom.errors import MissingFile, TypeMismatch, UnsafePath
from greenroom.files import File, use_store, workspace
from tests.sdk.test_files import MemoryStore, read, streamed


@pytest.fixture
def store(tmp_path):
    return LocalBlobs(tmp_path / "blobs", durable=False)


@pytest.fixture(autouse=True)
def at_work(tmp_path, monkeypatch):
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    with workspace(tmp_path / "workspace"):
        yield


@pytest.fixture
def data():
    """A folder with a file, a nested one, and an empty folder."""
    folder = pathlib.Path("data")
    (folder / "sub" / "deep").mkdir(parents=True)
    (folder / "empty").mkdir()
    (folder / "a.txt").write_text("a")
    (folder / "sub" / "deep" / "b.txt").write_text("bb")
    return folder


def travel(directory, store):
    """What arrives at the next task."""
    return directory_from_wire(Directory, directory_to_wire(directory, store), store)


def contents(folder):
    """Every path below a folder; None for what is a folder."""
    return {
        str(path.relative_to(folder)): path.read_text() if path.is_file() else None
        for path in pathlib.Path(folder).rglob("*")
    }


ALL = {"a.txt": "a", "sub": None, "sub/deep": None, "sub/deep/b.txt": "bb", "empty": None}


class TestTravelling:
    def test_files_and_empty_folders_arrive(self, store, data):
        """
        What is used has all that was returned, under its name.
        """
        arrived = travel(Directory(data), store)

        assert not arrived.downloaded
        assert contents(arrived) == ALL
        assert arrived.downloaded
        assert (arrived.name, os.path.basename(arrived.path)) == ("data", "data")

    def test_each_file_is_a_blob(self, store, data):
        """
        The value lists path, hash and size of every file.
        """
        wire = directory_to_wire(Directory(data), store)

        assert wire["entries"] == [
            ["a.txt", store.put(b"a"), 1],
            ["empty/", None, 0],
            ["sub/deep/b.txt", store.put(b"bb"), 2],
        ]
        assert (wire["name"], wire["size"]) == ("data", 3)

    def test_its_path_exists_when_it_is_asked_for(self, store, data):
        """
        `os.listdir(directory.path)` works without a download before it.
        """
        assert sorted(os.listdir(travel(Directory(data), store).path)) == ["a.txt", "empty", "sub"]

    def test_the_execute_bit_is_kept(self, store, data):
        """
        A program in a folder can be run where it arrives.
        """
        (data / "a.txt").chmod(0o755)

        arrived = travel(Directory(data), store)

        assert os.access(os.path.join(arrived, "a.txt"), os.X_OK)
        assert not os.access(os.path.join(arrived, "sub/deep/b.txt"), os.X_OK)

    def test_an_unchanged_input_is_not_uploaded_again(self, store, data):
        """
        Returning an input that was only read costs its entries.
        """
        arrived = travel(Directory(data), store)
        contents(arrived)
        wire = directory_to_wire(Directory(data), store)
        for sha256, _, _ in list(store):
            store.remove(sha256)

        assert directory_to_wire(arrived, store) == wire
        assert list(store) == []

    def test_a_changed_input_is_returned_as_it_is_now(self, store, data):
        """
        Only what was written is uploaded; removed files are gone; the original is as it was.
        """
        arrived = travel(Directory(data), store)
        local = pathlib.Path(arrived)
        (local / "a.txt").write_text("changed")
        (local / "sub" / "new.txt").write_text("new")
        (local / "sub" / "deep" / "b.txt").unlink()
        store.remove(store.put(b"bb"))

        again = contents(travel(arrived, store))

        assert again == {"a.txt": "changed", "sub": None, "sub/new.txt": "new", "sub/deep": None, "empty": None}
        assert contents(data) == ALL

    def test_a_folder_of_another_store_is_brought_over(self, store, data, tmp_path):
        """
        What came from one hub can be sent to another.
        """
        other = LocalBlobs(tmp_path / "other", durable=False)

        assert contents(travel(travel(Directory(data), store), other)) == ALL

    def test_without_upload_the_path_itself_travels(self, store, data):
        """
        `remote_directory=False` is for folders that are where the next task runs too.
        """
        arrived = travel(Directory(data, remote_directory=False), store)

        assert arrived.path == os.path.abspath(data)
        assert list(store) == []

    def test_a_destination_of_its_own(self, store, data, tmp_path):
        """
        `remote_directory` says where the files go; the value carries that path.
        """
        arrived = travel(Directory(data, remote_directory=str(tmp_path / "out")), store)

        assert arrived.path == str(tmp_path / "out")
        assert (tmp_path / "out" / "sub" / "deep" / "b.txt").read_text() == "bb"

    def test_a_new_folder_is_filled_and_returned(self, store):
        """
        `new_file` and `new_dir` make places in it.
        """
        new = Directory.new_remote("out")
        with new.new_file("x/a.txt").open("w") as opened:
            opened.write("a")
        with new.new_dir("y").new_file("b.txt").open("w") as opened:
            opened.write("b")

        arrived = contents(travel(new, store))

        assert arrived == {"x": None, "x/a.txt": "a", "y": None, "y/b.txt": "b"}

    def test_what_this_call_downloaded_is_not_part_of_its_working_directory(self, store, data):
        """
        A task that returns its own folder does not return our files in it.
        """
        with workspace("."):
            contents(travel(Directory(data), store))

            wire = directory_to_wire(Directory("."), store)

        assert os.path.isdir(".greenroom")
        assert {entry[0].partition("/")[0] for entry in wire["entries"]} == {"data"}


class TestListing:
    def test_listing_fetches_nothing(self, store, data, tmp_path):
        """
        Files and folders come as themselves; only what is opened is fetched.
        """
        arrived = travel(Directory(data), store)

        first, empty, sub = arrived.listdir()

        assert [type(part) for part in (first, empty, sub)] == [File, Directory, Directory]
        assert [part.name for part in (first, empty, sub)] == ["a.txt", "empty", "sub"]
        assert list(arrived) == [first, empty, sub] == Directory.listdir(arrived)
        assert streamed(sub.listdir()[0].listdir()[0]) == "bb"
        assert not (tmp_path / "workspace").exists()

    def test_a_local_folder_is_listed(self, data):
        """
        What was not uploaded yet has the same list.
        """
        assert [part.name for part in Directory(data)] == ["a.txt", "empty", "sub"]

    def test_crawling_goes_to_the_bottom(self, store, data):
        """
        Each file with the folder's path, which can be joined and opened.
        """
        arrived = travel(Directory(data), store)

        found = list(arrived.crawl())

        assert [path for _, path in found] == ["a.txt", "sub/deep/b.txt"]
        assert read(os.path.join(*found[1])) == "bb"
        assert [path for _, path in arrived.crawl(maxdepth=1)] == ["a.txt"]
        assert next(arrived.crawl(detail=True))[1]["a.txt"]["size"] == 1

    def test_the_size_is_that_of_all_files(self, store, data):
        """
        It is known without fetching.
        """
        assert Directory(data).size == travel(Directory(data), store).size == 3


class TestSafety:
    @pytest.mark.parametrize("path", ["../evil", "/etc/evil", "a/../../evil", "", "a\0b", ".."])
    def test_an_entry_never_leads_out(self, store, path):
        """
        Paths from the wire are checked before anything is written.
        """
        wire = {"name": "d", "size": 1, "entries": [[path, store.put(b"x"), 1]]}

        with pytest.raises(UnsafePath):
            directory_from_wire(Directory, wire, store)

    def test_an_entry_never_leads_through_a_file(self, store):
        """
        A file cannot hold files.
        """
        blob = store.put(b"x")
        wire = {"name": "d", "size": 1, "entries": [["a", blob, 1], ["a/b", blob, 1]]}

        with pytest.raises(UnsafePath, match="leads through a file"):
            directory_from_wire(Directory, wire, store)

    def test_a_new_file_never_lies_outside(self, data):
        """
        Names are checked for what a task makes, too.
        """
        with pytest.raises(UnsafePath):
            Directory(data).new_file("../outside")

    def test_links_are_followed_and_arrive_as_what_they_lead_to(self, store, data, tmp_path):
        """
        A link to a file or a folder outside brings its content, not the link.
        """
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "elsewhere" / "c.txt").write_text("c")
        (data / "file").symlink_to(tmp_path / "elsewhere" / "c.txt")
        (data / "folder").symlink_to(tmp_path / "elsewhere")

        arrived = travel(Directory(data), store)

        assert contents(arrived) == {**ALL, "file": "c", "folder": None, "folder/c.txt": "c"}
        assert not any(path.is_symlink() for path in pathlib.Path(arrived).rglob("*"))

    def test_a_link_to_a_folder_above_does_not_lead_on_for_ever(self, store, data):
        """
        It would hold itself, and is left out.
        """
        (data / "sub" / "up").symlink_to(data.absolute())

        assert contents(travel(Directory(data), store)) == ALL

    def test_a_broken_link_is_named(self, store, data):
        """
        Content that is not there is missed at once, not by the next task.
        """
        (data / "broken").symlink_to("nowhere")

        with pytest.raises(MissingFile, match="data/broken"):
            directory_to_wire(Directory(data), store)

    def test_a_socket_is_no_file(self, store, data):
        """
        What cannot be read is refused with its path.
        """
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("data/s")

            with pytest.raises(TypeMismatch, match="data/s"):
                directory_to_wire(Directory(data), store)

    def test_a_failed_upload_leaves_nothing(self, tmp_path, data):
        """
        A folder is uploaded as a whole: what came before the fault is not kept half done.
        """
        store = LocalBlobs(tmp_path / "durable")
        (data / "z").symlink_to("nowhere")

        with pytest.raises(MissingFile):
            directory_to_wire(Directory(data), store)

        assert list(store) == []

    @pytest.mark.parametrize(("path", "error"), [("nowhere", MissingFile), ("data/a.txt", TypeMismatch)])
    def test_what_is_no_folder_is_refused(self, store, data, path, error):
        """
        The error names the path.
        """
        with pytest.raises(error, match=path):
            directory_to_wire(Directory(path), store)


class TestForeign:
    @pytest.fixture
    def bucket(self, monkeypatch):
        objects = MemoryStore()
        objects.objects = {"d/a.txt": b"a", "d/sub/b.txt": b"bb", "other": b""}
        for name, module in objects.modules().items():
            monkeypatch.setitem(sys.modules, name, module)
        return objects

    def test_it_is_listed_and_fetched_when_it_is_used(self, bucket, store):
        """
        The address travels; listing and opening reach the object store.
        """
        arrived = travel(Directory("s3://bucket/d"), store)

        assert [part.name for part in arrived] == ["a.txt", "sub"]
        assert streamed(arrived.listdir()[1].listdir()[0]) == "bb"
        assert list(arrived.crawl()) == [("s3://bucket/d", "a.txt"), ("s3://bucket/d", "sub/b.txt")]
        assert contents(arrived) == {"a.txt": "a", "sub": None, "sub/b.txt": "bb"}
        assert directory_to_wire(arrived, store)["uri"] == "s3://bucket/d"

    def test_files_are_written_where_remote_directory_says(self, bucket, store, data):
        """
        Every file becomes an object below the address.
        """
        directory_to_wire(Directory(data, remote_directory="s3://bucket/out"), store)

        assert bucket.objects["out/a.txt"] == b"a"
        assert bucket.objects["out/sub/deep/b.txt"] == b"bb"

    def test_an_object_that_would_lie_outside_is_refused(self, bucket):
        """
        Keys of an object store are no more trusted than entries.
        """
        bucket.objects["d/../../evil"] = b"x"

        with pytest.raises(UnsafePath):
            Directory("s3://bucket/d").download()


class TestBeingAValue:
    def test_pickled_and_equal(self, store, data):
        """
        A pickle holds the entries; folders with the same entries are equal.
        """
        arrived = travel(Directory(data), store)
        before = use_store(store)
        try:
            again = pickle.loads(pickle.dumps(arrived))
        finally:
            use_store(before)

        assert again == arrived and hash(again) == hash(arrived)
        assert contents(again) == ALL

    def test_its_key_follows_its_content(self, store, data):
        """
        Local and arrived folders with the same files have one key, which changes with a file.
        """
        arrived = travel(Directory(data), store)
        before = arrived.__greenroom_key__()

        assert Directory(data).__greenroom_key__() == before

        pathlib.Path(arrived, "a.txt").write_text("changed")
        assert arrived.__greenroom_key__() != before

    def test_a_format_is_part_of_the_type(self):
        """
        As for files.
        """
        assert Directory["csv"] is Directory["csv"]
        assert Directory["csv"].extension() == "csv"
        assert pickle.loads(pickle.dumps(Directory["csv"])) is Directory["csv"]
