"""`deck`: what a call shows beside its outputs."""

from __future__ import annotations

from pathlib import Path

import click

from greenroom.cli.common import address_argument, hub_option, linked, resolve, say
from greenroom.http import Request
from greenroom.link import Operation
from greenroom.operations import checked, path_to
from greenroom_protocol.ids import Address


@click.command()
@address_argument
@click.option("--save", type=click.Path(path_type=Path, dir_okay=False), help="Write it to this file.")
@hub_option
def deck(address: Address, save: Path | None, hub: str | None) -> None:
    """Print the report of call ID/NODE[/ITEM] (its decks) as HTML; a browser shows what --save writes."""
    with linked(hub) as link:
        execution = resolve(link, address.execution)
        node = address.node or next((node["id"] for node in execution["nodes"] if node["what"] == "task"), "")
        page = link.drive(_read(path_to(execution["id"], "nodes", node, "items", str(address.item or 0), "deck")))
    if save is None:
        click.echo(page.decode("utf-8", "replace"))
        return
    save.write_bytes(page)
    say(f"wrote {save}, {len(page):,} bytes")


def _read(path: str) -> Operation[bytes]:
    answer = yield Request("GET", path)
    checked(answer)
    return answer.body
