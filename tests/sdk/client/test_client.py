"""The client and its handles, under a hub that makes up the results."""

from __future__ import annotations

import hashlib
import pickle
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from greenroom import Client
from greenroom.client import default_client
from greenroom.client import run as run_now
from greenroom.hub_errors import ExecutionCancelled, ExecutionFailed, ExecutionTimedOut, Refused, StillRunning
from greenroom_core.program import Program
from greenroom_core.values import Ext, ext, list_length, pack
from tests.sdk.client.fake_hub import FakeHub, Run, as_msgpack


@pytest.fixture
def client(hub: FakeHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """A client of the fake hub, as if it were remote."""
    monkeypatch.setenv("GREENROOM_TOKEN", hub.token)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with Client(hub.url) as client:
        yield client


def answers(**outputs: bytes) -> Callable[[Run, object], None]:
    def end(run: Run, submission: object) -> None:
        run.end(outputs=outputs)

    return end


def fails(
    state: str = "failed", error: BaseException | None = None, **failure: object
) -> Callable[[Run, object], None]:
    def end(run: Run, submission: object) -> None:
        told = {"cause": "user", "type": "Elsewhere", "message": "bad pixel", **failure}
        if error is not None:
            told.update(type=type(error).__name__, pickle=pickle.dumps(error))
        run.end(state, failure=told, failed_node="double", failed_item=3)

    return end


# Running


def test_a_result_is_opened_by_the_annotation(hub, client, programs):
    """
    What comes back is what a call would have returned: a value, a tuple, a named tuple, or None.
    """
    results = []
    for entity, outputs in [
        (programs.one, {"o0": pack(6)}),
        (programs.two, {"o0": pack(6), "o1": pack(7)}),
        (programs.pair, {"left": pack(1), "right": pack("x")}),
        (programs.none, {}),
    ]:
        hub.on_submit = answers(**outputs)
        results.append(client.run(entity, n=1).result())

    assert results == [6, (6, 7), programs.Pair(1, "x"), None]
    assert type(results[2]) is programs.Pair


def test_the_submission_says_all_that_is_known(hub, client, programs):
    """
    Inputs with their defaults, options, who; and no shell variables, which stay on this machine.
    """
    hub.on_submit = answers(o0=pack(6))

    chosen = client.options(
        name="my-run", env={"A": "1"}, labels={"k": "v"}, cached_results="off", priority=3, deadline=9.0
    )
    execution = chosen.run(programs.one)

    submission = hub.submissions[0]
    assert execution.id == "my-run"
    assert submission["inputs"] == {"n": pack(3)}
    assert (submission["env"], submission["labels"]) == ({"A": "1"}, {"k": "v"})
    assert (submission["cached_results"], submission["priority"], submission["deadline"]) == ("off", 3, 9.0)
    assert submission["by"] and submission["key"]


def test_options_are_checked():
    """
    A typo is an error here, not a surprise there.
    """
    with pytest.raises(TypeError, match="no option 'naem'; there are name, env, labels"):
        Client("http://127.0.0.1:1").options(naem="x")
    with pytest.raises(ValueError, match="'sometimes' is not a valid CachedResults"):
        Client("http://127.0.0.1:1").options(cached_results="sometimes")


def test_options_leave_the_client_as_it_is(hub, client, programs):
    """
    They make another one.
    """
    hub.on_submit = answers(o0=pack(6))
    client.options(name="a").run(programs.one).result()
    client.run(programs.one).result()

    assert [submission.get("name") for submission in hub.submissions] == ["a", None]


def test_the_program_is_complete(hub, client, programs):
    """
    What the hub gets can be run there: graph, tasks by name, the bundle's hash, the interpreter.
    """
    client.run(programs.one)

    program = Program.unpack(hub.asked("POST", "/api/executions")[0].msgpack()["program"])
    assert program.entity.endswith("programs.one")
    assert [task.qualname for task in program.tasks.values()] == ["double"]
    assert program.bundle in hub.blobs
    assert program.interpreter is not None and program.interpreter.executable


def test_code_is_sent_once(hub, client, programs):
    """
    The second run sends neither files nor the program again.
    """
    client.run(programs.one)
    before = len(hub.requests)

    client.run(programs.one, n=4)

    asked = hub.requests[before:]
    assert [request.path for request in asked] == ["/api/executions"]
    assert asked[0].msgpack()["program"] is None


def test_another_client_sends_only_what_is_missing(hub, client, programs):
    """
    Files that the hub has are asked for by name, not sent.
    """
    client.run(programs.one)
    before = len(hub.requests)

    with Client(hub.url) as other:
        other.run(programs.one)

    assert [request.method for request in hub.requests[before:] if "/blobs/" in request.path] == ["HEAD"]


def test_large_inputs_are_blobs(hub, client, programs):
    """
    200 KiB do not travel inside of the submission.
    """
    text = "x" * 200_000

    client.run(programs.long, text=text)

    value = hub.submissions[0]["inputs"]["text"]
    sha256 = hashlib.sha256(pack(text)).hexdigest()
    assert len(value) < 400
    assert hub.blobs[sha256] == pack(text)


def test_on_this_host_blobs_go_straight_to_the_folder(hub, monkeypatch, programs):
    """
    A local hub's folder is written directly, and calls see this shell's variables.
    """
    monkeypatch.setenv("GREENROOM_STATE", str(hub.state))
    monkeypatch.setenv("MY_SHELL", "says so")
    hub.write_record()
    with Client() as client:
        client.run(programs.long, text="x" * 200_000)

    assert [asked.path for asked in hub.requests] == ["/api/executions"]
    assert len([path for path in (hub.state / "blobs").rglob("*") if path.is_file()]) >= 3
    assert hub.submissions[0]["env"]["MY_SHELL"] == "says so"
    assert "PWD" not in hub.submissions[0]["env"]


def test_turns_take_one_request(hub, client, programs):
    """
    Who waits for each result before the next run gets it with the submission; who does not, does not wait.
    """
    hub.on_submit = answers(o0=pack(6))
    for _ in range(3):
        client.run(programs.one).result()
    taking_turns = len(hub.requests)
    for _ in range(3):
        client.run(programs.one).result()
    at_once = len(hub.requests)
    client.run(programs.one)
    hub.on_submit = lambda run, submission: None
    client.run(programs.one)
    client.run(programs.one)

    assert at_once - taking_turns == 3
    assert "wait" not in hub.requests[-1].query


def test_an_unknown_input_never_leaves_this_process(hub, client, programs):
    """
    Errors in the call are told before anything is sent.
    """
    with pytest.raises(TypeError, match="m"):
        client.run(programs.one, m=1)
    with pytest.raises(TypeError, match="expected int, got 'x'"):
        client.run(programs.one, n="x")

    assert hub.submissions == []


def test_what_is_no_entity_is_told(client):
    """
    A plain function is not run by accident.
    """
    with pytest.raises(ValueError, match="is the function decorated"):
        client.run(len)


def test_a_refused_submission_is_the_hubs_sentence(hub, client, programs):
    """
    The person reads why.
    """
    from tests.sdk.client.fake_hub import error

    hub.route("POST", "/api/executions", lambda asked: error(409, "conflict", "an execution is already called 'x'"))

    with pytest.raises(Refused, match="an execution is already called 'x'"):
        client.run(programs.one)


# Waiting


def test_a_result_is_waited_for(hub, client, programs):
    """
    As long as it takes.
    """
    execution = client.run(programs.one)
    threading.Timer(0.1, lambda: hub.runs[execution.id].end(outputs={"o0": pack(6)})).start()

    assert (execution.is_done, execution.state) == (False, "running")
    assert execution.result() == 6
    assert (execution.is_done, execution.state) == (True, "succeeded")


def test_the_time_can_be_over(hub, client, programs):
    """
    The execution goes on, and can be asked again.
    """
    execution = client.run(programs.one)

    with pytest.raises(StillRunning, match=r"wf-0001 has not ended within 0.05 s; it goes on"):
        execution.result(timeout=0.05)
    with pytest.raises(TimeoutError):
        execution.wait(timeout=0)
    hub.runs[execution.id].end(outputs={"o0": pack(6)})

    assert execution.wait(5).result() == 6


def test_outputs_by_name(hub, client, programs):
    """
    As users of other systems know them.
    """
    hub.on_submit = answers(o0=pack(6), o1=pack(7))

    outputs = client.run(programs.two).outputs

    assert (outputs["o0"], dict(outputs)) == (6, {"o0": 6, "o1": 7})


def test_an_execution_by_id(hub, client):
    """
    Values say themselves what they are, also without the program; several named outputs have their names.
    """
    hub.run("wf-9").end(outputs={"left": pack(1), "right": pack("x")})

    result = client.execution("wf-9").result()

    assert (result.left, result.right) == (1, "x")
    assert client.execution("last").id == "wf-9"
    with pytest.raises(Refused):
        client.execution("none")


def ends(*sizes: int) -> bytes:
    at, parts = 0, []
    for size in sizes:
        at += size
        parts.append(at.to_bytes(4, "little"))
    return b"".join(parts)


def test_a_maps_results_are_read_in_pages(hub, client, programs):
    """
    However many there are: no answer holds them all, and a stream never has them all in memory.
    """
    values = [pack(n) for n in range(50_000)]
    manifest = pack(ext(Ext.MANIFEST, ["wf-0001", "double", "o0", len(values)]))
    hub.on_submit = answers(o0=manifest)

    def page(asked):
        start = int(asked.query["start"])
        part = values[start : start + min(int(asked.query["count"]), 7000)]
        return as_msgpack([[start, ends(*map(len, part)), b"".join(part)]] if part else [])

    hub.route("GET", "/api/executions/wf-0001/nodes/double/outputs/o0", page)
    execution = client.run(programs.many, ns=[1])

    assert list_length(manifest) == 50_000
    assert sum(1 for _ in execution.stream()) == 50_000
    assert execution.result() == list(range(50_000))


def test_a_stream_of_what_is_no_list(hub, client, programs):
    """
    Told, with what to use instead.
    """
    hub.on_submit = answers(o0=pack(6))

    with pytest.raises(TypeError, match="this output is of kind int, not a list"):
        list(client.run(programs.one).stream())


# Failing


def test_the_users_own_error_is_raised(hub, client, programs):
    """
    With its class and arguments; its cause tells where it happened, with the traceback of the replica.
    """
    hub.on_submit = fails(error=programs.BadPixel("img_017"), traceback='Traceback\n  File "flow.py", line 41')

    with pytest.raises(programs.BadPixel, match="img_017") as caught:
        client.run(programs.one).result()

    cause = caught.value.__cause__
    assert isinstance(cause, ExecutionFailed)
    assert cause.address == "wf-0001/double/3"
    assert str(cause) == 'wf-0001/double/3: BadPixel: bad pixel\n\nTraceback\n  File "flow.py", line 41'


def test_an_error_that_cannot_be_had_here_is_told(hub, client, programs):
    """
    Its class is not here, or it never was pickled: text says it all.
    """
    unknown = pickle.dumps(programs.BadPixel("x")).replace(b"BadPixel", b"NoSuchXx")
    for failure in ({}, {"pickle": b"garbage"}, {"pickle": unknown}, {"pickle": pickle.dumps("no exception")}):
        hub.on_submit = fails(**failure)

        with pytest.raises(ExecutionFailed, match="Elsewhere: bad pixel"):
            client.run(programs.one).result()


def test_an_error_of_pythons_own_needs_no_pickle(hub, client, programs):
    """
    Its text is enough.
    """
    hub.on_submit = fails(type="ValueError")

    with pytest.raises(ValueError, match="bad pixel") as caught:
        client.run(programs.one).result()

    assert type(caught.value) is ValueError and isinstance(caught.value.__cause__, ExecutionFailed)


@pytest.mark.parametrize(
    ("state", "failure", "kind"),
    [
        ("aborted", {"cause": "cancelled", "type": "Cancelled"}, ExecutionCancelled),
        ("timed_out", {"cause": "timeout", "type": "DeadlineExceeded"}, ExecutionTimedOut),
        ("failed", {"cause": "timeout", "type": "CallTimedOut"}, ExecutionTimedOut),
        ("failed", {"cause": "lost", "type": "ReplicaLost"}, ExecutionFailed),
    ],
)
def test_other_ends_have_their_own_class(hub, client, state, failure, kind, programs):
    """
    Cancelled and timed out are told apart from failed.
    """
    hub.on_submit = fails(state, **failure)

    with pytest.raises(ExecutionFailed) as caught:
        client.run(programs.one).result()

    assert type(caught.value) is kind


def test_errors_survive_pickling(hub, client, programs):
    """
    They cross process borders like any error of this house.
    """
    hub.on_submit = fails()
    try:
        client.run(programs.one).result()
    except ExecutionFailed as error:
        again = pickle.loads(pickle.dumps(error))

    assert (str(again), again.failure.type) == ("wf-0001/double/3: Elsewhere: bad pixel", "Elsewhere")


# Looking


def test_events_of_a_handle(hub, client, programs):
    """
    From a cursor to the end.
    """
    hub.on_submit = lambda run, submission: run.add("node_started", node="a").end(outputs={"o0": pack(6)})

    kinds = [event["kind"] for event in client.run(programs.one).events(after=1)]

    assert kinds == ["execution_ended"]


def test_lists_and_cancel(hub, client, programs):
    """
    What the command line shows, the client gives.
    """
    execution = client.run(programs.one)
    execution.cancel("enough")
    client.cancel(execution.id)
    from tests.sdk.client.fake_hub import as_json

    hub.route("GET", "/api/replicas", lambda asked: as_json({"environments": [{"environment": "a"}]}))
    hub.route("GET", "/api/cache", lambda asked: as_json({"entries": []}))

    assert hub.runs[execution.id].cancelled == ["enough", "cancelled by the client"]
    assert [row["id"] for row in client.executions(limit=5, state="running")] == [execution.id]
    assert (client.replicas(), client.cache()) == ([{"environment": "a"}], [])
    assert execution.show()["id"] == execution.id


def test_the_short_way(hub, monkeypatch, programs):
    """
    `greenroom.run` uses the hub that the environment means, one client for the process.
    """
    monkeypatch.setenv("GREENROOM_STATE", str(hub.state))
    hub.write_record()
    hub.on_submit = answers(o0=pack(6))

    result = run_now(programs.one, n=1).result()

    assert result == 6
    assert default_client() is default_client()
    default_client().close()
    monkeypatch.setattr("greenroom.client._default", {})
