"""For tests of programs: put something else in the place of a task, answer gates, forget cached results.

from greenroom.testing import task_mock

with task_mock(fetch) as mock:
    mock.return_value = "page"
    assert wf(url="https://example.org") == 4
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

__all__ = ["clear_results", "gate_answers", "patch", "task_mock"]


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


def clear_results() -> None:
    """Forget what `cache=True` tasks gave in this process."""
    results.clear()
