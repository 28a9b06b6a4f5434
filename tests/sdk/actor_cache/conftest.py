"""A fresh store for each test, with a clock that stands still until it is told to go on."""

import pytest

from greenroom.caching import use_store
from greenroom.caching.store import Store


class Clock:
    """Virtual seconds."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def told():
    """What the user was told."""
    return []


@pytest.fixture
def store(clock, told):
    store = Store(clock=clock, tell=told.append, patience=0.02)
    before = use_store(store)
    yield store
    use_store(before)
    store.close()
