"""For tests of programs: put something else in the place of a task, answer gates, forget cached results.

    from greenroom.testing import task_mock

    with task_mock(fetch) as mock:
        mock.return_value = "page"
        assert wf(url="https://example.org") == 4

In a conftest.py, `from greenroom.testing import hub` makes a fixture of pytest: a real hub with real replicas, which
the test session starts when the first test asks for it, and ends.

    def test_on_replicas(hub):
        assert hub.run(wf, url="https://example.org").result() == 4
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from greenroom import redefinition, results
from greenroom.answers import gate_answers
from greenroom.definition_errors import BadArgument

if TYPE_CHECKING:
    from unittest.mock import MagicMock

    from greenroom.client import Client

__all__ = ["clear_results", "gate_answers", "hub", "patch", "task_mock"]  # noqa: F822  (`hub` is made when asked for)


@contextmanager
def task_mock(target: Any) -> Iterator[MagicMock]:
    """Call a mock instead of a task, workflow, launch plan or reference, in runs of this process.

    Args:
        target: What is replaced; it is called with its inputs by name, and what it returns is checked against the
            annotation as a real result is.
    """
    from unittest.mock import MagicMock

    if not hasattr(type(target), "node") or not hasattr(target, "_stand_in"):
        raise BadArgument("task_mock", "target", target, "a task, workflow, launch plan or reference")
    mock, before = MagicMock(name=str(target.name)), target._stand_in
    target._stand_in = mock
    redefinition.touch()
    try:
        yield mock
    finally:
        target._stand_in = before
        redefinition.touch()


def patch(target: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorate a test: it gets the mock that is called instead of `target` as its first argument.

    Args:
        target: As for `task_mock`.
    """

    def decorate(test: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(test)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with task_mock(target) as mock:
                return test(mock, *args, **kwargs)

        del wrapper.__wrapped__  # pytest must not take the mock for a fixture.
        return wrapper

    return decorate


def __getattr__(name: str) -> Any:
    # Only who asks for the fixture needs pytest.
    if name != "hub":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import pytest

    globals()["hub"] = pytest.fixture(scope="session", name="hub")(_hub)
    return globals()["hub"]


def _hub() -> Iterator[Client]:
    """A client of a hub of this process's own."""
    from greenroom.client import Client
    from greenroom.hubs import end_ephemeral
    from greenroom.profiles import EPHEMERAL

    try:
        yield Client(EPHEMERAL)
    finally:
        end_ephemeral()


def clear_results() -> None:
    """Forget what `cache=True` tasks gave in this process."""
    results.clear()
