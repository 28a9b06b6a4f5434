"""Programs written for Flyte give the same in this process and on a hub."""

from __future__ import annotations

import importlib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from greenroom.client import Client
from greenroom.launch_plan import LaunchPlan
from greenroom.testing import hub  # noqa: F401  (a fixture)

pytestmark = [  # People's programs leave files to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

PROGRAMS = Path(__file__).parent / "programs"

CASES: dict[str, tuple[str, dict[str, Any], Any]] = {
    "branches": ("main", {"x": 7.0, "flag": True}, (49.0, "yes!", "none!")),
    "custom_type": ("wf", {}, "Hello 0\nHello 1\nHello 2\n"),
    "decorated": ("wf", {"x": 3}, 8),
    "fan_out": ("wf", {"names": ["a", "b"]}, ("[('a', 3), ('b', 3)]", [3, 3], ["big", "big"])),
    "imperative": ("wb", {"in1": "x"}, ("x world", "x world+x", ["x world", "x world+x"])),
    "parts": ("wf", {}, ("x", "z", "b", 4, "y", ["x", "c"], {"q": "b"})),
    "plans": ("parent", {"n": 3}, (13, 14, 8)),
    "search": ("search", {"lrs": [0.1, 0.2, 0.3]}, (0.3, pytest.approx(1.9), 1)),
}


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The programs in a project of their own, importable."""
    folder = tmp_path_factory.mktemp("flyte")
    for path in PROGRAMS.glob("[a-z]*.py"):
        shutil.copy(path, folder / f"flyte_{path.name}")
    plans = dict(LaunchPlan.CACHE)
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))
    LaunchPlan.CACHE.clear()
    LaunchPlan.CACHE.update(plans)
    for name in [name for name in sys.modules if name.startswith("flyte_")]:
        del sys.modules[name]


@pytest.fixture
def entity(request: pytest.FixtureRequest, programs: Path, alias: None) -> Any:
    name = request.param
    return getattr(importlib.import_module(f"flyte_{name}"), CASES[name][0]), CASES[name]


@pytest.mark.parametrize("entity", CASES, indirect=True)
def test_in_this_process(entity: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Called as functions.
    """
    monkeypatch.chdir(tmp_path)
    workflow, (_, inputs, expected) = entity

    given = workflow(**inputs)

    assert given == expected


@pytest.mark.e2e
@pytest.mark.parametrize("entity", CASES, indirect=True)
def test_on_a_hub(entity: Any, hub: Client) -> None:  # noqa: F811
    """
    On warm replicas.
    """
    workflow, (_, inputs, expected) = entity

    given = hub.run(workflow, **inputs).result(timeout=60)

    assert given == expected
