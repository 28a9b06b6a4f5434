"""Properties: whatever a workflow's shape, it computes what plain Python would."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from greenroom.conditions import conditional
from greenroom.dynamic import dynamic
from greenroom.mapping import map as gmap
from greenroom.task import task
from greenroom.workflow import workflow


@task
def add(a: int, b: int) -> int:
    return a + b


@task
def double(n: int) -> int:
    return 2 * n


@task
def total(ns: list[int]) -> int:
    return sum(ns)


@workflow
def both(a: int, b: int) -> int:
    return add(a=double(n=a), b=double(n=b))


@dynamic
def repeated(n: int, times: int) -> int:
    for _ in range(times):
        n = double(n=n)
    return n


STEP = st.tuples(
    st.sampled_from(["add", "double", "total", "both", "repeated", "mapped", "branch"]),
    st.integers(0, 1000),
    st.integers(0, 1000),
)


def plain(kind: str, a: int, b: int) -> int:
    if kind == "add":
        return a + b
    if kind == "double":
        return 2 * a
    if kind == "total":
        return a + b + 7
    if kind == "both":
        return 2 * a + 2 * b
    if kind == "repeated":
        return 8 * a
    if kind == "mapped":
        return 2 * b
    return 2 * a if a > b else b


def called(kind: str, a: Any, b: Any, place: int) -> Any:
    if kind == "add":
        return add(a=a, b=b)
    if kind == "double":
        return double(n=a)
    if kind == "total":
        return total(ns=[a, b, 7])
    if kind == "both":
        return both(a=a, b=b)
    if kind == "repeated":
        return repeated(n=a, times=3)
    if kind == "mapped":
        return gmap(double)(n=[a, b])[1]
    return conditional(f"way-{place}").if_(a > b).then(double(n=a)).else_().then(b)


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(STEP, min_size=1, max_size=14), x=st.integers(-50, 50), y=st.integers(-50, 50))
def test_a_workflow_computes_what_python_would(steps, x, y):
    """
    Tasks, sub-workflows, dynamic tasks, maps and branches, wired at random, give what plain code would.
    """

    @workflow
    def wf(x: int, y: int) -> int:
        values: list[Any] = [x, y]
        for place, (kind, i, j) in enumerate(steps):
            values.append(called(kind, values[i % len(values)], values[j % len(values)], place))
        return values[-1]

    expected = [x, y]
    for kind, i, j in steps:
        expected.append(plain(kind, expected[i % len(expected)], expected[j % len(expected)]))

    assert wf(x=x, y=y) == expected[-1]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=20))
def test_order_is_kept_or_refused(pairs):
    """
    Calls that are ordered by >> run in that order; an order that cannot be is refused.
    """
    ran: list[int] = []

    @task
    def step(n: int) -> None:
        ran.append(n)

    def body() -> None:
        steps = [step(n=n) for n in range(12)]
        for before, after in pairs:
            steps[before].runs_before(steps[after])

    try:
        wf = workflow(body)
    except ValueError:
        assert pairs  # There is a circle among them, which only pairs can make.
        return

    wf()

    assert sorted(ran) == list(range(12))
    assert all(ran.index(before) < ran.index(after) for before, after in pairs)
