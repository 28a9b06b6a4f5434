"""How functions reach replicas: by name where they can be imported, else by value."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from greenroom.bundling import ByName, ByValue, NotBundled, reference_of

from .conftest import Project


def top(x: int) -> int:
    """A function at the top of a module."""
    return x + 1


class Group:
    @staticmethod
    def member() -> None: ...


def test_what_is_installed_goes_by_name() -> None:
    """
    A library's function is imported on the replica.
    """
    assert reference_of(json.dumps) == ByName("json", "dumps")


def test_lambdas_and_closures_go_by_value() -> None:
    """
    What has no name of its own is pickled with all that it refers to.
    """
    step = 5

    def inner(x: int) -> int:
        return x + step

    for function in (inner, lambda x: x + step):
        reference = reference_of(function)
        assert isinstance(reference, ByValue)
        assert pickle.loads(reference.pickled)(1) == 6


def test_code_by_value_keeps_its_file() -> None:
    """
    A traceback through a function that travelled by value names the place where it was written.
    """
    step = 5

    def inner(x: int) -> int:
        return max([x, step], key=lambda n: -n)

    reference = reference_of(inner)
    assert isinstance(reference, ByValue)
    arrived = pickle.loads(reference.pickled)

    nested = [part for part in arrived.__code__.co_consts if hasattr(part, "co_filename")]
    assert [code.co_filename for code in (arrived.__code__, *nested)] == [__file__, __file__]


def test_modules_that_no_replica_has_go_by_value() -> None:
    """
    A module that is neither installed nor bundled (this one) travels inside the pickle, and its registration ends.
    """
    import cloudpickle

    reference = reference_of(top)

    assert isinstance(reference, ByValue)
    assert __name__.encode() not in pickle_modules(reference.pickled)
    assert not cloudpickle.list_registry_pickle_by_value()


def pickle_modules(pickled: bytes) -> bytes:
    """Names of modules that a pickle imports."""
    import pickletools

    names = [arg for op, arg, _ in pickletools.genops(pickled) if op.name == "GLOBAL"]
    return " ".join(map(str, names)).encode()


def test_what_cannot_be_pickled_says_so() -> None:
    """
    A function that can travel in no way fails with a remedy.
    """
    lock = threading.Lock()

    def locked() -> bool:
        return lock.locked()

    with pytest.raises(NotBundled, match=r"locked cannot be sent to a replica: .*move it to the top of a module"):
        reference_of(locked)


SCRIPT = """
import pickle, sys
from greenroom.bundling import make_bundle, reference_of, dumps
import helper

class Point:
    class Inner:
        pass
    def __init__(self): self.x = 1

def task(n): return helper.add(n) + Point().x

if __name__ == "__main__":
    bundle = make_bundle(__file__, cache=sys.argv[1])
    made = lambda n: (task(n), Point)
    print(reference_of(task, bundle))
    print(reference_of(helper.add, bundle))
    print(reference_of(Point.Inner, bundle))
    print(type(reference_of(made, bundle)).__name__)
    print(b"__main__" in dumps([Point(), Point.Inner, task], bundle))
    print(type(reference_of(task, None)).__name__)
    open(sys.argv[2], "wb").write(dumps([made, Point()], bundle))
"""


def test_a_scripts_own_functions_go_by_its_modules_name(project: Project, tmp_path: Path) -> None:
    """
    What a running script defines is found on replicas under its module's name, also inside pickles.
    """
    project.write({"pyproject.toml": "", "flow.py": SCRIPT, "helper.py": "def add(n): return n + 10\n"})

    done = subprocess.run(
        [sys.executable, "flow.py", str(tmp_path / "cache"), str(tmp_path / "out")],
        cwd=project.folder, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.stdout.splitlines() == [
        "ByName(module='flow', qualname='task')",
        "ByName(module='helper', qualname='add')",
        "ByName(module='flow', qualname='Point.Inner')",
        "ByValue",
        "False",
        "ByValue",
    ], done.stderr
    read = "import pickle, sys; made, point = pickle.load(open(sys.argv[1], 'rb')); print(made(1)[0], type(point))"
    there = subprocess.run(
        [sys.executable, "-c", read, str(tmp_path / "out")],
        cwd=project.folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert there.stdout.strip() == "12 <class 'flow.Point'>", there.stderr


def test_an_interpreters_functions_go_by_value(project: Project, tmp_path: Path) -> None:
    """
    What is typed at a prompt, or given to `python -c`, has no file: it is pickled, with the modules beside it.
    """
    project.write({"nearby.py": "def add(n): return n + 10\n"})
    script = (
        "import nearby, sys\nfrom greenroom.bundling import reference_of\n"
        "def task(n): return nearby.add(n)\n"
        "open(sys.argv[1], 'wb').write(reference_of(task).pickled)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "out")], cwd=project.folder, check=True)

    function: Callable[[int], Any] = pickle.loads((tmp_path / "out").read_bytes())

    assert "nearby" not in sys.modules
    assert function(1) == 11
