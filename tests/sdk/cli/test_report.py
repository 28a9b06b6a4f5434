"""The lines about an execution, to the letter."""

from __future__ import annotations

import pytest

from greenroom.cli.progress import Progress
from greenroom.cli.report import (
    bar,
    call_text,
    exit_code,
    failure_block,
    header,
    last_line,
    map_summary,
    node_line,
    own_paths,
    warning_lines,
)


def told(*events: dict) -> Progress:
    progress = Progress("wf-7k2m")
    for number, event in enumerate(events, 1):
        progress.fold({"seq": number, "at": 1000.0 + number, **event})
    return progress


def started(node: str, **fields) -> dict:
    return {"kind": "node_started", "node": node, "what": "task", "total": 1, **fields}


def finished(node: str, **fields) -> dict:
    return {
        "kind": "calls_finished",
        "node": node,
        "succeeded": 1,
        "failed": 0,
        "cancelled": 0,
        "replica": "r1",
        **fields,
    }


def status(**fields) -> dict:
    return {"seq": None, "kind": "status", "replicas": {}, "waits": [], **fields}


def test_the_header():
    """
    What runs, where, how warm, and the link.
    """
    progress = told(
        {"kind": "execution_submitted", "entity": "flow.wf", "inputs": {"n": "1000"}},
        status(replicas={"classify": {"ready": 2, "starting": 1}}),
    )

    line = header(progress, "local hub", "http://127.0.0.1:43117/e/wf-7k2m")

    assert line == "wf-7k2m  flow.wf(n=1000)  local hub, 2 warm replicas   http://127.0.0.1:43117/e/wf-7k2m"


def test_a_header_before_the_hub_said_how_warm_it_is():
    """
    Nothing is claimed that is not known.
    """
    assert header(Progress("wf-1"), "prod", "https://h/e/wf-1", "wf(n=1)") == "wf-1  wf(n=1)  prod   https://h/e/wf-1"


def test_long_inputs_are_cut():
    """
    A header stays a line.
    """
    assert call_text("f.w", {"a": '"' + "x" * 90 + '"'}) == "f.w(a=" + '"' + "x" * 54 + "...)"


def test_a_node_that_ended():
    """
    Its name and its time.
    """
    progress = told(
        {**started("list_files"), "at": 10.0},
        finished("list_files"),
        {"kind": "node_ended", "node": "list_files", "outcome": "succeeded", "at": 10.1},
    )

    assert node_line(progress.nodes["list_files"]) == " ok  list_files    0.1 s"


def test_a_node_that_loaded_something():
    """
    What was loaded explains the time.
    """
    progress = told(
        {**started("evaluate"), "at": 10.0},
        finished("evaluate", cache=[{"loader": "load", "hits": 0, "misses": 1, "load_ms": 4000.0}]),
        {"kind": "node_ended", "node": "evaluate", "outcome": "succeeded", "at": 14.1},
    )

    assert node_line(progress.nodes["evaluate"]) == " ok  evaluate      4.1 s  1 load (4.0 s)"


def test_a_map_under_way():
    """
    Counts, replicas, hits, loads and the time of one.
    """
    progress = told(
        started("classify", what="map", total=1000),
        finished("classify", succeeded=200, cache=[{"hits": 199, "misses": 1, "load_ms": 1800.0}]),
        finished("classify", succeeded=212, replica="r2", cache=[{"hits": 211, "misses": 1, "load_ms": 2000.0}]),
    )

    assert node_line(progress.nodes["classify"]) == (
        " ..  classify      412/1000  2 replicas, 410 hits, 2 loads (1.9 s)"
    )
    assert node_line(progress.nodes["classify"], 10) == (
        " ..  classify      ████░░░░░░ 412/1000  2 replicas, 410 hits, 2 loads (1.9 s)"
    )


def test_a_node_that_waits():
    """
    The reason and how long, once that is worth telling.
    """
    progress = told(
        started("train"),
        status(waits=[{"node": "train", "why": "gpu-actor needs gpu=1, in use by wf-6zz1", "seconds": 12}]),
    )

    assert node_line(progress.nodes["train"], waited=12.0) == (
        "     train         waits: gpu-actor needs gpu=1, in use by wf-6zz1 (12 s)"
    )
    assert node_line(progress.nodes["train"]) == " ..  train"


def test_a_map_that_took_outcomes_over_and_bore_failures():
    """
    How many were taken, from where, and what the failures were, those that were taken over counted once.
    """
    failure = {"item": 3, "attempt": 1, "type": "ValueError", "message": "bad", "where": "/home/ada/flow.py:41"}
    progress = told(
        started("m", what="map", total=6),
        {"kind": "calls_cached", "node": "m", "first": 0, "count": 3, "failed": 1, "from": "wf-0001"},
        {
            "kind": "calls_finished",
            "node": "m",
            "replica": "r1",
            "first": 3,
            "count": 3,
            "succeeded": 2,
            "failed": 1,
            "cancelled": 0,
            "failures": [failure],
        },
        {"kind": "node_ended", "node": "m", "outcome": "succeeded", "succeeded": 4, "failed": 2, "at": 0.2},
    )

    line = node_line(progress.nodes["m"])

    assert line.startswith(" ok  m             6/6, 2 failed, 2 cached from wf-0001  ")
    assert line.endswith("(1 ValueError at flow.py:41, 1 more)")


def test_what_ended_otherwise():
    """
    Cached, child, skipped, aborted and failed nodes say so.
    """
    progress = told(
        started("a"),
        {"kind": "calls_cached", "node": "a", "items": [0], "from": "wf-0001"},
        {"kind": "node_ended", "node": "a", "outcome": "succeeded"},
        {**started("b", what="child"), "at": 50.0},
        {"kind": "child_started", "node": "b", "execution": "my-child-1234"},
        {"kind": "node_ended", "node": "b", "outcome": "succeeded", "at": 50.2},
        {"kind": "node_ended", "node": "c", "outcome": "skipped"},
        {**started("d"), "at": 60.0},
        {
            "kind": "node_ended",
            "node": "d",
            "outcome": "failed",
            "failure": {"type": "ValueError", "message": "bad\nmore"},
            "at": 60.25,
        },
    )

    assert [node_line(node) for node in progress.nodes.values()] == [
        " ok  a             cached, from wf-0001",
        " ok  b             0.2 s  my-child-1234",
        " --  c             skipped",
        " FAIL d  ValueError: bad   (0.25 s)",
    ]


def test_retries_are_no_failures():
    """
    A call that failed and runs again has not failed.
    """
    progress = told(
        started("m", what="map", total=3, attempts=3),
        finished(
            "m",
            succeeded=0,
            failed=2,
            failures=[{"item": 0, "attempt": 1, "type": "E"}, {"item": 1, "attempt": 3, "type": "E"}],
        ),
    )

    assert node_line(progress.nodes["m"]) == " ..  m             1/3, 1 failed  1 replica"


def test_the_counts_of_failed_items():
    """
    By kind and place, the rest as a number.
    """
    progress = told(
        started("classify", what="map", total=1000),
        finished(
            "classify",
            succeeded=983,
            failed=17,
            failures=[{"item": i, "type": "ValueError", "where": "/home/ann/p/flow.py:41"} for i in range(15)]
            + [{"item": 15 + i, "type": "CallTimedOut"} for i in range(2)],
        ),
    )

    assert map_summary(progress.nodes["classify"], "/home/ann/p") == (
        "983 kept, 17 failed: 15 ValueError at flow.py:41, 2 timeouts"
    )
    progress.nodes["classify"].failed = 20
    assert map_summary(progress.nodes["classify"]).endswith(", 2 timeouts, 3 more")


def test_the_block_of_a_failed_item():
    """
    The traceback with the user's paths, the input, the last output, the other failures, and what to do.
    """
    progress = told(
        started("classify", what="map", total=1000),
        finished(
            "classify",
            succeeded=983,
            failed=17,
            failures=[
                {"item": i + 9, "attempt": 1, "duration_ms": 120.0, "type": "ValueError", "where": "/p/flow.py:41"}
                for i in range(17)
            ],
        ),
    )
    failure = {
        "type": "ValueError",
        "message": "bad pixel",
        "traceback": 'Traceback (most recent call last):\n  File "/p/flow.py", line 41, in classify\n'
        "    return model.predict(batch)\nValueError: bad pixel\n",
    }
    call = {
        "inputs": {"batch": '["img_017.png", ... 11 more]'},
        "last_output": "one\nloading img_017.png\n",
    }

    block = failure_block(
        failure,
        "wf-7k2m/classify/17",
        node=progress.nodes["classify"],
        item=17,
        call=call,
        hints=[
            ("here, in pdb", "greenroom debug wf-7k2m/classify/17"),
            ("only these", "greenroom rerun wf-7k2m --failed"),
        ],
        cwd="/p",
    )

    assert block == [
        " FAIL classify/17  ValueError: bad pixel   (attempt 1 of 1, 0.12 s)",
        '  File "flow.py", line 41, in classify',
        "    return model.predict(batch)",
        "ValueError: bad pixel",
        '  input   batch=["img_017.png", ... 11 more]     last output: "loading img_017.png"',
        "  map     983 kept, 17 failed: 17 ValueError at flow.py:41",
        "  here, in pdb:  greenroom debug wf-7k2m/classify/17",
        "  only these:    greenroom rerun wf-7k2m --failed",
    ]


def test_a_failure_without_a_traceback():
    """
    What the hub or a launcher says stands alone, all of its lines.
    """
    failure = {"type": "OutOfMemory", "message": "peak 2 GiB\nlimit 1 GiB"}

    assert failure_block(failure, "wf-1/train") == [" FAIL train  OutOfMemory: peak 2 GiB", "  limit 1 GiB"]


def test_paths_elsewhere_stay():
    """
    Only what lies below the folder one stands in is shortened.
    """
    text = 'File "/p/a.py", line 1\nFile "/pq/b.py", line 2'

    assert own_paths(text, "/p") == 'File "a.py", line 1\nFile "/pq/b.py", line 2'
    assert own_paths(text, "/") == text


def test_warnings_come_once():
    """
    Equal warnings of many calls are one line.
    """
    progress = told(
        started("check_set"),
        finished("check_set", warnings=[{"item": 0, "text": "None for str"}]),
        started("m", what="map", total=2),
        finished("m", succeeded=2, warnings=[{"item": 0, "text": "late"}, {"item": 1, "text": "late"}]),
    )

    assert warning_lines(progress) == [
        "     check_set     warning: None for str",
        "     m             warning: late (2 times)",
    ]


@pytest.mark.parametrize(
    ("end", "line", "code"),
    [
        ({"outcome": "succeeded", "seconds": 3.4, "saved_s": 4.1}, "ok   3.4 s; warm replicas saved 4.1 s", 0),
        ({"outcome": "succeeded", "seconds": 0.2, "saved_s": 0.0}, "ok   0.2 s", 0),
        ({"outcome": "failed", "seconds": 3.4, "failure": {"cause": "user"}}, "FAIL 3.4 s", 1),
        ({"outcome": "failed", "seconds": 3.4, "failure": {"cause": "lost"}}, "FAIL 3.4 s", 3),
        ({"outcome": "failed", "seconds": 3.4, "failure": {"cause": "timeout"}}, "FAIL 3.4 s", 4),
        ({"outcome": "aborted", "seconds": 3.4}, "cancelled after 3.4 s", 4),
        (
            {"outcome": "timed_out", "seconds": 9.0, "failure": {"type": "DeadlineExceeded", "message": "9 s"}},
            "timed out after 9.0 s: DeadlineExceeded: 9 s",
            4,
        ),
    ],
)
def test_the_last_line_and_the_exit_code(end, line, code):
    """
    How it ended, in words and as a number.
    """
    progress = told({"kind": "execution_ended", **end})

    assert (last_line(progress), exit_code(end)) == (line, code)


def test_who_cancelled_is_told():
    """
    The reason of a cancellation is in the last line.
    """
    progress = told(
        {"kind": "execution_cancelled", "by": "ann", "reason": "wrong input"},
        {"kind": "execution_ended", "outcome": "aborted", "seconds": 2.0},
    )

    assert last_line(progress) == "cancelled after 2.0 s: wrong input"


@pytest.mark.parametrize(("done", "total", "drawn"), [(0, 4, "░░░░"), (1, 4, "█░░░"), (4, 4, "████"), (0, 0, "████")])
def test_a_bar(done, total, drawn):
    """
    A map of nothing is complete.
    """
    assert bar(done, total, 4) == drawn


def test_news_from_a_newer_hub_does_no_harm():
    """
    Unknown kinds and missing fields are passed over.
    """
    progress = told(
        {"kind": "teleported"}, {"kind": "node_started", "node": "a"}, {"kind": "calls_finished", "node": "a"}
    )

    assert node_line(progress.nodes["a"]) == " ..  a"
