"""Persons with hubs of their own: one for each test, or one that the tests of a module share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.harness import Person, visiting


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.e2e)


@pytest.fixture
def person(tmp_path: Path) -> Iterator[Person]:
    """Somebody whose hub has not been started yet."""
    with visiting(tmp_path / "person") as person:
        yield person


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    """Somebody whose hub serves all tests of a module."""
    with visiting(tmp_path_factory.mktemp("e2e") / "person") as person:
        yield person
