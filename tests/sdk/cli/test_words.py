"""How figures read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenroom.cli.words import about, bytes_text, duration, fit, many, pad, size, table, tame, width_of


@pytest.mark.parametrize(
    ("seconds", "text", "fine"),
    [
        (0.0, "0 ms", "0 ms"),
        (0.004, "4 ms", "4 ms"),
        (0.04, "40 ms", "0.04 s"),
        (0.1, "0.1 s", "0.10 s"),
        (0.12, "0.1 s", "0.12 s"),
        (0.999, "1.0 s", "1.0 s"),
        (3.4, "3.4 s", "3.4 s"),
        (9.96, "10 s", "10 s"),
        (12.2, "12 s", "12 s"),
        (59.7, "1m00s", "1m00s"),
        (1896, "31m36s", "31m36s"),
        (7500, "2h05m", "2h05m"),
        (273000, "3d03h", "3d03h"),
    ],
)
def test_durations(seconds, text, fine):
    """
    As many figures as matter, and never 60 of a unit.
    """
    assert (duration(seconds), duration(seconds, fine=True)) == (text, fine)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0 s"), (2, "2 s"), (59.6, "1 min"), (840, "14 min"), (3600 * 3, "3 h"), (86400 * 2, "2 days")],
)
def test_loose_times(seconds, text):
    """
    How long ago, or in how long, without false exactness.
    """
    assert about(seconds) == text


@pytest.mark.parametrize(
    ("count", "column", "sentence"),
    [
        (0, "0", "0 bytes"),
        (1, "1", "1 byte"),
        (812, "812", "812 bytes"),
        (1024, "1.0K", "1 KiB"),
        (412 << 20, "412M", "412 MiB"),
        (1288490188, "1.2G", "1.2 GiB"),
        (16 << 30, "16G", "16 GiB"),
        (1 << 40, "1.0T", "1 TiB"),
    ],
)
def test_sizes(count, column, sentence):
    """
    Short in a column, with its unit in a sentence.
    """
    assert (size(count), bytes_text(count)) == (column, sentence)


def test_counts_and_nouns():
    """
    One of a thing has no s.
    """
    assert [many(1, "replica"), many(2, "replica"), many(3412, "entry", "entries")] == [
        "1 replica",
        "2 replicas",
        "3,412 entries",
    ]


def test_what_moves_the_cursor_is_taken_out():
    """
    A task cannot clear somebody's terminal or write its title; colours may stay.
    """
    text = "\x1b[31mred\x1b[0m \x1b[2J\x1b]0;title\x07\x1b[1A done\x07\x9b2J"

    assert tame(text, color=True) == "\x1b[31mred\x1b[0m  done2J"
    assert tame(text, color=False) == "red  done2J"


def test_width_counts_columns():
    """
    Wide letters take two columns, accents and colours none.
    """
    assert [width_of(text) for text in ("abc", "日本", "e\u0301", "\x1b[31mab\x1b[0m")] == [3, 4, 1, 2]


@given(st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=40), st.integers(3, 30))
def test_a_fitted_text_fits(text, width):
    """
    Whatever the text, its line does not wrap.
    """
    assert width_of(fit(text, width)) <= max(width, 3)
    assert fit(text, 100) == text


def test_a_cut_closes_its_colours():
    """
    The rest of the screen keeps its own.
    """
    assert fit("\x1b[31mabcdefghij\x1b[0m", 8) == "\x1b[31mabcde...\x1b[0m"


def test_padding_counts_columns():
    """
    Columns stand straight under wide letters too.
    """
    assert [pad("日本", 6) + "|", pad("abcdefgh", 6) + "|"] == ["日本  |", "abcdefgh|"]


def test_a_table():
    """
    Two blanks between columns, figures at the right, a short row runs free.
    """
    lines = table(
        ["ENVIRONMENT", "REPLICA", "NOW", "CALLS"],
        [
            ["classify", "r1", "wf-7k2m/classify/412", "812"],
            ["classify", "r2", "idle", "1888"],
            ["gpu-actor", "-", "waits: gpu=1, in use by wf-6zz1 and by others too"],
        ],
        right=["CALLS"],
    )

    assert lines == [
        "ENVIRONMENT  REPLICA  NOW                   CALLS",
        "classify     r1       wf-7k2m/classify/412    812",
        "classify     r2       idle                   1888",
        "gpu-actor    -        waits: gpu=1, in use by wf-6zz1 and by others too",
    ]
