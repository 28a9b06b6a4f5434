"""Calls from a hub's frames to outcomes, through real processes."""

from __future__ import annotations

from greenroom_protocol.calls import Status
from tests.replica.conftest import Rig


def double(n: int) -> int:
    return n * 2


async def test_a_call_comes_back(rig: Rig) -> None:
    """
    A call that the hub sends is run by a runner, and its value comes back.
    """
    await rig.replica()

    outcome = await rig.hub.call(double, 21)

    assert outcome[:3] == (Status.SUCCEEDED, 42, 1)


async def test_a_map_comes_back_whole(rig: Rig) -> None:
    """
    Each item of a large map ends once, with its own value.
    """
    await rig.replica()

    outcomes = await rig.hub.map(double, list(range(5000)))

    assert [2 * n for n in range(5000)] == [outcome.value for outcome in outcomes]
    assert all(len(ends) == 1 for ends in rig.hub.outcomes.values())
