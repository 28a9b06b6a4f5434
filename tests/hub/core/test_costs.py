"""What the hub's hot paths cost, in function calls of Python's: the same on every machine, however busy it is.

Bounds are a quarter above what was counted when they were written. Who exceeds one has made every call of every user
dearer: find out why before the bound is raised.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any

from greenroom_core.program import Submission
from greenroom_core.values import pack
from greenroom_core.wire import from_wire, to_wire
from greenroom_hub.core import events as e
from greenroom_hub.shell.vault import Vault
from tests.hub.core.driver import HubDriver, chain_program, map_program, task_program, xs

NAMES = [f"n{place}" for place in range(40)]


def calls_of(work: Callable[[], object]) -> int:
    """How many functions are called, Python's and C's."""
    count = 0

    def note(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


class Counted:
    """A driver whose machine is counted, turn by turn."""

    def __init__(self, **settings: Any) -> None:
        self.hub = HubDriver(**settings)
        self.turns: list[int] = []
        apply = self.hub.machine.apply

        def counted(events: Iterable[e.Event], now: e.Moment) -> Any:
            turn: list[Any] = []
            self.turns.append(calls_of(lambda: turn.append(apply(events, now)) or self.hub.machine.next_due()))
            return turn[0]

        self.hub.machine.apply = counted  # type: ignore[method-assign]


def step_of_a_chain(others: int = 0) -> int:
    """A turn in which a call ends and the next one is placed, beside other executions that wait: the median."""
    counted = Counted()
    hub = counted.hub
    hub.submit(chain_program(*NAMES), name="chain")
    hub.connect()
    sent = hub.take()
    for number in range(others):
        hub.submit(task_program(), name=f"waits-{number}")
    counted.turns.clear()
    for _ in range(20):
        hub.answer(sent, us=1_000_000)
        sent = hub.take()
    return sorted(counted.turns)[10]


def test_a_step_of_a_chain():
    """
    A call ends, the next one is placed: so many function calls in the machine.
    """
    assert step_of_a_chain() <= 480


def test_what_others_do_costs_a_step_nothing():
    """
    A thousand live executions that wait for the same replica do not make anybody's step dearer.
    """
    assert step_of_a_chain(others=1000) <= step_of_a_chain() + 3 * 256  # So many are looked at.


def test_a_share_of_a_wide_map_costs_the_same_in_any_pool():
    """
    To hand a replica its next calls takes no walk over all replicas, as long as there is enough for all.
    """

    def answered(replicas: int) -> int:
        counted = Counted()
        hub = counted.hub
        hub.submit(map_program(count=replicas), xs=xs(10_000))
        hub.connect()
        hub.answer(us=1_000_000)
        counted.turns.clear()
        hub.answer(us=1_000_000)
        return counted.turns[-1]

    few, many = answered(4), answered(25)

    assert many <= few + 25 * 12  # What a turn asks each replica: whether a time of its own is due.


def test_an_execution_from_its_submission_to_its_end():
    """
    One task, one call: the machine's share of what a client that calls one by one waits for.
    """
    counted = Counted()
    hub = counted.hub
    program = task_program()
    hub.submit(program, name="first")
    hub.connect()
    hub.answer()
    hub.submit(program, name="second")
    hub.answer()

    counted.turns.clear()
    hub.submit(program, name="third")
    hub.answer()

    assert 2 == len(counted.turns)
    assert sum(counted.turns) <= 900


def test_a_shell_of_many_variables():
    """
    A submission brings all variables of its shell: reading, sealing and writing them takes no call for each.
    """
    env = {f"NAME_{place}": "value" for place in range(300)}
    wire = to_wire(Submission("p", {"x": pack(1)}))
    vault = Vault(b"key")
    vault.seal(env, {})
    from_wire(Submission, wire)

    assert calls_of(lambda: from_wire(Submission, {**wire, "env": env})) < 100
    assert calls_of(lambda: vault.seal(env, {})) < 20
