"""Commands other than `run`: click finds and calls them, and errors become sentences and exit codes here."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

from greenroom.cli.app import app
from greenroom.cli.exits import INTERRUPTED, SUCCEEDED, USAGE, Exit, Usage
from greenroom.errors import GreenroomError
from greenroom.hub_errors import HubError


def main(arguments: Sequence[str]) -> int:
    """Carry out a command line; gives the exit code."""
    try:
        code = app.main(list(arguments), prog_name="greenroom", standalone_mode=False)
        return code if isinstance(code, int) else SUCCEEDED
    except click.exceptions.Abort:
        click.echo("interrupted", err=True)
        return INTERRUPTED
    except click.ClickException as fault:
        fault.show()
        return USAGE
    except Exit as exit:
        return exit.code
    except Usage as fault:
        return _told(fault, USAGE)
    except HubError as fault:
        from greenroom.cli.watching import code_of

        return _told(fault, code_of(fault))
    except GreenroomError as fault:
        return _told(fault, USAGE)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Python flushes stdout once more at its end.
        return SUCCEEDED


def _told(fault: Exception, code: int) -> int:
    sys.stdout.flush()
    click.echo(f"greenroom: {fault}", err=True)
    return code
