"""How a result gets to stdout, and its files to where somebody finds them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from greenroom.cli.output import Outputs, ResultFd
from greenroom.operations import Result
from greenroom.operations import result as result_operation

if TYPE_CHECKING:
    from greenroom.link import Link


def deliver(
    link: Link, id: str, stdout: ResultFd, *, form: str = "json", save: str | None = None, ended: Result | None = None
) -> None:
    """Print an execution's result, and give its files their names back.

    Args:
        link: The way to the hub.
        id: The execution.
        stdout: Where the result goes.
        form: `json` or `text`.
        save: A folder for the files; else they go below the local hub's state folder.
        ended: The result, if it is known already.
    """
    from greenroom.client import blobs_of

    ended = ended or link.drive(result_operation(id))
    outputs = Outputs(blobs_of(link.hub, link), _folder(link, id, save))
    pieces = outputs.text(ended.outputs) if form == "text" else outputs.json(ended.outputs)
    stdout.write(pieces)
    if form != "text":
        stdout.write("\n")


def _folder(link: Link, id: str, save: str | None) -> str | None:
    """Where files get their names: where they are wanted, or beside the local hub's state if that stays."""
    if save is not None:
        return os.path.abspath(save)
    state = link.hub.state
    return os.path.join(state.outputs, id) if state is not None and link.hub.lasting else None
