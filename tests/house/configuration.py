"""Draws `docs/configuration.md` from the hub's settings: `python -m tests.house.configuration`."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo

from greenroom_hub.config import HubConfig

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"

HEAD = """\
# Configuration

The table of the hub's settings is drawn from `hub/greenroom_hub/config.py` by `python -m tests.house.configuration`; a
test holds the two equal.

## Where things are looked for

* `GREENROOM_HUB`: the hub that commands and `Client` talk to: a URL, a profile's name, `local` or `ephemeral`. `--hub`
  comes first, then this, then the profile that `greenroom use` chose, then the local hub.
* `GREENROOM_TOKEN`: the token for a hub given by URL; else that of its profile (`greenroom login`).
* `GREENROOM_STATE`: the state folder of the local hub; else below `XDG_STATE_HOME` or `~/.local/state`, one per
  host, never on a network file system.
* `GREENROOM_ALIAS`: `1`, as `greenroom run` and `greenroom exec` set it for child processes: `union` and `flytekit`
  mean Greenroom there; `--no-alias` leaves it out.
* `CI`: where it is set, a run without `--hub` starts a hub of its own that ends with it (`--hub ephemeral`).

What is about one program stands in the program: `ActorEnvironment(...)`, `@task(...)`.

## The hub

Each is an environment variable. Those that an operator sets most are options of `greenroom hub serve` too
(`greenroom hub serve --help`); an option comes first.

| Variable | Default | Means |
|---|---|---|
"""


def told() -> dict[str, str]:
    """What stands below each setting in its source, as one line."""
    found = re.findall(r'^    (\w+): [^\n]+\n    """(.+?)"""', inspect.getsource(HubConfig), re.MULTILINE | re.DOTALL)
    return {name: " ".join(text.split()) for name, text in found}


def default(field: FieldInfo) -> str:
    """A default as a person types it."""
    if field.is_required():
        return "required"
    value: Any = field.default
    if value is None or value == "":
        return "none"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def draw() -> str:
    """The page."""
    means = told()
    rows = [
        f"| `GREENROOM_HUB_{name.upper()}` | {default(field)} | {means[name].replace('|', chr(92) + '|')} |"
        for name, field in HubConfig.model_fields.items()
    ]
    return HEAD + "\n".join(rows) + "\n"


if __name__ == "__main__":
    PAGE.write_text(draw())
