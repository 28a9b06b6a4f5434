"""`greenroom replica join|logs`: a replica that a person starts, and what replicas' own processes wrote."""

from __future__ import annotations

import os
import sys
from urllib.parse import quote

import click

from greenroom.cli.common import hub_option, linked, say
from greenroom.cli.exits import HUB, Exit, Usage
from greenroom.http import Endpoint, Request
from greenroom.joining import Joining
from greenroom.machine import Machine
from greenroom.quantities import size


@click.group()
def replica() -> None:
    """Start a replica by hand, or read what one wrote."""


@replica.command()
@click.option("--hub", "url", envvar="GREENROOM_HUB", required=True, help="The hub's URL.")
@click.option("--environment", required=True, help="The environment that it serves.")
@click.option("--token-file", type=click.Path(exists=True, dir_okay=False), help="From greenroom hub invite.")
@click.option("--slots", type=click.IntRange(1), default=1, show_default=True, help="Regular tasks at a time.")
@click.option("--cpu", type=float, help="Cores that it offers; those of this machine unless told.")
@click.option("--mem", help="Memory that it offers, and may use: 16Gi.")
@click.option("--gpu", type=int, help="GPUs that it offers.")
@click.option("--scratch", type=click.Path(file_okay=False), help="Folder for its files; a temporary one unless told.")
def join(
    url: str,
    environment: str,
    token_file: str | None,
    slots: int,
    cpu: float | None,
    mem: str | None,
    gpu: int | None,
    scratch: str | None,
) -> None:
    """Serve calls of an environment of a hub, from this machine or container, until Ctrl-C.

    It leaves once the calls that it runs have ended; a second Ctrl-C does not wait for them.
    """
    try:
        endpoint = Endpoint.parse(url)
    except ValueError as fault:
        raise Usage(str(fault)) from fault
    if endpoint.scheme == "http" and not endpoint.loopback:
        say(f"{endpoint} speaks no TLS: the token, code and data travel in the clear")
    machine = Machine.here(cpu, None if mem is None else int(size(mem, "--mem")), gpu)
    joining = Joining(endpoint, environment, _token(token_file), machine, slots, scratch, say)
    code = joining.run()
    if code:
        raise Exit(HUB)


def _token(token_file: str | None) -> str:
    if token_file is not None:
        with open(token_file, encoding="utf-8") as file:
            return file.read().strip()
    token = os.environ.get("GREENROOM_TOKEN", "")
    if not token:
        raise Usage("no token: --token-file FILE or GREENROOM_TOKEN, from greenroom hub invite NAME --role replica")
    return token


@replica.command()
@click.argument("id")
@hub_option
def logs(id: str, hub: str | None) -> None:
    """Print the last lines that a replica's own processes wrote; what calls print is in greenroom logs."""
    with linked(hub) as link:
        answer = link.request(Request("GET", f"/api/replicas/{quote(id, safe='')}/logs"))
    if answer.status != 200:
        from greenroom.hub_errors import refused

        raise refused(answer.status, answer.body)
    sys.stdout.write(answer.body.decode("utf-8", "replace"))
