# ruff: noqa: UP045
"""Files, folders and paths inside of values."""

import os
import pathlib
import pickle
from typing import Annotated, Any, Optional

import pydantic
import pytest

from greenroom.errors import MissingFile, TypeMismatch
from greenroom.files import Directory, File
from greenroom.types import HashMethod, codec_for
from greenroom_core.refs import blobs_of, digest
from greenroom_core.show import to_json
from greenroom_core.values import Ext, ListView, access, ext_code, unpack
from tests.sdk.types.shapes import Documents, Plain


def write(path, text="hello"):
    pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
    pathlib.Path(path).write_text(text)
    return str(path)


def travel(annotation, value, store):
    codec = codec_for(annotation)
    return codec.decode(codec.encode(value, store), store)


def text_of(file):
    with file.open() as opened:
        return opened.read()


@pytest.mark.parametrize("given", [str, pathlib.Path, File])
def test_a_path_given_for_a_file_is_that_file(store, given):
    """
    Tasks return a str, a Path or a File where File is declared.
    """
    arrived = travel(File, given(write("a.txt")), store)

    assert type(arrived) is File
    assert text_of(arrived) == "hello"


def test_a_format_of_the_annotation_is_that_of_the_file(store):
    """
    `File["csv"]` and `Annotated[File, "csv"]` mean the same.
    """
    for annotation in (File["csv"], Annotated[File, "csv"]):
        arrived = travel(annotation, write("a.csv"), store)

        assert type(arrived) is File["csv"]
        assert arrived.extension() == "csv"


def test_pathlike_is_a_file(store):
    """
    As for flytekit: a path that can be opened.
    """
    assert isinstance(travel(os.PathLike, pathlib.Path(write("a.txt")), store), File)


def test_a_directory_given_as_path(store):
    """
    A path where Directory is declared is that folder.
    """
    write("d/a.txt")

    arrived = travel(Directory, "d", store)

    assert [file.name for file in arrived] == ["a.txt"]


def test_a_folder_given_for_a_file_is_refused(store):
    """
    The error says what to annotate.
    """
    with pytest.raises(TypeMismatch, match="annotate folders as Directory"):
        codec_for(File).encode(".", store)


def test_files_in_records_are_uploaded_one_by_one(store):
    """
    Fields, lists and optional ones: each is a blob that the hub can see.
    """
    write("d/x")
    documents = Documents(File(write("a")), [File(write("b", "1")), File(write("c", "2"))], Directory("d"))

    value = codec_for(Documents).encode(documents, store)
    arrived = codec_for(Documents).decode(value, store)

    assert len(blobs_of(value)) == 4
    assert text_of(arrived.main) == "hello"
    assert [text_of(file) for file in arrived.others] == ["1", "2"]
    assert arrived.folder.listdir()[0].name == "x"
    assert to_json(value)["main"]["file"] == "a"
    assert ext_code(access(value, ("others", 1))) is Ext.FILE


def test_files_in_pydantic_models(store):
    """
    Models hold files as fields, made from paths.
    """

    class Model(pydantic.BaseModel):
        file: File
        more: list[File] = []

    model = Model(file=write("a"), more=[{"path": write("b", "1")}])

    arrived = travel(Model, model, store)

    assert text_of(arrived.file) == "hello"
    assert text_of(arrived.more[0]) == "1"
    assert Model.model_validate_json(model.model_dump_json()).file == "a"


def test_files_in_pickled_objects_are_known_to_the_hub(store):
    """
    A file inside an opaque object is uploaded with it, and its blob is kept as long.
    """
    value = codec_for(Plain).encode(Plain(File(write("a"))), store)
    os.unlink("a")

    arrived = codec_for(Plain).decode(value, store)

    assert text_of(arrived.n) == "hello"
    assert blobs_of(value) == [store.put(b"hello")]


def test_files_of_no_declared_type(store):
    """
    `Any` knows a file when it meets one, with its format.
    """
    arrived = travel(Any, {"f": File["csv"](write("a.csv")), "p": (File("a.csv"),)}, store)

    assert type(arrived["f"]) is File["csv"]
    assert text_of(arrived["p"][0]) == "hello"


def test_ten_thousand_files_make_one_small_value(store):
    """
    The list of files is itself a blob; each item can be sliced out and opened.
    """
    blob = store.put(b"x")
    files = [File.of_blob(store, blob, 1, f"{n}.txt") for n in range(10_000)]

    value = codec_for(list[File]).encode(files, store)
    arrived = codec_for(list[File]).decode(value, store)

    assert len(value) < 1000
    assert [file.name for file in arrived] == [f"{n}.txt" for n in range(10_000)]
    item = ListView(store.get(blobs_of(value)[0]))[1234]
    assert codec_for(File).decode(item, store).name == "1234.txt"


def test_a_list_with_a_missing_file_leaves_nothing(tmp_path):
    """
    Files are uploaded as a whole list, or not at all.
    """
    from greenroom.blobs import LocalBlobs
    from greenroom.types import Interface

    def two() -> list[File]: ...

    store = LocalBlobs(tmp_path / "durable")

    with pytest.raises(MissingFile, match=r"task '.*two', output 'o0', at \[1\]: no such file: 'nowhere'"):
        Interface.of(two).encode_outputs([write("a"), "nowhere"], store)

    assert list(store) == []


def test_equal_content_has_an_equal_digest_under_any_name(store):
    """
    Cached results find files by their content.
    """
    codec = codec_for(File)

    one, other = codec.encode(write("a.txt"), store), codec.encode(write("b.txt"), store)

    assert digest(one) == digest(other) != digest(codec.encode(write("c.txt", "other"), store))


def test_a_hash_method_sees_the_file(store):
    """
    `Annotated[File, HashMethod(f)]` calls f with what the task returned.
    """
    codec = codec_for(Annotated[File, HashMethod(lambda file: os.path.basename(file.path))])

    one, other = codec.encode(File(write("x/a.txt", "1")), store), codec.encode(File(write("y/a.txt", "2")), store)

    assert digest(one) == digest(other)


def test_text_is_taken_for_a_file(store):
    """
    A promise of a str may be bound to a File: it is a path or an address.
    """
    value = codec_for(str).encode("s3://bucket/key", store)

    assert codec_for(Optional[File]).decode(value, store).remote_source == "s3://bucket/key"


class TestPaths:
    def test_a_path_travels_as_text(self, store):
        """
        A shared disk's path means the same everywhere.
        """
        value = codec_for(pathlib.Path).encode(pathlib.Path("/data/set"), store)

        assert unpack(value) == "/data/set"

    def test_what_would_be_gone_travels_with_its_content(self, store, tmp_path):
        """
        A file in the call's own workspace is uploaded; the path of a copy arrives.
        """
        made = tmp_path / "workspace" / "out.txt"
        write(made, "result")

        arrived = travel(pathlib.Path, made, store)

        assert (arrived.name, arrived.read_text()) == ("out.txt", "result")
        assert arrived != made

    def test_a_folder_that_would_be_gone_travels_too(self, store, tmp_path):
        """
        As a directory does.
        """
        write(tmp_path / "workspace" / "out" / "a.txt")

        arrived = travel(pathlib.Path, tmp_path / "workspace" / "out", store)

        assert sorted(os.listdir(arrived)) == ["a.txt"]

    def test_a_file_arrives_as_path_where_path_is_declared(self, store):
        """
        A promise of a File may be bound to a Path.
        """
        value = codec_for(File).encode(write("a.txt"), store)

        assert codec_for(pathlib.Path).decode(value, store).read_text() == "hello"


def test_a_file_that_was_pickled_by_itself_opens_with_the_stores_help(store):
    """
    Whoever opens a pickled value gives the store for the files in it.
    """
    value = codec_for(Any).encode(Plain([File(write("a"))]), store)

    assert text_of(codec_for(Any).decode(value, store).n[0]) == "hello"
    assert pickle.dumps(File("a"))
