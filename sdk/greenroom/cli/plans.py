"""`register`, `launch-plans`: what a hub keeps by name, and what it runs by itself."""

from __future__ import annotations

import datetime
import time
from typing import TYPE_CHECKING, Any

import click

from greenroom.cli.common import hub_option, json_option, linked, print_json, print_lines, say
from greenroom.cli.exits import Usage
from greenroom.cli.words import about, table
from greenroom.hub_errors import Refused

if TYPE_CHECKING:
    from greenroom.client import Client
    from greenroom.link import Link
    from greenroom.registered import Registered


# Registering ----------------------------------------------------------------------------------------------------------


@click.command()
@click.argument("file")
@click.argument("names", metavar="[ENTITY]...", nargs=-1)
@click.option("--version", default=None, help="Of what is registered; the hash of the code unless given.")
@click.option("-p", "--project", default=None, help="Where; the project's own name unless given.")
@click.option("--env", multiple=True, metavar="K=V", help="An environment variable for its calls.")
@click.option("--activate", is_flag=True, help="Have its launch plans with schedules run by themselves from now on.")
@click.option("--no-alias", is_flag=True, help="Leave union and flytekit alone.")
@hub_option
@json_option
def register(
    file: str,
    names: tuple[str, ...],
    version: str | None,
    project: str | None,
    env: tuple[str, ...],
    activate: bool,
    no_alias: bool,
    hub: str | None,
    as_json: bool,
) -> None:
    """Keep the workflows, tasks and launch plans of FILE on the hub, by name and version."""
    from greenroom.client import Client

    client = Client(hub, say=say).options(project=project, env=_pairs(env))
    kept = []
    with client:
        for entity in _entities(file, names, alias=not no_alias):
            kept.append(client.register(entity, version))
            if activate or _wants(entity):
                _activated(client, kept[-1], quiet=as_json, needed=not activate)
    if as_json:
        print_json([one.shown for one in kept])
        return
    print_lines([f"{one.kind.words:12} {one.name}@{one.version}  {one.project}" for one in kept])


def _wants(entity: Any) -> bool:
    return bool(getattr(entity, "properties", {}).get("auto_activate"))


def _entities(file: str, names: tuple[str, ...], *, alias: bool) -> list[Any]:
    """What is to be registered: what was named, else all that the file defines."""
    from greenroom.cli.entities import choose, entities_in, find_file
    from greenroom.cli.entry import imported

    path = find_file(file)
    found = entities_in(imported(path, alias=alias))
    if names:
        return [choose(found, name, file).object for name in names]
    own = [entity.object for entity in found if entity.own]
    if not own:
        raise Usage(f"{file} defines no workflow, task or launch plan")
    return own


def _pairs(given: tuple[str, ...]) -> dict[str, str]:
    for text in given:
        if "=" not in text:
            raise Usage(f"--env {text}: write --env NAME=VALUE")
    return dict(text.split("=", 1) for text in given)


def _activated(client: Client, plan: Registered, *, quiet: bool, needed: bool = True) -> None:
    """Activate a plan that was just registered; one without a schedule is left alone unless it must be."""
    if plan.kind != "launch_plan" or (not needed and not plan.shown.get("schedule")):
        return
    told = client.activate(plan)
    if not quiet:
        _tell_active(client.link, told)


# Launch plans ---------------------------------------------------------------------------------------------------------


@click.group("launch-plans", invoke_without_command=True)
@hub_option
@json_option
@click.pass_context
def launch_plans(ctx: click.Context, hub: str | None, as_json: bool) -> None:
    """List launch plans; start and stop their schedules."""
    ctx.obj = hub
    if ctx.invoked_subcommand is not None:
        return
    from greenroom.catalog import plans

    with linked(hub) as link:
        rows = link.drive(plans())
    if as_json:
        print_json(rows)
    elif rows:
        print_lines(plans_table(rows, time.time()))
    else:
        say("no launch plans: greenroom register FILE keeps those of a file")


@launch_plans.command()
@click.argument("file_or_name", metavar="[FILE] NAME", nargs=-1, required=True)
@click.option("--version", default=None, help="The newest, or with FILE the hash of the code, unless given.")
@click.option("-p", "--project", default=None)
@click.option("--env", multiple=True, metavar="K=V", help="An environment variable for its calls.")
@hub_option
@json_option
@click.pass_obj
def activate(
    outer: str | None,
    file_or_name: tuple[str, ...],
    version: str | None,
    project: str | None,
    env: tuple[str, ...],
    hub: str | None,
    as_json: bool,
) -> None:
    """Have launch plan NAME run by its schedule from now on; with FILE it is registered first."""
    from greenroom.client import Client

    with Client(hub or outer, say=say).options(project=project, env=_pairs(env)) as client:
        if len(file_or_name) > 2:
            raise Usage("activate takes [FILE] NAME")
        if len(file_or_name) == 2:
            (entity,) = _entities(file_or_name[0], file_or_name[1:], alias=True)
            entity.properties.pop("auto_activate", None)
            told = client.activate(client.register(entity, version))
        else:
            told = client.activate(file_or_name[0], version or "")
        if as_json:
            print_json(told)
        else:
            _tell_active(client.link, told)


@launch_plans.command()
@click.argument("name")
@click.option("-p", "--project", default=None)
@hub_option
@click.pass_obj
def deactivate(outer: str | None, name: str, project: str | None, hub: str | None) -> None:
    """Have launch plan NAME run no more by itself; executions that run go on."""
    from greenroom.client import Client

    with Client(hub or outer, say=say).options(project=project) as client:
        told = client.deactivate(name)
    running = told.get("running") or []
    say(f"{name} runs no more by itself" + (f"; {', '.join(running)} go on" if running else ""))


@launch_plans.command()
@click.argument("name")
@click.option("-p", "--project", default="")
@hub_option
@json_option
@click.pass_obj
def show(outer: str | None, name: str, project: str, hub: str | None, as_json: bool) -> None:
    """Show launch plan NAME: its schedule, its next times, what it did for the last ones."""
    from urllib.parse import quote

    from greenroom.operations import get

    with linked(hub or outer) as link:
        asked = f"?project={quote(project)}" if project else ""
        told = link.drive(get(f"/api/launch-plans/{quote(name, safe='')}{asked}"))
    if as_json:
        print_json(told)
    else:
        print_lines(plan_lines(told))


@launch_plans.command()
@click.argument("name")
@click.argument("words", metavar="[--INPUT VALUE]...", nargs=-1, type=click.UNPROCESSED)
@click.option("--version", default="", help="The newest unless given.")
@click.option("-p", "--project", default="")
@hub_option
@click.pass_obj
def run(outer: str | None, name: str, words: tuple[str, ...], version: str, project: str, hub: str | None) -> None:
    """Run launch plan NAME (or a registered workflow or task) now; inputs stand behind `--`."""
    from greenroom.cli.inputs import read_inputs
    from greenroom.client import Client

    with Client(hub or outer, say=say).options(project=project or None) as client:
        entity = _fetched(client, name, version)
        given = read_inputs(entity.name, entity.interface, list(words))
        execution = client.run(entity, **given)
        click.echo(execution.id)
        say(f"greenroom watch {execution.id}")


def _fetched(client: Client, name: str, version: str) -> Registered:
    try:
        return client.fetch(name, version, kind="launch_plan")
    except Refused as fault:
        if fault.code != "unknown_entity":
            raise
        return client.fetch(name, version)


# What is said ---------------------------------------------------------------------------------------------------------


def _tell_active(link: Link, told: dict[str, Any]) -> None:
    """What an activation comes to: the next times, and whether they outlast a reboot."""
    from greenroom.operations import get

    following = ", ".join(moment(when) for when in told["next"]) or "never"
    say(f"{told['name']}@{told['active']} runs by itself ({told['schedule']}); next: {following}")
    about_hub = link.drive(get("/api/hub"))
    if about_hub.get("local") and not about_hub.get("installed"):
        say("not across reboots: greenroom hub install")


def moment(seconds: float) -> str:
    """A moment in this person's own time zone."""
    return datetime.datetime.fromtimestamp(seconds).astimezone().strftime("%a %Y-%m-%d %H:%M:%S %Z")


def plans_table(rows: list[dict[str, Any]], now: float) -> list[str]:
    """Launch plans, those that run by themselves first."""
    lines = [_plan_row(row, now) for row in sorted(rows, key=lambda row: (not row["active"], row["name"]))]
    return table(["LAUNCH PLAN", "VERSION", "SCHEDULE", "NEXT", "LAST", "RUNNING"], lines)


def _plan_row(row: dict[str, Any], now: float) -> list[str]:
    following = f"in {about(row['next'][0] - now)}" if row["next"] else "-"
    fired = row["fired"][0] if row["fired"] else None
    last = "-"
    if fired is not None:
        last = fired["execution"] or f"not started: {fired.get('problem', '')}"
    schedule = row["schedule"] or "-"
    if row["schedule"] and not row["active"]:
        schedule, following = f"{schedule} (not active)", "-"
    return [row["name"], row["active"] or row["newest"], schedule, following, last, str(len(row["running"]) or "-")]


def plan_lines(told: dict[str, Any]) -> list[str]:
    """One launch plan."""
    state = f"active since {moment(told['since'])}" if told["active"] else "not active"
    lines = [
        f"{told['name']}@{told['active'] or told['newest']}  {told['project']}",
        f"schedule   {told['schedule'] or 'none'}, {state}",
    ]
    if told["catch_up"]:
        lines.append(
            f"catch up   {told['catch_up']}"
            + (f", at most {told['concurrency']} at a time" if told["concurrency"] else "")
        )
    lines += [f"next       {moment(when)}" for when in told["next"]]
    lines += [f"running    {execution}" for execution in told["running"]]
    for fired in told["fired"][:10]:
        became = fired["execution"] or f"not started: {fired['problem']}"
        lines.append(f"ran        {moment(fired['scheduled_at'])}  {became}")
    if told["skipped"]:
        many = "1,000 or more" if told["skipped"] >= 1000 else str(told["skipped"])
        lines.append(f"skipped    {many}: {told['skipped_why']}")
    return lines
