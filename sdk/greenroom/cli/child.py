"""`run` for click's list of commands, and `exec`: other programs with the alias in force."""

from __future__ import annotations

import os
import shutil
import sys

import click

from greenroom.cli.exits import Exit, Usage

_RAW = {"ignore_unknown_options": True, "allow_interspersed_args": False, "help_option_names": []}


@click.command(context_settings=_RAW)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def run(arguments: tuple[str, ...]) -> None:
    """Run a workflow or a task, and print its result."""
    from greenroom.cli.entry import main

    raise Exit(main(arguments))


@click.command("exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("command", nargs=-1, type=click.UNPROCESSED, required=True)
def exec_(command: tuple[str, ...]) -> None:
    """Run COMMAND (pytest, jupyter, python, ...) with union and flytekit served by Greenroom, its children too."""
    from greenroom.compat import child_environment

    environment = child_environment(os.environ)
    beside = os.path.join(os.path.dirname(sys.executable), command[0])
    program = shutil.which(command[0]) or (beside if os.access(beside, os.X_OK) else None)
    if program is None:
        raise Usage(f"no such program: {command[0]}")
    sys.stdout.flush()
    os.execve(program, list(command), environment)
