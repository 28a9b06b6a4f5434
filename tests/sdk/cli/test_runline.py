"""The command line of `run`, taken apart."""

from __future__ import annotations

import pytest

from greenroom.cli import entry
from greenroom.cli.exits import Usage
from greenroom.cli.runline import OPTIONS, help_text, parse


def test_options_before_the_file_are_ours():
    """
    And what follows it is the entity's, also where the names are equal.
    """
    line = parse(["--name", "x", "--detach", "flow.py", "wf", "--name", "Bob", "--detach"])

    assert line.options == {"name": "x", "detach": True}
    assert (line.file, line.rest) == ("flow.py", ("wf", "--name", "Bob", "--detach"))


@pytest.mark.parametrize(
    ("words", "options"),
    [
        (["--output=text"], {"output": "text"}),
        (["-o", "text"], {"output": "text"}),
        (["-otext"], {"output": "text"}),
        (["-p", "mine"], {"project": "mine"}),
        (["--env", "A=1", "-e", "B=2"], {"env": ["A=1", "B=2"]}),
        (["--hub=http://h:1/x=y"], {"hub": "http://h:1/x=y"}),
        (["--here", "--strict", "--no-alias"], {"here": True, "strict": True, "no_alias": True}),
    ],
)
def test_forms_of_options(words, options):
    """
    Long and short, with a blank or an equals sign, several times.
    """
    assert parse([*words, "f.py"]).options == options


def test_what_people_bring_from_elsewhere_is_taken():
    """
    And told, as it was typed.
    """
    line = parse(["--remote", "-d", "development", "--copy=all", "--wait", "-p", "x", "f.py", "wf"])

    assert (line.ignored, line.options, line.file) == (("--remote", "-d", "--copy", "--wait"), {"project": "x"}, "f.py")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "no FILE: greenroom run [OPTIONS] FILE [ENTITY] [INPUTS]; greenroom run --help tells more"),
        (["--detach"], "no FILE: greenroom run [OPTIONS] FILE [ENTITY] [INPUTS]; greenroom run --help tells more"),
        (["--detatch", "f.py"], "no such option: --detatch; did you mean --detach? (greenroom run --help)"),
        (["--output", "xml", "f.py"], "--output xml: expected one of json, text"),
        (["--here=1", "f.py"], "--here takes no value, got '1'"),
        (["--hub"], "--hub needs a value: HUB"),
    ],
)
def test_what_cannot_be_read_is_a_sentence(words, sentence):
    """
    With what was expected.
    """
    with pytest.raises(Usage) as caught:
        parse(words)

    assert str(caught.value) == sentence


def test_pairs():
    """
    K=V, where V may hold more of them, and nothing else.
    """
    assert parse(["--env", "A=1=2", "--env", "B=", "f"]).pairs("env") == {"A": "1=2", "B": ""}
    with pytest.raises(Usage, match="--env A: expected K=V"):
        parse(["--env", "A", "f"]).pairs("env")


def test_help_is_found_before_the_file_only():
    """
    Behind it, it is the file's or the entity's.
    """
    assert parse(["--detach", "--help"]).help
    assert not parse(["f.py", "--help"]).help


def test_every_option_is_in_the_help():
    """
    Nothing is taken silently.
    """
    text = help_text()

    assert [name for flag in OPTIONS for name in flag.names if name not in text] == []
    assert max(map(len, text.split("\n"))) <= 120


@pytest.mark.parametrize("text", ["soon", "0", "-1", "inf", "nan"])
def test_a_deadline_is_a_number_of_seconds(text):
    """
    What is none is refused before anything is submitted.
    """
    with pytest.raises(Usage, match="--deadline"):
        entry._options(parse(["--deadline", text, "flow.py"]))

    assert 2.5 == entry._options(parse(["--deadline", "2.5", "flow.py"])).deadline
