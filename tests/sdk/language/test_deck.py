"""Reports of calls: decks, the tabs of their own accord, and a page that needs no script."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from greenroom import context as contexts
from greenroom import current_context
from greenroom.deck import Deck, MarkdownRenderer, TopFrameRenderer, page, report


@pytest.fixture(autouse=True)
def call() -> Iterator[contexts.Context]:
    """A call runs."""
    with contexts.entered(contexts.local("m.t")) as context:
        yield context


def double(n: int) -> int:
    return 2 * n


def test_a_deck_joins_the_report_of_the_call_that_runs(call: contexts.Context) -> None:
    """
    Its title and what was appended are in the page, in order.
    """
    Deck("mine", "<b>one</b>").append("<i>two</i>")

    made = report(call.decks, (), double, {}, {}).decode()

    assert "mine</label>" in made
    assert "<b>one</b>\n<i>two</i>" in made
    assert "Source Code" not in made


def test_a_report_of_its_own_accord_shows_the_call() -> None:
    """
    Inputs, outputs, the function's text, what is installed; values are text, whatever they hold.
    """
    made = report([], None, double, {"n": "<script>"}, {"o0": 4}).decode()

    for part in ("Input", "Output", "Source Code", "Dependencies", "return 2 * n", "&lt;script&gt;", "<pre>4</pre>"):
        assert part in made


def test_only_the_tabs_that_are_wanted() -> None:
    """
    `deck_fields` chooses.
    """
    made = report([], ["Input"], double, {"n": 1}, {"o0": 2}).decode()

    assert "Input</label>" in made
    assert "Output</label>" not in made


def test_a_value_that_cannot_be_shown_loses_no_report() -> None:
    """
    Somebody's broken __repr__ is named.
    """

    class Broken:
        def __repr__(self) -> str:
            raise ValueError

    assert "Broken: ValueError" in report([], ["Input"], double, {"n": Broken()}, {}).decode()


def test_a_report_that_is_too_large_says_so() -> None:
    """
    What is beyond 16 MiB is left out, the tabs before stay.
    """
    made = page([("small", "seen"), ("large", "x" * (17 << 20))])

    assert "seen" in made
    assert "Left out" in made
    assert len(made) < 10_000


def test_default_and_timeline_are_tabs_like_others(call: contexts.Context) -> None:
    """
    Each is made once, when it is first asked for.
    """
    current_context().default_deck.append("a")
    current_context().default_deck.append("b")
    current_context().timeline_deck.append("c")

    assert [("default", "a\nb"), ("Timeline", "c")] == [(deck.name, deck.html) for deck in call.decks]


@pytest.mark.parametrize("renderer", [TopFrameRenderer(max_rows=2)])
def test_a_frame_is_a_table(renderer: Any) -> None:
    """
    Of its first rows.
    """
    pandas = pytest.importorskip("pandas")

    assert "<table" in renderer.to_html(pandas.DataFrame({"a": range(100)}))


def test_markdown_is_shown_one_way_or_another() -> None:
    """
    As HTML where a package for it is there, else as text.
    """
    assert "title" in MarkdownRenderer().to_html("# title")
