"""`results`: cached results of tasks, as a table, and their end."""

from __future__ import annotations

import time
from typing import Any

import click

from greenroom.cli.common import hub_option, json_option, linked, print_json, print_lines, read_address, say
from greenroom.cli.exits import Usage
from greenroom.cli.tables import results_table
from greenroom.cli.words import many
from greenroom.operations import get, post
from greenroom_protocol.ids import Address


def _address(ctx: click.Context, param: click.Parameter, value: str | None) -> Address | None:
    return read_address(ctx, param, value) if value is not None else None


@click.command()
@click.argument("address", metavar="[ID[/NODE[/ITEM]]]", required=False, callback=_address)
@click.option("--task", help="Only those of this task: module.name, or its name.")
@click.option("--drop", is_flag=True, help="Drop them: what would have been taken from there is run again.")
@click.option("--all", "everything", is_flag=True, help="With --drop: all that there are.")
@click.option("--limit", "-n", default=100, show_default=True, help="At most so many lines.")
@hub_option
@json_option
def results(
    address: Address | None,
    task: str | None,
    drop: bool,
    everything: bool,
    limit: int,
    hub: str | None,
    as_json: bool,
) -> None:
    """List cached results (`cache=True`) by the nodes that made them; with --drop, drop those that are named."""
    if drop:
        _drop(_wanted(address, task, everything), hub)
        return
    with linked(hub) as link:
        rows = link.drive(get(f"/api/results?limit={limit}"))["results"]
    rows = [row for row in rows if _fits(row, address, task)]
    if as_json:
        print_json(rows)
    elif rows:
        print_lines(results_table(rows, time.time()))
    else:
        say("no cached results")


def _fits(row: dict[str, Any], address: Address | None, task: str | None) -> bool:
    name = str(row.get("task") or "")
    if task is not None and task not in (name, name.rpartition(".")[2]):
        return False
    if address is None:
        return True
    return str(row["execution"]).startswith(address.execution) and address.node in (None, row["node"])


def _wanted(address: Address | None, task: str | None, everything: bool) -> dict[str, Any]:
    if sum((address is not None, task is not None, everything)) != 1:
        raise Usage("--drop wants to know what: ID, ID/NODE, ID/NODE/ITEM, --task NAME, or --all; one of them")
    if address is not None:
        return {"execution": address.execution, "node": address.node, "item": address.item}
    return {"task": task} if task is not None else {"all": True}


def _drop(wanted: dict[str, Any], hub: str | None) -> None:
    with linked(hub) as link:
        dropped = link.drive(post("/api/results/drop", wanted))["dropped"]
    say(f"{many(dropped, 'cached result')} dropped")
