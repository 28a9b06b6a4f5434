from __future__ import annotations

import importlib
import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from greenroom import hubs
from greenroom.state import StateFolder, alive
from tests.sdk.client.fake_hub import FakeHub

ROOT = Path(__file__).parents[3]


@pytest.fixture
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeHub]:
    """A fake hub that serves; its state folder has a short path, as unix sockets want it."""
    with FakeHub(tmp_path_factory.mktemp("h")) as fake:
        yield fake


@pytest.fixture(autouse=True)
def apart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test sees this person's hubs, profiles or proxies."""
    for name in ("CI", "GREENROOM_HUB", "GREENROOM_TOKEN", "GREENROOM_STATE", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


@pytest.fixture
def state(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[StateFolder]:
    """A state folder in which `ensure_local_hub` starts the fake hub; what it started is ended."""
    folder = tmp_path_factory.mktemp("s")
    main = str(Path(__file__).with_name("hub_main.py"))
    monkeypatch.setattr(hubs, "_children", [])
    monkeypatch.setattr(hubs, "_ephemeral", {})
    monkeypatch.setattr(hubs, "hub_command", lambda *arguments: [sys.executable, main, *arguments])
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("GREENROOM_STATE", str(folder))
    yield StateFolder(str(folder))
    for pid in starts(folder):
        if alive(pid, time.time()):
            os.kill(pid, 9)
    for child in hubs._children:
        child.wait(5)


def starts(folder: Path | str) -> list[int]:
    file = Path(folder) / "starts"
    return [int(line) for line in file.read_text().split()] if file.exists() else []


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """The programs that the tests submit, in a folder of their own: their bundle is one file, not this repository."""
    folder = tmp_path_factory.mktemp("programs")
    shutil.copy(Path(__file__).with_name("programs.py"), folder / "submitted_programs.py")
    sys.path.insert(0, str(folder))
    yield importlib.import_module("submitted_programs")
    sys.path.remove(str(folder))
    del sys.modules["submitted_programs"]
