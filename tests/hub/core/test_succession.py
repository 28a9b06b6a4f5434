"""Pools of one environment after its definition, or the Python that it runs on, has changed."""

from __future__ import annotations

from dataclasses import replace

from greenroom_core.program import Interpreter, Program
from tests.hub.core.driver import HubDriver, task_program


def on(executable: str, distributions: str = "d1") -> Program:
    return replace(task_program(), interpreter=Interpreter(executable, "3.11.7", distributions))


def run(hub: HubDriver, program: Program, name: str) -> str:
    """Run a program to its end; the pool that served it."""
    hub.submit(program, name)
    hub.connect()
    sent = hub.take()
    hub.answer(sent)
    return sent.replica.rsplit("-r", 1)[0]


def test_two_virtual_environments_stay_warm_side_by_side() -> None:
    """
    Whoever alternates between two Pythons finds both warm: neither pool gives way to the other.
    """
    hub = HubDriver()
    one, two = run(hub, on("/one/python"), "wf-1"), run(hub, on("/two/python"), "wf-2")

    hub.later(5)

    assert {one, two} == {replica.pool for replica in hub.state.replicas.values()}


def test_installed_packages_make_the_old_replicas_leave() -> None:
    """
    After `pip install` nothing asks for the old pool any more: its replicas leave once the new ones are there.
    """
    hub = HubDriver()
    run(hub, on("/one/python", "d1"), "wf-1")
    new = run(hub, on("/one/python", "d2"), "wf-2")

    hub.later(5)

    drained = {replica.pool for replica in hub.state.replicas.values() if replica.drain_why}
    assert {new} == {replica.pool for replica in hub.state.replicas.values()} - drained
