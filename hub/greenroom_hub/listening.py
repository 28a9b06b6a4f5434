"""Where a hub listens: a socket of its user's, one for containers, and a port."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from aiohttp import web

from greenroom_hub.config import HubConfig


class BadTls(ValueError):
    """A certificate or key that cannot be used."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        return f"TLS by {self.path}: {self.reason}; --tls-cert takes a PEM file with the whole chain, --tls-key its key"


def tls_of(config: HubConfig) -> ssl.SSLContext | None:
    """The hub's own TLS, if it was given a certificate.

    Raises:
        BadTls: It cannot be read, or the key is another's.
    """
    if config.tls_cert is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(config.tls_cert, config.tls_key)
    except (OSError, ssl.SSLError) as fault:
        raise BadTls(str(config.tls_cert), str(fault)) from fault
    return context


async def listen_on_socket(runner: web.AppRunner, path: Path, mode: int = 0o600) -> None:
    """Listen on a unix socket; one that an earlier hub left is replaced."""
    path.unlink(missing_ok=True)
    await web.UnixSite(runner, str(path), backlog=1024).start()
    os.chmod(path, mode)


async def listen_for_containers(runner: web.AppRunner, folder: Path, blobs: Path) -> None:
    """Listen on the socket that containers dial, and open to them what they are given read-only.

    Folder and socket are open to every user: they are mounted into containers whose user is another one. On this
    machine nobody reaches them, since the state folder above them is its owner's alone.
    """
    folder.mkdir(mode=0o755, exist_ok=True)
    folder.chmod(0o755)
    await listen_on_socket(runner, folder / "hub.sock", 0o666)
    blobs.chmod(0o755)
    for number in range(256):
        part = blobs / f"{number:02x}"
        part.mkdir(mode=0o755, exist_ok=True)
        part.chmod(0o755)


async def listen_on_port(runner: web.AppRunner, config: HubConfig) -> str:
    """Listen on the port; its URL.

    Raises:
        BadTls: The certificate cannot be used.
        OSError: The port cannot be had.
    """
    tls = tls_of(config)
    site = web.TCPSite(runner, config.host, config.port, backlog=1024, ssl_context=tls)
    await site.start()
    server: Any = site._server
    port = server.sockets[0].getsockname()[1]
    host = f"[{config.host}]" if ":" in config.host else config.host
    return f"{'https' if tls else 'http'}://{host}:{port}"


def reachable(url: str) -> str:
    """An address that others can dial, for one that means all of this machine's (`0.0.0.0`, `::`)."""
    place = urlsplit(url)
    if place.hostname not in _ALL:
        return url
    host = _own_address(_ALL[place.hostname])
    return f"{place.scheme}://{f'[{host}]' if ':' in host else host}:{place.port}"


_ALL: Final = {"0.0.0.0": socket.AF_INET, "::": socket.AF_INET6}


def _own_address(family: socket.AddressFamily) -> str:
    """The address by which this machine would talk to others; its name where it knows no way out."""
    elsewhere = "192.0.2.1" if family == socket.AF_INET else "2001:db8::1"  # Addresses of nobody; nothing is sent.
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as way_out:
        way_out.connect((elsewhere, 9))
        return str(way_out.getsockname()[0])
    return socket.gethostname()
