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
