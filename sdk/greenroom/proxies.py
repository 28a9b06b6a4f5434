"""The way to a remote hub through a proxy that the environment names. Hubs on this machine never take it."""

from __future__ import annotations

import base64
import socket

from greenroom.http import CONNECT_TIMEOUT, Endpoint, HttpFault, Parser, secure


def proxy_of(endpoint: Endpoint) -> str | None:
    """The proxy for a hub by `https_proxy`, `http_proxy`, `all_proxy` and `no_proxy`; None for a direct way."""
    from urllib.request import getproxies, proxy_bypass

    if endpoint.loopback or proxy_bypass(endpoint.host):
        return None
    proxies = getproxies()
    return proxies.get(endpoint.scheme) or proxies.get("all")


def connect_through(proxy: str, endpoint: Endpoint) -> socket.socket:
    """A tunnel to the hub through its proxy; TLS with the hub itself is still to be spoken.

    Raises:
        OSError: The proxy cannot be reached.
        HttpFault: It is no HTTP proxy, or refuses.
    """
    from urllib.parse import unquote, urlsplit

    parts = urlsplit(proxy if "//" in proxy else f"http://{proxy}")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise HttpFault(f"proxy {proxy!r} is no HTTP proxy; hubs are reached through http:// proxies or directly")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    raw = socket.create_connection((parts.hostname, port), CONNECT_TIMEOUT)
    try:
        if parts.scheme == "https":
            raw = secure(raw, parts.hostname)
        login = ""
        if parts.username:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
            login = f"Proxy-Authorization: Basic {base64.b64encode(pair).decode()}\r\n"
        _tunnel(raw, endpoint, login, f"{parts.hostname}:{port}")
        return raw
    except (OSError, HttpFault):
        raw.close()
        raise


def _tunnel(raw: socket.socket, endpoint: Endpoint, login: str, proxy: str) -> None:
    """Ask for a tunnel, also to a plain hub: WebSockets pass through it, and the token meets no cache."""
    host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
    target = f"{host}:{endpoint.port}"
    raw.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{login}\r\n".encode("latin-1"))
    parser = Parser()
    parser.start("HEAD")  # A tunnel's answer has no body.
    while (head := parser.head()) is None:
        parser.feed(raw.recv(65536))
    if head.status != 200:
        raise HttpFault(f"the proxy at {proxy} refuses a tunnel to {target}: status {head.status}; see no_proxy")
