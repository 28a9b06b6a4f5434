"""The alias in child processes: of tasks that start Python, and of `greenroom exec`.

A child does not inherit finders. It inherits environment variables: `PYTHONPATH` gets a folder in front that holds
packages called `union`, `unionai`, `flytekit` and `flytekitplugins` and nothing else. Whoever imports one of them gets
Greenroom's alias; who does not is not touched, unlike by a `sitecustomize` or a `.pth` file. In a Python without
Greenroom, or without `GREENROOM_ALIAS=1`, they step aside for the installed packages. A child that is started with an
environment of its own (`env={}`) or with `python -I` is not reached.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, MutableMapping
from typing import Final

VARIABLE: Final = "GREENROOM_ALIAS"
FOLDER: Final = os.path.join(os.path.dirname(os.path.abspath(__file__)), "packages")
"""Goes in front of a child's PYTHONPATH."""


def child_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """`environ`, and what makes a Python that is started with it use the alias."""
    others = [entry for entry in environ.get("PYTHONPATH", "").split(os.pathsep) if entry and entry != FOLDER]
    return {**environ, VARIABLE: "1", "PYTHONPATH": os.pathsep.join([FOLDER, *others])}


def reach_children(environ: MutableMapping[str, str] | None = None) -> None:
    """Let child processes of this one use the alias."""
    own = os.environ if environ is None else environ
    own.update(child_environment(own))


def leave_children(environ: MutableMapping[str, str] | None = None) -> None:
    """Undo `reach_children`."""
    own = os.environ if environ is None else environ
    own.pop(VARIABLE, None)
    others = [entry for entry in own.get("PYTHONPATH", "").split(os.pathsep) if entry and entry != FOLDER]
    if others:
        own["PYTHONPATH"] = os.pathsep.join(others)
    else:
        own.pop("PYTHONPATH", None)
