"""`login` and `use`: hubs by name."""

from __future__ import annotations

import os
import sys

import click

from greenroom.cli.common import say
from greenroom.cli.exits import Usage
from greenroom.http import Endpoint
from greenroom.hubs import Hub
from greenroom.link import Link
from greenroom.operations import get
from greenroom.profiles import EPHEMERAL, LOCAL, Profile, load_profiles, save_profiles


@click.command()
@click.argument("url")
@click.option("--as", "name", required=True, help="The name to call it by.")
@click.option("--token-file", type=click.Path(exists=True, dir_okay=False), help="A file that holds the token.")
def login(url: str, name: str, token_file: str | None) -> None:
    """Remember the hub at URL by a name. The token comes from --token-file, GREENROOM_TOKEN, or is asked for."""
    if name in (LOCAL, EPHEMERAL) or "/" in name:
        raise Usage(f"a hub cannot be called {name!r}: that already means something else")
    try:
        endpoint = Endpoint.parse(url)
    except ValueError as fault:
        raise Usage(str(fault)) from fault
    token = _token(token_file)
    link = Link(Hub(name, endpoint, str(endpoint), token), patience=0.0)
    try:
        about = link.drive(get("/api/hub"))
    finally:
        link.close()
    save_profiles(load_profiles().with_hub(Profile(name, str(endpoint), token)))
    say(f"{name} is {endpoint} (version {about.get('version', 'unknown')}); greenroom use {name} makes it the default")


def _token(token_file: str | None) -> str:
    if token_file is not None:
        with open(token_file, encoding="utf-8") as file:
            return file.read().strip()
    if os.environ.get("GREENROOM_TOKEN"):
        return os.environ["GREENROOM_TOKEN"]
    if not sys.stdin.isatty():
        return sys.stdin.readline().strip()
    return str(click.prompt("token", hide_input=True, err=True)).strip()


@click.command()
@click.argument("name", required=False)
def use(name: str | None) -> None:
    """Make hub NAME the one that commands talk to; without NAME, list the hubs that are known."""
    profiles = load_profiles()
    if name is not None:
        save_profiles(profiles.using(name))
        say(f"commands talk to {name} from now on; --hub and GREENROOM_HUB go before")
        return
    for known, place in [(LOCAL, "this machine"), *((hub.name, hub.url) for hub in profiles.hubs.values())]:
        click.echo(f"{'*' if known == profiles.current else ' '} {known}  {place}")
