"""The user's output, as far as it is shown."""

from __future__ import annotations

from greenroom.cli.tap import Tap


def log(text: str, node: str = "a", **fields) -> dict:
    return {"kind": "log", "node": node, "item": 0, "attempt": 1, "stream": "stdout", "text": text, **fields}


def test_lines_carry_their_node():
    """
    Whole lines, each with where it comes from.
    """
    assert Tap("wf-1").take(log("one\ntwo\n"), "a/3", 0.0) == ["a/3 | one", "a/3 | two"]


def test_pieces_join_to_lines():
    """
    A line that comes in pieces is one line, and streams do not mix.
    """
    tap = Tap("wf-1")

    shown = [
        *tap.take(log("lo"), "a", 0.0),
        *tap.take(log("other\n", stream="stderr"), "a", 0.0),
        *tap.take(log("ading\n"), "a", 0.0),
    ]

    assert shown == ["a | other", "a | loading"]


def test_a_progress_bar_is_its_last_state():
    """
    tqdm redraws its line; what it drew last counts.
    """
    assert Tap("wf-1").take(log("\r 10%\r 50%\r100%\r\n"), "a", 0.0) == ["a | 100%"]


def test_fifty_lines_a_second():
    """
    What is more is counted, and told with where to read it.
    """
    tap = Tap("wf-1", limit=3)

    first = tap.take(log("x\n" * 5), "a", 7.1)
    second = tap.take(log("x\n" * 2), "a", 7.9)
    later = tap.tick(8.0)
    again = tap.take(log("y\n"), "a", 8.1)

    assert (len(first), second) == (3, [])
    assert (later, again) == (["... 4 more: greenroom logs wf-1"], ["a | y"])


def test_at_the_end_nothing_is_held():
    """
    A last line without an end, and the count of those that were held back.
    """
    tap = Tap("wf-1", limit=2)
    tap.take(log("1\n2\n3\nrest"), "a", 1.0)

    assert tap.finish() == ["... 2 more: greenroom logs wf-1"]
    assert tap.finish() == []


def test_a_line_without_end_is_not_held_for_ever():
    """
    A task that prints megabytes without a line end costs no memory here.
    """
    shown = Tap("wf-1").take(log("x" * 10_000), "a", 0.0)

    assert shown == ["a | " + "x" * 4096]


def test_what_comes_twice_is_shown_once():
    """
    Output from before the stream was opened is read from the log, where the stream's own is too.
    """
    tap = Tap("wf-1")

    shown = [
        *tap.take(log("two\n", offset=4), "a", 0.0),
        *tap.take(log("three\n", offset=8), "a", 0.0),
        *tap.take(log("one\n", offset=0, item=1), "a", 0.0),
        *tap.take(log("two\nthree\nfour\n", offset=4), "a", 0.0),
    ]
    tap.caught_up()
    shown += tap.take(log("five\n", offset=19), "a", 0.0)

    assert shown == ["a | two", "a | three", "a | one", "a | four", "a | five"]


def test_what_was_on_its_way_while_the_log_was_read_is_shown_once():
    """
    The stream may bring a piece after the log gave it; what follows it is shown, and other calls are not touched.
    """
    tap = Tap("wf-1")
    shown = tap.take(log("one\ntwo\n", offset=0), "a", 0.0)
    tap.caught_up()

    for piece in (
        log("one\n", offset=0),
        log("two\nthree\n", offset=4),
        log("four\n", offset=14),
        log("one\n", offset=0, item=1),
    ):
        shown += tap.take(piece, "a", 0.0)

    assert shown == ["a | one", "a | two", "a | three", "a | four", "a | one"]
