"""The async client: the same, awaited."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from greenroom.client import AsyncClient
from greenroom.hub_errors import Refused, StillRunning
from greenroom_core.values import pack
from tests.sdk.client.fake_hub import FakeHub
from tests.sdk.client.test_client import answers, client, fails

__all__ = ["client"]


@pytest.fixture
async def aclient(hub: FakeHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("GREENROOM_TOKEN", hub.token)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    async with AsyncClient(hub.url) as client:
        yield client


async def test_the_async_twin(hub, aclient, programs):
    """
    The same, awaited.
    """
    hub.on_submit = answers(o0=pack(6))

    execution = await aclient.options(name="a").run(programs.one)

    assert (execution.id, await execution, await execution.state()) == ("a", 6, "succeeded")
    assert await execution.outputs() == {"o0": 6}
    assert await (await aclient.execution("a")).result() == 6


async def test_many_at_once(hub, aclient, programs):
    """
    Coroutines wait together, each on its own connection.
    """
    executions = [await aclient.run(programs.one, n=n) for n in range(5)]
    waiting = asyncio.gather(*(execution.result() for execution in executions))
    for number, execution in enumerate(executions):
        hub.runs[execution.id].end(outputs={"o0": pack(number)})

    assert await waiting == [0, 1, 2, 3, 4]


async def test_async_events_survive_cuts(hub, aclient, programs):
    """
    As the sync ones: nothing lost, nothing twice.
    """
    execution = await aclient.run(programs.one)
    run = hub.runs[execution.id]
    run.add("node_started", node="a").add("node_started", node="b")
    seen = []
    async for event in execution.events():
        seen.append(event["seq"])
        if len(seen) == 2:
            hub.cut()
            run.add("node_ended", node="a")
            run.end(outputs={"o0": pack(1)})

    assert seen == [1, 2, 3, 4]


async def test_async_errors(hub, aclient, programs):
    """
    The user's own error, the time that is over, the hub's refusal.
    """
    execution = await aclient.run(programs.one)
    with pytest.raises(StillRunning):
        await execution.result(timeout=0.02)
    await execution.cancel("enough")
    hub.on_submit = fails(error=programs.BadPixel("x"))

    with pytest.raises(programs.BadPixel):
        await (await aclient.run(programs.one)).result()
    with pytest.raises(Refused):
        await aclient.execution("none")
    assert hub.runs[execution.id].cancelled == ["enough"]


async def test_a_cancelled_wait_leaves_a_usable_client(hub, aclient, programs):
    """
    A half-read answer never meets the next request.
    """
    execution = await aclient.run(programs.one)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(execution.result(), 0.05)
    hub.runs[execution.id].end(outputs={"o0": pack(6)})

    assert await execution.result() == 6


async def test_the_sync_client_works_inside_a_running_loop(hub, client, programs):
    """
    As in a notebook's cell.
    """
    hub.on_submit = answers(o0=pack(6))

    assert client.run(programs.one).result() == 6
