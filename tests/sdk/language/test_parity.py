"""The same program gives the same values and the same errors in this process and on a hub."""

from __future__ import annotations

import importlib
import shutil
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from greenroom.client import Client
from greenroom.testing import hub  # noqa: F401  (a fixture)
from tests.sdk.language import programs


def check(run: Callable[[], Any], expected: Any) -> None:
    if isinstance(expected, Exception):
        with pytest.raises(type(expected)) as caught:
            run()
        assert str(caught.value) == str(expected)
    else:
        assert run() == expected


@pytest.mark.parametrize("name", programs.CASES)
def test_in_this_process(name: str) -> None:
    """
    Called as a function, a workflow runs here.
    """
    check(lambda: getattr(programs, name)(n=3), programs.CASES[name])


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The same programs in a folder of their own: a project as small as most users'."""
    folder = tmp_path_factory.mktemp("parity")
    shutil.copy(str(programs.__file__), folder / "parity_programs.py")
    plans = dict(programs.LaunchPlan.CACHE)
    programs.LaunchPlan.CACHE.clear()
    sys.path.insert(0, str(folder))
    try:
        yield importlib.import_module("parity_programs")
    finally:
        sys.path.remove(str(folder))
        del sys.modules["parity_programs"]
        programs.LaunchPlan.CACHE.update(plans)


@pytest.mark.e2e
@pytest.mark.parametrize("name", programs.CASES)
def test_on_a_hub(name: str, hub: Client, elsewhere: Any) -> None:  # noqa: F811
    """
    Run on warm replicas, it gives the same.
    """
    check(lambda: hub.run(getattr(elsewhere, name), n=3).result(timeout=60), elsewhere.CASES[name])
