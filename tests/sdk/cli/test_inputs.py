"""Inputs on the command line."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum

import pytest

from greenroom.cli.exits import Usage
from greenroom.cli.inputs import read_inputs
from greenroom.types import Interface


class Colour(Enum):
    RED = "red"


@dataclass
class Point:
    x: int
    y: int = 0


def wf(
    n: int,
    batch_size: float = 1.5,
    name: str = "x",
    deep: bool = False,
    maybe: bool | None = None,
    names: list[str] = ["a"],  # noqa: B006
    point: Point = Point(1),
    colour: Colour = Colour.RED,
) -> None: ...


def read(*words: str, files: tuple[str, ...] = ()):
    return read_inputs("wf", Interface.of(wf), words, files)


@pytest.mark.parametrize(
    ("words", "values"),
    [
        (["--n", "3"], {"n": 3}),
        (["--n=-3"], {"n": -3}),
        (["--n", "-3"], {"n": -3}),
        (["--n", "1", "--batch_size", "2"], {"n": 1, "batch_size": 2.0}),
        (["--n", "1", "--batch-size=2.5"], {"n": 1, "batch_size": 2.5}),
        (["--n", "1", "--name", "--odd"], {"n": 1, "name": "--odd"}),
        (["--n", "1", "--deep"], {"n": 1, "deep": True}),
        (["--n", "1", "--no-deep"], {"n": 1, "deep": False}),
        (["--n", "1", "--no_deep"], {"n": 1, "deep": False}),
        (["--deep", "--n", "1"], {"n": 1, "deep": True}),
        (["--n", "1", "--deep", "false"], {"n": 1, "deep": False}),
        (["--n", "1", "--deep=true"], {"n": 1, "deep": True}),
        (["--n", "1", "--maybe"], {"n": 1, "maybe": True}),
        (["--n", "1", "--names", '["b", "c"]'], {"n": 1, "names": ["b", "c"]}),
        (["--n", "1", "--names", "b", "--names", "c"], {"n": 1, "names": ["b", "c"]}),
        (["--n", "1", "--point", '{"x": 2}'], {"n": 1, "point": Point(2)}),
        (["--n", "1", "--colour", "red"], {"n": 1, "colour": Colour.RED}),
    ],
)
def test_values_are_read_by_their_types(words, values):
    """
    In snake_case and kebab-case, with a blank or an equals sign; what is left out keeps its default.
    """
    assert read(*words) == values


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "wf needs --n (int)"),
        (["--n", "x"], "--n: expected int, got 'x'"),
        (["--n"], "--n needs a value: int"),
        (["--n", "1", "--n", "2"], "--n is given twice"),
        (["--n", "1", "--colour", "blue"], "--colour: expected "),
        (["--m", "1"], "wf has no input 'm'; it has --n (int), --batch_size (float), "),
        (["--n", "1", "--bach-size", "2"], "wf has no input 'bach-size'; did you mean --batch_size?"),
        (["3"], "'3' is no input: inputs of wf are given as --NAME VALUE; it has --n (int), "),
        (["--n", "1", "--detach"], "--detach is an option of run, not an input of wf: it stands before FILE"),
        (["-o", "text"], "-o is an option of run, not an input of wf: it stands before FILE"),
        (["--n", "1", "--no-name"], "wf has no input 'no-name'; did you mean --name?"),
        (["--n", "1", "--names", "b"], "--names: expected list[str], got 'b'"),
    ],
)
def test_what_does_not_fit_is_one_sentence(words, sentence):
    """
    With the option, what was expected, and what was meant perhaps.
    """
    with pytest.raises(Usage) as caught:
        read(*words)

    assert str(caught.value).startswith(sentence)


def test_an_entity_without_inputs_takes_none():
    """
    And says so.
    """

    def bare() -> None: ...

    with pytest.raises(Usage, match=r"bare has no input 'x'; it takes none"):
        read_inputs("bare", Interface.of(bare), ["--x", "1"])


def test_a_file_of_inputs(tmp_path):
    """
    JSON or YAML; the command line comes before it, and a file behind ENTITY too.
    """
    (tmp_path / "a.json").write_text(json.dumps({"n": 1, "batch-size": 2, "point": {"x": 5, "y": 6}}))
    (tmp_path / "b.yaml").write_text("n: 7\nnames: [q]\n")

    values = read("--n", "9", "--inputs-file", str(tmp_path / "b.yaml"), files=(str(tmp_path / "a.json"),))

    assert values == {"n": 9, "batch_size": 2.0, "point": Point(5, 6), "names": ["q"]}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "in.json: not JSON: "),
        ("[1]", "in.json: expected an object of inputs, got list"),
        ('{"m": 1}', "in.json: wf has no input 'm'; it has --n (int), "),
        ('{"n": "x"}', "in.json: n: expected int, got 'x' (str)"),
    ],
)
def test_a_file_that_does_not_fit(tmp_path, monkeypatch, text, sentence):
    """
    Is named.
    """
    (tmp_path / "in.json").write_text(text)
    monkeypatch.chdir(tmp_path)

    with pytest.raises(Usage) as caught:
        read(files=("in.json",))

    assert sentence in str(caught.value)


def test_a_file_that_is_not_there(tmp_path):
    """
    Is told with the system's reason.
    """
    with pytest.raises(Usage, match=r"--inputs-file .*no\.json: No such file or directory"):
        read(files=(str(tmp_path / "no.json"),))
