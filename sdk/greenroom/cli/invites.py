"""`greenroom hub invite|invites|revoke`: who else may use a hub."""

from __future__ import annotations

import shlex
from typing import Any
from urllib.parse import quote

import click

from greenroom.cli.common import hub_option, json_option, linked, print_json, print_lines, say
from greenroom.cli.exits import Usage
from greenroom.cli.words import table
from greenroom.http import Endpoint
from greenroom.operations import delete, get, post


@click.command()
@click.argument("name")
@click.option("--role", type=click.Choice(["read", "submit", "replica"]), required=True, help="What it may do.")
@click.option("--environment", default="", help="For a replica: the environment that it serves.")
@click.option("--project", default="", help="For a replica: only that project's environment; any project's otherwise.")
@hub_option
@json_option
def invite(name: str, role: str, environment: str, project: str, hub: str | None, as_json: bool) -> None:
    """Invite NAME to a hub, and print the line to hand over. Its token is shown this once, and kept nowhere."""
    if role == "replica" and not environment:
        raise Usage("--role replica needs --environment: a replica's token is good for one environment alone")
    if role != "replica" and (environment or project):
        raise Usage(f"--environment and --project go with --role replica; {role} is for a person")
    body = {"name": name, "role": role, "environment": environment, "project": project}
    with linked(hub) as link:
        made: dict[str, Any] = link.drive(post("/api/invites", body))
    if as_json:
        print_json(made)
        return
    if Endpoint.parse(str(made["url"])).loopback:
        say(f"{made['url']} is reached from this machine only; others need greenroom hub serve --host and --url")
    print_lines(_hand_over(made))


def _hand_over(made: dict[str, Any]) -> list[str]:
    url, name, token = str(made["url"]), str(made["name"]), str(made["token"])
    if made["role"] != "replica":
        return [f"GREENROOM_TOKEN={token} greenroom login {shlex.quote(url)} --as hub"]
    environment = shlex.quote(str(made["environment"]))
    join = f"greenroom replica join --hub {shlex.quote(url)} --environment {environment} --token-file {name}.token"
    return [f"(umask 077; echo {token} > {name}.token)", join]


@click.command()
@hub_option
@json_option
def invites(hub: str | None, as_json: bool) -> None:
    """List who is invited."""
    with linked(hub) as link:
        rows: list[dict[str, Any]] = link.drive(get("/api/invites"))["invites"]
    if as_json:
        print_json(rows)
    elif rows:
        body = [[str(row["name"]), str(row["role"]), str(row.get("environment") or "-")] for row in rows]
        print_lines(table(["NAME", "ROLE", "ENVIRONMENT"], body))
    else:
        say("nobody is invited: only the owner's token is taken")


@click.command()
@click.argument("name")
@hub_option
def revoke(name: str, hub: str | None) -> None:
    """End the invitation of NAME: its token is refused from now on, its replica's connection is closed."""
    with linked(hub) as link:
        link.drive(delete(f"/api/invites/{quote(name, safe='')}"))
    say(f"{name} is not invited any more")
