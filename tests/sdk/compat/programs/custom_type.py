import os
import tempfile
import typing
from typing import Type

from flytekit import Blob, BlobMetadata, BlobType, FlyteContext, Literal, LiteralType, Scalar, task, workflow
from flytekit.extend import TypeEngine, TypeTransformer


class MyDataset(object):
    def __init__(self, base_dir: str = None):
        self._tmp_dir_ctx = None if base_dir else tempfile.TemporaryDirectory()
        self._base_dir = base_dir if base_dir else self._tmp_dir_ctx.name
        self._files = os.listdir(self._base_dir) if base_dir else []

    @property
    def base_dir(self) -> str:
        return self._base_dir

    @property
    def files(self):
        return self._files

    def new_file(self, name: str) -> str:
        new_file = os.path.join(self._base_dir, name)
        self._files.append(new_file)
        return new_file


class MyDatasetTransformer(TypeTransformer[MyDataset]):
    _TYPE_INFO = BlobType(format="binary", dimensionality=BlobType.BlobDimensionality.MULTIPART)

    def __init__(self):
        super(MyDatasetTransformer, self).__init__(name="mydataset-transform", t=MyDataset)

    def get_literal_type(self, t: Type[MyDataset]) -> LiteralType:
        return LiteralType(blob=self._TYPE_INFO)

    def to_literal(
        self, ctx: FlyteContext, python_val: MyDataset, python_type: Type[MyDataset], expected: LiteralType
    ) -> Literal:
        remote_dir = ctx.file_access.get_random_remote_directory()
        ctx.file_access.put_data(python_val.base_dir, remote_dir, is_multipart=True)
        return Literal(scalar=Scalar(blob=Blob(uri=remote_dir, metadata=BlobMetadata(type=self._TYPE_INFO))))

    def to_python_value(self, ctx: FlyteContext, lv: Literal, expected_python_type: Type[MyDataset]) -> MyDataset:
        local_dir = ctx.file_access.get_random_local_directory()
        ctx.file_access.get_data(lv.scalar.blob.uri, local_dir, is_multipart=True)
        return MyDataset(base_dir=local_dir)


TypeEngine.register(MyDatasetTransformer())


@task
def generate() -> MyDataset:
    d = MyDataset()
    for i in range(3):
        with open(d.new_file(f"x{i}"), "w") as f:
            f.write(f"Hello {i}")
    return d


@task
def consume(d: MyDataset) -> str:
    s = ""
    for f in sorted(d.files):
        with open(os.path.join(d.base_dir, f)) as fh:
            s += fh.read() + "\n"
    return s


@workflow
def wf() -> str:
    return consume(d=generate())
