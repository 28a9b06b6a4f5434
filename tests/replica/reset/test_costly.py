# ruff: noqa: E501 - programs and tables of cases read better on one line.
"""What was dear to make and is dropped is said once, with the remedy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from greenroom_replica.reset import Costly, Report
from tests.replica.reset.lab import Lab

Runner = Callable[..., Any]


def test_a_model_loaded_on_first_use_is_said_once(runner: Runner) -> None:
    """
    The pattern of a global that is None until it is loaded: named with size and time, and once.
    """
    flow = """
        import time
        _model = None
        class Model:
            def __init__(self): self.weights = bytearray(40_000_000)
        def task():
            global _model
            if _model is None:
                _model = Model()
                time.sleep(0.4)
    """

    def scenario(lab: Lab) -> Any:
        told = []
        for _ in range(2):
            lab.call("task")
            told.append(lab.wire())
        return told

    first, second = runner(scenario, flow=flow)

    assert first["costly"][0]["name"] == "flow._model"
    assert first["sentences"][0].startswith("flow._model (40 MB, up to 0.")
    assert first["sentences"][0].endswith(" s) was reset; use @actor_cache")
    assert second == {"restored": ["flow._model"]}


@pytest.mark.parametrize(
    ("source", "does", "name"),
    [
        ("import functools\n@functools.lru_cache\ndef load(): time.sleep(0.4); return object()", "load()", "flow.load"),
        ("MODELS = {}\nclass M: pass", "MODELS['a'] = M(); time.sleep(0.4)", "flow.MODELS['a']"),
        ("class M: pass\nclass Cache:\n    model = None", "Cache.model = M(); time.sleep(0.4)", "flow.Cache.model"),
        ("KEEP = []", "KEEP.append(bytearray(30_000_000)); time.sleep(0.01)", "flow.KEEP[0]"),
        ("X = 0", "global X; X = bytes(30_000_000); time.sleep(0.01)", "flow.X"),
    ],
)
def test_costly_values_are_found_wherever_they_were_kept(source: str, does: str, name: str, runner: Runner) -> None:
    """
    In memo tables, dicts, class attributes and lists, by time or by size.
    """
    flow = f"import time\n{source}\ndef task():\n    {does}\n"

    costly = runner(lambda lab: (lab.call("task"), lab.wire().get("costly"))[1], flow=flow)

    assert [name] == [item["name"] for item in costly]


def test_counters_and_results_of_long_calls_are_not_costly(runner: Runner) -> None:
    """
    A long call that counts, or keeps plain small results, is not told to cache them.
    """
    flow = "import time\nN = 0\nSEEN = []\ndef task():\n    global N\n    N += 1\n    SEEN.append({'score': 1.0})\n    time.sleep(0.4)\n"

    told = runner(lambda lab: (lab.call("task"), lab.wire())[1], flow=flow)

    assert told == {"restored": ["flow.N", "flow.SEEN"]}


def test_a_report_is_plain_values() -> None:
    """
    On the wire a report has only what is not empty, as types that msgpack knows.
    """
    import msgpack

    report = Report(["flow.X"], [Costly("flow.M", 1_234_567_890, 4.2)], {"threads": 1}, ["a thread"], "a thread stayed")

    wire = report.to_wire()

    assert wire == msgpack.unpackb(msgpack.packb(wire))
    assert wire["sentences"] == ["flow.M (1.2 GB, up to 4 s) was reset; use @actor_cache", "a thread"]
    assert Report().to_wire() == {}
    assert not Report()
    assert Report(reason="x").retire
