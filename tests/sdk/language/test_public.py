"""The package's face: its names, what importing it costs, and its types for checkers."""

from __future__ import annotations

import ast
import subprocess
import sys
import types
from pathlib import Path

import pytest

import greenroom

NAMES = sorted(
    [
        "ActorEnvironment",
        "ActorTask",
        "AsyncClient",
        "BaseAccelerator",
        "BatchSize",
        "Cache",
        "Client",
        "CronSchedule",
        "Deck",
        "DefinitionError",
        "Directory",
        "DynamicTask",
        "EagerException",
        "EagerTask",
        "FailedNode",
        "File",
        "FixedRate",
        "GPUAccelerator",
        "GreenroomError",
        "GreenroomWarning",
        "HashMethod",
        "ImageSpec",
        "ImperativeWorkflow",
        "LaunchPlan",
        "NonRecoverable",
        "PodTemplate",
        "Promise",
        "Recoverable",
        "Resources",
        "Retry",
        "Secret",
        "StructuredDataset",
        "Task",
        "Webhook",
        "Workflow",
        "WorkflowFailurePolicy",
        "actor_cache",
        "approve",
        "conditional",
        "create_node",
        "current_context",
        "dynamic",
        "eager",
        "kwtypes",
        "map",
        "map_task",
        "reference_launch_plan",
        "reference_task",
        "reference_workflow",
        "register_transformer",
        "run",
        "sleep",
        "task",
        "wait_for_input",
        "workflow",
    ]
)


class TestNames:
    def test_are_frozen(self):
        """
        A name that users may type is neither added nor lost by accident.
        """
        assert sorted(greenroom.__all__) == sorted(NAMES)

    @pytest.mark.parametrize("name", NAMES)
    def test_are_there(self, name):
        """
        Each name is what its module defines, and no module.
        """
        found = getattr(greenroom, name)

        assert found is getattr(greenroom, name) and not isinstance(found, types.ModuleType)
        assert name in dir(greenroom)

    def test_of_others_are_not(self):
        """
        What does not exist is said as Python says it.
        """
        with pytest.raises(AttributeError, match="has no attribute 'no_such_name'"):
            _ = greenroom.no_such_name

    def test_a_function_wins_over_the_module_of_its_name(self):
        """
        `greenroom.task` is the decorator, whoever imported the module before.
        """
        script = (
            "import greenroom.task, greenroom.workflow, greenroom.eager, greenroom.dynamic, greenroom.actor_cache\n"
            "import greenroom\n"
            "print(*(type(getattr(greenroom, n)).__name__ for n in 'task workflow eager dynamic actor_cache'.split()))"
        )

        assert run(script).split() == ["function"] * 5

    def test_type_checkers_see_the_same(self):
        """
        The imports that checkers read are those of the table.
        """
        tree = ast.parse(Path(str(greenroom.__file__)).read_text())
        block = next(node for node in tree.body if isinstance(node, ast.If))
        seen = {
            alias.asname: str(node.module)
            for node in block.body
            if isinstance(node, ast.ImportFrom) and node.module != "typing"
            for alias in node.names
        }

        assert seen == {name: f"greenroom.{module}" for name, module in greenroom._HOME_OF.items()}


class TestCost:
    def test_importing_the_package_imports_nothing(self):
        """
        `import greenroom` loads no module of ours but itself, and none of anybody else's.
        """
        loaded = run(
            "import sys, typing\nb = set(sys.modules)\nimport greenroom\nprint(*(set(sys.modules) - b))"
        ).split()

        assert loaded == ["greenroom"]

    def test_the_language_loads_nothing_heavy(self):
        """
        Defining tasks and workflows needs neither asyncio nor anything that a user's image may not have.
        """
        script = (
            "import sys, greenroom\n"
            "@greenroom.task\n"
            "def t(n: int) -> int:\n    return n\n"
            "@greenroom.workflow\n"
            "def wf(n: int) -> int:\n    return t(n=n)\n"
            "print(*sys.modules)"
        )

        loaded = {name.partition(".")[0] for name in run(script).split()}

        assert not loaded & {"asyncio", "numpy", "pandas", "pydantic", "aiohttp", "cloudpickle", "websockets", "click"}


class TestTypes:
    RIGHT = """
from datetime import timedelta
from functools import partial
import greenroom
from greenroom import ActorEnvironment, Cache, Resources, Retry, Task, task, workflow

actor = ActorEnvironment("a", replica_count=2, requests=Resources(cpu="1"), isolation="fork")

@actor.task
def inc(n: int) -> int:
    return n + 1

@actor.task(cache=Cache(version="1"), retries=Retry(2), timeout=timedelta(seconds=3), isolation="fork")
def text(n: int, sep: str = "") -> str:
    return sep

@task(requests=Resources(mem="1Gi"))
def plain(n: int) -> list[int]:
    return [n]

@actor.task
async def later(n: int) -> float:
    return 1.0

@workflow
def wf(n: int = 3) -> str:
    return text(n=inc(n=n), sep="x")

@workflow(interruptible=True)
def outer(n: int) -> str:
    return wf(n=n)

a: int = inc(n=1)
b: str = wf(n=2)
c: list[int] = plain(1)
made: Task[[int], int] = inc

async def main() -> float:
    return await later(n=1)

mapped = greenroom.map(partial(text, sep="-"), concurrency=2)
"""

    WRONG = {
        'inc(n="x")': "arg-type",
        "inc(m=1)": "call-arg",
        "inc()": "call-arg",
        "x: str = inc(n=1)": "assignment",
        "wf(n=[1])": "arg-type",
        "y: int = wf(n=1)": "assignment",
        "actor.task(requests=None)": "call-overload",
        "actor.task(foo=1)": "call-overload",
        'actor.task(isolation="strict")': "call-overload",
        "task(retrys=1)": "call-overload",
        'ActorEnvironment("a", isolation="strict")': "arg-type",
        'ActorEnvironment("a", None, "3")': "arg-type",
        'ActorEnvironment("a", colour="red")': "call-arg",
        "greenroom.no_such_name": "attr-defined",
    }

    def check(self, tmp_path: Path, text: str) -> list[str]:
        from mypy import api

        file = tmp_path / "program.py"
        file.write_text(text)
        config = Path(__file__).parents[3] / "pyproject.toml"
        told, problem, _ = api.run([f"--config-file={config}", f"--cache-dir={tmp_path / 'cache'}", str(file)])
        assert not problem, problem
        return [line for line in told.splitlines() if "program.py" in line and ": error:" in line]

    def test_right_and_wrong_uses(self, tmp_path):
        """
        Decorated functions keep their signatures: right uses pass a strict checker, each wrong use is one error.
        """
        first = self.RIGHT.count("\n") + 1
        told = self.check(tmp_path, self.RIGHT + "\n".join(self.WRONG) + "\n")

        by_line = {int(line.split(":")[1]): line.rsplit("[", 1)[-1].rstrip("]") for line in told}
        assert by_line == {first + place: code for place, code in enumerate(self.WRONG.values())}


def run(script: str) -> str:
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
