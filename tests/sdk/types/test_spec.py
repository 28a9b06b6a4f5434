# ruff: noqa: UP007, UP045
"""Types as plain data: whether one fits another, and where a promise's part leads."""

import datetime as dt
import pathlib
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, Optional, Union

import numpy as np
import pandas as pd
import pytest

from greenroom.errors import NoSuchPart
from greenroom.files import Directory, File
from greenroom.types import StructuredDataset, codec_for, kwtypes
from tests.sdk.types.shapes import Box, Color, Frozen, Movie, Node, Pair, Plain, Point, Point3, Special


def spec(annotation):
    return codec_for(annotation).describe()


@pytest.mark.parametrize(
    ("expected", "given"),
    [
        (int, int),
        (int, bool),
        (float, int),
        (Any, Point),
        (object, File),
        (int, Any),
        (Optional[int], int),
        (Optional[float], int),
        (Optional[int], None),
        (Union[int, str], str),
        (int, Optional[int]),
        (int, Union[int, str]),
        (Union[int, str], Union[str, int, None]),
        (list[float], list[int]),
        (list[Optional[int]], list[int]),
        (list[int], list[Optional[int]]),
        (Sequence[int], list[int]),
        (list[int], tuple[int, int]),
        (tuple[int, int], list[int]),
        (tuple[int, ...], tuple[int, int]),
        (list, list[int]),
        (list[int], list),
        (dict[str, float], dict[str, int]),
        (dict[str, Any], Point),
        (set[float], set[int]),
        (Point, Point),
        (Point, dict[str, int]),
        (Box[float], Box[int]),
        (Node, Node),
        (Pair, Pair),
        (str, Color),
        (Color, str),
        (Literal["a", "b"], str),
        (Literal["a", "b"], Literal["b"]),
        (str, Literal["a"]),
        (File, File["csv"]),
        (File["csv"], File),
        (File, str),
        (pathlib.Path, File),
        (File, pathlib.Path),
        (pd.DataFrame, StructuredDataset),
        (StructuredDataset, pd.DataFrame),
        (Annotated[pd.DataFrame, kwtypes(a=int)], pd.DataFrame),
        (np.ndarray, np.ndarray),
        (Plain, Special),
        (Callable, Plain),
        (Plain, Any),
    ],
    ids=str,
)
def test_it_fits(expected, given):
    """
    Some value of the one is a value of the other.
    """
    assert codec_for(expected).accepts(spec(given)) is None


@pytest.mark.parametrize(
    ("expected", "given", "sentence"),
    [
        (int, str, "int is expected, but this is str"),
        (int, float, "int is expected, but this is float"),
        (bool, int, "bool is expected, but this is int"),
        (str, int, "str is expected, but this is int"),
        (int, None, "int is expected, but nothing is returned"),
        (int, Optional[str], "int is expected, but this is str | None"),
        (Optional[int], str, "int | None is expected, but this is str"),
        (Union[int, str], float, "int | str is expected, but this is float"),
        (list[int], int, "list[int] is expected, but this is int"),
        (list[int], list[str], "list[int] is expected, but this is list[str]"),
        (list[int], dict[str, int], "list[int] is expected, but this is dict[str, int]"),
        (tuple[int, int], tuple[int], "2 items, not 1"),
        (tuple[int, ...], tuple[int, str], "tuple[int, ...] is expected"),
        (dict[str, int], dict[str, str], "dict[str, int] is expected"),
        (set[int], list[int], "set[int] is expected, but this is list[int]"),
        (Point, Frozen, "Point is expected, but this is tests.sdk.types.shapes.Frozen: it has no 'x'"),
        (Movie, Point, "it has no 'title'"),
        (Color, int, "Color is expected, but this is int"),
        (int, Color, "int is expected, but this is tests.sdk.types.shapes.Color"),
        (Literal["a"], Literal["b"], "'a' is expected, but this is 'b'"),
        (File["csv"], File["png"], 'File["csv"] is expected, but this is File["png"]'),
        (File, Directory, "File is expected, but this is Directory"),
        (dt.datetime, dt.date, "datetime is expected, but this is date"),
        (pd.DataFrame, list[int], "pandas.DataFrame is expected, but this is list[int]"),
        (
            Annotated[pd.DataFrame, kwtypes(a=int)],
            Annotated[pd.DataFrame, kwtypes(b=int)],
            "it has no column 'a'",
        ),
        (Special, Plain, "Special is expected, but this is tests.sdk.types.shapes.Plain"),
        (Plain, int, "Plain is expected, but this is int"),
    ],
    ids=str,
)
def test_it_does_not_fit(expected, given, sentence):
    """
    No value could; the sentence names both types.
    """
    assert sentence in str(codec_for(expected).accepts(spec(given)))


@pytest.mark.parametrize(
    ("annotation", "step", "reached", "name"),
    [
        (list[int], 3, 3, "int"),
        (list[int], -1, -1, "int"),
        (tuple[int, str], 1, 1, "str"),
        (tuple[int, str], -1, 1, "str"),
        (tuple[int, ...], 7, 7, "int"),
        (dict[str, int], "a", "a", "int"),
        (dict[int, str], 1, 1, "str"),
        (Point, "x", "x", "int"),
        (Pair, "left", "left", "int"),
        (Pair, 1, "right", "str"),
        (Movie, "year", "year", "int"),
        (Any, "whatever", "whatever", "Any"),
        (Optional[Point], "x", "x", "int"),
        (Union[Point, Pair], "left", "left", "int"),
        (Node, "next", "next", "tests.sdk.types.shapes.Node | None"),
    ],
    ids=str,
)
def test_a_part_has_a_type(annotation, step, reached, name):
    """
    Promises of parts are checked as promises of wholes are; places of named tuples are fields on the wire.
    """
    found, part = spec(annotation).part(step)

    assert (found, part.name) == (reached, name)


@pytest.mark.parametrize(
    ("annotation", "step", "sentence"),
    [
        (int, "x", "int has no part 'x': it has no parts"),
        (Point, "z", "Point has no part 'z': it has x, y"),
        (list[int], "a", "list[int] has no part 'a': its items are reached by number"),
        (tuple[int, str], 2, "tuple[int, str] has no part 2: it has 2 items"),
        (dict[str, int], 1, "dict[str, int] has no part 1: its keys are str"),
        (
            Plain,
            "n",
            "it is pickled, so that only Python code can look into it; pass it to a task that returns the part",
        ),
        (File, "path", "File has no part 'path': pass it to a task that returns the part"),
        (Optional[Point], "z", "it has x, y"),
    ],
    ids=str,
)
def test_a_part_that_is_not_there(annotation, step, sentence):
    """
    The error comes when the workflow is defined, and says what there is.
    """
    with pytest.raises(NoSuchPart) as caught:
        spec(annotation).part(step)

    assert sentence in str(caught.value)


def test_a_subclass_fits_where_its_base_is_declared(store):
    """
    It arrives as what it is, though the next task asks for the base only.
    """
    value = codec_for(Point3).encode(Point3(1, 2.0, 3), store)

    assert codec_for(Point).accepts(spec(Point3)) is None
    assert codec_for(Point).decode(value, store) == Point3(1, 2.0, 3)


def test_help_texts_find_what_they_show():
    """
    Kinds, names, members, values, formats: all plain.
    """
    assert spec(Color).options == {"values": ["red", "blue"], "names": ["RED", "BLUE"]}
    assert spec(File["csv"]).options == {"format": "csv"}
    assert [part.kind for part in spec(Optional[int]).members] == ["int", "none"]
    assert [(field.name, field.type.name, field.required) for field in spec(Point).fields] == [
        ("x", "int", True),
        ("y", "float", False),
    ]
    assert spec(Optional[int]).nullable and not spec(int).nullable
