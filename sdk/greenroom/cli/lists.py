"""`executions`, `cancel`, `replicas`, `cache`: what is there, as tables."""

from __future__ import annotations

import time

import click

from greenroom.cli.common import hub_option, json_option, linked, linked_if_running, print_json, print_lines, say
from greenroom.cli.tables import cache_table, executions_table, replicas_table
from greenroom.operations import cancel as cancel_operation
from greenroom.operations import get


@click.command()
@click.option("--limit", "-n", default=20, show_default=True, help="At most so many.")
@click.option("--state", default="", help="Only those in this state: running, succeeded, failed, aborted, timed_out.")
@click.option("--before", default="", help="Only those older than this execution.")
@hub_option
@json_option
def executions(limit: int, state: str, before: str, hub: str | None, as_json: bool) -> None:
    """List executions, newest first."""
    from greenroom.client import listing

    with linked(hub) as link:
        rows = link.drive(get(listing(limit, state, before)))["executions"]
    if as_json:
        print_json(rows)
    elif rows:
        print_lines(executions_table(rows, time.time()))
    else:
        say("no executions" + (f" in state {state}" if state else ""))


@click.command()
@click.argument("execution", metavar="ID")
@click.option("--reason", default="", help="Kept with the execution.")
@hub_option
def cancel(execution: str, reason: str, hub: str | None) -> None:
    """End execution ID; calls that run are told, and get a moment to notice."""
    with linked(hub) as link:
        answer = link.drive(cancel_operation(execution, reason or "cancelled on the command line"))
    say(f"{(answer or {}).get('id') or execution} is being cancelled")


@click.command()
@hub_option
@json_option
def replicas(hub: str | None, as_json: bool) -> None:
    """List environments and their warm replicas."""
    with linked_if_running(hub) as link:
        rows = link.drive(get("/api/replicas"))["environments"] if link is not None else []
    if as_json:
        print_json(rows)
    elif rows:
        print_lines(replicas_table(rows))
    else:
        say("no replicas" if link is not None else "no replicas: the local hub does not run")


@click.command()
@hub_option
@json_option
def cache(hub: str | None, as_json: bool) -> None:
    """List entries of the actor cache: objects that replicas keep between calls."""
    with linked_if_running(hub) as link:
        rows = link.drive(get("/api/cache"))["entries"] if link is not None else []
    if as_json:
        print_json(rows)
    elif rows:
        print_lines(cache_table(rows, time.time()))
    else:
        say("no entries" if link is not None else "no entries: the local hub does not run")
