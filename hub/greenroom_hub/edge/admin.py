"""What a hub's owner does with it: inviting others, and looking at what replicas' own processes wrote."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from greenroom_hub.core.state import State
from greenroom_hub.edge.auth import CALLER
from greenroom_hub.edge.errors import ApiError
from greenroom_hub.edge.invites import BadInvite, Invite, Invites, Role
from greenroom_hub.shell.cleaning import Cleaning
from greenroom_protocol.version import PROTOCOL, VERSION

Logs = Callable[[str, int], Awaitable[str | None]]
"""Gives the last lines of a replica and its generation."""

_EVER_S = 1e11
"""Seconds that are no age any more."""


class Admin:
    """Handlers.

    Args:
        state: The machine's, for replicas' names.
        invites: Who was invited.
        url: Where the hub is reached by others.
        revoked: Called when an invitation has ended.
        logs: Asks launchers.
        cleaning: Drops what has ended.
    """

    def __init__(
        self,
        state: State,
        invites: Invites,
        url: Callable[[], str],
        revoked: Callable[[Invite], None],
        logs: Logs,
        cleaning: Cleaning,
    ) -> None:
        self._state, self._invites, self._url, self._revoked, self._logs = state, invites, url, revoked, logs
        self._cleaning = cleaning

    async def invite(self, request: web.Request) -> web.Response:
        """Make an invitation: JSON `{"name", "role", "environment", "project"}`; the token is in the answer alone."""
        told = await _json(request)
        given = {key: str(told.get(key) or "") for key in ("name", "role", "environment", "project")}
        try:
            token = self._invites.add(given["name"], given["role"], given["environment"], given["project"])
        except BadInvite as fault:
            raise ApiError("conflict" if "already" in fault.message else "invalid", str(fault)) from fault
        return web.json_response({**given, "token": token, "url": self._url()}, status=201)

    async def invites(self, request: web.Request) -> web.Response:
        """Who is invited."""
        return web.json_response({"invites": [_shown(invite) for invite in self._invites]})

    async def revoke(self, request: web.Request) -> web.Response:
        """End an invitation, and the connections that it opened."""
        name = request.match_info["name"]
        invite = self._invites.revoke(name)
        if invite is None:
            known = ", ".join(one.name for one in self._invites) or "nobody"
            raise ApiError("not_found", f"{name!r} is not invited; invited are: {known}")
        self._revoked(invite)
        return web.json_response(_shown(invite))

    async def me(self, request: web.Request) -> web.Response:
        """Who asks, and what that token allows."""
        caller = request[CALLER]
        told: dict[str, Any] = {"name": caller.name or None, "role": str(caller.role)}
        if caller.role is Role.REPLICA:
            told.update(environment=caller.environment or None, project=caller.project or None)
        return web.json_response({**told, "version": VERSION, "protocol": PROTOCOL})

    async def clean(self, request: web.Request) -> web.Response:
        """Drop ended executions: JSON `{"older_than_s", "dry_run"}`; how much that is, by kind."""
        told = await _json(request)
        seconds = told.get("older_than_s")
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < _EVER_S:
            raise ApiError("bad_request", f"older_than_s={seconds!r}: expected seconds, 0 or more")
        shares = await self._cleaning.clean(seconds, dry_run=bool(told.get("dry_run")))
        return web.json_response({"kinds": {kind: share._asdict() for kind, share in shares.items()}})

    async def logs(self, request: web.Request) -> web.Response:
        """The last lines that a replica's own processes wrote."""
        name = request.match_info["id"]
        replica = self._state.replicas.get(name)
        if replica is None:
            raise ApiError("not_found", f"no replica {name!r} here; see greenroom replicas --json")
        text = await self._logs(replica.id, replica.generation)
        return web.Response(text=text or "")


def _shown(invite: Invite) -> dict[str, Any]:
    shown: dict[str, Any] = {"name": invite.name, "role": str(invite.role), "created": invite.created}
    if invite.role is Role.REPLICA:
        shown.update(environment=invite.environment, project=invite.project or None)
    return shown


async def _json(request: web.Request) -> dict[str, Any]:
    try:
        told = await request.json()
    except json.JSONDecodeError as fault:
        raise ApiError("bad_request", f"the body is no JSON: {fault}") from fault
    if not isinstance(told, dict):
        raise ApiError("bad_request", "the body must be a JSON object")
    return told
