"""Which edits of a program change what a function is, and which do not."""

import re

import pytest

from greenroom.digest import explain

PROGRAM = {
    "flow": '''
        """What the program is for."""
        import functools
        import helpers
        from helpers import build
        from registry import BUILDERS

        SIZE = 3
        UNREAD = 5
        SETTINGS = {"depth": 2, "names": ["a", "b"]}
        calls = []
        memo = {}

        def timed(unit="s"):
            def decorate(fn):
                @functools.wraps(fn)
                def inner(*args, **kwargs):
                    return fn(*args, **kwargs)
                return inner
            return decorate

        class Base:
            rate = 0.5

            def go(self):
                return helpers.used()

        class Model(Base):
            """A model."""

            def __init__(self, n):
                self.n = n

            def predict(self, x):
                return x * self.n

        @timed()
        def load(state: int, size=SIZE):
            """Load it."""
            calls.append(state)  # How often.
            memo[state] = size
            kind = "x" * (1024 * 2)
            del (kind)
            model = Model(build(state) + SETTINGS["depth"] + len(helpers.MODEL))
            return model, [BUILDERS[name]() for name in sorted(BUILDERS)], (lambda value: value + state)

        def task(state):
            return load(state)[0].predict(1)

        def other():
            return UNREAD
    ''',
    "helpers": """
        MODEL = "v1"
        OTHER = 2

        def build(x):
            return x + deeper(x)

        def deeper(x):
            return x + 1

        def used():
            return 1

        def unused():
            return OTHER
    """,
    "registry": """
        BUILDERS = {}

        def register(name):
            def decorate(fn):
                BUILDERS[name] = fn
                return fn
            return decorate

        import plugins
    """,
    "plugins": """
        from registry import register

        @register("one")
        def build_one():
            return 1

        def alone():
            return 2
    """,
}


def edited(module: str, before: str, after: str) -> dict[str, str]:
    assert before in PROGRAM[module]
    return {**PROGRAM, module: PROGRAM[module].replace(before, after)}


KEPT = {
    "a comment": ("flow", "# How often.", "# Another\n            # comment."),
    "a docstring": ("flow", '"""Load it."""', '"""Load it,\n            and more."""'),
    "a class's docstring": ("flow", '"""A model."""', '"""The model."""'),
    "a task's body": ("flow", ".predict(1)", ".predict(2)"),
    "an unread global": ("flow", "UNREAD = 5", "UNREAD = 6"),
    "a new global": ("flow", "SIZE = 3", "SIZE = 3\n        NEW = 9"),
    "a new function": ("flow", "def other():", "def another():\n            pass\n\n        def other():"),
    "a new import": ("flow", "import helpers\n", "import helpers\n        import json\n"),
    "a helper that is not used": ("helpers", "return OTHER", "return OTHER + 1"),
    "a global that no used helper reads": ("helpers", "OTHER = 2", "OTHER = 3"),
    "another plugin's code": ("plugins", "return 2", "return 3"),
    "a number written in another way": ("flow", "SIZE = 3", "SIZE = 0x3"),
    "quotes": ("flow", '"x" *', "'x' *"),
    "parentheses of del": ("flow", "del (kind)", "del kind"),
    "a call over several lines": (
        "flow",
        "return fn(*args, **kwargs)",
        "return fn(\n                *args,\n                **kwargs,\n            )",
    ),
    "state that the loader fills": ("flow", "memo = {}", "memo = {   }"),
    "moving a class": (
        "flow",
        "def other():",
        "class Between:\n            pass\n\n\n\n\n        def other():",
    ),
}

CHANGED = {
    "the body": ("flow", "len(helpers.MODEL)", "len(helpers.MODEL) + 1", r"flow.py:\d+ load changed"),
    "a constant in it": ("flow", "1024 * 2", "1024 * 3", r"flow.py:\d+ load changed"),
    "a nested lambda": ("flow", "value + state)", "value - state)", r"flow.py:\d+ load changed"),
    "a default": ("flow", "size=SIZE", "size=4", r"flow.py:\d+ load changed"),
    "a global's value": ("flow", "SIZE = 3", "SIZE = 4", r"flow.py:\d+ SIZE 3 -> 4"),
    "a value inside a global": (
        "flow",
        '"depth": 2',
        '"depth": 3',
        r"flow.py:\d+ SETTINGS \{'depth': 2, .* -> \{'depth': 3, .*",
    ),
    "a global of another module": ("helpers", '"v1"', '"v2"', r'helpers.py:2 MODEL "v1" -> "v2"'),
    "its helper in another module": ("helpers", "x + deeper(x)", "x - deeper(x)", r"helpers.py:\d+ build changed"),
    "a helper's helper": ("helpers", "return x + 1", "return x + 2", r"helpers.py:\d+ deeper changed"),
    "a base class": ("flow", "helpers.used()", "helpers.used() + 1", r"flow.py:\d+ Base changed"),
    "what a base class's method calls": ("helpers", "return 1", "return 2", r"helpers.py:\d+ used changed"),
    "a method": ("flow", "x * self.n", "x ** self.n", r"flow.py:\d+ Model changed"),
    "a base": ("flow", "class Model(Base)", "class Model(Base, dict)", r"flow.py:\d+ Model changed"),
    "a class attribute": ("flow", "rate = 0.5", "rate = 0.25", r".*Base.rate 0.5 -> 0.25"),
    "a decorator": (
        "flow",
        "return fn(*args, **kwargs)",
        "return fn(*args, **kwargs), 1",
        r"flow.py:\d+ timed changed",
    ),
    "a decorator's argument": ("flow", "@timed()", "@timed('ms')", r"flow.py:\d+ load changed"),
    "a helper found through a registry": ("plugins", "return 1", "return 11", r"plugins.py:\d+ build_one changed"),
    "a registered name": ("plugins", '"one"', '"uno"', r"plugins.py:\d+ build_one changed"),
    "the start of its own state": ("flow", "calls = []", "calls = [0]", r"flow.py:\d+ calls changed"),
}


class TestEdits:
    @pytest.mark.parametrize("edit", KEPT.values(), ids=KEPT)
    def test_an_edit_elsewhere_keeps_the_digest(self, programs, edit):
        """
        What cannot matter to the loader does not change what it is.
        """
        before = programs.digest(**PROGRAM)

        after = programs.digest(**edited(*edit))

        assert [] == explain(before.parts, after.parts)
        assert before.hex == after.hex

    @pytest.mark.parametrize("edit", CHANGED.values(), ids=CHANGED)
    def test_an_edit_that_could_matter_changes_the_digest(self, programs, edit):
        """
        What the loader reads, calls, inherits or is wrapped in is part of it, and the explanation names it.
        """
        *edit, line = edit
        before = programs.digest(**PROGRAM)

        after = programs.digest(**edited(*edit))

        assert before.hex != after.hex
        assert any(re.fullmatch(line, one) for one in explain(before.parts, after.parts)), explain(
            before.parts, after.parts
        )

    def test_the_same_program_elsewhere_has_the_same_digest(self, programs):
        """
        Where a bundle lies, and which process reads it, is no part of its digest.
        """
        first = programs.digest(**PROGRAM)
        second = programs.digest(**PROGRAM)

        assert first.hex == second.hex
        assert first.parts == second.parts

    def test_going_back_goes_back(self, programs):
        """
        After an edit and its reverse the digest is what it was: a checkout there and back stays warm.
        """
        first = programs.digest(**PROGRAM)
        away = programs.digest(**edited("helpers", '"v1"', '"v2"'))
        back = programs.digest(**PROGRAM)

        assert first.hex != away.hex
        assert first.hex == back.hex

    def test_an_unrelated_file_may_come_move_and_go(self, programs):
        """
        Files that the loader does not refer to are no part of it.
        """
        before = programs.digest(**PROGRAM, notes="X = 1\n")

        renamed = programs.digest(**PROGRAM, remarks="X = 1\n")

        assert before.hex == renamed.hex
