"""`File`: lazy on the way in, uploaded once on the way out, and never written in place."""

import copy
import dataclasses
import http.server
import os
import pathlib
import pickle
import sys
import threading
import types

import cloudpickle
import pytest

from greenroom import files, transfer
from greenroom.blobs import LocalBlobs
from greenroom.errors import MissingFile, MissingPackage, NotReadable, TransferFailed, TypeMismatch
from greenroom.files import File, file_from_wire, file_to_wire, pickling, use_store, workspace


@pytest.fixture
def store(tmp_path):
    return LocalBlobs(tmp_path / "blobs", durable=False)


@pytest.fixture(autouse=True)
def at_work(tmp_path, monkeypatch):
    """A call's working directory, and its workspace."""
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    with workspace(tmp_path / "workspace"):
        yield


def write(path, text="hello"):
    pathlib.Path(path).write_text(text)
    return str(path)


def read(file):
    """What `open(file)` gives."""
    with open(file) as opened:
        return opened.read()


def streamed(file):
    """What `file.open()` gives."""
    with file.open() as opened:
        return opened.read()


def travel(file, store, kind=File):
    """What arrives at the next task."""
    return file_from_wire(kind, file_to_wire(file, store), store)


class TestArriving:
    def test_nothing_is_fetched_before_it_is_opened(self, store, tmp_path):
        """
        A file that nobody opens costs nothing.
        """
        arrived = travel(File(write("a.txt")), store)

        assert not arrived.downloaded
        assert arrived.size == 5
        assert arrived.name == "a.txt"
        assert not (tmp_path / "workspace").exists()

    def test_opening_brings_it_here_under_its_name(self, store):
        """
        `open(file)`, `os.fspath` and `download` give one private local copy.
        """
        arrived = travel(File(write("a.txt")), store)

        with open(arrived) as opened:
            assert opened.read() == "hello"

        assert arrived.downloaded
        assert os.path.basename(os.fspath(arrived)) == "a.txt"
        assert arrived.download() == arrived.path == os.fspath(arrived) == str(arrived)

    def test_its_path_exists_when_it_is_asked_for(self, store):
        """
        Whoever takes `.path` may read it, also without having opened the file.
        """
        arrived = travel(File(write("a.txt")), store)

        assert os.path.exists(arrived.path)

    def test_reading_a_blob_of_this_host_makes_no_copy(self, store, tmp_path):
        """
        `.open()` reads the blob itself.
        """
        arrived = travel(File(write("a.txt")), store)

        with arrived.open() as text, arrived.open("rb") as data:
            assert (text.read(), data.read()) == ("hello", b"hello")

        assert not (tmp_path / "workspace").exists()

    @pytest.mark.parametrize("mode", ["w", "a", "r+"])
    def test_writing_to_an_input_changes_neither_blob_nor_original(self, store, mode):
        """
        What a task writes stays its own, unless it returns it.
        """
        original = write("a.txt")
        arrived = travel(File(original), store)
        before = file_to_wire(arrived, store)

        with arrived.open(mode) as opened:
            opened.write("CHANGED")

        assert pathlib.Path(original).read_text() == "hello"
        assert store.get(before["blob"]) == b"hello"
        assert "CHANGED" in pathlib.Path(arrived.path).read_text()

    def test_writing_through_the_path_changes_neither_blob_nor_original(self, store):
        """
        The local copy is private, however it is written to.
        """
        original = write("a.txt")
        arrived = travel(File(original), store)

        with open(arrived, "w") as opened:
            opened.write("CHANGED")

        assert pathlib.Path(original).read_text() == "hello"
        assert streamed(travel(File(original), store)) == "hello"

    def test_two_inputs_of_one_name_do_not_meet(self, store):
        """
        Equal names get different folders.
        """
        first = travel(File(write("a.txt", "1")), store)
        second = travel(File(write("a.txt", "2")), store)

        assert [read(file) for file in (first, second)] == ["1", "2"]

    def test_the_execute_bit_is_kept(self, store):
        """
        A script can be run where it arrives.
        """
        script = pathlib.Path(write("run.sh", "#!/bin/sh\n"))
        script.chmod(0o755)

        arrived = travel(File(script), store)

        assert os.access(arrived.path, os.X_OK)
        assert not os.access(travel(File(write("data")), store).path, os.X_OK)

    def test_a_name_on_the_wire_never_leads_out_of_the_workspace(self, store, tmp_path):
        """
        A name with folders in it loses them.
        """
        blob = store.put(b"x")

        arrived = file_from_wire(File, {"name": "../../../evil", "size": 1, "blob": blob}, store)

        assert os.path.realpath(arrived.path).startswith(str(tmp_path / "workspace"))

    def test_downloads_are_below_the_workspace_and_go_with_it(self, store, tmp_path):
        """
        No download outlives the call that made it.
        """
        with workspace(tmp_path / "call"):
            arrived = travel(File(write("a.txt")), store)

        path = arrived.download()  # Later, but for that call.

        assert path.startswith(str(tmp_path / "call"))

    def test_threads_of_the_user_put_files_into_the_workspace_of_the_call(self, store, tmp_path):
        """
        A thread does not see the context of who started it; its files are still the call's.
        """
        made = []
        thread = threading.Thread(target=lambda: made.append(File.new_remote_file("x").path))

        thread.start()
        thread.join()

        assert made[0].startswith(str(tmp_path / "workspace"))


class TestLeaving:
    @pytest.mark.parametrize("kind", [str, pathlib.Path, File])
    def test_its_content_is_uploaded_with_its_name(self, store, kind):
        """
        The value holds name, size and hash; the file itself stays where it is.
        """
        write("a.txt")

        wire = file_to_wire(File(kind("a.txt")), store)

        assert wire == {"name": "a.txt", "size": 5, "blob": store.put(b"hello")}

    def test_a_missing_file_is_named_with_where_it_was_looked_for(self, store):
        """
        The error says the path, and for a relative one the folder.
        """
        with pytest.raises(MissingFile, match=r"no such file: 'out.csv' in /.*/cwd"):
            file_to_wire(File("out.csv"), store)

    def test_a_folder_is_no_file(self, store):
        """
        The error says what to annotate instead.
        """
        with pytest.raises(TypeMismatch, match="annotate folders as Directory"):
            file_to_wire(File("."), store)

    def test_what_was_not_written_to_is_not_uploaded_again(self, store):
        """
        An input that is returned travels by its hash, also if it was read.
        """
        arrived = travel(File(write("a.txt")), store)
        read(arrived)
        known = arrived._blob
        store.remove(known)  # An upload would bring it back.

        assert file_to_wire(arrived, store)["blob"] == known
        assert not store.has(known)

    def test_an_input_that_was_written_to_is_uploaded_as_it_is_now(self, store):
        """
        Returning a changed input returns the change.
        """
        arrived = travel(File(write("a.txt")), store)
        with open(arrived, "a") as opened:
            opened.write(" world")

        again = travel(arrived, store)

        assert streamed(again) == "hello world"
        assert again.name == "a.txt"

    def test_a_file_of_another_store_is_brought_over(self, store, tmp_path):
        """
        What came from one hub can be sent to another.
        """
        other = LocalBlobs(tmp_path / "other", durable=False)
        arrived = travel(File(write("a.txt")), store)

        assert streamed(travel(arrived, other)) == "hello"

    def test_a_new_file_is_written_and_returned(self, store):
        """
        `new_remote_file` gives a path that nobody else has.
        """
        new = File.new_remote_file("report.txt")
        with new.open("w") as opened:
            opened.write("done")

        arrived = travel(new, store)

        assert (arrived.name, streamed(arrived)) == ("report.txt", "done")

    def test_without_upload_the_path_itself_travels(self, store):
        """
        `remote_path=False` is for files that are where the next task runs too.
        """
        path = write("a.txt")

        arrived = travel(File(path, remote_path=False), store)

        assert arrived.path == os.path.abspath(path)
        assert file_to_wire(arrived, store)["uri"] == os.path.abspath(path)
        assert list(store) == []

    def test_a_destination_of_its_own(self, store, tmp_path):
        """
        `remote_path` says where the content goes; the value carries that address and the content's hash.
        """
        wire = file_to_wire(File(write("a.txt"), remote_path=f"file://{tmp_path}/out/b.txt"), store)

        assert (tmp_path / "out" / "b.txt").read_text() == "hello"
        assert wire["uri"] == f"file://{tmp_path}/out/b.txt"
        assert wire["etag"] == store.put(b"hello")
        assert streamed(file_from_wire(File, wire, store)) == "hello"

    def test_a_downloader_runs_once_before_the_file_is_used(self):
        """
        Programs may bring their own way of making a file.
        """
        calls = []
        file = File("made.txt", lambda: calls.append(write("made.txt")))

        assert not file.downloaded
        for _ in range(3):
            os.fspath(file)

        assert file.downloaded
        assert len(calls) == 1


class TestFormats:
    def test_a_format_is_part_of_the_type(self):
        """
        `File["csv"]` is one type, however it is written.
        """
        assert File["csv"] is File[".csv"]
        assert issubclass(File["csv"], File)
        assert (File["csv"].extension(), File.extension()) == ("csv", "")
        assert File[None] is File

    @pytest.mark.parametrize("dumps", [pickle.dumps, cloudpickle.dumps])
    def test_a_type_with_format_is_pickled_by_name(self, dumps):
        """
        It stays the same type in another process.
        """
        assert pickle.loads(dumps(File["tar.gz"])) is File["tar.gz"]

    def test_the_format_travels(self, store):
        """
        The value says it, and the arriving file has the type that its task asks for.
        """
        wire = file_to_wire(File["csv"](write("a.csv")), store)

        assert wire["format"] == "csv"
        assert type(file_from_wire(File["csv"], wire, store)) is File["csv"]


class TestBeingAValue:
    def test_files_with_one_content_are_equal(self, store):
        """
        Equality and hash go by content where it is known, else by path.
        """
        first = travel(File(write("a.txt")), store)
        second = travel(File(write("b.txt")), store)

        assert first == second and hash(first) == hash(second)
        assert File("a.txt") == File("a.txt") == "a.txt"
        assert File("a.txt") != File("b.txt")
        assert first != travel(File(write("c.txt", "other")), store)

    def test_a_pickled_input_is_read_from_the_store_of_the_process(self, store):
        """
        A pickle holds the hash; the process that opens it says where its blobs are.
        """
        arrived = travel(File(write("a.txt")), store)

        before = use_store(store)
        try:
            again = pickle.loads(pickle.dumps(arrived))
        finally:
            use_store(before)

        assert streamed(again) == "hello"

    def test_a_pickle_that_travels_takes_the_content_along(self, store):
        """
        A local file inside an object that is pickled as a value is uploaded, and its blob is known.
        """
        held = []
        token = pickling.set((store, held))
        try:
            data = cloudpickle.dumps({"f": File(write("a.txt"))})
        finally:
            pickling.reset(token)
        os.unlink("a.txt")
        before = use_store(store)
        try:
            arrived = pickle.loads(data)["f"]
        finally:
            use_store(before)

        assert streamed(arrived) == "hello"
        assert held == [store.put(b"hello")]

    def test_without_a_store_a_pickled_blob_says_so(self, store):
        """
        The error comes when the pickle is opened, and says what is missing.
        """
        data = pickle.dumps(travel(File(write("a.txt")), store))

        with pytest.raises(NotReadable, match="no blob store is connected"):
            pickle.loads(data)

    def test_copies_share_the_content(self, store):
        """
        `dataclasses.asdict` and the like copy fields: that must not upload anything.
        """

        @dataclasses.dataclass
        class Report:
            file: File

        report = Report(File(write("a.txt")))

        assert dataclasses.asdict(report)["file"] == report.file
        assert copy.deepcopy(report.file) == report.file
        assert list(store) == []

    def test_the_blob_address_leads_back(self, store):
        """
        `File(file.remote_source)` is the same file.
        """
        arrived = travel(File(write("a.txt")), store)
        before = use_store(store)
        try:
            again = File(arrived.remote_source)
        finally:
            use_store(before)

        assert again == arrived
        assert (again.name, streamed(again)) == ("a.txt", "hello")

    def test_its_key_follows_its_content(self, store):
        """
        Caches find the same content under any path, and not after a change.
        """
        local, arrived = File(write("a.txt")), travel(File(write("b.txt")), store)

        assert local.__greenroom_key__() == arrived.__greenroom_key__()

        write(arrived.path, "changed")
        assert local.__greenroom_key__() != arrived.__greenroom_key__()


@pytest.fixture
def web():
    """A web server: what `answers` says, then the served bytes."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_HEAD(self):
            self.do_GET()

        def do_GET(self):
            site.requests.append(self.command)
            answer = site.answers.pop(0) if site.answers else site.content
            if isinstance(answer, int):
                self.send_error(answer)
            elif isinstance(answer, str):
                self.send_response(302)
                self.send_header("Location", answer)
                self.end_headers()
            elif answer is None:  # Promise more than is sent.
                self.send_response(200)
                self.send_header("Content-Length", "99")
                self.end_headers()
                self.wfile.write(b"half")
            else:
                self.send_response(200)
                self.send_header("Content-Length", str(len(answer)))
                for header in site.headers:
                    self.send_header(*header)
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(answer)

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    site = types.SimpleNamespace(requests=[], answers=[], content=b"from afar", headers=[])
    site.url = f"http://127.0.0.1:{server.server_address[1]}/data/a%20b.txt?token=1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield site
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def no_pauses(monkeypatch):
    monkeypatch.setattr(transfer, "_PAUSE", 0)


class TestWeb:
    def test_it_is_read_by_who_opens_it(self, web, store):
        """
        An address travels as it is, and its name here is its last part.
        """
        arrived = travel(File(web.url), store)

        assert web.requests == []
        assert arrived.remote_source == web.url
        assert not os.path.exists(arrived.path)
        assert read(arrived) == "from afar"
        assert os.path.basename(arrived.path) == "a b.txt"
        assert file_to_wire(arrived, store)["uri"] == web.url

    def test_a_true_remote_path_copies_it_into_the_store(self, web, store):
        """
        `remote_path=True` makes an address a blob.
        """
        wire = file_to_wire(File(web.url, remote_path=True), store)

        assert store.get(wire["blob"]) == b"from afar"

    def test_a_redirect_never_leads_to_a_file_of_this_host(self, web, tmp_path):
        """
        A foreign server cannot have this host's files opened.
        """
        web.answers = [f"file://{write(tmp_path / 'secret')}"]

        with pytest.raises(TransferFailed, match="302|not allowed"):
            read(File(web.url))

    @pytest.mark.parametrize("fault", [503, None], ids=["busy", "cut"])
    def test_passing_faults_are_tried_again(self, web, no_pauses, fault):
        """
        A busy server, or a transfer that breaks off, is asked again; half a file is never taken.
        """
        web.answers = [fault, fault]

        assert streamed(File(web.url)) == "from afar"

    def test_an_absent_file_says_what_the_server_says(self, web):
        """
        The error names the address and the answer, at once.
        """
        web.answers = [404]

        with pytest.raises(TransferFailed, match="a%20b.txt.*the server answers 404"):
            read(File(web.url))

        assert web.requests == ["GET"]

    def test_nothing_is_left_of_a_failed_download(self, web, no_pauses, tmp_path):
        """
        What could not be fetched whole is not there at all.
        """
        web.answers = [None] * 9
        file = File(web.url)

        with pytest.raises(TransferFailed, match="broke off after 4 of 99 bytes \\(4 attempts\\)"):
            read(file)

        assert [names for _, _, names in os.walk(tmp_path / "workspace") if names] == []

    @pytest.mark.parametrize(
        ("headers", "key"),
        [
            ([("ETag", '"v1"')], ' "v1"'),
            ([("Last-Modified", "yesterday")], " 9-yesterday"),
            ([], ""),
        ],
    )
    def test_its_key_is_what_the_server_tells(self, web, headers, key):
        """
        An ETag, else size and time, else the address alone.
        """
        web.headers = headers

        assert File(web.url).__greenroom_key__() == f"uri:{web.url}{key}"
        assert web.requests == ["HEAD"]

    def test_a_web_server_is_not_written_to(self, web, store):
        """
        The error says what to do instead.
        """
        with pytest.raises(TransferFailed, match="read only; give remote_path="):
            file_to_wire(File(write("a.txt"), remote_path=web.url), store)


class MemoryStore:
    """What `obstore` does for one bucket."""

    def __init__(self):
        self.objects = {}

    def modules(self):
        obstore = types.ModuleType("obstore")
        obstore.__spec__ = types.SimpleNamespace(name="obstore")
        stores = types.ModuleType("obstore.store")
        stores.from_url = lambda url: {"s3://bucket": self, "gs://bucket": self}[url]
        obstore.get, obstore.put, obstore.head, obstore.list = self.get, self.put, self.head, self.list
        obstore.store = stores
        return {"obstore": obstore, "obstore.store": stores}

    def get(self, store, key):
        if key not in store.objects:
            raise FileNotFoundError(key)
        return types.SimpleNamespace(stream=lambda min_chunk_size: iter([store.objects[key]]))

    def put(self, store, key, file):
        store.objects[key] = file.read()

    def head(self, store, key):
        return {"e_tag": f"v-{len(store.objects[key])}", "size": len(store.objects[key])}

    def list(self, store, prefix):
        yield [
            {"path": key, "size": len(data)}
            for key, data in store.objects.items()
            if key.startswith(f"{prefix or ''}/".lstrip("/"))
        ]


@pytest.fixture
def bucket(monkeypatch):
    objects = MemoryStore()
    for name, module in objects.modules().items():
        monkeypatch.setitem(sys.modules, name, module)
    return objects


class TestObjectStores:
    @pytest.mark.parametrize("scheme", ["s3", "gs", "s3a"])
    def test_an_object_is_fetched_when_it_is_opened(self, bucket, store, scheme):
        """
        s3 and gs addresses travel as they are.
        """
        bucket.objects["dir/a.txt"] = b"object"

        arrived = travel(File(f"{scheme}://bucket/dir/a.txt"), store)

        assert read(arrived) == "object"
        assert arrived.name == "a.txt"
        assert arrived.__greenroom_key__() == f"uri:{scheme}://bucket/dir/a.txt v-6"

    def test_content_is_written_where_remote_path_says(self, bucket, store):
        """
        The object has the file's content, and the value its address.
        """
        wire = file_to_wire(File(write("a.txt"), remote_path="s3://bucket/b.txt"), store)

        assert bucket.objects == {"b.txt": b"hello"}
        assert wire["uri"] == "s3://bucket/b.txt"

    def test_an_address_can_be_written_to(self, bucket, store):
        """
        What is written is sent when the file is closed; the value carries the address.
        """
        file = File("s3://bucket/new.txt")

        with file.open("w") as opened:
            opened.write("fresh")

        assert bucket.objects == {"new.txt": b"fresh"}
        assert file_to_wire(file, store)["uri"] == "s3://bucket/new.txt"

    def test_a_write_that_fails_sends_nothing(self, bucket):
        """
        Half a file is not sent.
        """
        with pytest.raises(ZeroDivisionError), File("s3://bucket/new.txt").open("w") as opened:
            opened.write("half")
            raise ZeroDivisionError

        assert bucket.objects == {}

    def test_an_absent_object_is_named(self, bucket):
        """
        The error says the address.
        """
        with pytest.raises(TransferFailed, match="s3://bucket/none: there is no such file"):
            read(File("s3://bucket/none"))

    @pytest.mark.parametrize(("address", "package"), [("s3://b/k", "obstore"), ("dropbox://x/y", "fsspec")])
    def test_without_a_library_it_says_what_to_install(self, monkeypatch, address, package):
        """
        One sentence names the package.
        """
        monkeypatch.setattr(transfer, "_installed", lambda name: False)

        with pytest.raises(MissingPackage, match=f"{address} needs {package}: pip install {package}"):
            read(File(address))


class TestRealLibraries:
    """The libraries themselves, where they are installed: the fake above does what they do."""

    def test_obstore(self, monkeypatch, store):
        """
        Written, read, listed, and identified by an ETag.
        """
        real = pytest.importorskip("obstore.store").MemoryStore()
        monkeypatch.setattr(transfer._ObjectStore, "_store", lambda place: real)

        file_to_wire(File(write("a.txt"), remote_path="s3://bucket/d/a.txt"), store)

        assert read(File("s3://bucket/d/a.txt")) == "hello"
        assert list(transfer.place_of("s3://bucket/d").files()) == [("a.txt", 5)]
        assert File("s3://bucket/d/a.txt").__greenroom_key__().startswith("uri:s3://bucket/d/a.txt ")
        with pytest.raises(TransferFailed, match="there is no such file"):
            read(File("s3://bucket/none"))

    def test_fsspec(self, store):
        """
        Any of its file systems.
        """
        pytest.importorskip("fsspec")

        file_to_wire(File(write("a.txt"), remote_path="memory://d/a.txt"), store)

        assert read(File("memory://d/a.txt")) == "hello"
        assert list(transfer.place_of("memory://d").files()) == [("a.txt", 5)]
        assert File("memory://d/a.txt").__greenroom_key__().startswith("uri:memory://d/a.txt 5-")
        with pytest.raises(TransferFailed, match="there is no such file"):
            read(File("memory://d/none"))

    def test_a_plugin_of_fsspec_that_is_missing_is_named(self, monkeypatch):
        """
        fsspec alone reads no s3.
        """
        pytest.importorskip("fsspec")
        monkeypatch.setattr(transfer, "_installed", lambda name: name == "fsspec")
        monkeypatch.setitem(sys.modules, "s3fs", None)

        with pytest.raises(MissingPackage, match="pip install s3fs"):
            read(File("s3://bucket/k"))


class TestWorkspace:
    def test_without_one_there_is_a_folder_of_the_process(self, store, monkeypatch):
        """
        Programs that run in one process have a place for files too, which goes when the process ends.
        """
        token = files.set_workspace(None)

        path = travel(File(write("a.txt")), store).path
        files.reset_workspace(token)

        assert "greenroom-" in path
        assert pathlib.Path(path).read_text() == "hello"
