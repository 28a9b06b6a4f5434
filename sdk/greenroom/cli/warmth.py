"""`why` and `prewarm`: why a call ran where it ran, and what shall be warm before the next one."""

from __future__ import annotations

import click

from greenroom.cli.common import (
    address_argument,
    hub_option,
    json_option,
    linked,
    print_json,
    print_lines,
    resolve,
    say,
)
from greenroom.operations import get, path_to, post
from greenroom_protocol.ids import Address


@click.command()
@address_argument
@hub_option
@json_option
def why(address: Address, hub: str | None, as_json: bool) -> None:
    """Say why a call ran where it ran, waited as long as it waited, and found its cache cold.

    Without ITEM it is the node's first call; without NODE, the first call of each node.
    """
    with linked(hub) as link:
        shown = resolve(link, address.execution)
        nodes = [address.node] if address.node else [node["id"] for node in shown["nodes"] if node.get("total")]
        told = [
            link.drive(get(path_to(shown["id"], "nodes", node, "items", str(address.item or 0), "why")))
            for node in nodes
        ]
    if as_json:
        print_json(told)
        return
    if not told:
        say(f"{shown['id']} has made no call yet")
    for one in told:
        head = "" if address.node else f"{one['node']}/{one['item']}  "
        print_lines([f"{head if place == 0 else ' ' * len(head)}{line}" for place, line in enumerate(one["lines"])])


@click.command()
@click.argument("environment")
@click.argument("loader", default="")
@hub_option
@json_option
def prewarm(environment: str, loader: str, hub: str | None, as_json: bool) -> None:
    """Have every replica of ENVIRONMENT load, before anybody asks, what it lacks.

    That is what the environment's `prewarm=` says, and what other replicas of it hold; with LOADER only that
    loader's entries.
    """
    with linked(hub) as link:
        told = link.drive(post("/api/prewarm", {"environment": environment, "loader": loader}))
    if as_json:
        print_json(told)
    else:
        print_lines(told["replicas"])
