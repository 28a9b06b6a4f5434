"""The command line. `run` is read by hand and imports little; everything else is click's, imported when it is used."""

from __future__ import annotations

import sys


def main() -> None:
    """The program `greenroom`."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["run"]:
        from greenroom.cli.entry import leave
        from greenroom.cli.entry import main as run

        leave(run(arguments[1:]))
    from greenroom.cli.clicked import main as clicked

    sys.exit(clicked(arguments))
