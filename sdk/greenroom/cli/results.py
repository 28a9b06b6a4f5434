"""`outputs` and `bundle`: what came out of an execution, and what went in."""

from __future__ import annotations

import click

from greenroom.cli.common import hub_option, linked, resolve, say
from greenroom.cli.exits import FAILED, HUB, Exit
from greenroom.operations import result as result_operation


@click.command()
@click.argument("execution", metavar="ID")
@click.option("--to", "folder", type=click.Path(file_okay=False), help="Copy the files that it returned there.")
@click.option("--output", "-o", "form", type=click.Choice(["json", "text"]), default="json", show_default=True)
@hub_option
def outputs(execution: str, folder: str | None, form: str, hub: str | None) -> None:
    """Print the result of execution ID; with --to, copy the files that it returned."""
    from greenroom.cli.delivery import deliver
    from greenroom.cli.output import ResultFd

    stdout = ResultFd()
    with linked(hub) as link:
        id = resolve(link, execution)["id"]
        ended = link.drive(result_operation(id))
        if not ended.ended:
            say(f"{id} has not ended: greenroom watch {id}")
            raise Exit(HUB)
        if ended.state != "succeeded":
            say(f"{id} has no result, it {ended.state}: greenroom watch {id}")
            raise Exit(FAILED)
        deliver(link, id, stdout, form=form, save=folder, ended=ended)


@click.command()
@click.argument("file", type=click.Path(exists=True))
def bundle(file: str) -> None:
    """List the files that travel with the program in FILE, and what does not."""
    from greenroom.bundling import describe, make_bundle

    click.echo(describe(make_bundle(file)))
