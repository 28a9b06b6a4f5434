"""Lists, to the letter."""

from __future__ import annotations

import time

import pytest

from greenroom.cli.tables import cache_table, event_line, executions_table, replicas_table


def test_executions():
    """
    Newest first, as they come; how long ago and how long.
    """
    rows = [
        {"id": "wf-7k2m", "entity": "flow.wf", "state": "running", "by": "ann", "submitted": 990.0, "ended": None},
        {"id": "wf-6zz1", "entity": "train.wf", "state": "failed", "by": "bob", "submitted": 100.0, "ended": 103.4},
    ]

    assert executions_table(rows, 1000.0) == [
        "EXECUTION  ENTITY    STATE    BY   STARTED      TOOK",
        "wf-7k2m    flow.wf   running  ann  10 s ago     10 s",
        "wf-6zz1    train.wf  failed   bob  15 min ago  3.4 s",
    ]


def test_replicas():
    """
    As the design shows them: what each does, holds, and when it ends.
    """
    environments = [
        {
            "environment": "classify",
            "replicas": [
                {
                    "name": "r1",
                    "state": "ready",
                    "now": ["wf-7k2m/classify/412", "wf-7k2m/classify/413"],
                    "calls": 812,
                    "rss": 412 << 20,
                    "entries": 1,
                    "entry_bytes": 230 << 20,
                    "ends": None,
                },
                {
                    "name": "r2",
                    "state": "ready",
                    "now": [],
                    "calls": 188,
                    "rss": 398 << 20,
                    "entries": 1,
                    "entry_bytes": 230 << 20,
                    "ends": "in 14 min (ttl 15 min)",
                },
                {"name": "r3", "state": "starting", "now": [], "calls": 0, "rss": None, "entries": 0, "ends": None},
            ],
        },
        {"environment": "gpu-actor", "replicas": [], "waits": "gpu=1, in use by wf-6zz1"},
    ]

    assert replicas_table(environments) == [
        "ENVIRONMENT  REPLICA  NOW                        CALLS  RSS   ENTRIES  ENDS",
        "classify     r1       wf-7k2m/classify/412 (+1)    812  412M  1, 230M  -",
        "classify     r2       idle                         188  398M  1, 230M  in 14 min (ttl 15 min)",
        "classify     r3       starting                       0  -     -        -",
        "gpu-actor    -        waits: gpu=1, in use by wf-6zz1",
    ]


def test_cache():
    """
    Hits times load time is what was saved.
    """
    entries = [
        {
            "loader": "flow:load_model",
            "key": "state=3",
            "on": ["r1", "r2"],
            "bytes": 230 << 20,
            "gpu_bytes": None,
            "load_ms": 1900.0,
            "hits": 998,
            "saved_s": 1896.2,
            "used": 998.0,
        }
    ]

    assert cache_table(entries, 1000.0) == [
        "LOADER      KEY      ON     SIZE  GPU  LOAD   HITS  SAVED   USED",
        "load_model  state=3  r1 r2  230M  -    1.9 s   998  31m36s  2 s ago",
    ]


@pytest.mark.parametrize(
    ("event", "text"),
    [
        ({"kind": "node_started", "node": "classify", "what": "map", "total": 1000}, "classify  map  1000 calls"),
        (
            {
                "kind": "calls_finished",
                "node": "classify",
                "first": 0,
                "count": 64,
                "succeeded": 63,
                "failed": 1,
                "replica": "r1",
                "duration_ms": 3.2,
                "why": "idle",
                "cache": [{"loader": "flow.load", "hits": 63, "misses": 1, "load_ms": 1900}],
                "failures": [{"type": "ValueError", "message": "bad"}],
            },
            "classify/0-63  r1  63 succeeded  1 failed  3 ms  load: 63 hits, 1 load 1.9 s  idle  ValueError: bad",
        ),
        ({"kind": "calls_lost", "node": "a", "items": [4], "replica": "r2", "reason": "gone"}, "a/4  r2  gone"),
        ({"kind": "calls_cached", "node": "a", "items": [1, 2], "from": "wf-0"}, "a/1,... (2)  from wf-0"),
        (
            {"kind": "execution_ended", "outcome": "succeeded", "seconds": 3.4, "saved_s": 4.1},
            "succeeded  3.4 s  saved 4.1 s",
        ),
    ],
)
def test_events(event, text):
    """
    Number, time, kind, and what matters.
    """
    at = time.mktime((2026, 11, 22, 10, 2, 3, 0, 0, -1)) + 0.25

    assert event_line({"seq": 17, "at": at, **event}) == f"    17  10:02:03.250  {event['kind']:<19}  {text}"
