"""Which Python runs a program, and what differs between two."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from greenroom.bundling import Installed, compare, distributions, interpreter_key

HERE = Installed("3.11.7", "cpython-311", {"numpy": "2.0", "pandas": "2.2", "my-pkg": "1.0", "pip": "23"})


def there(**changes: str | None) -> Installed:
    """The same with other versions; None for what is not installed."""
    renamed = {name.replace("_", "-"): version for name, version in changes.items()}
    versions = {**HERE.distributions, **renamed}
    return HERE._replace(distributions={name: version for name, version in versions.items() if version is not None})


def test_distributions_are_read_from_names(tmp_path: Path) -> None:
    """
    Metadata folders of all kinds; the first folder wins, names are normalised, leftovers are ignored.
    """
    first, second = tmp_path / "a/site-packages", tmp_path / "b/dist-packages"
    for folder, names in (
        (first, ["My_Pkg-1.0.dist-info", "old.style-2.1-py3.11.egg-info", "~umpy-1.0.dist-info", "numpy", "x.pth"]),
        (second, ["my-pkg-0.9.dist-info", "other-3.0.post1.dist-info"]),
    ):
        for name in names:
            (folder / name).mkdir(parents=True)

    found = distributions([str(first), str(second), str(tmp_path), "/nowhere/site-packages"])

    assert found == {"my-pkg": "1.0", "old-style": "2.1", "other": "3.0.post1"}


def test_the_interpreter_is_named_with_what_is_installed() -> None:
    """
    The running one: its version, and a digest that changes with any installed version.
    """
    key = interpreter_key()

    assert Path(key.executable).samefile(sys.executable)
    assert sys.prefix == key.prefix
    assert key.version == ".".join(map(str, sys.version_info[:3]))
    assert key == interpreter_key()
    assert "pytest" in distributions()


def test_equal_sides_differ_in_nothing() -> None:
    """
    What does no harm is no difference: more packages there, other installers, another patch release of Python.
    """
    assert compare(HERE, HERE) is None
    assert compare(HERE, there(extra="1", pip=None)) is None
    assert compare(HERE, HERE._replace(version="3.11.2")) is None


def test_differences_are_one_sentence_with_a_remedy() -> None:
    """
    Other versions, missing packages and another Python are named with both sides.
    """
    assert compare(HERE, there(numpy="1.26", my_pkg=None)) == (
        "the replica differs from where this was submitted: numpy 2.0 here, 1.26 there; not installed there: my-pkg. "
        "Remedy: install the same versions on both sides"
    )
    python = compare(HERE, Installed("3.12.1", "cpython-312", HERE.distributions))
    assert python is not None
    assert "Python 3.11.7 here, 3.12.1 there. Remedy: use the same Python on both sides" in python
    other = compare(HERE, HERE._replace(implementation="pypy311"))
    assert other is not None
    assert "Python cpython-311 here, pypy311 there" in other


def test_only_what_matters_is_compared() -> None:
    """
    Given the distributions that a program uses, others may differ; and long lists are cut.
    """
    assert compare(HERE, there(numpy="1.26"), only=["pandas"]) is None
    many = Installed("3.11.7", "cpython-311", {f"p{number}": "1" for number in range(9)})
    text = compare(many, many._replace(distributions={}))
    assert text is not None
    assert "p0, p1, p2, p3, p4, and 4 more" in text


def test_all_names_of_one_python_are_one_interpreter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """
    A notebook's `python` and the command's `python3.11` keep one pool warm.
    """
    for name in ("python3.11", "python"):
        (tmp_path / name).symlink_to(sys.executable)

    told = set()
    for name in ("python3.11", "python"):
        monkeypatch.setattr(sys, "executable", str(tmp_path / name))
        told.add(interpreter_key().executable)

    assert {str(tmp_path / "python")} == told
