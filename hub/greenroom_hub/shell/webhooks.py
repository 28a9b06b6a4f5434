"""Tells webhooks: at least once, again after a while where it fails, beside the hub's loop."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

import aiohttp
import structlog

from greenroom_hub.core import commands as c
from greenroom_hub.core.events import Event, NoticeSettled
from greenroom_hub.shell.tasks import Tasks
from greenroom_protocol.version import VERSION

log = structlog.get_logger("greenroom.webhooks")

_FIRST_S: Final = 1.0
_LONGEST_S: Final = 600.0
"""Seconds between two tries, at most."""

_GIVE_UP_S: Final = 24 * 3600.0
"""Seconds after which nobody is told any more."""

_AT_ONCE: Final = 16
"""Deliveries at a time: a slow receiver must not hold all of the hub's sockets."""

_FINAL: Final = frozenset((400, 401, 403, 404, 405, 410, 413, 415, 422))
"""Answers that trying again does not change."""


class Webhooks:
    """Delivers.

    Args:
        tasks: Runs deliveries.
        post: Puts an event into the hub's inbox.
        page: The address of an execution, for people.
        first_s: Seconds after a first failure; doubled after each one.
    """

    def __init__(
        self,
        tasks: Tasks,
        post: Callable[[Event], None],
        page: Callable[[str], str],
        *,
        first_s: float = _FIRST_S,
        give_up_s: float = _GIVE_UP_S,
    ) -> None:
        self._tasks, self._post, self._page = tasks, post, page
        self._first_s, self._give_up_s = first_s, give_up_s
        self._session: aiohttp.ClientSession | None = None
        self._room = asyncio.Semaphore(_AT_ONCE)

    def begin(self, command: c.Notify) -> None:
        """Tell in the background; the end of it is a `NoticeSettled`."""
        self._tasks.start(self._deliver(command), f"webhook {command.id}")

    async def _deliver(self, command: c.Notify) -> None:
        pause, tries = self._first_s, 0
        while True:
            tries += 1
            async with self._room:
                problem, final = await self._try(command)
            age = time.time() - command.at_ms / 1000
            if not problem or final or age > self._give_up_s:
                level = log.info if not problem else log.warning
                host = urlsplit(command.url).hostname
                level("webhook settled", webhook=command.id, host=host, tries=tries, problem=problem or None)
                self._post(NoticeSettled(command.id, problem))
                return
            await asyncio.sleep(pause * random.uniform(0.8, 1.2))
            pause = min(pause * 2, _LONGEST_S)

    async def _try(self, command: c.Notify) -> tuple[str, bool]:
        """Tell once; what went wrong (empty for nothing), and whether trying again is of no use."""
        if urlsplit(command.url).scheme not in ("http", "https"):
            return "only http and https are called", True
        told = dict(command.told)
        if told.get("execution"):
            told["url"] = self._page(str(told["execution"]))
        headers = {"Content-Type": "application/json", "Greenroom-Notice": command.id}
        try:
            async with self._opened().post(
                command.url, data=json.dumps(told), headers=headers, allow_redirects=False
            ) as answer:
                status = answer.status
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as fault:
            final = isinstance(fault, aiohttp.InvalidURL)
            return f"{type(fault).__name__}: {fault}" if str(fault) else type(fault).__name__, final
        if status < 300:
            return "", True
        return f"it answered {status}", status in _FINAL or status < 400  # Where a redirect leads nobody has said.

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=15.0),
                headers={"User-Agent": f"greenroom/{VERSION}"},
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session

    async def close(self) -> None:
        """Let go of connections; what was not told yet is told by the next hub."""
        if self._session is not None:
            await self._session.close()
