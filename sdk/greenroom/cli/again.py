"""`rerun` and `recover`: an execution once more, whole or only what failed of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from greenroom.cli.common import hub_option, linked, resolve, say
from greenroom.cli.exits import Exit
from greenroom.link import Link
from greenroom.operations import Submitted, repeat
from greenroom.submitting import Options, repeating

F = TypeVar("F", bound=Callable[..., Any])


def _as_run(function: F) -> F:
    """The options of `run` that an execution which is repeated can have."""
    for option in reversed(
        (
            click.option("--name", help="The new execution's id."),
            click.option(
                "--overwrite-cache", is_flag=True, help="Run what has a cached result, and keep the new ones."
            ),
            click.option("--detach", is_flag=True, help="Print the new execution's id, and leave it to the hub."),
            click.option("--save", type=click.Path(file_okay=False), help="Copy the files that it returns there."),
            click.option("--logs", type=click.Choice(["all", "errors", "none"]), default="all", show_default=True),
            click.option(
                "--output", "-o", "form", type=click.Choice(["json", "text"]), default="json", show_default=True
            ),
            hub_option,
        )
    ):
        function = option(function)
    return function


@click.command()
@click.argument("execution", metavar="ID")
@click.option("--failed", is_flag=True, help="Only what failed: items of maps, nodes, and what depends on them.")
@_as_run
def rerun(execution: str, failed: bool, hub: str | None, **options: Any) -> None:
    """Run execution ID once more, with its code, its inputs and its environment variables of then."""
    _repeat(hub, execution, "unfailed" if failed else "nothing", **options)


@click.command()
@click.argument("execution", metavar="ID")
@_as_run
def recover(execution: str, hub: str | None, **options: Any) -> None:
    """Go on from where execution ID failed: nodes that succeeded are taken over as they are.

    A map that succeeded stays as it is, with its failed items, if it may have some; `rerun --failed` runs those too.
    """
    _repeat(hub, execution, "succeeded", **options)


def _repeat(
    hub: str | None,
    execution: str,
    reuse: str,
    *,
    name: str | None,
    overwrite_cache: bool,
    detach: bool,
    save: str | None,
    logs: str,
    form: str,
) -> None:
    from greenroom.cli.output import ResultFd
    from greenroom.cli.report import call_text
    from greenroom.cli.signals import Signals

    stdout = ResultFd()
    wish = repeating(Options(name=name, cached_results="refresh" if overwrite_cache else "use"), reuse)
    with linked(hub) as link:
        earlier = resolve(link, execution)
        with Signals() as signals:  # From here on Ctrl-C means the new execution, also while it is on its way.
            submitted = link.drive(repeat(earlier["id"], wish))
            for note in submitted.notes:
                say(f"     {note}")
            if detach:
                say(submitted.url)
                stdout.write([f"{submitted.id}\n"])
                return
            call = call_text(earlier.get("entity") or "", earlier.get("inputs") or {})
            code = _watch(link, submitted, call, logs, signals)
        if code == 0:
            from greenroom.cli.delivery import deliver

            deliver(link, submitted.id, stdout, form=form, save=save)
    raise Exit(code)


def _watch(link: Link, submitted: Submitted, call: str, logs: str, signals: Any) -> int:
    from greenroom.cli.screen import screen_for
    from greenroom.cli.watching import Watch

    watching = Watch(link, submitted.id, screen_for(), url=submitted.url, call=call, logs=logs)
    if submitted.replicas is not None:
        watching.progress.fold({"kind": "status", "replicas": submitted.replicas})
    return watching.run(signals)
