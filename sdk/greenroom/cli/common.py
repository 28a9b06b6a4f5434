"""What several commands need: the way to the hub, lines on stderr, JSON on stdout."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import click

from greenroom.hubs import find, running_hub
from greenroom.link import Link
from greenroom.operations import get
from greenroom.state import find_state
from greenroom_protocol.ids import Address

F = TypeVar("F", bound=Callable[..., Any])


def say(line: str) -> None:
    """A line for the person, beside the result."""
    click.echo(line, err=True)


def hub_option(function: F) -> F:
    """`--hub`, as every command that talks to one has it."""
    return click.option("--hub", default=None, help="local, ephemeral, a profile's name, or a URL.")(function)


def json_option(function: F) -> F:
    """`--json`, for programs that read the output."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(function)


@contextmanager
def linked(hub: str | None) -> Iterator[Link]:
    """A way to the hub that is meant, closed at the end."""
    link = Link(find(hub, say))
    try:
        yield link
    finally:
        link.close()


@contextmanager
def linked_if_running(hub: str | None) -> Iterator[Link | None]:
    """The same, but the local hub is not started for it: None where there is nothing to look at."""
    from greenroom.hubs import choose
    from greenroom.profiles import EPHEMERAL, LOCAL

    if choose(hub) not in (LOCAL, EPHEMERAL):
        with linked(hub) as far:
            yield far
        return
    found = running_hub(find_state())
    link = Link(found) if found is not None else None
    try:
        yield link
    finally:
        if link is not None:
            link.close()


def read_address(ctx: click.Context, param: click.Parameter, value: str) -> Address:
    """`ID`, `ID/NODE` or `ID/NODE/ITEM` from the command line."""
    try:
        return Address.parse(value)
    except ValueError as fault:
        raise click.BadParameter(str(fault), ctx, param) from fault


def address_argument(function: F) -> F:
    """The argument that says which execution, node or call is meant."""
    return click.argument("address", metavar="ID[/NODE[/ITEM]]", callback=read_address)(function)


def resolve(link: Link, id: str) -> dict[str, Any]:
    """The execution that an id, a unique beginning of one, or `last` means."""
    from greenroom.operations import path_to

    shown: dict[str, Any] = link.drive(get(path_to(id)))
    return shown


def print_json(data: Any) -> None:
    """JSON data, indented, on stdout."""
    click.echo(json.dumps(data, indent=2, ensure_ascii=False))


def print_lines(lines: list[str]) -> None:
    """Lines on stdout, in one write."""
    sys.stdout.write("".join(f"{line}\n" for line in lines))
