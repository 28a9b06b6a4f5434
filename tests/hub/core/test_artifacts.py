"""Artifacts: the newest value of a name is found, after a restart too, and an older one leaves nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from greenroom_core.entities import Made, Query
from greenroom_core.program import Program, Task
from greenroom_core.values import Ext, ext, pack
from greenroom_core.wire import to_wire
from greenroom_hub.core.artifacts import NoArtifact, find, text_of
from tests.hub.core.driver import HubDriver, task_program


def making(made: Made) -> Program:
    """A task whose output is an artifact."""
    program = task_program()
    task = Task("f.t", "e", inputs=("x",), outputs=("o0",), options={"artifacts": {"o0": to_wire(made)}})
    return replace(program, tasks={"t": task})


def made_by(hub: HubDriver, value: Any, name: str, made: Made | None = None, **inputs: bytes) -> None:
    """An execution makes it."""
    hub.submit(making(made or Made("model")), name, **inputs)
    hub.connect()
    hub.answer(value=value)


def test_the_newest_value_is_found_and_the_older_one_leaves_nothing() -> None:
    """
    One row in the log for each name and partition, in a stream of its own.
    """
    hub = HubDriver()

    made_by(hub, 1, "one")
    made_by(hub, 2, "two")

    assert pack(2) == find(hub.state, Query("model"), "p", {})
    assert 1 == len([row for row in hub.log if row[1].startswith("artifact:")])


def test_a_restarted_hub_knows_it() -> None:
    """
    Also when the execution that made it is gone from memory.
    """
    hub = HubDriver()
    made_by(hub, 7, "one")

    hub.restart()

    assert pack(7) == find(hub.state, Query("model"), "p", {})


def test_partitions_come_from_inputs() -> None:
    """
    A value for each, and a query by an input finds the one that it names.
    """
    hub = HubDriver()
    by_x = Made("model", inputs={"k": "x"})
    made_by(hub, 10, "one", by_x, x=pack("a"))
    made_by(hub, 20, "two", by_x, x=pack("b"))

    assert pack(10) == find(hub.state, Query("model", partitions={"k": "a"}), "p", {})
    assert pack(20) == find(hub.state, Query("model", inputs={"k": "n"}), "p", {"n": pack("b")})


@pytest.mark.parametrize(
    "query", [Query("other"), Query("model", partitions={"k": "c"}), Query("model", inputs={"k": "z"})]
)
def test_a_query_that_finds_nothing_says_what_there_is(query: Query) -> None:
    """
    The name, the partitions that were made, or the input that lacks.
    """
    hub = HubDriver()
    made_by(hub, 1, "one", Made("model", inputs={"k": "x"}), x=pack("a"))

    with pytest.raises(NoArtifact, match="no task has made it|k=a|'z'"):
        find(hub.state, query, "p", {})


def test_a_failure_makes_nothing() -> None:
    """
    Only what a task has given is kept.
    """
    hub = HubDriver()
    hub.submit(making(Made("model")))
    hub.connect()

    hub.answer(fails=True)

    assert not hub.state.artifacts


def test_one_moment_is_one_partition() -> None:
    """
    Whatever zone it is written in.
    """
    moments = ("2026-01-01T01:00:00+01:00", "2026-01-01T00:00:00+00:00", "2026-01-01T00:00:00")

    assert {"2026-01-01T00:00:00+00:00"} == {text_of(pack(ext(Ext.TIME, ["datetime", text]))) for text in moments}
