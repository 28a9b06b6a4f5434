"""The command line beside `run`: one click group, whose commands are imported when they are used."""

from __future__ import annotations

import importlib
from typing import Any, Final

import click

_COMMANDS: Final = {
    "run": ("greenroom.cli.child:run", "Run a workflow or task, and print its result."),
    "watch": ("greenroom.cli.follow:watch", "Show an execution as `run` does, and end with its exit code."),
    "executions": ("greenroom.cli.lists:executions", "List executions, newest first."),
    "events": ("greenroom.cli.follow:events", "Print what happened to an execution."),
    "logs": ("greenroom.cli.follow:logs", "Print what calls printed."),
    "outputs": ("greenroom.cli.results:outputs", "Print an execution's result, or copy its files."),
    "deck": ("greenroom.cli.decks:deck", "Print the report that a call left beside its outputs."),
    "gates": ("greenroom.cli.gates:gates", "List gates that wait for somebody."),
    "approve": ("greenroom.cli.gates:approve", "Agree to what a gate shows."),
    "reject": ("greenroom.cli.gates:reject", "Refuse what a gate shows."),
    "set-input": ("greenroom.cli.gates:set_input", "Give a gate the input that it waits for."),
    "register": ("greenroom.cli.plans:register", "Keep workflows, tasks and launch plans by name and version."),
    "launch-plans": ("greenroom.cli.plans:launch_plans", "List launch plans; start and stop their schedules."),
    "cancel": ("greenroom.cli.lists:cancel", "End an execution."),
    "rerun": ("greenroom.cli.again:rerun", "Run an execution once more, whole or only what failed."),
    "recover": ("greenroom.cli.again:recover", "Go on from where an execution failed."),
    "debug": ("greenroom.cli.debug:debug", "Run one call of an execution here, with its inputs, under pdb."),
    "results": ("greenroom.cli.cached:results", "List or drop cached results."),
    "replicas": ("greenroom.cli.lists:replicas", "List environments and their warm replicas."),
    "replica": ("greenroom.cli.replica:replica", "Start a replica by hand, or read what one wrote."),
    "cache": ("greenroom.cli.lists:cache", "List entries of the actor cache."),
    "prewarm": ("greenroom.cli.warmth:prewarm", "Have replicas load entries before anybody asks for them."),
    "why": ("greenroom.cli.warmth:why", "Say why a call ran where and when it ran."),
    "bundle": ("greenroom.cli.results:bundle", "List the files that travel with a program."),
    "clean": ("greenroom.cli.cleaning:clean", "Remove what old executions left on the disk."),
    "exec": ("greenroom.cli.child:exec_", "Run any command with union and flytekit served by Greenroom."),
    "doctor": ("greenroom.cli.doctor:doctor", "Check this machine, and say what would not work."),
    "hub": ("greenroom.cli.hub:hub", "Start, stop and look at the local hub."),
    "login": ("greenroom.cli.logins:login", "Remember a hub by a name."),
    "use": ("greenroom.cli.logins:use", "Choose the hub that commands talk to."),
}


class LazyGroup(click.Group):
    """A group that knows its commands' names and lines, and imports a command when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order of the table: what one does first comes first."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A command, imported now; None for a name that is none."""
        if cmd_name not in _COMMANDS:
            return None
        module, _, attribute = _COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in _COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; a typo is answered with what may have been meant."""
        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            from difflib import get_close_matches

            close = get_close_matches(args[0], _COMMANDS, 1)
            ctx.fail(f"no such command: {args[0]}{f'; did you mean {close[0]}?' if close else ''}")
        return super().resolve_command(ctx, args)


def _version(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    if value:
        from greenroom_protocol.version import PROTOCOL, VERSION

        click.echo(f"greenroom {VERSION} (protocol {PROTOCOL})")
        ctx.exit()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Print the version."
)
def app() -> None:
    """Typed Python workflows on warm replicas."""
