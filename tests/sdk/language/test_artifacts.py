"""Artifacts in a program: on outputs, as defaults, and what is wrong with them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import pytest

from greenroom import LaunchPlan, task, workflow
from greenroom import context as contexts
from greenroom.artifacts import Artifact, Inputs
from greenroom.blobs import LocalBlobs
from greenroom.compile import program_of, submission_of
from greenroom.definition_errors import BadArgument, UnknownArgument
from greenroom.registering import to_register
from greenroom_core.entities import Query

Model = Artifact(name="model", partition_keys=["region"], time_partitioned=True)
Plain = Artifact(name="plain")


@task
def train(region: str, at: datetime) -> Annotated[str, Model(region=Inputs.region, time_partition=Inputs.at)]:
    return region


@task
def use(m: str, n: int) -> str:
    return m


@workflow
def using(n: int, m: str = Plain.query()) -> str:
    return use(m=m, n=n)


plan = LaunchPlan.create(
    "by-query", using, {"n": 3, "m": Model.query(region="eu", time_partition=datetime(2026, 1, 1))}
)
EU = Query("model", "", {"region": "eu", "time_partition": "2026-01-01T00:00:00+00:00"})


@pytest.fixture
def blobs(tmp_path: Path) -> LocalBlobs:
    return LocalBlobs(str(tmp_path))


def test_an_output_carries_its_name(blobs: LocalBlobs) -> None:
    """
    The task tells the hub what its output is called, and which inputs its partitions are.
    """
    (made,) = program_of(train, store=blobs).program.tasks.values()

    told = made.options["artifacts"]["o0"]
    assert ("model", {"region": "region", "time_partition": "at"}) == (told["name"], told["inputs"])


def test_a_query_is_left_to_the_hub(blobs: LocalBlobs) -> None:
    """
    An input that nobody gives goes as a query, one that somebody gives as its value.
    """
    compiled = program_of(using, store=blobs)

    asked = submission_of(compiled, (), {"n": 1}, store=blobs)
    given = submission_of(compiled, (), {"n": 1, "m": "x"}, store=blobs)

    assert ({"m": Query("plain")}, ["n"]) == (dict(asked.queries), list(asked.inputs))
    assert ({}, ["n", "m"]) == (dict(given.queries), list(given.inputs))


def test_a_plan_keeps_its_queries(blobs: LocalBlobs) -> None:
    """
    They are looked up each time that its schedule runs it.
    """
    compiled = program_of(plan, store=blobs)
    made = to_register(plan, compiled, None, blobs, name=None, version="v", by="", env={}).registration

    assert ({"m": EU}, ["n"]) == (dict(made.queries), list(made.inputs))


def test_in_this_process_the_value_is_given() -> None:
    """
    There is no hub to ask.
    """
    assert "x" == using(n=1, m="x")
    with pytest.raises(BadArgument, match="looked up by a hub"):
        using(n=1)


def test_a_task_may_name_partitions_itself() -> None:
    """
    The value is passed on, its partitions stand in the call's context.
    """
    with contexts.entered(contexts.local("m.t")) as context:
        assert 5 == Model.create_from(5, region="us", time_partition=datetime(2026, 1, 1, tzinfo=UTC))

    assert {"model": {"region": "us", "time_partition": "2026-01-01T00:00:00+00:00"}} == context.artifacts


@pytest.mark.parametrize("how", [{}, {"name": ""}, {"name": "a/b"}, {"name": "a", "version": "1"}])
def test_a_name_is_needed_and_no_version(how: dict[str, Any]) -> None:
    """
    The sentence says how it is written.
    """
    with pytest.raises(BadArgument):
        Artifact(**how)


def test_an_unknown_partition_is_named() -> None:
    """
    With those that there are.
    """
    with pytest.raises(UnknownArgument, match="region"):
        Model(area="eu")
