"""`python -m greenroom_hub serve`: the hub as a service."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import uvloop
from pydantic import ValidationError

from greenroom_hub.config import HubConfig
from greenroom_hub.launch.capacity import BadCapacity
from greenroom_hub.launch.containers import BadMount
from greenroom_hub.launch.images import BadImages
from greenroom_hub.launch.sockets import UnsafeFolder
from greenroom_hub.launchers import BadLauncher
from greenroom_hub.listening import BadTls
from greenroom_hub.logs import configure
from greenroom_hub.service import Service
from greenroom_hub.store.errors import StoreError

_STARTED_OVER = "GREENROOM_STARTED_OVER"
"""When this process has started over, for its next life."""

_MOST_RESTARTS = 5


@click.group()
def main() -> None:
    """The Greenroom hub."""


@main.command()
@click.option("--state", type=click.Path(path_type=Path), required=True, help="Folder for log, blobs, token, sockets.")
@click.option("--host", default=None, help="Where to listen; 127.0.0.1 unless told otherwise.")
@click.option("--port", type=int, default=None, help="0 (the default) lets the system choose.")
@click.option(
    "--installed", is_flag=True, default=None, help="The system starts it: it does not end when nothing uses it."
)
@click.option("--local", is_flag=True, default=None, help="A person's own hub: cut requests to this machine.")
@click.option("--owner", type=int, default=None, help="End when this process has ended, state and all.")
@click.option("--capacity", default=None, help="cpu=8,mem=32Gi,gpu=1: what replicas may use together.")
@click.option("--allow-remote", is_flag=True, default=None, help="Listen beyond loopback without TLS of its own.")
@click.option("--tls-cert", type=click.Path(path_type=Path), default=None, help="PEM chain: speak TLS on the port.")
@click.option("--tls-key", type=click.Path(path_type=Path), default=None, help="Its key, if not in --tls-cert.")
@click.option("--url", default=None, help="Where others reach this hub, for links and invitations.")
@click.option("--allow-host", "allow_hosts", multiple=True, help="A name that requests may call the hub by.")
@click.option("--launcher", multiple=True, help="process, docker or external; the first is environments' default.")
@click.option("--replica-image", default=None, help="Local image of containers whose environment names none.")
@click.option("--image", "images", multiple=True, metavar="PATTERN=IMAGE", help="Local image for names in programs.")
@click.option("--mount", "mounts", multiple=True, metavar="HERE:THERE[:ro]", help="Given to all containers.")
@click.option("--docker-host", default=None, help="Engine, unix:///path or tcp://host:port; else DOCKER_HOST.")
@click.option("--docker-hub", default=None, help="URL that containers dial, instead of a mounted socket.")
@click.option("--docker-user", default=None, metavar="UID:GID", help="User of containers; the hub's own if not root.")
@click.option("--docker-network", default=None, help="Network of containers; none for nothing but the hub.")
@click.option("--log-format", type=click.Choice(["console", "json"]), default=None)
def serve(**given: object) -> None:
    """Run a hub in the foreground until it is stopped."""
    try:
        config = HubConfig(**_settings(given))
    except ValidationError as fault:
        first = fault.errors()[0]
        raise click.UsageError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from fault
    if config.host not in ("127.0.0.1", "::1", "localhost") and not (config.allow_remote or config.tls_cert):
        told = f"--host {config.host} would be reachable from other machines without TLS"
        raise click.UsageError(f"{told}: give --tls-cert, put a TLS proxy in front, or say --allow-remote")
    configure(config.log_format)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            port = runner.run(_run(config))
    except (StoreError, BadCapacity, UnsafeFolder, BadLauncher, BadImages, BadMount, BadTls, OSError) as fault:
        click.echo(f"the hub cannot start: {fault}", err=True)
        sys.exit(3)
    if port is not None:
        _start_over(port)


def _settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """What was said, as settings: an option that may be repeated is one text."""
    said = {name: ",".join(item) if isinstance(item, tuple) else item for name, item in given.items()}
    return {name: item for name, item in said.items() if item not in (None, "")}


def _start_over(port: int) -> None:
    """Run the hub anew in this process: on the same port, from its log, with the replicas that live."""
    now = time.time()
    recent = [at for at in os.environ.get(_STARTED_OVER, "").split() if now - float(at) < 60]
    if len(recent) >= _MOST_RESTARTS:
        click.echo(f"the hub failed {len(recent)} times within a minute, and gives up; its log is whole", err=True)
        sys.exit(3)
    os.environ[_STARTED_OVER] = " ".join([*recent, f"{now:.0f}"])
    os.execv(sys.executable, [sys.executable, "-P", "-m", "greenroom_hub", *sys.argv[1:], "--port", str(port)])


async def _run(config: HubConfig) -> int | None:
    """Serve until the hub is stopped; the port to start over on, if it has to."""
    service = Service(config)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, service.stopping.set)
    with contextlib.suppress(NotImplementedError, RuntimeError):
        loop.add_signal_handler(signal.SIGHUP, lambda: None)
    try:
        await service.start()
        gc.collect()
        gc.freeze()  # What was imported stays: no collection needs to look at it again.
        await service.stopping.wait()
        return service.port if service.starts_over else None
    finally:
        await service.stop(keep_replicas=service.starts_over)


if __name__ == "__main__":
    main()
