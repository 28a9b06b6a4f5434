"""`greenroom debug`: one call of an execution, here and under pdb."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from typing import Any

import click
import msgpack

from greenroom.cli.common import hub_option, linked, read_address, resolve, say
from greenroom.cli.exits import Exit, Usage
from greenroom.http import Request
from greenroom.hub_errors import refused
from greenroom.link import Link
from greenroom.operations import path_to
from greenroom_protocol.ids import Address


@click.command()
@click.argument("address", metavar="ID/NODE[/ITEM]", callback=read_address)
@hub_option
def debug(address: Address, hub: str | None) -> None:
    """Run one call here under pdb, with its inputs and its code of then; it stops at the task's first line.

    ID alone means the call that failed. What an exception leaves is looked at where it was raised. The call sees this
    shell's environment variables, secrets included, beside those of its environment.
    """
    with linked(hub) as link:
        shown = resolve(link, address.execution)
        node, item = _place(shown, address)
        answer = link.request(Request("GET", path_to(shown["id"], "nodes", node, "items", str(item), "call")))
        if answer.status != 200:
            raise refused(answer.status, answer.body)
        told = msgpack.unpackb(answer.body, strict_map_key=False, unicode_errors="surrogatepass")
        code = _run(link, told)
    raise Exit(code)


def _place(shown: Mapping[str, Any], address: Address) -> tuple[str, int]:
    """Node and item: as typed, else those that the execution failed by."""
    node = address.node or shown.get("failed_node")
    if not node:
        calls = [one["id"] for one in shown.get("nodes") or () if one.get("total")]
        raise Usage(f"{shown['id']} has not failed: which call? {shown['id']}/NODE, one of {', '.join(calls[:8])}")
    if address.item is not None:
        return node, address.item
    item = shown.get("failed_item") if node == shown.get("failed_node") else None
    found = next((one for one in shown.get("nodes") or () if one["id"] == node), None)
    if item is None and found is not None and found.get("what") == "map":
        raise Usage(f"{node} is a map of {found.get('total')} items: {shown['id']}/{node}/ITEM says which")
    return node, item or 0


def _run(link: Link, told: Mapping[str, Any]) -> int:
    """Have the program's own Python make the call, at this terminal."""
    interpreter = told["interpreter"] or {}
    python = interpreter.get("executable") or sys.executable
    if not os.access(python, os.X_OK):
        say(f"     {python}, which it ran on, is not here: {sys.executable} takes its place")
        python, interpreter = sys.executable, {}
    environment = {**os.environ, **interpreter.get("env", {})}
    if interpreter.get("paths"):
        paths = [*interpreter["paths"], *filter(None, [environment.get("PYTHONPATH")])]
        environment["PYTHONPATH"] = os.pathsep.join(paths)
    spec = {"call": told, "hub": str(link.hub.endpoint), "token": link.hub.token, "blobs": link.hub.blobs}
    descriptor, file = tempfile.mkstemp(prefix="greenroom-debug-")
    try:
        with os.fdopen(descriptor, "wb") as out:
            out.write(msgpack.packb(spec, unicode_errors="surrogatepass"))
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the debugger's.
        try:
            command = [python, "-P", "-m", "greenroom_replica.debug", file]
            return subprocess.run(command, env=environment, check=False, preexec_fn=_hear_ctrl_c).returncode
        finally:
            signal.signal(signal.SIGINT, before)
    finally:
        if os.path.exists(file):
            os.unlink(file)


def _hear_ctrl_c() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
