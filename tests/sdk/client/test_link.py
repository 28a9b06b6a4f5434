"""A client's way to its hub, across cuts, restarts and stops."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from greenroom import hubs
from greenroom.following import Follower
from greenroom.http import Endpoint, Request
from greenroom.hub_errors import HubError, HubGone, Refused, Unreachable
from greenroom.hubs import Hub
from greenroom.link import Link
from greenroom.operations import Chunk, cancel, chunks, get, path_to, result, submit
from greenroom.state import StateFolder
from greenroom_core.failure import Failure
from greenroom_core.program import Submission
from greenroom_core.values import pack
from tests.sdk.client.conftest import starts
from tests.sdk.client.fake_hub import Answer, FakeHub, as_msgpack, error


def hub_of(fake: FakeHub, token: str | None = None) -> Hub:
    return Hub("fake", Endpoint.parse(fake.url), fake.url, fake.token if token is None else token)


@pytest.fixture
def link(hub: FakeHub):
    link = Link(hub_of(hub))
    yield link
    link.close()


# Requests


def test_requests_share_a_connection(hub: FakeHub, link: Link):
    """
    One connection serves all requests of a thread.
    """
    for _ in range(4):
        link.drive(get("/api/hub"))

    assert hub.accepted == 1


def test_a_refusal_is_the_hubs_sentence(link: Link):
    """
    Status, code and message reach the caller.
    """
    with pytest.raises(Refused) as caught:
        link.drive(get("/api/executions/none"))

    assert (caught.value.status, caught.value.code, str(caught.value)) == (
        404,
        "unknown_execution",
        "no execution none",
    )


def test_a_wrong_token_is_refused(hub: FakeHub):
    """
    With what to do.
    """
    link = Link(hub_of(hub, "wrong"))

    with pytest.raises(Refused, match="a token is needed: greenroom login"):
        link.drive(get("/api/hub"))
    link.close()


def test_an_answer_that_is_no_json_is_shown(hub: FakeHub, link: Link):
    """
    A proxy's error page is better than nothing.
    """
    hub.route("GET", "/api/hub", lambda asked: Answer(502, b"<h1>Bad gateway</h1>", "text/html"))

    with pytest.raises(Refused, match="the hub answers with status 502: <h1>Bad gateway</h1>"):
        link.drive(get("/api/hub"))


def test_a_hub_that_is_away_is_waited_for():
    """
    Its restart is bridged, up to a limit.
    """
    slept: list[float] = []
    now = [0.0]

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    hub = Hub("far", Endpoint.parse("http://127.0.0.1:1"), "http://127.0.0.1:1", "")
    link = Link(hub, patience=10.0, clock=lambda: now[0], sleep=sleep)

    with pytest.raises(Unreachable, match=r"no hub answers at http://127.0.0.1:1: Connection refused"):
        link.drive(get("/api/hub"))

    assert slept[:5] == [0.05, 0.1, 0.2, 0.4, 0.8]
    assert max(slept) == 2.0
    assert 8.0 < sum(slept) <= 10.0


def test_a_crashed_local_hub_is_started_again(state: StateFolder):
    """
    kill -9 is no reason to lose a run: the next request finds a new hub.
    """
    link = Link(hubs.ensure_local_hub(state))
    link.drive(get("/api/hub"))
    os.kill(starts(state.path)[0], 9)

    answer = link.drive(get("/api/hub"))
    link.close()

    assert (answer["pid"], len(starts(state.path))) == (starts(state.path)[1], 2)


def test_a_stopped_local_hub_stays_stopped(state: StateFolder):
    """
    Who stopped it meant it.
    """
    found = hubs.ensure_local_hub(state)
    link = Link(found)
    hubs.stop_hub(found)

    with pytest.raises(HubGone, match="the hub was stopped: greenroom hub start"):
        link.drive(get("/api/hub"))

    assert len(starts(state.path)) == 1


def test_a_stopping_hub_says_so(hub: FakeHub, link: Link):
    """
    503 is the same news.
    """
    hub.route("GET", "/api/hub", lambda asked: error(503, "stopping", "stopping"))

    with pytest.raises(HubGone):
        link.drive(get("/api/hub"))


def test_a_stream_of_bytes(hub: FakeHub, link: Link):
    """
    Logs and the like are given as they come.
    """
    hub.route("GET", "/api/logs", lambda asked: Answer(200, b"x" * 600_000, "text/plain"))

    assert sum(map(len, link.stream(Request("GET", "/api/logs")))) == 600_000
    with pytest.raises(Refused):
        list(link.stream(Request("GET", "/api/nothing")))


# Operations


SUBMISSION = Submission(program="", inputs={"n": pack(3)}, key="k1")


def submission_of(program: bytes) -> Submission:
    import dataclasses

    from greenroom_core.program import program_digest

    return dataclasses.replace(SUBMISSION, program=program_digest(program))


def test_a_small_program_travels_along(hub: FakeHub, link: Link):
    """
    One request is enough, whether the hub knows the program or not.
    """
    submitted = link.drive(submit(submission_of(b"p"), b"p"))

    asked = hub.asked("POST", "/api/executions")
    assert [a.msgpack()["program"] for a in asked] == [b"p"]
    assert (submitted.id, submitted.url, submitted.notes) == ("wf-0001", f"{hub.url}/e/wf-0001", ())


def test_a_known_program_stays_here(hub: FakeHub, link: Link):
    """
    What the hub has is not sent again, and is sent if it has forgotten it.
    """
    link.drive(submit(submission_of(b"p"), b"p", known=True))
    link.drive(submit(submission_of(b"p"), b"p", known=True))

    programs = [asked.msgpack()["program"] for asked in hub.asked("POST", "/api/executions")]
    assert programs == [None, b"p", None]


def test_a_large_program_is_asked_for_first(hub: FakeHub, link: Link):
    """
    Megabytes of constants are not sent for nothing.
    """
    program = b"p" * 100_000

    link.drive(submit(submission_of(program), program))

    programs = [asked.msgpack()["program"] for asked in hub.asked("POST", "/api/executions")]
    assert programs == [None, program]


def test_a_result_may_come_with_the_submission(hub: FakeHub, link: Link):
    """
    A short call needs one request in all.
    """
    hub.on_submit = lambda run, submission: run.end(outputs={"o0": pack(7)})

    submitted = link.drive(submit(submission_of(b"p"), b"p", wait=1.0))

    assert submitted.result is not None
    assert (submitted.result.state, submitted.result.outputs) == ("succeeded", {"o0": pack(7)})


def test_a_submission_that_takes_longer_is_a_handle(hub: FakeHub, link: Link):
    """
    The wait is over, the execution goes on.
    """
    submitted = link.drive(submit(submission_of(b"p"), b"p", wait=0.01))

    assert (submitted.id, submitted.result) == ("wf-0001", None)


def test_a_failure_travels_whole(hub: FakeHub, link: Link):
    """
    Text, place and pickle.
    """
    failure = Failure.from_wire({"cause": "user", "type": "ValueError", "message": "bad", "pickle": b"x"})
    hub.run("wf-1").end("failed", failure=failure.to_wire(), failed_node="a", failed_item=3)

    ended = link.drive(result("wf-1"))

    assert (ended.failure, ended.failed_node, ended.failed_item, ended.ended) == (failure, "a", 3, True)


def test_chunks_of_a_map(hub: FakeHub, link: Link):
    """
    Columns as the hub sends them; an item is cut out without decoding the others.
    """
    ends = (1).to_bytes(4, "little") + (3).to_bytes(4, "little")
    hub.route("GET", "/api/executions/wf-1/nodes/m%2F1/outputs/o0", lambda asked: as_msgpack([[5, ends, b"abc"]]))

    read = link.drive(chunks("wf-1", "m/1", "o0", 5, 10))

    assert read == [Chunk(5, ends, b"abc")]
    assert list(read[0].values()) == [b"a", b"bc"]


def test_a_cancellation_carries_its_reason(hub: FakeHub, link: Link):
    """
    The hub records why.
    """
    run = hub.run("wf-1")

    link.drive(cancel("wf-1", "wrong input"))

    assert run.cancelled == ["wrong input"]


def test_names_are_one_part_of_a_path():
    """
    Whatever a node is called.
    """
    assert path_to("wf-1", "nodes", "a/b c", "items", "3") == "/api/executions/wf-1/nodes/a%2Fb%20c/items/3"


# Following


def test_events_come_once_across_cuts(hub: FakeHub, link: Link):
    """
    A broken connection loses nothing and repeats nothing.
    """
    run = hub.run("wf-1").add("node_started", node="a").add("node_started", node="b")
    follower = Follower(link, "wf-1")
    first = follower.read(5)

    hub.cut()
    run.add("node_ended", node="a")
    hub.cut()
    run.end()
    rest = list(follower)
    follower.close()

    assert [event["seq"] for event in [*first, *rest]] == [1, 2, 3, 4]
    assert follower.ended


def test_following_from_a_cursor(hub: FakeHub, link: Link):
    """
    Only what is new.
    """
    hub.run("wf-1").add("node_started", node="a").add("node_ended", node="a").end()

    follower = Follower(link, "wf-1", after=2)
    kinds = [event["kind"] for event in follower]
    follower.close()

    assert (kinds, follower.cursor) == (["execution_ended"], 3)


def test_what_is_no_fact_has_no_number(hub: FakeHub, link: Link):
    """
    Output and status come along, and do not move the cursor.
    """
    hub.run("wf-1").add("status", replicas={}, waits=[]).add("log", node="a", text="x").end()

    follower = Follower(link, "wf-1", logs=True)
    kinds = [event["kind"] for event in follower]
    follower.close()

    assert (kinds, follower.cursor) == (["status", "log", "execution_ended"], 1)
    assert hub.requests[-1].query["logs"] == "1"


def test_nothing_new_gives_nothing(hub: FakeHub, link: Link):
    """
    A reader with a time limit comes back.
    """
    hub.run("wf-1")
    follower = Follower(link, "wf-1")

    assert follower.read(0.01) == []
    follower.close()


def test_following_what_is_not_there(link: Link):
    """
    An unknown execution is an error, not an endless wait.
    """
    with pytest.raises(Refused):
        Follower(link, "none").read(1)


def test_following_survives_a_crash_of_the_local_hub(state: StateFolder):
    """
    The hub is started again, and the reader goes on; here the new hub does not know the execution, and says so.
    """
    link = Link(hubs.ensure_local_hub(state))
    with FakeHub(Path(state.path, "other")) as fake:
        fake.run("wf-1").add("node_started", node="a")
        link.hub = link.hub._replace(endpoint=Endpoint.parse(fake.url))
        follower = Follower(link, "wf-1")
        follower.read(5)
    record = json.loads(Path(state.path, "hub.json").read_text())

    with pytest.raises(HubError, match="no such execution"):
        follower.read(5)
    follower.close()
    link.close()

    assert str(link.hub.endpoint) == f"unix:{record['socket']}"
