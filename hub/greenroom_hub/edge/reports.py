"""The HTTP API of calls' reports: users' HTML, which browsers are told to give no script and no origin."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Final

from aiohttp import web

from greenroom_hub.edge import views
from greenroom_hub.edge.errors import ApiError
from greenroom_hub.edge.requests import find_row, number_of
from greenroom_hub.shell.archive import Archive
from greenroom_hub.shell.hub import Hub
from greenroom_hub.shell.references import place
from greenroom_hub.store.store import Store

_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_SANDBOX: Final = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": "sandbox",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "private, no-store",
}


class Reports:
    """Handlers."""

    def __init__(self, hub: Hub, store: Store, archive: Archive, blobs: Path) -> None:
        self._hub, self._store, self._archive, self._blobs = hub, store, archive, blobs

    async def get(self, request: web.Request) -> web.StreamResponse:
        """What a call's decks show, as a page."""
        await self._hub.settled()
        row, name = find_row(self._store, request.match_info["id"]), request.match_info["node"]
        item = int(number_of(request.match_info["item"], "item"))
        execution = self._archive.get(row.id)
        node = execution.nodes.get(name) if execution is not None else None
        if execution is None or node is None or node.items is None or item >= node.items.n:
            raise ApiError("not_found", f"{row.id} has no call {name}/{item}")
        digest = views.deck_of(execution, node, item)
        path = place(self._blobs, digest) if digest is not None and _SHA256.fullmatch(digest) else None
        if path is None or not await asyncio.to_thread(path.is_file):
            raise ApiError("not_found", f"{row.id}/{name}/{item} has no report: give its task enable_deck=True")
        return web.FileResponse(path, headers=_SANDBOX)
