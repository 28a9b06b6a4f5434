# ruff: noqa: UP007, UP045
"""What people type on a command line, and what JSON says."""

import datetime as dt
import decimal
import json
import pathlib
import uuid
from typing import Annotated, Any, Literal, Optional, Union

import pydantic
import pytest

from greenroom.errors import BadText
from greenroom.files import Directory, File
from greenroom.types import parse_json, parse_text
from tests.sdk.types.shapes import Box, Color, Level, Movie, Operation, Pair, Plain, Point, Right, Tree


class Model(pydantic.BaseModel):
    n: int
    tags: list[str] = []


@pytest.mark.parametrize(
    ("annotation", "text", "value"),
    [
        (int, "3", 3),
        (int, " -1_000 ", -1000),
        (int, "0x10", 16),
        (float, "1e3", 1000.0),
        (bool, "true", True),
        (bool, "No", False),
        (bool, "1", True),
        (str, "3", "3"),
        (str, "", ""),
        (bytes, "ä", "ä".encode()),
        (None, "null", None),
        (Optional[int], "null", None),
        (Optional[int], "3", 3),
        (Optional[str], "none", None),
        (Optional[str], "text", "text"),
        (int | str, "3", 3),
        (str | int, "3x", "3x"),
        (bool | int, "1", 1),
        (bool | int, "true", True),
        (Union[dt.date, str], "2026-03-01", dt.date(2026, 3, 1)),
        (list[int], "[1, 2]", [1, 2]),
        (dict[int, float], '{"1": 2}', {1: 2.0}),
        (dict, '{"1": 2}', {"1": 2}),
        (tuple[int, str], '[1, "a"]', (1, "a")),
        (set[int], "[1, 1]", {1}),
        (Any, "[1]", [1]),
        (Any, "just text", "just text"),
        (dt.datetime, "2026-03-01T12:30:00+01:00", dt.datetime.fromisoformat("2026-03-01T12:30:00+01:00")),
        (dt.datetime, "2026-03-01 12:30", dt.datetime(2026, 3, 1, 12, 30)),
        (dt.datetime, "2026-03-01T12:30:00Z", dt.datetime(2026, 3, 1, 12, 30, tzinfo=dt.UTC)),
        (dt.datetime, "2026-03-01", dt.datetime(2026, 3, 1)),
        (dt.date, "2026-03-01", dt.date(2026, 3, 1)),
        (dt.date, "20260301", dt.date(2026, 3, 1)),
        (dt.time, "12:30", dt.time(12, 30)),
        (dt.timedelta, "90", dt.timedelta(seconds=90)),
        (dt.timedelta, "90s", dt.timedelta(seconds=90)),
        (dt.timedelta, "1h30m", dt.timedelta(minutes=90)),
        (dt.timedelta, "1 day, 2:30:00", dt.timedelta(days=1, hours=2, minutes=30)),
        (dt.timedelta, "1:30:00", dt.timedelta(minutes=90)),
        (dt.timedelta, "2 weeks 3 hours", dt.timedelta(weeks=2, hours=3)),
        (dt.timedelta, "PT1H30M", dt.timedelta(minutes=90)),
        (dt.timedelta, "P1DT0.5S", dt.timedelta(days=1, milliseconds=500)),
        (dt.timedelta, "-1.5 minutes", dt.timedelta(seconds=-90)),
        (dt.timedelta, "250ms", dt.timedelta(milliseconds=250)),
        (Color, "red", Color.RED),
        (Color, "RED", Color.RED),
        (Color, "Blue", Color.BLUE),
        (Level, "2", Level.HIGH),
        (Level, "HIGH", Level.HIGH),
        (Operation, "ADD", Operation.ADD),
        (Right, "READ", Right.READ),
        (Literal["a", 3, True, None], "3", 3),
        (Literal["a", 3, True, None], "true", True),
        (Literal["a", 3, True, None], "null", None),
        (Point, '{"x": 1}', Point(1)),
        (Box[int], '{"content": 1, "more": [2]}', Box(1, [2])),
        (Tree, '{"name": "a", "children": [{"name": "b"}]}', Tree("a", [Tree("b")])),
        (Pair, '{"left": 1}', Pair(1)),
        (Movie, '{"title": "a"}', {"title": "a"}),
        (Model, '{"n": "3"}', Model(n=3)),
        (decimal.Decimal, "1.10", decimal.Decimal("1.10")),
        (uuid.UUID, str(uuid.UUID(int=7)), uuid.UUID(int=7)),
        (pathlib.Path, "nowhere/x", pathlib.Path("nowhere/x")),
        (File, "s3://bucket/key", File("s3://bucket/key")),
        (Annotated[int, "metadata"], "3", 3),
    ],
    ids=str,
)
def test_what_is_typed_is_understood(annotation, text, value):
    """
    Every type reads the forms that people write.
    """
    found = parse_text(annotation, text)

    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("annotation", "text", "sentence"),
    [
        (int, "x", "--n: expected int, got 'x'"),
        (int, "2.0", "--n: expected int, got '2.0'"),
        (bool, "maybe", "--n: expected bool, got 'maybe'; write true or false"),
        (Optional[int], "x", "--n: expected int, got 'x'"),
        (int | float, "x", "--n: expected int | float, got 'x'"),
        (list[int], "1,2", "--n: expected list[int], got '1,2'; write it as JSON: Extra data"),
        (list[int], '[1, "a"]', "--n[1]: expected int, got 'a' (str)"),
        (dict[str, int], '{"a": 1.5}', "--n['a']: expected int, got 1.5 (float)"),
        (Point, '{"x": 1, "w": 1}', "got a field 'w'; it has x, y"),
        (Point, "{}", "got no 'x'; it has x, y"),
        (Color, "green", "--n: expected tests.sdk.types.shapes.Color (RED, BLUE), got 'green'"),
        (
            dt.datetime,
            "soon",
            "--n: expected datetime, got 'soon'; write 2026-03-01T12:30:00+01:00, 2026-03-01, or now",
        ),
        (dt.date, "2026-03-01T12:00", "expected date, got '2026-03-01T12:00'"),
        (dt.timedelta, "5 parsecs", "expected timedelta, got '5 parsecs'; write 90s"),
        (dt.timedelta, "", "expected timedelta, got ''"),
        (Model, '{"n": "x"}', "n: Input should be a valid integer"),
        (File, "nowhere", "--n: expected File, got 'nowhere'; no such file"),
        (Directory, "nowhere", "--n: expected Directory, got 'nowhere'; no such folder"),
        (Plain, "x", "--n: expected tests.sdk.types.shapes.Plain, got 'x'; objects of this class can only be made by"),
    ],
    ids=str,
)
def test_what_cannot_be_meant_is_told_in_one_sentence(annotation, text, sentence):
    """
    The option's name, what was expected, what was given, and a form to write.
    """
    with pytest.raises(BadText) as caught:
        parse_text(annotation, text, "--n")

    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_paths_are_files_of_this_host():
    """
    Files, folders and paths that exist are taken from where the person is.
    """
    pathlib.Path("a.txt").write_text("hello")

    assert parse_text(File, "a.txt") == File("a.txt")
    assert parse_text(Directory, ".") == Directory(".")
    assert parse_text(pathlib.Path, "a.txt") == pathlib.Path("a.txt").absolute()
    assert parse_text(list[File], '["a.txt", {"path": "a.txt"}]') == [File("a.txt"), File("a.txt")]


def test_json_and_yaml_files_hold_what_is_too_long_to_type():
    """
    A path in the place of JSON is read.
    """
    pathlib.Path("rows.json").write_text("[1, 2]")
    pathlib.Path("rows.yaml").write_text("- 1\n- 2\n")

    assert parse_text(list[int], "rows.json") == [1, 2]
    assert parse_text(list[int], "rows.yaml") == [1, 2]


@pytest.mark.parametrize(
    ("annotation", "value", "found"),
    [
        (int, 3, 3),
        (float, 3, 3.0),
        (float, "inf", float("inf")),
        (dt.timedelta, 90, dt.timedelta(seconds=90)),
        (dt.timedelta, "1h", dt.timedelta(hours=1)),
        (dt.datetime, 0, dt.datetime(1970, 1, 1, tzinfo=dt.UTC)),
        (Optional[int], None, None),
        (int | str, "3", "3"),
        (int | float, 1.0, 1.0),
        (Level, 2, Level.HIGH),
        (list[Point], [{"x": 1}], [Point(1)]),
        (decimal.Decimal, 1.5, decimal.Decimal("1.5")),
        (Any, {"a": [1]}, {"a": [1]}),
    ],
    ids=str,
)
def test_json_has_types_of_its_own(annotation, value, found):
    """
    A number is a number there, and a text a text.
    """
    assert parse_json(annotation, value) == found
    assert type(parse_json(annotation, value)) is type(found)


@pytest.mark.parametrize(
    ("annotation", "value", "sentence"),
    [
        (int, "3", "n: expected int, got '3' (str)"),
        (int, True, "n: expected int, got True (bool)"),
        (int, 2.0, "n: expected int, got 2.0 (float)"),
        (str, 3, "n: expected str, got 3 (int)"),
        (list[int], {"a": 1}, "n: expected list[int], got {'a': 1} (dict)"),
        (list[Point], [{"x": 1}, {"x": "a"}], "n[1].x: expected int, got 'a' (str)"),
        (File, 3, "n: expected File, got 3 (int)"),
    ],
    ids=str,
)
def test_json_of_another_type_is_refused(annotation, value, sentence):
    """
    The sentence leads to the part.
    """
    with pytest.raises(BadText) as caught:
        parse_json(annotation, value, "n")

    assert sentence in str(caught.value)


def test_an_error_survives_pickling_and_is_a_value_error():
    """
    Command lines catch it as they like.
    """
    import pickle

    with pytest.raises(ValueError) as caught:
        parse_text(int, "x" * 1000, "--n")

    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    assert len(str(caught.value)) < 120
    assert json.dumps(str(caught.value))
