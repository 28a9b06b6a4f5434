"""`greenroom hub install`: what it writes, and that a dry run does nothing."""

from __future__ import annotations

import plistlib
from pathlib import Path

import pytest
from click.testing import CliRunner

from greenroom.cli.install import install, launchd, systemd
from greenroom.state import StateFolder


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A person's home, with a state folder whose name needs quoting."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("GREENROOM_STATE", str(tmp_path / "my state %h"))
    monkeypatch.setenv("PATH", str(tmp_path / "no-systemctl-here"))
    return tmp_path


def test_the_unit_starts_this_hub_again_when_it_fails(home: Path) -> None:
    """
    It runs the local hub on its state folder, quoted as systemd reads it, and is not ended for being idle.
    """
    unit = systemd(StateFolder(str(home / "my state %h")))

    assert home / ".config/systemd/user/greenroom-hub.service" == unit.path
    assert '"serve" "--local" "--installed" "--state"' in unit.text
    assert "my state %%h" in unit.text
    assert "Restart=on-failure" in unit.text
    assert ("systemctl", "--user", "enable", "--now", "greenroom-hub.service") in unit.commands


def test_the_agent_of_macos_says_the_same(home: Path) -> None:
    """
    launchd reads a property list.
    """
    told = plistlib.loads(launchd(StateFolder(str(home / "state"))).text.encode())

    assert ["serve", "--local", "--installed", "--state", str(home / "state")] == told["ProgramArguments"][-5:]
    assert told["RunAtLoad"] is True


def test_a_dry_run_writes_nothing(home: Path) -> None:
    """
    It prints the file and the commands.
    """
    done = CliRunner().invoke(install, ["--dry-run"])

    assert 0 == done.exit_code
    assert "[Service]" in done.output
    assert "$ systemctl --user daemon-reload" in done.output
    assert not (home / ".config").exists()


def test_without_systemd_the_person_is_told_what_to_run(home: Path) -> None:
    """
    In a container there is no systemctl: the file is written, and each command is said; removing undoes it.
    """
    done = CliRunner().invoke(install, [])
    path = home / ".config/systemd/user/greenroom-hub.service"

    assert f"wrote {path}" in done.output
    assert "systemctl is not here: run it where it is: systemctl --user daemon-reload" in done.output
    assert path.exists()

    removed = CliRunner().invoke(install, ["--remove"])

    assert f"removed {path}" in removed.output
    assert not path.exists()
