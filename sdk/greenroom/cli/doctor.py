"""`greenroom doctor`: what works on this machine, and what would not, with the remedy."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import NamedTuple

import click

from greenroom import hubs
from greenroom.cli.exits import HUB, Exit
from greenroom.cli.words import bytes_text
from greenroom.hub_errors import HubError
from greenroom.link import Link
from greenroom.operations import get
from greenroom.state import file_system, find_state
from greenroom_protocol.version import PROTOCOL, VERSION

_LEAST_DISK = 1 << 30
_SOCKET_PATH = 100


class Finding(NamedTuple):
    """One thing that was looked at."""

    what: str
    fine: bool
    text: str


def python() -> Iterator[Finding]:
    """The interpreter that replicas run on."""
    version = platform.python_version()
    fine = sys.version_info >= (3, 11)
    yield Finding(
        "python", fine, f"{version} at {sys.executable}" + ("" if fine else "; Greenroom needs 3.11 or newer")
    )
    yield Finding("greenroom", True, f"{VERSION}, protocol {PROTOCOL}, on {platform.system()} {platform.release()}")
    if sys.platform != "linux":
        yield Finding(
            "system", False, "only Linux is tested; on macOS replicas are started without fork where it is unsafe"
        )


def extras() -> Iterator[Finding]:
    """Packages that a hub needs here."""
    missing = [name for name in hubs._NEEDED if find_spec(name) is None]
    told = f"lacks {', '.join(missing)}: pip install 'greenroom[hub]'" if missing else "installed"
    yield Finding("hub extra", not missing, told)
    for name in ("union", "flytekit"):
        if find_spec(name) is not None and "greenroom" not in str(find_spec(name)):
            yield Finding(
                name, True, "installed; under greenroom run its name means Greenroom (--no-alias turns that off)"
            )


def state() -> Iterator[Finding]:
    """The folder that the local hub keeps its state in."""
    try:
        folder = find_state()
        for note in folder.notes:
            yield Finding("state", True, note)
        folder.make()
    except HubError as fault:
        yield Finding("state", False, str(fault))
        return
    free = shutil.disk_usage(folder.path).free
    kind = file_system(folder.path) or "unknown file system"
    room = f"{bytes_text(free)} free"
    yield Finding("state", free >= _LEAST_DISK, f"{folder.path} ({kind}, {room})")
    if len(folder.path) > _SOCKET_PATH:
        yield Finding("state", True, "a long path: sockets are kept elsewhere")


def machine() -> Iterator[Finding]:
    """What replicas can have here, and what stands in their way."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    yield Finding("machine", True, f"{cores} cores, {bytes_text(pages * size)} of memory")
    temporary = shutil.disk_usage(os.environ.get("TMPDIR") or "/tmp").free
    yield Finding("temporary", temporary >= _LEAST_DISK, f"{bytes_text(temporary)} free for calls' own files")
    yield Finding("git", True, shutil.which("git") or "not installed; bundles list a project's files without it")


def hub() -> Iterator[Finding]:
    """The hub that commands talk to."""
    try:
        chosen = hubs.choose()
        if chosen in ("local", "ephemeral"):
            found = hubs.running_hub(find_state())
            if found is None:
                yield Finding("hub", True, f"{chosen}; none runs now, the next run starts one")
                return
        else:
            found = hubs.remote(chosen)
        link = Link(found, patience=0.0)
        try:
            about = link.drive(get("/api/hub"))
        finally:
            link.close()
    except HubError as fault:
        yield Finding("hub", False, str(fault))
        return
    same = about.get("version") == VERSION
    told = f"{found.name}, {found.url}, version {about.get('version')}"
    yield Finding("hub", True, told if same else f"{told} (this is {VERSION})")
    proxies = [name for name in ("http_proxy", "https_proxy", "all_proxy") if os.environ.get(name)]
    if proxies and not found.endpoint.loopback:
        yield Finding("proxy", True, f"{', '.join(proxies)} set: remote hubs are reached through it")


CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (python, extras, machine, state, hub)


@click.command()
def doctor() -> None:
    """Check this machine, and say what would not work and what helps. Exit code 3 if something would not."""
    bad = 0
    for check in CHECKS:
        for finding in check():
            bad += not finding.fine
            click.echo(f" {'ok' if finding.fine else '!!'}  {finding.what:<10}  {finding.text}")
    if bad:
        raise Exit(HUB)
