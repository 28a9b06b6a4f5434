"""Webhooks are told at least once, again while it fails, and never anywhere but where it was said."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from greenroom_hub.core.commands import Notify
from greenroom_hub.core.events import Event, NoticeSettled
from greenroom_hub.shell.tasks import Tasks
from greenroom_hub.shell.webhooks import Webhooks


class Receiver:
    """Somebody's server, which answers as it is told, and remembers what it heard."""

    def __init__(self, answers: Sequence[int]) -> None:
        self.answers, self.heard = list(answers), []  # type: ignore[var-annotated]

    async def take(self, request: web.Request) -> web.Response:
        self.heard.append((request.headers["Greenroom-Notice"], json.loads(await request.read())))
        status = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return web.Response(status=status, headers={"Location": "/elsewhere"} if 300 <= status < 400 else {})


async def told(answers: Sequence[int], url: str = "", age_s: float = 0.0) -> tuple[Receiver, list[Event]]:
    """Tell a receiver that answers like this; what it heard, and what the hub heard of it."""
    receiver, events, done = Receiver(answers), [], asyncio.Event()

    def post(event: Event) -> None:
        events.append(event)
        done.set()

    app = web.Application()
    app.router.add_post("/hook", receiver.take)
    async with TestServer(app) as server:
        tasks = Tasks()
        webhooks = Webhooks(tasks, post, lambda execution: f"http://hub/e/{execution}", first_s=0.001, give_up_s=60)
        at = int((time.time() - age_s) * 1000)
        webhooks.begin(Notify("n1", url or str(server.make_url("/hook")), {"id": "n1", "execution": "wf-1"}, at))
        await asyncio.wait_for(done.wait(), 20)
        await tasks.close()
        await webhooks.close()
    return receiver, events


@pytest.mark.parametrize(("answers", "times"), [([200], 1), ([500, 503, 429, 204], 4)])
async def test_it_is_told_until_it_is_heard(answers: list[int], times: int) -> None:
    """
    An error of the receiver's is tried again; what was told names the execution and where it is seen.
    """
    receiver, events = await told(answers)

    assert [NoticeSettled("n1")] == events
    body: dict[str, Any] = {"id": "n1", "execution": "wf-1", "url": "http://hub/e/wf-1"}
    assert [("n1", body)] * times == receiver.heard


@pytest.mark.parametrize("status", [302, 404, 410])
async def test_what_no_further_try_changes_is_given_up(status: int) -> None:
    """
    A redirect is not followed, and an address that is gone is not asked again.
    """
    receiver, events = await told([status])

    assert [NoticeSettled("n1", f"it answered {status}")] == events
    assert 1 == len(receiver.heard)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://host/", "gopher://host/"])
async def test_only_http_is_called(url: str) -> None:
    """
    Whatever got into the log, nothing else is opened.
    """
    receiver, events = await told([200], url)

    assert [NoticeSettled("n1", "only http and https are called")] == events
    assert [] == receiver.heard


async def test_after_a_day_it_is_given_up() -> None:
    """
    A receiver that stays away does not keep its notices for ever.
    """
    _, events = await told([500], age_s=3600)

    assert [NoticeSettled("n1", "it answered 500")] == events
