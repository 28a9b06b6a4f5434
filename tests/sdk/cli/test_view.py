"""Which lines a person sees, and when."""

from __future__ import annotations

from greenroom.cli.progress import Progress
from greenroom.cli.screen import PlainScreen
from greenroom.cli.view import View


class Recorded(PlainScreen):
    def __init__(self, live: bool = False) -> None:
        super().__init__()
        self.live = live
        self.lines: list[str] = []
        self.shown: list[str] = []

    def write(self, lines) -> None:
        self.lines.extend(lines)

    def show(self, lines, region) -> None:
        self.write(lines)
        self.shown = list(region)

    def taken(self) -> list[str]:
        lines, self.lines = self.lines, []
        return lines


class Scene:
    """A view on a recorded screen, with a clock that the test moves."""

    def __init__(self, live: bool = False) -> None:
        self.now, self.number = 100.0, 0
        self.screen = Recorded(live)
        progress = Progress("wf-1")
        self.view = View(progress, self.screen, hub="local hub", url="u", call="flow.wf()", clock=lambda: self.now)

    def on(self, *events: dict) -> list[str]:
        numbered = []
        for event in events:
            if event["kind"] not in ("log", "status"):
                self.number += 1
                event = {"seq": self.number, "at": self.now, **event}
            numbered.append(event)
        self.view.on(numbered)
        return self.screen.taken()

    def later(self, seconds: float) -> list[str]:
        self.now += seconds
        self.view.tick()
        return self.screen.taken()


def started(node: str, **fields) -> dict:
    return {"kind": "node_started", "node": node, "what": "task", "total": 1, **fields}


def ended(node: str, outcome: str = "succeeded") -> dict:
    return {"kind": "node_ended", "node": node, "outcome": outcome}


def waits(why: str, seconds: float, node: str = "train") -> dict:
    return {"kind": "status", "replicas": {}, "waits": [{"node": node, "why": why, "seconds": seconds}]}


STATUS = {"kind": "status", "replicas": {"a": {"ready": 2}}, "waits": []}
HEADER = "wf-1  flow.wf()  local hub, 2 warm replicas   u"


def test_the_header_waits_for_how_warm_it_is():
    """
    It comes with the first status, before all else.
    """
    scene = Scene()

    first = scene.on({"kind": "execution_submitted", "entity": "flow.wf", "inputs": {}})
    second = scene.on(STATUS, started("a"), ended("a"))

    assert (first, second) == ([], [HEADER, " ok  a             0 ms"])


def test_the_header_does_not_wait_for_ever():
    """
    A hub that says nothing does not keep it back.
    """
    scene = Scene()

    assert (scene.later(0.1), scene.later(0.1)) == ([], ["wf-1  flow.wf()  local hub   u"])


def test_a_line_a_node():
    """
    Nodes that only hold others together are not shown.
    """
    scene = Scene()
    scene.on(STATUS)

    lines = scene.on(started("b", what="branch"), ended("b"), started("a"), ended("a"), ended("c", "skipped"))

    assert lines == [" ok  a             0 ms"]


def test_a_failure_is_told_by_the_end_or_soon():
    """
    The end's own report tells the failure that ended it; one that the execution survives is told in a moment.
    """
    scene = Scene()
    scene.on(STATUS, started("a"), started("b"))
    failed = {**ended("a", "failed"), "failure": {"type": "E", "message": "x"}}

    lines = [scene.on(failed), scene.later(0.3), scene.later(0.3), scene.later(0.3)]
    scene.on({**ended("b", "failed"), "failure": {"type": "F", "message": "y"}}, ended("c", "aborted"))
    scene.on(
        {"kind": "execution_ended", "outcome": "failed", "failure": {"type": "F"}, "failed_node": "b", "seconds": 1}
    )
    scene.view.finish()

    assert lines == [[], [], [" FAIL a  E: x   (0 ms)"], []]
    assert scene.screen.taken() == [" --  1 node not run: c", "FAIL 1.0 s"]


def test_a_wait_is_told_once_it_is_long():
    """
    Over a second, with its reason, once for each reason on a plain screen.
    """
    scene = Scene()
    scene.on(STATUS, started("train"))

    lines = [scene.on(waits("needs gpu=1", 0.4)), scene.later(0.5), scene.later(0.5), scene.later(60)]
    other = scene.on(waits("starting", 2.0))

    assert lines == [[], [], ["     train         waits: needs gpu=1 (1.4 s)"], []]
    assert other == ["     train         waits: starting (2.0 s)"]


def test_a_long_map_gives_signs_of_life():
    """
    On a plain screen after 5 s, then ever more seldom.
    """
    scene = Scene()
    scene.on(STATUS, started("m", what="map", total=100))
    scene.on({"kind": "calls_finished", "node": "m", "succeeded": 10, "replica": "r1"})

    times = [second for second in range(1, 121) if scene.later(1.0)]

    assert times == [5, 15, 45, 105]


def test_a_live_screen_redraws_what_runs():
    """
    What ended scrolls up and stays; what runs is below, with a wait that goes on.
    """
    scene = Scene(live=True)
    scene.on(STATUS, started("a"), started("train"))
    kept = scene.on(ended("a"), waits("needs gpu=1", 3.0))
    first = scene.screen.shown
    scene.later(9.0)

    assert kept == [" ok  a             0 ms"]
    assert first == ["     train         waits: needs gpu=1 (3.0 s)"]
    assert scene.screen.shown == ["     train         waits: needs gpu=1 (12 s)"]


def test_a_live_screen_shows_a_screenful():
    """
    However many nodes run.
    """
    scene = Scene(live=True)

    scene.on(STATUS, *[started(f"n{index}") for index in range(40)])

    assert (len(scene.screen.shown), scene.screen.shown[-1]) == (13, "     ... 28 more nodes")


def test_output_of_map_items_carries_their_number():
    """
    A map's calls are told apart, a task's call needs no number.
    """
    scene = Scene()
    log = {"kind": "log", "attempt": 1, "stream": "stdout"}

    lines = scene.on(
        STATUS,
        started("a"),
        started("m", what="map", total=9),
        {**log, "node": "a", "item": 0, "text": "x\n"},
        {**log, "node": "m", "item": 7, "text": "y\n"},
    )

    assert lines == [HEADER, "a | x", "m/7 | y"]


def test_notices_are_told_once():
    """
    What the hub has to say to the person, under the header.
    """
    scene = Scene()
    text = "genmo asks mem=100Gi gpu=1: running with 16 GiB, no gpu"

    first = scene.on({"kind": "execution_submitted", "entity": "f.w", "notes": ["cut"]}, STATUS)
    second = scene.on({"kind": "notice", "node": None, "text": text})
    third = scene.on(started("a"))

    assert (first, second, third) == ([HEADER, "     cut"], [f"     {text}"], [])


def test_the_end():
    """
    Warnings and what failed before the last line.
    """
    scene = Scene()
    scene.on(STATUS, started("a"))
    scene.on({"kind": "calls_finished", "node": "a", "succeeded": 1, "warnings": [{"item": 0, "text": "None for str"}]})
    scene.on({"kind": "execution_ended", "outcome": "succeeded", "seconds": 3.4, "saved_s": 4.1})

    scene.view.finish(["more"])

    assert scene.screen.taken() == [
        "     a             warning: None for str",
        "more",
        "ok   3.4 s; warm replicas saved 4.1 s",
    ]
