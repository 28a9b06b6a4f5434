"""`gates`, `approve`, `reject`, `set-input`: answering what executions wait for."""

from __future__ import annotations

import time
from typing import Any

import click

from greenroom import gate_answers
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
from greenroom.cli.exits import Usage
from greenroom.cli.words import about, table
from greenroom.errors import BadText
from greenroom.link import Link
from greenroom.operations import get
from greenroom.submitting import person
from greenroom_protocol.ids import Address


@click.command()
@click.argument("execution", metavar="[ID]", required=False)
@hub_option
@json_option
def gates(execution: str | None, hub: str | None, as_json: bool) -> None:
    """List gates that wait for somebody: to approve, or to give an input."""
    from urllib.parse import quote

    with linked(hub) as link:
        rows = link.drive(get(f"/api/gates?execution={quote(execution)}" if execution else "/api/gates"))["gates"]
    if as_json:
        print_json(rows)
    elif rows:
        print_lines(table(["GATE", "SINCE", "WAITS FOR", "SHOWS"], [_row(row) for row in rows]))
    else:
        say("no gate waits")


def _row(row: dict[str, Any]) -> list[str]:
    asks = "approval" if row["gate"] == "approve" else f"input: {row.get('expects')}"
    since = about(time.time() - row["since"]) if row["since"] else "-"
    return [f"{row['execution']}/{row['node']}", since, asks, str(row["shows"] if row["shows"] is not None else "-")]


@click.command()
@address_argument
@hub_option
def approve(address: Address, hub: str | None) -> None:
    """Agree to what gate ID/NODE shows: the execution goes on."""
    _decide(address, hub, True)


@click.command()
@address_argument
@hub_option
def reject(address: Address, hub: str | None) -> None:
    """Refuse what gate ID/NODE shows: the execution fails."""
    _decide(address, hub, False)


def _decide(address: Address, hub: str | None, approved: bool) -> None:
    with linked(hub) as link:
        execution, gate = _gate(link, address)
        link.drive(gate_answers.decide(execution, gate, approved, person()))
    say(f"{execution}/{gate} is {'approved' if approved else 'rejected'}")


@click.command("set-input")
@address_argument
@click.argument("value")
@hub_option
def set_input(address: Address, value: str, hub: str | None) -> None:
    """Give gate ID/NODE the VALUE that it waits for, written as inputs of `run` are."""
    from greenroom.client import blobs_of
    from greenroom.hubs import find

    found = find(hub, say)
    link = Link(found)
    try:
        execution, gate = _gate(link, address)
        link.drive(gate_answers.answer_text(execution, gate, value, person(), blobs_of(found, link)))
    except BadText as fault:
        raise Usage(str(fault)) from fault
    finally:
        link.close()
    say(f"{execution}/{gate} goes on")


def _gate(link: Link, address: Address) -> tuple[str, str]:
    """The gate that is meant; the only one that waits where none is named."""
    execution = str(resolve(link, address.execution)["id"])
    if address.node is not None:
        return execution, address.node
    waiting = [row["node"] for row in link.drive(get(f"/api/gates?execution={execution}"))["gates"]]
    if len(waiting) != 1:
        raise Usage(f"{execution} has {len(waiting)} gates that wait: {', '.join(waiting) or 'none'}; say ID/NODE")
    return execution, waiting[0]
