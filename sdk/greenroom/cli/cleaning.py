"""`greenroom clean`: what old executions left on the disk, by kind, and its removal."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import click

from greenroom.bundling.stats import cache_folder
from greenroom.cli.common import hub_option, json_option, linked, print_json, print_lines
from greenroom.cli.exits import Usage
from greenroom.cli.words import bytes_text, table
from greenroom.hub_errors import Refused
from greenroom.link import Link
from greenroom.operations import post
from greenroom.state import StateFolder

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_DEFAULT: Final = "14d"


class Share(NamedTuple):
    """Something that can go."""

    kind: str
    items: int
    bytes: int


def age(text: str) -> float:
    """Seconds of `90s`, `12h`, `7d`, `2w`.

    Raises:
        Usage: It is none of these.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", text.strip())
    if found is None:
        raise Usage(f"--older-than {text}: expected a number and a unit, such as 12h, 7d or 2w")
    return float(found[1]) * _UNITS[found[2]]


@click.command()
@click.option("--older-than", default=_DEFAULT, show_default=True, help="Only what ended longer ago than this.")
@click.option("--all", "everything", is_flag=True, help="All executions that have ended, and caches of this user.")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@hub_option
@json_option
def clean(older_than: str, everything: bool, dry_run: bool, hub: str | None, as_json: bool) -> None:
    """Remove ended executions with their results and files. Executions that run, and what they need, stay."""
    seconds = 0.0 if everything else age(older_than)
    with linked(hub) as link:
        shares = [*_of_hub(link, seconds, dry_run)]
        if link.hub.state is not None:
            shares.append(named_outputs(link.hub.state, time.time() - seconds, dry_run=dry_run))
    if everything:
        shares.append(_caches(dry_run=dry_run))
    if as_json:
        print_json([share._asdict() for share in shares])
        return
    rows = [[share.kind, str(share.items), bytes_text(share.bytes)] for share in shares]
    print_lines(table(["KIND", "ITEMS", "BYTES"], rows, right=["ITEMS", "BYTES"]))
    total = bytes_text(sum(share.bytes for share in shares))
    click.echo(f"{total} would go" if dry_run else f"{total} are gone", err=True)


def _of_hub(link: Link, seconds: float, dry_run: bool) -> Iterator[Share]:
    """What the hub itself lets go: executions with their log, output and blobs.

    Raises:
        Usage: It is a hub that keeps everything.
    """
    asked: dict[str, Any] = {"older_than_s": seconds, "dry_run": dry_run}
    try:
        answer = link.drive(post("/api/clean", asked))
    except Refused as fault:
        if fault.status not in (404, 405):
            raise
        raise Usage(f"{link.hub.name} cannot drop executions; greenroom hub stop --purge removes all it has") from fault
    for kind, share in (answer.get("kinds") or {}).items():
        yield Share(kind, int(share["items"]), int(share["bytes"]))


def named_outputs(state: StateFolder, before: float, *, dry_run: bool) -> Share:
    """The files that executions returned, under their names, of those that ended before a moment."""
    count = size = 0
    for entry in os.scandir(state.outputs) if os.path.isdir(state.outputs) else ():
        if entry.is_dir(follow_symlinks=False) and entry.stat().st_mtime <= before:
            count += 1
            size += _weight(entry.path)
            if not dry_run:
                shutil.rmtree(entry.path, ignore_errors=True)
    return Share("outputs", count, size)


def _caches(*, dry_run: bool) -> Share:
    """What commands of this user keep to be faster the next time."""
    folder = os.fspath(cache_folder())
    if not os.path.isdir(folder):
        return Share("caches", 0, 0)
    share = Share("caches", 1, _weight(folder))
    if not dry_run:
        shutil.rmtree(folder, ignore_errors=True)
    return share


def _weight(folder: str) -> int:
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(place, name)).st_size
            except OSError:
                continue
    return total
