"""The hot path stays a handful of operations: counted, not timed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

from tests.replica.reset.lab import Lab

Runner = Callable[..., Any]

FLOW = """
LISTS = [[n] for n in range({count})]
DICTS = [{{n: n}} for n in range({count})]
def task(): pass
def slow():
    import time
    time.sleep(0.003)
"""


def lines_run(work: Callable[[], Any]) -> int:
    """Count the Python lines that a piece of work runs."""
    lines = 0

    def trace(frame: Any, event: str, argument: Any) -> Any:
        nonlocal lines
        lines += event == "line"
        return trace

    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(None)
    return lines


def cycle_lines(lab: Lab) -> tuple[int, Any]:
    """Count the lines of a clean call's reset, with a debugger's trace function counted as the process's own.

    The middle one of five: a call that is kept from the processor counts as long, and long calls are looked at closely.
    """
    lab.call("task")
    reset = lab.reset

    def work() -> None:
        reset._process.switches.trace = sys.gettrace()
        reset.before("bundle")
        reset.after()

    return sorted(lines_run(work) for _ in range(5))[2], lab.reset._current is not None


@pytest.mark.alone  # A call that is kept from the processor looks long, and long calls are looked at more closely.
@pytest.mark.parametrize("count", [1, 2000])
def test_a_clean_call_runs_few_lines_however_much_state_there_is(count: int, runner: Runner) -> None:
    """
    Two containers or four thousand: a clean call's reset runs the same few lines of Python.
    """
    lines, _ = runner(cycle_lines, flow=FLOW.format(count=count))

    assert lines <= 80


@pytest.mark.alone
def test_a_dirty_call_pays_for_what_it_changed(runner: Runner) -> None:
    """
    One changed list among four thousand containers is found without asking the others.
    """
    flow = FLOW.format(count=2000) + "def dirty(): LISTS[7].append(1)\n"

    def scenario(lab: Lab) -> Any:
        lab.call("dirty")
        reset = lab.reset

        def work() -> None:
            reset._process.switches.trace = sys.gettrace()
            reset.before("bundle")
            lab.modules["flow"].dirty()
            reset.after()

        return lines_run(work), lab.call("task"), len(lab.modules["flow"].LISTS[7])

    lines, _, size = runner(scenario, flow=flow)

    assert size == 1
    assert lines <= 250


@pytest.mark.alone
def test_a_clean_call_leaves_no_memory_behind(runner: Runner) -> None:
    """
    A thousand clean calls leave not one allocation that stays.
    """

    def scenario(lab: Lab) -> Any:
        import gc

        for _ in range(300):
            lab.call("task")
        for _ in range(3):
            lab.call("slow")  # As any call may become on a busy machine: what is made for it once is made before.
            lab.call("task")
        gc.collect()
        before = sys.getallocatedblocks()
        for _ in range(1000):
            lab.call("task")
        gc.collect()
        return sys.getallocatedblocks() - before

    assert abs(runner(scenario, flow=FLOW.format(count=10))) < 50
