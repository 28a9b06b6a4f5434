"""What every test of values needs: a store, and a workspace."""

import pytest

from greenroom.blobs import LocalBlobs
from greenroom.files import workspace


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
