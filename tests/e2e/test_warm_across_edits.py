"""Real files, edited between runs: what keeps a model warm, and what loads it again, exactly once."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.e2e.harness import Person, visiting

FILES = {
    "flow.py": """
import functools
import pathlib

import greenroom
import helpers
from steps import STEPS

SIZE = 3
actor = greenroom.ActorEnvironment(name="warm", replica_count=1)


def traced(fn):
    @functools.wraps(fn)
    def inner(*args, **kwargs):
        return fn(*args, **kwargs)

    return inner


class Base:
    def kind(self):
        return "base"


class Model(Base):
    def __init__(self, state, depth):
        self.state, self.depth = state, depth

    def __call__(self, value):
        return self.state * value + self.depth


@greenroom.actor_cache
@traced
def load_model(state: int, size: int = SIZE) -> Model:
    text = (pathlib.Path(__file__).parent / "config.yaml").read_text()
    return Model(helpers.scaled(state) + STEPS["one"](), int(text.split(":")[1]))


@actor.task
def evaluate(value: int) -> str:
    model = load_model(state=3)
    return f"{model(value)} {isinstance(model, Model)} {model.kind()}"


@greenroom.workflow
def wf(value: int = 2) -> str:
    return evaluate(value=value)
""",
    "helpers.py": "FACTOR = 10\n\n\ndef scaled(x):\n    return x * FACTOR\n\n\ndef unused():\n    return 1\n",
    "steps.py": """
STEPS = {}


def step(name):
    def keep(fn):
        STEPS[name] = fn
        return fn

    return keep


@step("one")
def one():
    return 1
""",
    "config.yaml": "depth: 5\n",
    "notes.py": "NOTE = 1\n",
}

Edit = Callable[[dict[str, str]], object]


def replaced(name: str, before: str, after: str) -> Edit:
    def edit(files: dict[str, str]) -> None:
        assert before in files[name]
        files[name] = files[name].replace(before, after)

    return edit


def moved(files: dict[str, str]) -> None:
    files["more/remarks.py"] = files.pop("notes.py")


def formatted(files: dict[str, str]) -> None:
    """As a formatter would with a narrow page."""
    replaced(
        "flow.py",
        "self.state, self.depth = state, depth",
        "self.state, self.depth = (\n            state,\n            depth,\n        )",
    )(files)
    replaced("flow.py", 'STEPS["one"]()', "STEPS['one']()")(files)


WARM: dict[str, Edit] = {
    "the task's body": replaced("flow.py", "model = load_model(state=3)", "model = load_model(3)"),
    "a comment": replaced("flow.py", "class Model(Base):", "class Model(Base):  # Ours."),
    "another helper": replaced("helpers.py", "return 1", "return 2"),
    "a new global": replaced("flow.py", "SIZE = 3", "SIZE = 3\nNEW = 4"),
    "formatting": formatted,
    "an unrelated file that moves": moved,
}

COLD: dict[str, Edit] = {
    "the loader's body": replaced("flow.py", "int(text.split", "0 + int(text.split"),
    "its constant": replaced("helpers.py", "FACTOR = 10", "FACTOR = 20"),
    "its default": replaced("flow.py", "SIZE = 3", "SIZE = 4"),
    "its helper in another module": replaced("helpers.py", "x * FACTOR", "FACTOR * x"),
    "a base class": replaced("flow.py", 'return "base"', 'return "bass"'),
    "a decorator": replaced("flow.py", "return fn(*args, **kwargs)", "return fn(*args, **{**kwargs})"),
    "a helper in a registry": replaced("steps.py", "return 1", "return 0 + 1"),
    "a file that it reads": replaced("config.yaml", "depth: 5", "depth: 6"),
}


class Program:
    """One project of a person's, and what the actor cache did in its last run."""

    def __init__(self, person: Person) -> None:
        self.person = person
        self.files = dict(FILES)

    def run(self) -> tuple[str, int, int]:
        """Write the files and run; the result, hits and loads."""
        for name in ("notes.py", "more/remarks.py"):
            self.person.write(name, "").unlink()
        for name, text in self.files.items():
            self.person.write(name, text)
        result = self.person.run("flow.py")
        told = [entry for event in self.person.events(self.person.last()) for entry in event.get("cache", ())]
        return str(result), sum(entry["hits"] for entry in told), sum(entry["misses"] for entry in told)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    with visiting(tmp_path_factory.mktemp("e2e") / "person") as person:
        program = Program(person)
        assert program.run() == ("67 True base", 0, 1)
        yield program


@pytest.mark.parametrize("edit", WARM.values(), ids=WARM)
def test_an_edit_elsewhere_is_warm(program: Program, edit: Edit) -> None:
    """The model is still there, and an instance of the class in the edited file."""
    edit(program.files)

    assert program.run() == ("67 True base", 1, 0)


@pytest.mark.parametrize("edit", COLD.values(), ids=COLD)
def test_an_edit_that_matters_loads_once(program: Program, edit: Edit) -> None:
    """Exactly one load, then hits again."""
    edit(program.files)

    first, second = program.run(), program.run()

    assert first[1:] == (0, 1)
    assert second == (first[0], 1, 0)
    assert " True " in first[0]


def test_a_checkout_there_and_back_is_warm(program: Program) -> None:
    """What was loaded for a version is there when that version comes back."""
    here = dict(program.files)
    before = program.run()
    replaced("helpers.py", "FACTOR = 20", "FACTOR = 30")(program.files)
    there = program.run()
    program.files.clear()
    program.files.update(here)

    back = program.run()

    assert (before[1:], there[1:], back[1:]) == ((1, 0), (0, 1), (1, 0))
    assert before[0] == back[0] != there[0]
