"""The real workshop: bundles, typed values, environment variables, the reset, in real runners."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from greenroom.blobs import LocalBlobs
from greenroom.bundling import Bundle, make_bundle
from greenroom_core.failure import Cause
from greenroom_protocol import frames
from greenroom_protocol.calls import Definition, Outcomes, Status
from tests.replica.conftest import Rig
from tests.replica.fake_hub import define


class Project:
    """A user's folder, and what is submitted of it."""

    def __init__(self, rig: Rig, folder: Path) -> None:
        self.rig, self.folder = rig, folder
        self.blobs = LocalBlobs(rig.folder / "blobs", durable=False)
        folder.mkdir()
        (folder / "pyproject.toml").write_text("[project]\nname = 'p'\n")

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))

    def bundle(self, name: str) -> Bundle:
        made = make_bundle(self.folder / name, cache=self.rig.folder / "cache")
        for _, content in made.blobs():
            self.blobs.put(content)
        return made

    def define(self, file: str, qualname: str, params: Sequence[str] = ("n",), **changes: Any) -> Definition:
        made = self.bundle(file)
        options = {"origin": made.origin, "cwd": "", **changes.pop("options", {})}
        fields = {"outputs": ["o0"], "isolation": "reset", **changes}
        return define(_nothing)._replace(
            task=f"{made.module}.{qualname}",
            bundle=made.hash,
            module=made.module,
            qualname=qualname,
            pickled=None,
            params=list(params),
            options=options,
            **fields,
        )


def _nothing(n: int) -> None: ...


async def started(rig: Rig, **changes: Any) -> Project:
    await rig.replica(workshop="", blobs=str(rig.folder / "blobs"), **changes)
    return Project(rig, rig.folder / "project")


async def test_a_function_of_a_bundle_is_called(rig: Rig) -> None:
    """
    A module of the user's is imported on the replica with its helpers and data files, and its function called.
    """
    project = await started(rig)
    project.write("helpers.py", "FACTOR = 3\n")
    project.write("data.txt", "hello")
    project.write(
        "flow.py",
        """
        from pathlib import Path
        from helpers import FACTOR

        def work(n: int) -> str:
            return Path(__file__).parent.joinpath("data.txt").read_text() * n * FACTOR
        """,
    )

    outcome = await rig.hub.call(project.define("flow.py", "work"), 2)

    assert outcome[:2] == (Status.SUCCEEDED, "hello" * 6), outcome.value.traceback


async def test_state_is_reset_between_calls(rig: Rig) -> None:
    """
    Globals, environment variables and the folder that a call changes are what they were when the next one starts.
    """
    project = await started(rig)
    project.write(
        "flow.py",
        """
        import os

        SEEN: list[int] = []

        def work(n: int) -> list[str]:
            SEEN.append(n)
            before = os.environ.get("RUN_KEY")
            os.environ["RUN_KEY"] = "set"
            here = os.getcwd()
            os.chdir("/")
            return [str(len(SEEN)), str(before), os.environ["GIVEN"], os.path.basename(here)]
        """,
    )
    definition = project.define("flow.py", "work", env={"GIVEN": "by the task"})

    outcomes = await rig.hub.map(definition, list(range(200)))

    assert {("1", "None", "by the task", "tree")} == {tuple(outcome.value) for outcome in outcomes}


async def test_an_import_that_fails_shows_the_users_error(rig: Rig) -> None:
    """
    A module that raises at its import fails the call as an import, with the user's own traceback and paths.
    """
    project = await started(rig)
    project.write("flow.py", "def work(n: int) -> int:\n    return n\n\nraise RuntimeError('no licence')\n")

    outcome = await rig.hub.call(project.define("flow.py", "work"), 2)

    failure = outcome.value
    assert (outcome.status, failure.cause, failure.type) == (Status.FAILED, Cause.IMPORT, "RuntimeError")
    assert f'File "{project.folder}/flow.py", line 4' in failure.traceback
    assert "importlib" not in failure.traceback


async def test_a_traceback_shows_the_users_paths(rig: Rig) -> None:
    """
    A failure in a bundle's function names the file where the user has it, with its source line.
    """
    project = await started(rig)
    project.write("flow.py", "def work(n: int) -> int:\n    return 1 // n\n")

    outcome = await rig.hub.call(project.define("flow.py", "work"), 0)

    assert f"{project.folder}/flow.py:2" == outcome.value.where
    assert "return 1 // n" in outcome.value.traceback
    assert "greenroom_replica" not in outcome.value.traceback


async def test_an_edit_is_seen_on_the_same_replica(rig: Rig) -> None:
    """
    A changed file is a new bundle in the same runner.
    """
    project = await started(rig)
    project.write("flow.py", "import os\n\ndef work(n: int) -> list[int]:\n    return [n, os.getpid()]\n")
    first = (await rig.hub.call(project.define("flow.py", "work"), 1)).value

    project.write("flow.py", "import os\n\ndef work(n: int) -> list[int]:\n    return [n + 100, os.getpid()]\n")
    second = (await rig.hub.call(project.define("flow.py", "work"), 1)).value

    assert [first[0], second[0]] == [1, 101]
    assert first[1] == second[1]


async def test_values_are_checked_by_annotation(rig: Rig) -> None:
    """
    A result that does not fit its annotation fails its call, naming task, output, expected and given.
    """
    project = await started(rig)
    project.write("flow.py", "def work(n: int) -> int:\n    return 'seven'\n")

    outcome = await rig.hub.call(project.define("flow.py", "work"), 2)

    assert outcome.value.cause == Cause.RESULT
    for word in ("flow.work", "o0", "int", "str"):
        assert word in outcome.value.message, outcome.value.message


async def test_a_function_by_value_is_called(rig: Rig) -> None:
    """
    A notebook's function travels by value, and its globals are reset like a module's.
    """
    await started(rig)
    seen: list[int] = []

    def work(n: int) -> int:
        seen.append(n)
        return len(seen)

    outcomes = await rig.hub.map(define(work, isolation="reset"), [1, 2, 3])

    assert [outcome.value for outcome in outcomes] == [1, 1, 1]


LOADER = """
    import os
    import time

    from greenroom.actor_cache import actor_cache

    @actor_cache
    def load(state: int) -> dict:
        time.sleep(0.1)
        return {"state": state, "loaded_in": os.getpid()}

    def work(n: int) -> list[int]:
        model = load(state=n % 2)
        return [model["state"], os.getpid()]

    def crash(n: int) -> int:
        os._exit(n)
"""


async def test_entries_are_kept_between_calls_and_told(rig: Rig) -> None:
    """
    A loader runs once for each key; every result message says what its calls did with the cache.
    """
    project = await started(rig)
    project.write("flow.py", LOADER)

    outcomes = await rig.hub.map(project.define("flow.py", "work"), list(range(60)))

    assert [outcome.value[0] for outcome in outcomes] == [n % 2 for n in range(60)]
    rows = [row for result in rig.hub.results for row in Outcomes.unpack(result.body).cache]
    assert sum(row["misses"] for row in rows) == 2
    assert sum(row["hits"] for row in rows) == 58
    loads = [row for row in rows if row["misses"]]
    assert all(row["load_ms"] >= 100 and row["loaded_by"].startswith("e/") for row in loads)


async def test_lost_entries_come_back_by_themselves(rig: Rig) -> None:
    """
    After a crash the hub hears that entries are gone, and then that the replica has loaded them again.
    """
    project = await started(rig)
    project.write("flow.py", LOADER)
    await rig.hub.map(project.define("flow.py", "work"), list(range(10)))

    await rig.hub.assign(project.define("flow.py", "crash"), [3])

    changes = await rig.hub.until(lambda: _changes(rig, loaded=2))
    assert {key for key, _ in changes["gone"]} == {key for key, _ in changes["loaded"]}
    rows = len(rig.hub.results)
    outcomes = await rig.hub.map(project.define("flow.py", "work"), list(range(10)))
    assert all(outcome.value[0] == n % 2 for n, outcome in enumerate(outcomes))
    later = [row for result in rig.hub.results[rows:] for row in Outcomes.unpack(result.body).cache]
    assert sum(row["misses"] for row in later) == 0


def _changes(rig: Rig, loaded: int) -> dict[str, list[tuple[str, str]]] | None:
    told = rig.hub.of(frames.Cache)
    found = {
        "loaded": [(entry["key"], entry["loader"]) for message in told for entry in message.loaded],
        "gone": [(entry[1], entry[0]) for message in told for entry in message.gone],
    }
    return found if len(found["loaded"]) >= loaded else None


async def test_entries_are_evicted_on_demand(rig: Rig) -> None:
    """
    The hub may drop entries: it hears which went, and the next call loads again.
    """
    project = await started(rig)
    project.write("flow.py", LOADER)
    await rig.hub.map(project.define("flow.py", "work"), list(range(4)))

    await rig.hub.send("r1", frames.Evict("flow:load", ""))

    gone = await rig.hub.until(lambda: [entry for message in rig.hub.of(frames.Cache) for entry in message.gone])
    assert [entry[0] for entry in gone] == ["flow:load"] * 2
    await rig.hub.call(project.define("flow.py", "work"), 1)
    rows = [row for result in rig.hub.results for row in Outcomes.unpack(result.body).cache]
    assert sum(row["misses"] for row in rows) == 3
