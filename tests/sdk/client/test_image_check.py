"""What an image asks for, beside what this Python has."""

from __future__ import annotations

import builtins

import pytest

from greenroom.image_check import differences, fits
from greenroom_core.program import Environment

HAVE = {"numpy": "1.26.4", "pandas": "2.2.1", "scikit-learn": "1.5.0"}


def of(*packages: str, notes: tuple[str, ...] = (), name: str = "my-actor") -> Environment:
    return Environment(name, packages=packages, image_notes=notes)


def test_what_fits_is_not_told():
    """
    Names are compared as pip does, and what Greenroom serves counts as present.
    """
    told = differences([of("numpy", "pandas>=2", "Scikit_Learn==1.5.*", "union", "flytekitplugins-pod>=1")], HAVE)

    assert list(told) == []


def test_what_differs_is_one_sentence_each():
    """
    Another version, and what is not there, with what to do; equal ones of several environments once.
    """
    told = differences(
        [of("numpy==2.0", "torch>=2"), of("torch>=2", name="other"), of(notes=("apt packages: git",))], HAVE
    )

    assert list(told) == [
        "my-actor: its image asks for numpy==2.0, this Python has 1.26.4",
        "my-actor: its image asks for torch>=2, which is not installed here: pip install 'torch>=2'",
        "my-actor: apt packages: git",
    ]


def test_what_is_meant_for_others_is_left_out():
    """
    Markers are honoured, URLs left to pip.
    """
    told = differences([of("pywin32; sys_platform == 'win32'", "git+https://example.com/x.git")], HAVE)

    assert list(told) == []


CASES = [
    ("1.26.4", "==1.26.4", True),
    ("1.26.4", "==1.26.*", True),
    ("1.26.4", "!=1.26.*", False),
    ("1.26.4", ">=1.20,<2", True),
    ("1.26.4", ">1.26.4", False),
    ("1.26.4", "~=1.20", True),
    ("2.0.0", "~=1.20", False),
    ("1.26", "==1.26.0", True),
]


@pytest.mark.parametrize(("version", "wanted", "held"), CASES)
@pytest.mark.parametrize("with_packaging", [True, False])
def test_specifiers(monkeypatch, version, wanted, held, with_packaging):
    """
    The same with and without the `packaging` library.
    """
    if not with_packaging:
        known = builtins.__import__

        def without(name, *rest):
            if name.startswith("packaging"):
                raise ImportError(name)
            return known(name, *rest)

        monkeypatch.setattr(builtins, "__import__", without)

    assert fits(version, wanted) is held
