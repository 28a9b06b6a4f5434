"""`greenroom hub start|stop|status|serve`: the local hub's life."""

from __future__ import annotations

import os
import time

import click

from greenroom import hubs
from greenroom.cli.common import json_option, print_json, say
from greenroom.cli.exits import HUB, Exit
from greenroom.cli.install import install
from greenroom.cli.invites import invite, invites, revoke
from greenroom.cli.words import about, bytes_text
from greenroom.link import Link
from greenroom.operations import get
from greenroom.state import StateFolder, find_state


@click.group()
def hub() -> None:
    """Start, stop and look at the local hub."""


for command in (install, invite, invites, revoke):
    hub.add_command(command)


@hub.command()
def start() -> None:
    """Start the local hub in the background, unless it runs."""
    found = hubs.ensure_local_hub(find_state(), say)
    click.echo(found.url)


@hub.command()
@click.option("--purge", is_flag=True, help="Remove its state too: executions, results, files, token.")
def stop(purge: bool) -> None:
    """End the local hub and its replicas. Executions that run go on when it is started again."""
    state = find_state()
    done = hubs.stop_local_hub(state, remove=purge)
    say(f"{done}; {state.path} is removed" if purge else done)


@hub.command()
@json_option
def status(as_json: bool) -> None:
    """Say whether the local hub runs, where, and what it does. Exit code 3 if it does not run."""
    state = find_state()
    found = hubs.running_hub(state)
    if found is None:
        say(f"no local hub runs (state: {state.path})")
        raise Exit(HUB)
    link = Link(found)
    try:
        told = link.drive(get("/api/hub"))
    finally:
        link.close()
    if as_json:
        print_json(told)
        return
    live = (told.get("executions") or {}).get("live") or 0
    since = told.get("started")
    click.echo(f"local hub    {told['url']}")
    click.echo(
        f"process      {told['pid']}, version {told['version']}{f', for {about(time.time() - since)}' if since else ''}"
    )
    click.echo(f"executions   {live} live")
    click.echo(f"replicas     {told.get('replicas') or 0}")
    click.echo(f"state        {state.path}, {bytes_text(disk_use(state))}")
    click.echo(f"log          {state.log}")


def disk_use(state: StateFolder) -> int:
    """Bytes that a state folder takes on the disk."""
    total = 0
    for folder, _, files in os.walk(state.path):
        for name in files:
            try:
                total += os.lstat(os.path.join(folder, name)).st_blocks * 512
            except OSError:
                continue  # Gone meanwhile.
    return total


@hub.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def serve(arguments: tuple[str, ...]) -> None:
    """Run a hub in the foreground, as a service does; `greenroom hub serve --help` lists its options."""
    hubs.check_extra()
    given = list(arguments)
    if not any(word in ("--help", "-h") or word.split("=")[0] == "--state" for word in given):
        state = find_state()
        for note in state.notes:
            say(note)
        state.make()
        given += ["--state", state.path]
    command = hubs.hub_command("serve", *given)
    os.execv(command[0], command)
