"""`watch`, `events`, `logs`: an execution's history, as it happens or afterwards."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

import click

from greenroom.cli.common import address_argument, hub_option, linked, resolve
from greenroom.cli.exits import Exit
from greenroom.cli.tables import event_line
from greenroom.following import Follower
from greenroom.http import Request
from greenroom.link import Link
from greenroom.operations import LIVE, get, path_to
from greenroom_protocol.ids import Address


@click.command()
@click.argument("execution", metavar="ID")
@click.option("--logs", type=click.Choice(["all", "errors", "none"]), default="all", show_default=True)
@click.option("--output", "-o", "form", type=click.Choice(["json", "text"]), default="json", show_default=True)
@hub_option
def watch(execution: str, logs: str, form: str, hub: str | None) -> None:
    """Show execution ID as `run` does, print its result, and end with its exit code."""
    from greenroom.cli.delivery import deliver
    from greenroom.cli.output import ResultFd
    from greenroom.cli.report import call_text
    from greenroom.cli.screen import screen_for
    from greenroom.cli.signals import Signals
    from greenroom.cli.watching import Watch

    stdout = ResultFd()
    with linked(hub) as link:
        shown = resolve(link, execution)
        call = call_text(shown.get("entity") or "", shown.get("inputs") or {})
        watching = Watch(link, shown["id"], screen_for(), url=shown.get("url") or "", call=call, logs=logs)
        with Signals() as signals:
            code = watching.run(signals)
        if code == 0:
            deliver(link, shown["id"], stdout, form=form)
    raise Exit(code)


@click.command()
@click.argument("execution", metavar="ID")
@click.option("--follow", "-f", is_flag=True, help="Keep printing until the execution ends.")
@click.option("--after", default=0, help="Only what came after this number.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@hub_option
def events(execution: str, follow: bool, after: int, as_json: bool, hub: str | None) -> None:
    """Print what happened to execution ID, oldest first."""
    with linked(hub) as link:
        shown = resolve(link, execution)
        follow = follow and shown.get("state") in LIVE
        told = _followed(link, shown["id"], after) if follow else _pages(link, shown["id"], after)
        for event in told:
            click.echo(json.dumps(event, ensure_ascii=False) if as_json else event_line(event))


def _followed(link: Link, id: str, after: int) -> Iterator[Mapping[str, Any]]:
    follower = Follower(link, id, after=after)
    try:
        for event in follower:
            if event.get("seq") is not None:
                yield event
    finally:
        follower.close()


def _pages(link: Link, id: str, after: int) -> Iterator[Mapping[str, Any]]:
    while page := link.drive(get(f"{path_to(id, 'events')}?after={after}"))["events"]:
        yield from page
        after = page[-1]["seq"]


@click.command()
@address_argument
@click.option("--follow", "-f", is_flag=True, help="Keep printing until the execution ends.")
@click.option("--attempt", type=int, help="Only what this attempt printed.")
@hub_option
def logs(address: Address, follow: bool, attempt: int | None, hub: str | None) -> None:
    """Print what calls printed: as it is for one call, with its place before each line for several."""
    with linked(hub) as link:
        shown = resolve(link, address.execution)
        one = _is_one_call(shown, address)
        asked: dict[str, Any] = {"follow": int(follow), "raw": int(one)}
        if address.node is not None:
            asked["node"] = address.node
        if address.item is not None:
            asked["item"] = address.item
        if attempt is not None:
            asked["attempt"] = attempt
        pieces = link.stream(Request("GET", f"{path_to(shown['id'], 'logs')}?{urlencode(asked)}"))
        if one:
            for piece in pieces:
                sys.stdout.buffer.write(piece)
                sys.stdout.buffer.flush()
        else:
            for line in prefixed(_records(pieces), _maps(shown)):
                click.echo(line)


def _is_one_call(shown: Mapping[str, Any], address: Address) -> bool:
    if address.item is not None:
        return True
    nodes = [node for node in shown.get("nodes") or () if address.node in (None, node["id"])]
    return len([node for node in nodes if node.get("total")]) == 1 and sum(n.get("total") or 0 for n in nodes) == 1


def _maps(shown: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(node["id"] for node in shown.get("nodes") or () if node.get("what") == "map")


def _records(pieces: Iterator[bytes]) -> Iterator[Mapping[str, Any]]:
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            if line:
                yield json.loads(line)


def prefixed(records: Iterator[Mapping[str, Any]], maps: frozenset[str]) -> Iterator[str]:
    """Whole lines, each with the call that printed it."""
    partial: dict[tuple[str, int, int, Any], str] = {}
    for record in records:
        key = (record["node"], record["item"], record["attempt"], record.get("stream"))
        *lines, rest = (partial.pop(key, "") + record["text"]).split("\n")
        for line in lines:
            yield f"{_place(key, maps)} | {line}"
        if rest:
            partial[key] = rest
    for key, line in partial.items():
        yield f"{_place(key, maps)} | {line}"


def _place(key: tuple[str, int, int, Any], maps: frozenset[str]) -> str:
    node, item, attempt, _ = key
    place = f"{node}/{item}" if node in maps else node
    return f"{place} (attempt {attempt})" if attempt > 1 else place
