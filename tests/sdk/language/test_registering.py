"""What a hub is asked to keep, and what a client makes of what it fetched."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

from greenroom import CronSchedule, FixedRate, LaunchPlan, task, workflow
from greenroom.blobs import LocalBlobs
from greenroom.compile import program_of
from greenroom.definition_errors import BadArgument
from greenroom.errors import TypeMismatch
from greenroom.notifications import ConcurrencyPolicy, Email, Webhook, WorkflowExecutionPhase
from greenroom.registered import Registered
from greenroom.registering import kind_of, schedule_of, to_register
from greenroom_core.entities import CatchUp, Kind, Registration, Schedule
from greenroom_core.values import pack


class Color(Enum):
    RED = "red"


@dataclass
class Point:
    x: int
    y: float = 2.0


@task
def paint(n: int, color: Color, at: Point, names: list[str] | None = None, more: int = 3) -> str:
    return f"{n} {color} {at} {names} {more}"


@workflow
def painted(n: int, more: int = 4) -> str:
    return paint(n=n, color=Color.RED, at=Point(1), more=more)


nightly = LaunchPlan.create(
    "nightly",
    painted,
    default_inputs={"n": 7},
    fixed_inputs={"more": 9},
    schedule=CronSchedule(schedule="daily", offset="PT5M", timezone="Europe/Berlin", catch_up="last"),
    notifications=[Webhook("https://there/", [WorkflowExecutionPhase.FAILED]), Email(["succeeded"], ["a@b.c"])],
    concurrency=ConcurrencyPolicy(max_concurrency=2),
)


@pytest.fixture
def blobs(tmp_path: Path) -> LocalBlobs:
    return LocalBlobs(str(tmp_path))


def registration(entity: Any, blobs: LocalBlobs, version: str | None = "v1") -> Registration:
    compiled = program_of(entity, store=blobs)
    return to_register(entity, compiled, None, blobs, name=None, version=version, by="me", env={}).registration


def test_a_plan_goes_with_all_that_it_settles(blobs: LocalBlobs) -> None:
    """
    Defaults and fixed inputs are values, the schedule is plain, only webhooks are told.
    """
    made = registration(nightly, blobs)

    assert (Kind.LAUNCH_PLAN, "nightly", "v1", False) == (made.kind, made.name, made.version, made.derived)
    assert ({"n": pack(7)}, {"more": pack(9)}) == (dict(made.inputs), dict(made.fixed))
    daily = Schedule("0 0 * * *", offset_s=300, timezone="Europe/Berlin", catch_up=CatchUp.LAST)
    assert (daily, 2) == (made.schedule, made.concurrency)
    assert [("https://there/", ("failed",))] == [(hook.url, hook.outcomes) for hook in made.webhooks]


def test_without_a_version_the_code_is_the_version(blobs: LocalBlobs) -> None:
    """
    It is derived, and the hub may be told of it again.
    """
    made = registration(painted, blobs, None)

    assert made.derived
    assert 16 == len(made.version)


def test_a_rate_is_seconds() -> None:
    """
    A timedelta travels as seconds.
    """
    plan = LaunchPlan.create("often", painted, {"n": 1}, schedule=FixedRate(timedelta(minutes=5)))

    assert Schedule(every_s=300) == schedule_of(plan)


def test_what_is_not_sent_is_said(blobs: LocalBlobs) -> None:
    """
    A mail is accepted, and the person hears that none is sent.
    """
    notes = program_of(nightly, store=blobs).notes

    assert any("no Email is sent" in note for note in notes)


@pytest.mark.parametrize(
    "properties",
    [
        {"concurrency": 0},
        {"concurrency": True},
        {"concurrency": ConcurrencyPolicy(max_concurrency=-1)},
        {"notifications": ["https://there/"]},
    ],
)
def test_properties_that_mean_nothing_are_refused_where_they_are_given(properties: dict[str, Any]) -> None:
    """
    At definition, with the value.
    """
    with pytest.raises(BadArgument):
        LaunchPlan.create("bad", painted, **properties)


@pytest.mark.parametrize(
    ("url", "phases"), [("ftp://x/", None), ("x", None), ("https://x/", ["running"]), ("https://x/", [])]
)
def test_a_webhook_says_what_is_wrong_with_it(url: str, phases: Any) -> None:
    """
    Only http and https, only ends.
    """
    with pytest.raises(BadArgument):
        Webhook(url, phases)


def test_what_is_no_entity_is_not_registered() -> None:
    """
    A plain function gets a hint.
    """
    with pytest.raises(BadArgument, match="decorated"):
        kind_of(print)


class TestFetched:
    """A registered entity, as its description says it."""

    @pytest.fixture
    def fetched(self, blobs: LocalBlobs) -> Registered:
        interface = program_of(paint, store=blobs).program.interface
        told = {"kind": "task", "name": "m.paint", "project": "p", "version": "v1", "interface": interface}
        return Registered({**told, "inputs": {"names": "null", "more": "3"}, "fixed": {}})

    def test_its_inputs_are_typed_as_they_were(self, fetched: Registered, blobs: LocalBlobs) -> None:
        """
        Enums by value or member, records as dicts or objects of any class of that shape.
        """
        values = fetched.encode_inputs({"n": 1, "color": "red", "at": {"x": 2}, "names": ["a"]}, blobs)
        same = fetched.encode_inputs({"color": Color.RED, "at": Point(2)}, blobs)

        assert {"n": pack(1), "color": pack("red"), "at": pack({"x": 2}), "names": pack(["a"])} == values
        assert {"color": pack("red"), "at": pack({"x": 2, "y": 2.0})} == same

    @pytest.mark.parametrize("given", [{"n": "x"}, {"color": "blue"}, {"at": 3}, {"names": [1]}])
    def test_an_ill_typed_input_is_refused_here(
        self, fetched: Registered, blobs: LocalBlobs, given: dict[str, Any]
    ) -> None:
        """
        Before anything is sent.
        """
        with pytest.raises(TypeMismatch):
            fetched.encode_inputs(given, blobs)

    def test_defaults_are_the_hubs(self, fetched: Registered) -> None:
        """
        What was registered with a default need not be given.
        """
        required = [name for name, part in fetched.interface.inputs.items() if part.required]

        assert ["n", "color", "at"] == required
