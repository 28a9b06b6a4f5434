"""`greenroom hub install`: the local hub as a service of this user, which the system starts."""

from __future__ import annotations

import os
import plistlib
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final, NamedTuple

import click

from greenroom import hubs
from greenroom.cli.common import say
from greenroom.state import StateFolder, find_state

_UNIT: Final = "greenroom-hub.service"
_LABEL: Final = "greenroom.hub"


class Service(NamedTuple):
    """A service's file, and the commands that make the system know it."""

    path: Path
    text: str
    commands: tuple[tuple[str, ...], ...]
    undo: tuple[tuple[str, ...], ...]
    note: str = ""


@click.command()
@click.option("--dry-run", is_flag=True, help="Print the file and the commands, and do nothing.")
@click.option("--remove", is_flag=True, help="Stop the service and remove its file.")
def install(dry_run: bool, remove: bool) -> None:
    """Have the system start the local hub at boot (systemd user unit; launchd on macOS), so that schedules go on."""
    state = find_state()
    service = launchd(state) if sys.platform == "darwin" else systemd(state)
    if dry_run:
        click.echo(f"# {service.path}\n{service.text}")
        for command in service.undo if remove else service.commands:
            click.echo(f"$ {' '.join(command)}")
        return
    if remove:
        _remove(service)
        return
    hubs.check_extra()
    state.make()
    service.path.parent.mkdir(parents=True, exist_ok=True)
    service.path.write_text(service.text, encoding="utf-8")
    say(f"wrote {service.path}")
    _give_way(state)
    for command in service.commands:
        _carry_out(command)
    if service.note:
        say(service.note)


def _remove(service: Service) -> None:
    for command in service.undo:
        _carry_out(command)
    if service.path.exists():
        service.path.unlink()
        say(f"removed {service.path}")
    else:
        say(f"nothing to remove: there is no {service.path}")


def _give_way(state: StateFolder) -> None:
    """A hub that a command started holds the state folder: an idle one ends, a busy one is told of."""
    found = hubs.running_hub(state)
    if found is None:
        return
    live = hubs.live_executions(found)
    if live:
        say(f"the running hub is busy ({', '.join(live[:3])}): the service takes over once it has ended")
        return
    hubs.stop_hub(found)
    say("the running hub has ended, the service takes its place")


def _carry_out(command: tuple[str, ...]) -> bool:
    """Run a command of the system's; where that cannot be, the person is told to."""
    line = " ".join(command)
    if shutil.which(command[0]) is None:
        say(f"{command[0]} is not here: run it where it is: {line}")
        return False
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        say(f"{line}: {(done.stderr or done.stdout).strip() or f'status {done.returncode}'}")
        return False
    say(f"ran {line}")
    return True


def _command(state: StateFolder) -> list[str]:
    return hubs.hub_command("serve", "--local", "--installed", "--state", state.path)


def systemd(state: StateFolder) -> Service:
    """The unit of a systemd user service."""
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.join(os.path.expanduser("~"), ".config")
    words = " ".join(_quoted(word) for word in _command(state))
    text = f"""[Unit]
Description=Greenroom hub
After=network-online.target

[Service]
ExecStart={words}
Environment={_quoted(f"GREENROOM_STATE={state.path}")}
Environment={_quoted(f"PATH={os.environ.get('PATH', os.defpath)}")}
WorkingDirectory=/
Restart=on-failure
RestartSec=5
KillMode=mixed
TimeoutStopSec=60

[Install]
WantedBy=default.target
"""
    user = ("systemctl", "--user")
    return Service(
        Path(home, "systemd", "user", _UNIT),
        text,
        ((*user, "daemon-reload"), (*user, "enable", "--now", _UNIT), ("loginctl", "enable-linger")),
        ((*user, "disable", "--now", _UNIT),),
        "linger lets it run while you are not logged in; greenroom hub install --remove undoes all but that",
    )


def _quoted(word: str) -> str:
    """A word of a unit file: `%` and `$` are its own signs there."""
    text = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{text}"'


def launchd(state: StateFolder) -> Service:
    """The property list of a launchd agent."""
    path = Path(os.path.expanduser("~"), "Library", "LaunchAgents", f"{_LABEL}.plist")
    told = {
        "Label": _LABEL,
        "ProgramArguments": _command(state),
        "EnvironmentVariables": {"GREENROOM_STATE": state.path, "PATH": os.environ.get("PATH", os.defpath)},
        "WorkingDirectory": "/",
        "RunAtLoad": True,
        "KeepAlive": {"SuccessfulExit": False},
        "StandardOutPath": state.log,
        "StandardErrorPath": state.log,
    }
    text = plistlib.dumps(told).decode()
    target = f"gui/{os.getuid()}"
    return Service(
        path,
        text,
        (("launchctl", "bootstrap", target, str(path)),),
        (("launchctl", "bootout", f"{target}/{_LABEL}"),),
    )
