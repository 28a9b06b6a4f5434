"""Layout and failures, each case both ways: called in this process, and run on a hub."""

from __future__ import annotations

import importlib
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from greenroom import LaunchPlan
from greenroom.client import Client
from greenroom.hub_errors import ExecutionTimedOut
from greenroom.testing import hub  # noqa: F401  (a fixture)
from tests.sdk.language import flow_programs


def check(run: Callable[[], Any], expected: Any) -> None:
    if isinstance(expected, type) and issubclass(expected, BaseException):
        with pytest.raises(expected):
            run()
    elif isinstance(expected, Exception):
        with pytest.raises(type(expected)) as caught:
            run()
        assert str(caught.value) == str(expected)
    else:
        assert run() == expected


@pytest.mark.parametrize("name", flow_programs.CASES)
def test_in_this_process(name: str) -> None:
    """
    Called as a function, a workflow runs here.
    """
    check(lambda: getattr(flow_programs, name)(n=3), flow_programs.CASES[name])


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The same programs in a folder of their own: a project as small as most users'."""
    folder = tmp_path_factory.mktemp("flow")
    shutil.copy(Path(flow_programs.__file__), folder / "flow_elsewhere.py")
    plans = dict(LaunchPlan.CACHE)
    LaunchPlan.CACHE.clear()
    sys.path.insert(0, str(folder))
    try:
        yield importlib.import_module("flow_elsewhere")
    finally:
        sys.path.remove(str(folder))
        del sys.modules["flow_elsewhere"]
        LaunchPlan.CACHE.update(plans)


@pytest.mark.e2e
@pytest.mark.parametrize("name", flow_programs.CASES)
def test_on_a_hub(name: str, hub: Client, elsewhere: Any) -> None:  # noqa: F811
    """
    Run on warm replicas, it gives the same.
    """
    check(lambda: hub.run(getattr(elsewhere, name), n=3).result(timeout=60), elsewhere.CASES[name])


@pytest.mark.e2e
def test_a_deadline_ends_an_execution(hub: Client, elsewhere: Any) -> None:  # noqa: F811
    """
    An execution whose time is over is ended where it runs, and has timed out.
    """
    execution = hub.options(deadline=0.5).run(elsewhere.sleeps, seconds=60)

    with pytest.raises(ExecutionTimedOut, match="deadline"):
        execution.result(timeout=30)
    assert "timed_out" == execution.state


@pytest.mark.e2e
def test_failed_items_are_told_with_their_errors(hub: Client, elsewhere: Any) -> None:  # noqa: F811
    """
    A map that bore failures succeeds; its handle knows which items failed, and why.
    """
    execution = hub.run(elsewhere.min_successes, n=3)

    assert 4 == execution.result(timeout=60)
    told = [(one.node, one.item, str(one.error)) for one in execution.failures()]
    assert [("odd", 1, "2 is even"), ("odd", 3, "4 is even")] == told
    assert all(isinstance(one.error, ValueError) for one in execution.failures())


@pytest.mark.e2e
@pytest.mark.alone
def test_a_cancel_reaches_a_running_call_within_a_second(hub: Client, elsewhere: Any) -> None:  # noqa: F811
    """
    From the wish to the end of a call that sleeps: less than a second, by the hub's own clock.
    """
    execution = hub.run(elsewhere.sleeps, seconds=60)
    running = next(event for event in execution.events() if event["kind"] == "calls_started")

    execution.cancel("enough")
    events = {one["kind"]: one["at"] for one in execution.events(after=running["seq"]) if "seq" in one}

    assert events["execution_ended"] - events["execution_cancelled"] < 1.0
    assert "aborted" == execution.state


@pytest.mark.e2e
def test_files_of_a_map_are_read_one_by_one(hub: Client, elsewhere: Any) -> None:  # noqa: F811
    """
    Each item makes a file of one name; a task that gets the whole list reads the few that it wants.
    """
    assert "0 99 199" == hub.run(elsewhere.many_files, n=200).result(timeout=60)
