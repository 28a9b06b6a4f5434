"""Blobs: one contract for a folder of this host and for a hub's API; then what is particular to each."""

import hashlib
import os
import threading

import pytest

from greenroom.blobs import HttpBlobs, LocalBlobs
from greenroom.errors import BlobDamaged, BlobMissing, MissingFile, TransferFailed, TypeMismatch
from greenroom_core.values import NIL, pack
from tests.sdk.blob_server import BlobServer

ABSENT = "0" * 64
LARGE = b"0123456789abcdef" * 200_000  # Above what is read into memory at once.


def name_of(data):
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def hub():
    server = BlobServer()
    yield server
    server.close()


def connect(hub, tmp_path, **options):
    return HttpBlobs(hub.url, hub.token, tmp_path / "cache", sleep=lambda seconds: None, **options)


@pytest.fixture(params=["folder", "durable folder", "hub"])
def store(request, tmp_path, hub):
    if request.param == "hub":
        blobs = connect(hub, tmp_path)
        yield blobs
        blobs.close()
    else:
        yield LocalBlobs(tmp_path / "blobs", durable=request.param == "durable folder")


class TestContract:
    @pytest.mark.parametrize("data", [b"", b"x", LARGE], ids=["empty", "small", "large"])
    def test_bytes_come_back_by_their_hash(self, store, data):
        """
        What is put is got, under the sha256 of its content.
        """
        sha256 = store.put(data)

        assert sha256 == name_of(data)
        assert store.get(sha256) == data
        assert store.path(sha256).read_bytes() == data
        assert store.has(sha256)

    @pytest.mark.parametrize("data", [b"", b"x", LARGE], ids=["empty", "small", "large"])
    def test_a_file_is_stored_and_stays_its_owners(self, store, tmp_path, data):
        """
        Writing to a file after it was put does not change the blob.
        """
        file = tmp_path / "f"
        file.write_bytes(data)

        stored = store.put_file(file)
        file.write_bytes(b"changed afterwards")

        assert stored == (name_of(data), len(data))
        assert store.get(name_of(data)) == data
        assert file.read_bytes() == b"changed afterwards"

    @pytest.mark.parametrize("data", [b"x", LARGE], ids=["small", "large"])
    def test_a_file_that_is_given_is_gone(self, store, tmp_path, data):
        """
        A file of our own moves into the store, also when the store has its content already.
        """
        for _ in range(2):
            file = tmp_path / "f"
            file.write_bytes(data)

            stored = store.put_file(file, give=True)

            assert stored == (name_of(data), len(data))
            assert not file.exists()
        assert store.get(name_of(data)) == data

    def test_an_absent_blob_is_named(self, store):
        """
        Asking for a blob that is nowhere says which one, and where it was looked for.
        """
        with pytest.raises(BlobMissing, match="000000000000 is not in"):
            store.get(ABSENT)

        assert not store.has(ABSENT)

    def test_a_missing_file_is_named(self, store, tmp_path):
        """
        Putting a file that is not there names it.
        """
        with pytest.raises(MissingFile, match="nowhere.txt"):
            store.put_file(tmp_path / "nowhere.txt")

    def test_a_folder_is_no_file(self, store, tmp_path):
        """
        A folder is refused, with what to write instead.
        """
        with pytest.raises(TypeMismatch, match="annotate folders as Directory"):
            store.put_file(tmp_path)

    def test_a_pipe_is_refused_without_waiting_for_it(self, store, tmp_path):
        """
        Nobody writes to the pipe, and still the answer comes at once.
        """
        os.mkfifo(tmp_path / "pipe")

        with pytest.raises(TypeMismatch, match="a pipe, socket or device"):
            store.put_file(tmp_path / "pipe")

    def test_a_batch_holds_all_that_was_put_in_it(self, store):
        """
        At the end of a batch every blob can be read, also where one was put twice.
        """
        data = [b"%d" % n for n in range(40)]

        with store.batch():
            names = [store.put(item) for item in [*data, *data]]

        assert [store.get(name) for name in names] == [*data, *data]

    def test_a_name_that_is_no_hash_leads_nowhere(self, store, tmp_path):
        """
        Names come from the wire: they never become a path.
        """
        (tmp_path / "secret").write_bytes(b"x")

        with pytest.raises(BlobMissing):
            store.path("../../secret")

    def test_a_range_is_read_without_the_rest(self, store):
        """
        A map reads its slice of a large list.
        """
        sha256 = store.put(LARGE)

        assert store.read(sha256, 16, 20) == b"0123"
        assert store.read(sha256, len(LARGE) - 2, len(LARGE) + 99) == b"ef"
        assert store.read(sha256, 5, 5) == b""


class TestLocal:
    def test_equal_content_is_stored_once(self, tmp_path):
        """
        Two puts of the same bytes make one file, which cannot be written to.
        """
        blobs = LocalBlobs(tmp_path)

        sha256 = blobs.put(b"x")
        blobs.put(b"x")

        assert [entry[:2] for entry in blobs] == [(sha256, 1)]
        assert blobs.path(sha256) == tmp_path / sha256[:2] / sha256
        assert blobs.path(sha256).stat().st_mode & 0o222 == 0

    def test_nothing_is_left_beside_the_blobs(self, tmp_path):
        """
        Temporary files are gone after puts, after known content and after failures.
        """
        blobs = LocalBlobs(tmp_path / "blobs")
        (tmp_path / "large").write_bytes(LARGE)

        blobs.put_file(tmp_path / "large")
        blobs.put_file(tmp_path / "large")
        with pytest.raises(ZeroDivisionError), blobs.batch():
            blobs.put(b"never")
            raise ZeroDivisionError

        assert os.listdir(tmp_path / "blobs" / "tmp") == []
        assert not blobs.has(name_of(b"never"))

    def test_threads_put_the_same_blob_at_once(self, tmp_path):
        """
        Writers of one content meet in one whole blob.
        """
        blobs = LocalBlobs(tmp_path, durable=False)
        threads = [threading.Thread(target=blobs.put, args=(LARGE,)) for _ in range(8)]

        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert [entry[:2] for entry in blobs] == [(name_of(LARGE), len(LARGE))]
        assert os.listdir(tmp_path / "tmp") == []

    def test_a_damaged_blob_is_found_and_removed(self, tmp_path):
        """
        Verifying reads the bytes: a blob that rotted on disk is not used again.
        """
        blobs = LocalBlobs(tmp_path)
        sha256 = blobs.put(b"good")
        blobs.path(sha256).chmod(0o600)
        blobs.path(sha256).write_bytes(b"evil")

        with pytest.raises(BlobDamaged, match="holds other bytes"):
            blobs.verify(sha256)

        assert not blobs.has(sha256)

    def test_trimming_removes_what_was_longest_unwanted(self, tmp_path):
        """
        The cache stays within its limit, and keeps what was just used.
        """
        blobs = LocalBlobs(tmp_path)
        names = [blobs.put(bytes([n]) * 10) for n in range(4)]
        for age, name in enumerate(names):
            os.utime(blobs.path(name), (1000 + age, 1000 + age))
        blobs.put(bytes([0]) * 10)  # Wanted again: young.

        gone = blobs.trim(20, spare_since=5000)

        assert gone == 20
        assert {entry[0] for entry in blobs} == {names[0], names[3]}

    def test_leftovers_of_a_crash_are_swept(self, tmp_path):
        """
        A temporary file that nobody finishes goes; a young one may still be written.
        """
        blobs = LocalBlobs(tmp_path)
        blobs.put(b"x")
        for name, age in (("old", 10), ("young", 99)):
            (tmp_path / "tmp" / name).write_bytes(b"")
            os.utime(tmp_path / "tmp" / name, (age, age))

        blobs.sweep(before=50)

        assert os.listdir(tmp_path / "tmp") == ["young"]

    def test_a_maps_results_come_through_the_port(self, tmp_path):
        """
        The store passes the address on, and says so if it has no access to the log.
        """
        blobs = LocalBlobs(tmp_path, manifests=lambda *address: [pack(part) for part in address])

        assert list(blobs.manifest("wf-1", "n", "o0")) == [pack("wf-1"), pack("n"), pack("o0")]
        with pytest.raises(BlobMissing, match="no access to the log"):
            LocalBlobs(tmp_path).manifest("wf-1", "n", "o0")


class TestHub:
    def test_a_blob_is_fetched_once(self, hub, tmp_path):
        """
        The second read comes from the cache of this host.
        """
        sha256 = hub.store(b"x" * 100)
        blobs = connect(hub, tmp_path)

        blobs.get(sha256)
        blobs.path(sha256)
        blobs.close()

        assert hub.methods() == ["GET"]

    def test_what_the_hub_has_is_not_sent_again(self, hub, tmp_path):
        """
        For large blobs it is asked first.
        """
        hub.store(LARGE)
        blobs = connect(hub, tmp_path)

        blobs.put(LARGE)
        blobs.close()

        assert hub.methods() == ["HEAD"]

    def test_a_batch_asks_once_and_sends_what_is_missing(self, hub, tmp_path):
        """
        Ten thousand files cost one question, and only what is new travels.
        """
        data = [b"%d" % n for n in range(30)]
        for item in data[:20]:
            hub.store(item)
        blobs = connect(hub, tmp_path)

        with blobs.batch():
            for item in data:
                blobs.put(item)
        blobs.close()

        assert sorted(hub.methods()) == ["POST"] + ["PUT"] * 10
        assert set(map(name_of, data)) == set(hub.blobs)

    def test_a_transfer_that_breaks_off_goes_on_where_it_stopped(self, hub, tmp_path):
        """
        What came before the cut is not fetched twice.
        """
        sha256 = hub.store(LARGE)
        hub.faults = ["cut"]
        blobs = connect(hub, tmp_path)

        assert blobs.get(sha256) == LARGE
        blobs.close()

        assert hub.requests[1].endswith(f"bytes={len(LARGE) // 2}-")

    @pytest.mark.parametrize("fault", ["drop", 503, 429])
    def test_passing_faults_are_tried_again(self, hub, tmp_path, fault):
        """
        A hub that restarts, or is busy, is asked again.
        """
        hub.faults = [fault, fault]
        blobs = connect(hub, tmp_path)

        sha256 = blobs.put(b"x")
        blobs.close()

        assert hub.blobs == {sha256: b"x"}

    def test_pauses_between_attempts_grow(self, hub, tmp_path):
        """
        Attempts end, with the hub's own sentence, after pauses that double.
        """
        hub.faults, pauses = [503] * 9, []
        blobs = HttpBlobs(hub.url, hub.token, tmp_path, sleep=pauses.append, attempts=4)

        with pytest.raises(TransferFailed, match="answers 503: not now \\(4 attempts\\)"):
            blobs.get(ABSENT)
        blobs.close()

        assert len(pauses) == 3
        assert 0.1 <= pauses[0] <= 0.3 and 0.4 <= pauses[2] <= 1.2

    def test_a_refusal_is_told_at_once(self, hub, tmp_path):
        """
        A wrong token does not get better by trying again.
        """
        blobs = HttpBlobs(hub.url, "wrong", tmp_path)

        with pytest.raises(TransferFailed, match="answers 401: unknown token$"):
            blobs.put(b"x")
        blobs.close()

        assert hub.methods() == ["PUT"]

    def test_other_bytes_than_the_name_promises_are_refused(self, hub, tmp_path):
        """
        A damaged transfer never gets into the cache.
        """
        hub.blobs[ABSENT] = b"something else"
        blobs = connect(hub, tmp_path)

        with pytest.raises(BlobDamaged):
            blobs.get(ABSENT)
        blobs.close()

        assert not blobs.cache.has(ABSENT)

    def test_a_hub_behind_a_unix_socket(self, tmp_path):
        """
        `unix:` addresses work as others do.
        """
        server = BlobServer(unix=tmp_path / "s")
        blobs = connect(server, tmp_path)

        sha256 = blobs.put(b"x")
        blobs.close()
        server.close()

        assert server.blobs == {sha256: b"x"}

    def test_a_forked_child_opens_its_own_connection(self, hub, tmp_path):
        """
        Two processes never read each other's answers.
        """
        first, second = hub.store(b"1"), hub.store(b"2")
        blobs = connect(hub, tmp_path)
        blobs.get(first)
        kept = blobs._connection()

        blobs._mine.pid = -1  # What a fork looks like from within.

        assert blobs._connection() is not kept
        assert blobs.get(second) == b"2"
        blobs.close()
        kept.close()

    def test_a_maps_results_are_read_in_portions(self, hub, tmp_path, monkeypatch):
        """
        A map's results come one by one, failed ones as null, however many chunks hold them.
        """
        monkeypatch.setattr("greenroom.remote_blobs._ITEMS", 4)
        values = [pack(n) if n != 5 else NIL for n in range(10)]
        hub.manifests["wf-1/nodes/n/outputs/o0"] = values
        blobs = connect(hub, tmp_path)

        assert list(blobs.manifest("wf-1", "n", "o0")) == values
        blobs.close()

    def test_the_cache_stays_within_its_limit(self, hub, tmp_path):
        """
        What was not wanted for a minute goes when the cache is full.
        """
        blobs = connect(hub, tmp_path, cache_limit=1000)
        old = blobs.put(b"o" * 900)
        os.utime(blobs.cache.path(old), (1, 1))

        blobs.put(b"n" * 900)
        blobs.close()

        assert [size for _, size, _ in blobs.cache] == [900]
        assert not blobs.cache.has(old)
