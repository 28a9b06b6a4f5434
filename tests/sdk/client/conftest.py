from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sdk.client.fake_hub import FakeHub


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
