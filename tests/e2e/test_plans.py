"""Registered entities, launch plans and gates as a person meets them: the command line, the API, a hub that dies."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgpack
import pytest

from greenroom_core.values import pack
from tests.e2e.harness import Person, visiting

FLOW = """
import datetime as dt
from flytekit import CronSchedule, Deck, LaunchPlan, approve, task, wait_for_input, workflow

@task
def add(a: int, b: int = 5) -> int:
    return a + b

@task(enable_deck=True)
def shows(n: int) -> int:
    Deck("mine", f"<b>n is {n}</b>")
    return n

@task
def told(at: dt.datetime, tag: str) -> str:
    return f"{tag} {at.isoformat()}"

@workflow
def wf(at: dt.datetime, tag: str = "t") -> str:
    return told(at=at, tag=tag)

@workflow
def gated(n: int) -> int:
    return add(a=approve(add(a=n), "review", timeout=600), b=wait_for_input("more", timeout=600, expected_type=int))

minutely = LaunchPlan.get_or_create(
    wf, "minutely", fixed_inputs={"tag": "cron"},
    schedule=CronSchedule(schedule="* * * * *", kickoff_time_input_arg="at", catch_up="all"),
)
"""
CALLER = """
from flytekit import reference_task, task, workflow

@reference_task(project="", domain="development", name="flow.add", version="v1")
def add(a: int, b: int) -> int: ...

@reference_task(project="", domain="development", name="flow.gone", version="v1")
def gone(a: int) -> int: ...

@task
def neg(x: int) -> int:
    return -x

@workflow
def wf(a: int) -> int:
    return neg(x=add(a=a, b=7))

@workflow
def bad(a: int) -> int:
    return gone(a=a)
"""


@pytest.fixture(scope="module")
def person(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    """Somebody whose project's entities are registered as version v1."""
    with visiting(tmp_path_factory.mktemp("plans") / "person") as visitor:
        visitor.write("pyproject.toml", '[project]\nname = "plans"\n')
        visitor.write("flow.py", FLOW)
        visitor.write("caller.py", CALLER)
        done = visitor.greenroom("register", "flow.py", "--version", "v1", "--json")
        assert done.code == 0, done.err
        assert ["flow.add", "flow.shows", "flow.told", "flow.wf", "flow.gated", "minutely"] == [
            one["name"] for one in done.value
        ]
        yield visitor


def test_a_reference_runs_what_was_registered_and_one_to_nothing_is_refused(person: Person) -> None:
    """
    The registered task runs in an execution of its own; an unknown one is named before anything runs.
    """
    refused = person.greenroom("run", "caller.py", "bad", "--a", 1)

    assert -10 == person.run("caller.py", "wf", "--a", 3)
    assert refused.code != 0
    assert "task plans/flow.gone@v1 is not registered here" in refused.err


def test_what_was_registered_runs_by_its_name(person: Person) -> None:
    """
    No code is sent; defaults are the registered ones; an ill-typed input is refused.
    """
    done = person.greenroom("launch-plans", "run", "flow.add", "--", "--a", 4)
    wrong = person.greenroom("launch-plans", "run", "flow.add", "--", "--a", "x")

    assert 0 == person.greenroom("watch", done.out.strip()).code
    assert 9 == person.greenroom("outputs", done.out.strip()).value
    assert (2, True) == (wrong.code, "expected int" in wrong.err)


def test_a_changed_program_needs_another_version(person: Person) -> None:
    """
    A version that was given stays what it is.
    """
    person.write("flow.py", FLOW.replace("a + b", "a + b + 1"))
    done = person.greenroom("register", "flow.py", "add", "--version", "v1")
    person.write("flow.py", FLOW)

    assert done.code != 0
    assert "choose another version" in done.err


def test_a_report_is_kept_and_served_in_a_sandbox(person: Person) -> None:
    """
    What the call's decks show is a page without script or origin; a call without a report says how to have one.
    """
    assert 3 == person.run("flow.py", "shows", "--n", 3)
    path = f"/api/executions/{person.last()}/nodes/shows/items/0"

    printed = person.greenroom("deck", "last/shows")
    headers = person.headers(f"{path}/deck")
    assert 6 == person.run("flow.py", "add", "--a", 1)
    none = person.greenroom("deck", "last/add")

    assert "<b>n is 3</b>" in printed.out
    assert ("sandbox", "nosniff") == (headers["content-security-policy"], headers["x-content-type-options"])
    assert "enable_deck=True" in none.err


def test_gates_are_answered_from_the_command_line(person: Person) -> None:
    """
    What waits is listed; an answer of another kind or type is refused; the right ones let it go on.
    """
    name = person.greenroom("run", "--detach", "flow.py", "gated", "--n", 4).out.strip()
    person.wait_until(lambda: "review" in person.greenroom("gates", name).out, "the gate is open")

    wrong = person.greenroom("set-input", f"{name}/more", "abc")
    person.greenroom("set-input", f"{name}/more", "30")
    agreed = person.greenroom("approve", name)
    again = person.greenroom("approve", f"{name}/review")

    assert "expected int" in wrong.err
    assert (0, True) == (agreed.code, "review is approved" in agreed.err)
    assert again.code != 0
    assert 0 == person.greenroom("watch", name).code
    assert "39" == person.greenroom("outputs", name).out.strip()


def test_activating_says_when_it_runs_and_what_does_not_last(person: Person) -> None:
    """
    The next three times; and that this hub is not there after a reboot.
    """
    done = person.greenroom("launch-plans", "activate", "minutely")
    listed = person.greenroom("launch-plans")
    stopped = person.greenroom("launch-plans", "deactivate", "minutely")

    assert 3 == done.err.partition("next:")[2].count(":00 ")
    assert "not across reboots: greenroom hub install" in done.err
    assert "* * * * * UTC" in listed.out
    assert 0 == stopped.code


def test_a_schedule_survives_a_hub_that_is_killed_and_no_time_comes_twice(person: Person) -> None:
    """
    The plan is active after the kill; each time has one execution, which got that very time; none is left out.
    """
    program = person.get("/api/entities/launch_plan/minutely")["program"]
    schedule = {"every_s": 2, "kickoff": "at", "catch_up": "all"}
    often = {**TOLD, "name": "often", "program": program, "fixed": {"tag": pack("cron")}, "schedule": schedule}
    kept = person.ask("POST", "/api/entities", msgpack.packb({"registration": often}), headers=MSGPACK)
    assert 201 == kept.status, kept.body
    assert 200 == person.ask("POST", "/api/launch-plans/often/activate", b"{}").status

    def fired() -> list[dict[str, Any]]:
        return list(person.greenroom("launch-plans", "show", "often", "--json").value["fired"])

    person.wait_until(fired, "its first time")
    person.kill_hub()
    before = fired()
    after = person.wait_until(lambda: len(found := fired()) > len(before) + 1 and found, "further times")
    person.greenroom("launch-plans", "deactivate", "often")

    times = sorted(one["scheduled_at"] for one in after)
    assert {2.0} == {later - earlier for earlier, later in zip(times, times[1:], strict=False)}
    execution = after[-1]["execution"]
    assert 0 == person.greenroom("watch", execution).code
    moment = datetime.fromtimestamp(after[-1]["scheduled_at"], UTC).isoformat()
    assert f"cron {moment}" == person.greenroom("outputs", execution).value


REMOTE = """
import datetime as dt
from flytekit.configuration import Config, ImageConfig, SerializationSettings
from flytekit.exceptions.user import FlyteEntityNotExistException
from flytekit.remote import FlyteRemote
from union import UnionRemote
import flow

remote = FlyteRemote(config=Config.auto(), default_project="plans", default_domain="development")
own = remote.execute(flow.add, inputs={"a": 1}, wait=True)
assert (own.outputs["o0"], own.is_successful, own.closure.phase, own.error) == (6, True, 4, None)
assert own.inputs["a"] == 1 and list(own.node_executions) == ["add"]
known = remote.fetch_task(name="flow.add", version="v1")
assert remote.execute(known, inputs={"a": 2, "b": 3}, wait=True).outputs["o0"] == 5
remote.register_workflow(flow.wf, SerializationSettings(image_config=ImageConfig.auto()), version="v7")
assert remote.fetch_launch_plan(name="flow.wf", version="v7").id.version == "v7"
asked = remote.execute(flow.gated, inputs={"n": 3})
while len(remote.list_signals(asked.id.name)) < 2:
    pass
remote.set_input("more", asked.id.name, 5)
remote.approve("review", asked.id.name)
assert remote.wait(asked, timeout=dt.timedelta(seconds=30)).outputs["o0"] == 13
ended = remote.execute(flow.gated, inputs={"n": 3})
remote.terminate(ended, "enough")
assert (ended.wait().closure.phase, "enough" in ended.error.message) == (7, True)
assert ended.id.name in [one.id.name for one in remote.recent_executions(limit=5)]
begin = dt.datetime(2026, 1, 1, tzinfo=dt.timezone.utc)
filled = remote.launch_backfill("plans", "", begin, begin + dt.timedelta(minutes=2), "minutely")
assert [one.outputs["o0"][-14:-6] for one in filled] == ["00:01:00", "00:02:00"]
try:
    UnionRemote().fetch_task(name="flow.nope")
except FlyteEntityNotExistException as fault:
    assert "not registered here" in str(fault)
print("done")
"""


def test_a_program_that_drives_flyte_drives_the_hub(person: Person) -> None:
    """
    Through the alias, the methods that users know: execute, wait, sync, terminate, fetch, register, gates, backfill.
    """
    person.write("drive.py", REMOTE)

    done = person.greenroom("exec", "--", "python", "drive.py")

    assert "done" == done.out.strip(), done.err


MSGPACK = {"Content-Type": "application/msgpack"}
TOLD = {"kind": "launch_plan", "name": "x", "version": "v1", "program": "0" * 32}
DOORS = [
    ("POST", "/api/entities", b"\xc1", 400),
    ("POST", "/api/entities", msgpack.packb({"registration": {}}), 400),
    ("POST", "/api/entities", msgpack.packb({"registration": TOLD}), 404),
    ("GET", "/api/entities/nonsense/x", b"", 400),
    ("GET", "/api/entities/task/x", b"", 404),
    ("GET", "/api/entities?limit=-1", b"", 400),
    ("GET", "/api/programs/..%2f..%2fkey", b"", 404),
    ("GET", "/api/launch-plans/none", b"", 404),
    ("POST", "/api/launch-plans/none/activate", b"{}", 404),
    ("POST", "/api/launch-plans/minutely/activate", b"[", 400),
    ("POST", "/api/launch-plans/minutely/activate", b'{"version": 3}', 400),
    ("POST", "/api/launch-plans/minutely/activate", b'{"version": "v9"}', 404),
    ("POST", "/api/launch-plans/minutely/activate", b'{"env": {"A": 1}}', 400),
    ("POST", "/api/launch-plans/nobody/deactivate", b"{}", 409),
    ("GET", "/api/gates?execution=nobody", b"", 404),
    ("POST", "/api/executions/last/nodes/nobody/gate", b"{}", 404),
    ("POST", "/api/executions/last/nodes/nobody/gate", b'{"value": "zz"}', 400),
    ("POST", "/api/executions/last/nodes/nobody/gate", b'{"approved": "yes"}', 400),
]


@pytest.mark.parametrize(("method", "path", "body", "status"), DOORS)
def test_bad_input_is_refused_with_a_sentence(person: Person, method: str, path: str, body: bytes, status: int) -> None:
    """
    Whatever comes in at these doors, the hub answers with a code and a sentence, and goes on.
    """
    answer = person.ask(method, path, body, headers=MSGPACK)

    assert status == answer.status, answer.body
    assert answer.json["message"]


REGISTRATIONS: list[tuple[dict[str, Any], str]] = [
    ({"name": ""}, "name"),
    ({"version": "a/b"}, "version"),
    ({"inputs": {"nope": pack(1)}}, "no input 'nope'"),
    ({"inputs": {"a": b"\xc1"}}, "input 'a'"),
    ({"concurrency": 0}, "concurrency"),
    ({"schedule": {"cron": "* * *"}}, "5"),
    ({"schedule": {"cron": "* * * * *", "timezone": "Mars"}}, "time zone"),
    ({"schedule": {"cron": "* * * * *", "kickoff": "zz"}}, "zz"),
    ({"webhooks": [{"url": "file:///etc/passwd"}]}, "http"),
    ({"webhooks": [{"url": "http://x/", "outcomes": ["running"]}]}, "running"),
]


@pytest.mark.parametrize(("told", "word"), REGISTRATIONS)
def test_a_registration_that_does_not_fit_is_refused(person: Person, told: dict[str, Any], word: str) -> None:
    """
    Each part is looked at before anything is kept.
    """
    program = person.ask("GET", "/api/entities/task/flow.add", b"").json["program"]
    body = msgpack.packb({"registration": {**TOLD, "program": program, **told}})

    answer = person.ask("POST", "/api/entities", body, headers=MSGPACK)

    assert 422 == answer.status, answer.body
    assert word in json.loads(answer.body)["message"]
