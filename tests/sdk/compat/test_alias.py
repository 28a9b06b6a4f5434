"""`union` and `flytekit` are served by Greenroom, whatever is installed."""

from __future__ import annotations

import importlib
import importlib.metadata
import pickle
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from greenroom import compat
from greenroom.compat.finder import AliasModule, public_names
from greenroom.compat.names import HOMES, KNOWN, RENAMED
from greenroom.files import File
from greenroom.resources import Resources
from greenroom.workflow import workflow

pytestmark = pytest.mark.usefixtures("alias")


def run(text: str) -> dict[str, Any]:
    """Execute a program and return its globals."""
    scope: dict[str, Any] = {"__name__": "program"}
    exec(text, scope)
    return scope


def test_names_are_greenrooms_own() -> None:
    """
    Programs get our objects by all the ways in which they import theirs.
    """
    scope = run(
        "import union, flytekit as fl, unionai\n"
        "import union.actor\n"
        "from flytekit import workflow, Resources\n"
        "from flytekit.types.file import FlyteFile\n"
        "from flytekit.types.directory import FlyteDirectory\n"
        "from flytekit.extras.accelerators import A10G\n"
        "from union.actor import ActorEnvironment\n"
        "from flytekit.core.workflow import workflow as deep\n"
        "import flytekit.core.resources\n"
    )

    assert scope["workflow"] is scope["deep"] is scope["union"].workflow is workflow
    assert scope["Resources"] is scope["flytekit"].core.resources.Resources is Resources
    assert scope["FlyteFile"] is scope["union"].FlyteFile is File
    assert scope["ActorEnvironment"] is scope["union"].ActorEnvironment is scope["unionai"].actor.ActorEnvironment
    assert str(scope["A10G"]) == "nvidia-a10g"
    assert scope["fl"] is scope["flytekit"]


def test_submodules_are_attributes() -> None:
    """
    `flytekit.types.file.FlyteFile` works after a mere `import flytekit`.
    """
    assert run("import flytekit\nfound = flytekit.types.file.FlyteFile\n")["found"] is File


def test_versions_are_told() -> None:
    """
    Programs that check versions find those whose names are served, by attribute and by metadata.
    """
    scope = run("import flytekit, union\nversions = flytekit.__version__, union.__version__\n")

    assert scope["versions"] == ("1.16.31", "0.1.204")
    assert importlib.metadata.version("flytekit") == "1.16.31"
    with pytest.raises(importlib.metadata.PackageNotFoundError):
        importlib.metadata.version("flytekit-that-is-not-there")


def test_star_imports_give_what_is_served() -> None:
    """
    `from flytekit import *` gives real objects only, and leaves Python's own `map` alone; that of union is union's.
    """
    scope = run("from flytekit import *\n")

    assert {"task", "workflow", "dynamic", "LaunchPlan", "Resources"} <= scope.keys()
    assert "map" not in scope
    assert "ContainerTask" not in scope
    assert "map" in public_names("union")


def test_installed_packages_are_not_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Real packages of these names do not get in the way, also if they were imported before.
    """
    for name in ("union", "flytekit"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("real = True\n")
        (tmp_path / name / "only_real.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    compat.uninstall()
    real = importlib.import_module("union")
    assert real.real

    compat.install()
    assert importlib.import_module("union").workflow is workflow
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'union.only_real'.*--no-alias"):
        importlib.import_module("union.only_real")

    compat.uninstall()
    assert importlib.import_module("union") is real
    assert importlib.import_module("flytekit").real


def test_installing_twice_is_installing_once() -> None:
    """
    The alias is first in line once, also after somebody has put another finder before it.
    """
    first, last = object(), list(sys.meta_path)
    sys.meta_path.insert(0, first)  # type: ignore[arg-type]
    compat.install()
    compat.install()

    assert isinstance(importlib.import_module("union"), AliasModule)
    assert sys.meta_path[1] is first
    assert len(sys.meta_path) == len(last) + 1
    sys.meta_path.remove(first)  # type: ignore[arg-type]


def test_names_that_nobody_has_are_errors_with_a_hint() -> None:
    """
    A misspelt name fails as it would with the real package, and says what may have been meant.
    """
    with pytest.raises(ImportError, match="has no 'workflw'; did you mean workflow"):
        run("from flytekit import workflw\n")
    with pytest.raises(AttributeError, match="has no 'Resorces'; did you mean Resources"):
        run("import union\nunion.Resorces\n")
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'flytekit.cores'"):
        run("import flytekit.cores\n")
    assert not run("import flytekit\nfound = hasattr(flytekit, 'no_such')\n")["found"]


def test_files_of_a_format() -> None:
    """
    Named formats are our files of that format.
    """
    scope = run("from flytekit.types.file import CSVFile, FlyteFile\n")

    assert scope["CSVFile"] == File["csv"]  # type: ignore[misc]


def test_retries_mean_what_they_mean_there() -> None:
    """
    Through the alias `retries` repeat only what raised `FlyteRecoverableException`, however the task was made.
    """
    scope = run(
        "import union, flytekit\n"
        "from flytekit.exceptions.user import FlyteRecoverableException\n"
        "env = union.ActorEnvironment(name='a', replica_count=2)\n"
        "@union.task(retries=3)\ndef one(n: int) -> int: return n\n"
        "@env.task(retries=2)\ndef two(n: int) -> int: return n\n"
        "@flytekit.dynamic(retries=1)\ndef three(n: int) -> int: return one(n=n)\n"
        "@flytekit.task\ndef four(n: int) -> int: return n\n"
        "five = flytekit.task(lambda n: None) if False else None\n"
        "class Again(FlyteRecoverableException): pass\n"
    )

    retries = {name: scope[name].options.retry for name in ("one", "two", "three", "four")}
    assert {name: retry.times for name, retry in retries.items()} == {"one": 3, "two": 2, "three": 1, "four": 0}
    assert all(retry.recoverable_only for retry in retries.values())
    assert scope["two"].environment == scope["env"]
    assert issubclass(scope["Again"], Exception)


def test_greenrooms_own_retries_are_untouched() -> None:
    """
    The same decorators imported from Greenroom retry everything.
    """
    from greenroom.task import task

    @task(retries=3)
    def one(n: int) -> int:
        return n

    assert (one.options.retry.times, one.options.retry.recoverable_only) == (3, False)


def test_wrong_retries_are_refused_as_ever() -> None:
    """
    What is no number of retries fails with the SDK's own sentence.
    """
    with pytest.raises(Exception, match="retries"):
        run("import union\n@union.task(retries='3')\ndef one(n: int) -> int: return n\n")


def test_objects_survive_pickling() -> None:
    """
    What the alias serves is pickled by its real name, so that a process without the alias can read it.
    """
    union: ModuleType = importlib.import_module("union")
    text = pickle.dumps((union.ActorEnvironment, union.task, union.FlyteFile))

    assert b"flytekit" not in text
    compat.uninstall()
    assert pickle.loads(text)[2] is File


def test_the_tables_agree() -> None:
    """
    Every name that is renamed is one of theirs, and every module of ours in the table can be imported.
    """
    theirs = {name for module in KNOWN.modules() for name in KNOWN.names(module)}
    for home in HOMES:
        importlib.import_module(home)

    assert not RENAMED.keys() - theirs
    assert "flytekit.core.task" in KNOWN.modules()


def test_the_documents_programs_import(tmp_path: Path) -> None:
    """
    What the document's programs take from `union` is all served.
    """
    names = "task workflow map ActorEnvironment actor_cache ImageSpec Resources PodTemplate LaunchPlan FlyteFile"
    union = importlib.import_module("union")

    from greenroom.compat.placeholder import Placeholder

    missing = [name for name in names.split() if isinstance(getattr(union, name), Placeholder)]
    assert missing == []


def test_shims_for_what_programs_reach_for() -> None:
    """
    The context manager, its places for files, timing and mocks are there; what only Flyte's inside can do says so.
    """
    scope = run(
        "from flytekit import FlyteContextManager, Workflow, workflow\n"
        "from flytekit.core.context_manager import FlyteContext\n"
        "from flytekit.core.utils import timeit\n"
        "from flytekit.testing import task_mock\n"
        "from flytekit.extend import context_manager\n"
        "from flytekit import file\n"
        "context = FlyteContextManager.current_context()\n"
        "seen = []\n"
        "@workflow\ndef wf():\n    seen.append(FlyteContextManager.current_context().compilation_state)\n"
        "@timeit('x')\ndef timed(): return 3\n"
        "three = timed()\n"
    )
    access = scope["context"].file_access

    assert Path(access.get_random_local_directory()).is_dir()
    path = Path(access.get_random_local_path("a/b.csv"))
    assert (path.name, path.parent.is_dir(), path.exists()) == ("b.csv", True, False)
    assert access.is_remote("s3://x/y")
    assert not access.is_remote("/x")
    assert scope["context"].compilation_state is None
    assert scope["seen"][0].nodes == []
    assert scope["context"].user_space_params.working_directory == scope["context"].execution_state.working_dir
    assert (scope["three"], scope["file"].FlyteFile) == (3, File)
    assert scope["Workflow"].__name__ == "ImperativeWorkflow"
    with pytest.raises(
        NotImplementedError, match=r"file_access\.get_filesystem is not part of Greenroom: take files as File"
    ):
        access.get_filesystem("s3")


def test_arguments_that_tasks_share_and_what_is_said_of_them() -> None:
    """
    An `Environment` gives its arguments to its tasks; descriptions and options are kept.
    """
    scope = run(
        "from flytekit import Environment, Documentation, Description, Options, Labels, workflow\n"
        "env = Environment(retries=2)\n"
        "@env.task\ndef one(n: int) -> int: return n\n"
        "@env.extend(retries=3).task(docs=Documentation(short_description='two'))\n"
        "def two(n: int) -> int: return n\n"
        "@env.dynamic\ndef three(n: int) -> int: return one(n=n)\n"
        "@workflow(default_options=Options(labels=Labels({'a': 'b'})))\ndef wf(n: int) -> int: return three(n=n)\n"
        "given = wf(n=4)\n"
    )

    assert [scope[name].options.retry.times for name in ("one", "two", "three")] == [2, 3, 2]
    assert scope["two"].options.docs.short_description == "two"
    assert scope["wf"].default_options.labels.values == {"a": "b"}
    assert scope["given"] == 4
