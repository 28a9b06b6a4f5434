"""A hub whose replicas are containers: one of its own for a test that stops it, one for all the others of a module."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.docker.engine import IMAGE, Containers, lacking, require
from tests.e2e.harness import visiting


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Containers]:
    """A hub with containers; at the end nothing of it is left, here or in the engine."""
    require("docker", lacking())
    with visiting(tmp_path / "person") as person:
        hub = Containers(person)
        yield hub
        if hub.serving is not None:
            hub.stop()
            assert hub.all() == {}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Containers]:
    """One hub for all tests that leave it as it was."""
    require("docker", lacking())
    with visiting(tmp_path_factory.mktemp("docker") / "person") as person:
        hub = Containers(person)
        hub.serve("--image", f"myrepo/*={IMAGE}")
        yield hub
        hub.stop()
